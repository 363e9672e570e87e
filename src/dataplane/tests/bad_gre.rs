//! Bad GRE under a good SA: each kind is dropped, counted under its own reason, and harms nothing else.

use super::*;

/// RFC 2784 §2.3, §2.5; RFC 2890 §2; D51, D52, D54, D56.
#[test]
fn each_kind_has_its_counter() {
    let passenger = udp4(0, DF, 40);
    let behind = |header: &[u8]| [header, &passenger].concat();
    let cases: [(&str, Vec<u8>, gre::Drop); 16] = [
        ("bit 1", behind(&[0x40, 0, 8, 0]), gre::Drop::ReservedBits),
        ("bit 4", behind(&[0x08, 0, 8, 0]), gre::Drop::ReservedBits),
        ("bit 5", behind(&[0x04, 0, 8, 0]), gre::Drop::ReservedBits),
        ("version 1", behind(&[0, 1, 8, 0]), gre::Drop::Version),
        (
            "PPTP",
            behind(&[0x30, 1, 0x88, 0x0b, 0, 60, 0, 7, 0, 0, 0, 0]),
            gre::Drop::Version,
        ),
        ("version 7", behind(&[0, 7, 8, 0]), gre::Drop::Version),
        (
            "a bad checksum",
            behind(&[0x80, 0, 8, 0, 0, 1, 0, 0]),
            gre::Drop::Checksum,
        ),
        ("nothing", vec![], gre::Drop::HeaderTruncated),
        ("half a header", vec![0, 0, 8], gre::Drop::HeaderTruncated),
        (
            "a truncated checksum",
            vec![0x80, 0, 8, 0, 0, 0],
            gre::Drop::HeaderTruncated,
        ),
        (
            "a truncated key",
            vec![0x20, 0, 8, 0, 0, 0, 0],
            gre::Drop::HeaderTruncated,
        ),
        (
            "a truncated sequence number",
            vec![0x10, 0, 8, 0, 0, 0, 0],
            gre::Drop::HeaderTruncated,
        ),
        (
            "an unknown protocol type",
            behind(&[0, 0, 0x80, 0x9b]),
            gre::Drop::ProtocolUnknown,
        ),
        (
            "frames for a tunnel of packets",
            behind(&[0, 0, 0x65, 0x58]),
            gre::Drop::ProtocolUnknown,
        ),
        (
            "a key where there is none",
            behind(&[0x20, 0, 8, 0, 0, 0, 0, 0]),
            gre::Drop::KeyUnexpected,
        ),
        (
            "IPv4 that is called IPv6",
            behind(&[0, 0, 0x86, 0xdd]),
            gre::Drop::PassengerVersion,
        ),
    ];
    for (name, packet, reason) in cases {
        let (mut sender, mut receiver) = pair(&CONFIG);
        let good = sender.send(&numbered(1));
        let sa = OutboundSa::new(keys(1));
        // The numbers of one SA: the good packet's has been used.
        let _ = sealed(&sa, 47, &[]);
        let bad = sealed(&sa, 47, &packet);
        assert_eq!(receiver.receive(vec![bad]), [[0; 0]; 0], "{name}");
        assert_eq!(receiver.dropped(reason), 1, "{name}");
        assert_eq!(receiver.receive(good).len(), 1, "{name}");
        let counted = gre::Drop::ALL.iter().map(|drop| receiver.dropped(*drop));
        assert_eq!(counted.sum::<u64>(), 1, "{name}: once, under one name");
    }
}

/// A Destination Options header that ends early, or whose options say that it must not be passed over.
#[test]
fn options_before_gre_that_are_none() {
    for (name, options) in [
        ("half of one", &[47, 0, 4][..]),
        ("longer than the packet", &[47, 9, 4, 1, 4, 1, 1, 0]),
        ("not before GRE", &[6, 0, 4, 1, 4, 1, 1, 0]),
        ("an option that discards", &[47, 0, 0x44, 1, 4, 1, 1, 0]),
        ("an option beyond the header", &[47, 0, 4, 9, 4, 1, 1, 0]),
    ] {
        let (_, mut receiver) = pair(&CONFIG);
        let packet = [options, &[0, 0, 8, 0], &udp4(0, DF, 40)].concat();
        let packet = sealed(&OutboundSa::new(keys(1)), 60, &packet);
        assert_eq!(receiver.receive(vec![packet]), [[0; 0]; 0], "{name}");
        let counted = receiver.dropped(gre::Drop::DestinationOptions);
        assert_eq!(counted, 1, "{name}");
    }
}
