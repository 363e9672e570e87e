use hex_literal::hex;
use proptest::prelude::*;

use super::*;
use crate::keys::{Keys, Vsid};

const IPV4: [u8; 20] = hex!("45000014 00000000 4001 0000 0a000001 0a000002");
const PLAIN: Config = Config {
    kind: Passengers::Ip,
    key: None,
    checksum: false,
    sequence: false,
};

fn decode_hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn inbound(config: Config, packet: &[u8]) -> Result<Vec<u8>, Drop> {
    let mut packet = packet.to_vec();
    decapsulate(config, &mut Decapsulator::new(config), &mut packet)
        .map(|delivery| delivery.passenger.to_vec())
}

/// As the only tunnel that there is.
fn decapsulate<'b>(
    config: Config,
    tunnel: &mut Decapsulator,
    packet: &'b mut [u8],
) -> Result<Delivery<'b>, Drop> {
    let packet = Packet::parse(packet)?;
    Keys::new([config.key]).find(packet.key())?;
    tunnel.decapsulate(packet)
}

/// What becomes of a packet that has come to `tunnel`.
fn taken(tunnel: &mut Decapsulator, packet: &mut [u8]) -> Result<(), Drop> {
    tunnel.decapsulate(Packet::parse(packet)?).map(drop)
}

fn outbound(config: Config, passenger: &[u8]) -> Vec<u8> {
    let mut buf = [&[0xaa; Header::MAX_LEN], passenger].concat();
    let range = Header::MAX_LEN..buf.len();
    let packet = Encapsulator::new(config)
        .encapsulate(&mut buf, range)
        .unwrap();
    buf[packet].to_vec()
}

#[test]
fn vectors() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/vectors/gre.json")).unwrap();
    for case in vectors["cases"].as_array().unwrap() {
        let what = case["what"].as_str().unwrap();
        let packet = decode_hex(case["packet"].as_str().unwrap());
        let config = Config {
            key: case["key"]
                .as_u64()
                .map(|key| Key::Whole(key.try_into().unwrap())),
            ..PLAIN
        };
        let expected = match what {
            "TEB" => Err(Drop::ProtocolUnknown),
            "bare header, protocol 0, no payload" => Err(Drop::KeepaliveUnasked),
            "version 1" => Err(Drop::Version),
            "routing present" => Err(Drop::ReservedBits),
            "checksum wrong" => Err(Drop::Checksum),
            "3 octets" | "key flag, no key" | "all flags, 15 octets" => Err(Drop::HeaderTruncated),
            _ => {
                let offset: usize = case["payload_offset"].as_u64().unwrap().try_into().unwrap();
                let header = Header::parse(&packet).unwrap().0;
                assert_eq!(header.wire_len(), offset, "{what}");
                if let Some(sequence) = case["seq"].as_u64() {
                    assert_eq!(header.sequence.map(u64::from), Some(sequence), "{what}");
                }
                let end = offset + ip::total_len(&packet[offset..]).unwrap();
                Ok(packet[offset..end].to_vec())
            }
        };
        assert_eq!(inbound(config, &packet), expected, "{what}");
    }
}

#[test]
fn each_broken_rule_has_its_drop() {
    let keyed = Config {
        key: Some(Key::Whole(42)),
        ..PLAIN
    };
    let cases: &[(&str, Config, &[u8], Drop)] = &[
        (
            "D54: key absent",
            keyed,
            &hex!("0000 0800"),
            Drop::KeyMissing,
        ),
        (
            "D54: key present",
            PLAIN,
            &hex!("2000 0800 0000002a"),
            Drop::KeyUnexpected,
        ),
        (
            "D54: key 0 is a key",
            PLAIN,
            &hex!("2000 0800 00000000"),
            Drop::KeyUnexpected,
        ),
        (
            "D54: key differs",
            keyed,
            &hex!("2000 0800 0000002b"),
            Drop::KeyUnknown,
        ),
        (
            "D60: protocol 0",
            PLAIN,
            &hex!("0000 0000 45"),
            Drop::ProtocolZero,
        ),
        (
            "ARP passenger",
            PLAIN,
            &hex!("0000 0806 00"),
            Drop::ProtocolUnknown,
        ),
        (
            "no passenger",
            PLAIN,
            &hex!("0000 0800"),
            Drop::PassengerTruncated,
        ),
        (
            "D60: IPv6 as 0800",
            PLAIN,
            &hex!("0000 0800 60"),
            Drop::PassengerVersion,
        ),
        (
            "D60: IPv4 as 86dd",
            PLAIN,
            &hex!("0000 86dd 45"),
            Drop::PassengerVersion,
        ),
        (
            "version 5 as 0800",
            PLAIN,
            &hex!("0000 0800 55"),
            Drop::PassengerVersion,
        ),
        (
            "IHL below 5",
            PLAIN,
            &hex!("0000 0800 44000014 00000000 40010000 0a000001 0a000002"),
            Drop::PassengerHeader,
        ),
        (
            "IHL beyond the total length",
            PLAIN,
            &hex!("0000 0800 46000014 00000000 40010000 0a000001 0a000002 00000000"),
            Drop::PassengerHeader,
        ),
        (
            "total length beyond the packet",
            PLAIN,
            &hex!("0000 0800 45000015 00000000 40010000 0a000001 0a000002"),
            Drop::PassengerTruncated,
        ),
        (
            "IPv6 payload length beyond the packet",
            PLAIN,
            &hex!(
                "0000 86dd 60000000 0001 3b40
                   00000000000000000000000000000001 00000000000000000000000000000002"
            ),
            Drop::PassengerTruncated,
        ),
    ];
    for (name, config, packet, drop) in cases {
        assert_eq!(inbound(*config, packet), Err(*drop), "{name}");
    }
}

