//! The Internet checksum: RFC 1071, and its update in place, RFC 1624 §3.
//!
//! Not here: which octets a protocol sums, and pseudo-headers.

/// The checksum over the slices as if they stood one after the other, an odd octet at the end
/// padded with zero. Over data that already holds its correct checksum the result is 0.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    let mut starts_odd = false;
    for part in parts {
        // A part that starts at an odd offset has its octets in the other halves of the words,
        // which swaps the two octets of its sum (RFC 1071 §2 (B)).
        let part_sum = u16::from_be(fold(sum_words(part)));
        sum += u64::from(if starts_odd {
            part_sum.swap_bytes()
        } else {
            part_sum
        });
        starts_odd ^= part.len() % 2 == 1;
    }
    !fold(sum)
}

/// The checksum after the 16-bit word `old` that it covers became `new` (RFC 1624 equation 3).
/// Where the word starts at an odd offset, pass both values with their octets swapped.
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

/// In this machine's order of octets, which the sum has in the end as well (RFC 1071 §2 (B)).
///
/// 32-bit words sum as well as 16-bit ones, since 2^16 is 1 in this arithmetic. The 32 spare bits of each
/// lane hold the carries of 2^32 words, so that no addition wraps; that it is called wrapping spares the
/// check of each, without which the lanes become vectors.
fn sum_words(part: &[u8]) -> u64 {
    let (blocks, rest) = part.as_chunks::<BLOCK>();
    let mut lanes = [0u64; BLOCK / 4];
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks().0) {
            *lane = lane.wrapping_add(word_value(*word));
        }
    }
    let (words, tail) = rest.as_chunks();
    let words = words.iter().map(|word| word_value(*word));
    let last = match *tail {
        [a, b, c] => [a, b, c, 0],
        [a, b] => [a, b, 0, 0],
        [a] => [a, 0, 0, 0],
        _ => [0; 4],
    };
    let lanes = lanes.into_iter();
    lanes.chain(words).fold(word_value(last), u64::wrapping_add)
}

/// Octets that are summed side by side.
const BLOCK: usize = 64;

fn word_value(word: [u8; 4]) -> u64 {
    u32::from_ne_bytes(word).into()
}

fn fold(mut sum: u64) -> u16 {
    loop {
        match u16::try_from(sum) {
            Ok(folded) => return folded,
            Err(_) => sum = (sum >> 16) + (sum & 0xffff),
        }
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 §3: the words 0001 f203 f4f5 f6f7 sum to ddf2.
    #[test]
    fn rfc_1071_example() {
        assert_eq!(checksum(&[&hex!("0001 f203 f4f5 f6f7")]), !0xddf2);
    }

    /// RFC 1624 §4: eqn. 3 gives 0000 where RFC 1141 gave ffff.
    #[test]
    fn rfc_1624_example() {
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    fn naive(data: &[u8]) -> u16 {
        let mut sum = 0u32;
        for word in data.chunks(2) {
            sum += u32::from(word[0]) << 8 | word.get(1).map_or(0, |&low| u32::from(low));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    proptest! {
        #[test]
        fn equals_the_naive_sum_however_it_is_cut(
            data: Vec<u8>, first: prop::sample::Index, second: prop::sample::Index,
        ) {
            let (mut a, mut b) = (first.index(data.len() + 1), second.index(data.len() + 1));
            if a > b {
                std::mem::swap(&mut a, &mut b);
            }
            prop_assert_eq!(checksum(&[&data[..a], &data[a..b], &data[b..]]), naive(&data));
        }
    }
}
