use hex_literal::hex;
use proptest::prelude::*;

use super::*;
use crate::checksum::checksum;

const SYN_ACK: u8 = 0x12;

/// A TCP packet of IPv4, or of IPv6 behind an extension header, with a correct TCP checksum.
fn tcp(v6: bool, flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
    assert_eq!(options.len() % 4, 0, "the data offset counts words");
    let offset = u8::try_from((20 + options.len()) / 4).unwrap() << 4;
    let header = [
        0, 80, 0x12, 0x34, 1, 2, 3, 4, 0, 0, 0, 0, offset, flags, 0xff, 0xff, 0, 0, 0, 0,
    ];
    let segment = [&header, options, data].concat();
    let len = u16::try_from(segment.len()).unwrap();
    let ip = if v6 {
        let [l0, l1] = (len + 8).to_be_bytes();
        let destination_options = [TCP, 0, 1, 4, 0, 0, 0, 0];
        [
            &[0x60, 0, 0, 0, l0, l1, 60, 64],
            &[0x20; 32][..],
            &destination_options,
        ]
        .concat()
    } else {
        let [l0, l1] = (len + 24).to_be_bytes();
        let option = [1, 1, 1, 0];
        [
            &[0x46, 0, l0, l1, 0, 0, 0x20, 0, 64, TCP, 0, 0][..],
            &[10; 8],
            &option,
        ]
        .concat()
    };
    let mut packet = [ip, segment].concat();
    let start = packet.len() - usize::from(len);
    let sum = tcp_checksum(&packet, v6).to_be_bytes();
    packet[start + 16..start + 18].copy_from_slice(&sum);
    packet
}

/// Over pseudo-header and segment, from scratch; 0 where the checksum in the segment is right.
fn tcp_checksum(packet: &[u8], v6: bool) -> u16 {
    let (addresses, segment) = if v6 {
        (&packet[8..40], &packet[48..])
    } else {
        (&packet[12..20], &packet[24..])
    };
    let len = u32::try_from(segment.len()).unwrap().to_be_bytes();
    checksum(&[addresses, &len, &[0, TCP], segment])
}

fn mss_of(packet: &[u8]) -> u16 {
    u16::from_be_bytes(packet[packet.len() - 2..].try_into().unwrap())
}

/// D59, RFC 9293 §3.7.1: MTU − 40 or − 60, only lower, in SYN and SYN-ACK.
#[test]
fn lowers_what_is_too_large() {
    let cases = [
        ("IPv4 SYN", false, SYN, 1400, 1460, 1360),
        ("IPv4 SYN-ACK", false, SYN_ACK, 1400, 1460, 1360),
        ("IPv6 SYN", true, SYN, 1400, 1440, 1340),
        ("one too many", false, SYN, 1400, 1361, 1360),
        ("just fits", false, SYN, 1400, 1360, 1360),
        ("never raised", true, SYN, 1400, 536, 536),
        ("no SYN", false, 0x10, 1400, 1460, 1460),
        ("an MTU below the headers", true, SYN, 59, 1460, 1460),
    ];
    for (name, v6, flags, mtu, offered, expected) in cases {
        let [m0, m1] = u16::to_be_bytes(offered);
        let mut packet = tcp(v6, flags, &[2, 4, m0, m1], &[]);
        assert_eq!(clamp(&mut packet, mtu), offered != expected, "{name}");
        assert_eq!(mss_of(&packet), expected, "{name}");
        assert_eq!(tcp_checksum(&packet, v6), 0, "{name}");
    }
}

#[test]
fn leaves_other_packets_alone() {
    let later_fragment = |mut packet: Vec<u8>| {
        packet[7] = 1;
        packet
    };
    let udp = |mut packet: Vec<u8>| {
        packet[9] = 17;
        packet
    };
    let mss = hex!("0204 05b4");
    let cases: &[(&str, Vec<u8>)] = &[
        ("no options", tcp(false, SYN, &[], &mss)),
        ("no MSS option", tcp(false, SYN, &hex!("0101 0402"), &mss)),
        (
            "MSS after the end of options",
            tcp(false, SYN, &hex!("00000000 020405b4"), &[]),
        ),
        ("MSS of length 3", tcp(false, SYN, &hex!("020305b4"), &[])),
        ("MSS cut off", tcp(false, SYN, &hex!("01010204"), &[])),
        (
            "option of length 0",
            tcp(false, SYN, &hex!("03000000 020405b4"), &[]),
        ),
        (
            "option of length 1",
            tcp(false, SYN, &hex!("03010101 020405b4"), &[]),
        ),
        (
            "option beyond the header",
            tcp(false, SYN, &hex!("03ff0000 020405b4"), &[]),
        ),
        (
            "option without a length",
            tcp(false, SYN, &hex!("01010103"), &mss),
        ),
        ("later fragment", later_fragment(tcp(false, SYN, &mss, &[]))),
        ("UDP", udp(tcp(false, SYN, &mss, &[]))),
    ];
    for (name, original) in cases {
        let mut packet = original.clone();
        assert!(!clamp(&mut packet, 1400), "{name}");
        assert_eq!(packet, *original, "{name}");
    }
}

#[test]
fn truncated_at_each_octet() {
    for v6 in [false, true] {
        let packet = tcp(v6, SYN, &hex!("020405b4"), &[]);
        for len in 0..packet.len() {
            let mut cut = packet[..len].to_vec();
            assert!(!clamp(&mut cut, 1400), "{len} octets");
            assert_eq!(cut, packet[..len]);
        }
    }
}

#[test]
fn a_data_offset_below_the_header_is_left_alone() {
    for data_offset in 0..5u8 {
        let mut packet = tcp(false, SYN, &hex!("020405b4"), &[]);
        packet[24 + 12] = data_offset << 4;
        assert!(!clamp(&mut packet, 1400), "{data_offset}");
    }
}

proptest! {
    /// RFC 1624: the update equals a full recomputation, at odd and even offsets.
    #[test]
    fn checksum_equals_full_recomputation(
        v6: bool, padding in 0usize..8, offered: u16, mtu: u16, data: Vec<u8>,
    ) {
        let mut options = vec![1; padding];
        options.extend([2, 4]);
        options.extend(offered.to_be_bytes());
        options.resize(options.len().next_multiple_of(4), 0);
        let mut packet = tcp(v6, SYN, &options, &data);
        clamp(&mut packet, mtu);
        prop_assert_eq!(tcp_checksum(&packet, v6), 0);
    }

    #[test]
    fn arbitrary_octets_never_panic(mut packet: Vec<u8>, version in 4u8..7, mtu: u16) {
        if let Some(first) = packet.first_mut() {
            *first = version << 4 | *first & 0x0f;
        }
        clamp(&mut packet, mtu);
    }
}
