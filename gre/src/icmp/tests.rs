use proptest::prelude::*;

use super::*;

const FAR_V4: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 2);
const FAR_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const UDP: u8 = 17;

/// 1500 octets with DF, from 10.0.0.1 to 10.0.0.2.
fn ipv4(protocol: u8, upper: &[u8]) -> Vec<u8> {
    let header = [
        0x45, 0, 0x05, 0xdc, 0, 7, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    let mut packet = [&header, upper].concat();
    packet.resize(1500, 0x5a);
    packet
}

fn ipv6(next_header: u8, upper: &[u8], len: u16) -> Vec<u8> {
    let [l0, l1] = (len - 40).to_be_bytes();
    let mut packet = [
        &[0x60, 0, 0, 0, l0, l1, next_header, 64],
        &[0x20; 32][..],
        upper,
    ]
    .concat();
    packet.resize(len.into(), 0x5a);
    packet
}

fn answer(passenger: &[u8], mtu: u16) -> (TooBig, Vec<u8>) {
    let mut out = vec![0xee; 2000];
    let verdict = too_big(passenger, mtu, Some(FAR_V4), Some(FAR_V6), &mut out);
    if let TooBig::Reply(len) = verdict {
        out.truncate(len);
    }
    (verdict, out)
}

fn changed(mut packet: Vec<u8>, position: usize, to: &[u8]) -> Vec<u8> {
    packet[position..position + to.len()].copy_from_slice(to);
    packet
}

/// D57, RFC 1191 §4: next-hop MTU, the given source, and at least 28 octets quoted.
#[test]
fn ipv4_reply() {
    let passenger = ipv4(UDP, &[]);
    let (verdict, reply) = answer(&passenger, 1400);
    assert_eq!(verdict, TooBig::Reply(576));
    let ip = Ipv4::parse(&reply).unwrap();
    assert_eq!(
        (ip.source, ip.destination, ip.protocol),
        (FAR_V4, [10, 0, 0, 1].into(), ICMP)
    );
    assert_eq!(
        (ip.header_len, ip.total_len, ip.dont_fragment),
        (20, 576, true)
    );
    assert_eq!(checksum(&[&reply[..20]]), 0, "IP header checksum");
    assert_eq!(checksum(&[&reply[20..]]), 0, "ICMP checksum");
    assert_eq!(reply[20..22], [3, 4]);
    assert_eq!(reply[24..28], [0, 0, 0x05, 0x78]);
    assert_eq!(reply[28..], passenger[..576 - 28]);
}

/// RFC 4443 §3.2: 1280 octets in all, checksum with the pseudo-header.
#[test]
fn ipv6_reply() {
    let passenger = ipv6(UDP, &[], 1500);
    let (verdict, reply) = answer(&passenger, 1400);
    assert_eq!(verdict, TooBig::Reply(REPLY_MAX));
    let ip = Ipv6::parse(&reply).unwrap();
    assert_eq!(
        (ip.source, ip.next_header, ip.total_len),
        (FAR_V6, ICMPV6, REPLY_MAX)
    );
    assert_eq!(reply[24..40], passenger[8..24], "to the passenger's source");
    let len = 1240u32.to_be_bytes();
    assert_eq!(
        checksum(&[&reply[8..40], &len, &[0, ICMPV6], &reply[40..]]),
        0
    );
    assert_eq!(reply[40..42], [2, 0]);
    assert_eq!(reply[44..48], 1400u32.to_be_bytes());
    assert_eq!(reply[48..], passenger[..1280 - 48]);
}

#[test]
fn who_gets_no_answer() {
    let unreachable = ipv4(ICMP, &[3]);
    let fragment = |offset| [UDP, 0, 0, offset, 0, 0, 0, 1];
    let cases: &[(&str, Vec<u8>, TooBig)] = &[
        (
            "D57: DF clear",
            changed(ipv4(UDP, &[]), 6, &[0]),
            TooBig::FragmentPassenger,
        ),
        (
            "D57: multicast",
            changed(ipv4(UDP, &[]), 16, &[224]),
            TooBig::Silent,
        ),
        (
            "broadcast",
            changed(ipv4(UDP, &[]), 16, &[255; 4]),
            TooBig::Silent,
        ),
        (
            "from multicast",
            changed(ipv4(UDP, &[]), 12, &[224]),
            TooBig::Silent,
        ),
        (
            "from nowhere",
            changed(ipv4(UDP, &[]), 12, &[0; 4]),
            TooBig::Silent,
        ),
        (
            "from loopback",
            changed(ipv4(UDP, &[]), 12, &[127]),
            TooBig::Silent,
        ),
        ("ICMP error", unreachable, TooBig::Silent),
        ("ICMP echo", ipv4(ICMP, &[8]), TooBig::Reply(576)),
        (
            "first fragment",
            changed(ipv4(UDP, &[]), 6, &[0x60, 0]),
            TooBig::Reply(576),
        ),
        (
            "later fragment",
            changed(ipv4(UDP, &[]), 6, &[0x40, 1]),
            TooBig::Silent,
        ),
        ("ICMPv6 error", ipv6(ICMPV6, &[1], 1500), TooBig::Silent),
        (
            "ICMPv6 redirect",
            ipv6(ICMPV6, &[137], 1500),
            TooBig::Silent,
        ),
        (
            "ICMPv6 echo",
            ipv6(ICMPV6, &[128], 1500),
            TooBig::Reply(REPLY_MAX),
        ),
        (
            "ICMPv6 error behind options",
            ipv6(60, &[ICMPV6, 0, 0, 0, 0, 0, 0, 0, 3], 1500),
            TooBig::Silent,
        ),
        (
            "first IPv6 fragment",
            ipv6(44, &fragment(1), 1500),
            TooBig::Reply(REPLY_MAX),
        ),
        (
            "later IPv6 fragment",
            ipv6(44, &fragment(8), 1500),
            TooBig::Silent,
        ),
        (
            "to IPv6 multicast",
            changed(ipv6(UDP, &[], 1500), 24, &[0xff]),
            TooBig::Reply(REPLY_MAX),
        ),
        (
            "from IPv6 multicast",
            changed(ipv6(UDP, &[], 1500), 8, &[0xff]),
            TooBig::Silent,
        ),
        (
            "from ::",
            changed(ipv6(UDP, &[], 1500), 8, &[0; 16]),
            TooBig::Silent,
        ),
        (
            "D56: 1280 is carried",
            ipv6(UDP, &[], 1280),
            TooBig::FragmentDelivery,
        ),
        (
            "D56: 1281 is not",
            ipv6(UDP, &[], 1281),
            TooBig::Reply(REPLY_MAX),
        ),
        ("not IP", vec![0; 1500], TooBig::Silent),
        ("empty", vec![], TooBig::Silent),
    ];
    for (name, passenger, expected) in cases {
        assert_eq!(answer(passenger, 1200).0, *expected, "{name}");
    }
}

/// RFC 8201 §4: a sender would ignore less than 1280.
#[test]
fn ipv6_mtu_is_never_below_the_minimum() {
    let (_, reply) = answer(&ipv6(UDP, &[], 1500), 1200);
    assert_eq!(reply[44..48], 1280u32.to_be_bytes());
}

#[test]
fn without_an_address_or_room_there_is_no_answer() {
    for passenger in [ipv4(UDP, &[]), ipv6(UDP, &[], 1500)] {
        assert_eq!(
            too_big(&passenger, 1400, None, None, &mut [0; 2000]),
            TooBig::Silent
        );
        let mut small = [0; 27];
        let verdict = too_big(&passenger, 1400, Some(FAR_V4), Some(FAR_V6), &mut small);
        assert_eq!(verdict, TooBig::Silent);
    }
}

proptest! {
    #[test]
    fn arbitrary_octets_never_panic(
        mut packet in prop::collection::vec(any::<u8>(), 0..2000), version in 4u8..7, mtu: u16,
        room in 0usize..2000,
    ) {
        if let Some(first) = packet.first_mut() {
            *first = version << 4 | *first & 0x0f;
        }
        too_big(&packet, mtu, Some(FAR_V4), Some(FAR_V6), &mut vec![0; room]);
    }
}