/// D52, RFC 2784 §2.5: a checksum is verified whether or not it was asked for, and not missed.
#[test]
fn checksum_absent_wrong_or_unasked_for() {
    let checksummed = Config {
        checksum: true,
        ..PLAIN
    };
    let mut packet = outbound(checksummed, &IPV4);
    for config in [PLAIN, checksummed] {
        assert_eq!(inbound(config, &outbound(PLAIN, &IPV4)), Ok(IPV4.to_vec()));
        assert_eq!(inbound(config, &packet), Ok(IPV4.to_vec()));
    }
    for position in 0..packet.len() {
        packet[position] ^= 0x08;
        assert!(inbound(PLAIN, &packet).is_err(), "octet {position} changed");
        packet[position] ^= 0x08;
    }
}

/// D44: octets after the passenger are tolerated and do not reach the device.
#[test]
fn trailing_octets_are_cut() {
    let packet = [&outbound(PLAIN, &IPV4)[..], &[0; 7]].concat();
    assert_eq!(inbound(PLAIN, &packet), Ok(IPV4.to_vec()));
}

#[test]
fn truncated_at_each_octet() {
    let config = Config {
        kind: Passengers::Ip,
        key: Some(Key::Whole(1)),
        checksum: true,
        sequence: true,
    };
    let packet = outbound(config, &IPV4);
    for len in 0..packet.len() {
        assert!(inbound(config, &packet[..len]).is_err(), "{len} octets");
    }
}

fn numbered(sequence: u32) -> Vec<u8> {
    [&hex!("1000 0800")[..], &sequence.to_be_bytes(), &IPV4].concat()
}

/// D55, RFC 2890 §2.2: the last number and the 2^31 − 1 before it are old.
#[test]
fn sequence_numbers_that_are_old() {
    let sequenced = Config {
        sequence: true,
        ..PLAIN
    };
    let cases: &[(&str, &[u32], &[u32])] = &[
        ("starts at 0", &[0, 1, 2], &[2, 1, 0, u32::MAX]),
        ("a new tunnel's last is 2^32 - 1", &[], &[u32::MAX, 1 << 31]),
        ("a gap is passed over", &[0, 5], &[5, 4, 1]),
        (
            "half the space ahead is new",
            &[(1 << 31) - 1, u32::MAX],
            &[u32::MAX, 1 << 31],
        ),
        ("wraps", &[(1 << 31) - 1, u32::MAX, 0], &[u32::MAX, 0]),
    ];
    for (name, new, old) in cases {
        let mut tunnel = Decapsulator::new(sequenced);
        for &sequence in *new {
            assert!(
                taken(&mut tunnel, &mut numbered(sequence)).is_ok(),
                "{name}: {sequence}"
            );
        }
        for &sequence in *old {
            let mut packet = numbered(sequence);
            let result = taken(&mut tunnel, &mut packet);
            assert_eq!(result, Err(Drop::SequenceOld), "{name}: {sequence}");
        }
    }
}

