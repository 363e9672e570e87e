//! The end of the plaintext: padding, Pad Length, Next Header (RFC 4303 §2.4 to §2.6).
//!
//! Owns: writing it, and every check of it on receipt. Not here: the ICV.

use crate::error::Drop;

/// Fills `trailer`: padding in all of it but the last two octets, 255 octets at most.
pub(crate) fn write(trailer: &mut [u8], next_header: u8) {
    let mut padding_len = 0;
    if let Some((padding, last)) = trailer.split_last_chunk_mut() {
        for (octet, value) in padding.iter_mut().zip(1..=u8::MAX) {
            *octet = value;
            padding_len = value;
        }
        *last = [padding_len, next_header];
    }
}

/// Splits an authenticated plaintext into payload and Next Header. All length and content checks
/// of the trailer are here, behind the ICV's.
pub(crate) fn strip(plaintext: &mut [u8]) -> Result<(&mut [u8], u8), Drop> {
    let (before, &mut [padding_len, next_header]) =
        plaintext.split_last_chunk_mut().ok_or(Drop::Truncated)?;
    let payload_len = before
        .len()
        .checked_sub(usize::from(padding_len))
        .ok_or(Drop::Padding)?;
    let (payload, padding) = before
        .split_at_mut_checked(payload_len)
        .ok_or(Drop::Padding)?;
    if padding.iter().copied().eq(1..=padding_len) {
        Ok((payload, next_header))
    } else {
        Err(Drop::Padding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Stripped = Result<(&'static [u8], u8), Drop>;

    /// D44, RFC 4303 §2.4
    #[test]
    fn trailers() {
        let longest = [(1..=255).collect::<Vec<u8>>(), vec![255, 47]].concat();
        let cases: &[(&str, &[u8], Stripped)] = &[
            (
                "payload and padding",
                &[9, 9, 1, 2, 2, 47],
                Ok((&[9, 9], 47)),
            ),
            ("no padding", &[9, 9, 0, 47], Ok((&[9, 9], 47))),
            ("no payload", &[1, 2, 2, 59], Ok((&[], 59))),
            ("nothing but the trailer", &[0, 47], Ok((&[], 47))),
            ("the longest padding", &longest, Ok((&[], 47))),
            (
                "more padding than needed",
                &[1, 2, 3, 4, 4, 4],
                Ok((&[], 4)),
            ),
            ("nothing", &[], Err(Drop::Truncated)),
            ("no next header", &[0], Err(Drop::Truncated)),
            (
                "pad length one beyond the plaintext",
                &[1, 2, 3, 47],
                Err(Drop::Padding),
            ),
            (
                "pad length far beyond",
                &[1, 2, 255, 47],
                Err(Drop::Padding),
            ),
            ("padding of zeros", &[9, 9, 0, 0, 2, 47], Err(Drop::Padding)),
            (
                "first octet of padding wrong",
                &[0, 2, 2, 47],
                Err(Drop::Padding),
            ),
            (
                "last octet of padding wrong",
                &[1, 3, 2, 47],
                Err(Drop::Padding),
            ),
        ];
        for (name, plaintext, expected) in cases {
            let mut plaintext = plaintext.to_vec();
            let stripped = strip(&mut plaintext).map(|(payload, next)| (&*payload, next));
            assert_eq!(stripped, *expected, "{name}");
        }
    }

    #[test]
    fn written_trailers_are_understood() {
        for padding in 0..=255 {
            let mut plaintext = vec![9; 3 + padding + 2];
            write(&mut plaintext[3..], 47);
            assert_eq!(
                strip(&mut plaintext),
                Ok((&mut [9, 9, 9][..], 47)),
                "{padding}"
            );
        }
    }
}
