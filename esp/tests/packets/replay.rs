//! No packet is delivered twice, and only an accepted packet moves the window.

use secure_gre_esp::{DEFAULT_WINDOW_PACKETS, Drop};

use crate::pair::{GRE, Pair, kinds};

/// D45, RFC 4303 §3.4.3; D46, Appendix A2
#[test]
fn duplicates_and_old_packets_are_dropped() {
    for (suite, esn) in kinds() {
        let mut pair = Pair::new(suite, esn);
        let first = pair.seal(GRE, b"first");
        let second = pair.seal(GRE, b"second");
        let late = pair.seal(GRE, b"late");
        pair.skip(DEFAULT_WINDOW_PACKETS - 2);
        let newest = pair.seal(GRE, b"newest");

        assert!(pair.receive(&mut first.clone()).unwrap().newest);
        assert_eq!(
            pair.receive(&mut first.clone()).unwrap_err(),
            Drop::ReplayDuplicate
        );
        assert!(pair.receive(&mut newest.clone()).unwrap().newest);
        // With ESN the appendix takes them for packets of the next subspace.
        let old = if esn { Drop::Icv } else { Drop::ReplayOld };
        assert_eq!(pair.receive(&mut first.clone()).unwrap_err(), old);
        assert_eq!(pair.receive(&mut second.clone()).unwrap_err(), old);
        assert!(!pair.receive(&mut late.clone()).unwrap().newest);
        assert_eq!(
            pair.receive(&mut late.clone()).unwrap_err(),
            Drop::ReplayDuplicate
        );
    }
}

/// D45, RFC 4303 §3.4.3: the check before the ICV is not the one that counts.
#[test]
fn a_packet_opened_twice_is_committed_once() {
    for (suite, esn) in kinds() {
        let mut pair = Pair::new(suite, esn);
        let (mut one, mut two) = {
            let packet = pair.seal(GRE, b"once");
            (packet.clone(), packet)
        };
        let sa = &mut pair.inbound;
        let candidates = (sa.candidate(&one).unwrap(), sa.candidate(&two).unwrap());
        let first = sa.open(candidates.0, &mut one).unwrap();
        let second = sa.open(candidates.1, &mut two).unwrap();
        assert_eq!(sa.commit(first).unwrap().bytes, b"once");
        assert_eq!(sa.commit(second).unwrap_err(), Drop::ReplayDuplicate);
    }
}

/// D45, RFC 4303 §3.4.3
#[test]
fn a_forged_packet_does_not_move_the_window() {
    for (suite, esn) in kinds() {
        let mut pair = Pair::new(suite, esn);
        let mut genuine = pair.seal(GRE, b"genuine");
        let mut forged = genuine.clone();
        forged[4..8].copy_from_slice(&1_000_000_u32.to_be_bytes());
        assert_eq!(pair.receive(&mut forged).unwrap_err(), Drop::Icv);
        assert!(pair.receive(&mut genuine).unwrap().newest);
    }
}

/// D44, RFC 4303 §2.6
#[test]
fn a_dummy_packet_counts() {
    let (suite, esn) = kinds()[0];
    let mut pair = Pair::new(suite, esn);
    let mut dummy = pair.seal(59, b"");
    assert_eq!(pair.receive(&mut dummy.clone()).unwrap().next_header, 59);
    assert_eq!(pair.receive(&mut dummy).unwrap_err(), Drop::ReplayDuplicate);
}

/// Tokens are worth nothing to another SA, even one with the same SPI and keys.
#[test]
fn tokens_of_another_sa_are_refused() {
    for (suite, esn) in kinds() {
        let mut pair = Pair::new(suite, esn);
        let mut other = Pair::new(suite, esn);
        let mut packet = pair.seal(GRE, b"mine");

        let candidate = other.inbound.candidate(&packet).unwrap();
        assert_eq!(
            pair.inbound.open(candidate, &mut packet).unwrap_err(),
            Drop::UnknownSpi
        );
        let candidate = pair.inbound.candidate(&packet).unwrap();
        let opened = pair.inbound.open(candidate, &mut packet).unwrap();
        assert_eq!(other.inbound.commit(opened).unwrap_err(), Drop::UnknownSpi);
    }
}