/// D55: the state resets with a new SA, whether the peer starts again at 0 or goes on.
#[test]
fn restart_takes_any_first_number() {
    let sequenced = Config {
        sequence: true,
        ..PLAIN
    };
    for first_after in [0, 4_000_000_000] {
        let mut tunnel = Decapsulator::new(sequenced);
        taken(&mut tunnel, &mut numbered(2_000_000_000)).unwrap();
        tunnel.restart();
        taken(&mut tunnel, &mut numbered(first_after)).unwrap();
        let mut packet = numbered(first_after);
        let again = taken(&mut tunnel, &mut packet);
        assert_eq!(again, Err(Drop::SequenceOld), "{first_after}");
    }
}

/// D55: a peer whose device was made anew under a living SA starts at 0 (or 1, as older Linux does)
/// and is heard again after a few packets; late packets do not look like that.
#[test]
fn a_peer_that_starts_anew_is_heard_again() {
    let sequenced = Config {
        sequence: true,
        ..PLAIN
    };
    let delivered = |numbers: &[u32]| {
        let mut tunnel = Decapsulator::new(sequenced);
        taken(&mut tunnel, &mut numbered(1000)).unwrap();
        let mut is_taken = |number: &u32| taken(&mut tunnel, &mut numbered(*number)).is_ok();
        numbers
            .iter()
            .copied()
            .filter(|n| is_taken(n))
            .collect::<Vec<_>>()
    };
    for (numbers, expected) in [
        (&[0, 1, 2, 3, 4][..], &[3, 4][..]),
        (&[1, 2, 5, 9, 10, 1001], &[9, 10, 1001]),
        // Late packets among those in sequence, and late ones in reverse.
        (&[990, 991, 1001, 992, 993, 1002, 994], &[1001, 1002]),
        (&[999, 998, 997, 996, 995], &[]),
        // The same number again and again is no sender that goes on.
        (&[7, 7, 7, 7, 7], &[]),
    ] {
        assert_eq!(delivered(numbers), expected, "{numbers:?}");
    }
}

/// RFC 2890 §2.2: only a packet that was delivered counts; one without a number is in sequence.
#[test]
fn dropped_and_unnumbered_packets_leave_the_sequence_alone() {
    let mut tunnel = Decapsulator::new(Config {
        sequence: true,
        ..PLAIN
    });
    let mut broken = numbered(9);
    broken.truncate(20);
    assert_eq!(
        taken(&mut tunnel, &mut broken),
        Err(Drop::PassengerTruncated)
    );
    assert!(taken(&mut tunnel, &mut outbound(PLAIN, &IPV4)).is_ok());
    assert!(taken(&mut tunnel, &mut numbered(0)).is_ok());
}

#[test]
fn sequence_numbers_are_ignored_where_order_is_not_asked_for() {
    let mut tunnel = Decapsulator::new(PLAIN);
    for sequence in [7, 7, 3, u32::MAX] {
        assert!(
            taken(&mut tunnel, &mut numbered(sequence)).is_ok(),
            "{sequence}"
        );
    }
}

/// RFC 2890 §2.2: from 0, modulo 2^32, one for each packet that leaves.
#[test]
fn outbound_sequence_numbers() {
    let mut tunnel = Encapsulator::new(Config {
        sequence: true,
        ..PLAIN
    });
    let mut buf = [&[0; 8], &IPV4[..]].concat();
    assert_eq!(tunnel.encapsulate(&mut buf, 7..28), Err(Drop::NoHeadroom));
    assert_eq!(
        tunnel.encapsulate(&mut [0; 9], 8..9),
        Err(Drop::PassengerNotIp)
    );
    for sequence in [0, 1] {
        assert_eq!(tunnel.encapsulate(&mut buf, 8..28), Ok(0..28));
        assert_eq!(Header::parse(&buf).unwrap().0.sequence, Some(sequence));
    }
    tunnel.next_sequence = u32::MAX;
    tunnel.encapsulate(&mut buf, 8..28).unwrap();
    tunnel.encapsulate(&mut buf, 8..28).unwrap();
    assert_eq!(Header::parse(&buf).unwrap().0.sequence, Some(0));
}

#[test]
#[expect(
    clippy::reversed_empty_ranges,
    reason = "a caller's mistake, and no panic"
)]
fn a_passenger_outside_the_buffer_is_refused() {
    let mut tunnel = Encapsulator::new(PLAIN);
    for passenger in [0..20, 3..23, 4..29, 24..8, 40..60, usize::MAX..usize::MAX] {
        let result = tunnel.encapsulate(&mut [0x45; 28], passenger.clone());
        assert_eq!(result, Err(Drop::NoHeadroom), "{passenger:?}");
    }
}

