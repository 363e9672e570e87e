use proptest::prelude::*;

use super::*;
use crate::checksum::checksum;
use crate::ip::Ipv4;

fn ipv4(tos: u8) -> Vec<u8> {
    let mut packet = vec![
        0x45, tos, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    let sum = checksum(&[&packet]).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    packet
}

/// With a flow label of all ones beside the traffic class.
fn ipv6(tos: u8) -> Vec<u8> {
    [
        &[0x60 | tos >> 4, tos << 4 | 0x0f, 0xff, 0xff],
        &[1; 36][..],
    ]
    .concat()
}

/// RFC 2983 §3.1 and D58, RFC 6040 §4.1.
#[test]
fn outer_dscp_by_policy_and_ecn_from_the_passenger() {
    let cases = [
        ("inherit", Policy::Inherit, 0xb8, 0xb8),
        ("inherit with ECN", Policy::Inherit, 0xba, 0xba),
        ("inherit CE", Policy::Inherit, 0x03, 0x03),
        ("fixed DSCP", Policy::Fixed(0x28), 0xb8, 0x28),
        ("fixed DSCP, ECN inherited", Policy::Fixed(0x28), 0xb9, 0x29),
        (
            "ECN of a fixed octet is not sent",
            Policy::Fixed(0x2b),
            0xb8,
            0x28,
        ),
    ];
    for (name, policy, inner, outer) in cases {
        assert_eq!(outer_tos(policy, &ipv4(inner)), outer, "{name}, IPv4");
        assert_eq!(outer_tos(policy, &ipv6(inner)), outer, "{name}, IPv6");
    }
    assert_eq!(outer_tos(Policy::Fixed(0x28), &[0x45]), 0x28, "truncated");
    assert_eq!(outer_tos(Policy::Inherit, &[]), 0, "empty");
}

/// D58, RFC 6040 §4.2 figure 4, all sixteen combinations: rows are the passenger's field.
#[test]
fn ecn_at_decapsulation() {
    let table = [
        (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
        (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
        (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
        (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
    ];
    for (inner, row) in table {
        for (outer, merged) in [NOT_ECT, ECT_0, ECT_1, CE].into_iter().zip(row) {
            for packet in [ipv4, ipv6] {
                // DSCPs that must not mix.
                let mut passenger = packet(0xb8 | inner);
                let result = merge_ecn(0x50 | outer, &mut passenger);
                assert_eq!(result.is_ok(), merged.is_some(), "{inner:02b} {outer:02b}");
                let expected = packet(0xb8 | merged.unwrap_or(inner));
                assert_eq!(passenger, expected, "{inner:02b} in {outer:02b}");
            }
        }
    }
}

proptest! {
    #[test]
    fn ipv4_checksum_stays_right(inner: u8, outer: u8) {
        let mut packet = ipv4(inner);
        let _ = merge_ecn(outer, &mut packet);
        prop_assert_eq!(checksum(&[&packet[..Ipv4::HEADER_LEN]]), 0);
    }

    #[test]
    fn arbitrary_octets_never_panic(outer: u8, mut packet: Vec<u8>, version in 4u8..7) {
        if let Some(first) = packet.first_mut() {
            *first = version << 4 | *first & 0x0f;
        }
        outer_tos(Policy::Inherit, &packet);
        let _ = merge_ecn(outer, &mut packet);
    }
}
