//! A Destination Options header between ESP and GRE: RFC 8200 §4.2 and §4.6.
//!
//! Linux's ip6gre puts one before its GRE header for RFC 2473's tunnel encapsulation limit
//! (PAINS 20). It is accepted and never sent (D56, RFC 7676).

use crate::IP_PROTOCOL;
use crate::error::Drop;

/// The Next Header value of a Destination Options header.
pub const DESTINATION_OPTIONS: u8 = 60;

/// The GRE packet behind the Destination Options header that `packet` begins with.
///
/// # Errors
/// [`Drop::DestinationOptions`]. No ICMPv6 error answers it, whatever the option asks for: it came
/// out of an SA, whose peer learns nothing from errors in clear.
pub fn skip_options(packet: &mut [u8]) -> Result<&mut [u8], Drop> {
    let header_len = match packet {
        [IP_PROTOCOL, units, ..] => 8 * (usize::from(*units) + 1),
        _ => return Err(Drop::DestinationOptions),
    };
    let (header, rest) = packet
        .split_at_mut_checked(header_len)
        .ok_or(Drop::DestinationOptions)?;
    let options = header.get(2..).ok_or(Drop::DestinationOptions)?;
    if may_skip(options) {
        Ok(rest)
    } else {
        Err(Drop::DestinationOptions)
    }
}

/// Whether every option is whole and of a kind that is skipped by who does not know it.
fn may_skip(mut options: &[u8]) -> bool {
    loop {
        options = match options {
            [] => return true,
            [PAD1, rest @ ..] => rest,
            [kind, length, rest @ ..] if kind & UNLESS_SKIPPED == 0 => {
                match rest.get(usize::from(*length)..) {
                    Some(rest) => rest,
                    None => return false,
                }
            }
            _ => return false,
        };
    }
}

/// The one option without a length.
const PAD1: u8 = 0;
/// Not both zero: an unknown option that discards the packet.
const UNLESS_SKIPPED: u8 = 0b1100_0000;

#[cfg(test)]
mod tests {
    use hex_literal::hex;
    use proptest::prelude::*;

    use super::*;

    /// What it is, the header with what follows, and the GRE packet in it.
    type Case = (&'static str, &'static [u8], Option<&'static [u8]>);

    /// D56, PAINS 20
    #[test]
    fn what_stands_before_gre() {
        let cases: [Case; 9] = [
            (
                "Linux: encapsulation limit 4, PadN",
                &hex!("2f00 040104 010100 00000800"),
                Some(&hex!("00000800")),
            ),
            ("Pad1", &hex!("2f00 000000000000 aa"), Some(&[0xaa])),
            (
                "16 octets",
                &hex!("2f01 010c 000000000000000000000000"),
                Some(&[]),
            ),
            (
                "another header follows",
                &hex!("3b00 010400000000 00"),
                None,
            ),
            ("shorter than it says", &hex!("2f01 010400000000"), None),
            (
                "an option is longer than the header",
                &hex!("2f00 010500000000 00"),
                None,
            ),
            (
                "an option without its length",
                &hex!("2f00 010300000001 00"),
                None,
            ),
            (
                "an option that discards",
                &hex!("2f00 4d0400000000 00"),
                None,
            ),
            ("a single octet", &[47], None),
        ];
        for (name, packet, expected) in cases {
            let mut packet = packet.to_vec();
            let found = skip_options(&mut packet).map(|rest| &*rest);
            assert_eq!(found, expected.ok_or(Drop::DestinationOptions), "{name}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic(mut packet: Vec<u8>) {
            let _ = skip_options(&mut packet);
        }
    }
}