const FRAME: [u8; 34] = hex!(
    "020000000001 020000000002 0800
     45000014 00000000 4001 0000 0a000001 0a000002"
);
/// The same in VLAN 100.
const TAGGED: [u8; 38] = hex!(
    "020000000001 020000000002 8100 0064 0800
     45000014 00000000 4001 0000 0a000001 0a000002"
);
const ETHERNET: Config = Config {
    kind: Passengers::Ethernet,
    ..PLAIN
};

/// Any frame passes as it is, with its tags and what follows its packet.
#[test]
fn frames_pass_whole() {
    let padded = [&FRAME[..], &[0; 26]].concat();
    for frame in [&FRAME[..], &TAGGED, &padded, &FRAME[..14]] {
        let packet = outbound(ETHERNET, frame);
        assert_eq!(packet[..4], hex!("0000 6558"));
        assert_eq!(inbound(ETHERNET, &packet), Ok(frame.to_vec()));
        assert_eq!(inbound(PLAIN, &packet), Err(Drop::ProtocolUnknown));
    }
    let ip = outbound(PLAIN, &IPV4);
    assert_eq!(inbound(ETHERNET, &ip), Err(Drop::ProtocolUnknown));
    let short = [&hex!("0000 6558")[..], &FRAME[..13]].concat();
    assert_eq!(inbound(ETHERNET, &short), Err(Drop::PassengerTruncated));
    let mut buf = [0; 17];
    let refused = Encapsulator::new(ETHERNET).encapsulate(&mut buf, 4..17);
    assert_eq!(refused, Err(Drop::PassengerNotEthernet));
}

/// D54, RFC 7637 §3.2: VSID and FlowID are the key, tags don't travel, and none is taken.
#[test]
fn nvgre_has_vsid_and_flow_id_and_no_tags() {
    let nvgre = |flow_id| Config {
        key: Some(Key::Subnet {
            vsid: Vsid::new(5001).unwrap(),
            flow_id,
        }),
        ..ETHERNET
    };
    let fixed = outbound(nvgre(FlowId::Fixed(7)), &TAGGED);
    assert_eq!(fixed[..8], hex!("2000 6558 001389 07"));
    assert_eq!(fixed[8..], FRAME);
    let auto = outbound(nvgre(FlowId::Auto), &FRAME);
    assert_eq!(auto[..7], hex!("2000 6558 001389"));
    assert_eq!(auto[7], ethernet::flow_id(&FRAME));
    for packet in [&fixed, &auto] {
        let found = inbound(nvgre(FlowId::Fixed(0)), packet);
        assert_eq!(found, Ok(FRAME.to_vec()), "by VSID alone");
    }
    let tagged = [&fixed[..8], &TAGGED].concat();
    assert_eq!(inbound(nvgre(FlowId::Auto), &tagged), Err(Drop::VlanTag));
}

fn any_config() -> impl Strategy<Value = Config> {
    any::<(Option<u32>, bool, bool)>().prop_map(|(key, checksum, sequence)| Config {
        kind: Passengers::Ip,
        key: key.map(Key::Whole),
        checksum,
        sequence,
    })
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(config in any_config(), ipv6: bool, data in prop::collection::vec(any::<u8>(), 0..1500)) {
        let len = u16::try_from(data.len()).unwrap();
        let header = if ipv6 {
            [&[0x60, 0, 0, 0], &len.to_be_bytes()[..], &[59; 34]].concat()
        } else {
            [&[0x45, 0], &(len + 20).to_be_bytes()[..], &[6; 16]].concat()
        };
        let passenger = [header, data].concat();
        let mut packet = outbound(config, &passenger);
        prop_assert_eq!(packet.len(), passenger.len() + Encapsulator::new(config).header_len());
        let mut tunnel = Decapsulator::new(config);
        let delivery = decapsulate(config, &mut tunnel, &mut packet).unwrap();
        prop_assert_eq!(delivery.protocol, if ipv6 { Protocol::IPV6 } else { Protocol::IPV4 });
        prop_assert_eq!(delivery.passenger, &passenger);
    }

    #[test]
    fn arbitrary_octets_never_panic(config in any_config(), mut packet: Vec<u8>, flags in 0u8..16) {
        if let [first, second, ..] = &mut packet[..] {
            (*first, *second) = (flags << 4, 0);
        }
        let _ = decapsulate(config, &mut Decapsulator::new(config), &mut packet);
    }
}
