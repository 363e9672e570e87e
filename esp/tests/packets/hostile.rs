//! Whatever arrives, it is dropped for the right reason and nothing panics.

use proptest::prelude::*;
use secure_gre_esp::{Drop, Suite, peek_spi};

use crate::pair::{GRE, Pair, SPI, kinds};

/// The shortest packet: header and IV, trailer, ICV.
fn shortest(suite: Suite) -> usize {
    let overhead = suite.overhead();
    overhead.header + overhead.trailer + overhead.icv
}

/// RFC 4303 §3.4.4
#[test]
fn a_changed_bit_anywhere_is_noticed() {
    for (suite, esn) in kinds() {
        let mut pair = Pair::new(suite, esn);
        // Number 3, of which no changed bit makes 0.
        pair.skip(2);
        let packet = pair.seal(GRE, b"an untouched payload");
        for bit in 0..packet.len() * 8 {
            let mut changed = packet.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 32 {
                Drop::UnknownSpi
            } else {
                Drop::Icv
            };
            assert_eq!(
                pair.receive(&mut changed).unwrap_err(),
                expected,
                "{suite}, bit {bit}"
            );
        }
        assert!(pair.receive(&mut packet.clone()).is_ok());
    }
}

/// RFC 4303 §3.4.4
#[test]
fn a_packet_cut_short_or_extended_is_noticed() {
    for (suite, esn) in kinds() {
        let mut pair = Pair::new(suite, esn);
        let packet = pair.seal(GRE, b"a whole payload");
        for length in 0..packet.len() {
            let expected = if length < shortest(suite) {
                Drop::Truncated
            } else {
                Drop::Icv
            };
            let received = pair.receive(&mut packet[..length].to_vec()).unwrap_err();
            assert_eq!(received, expected, "{suite}, {length}");
        }
        let mut extended = [&*packet, &[0; 4]].concat();
        assert_eq!(pair.receive(&mut extended).unwrap_err(), Drop::Icv);
        assert!(pair.receive(&mut packet.clone()).is_ok());
    }
}

/// The buffer may be handed back shorter between two steps.
#[test]
fn a_packet_cut_short_after_it_became_a_candidate_is_noticed() {
    let (suite, esn) = kinds()[0];
    let mut pair = Pair::new(suite, esn);
    let packet = pair.seal(GRE, b"a whole payload");
    for length in 0..packet.len() {
        let candidate = pair.inbound.candidate(&packet).unwrap();
        let expected = if length < shortest(suite) {
            Drop::Truncated
        } else {
            Drop::Icv
        };
        let opened = pair
            .inbound
            .open(candidate, &mut packet[..length].to_vec())
            .map(|_| ());
        assert_eq!(opened, Err(expected), "{length}");
    }
}

/// A candidate vouches for its own packet only.
#[test]
fn a_packet_exchanged_for_another_is_noticed() {
    let (suite, esn) = kinds()[1];
    let mut pair = Pair::new(suite, esn);
    let first = pair.seal(GRE, b"first");
    let mut second = pair.seal(GRE, b"second");
    let candidate = pair.inbound.candidate(&first).unwrap();
    assert_eq!(
        pair.inbound.open(candidate, &mut second).unwrap_err(),
        Drop::Icv
    );
}

/// D43, RFC 4303 §2.1
#[test]
fn an_spi_is_read_only_where_there_can_be_one() {
    let cases: [(&str, &[u8], Option<u32>); 6] = [
        ("nothing", &[], None),
        ("three octets", &[1, 2, 3], None),
        ("the non-ESP marker", &[0, 0, 0, 0, 9], None),
        ("the last reserved SPI", &[0, 0, 0, 255], None),
        ("the first SPI", &[0, 0, 1, 0], Some(256)),
        ("an SPI and more", &[0x88, 0x99, 0xaa, 0xbb, 9], Some(SPI)),
    ];
    for (name, packet, spi) in cases {
        assert_eq!(peek_spi(packet).map(u32::from), spi, "{name}");
    }
}

proptest! {
    #[test]
    fn arbitrary_octets_are_dropped(
        mut packet in prop::collection::vec(any::<u8>(), 0..200),
        ours: bool,
        kind in prop::sample::select(kinds()),
    ) {
        let mut pair = Pair::new(kind.0, kind.1);
        if ours && let Some(spi) = packet.first_chunk_mut() {
            *spi = SPI.to_be_bytes();
        }
        let short = packet.len() < shortest(kind.0);
        let reason = pair.receive(&mut packet).unwrap_err();
        prop_assert_eq!(reason == Drop::Truncated, short);
        prop_assert_eq!(reason == Drop::UnknownSpi, !short && !ours);
    }
}
