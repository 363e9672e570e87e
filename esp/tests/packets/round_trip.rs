//! What is sealed opens to what it was.

use secure_gre_esp::Exhausted;

use crate::pair::{GRE, Pair, kinds};

/// RFC 4303 §3.3 and §3.4
#[test]
fn payloads_of_every_length_survive() {
    let octets: Vec<u8> = (0..=250).cycle().take(9000).collect();
    for (suite, esn) in kinds() {
        let mut pair = Pair::new(suite, esn);
        for length in (0..300).chain(octets.len() - 40..=octets.len()) {
            let mut packet = pair.seal(GRE, &octets[..length]);
            assert_eq!(packet.len() % 4, 0, "D44: {suite}, {length}");
            let payload = pair.receive(&mut packet).unwrap();
            assert_eq!(payload.bytes, &octets[..length], "{suite}, {length}");
            assert_eq!((payload.next_header, payload.newest), (GRE, true));
        }
    }
}

/// D46, RFC 4303 §2.2.1
#[test]
fn with_esn_numbers_pass_2_32() {
    for (suite, _) in kinds().into_iter().filter(|&(_, esn)| esn) {
        let mut pair = Pair::new(suite, true);
        pair.skip(2);
        for subspace in 1..4 {
            // From number 2 of the subspace in two leaps to three before its end: in one leap the
            // next packet would seem to lie before the window.
            pair.skip(1 << 31);
            let mut half_way = pair.seal(GRE, b"half way");
            assert!(pair.receive(&mut half_way).unwrap().newest);
            pair.skip((1 << 31) - 6);
            let mut packets: Vec<_> = (0..5u8).map(|n| pair.seal(GRE, &[n])).collect();
            assert_eq!(packets[1][4..8], [0xff; 4], "{subspace}");
            assert_eq!(packets[2][4..8], [0; 4], "{subspace}");
            for (n, newest) in [(0, true), (3, true), (1, false), (4, true), (2, false)] {
                let payload = pair.receive(&mut packets[n]).unwrap();
                assert_eq!(payload.bytes, [n as u8], "{subspace}");
                assert_eq!(payload.newest, newest, "{subspace}, {n}");
            }
        }
    }
}

/// D45, RFC 4303 §3.3.3
#[test]
fn without_esn_numbers_end_with_2_32_minus_1() {
    for (suite, _) in kinds().into_iter().filter(|&(_, esn)| !esn) {
        let mut pair = Pair::new(suite, false);
        pair.skip(u32::MAX - 1);
        let mut last = pair.seal(GRE, b"last");
        assert_eq!(last[4..8], [0xff; 4]);
        assert_eq!(pair.receive(&mut last).unwrap().bytes, b"last");
        let exhausted = Exhausted::Packets { wanted: 1, left: 0 };
        assert_eq!(pair.outbound.reserve(1, 4).unwrap_err(), exhausted);
    }
}
