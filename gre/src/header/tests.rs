use hex_literal::hex;
use proptest::prelude::*;

use super::*;

const FULL: Header = Header {
    protocol: Protocol::IPV4,
    checksum: Some(0x1234),
    key: Some(0xdead_beef),
    sequence: Some(7),
};

/// D52, RFC 2784 §2.6 and RFC 2890 §2: Reserved1 only with C; the order is C, K, S.
#[test]
fn fields_in_every_combination() {
    let plain = Header {
        checksum: None,
        key: None,
        sequence: None,
        ..FULL
    };
    let cases: &[(Header, &[u8])] = &[
        (plain, &hex!("0000 0800")),
        (
            Header {
                sequence: Some(7),
                ..plain
            },
            &hex!("1000 0800 00000007"),
        ),
        (
            Header {
                key: Some(0),
                ..plain
            },
            &hex!("2000 0800 00000000"),
        ),
        (
            Header {
                checksum: None,
                ..FULL
            },
            &hex!("3000 0800 deadbeef 00000007"),
        ),
        (
            Header {
                checksum: Some(0),
                ..plain
            },
            &hex!("8000 0800 0000 0000"),
        ),
        (
            Header { key: None, ..FULL },
            &hex!("9000 0800 1234 0000 00000007"),
        ),
        (
            Header {
                sequence: None,
                ..FULL
            },
            &hex!("a000 0800 1234 0000 deadbeef"),
        ),
        (FULL, &hex!("b000 0800 1234 0000 deadbeef 00000007")),
    ];
    for (header, wire) in cases {
        assert_eq!(Header::parse(wire), Ok((*header, &[][..])), "{header:?}");
        let mut out = [0xaa; Header::MAX_LEN];
        assert_eq!(header.write(&mut out), Some(wire.len()), "{header:?}");
        assert_eq!(&out[..wire.len()], *wire, "{header:?}");
        assert_eq!(header.wire_len(), wire.len());
    }
}

/// D51, RFC 2784 §2.3 and §2.3.1, one flag bit at a time.
#[test]
fn each_reserved_and_version_bit() {
    for bit in 0..16u16 {
        let [f0, f1] = (0x8000u16 >> bit).to_be_bytes();
        let mut packet = [0; 8];
        packet[..2].copy_from_slice(&[f0, f1]);
        let result = Header::parse(&packet).map(|_| ());
        let expected = match bit {
            1 | 4 | 5 => Err(Drop::ReservedBits),
            13..=15 => Err(Drop::Version),
            _ => Ok(()),
        };
        assert_eq!(result, expected, "bit {bit}");
    }
}

#[test]
fn truncated_at_each_octet() {
    let mut wire = [0; Header::MAX_LEN];
    FULL.write(&mut wire).unwrap();
    for len in 0..wire.len() {
        assert_eq!(
            Header::parse(&wire[..len]),
            Err(Drop::HeaderTruncated),
            "{len} octets"
        );
        assert_eq!(
            FULL.write(&mut [0; Header::MAX_LEN][..len]),
            None,
            "{len} octets"
        );
    }
}

proptest! {
    #[test]
    fn what_was_written_is_parsed(
        protocol: u16, checksum: Option<u16>, key: Option<u32>, sequence: Option<u32>,
        passenger: Vec<u8>,
    ) {
        let header = Header { protocol: Protocol(protocol), checksum, key, sequence };
        let mut packet = vec![0; header.wire_len()];
        header.write(&mut packet).unwrap();
        packet.extend(&passenger);
        prop_assert_eq!(Header::parse(&packet), Ok((header, &passenger[..])));
    }

    #[test]
    fn what_was_parsed_is_written_but_for_ignored_bits(mut packet: Vec<u8>) {
        if let Some(first) = packet.first_mut() {
            *first &= 0xb0;
        }
        if let Some(second) = packet.get_mut(1) {
            *second &= 0xf8;
        }
        if let Ok((header, passenger)) = Header::parse(&packet) {
            let len = packet.len() - passenger.len();
            let mut out = vec![0; len];
            prop_assert_eq!(header.write(&mut out), Some(len));
            packet[1] = 0;
            if header.checksum.is_some() {
                packet[6..8].fill(0);
            }
            prop_assert_eq!(&out, &packet[..len]);
        }
    }
}
