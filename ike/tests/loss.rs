//! What a network does to datagrams: it loses, repeats and reorders them. Two endpoints are left
//! with one working pair whatever it was.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use secure_gre_ike::wire::{ExchangeType, Header};
use secure_gre_sim::{Frame, Quality, Verdict};
use support::puppet::header_of;
use support::tap;
use support::{
    A, B, LONG, MINUTES, connect, default_pair, leave_without_a_trace, one_working_pair,
};

/// RFC 7296 §2.1: the loss matrix. Each of the first datagrams once, then each pair of them; the
/// handshake has four, the rest are repetitions.
#[test]
fn any_two_messages_may_be_lost() {
    for first in 0..8 {
        for second in first..8 {
            let mut sim = default_pair(1);
            tap::lose(&mut sim, [first, second]);
            connect(&mut sim, A);
            sim.run_until(MINUTES, one_working_pair)
                .unwrap_or_else(|stuck| panic!("{first} and {second}: {stuck}"));
            assert!(sim.node(A).failures.is_empty(), "{first} and {second}");
            sim.run_for(MINUTES).unwrap();
            assert!(one_working_pair(&sim), "{first} and {second}");
            leave_without_a_trace(&mut sim);
        }
    }
}

/// What makes a message of one sender the same message.
fn key(frame: &Frame) -> (std::net::IpAddr, u64, u64, ExchangeType, bool, u32) {
    let Header {
        initiator,
        responder,
        exchange,
        response,
        message_id,
        ..
    } = header_of(&frame.bytes);
    (
        frame.source.ip(),
        initiator.0,
        responder.0,
        exchange,
        response,
        message_id,
    )
}

fn assert_repetitions_are_identical(frames: &[Frame]) {
    let mut first: BTreeMap<_, &[u8]> = BTreeMap::new();
    for frame in frames {
        let before = first.entry(key(frame)).or_insert(&frame.bytes);
        assert!(*before == frame.bytes, "{:?}", key(frame));
    }
}

/// D2, RFC 7296 §2.1: only the initiator of an exchange repeats, and bit by bit the same; so does
/// whoever is asked again.
#[test]
fn repetitions_are_bit_identical() {
    for exchange in [ExchangeType::IKE_SA_INIT, ExchangeType::IKE_AUTH] {
        let mut sim = default_pair(2);
        let mut lost = 0;
        let frames = tap::record_and(&mut sim, move |frame, _| {
            let header = header_of(&frame.bytes);
            if header.exchange == exchange && header.response && lost < 3 {
                lost += 1;
                return Verdict::Drop;
            }
            Verdict::Pass
        });
        connect(&mut sim, A);
        sim.run_until(MINUTES, one_working_pair).unwrap();
        let frames = frames.borrow();
        let of = |response: bool| {
            frames
                .iter()
                .filter(|frame| {
                    let header = header_of(&frame.bytes);
                    header.exchange == exchange && header.response == response
                })
                .count()
        };
        assert_eq!((of(false), of(true)), (4, 4), "{exchange}");
        assert_repetitions_are_identical(&frames);
        assert_eq!(sim.node(B).dropped(), 0);
    }
}

/// RFC 7296 §2.4: the waits grow, and nothing is sent when they are over.
#[test]
fn waits_between_repetitions_grow() {
    let mut sim = default_pair(3);
    sim.partition(A, B);
    connect(&mut sim, A);
    sim.run_until(LONG, |sim| !sim.node(A).failures.is_empty())
        .unwrap();
    let sent: Vec<Duration> = sim.trace().entries().iter().map(|entry| entry.at).collect();
    assert_eq!(sent.len(), 8);
    let waits: Vec<Duration> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.is_sorted(), "{waits:?}");
    assert_eq!(waits[0], Duration::from_millis(500));
}

/// D2: every datagram arrives twice; nothing is processed twice ([`Host`] refuses a second
/// installation), and the SA is there once.
#[test]
fn everything_twice_is_processed_once() {
    for seed in 0..20 {
        let mut sim = default_pair(seed);
        sim.set_quality(Quality {
            duplicate_per_mille: 1000,
            jitter: Duration::from_millis(50),
            ..Quality::PERFECT
        });
        let frames = tap::record(&mut sim);
        connect(&mut sim, A);
        sim.run_until(MINUTES, one_working_pair).unwrap();
        sim.run_for(MINUTES).unwrap();
        assert!(one_working_pair(&sim));
        assert_eq!(
            (sim.node(A).inbound.len(), sim.node(B).inbound.len()),
            (1, 1)
        );
        leave_without_a_trace(&mut sim);
        // A late copy of the first request may open a half-open SA, whose answers are others.
        let frames: Vec<_> = frames
            .borrow()
            .iter()
            .filter(|frame| frame.source.ip() == A)
            .cloned()
            .collect();
        assert_repetitions_are_identical(&frames);
    }
}

#[test]
fn reordering_of_everything() {
    for seed in 0..50 {
        let mut sim = default_pair(seed);
        sim.set_quality(Quality {
            reorder_per_mille: 500,
            jitter: Duration::from_millis(900),
            ..Quality::PERFECT
        });
        connect(&mut sim, A);
        sim.run_until(LONG, one_working_pair).unwrap();
        sim.run_for(MINUTES).unwrap();
        assert!(one_working_pair(&sim), "seed {seed}");
        leave_without_a_trace(&mut sim);
    }
}

/// Worse than any real link, and still one pair, and nothing left of it afterwards.
#[test]
fn one_pair_through_a_hostile_network() {
    for seed in 0..500 {
        let mut sim = default_pair(seed);
        sim.set_quality(Quality::HOSTILE);
        connect(&mut sim, A);
        sim.run_until(LONG, one_working_pair).unwrap();
        sim.set_quality(Quality::PERFECT);
        sim.run_for(LONG).unwrap();
        assert!(one_working_pair(&sim), "seed {seed}");
        leave_without_a_trace(&mut sim);
    }
}

/// The link is down for so long that the attempt fails, and comes back.
#[test]
fn a_link_that_was_down_is_called_again() {
    let mut sim = default_pair(4);
    sim.partition(A, B);
    connect(&mut sim, A);
    sim.run_for(LONG).unwrap();
    assert!(sim.node(A).failures.len() > 2);
    let spis: BTreeSet<_> = sim
        .trace()
        .entries()
        .iter()
        .map(|entry| entry.digest)
        .collect();
    assert_eq!(
        spis.len(),
        usize::try_from(sim.node(A).attempts).unwrap(),
        "each attempt is a new one"
    );
    sim.heal(A, B);
    sim.run_until(MINUTES * 2, one_working_pair).unwrap();
    leave_without_a_trace(&mut sim);
}
