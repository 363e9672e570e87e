//! Both ends rekey at once (RFC 7296 §2.8.1, §2.8.2, §2.25), at every distance in time, with every
//! message lost once: one IKE SA and one pair are left, and nobody ever had none. With and without an
//! additional key exchange, which takes another round trip (RFC 9370 §2.2.4).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use secure_gre_ike::algorithm::Kem;
use secure_gre_ike::event::GoneReason;
use secure_gre_ike::wire::ExchangeType;
use secure_gre_sim::{Quality, Sim, Verdict};
use support::puppet::header_of;
use support::traffic::PORT;
use support::{
    A, B, Host, MINUTES, Setup, connect, leave_without_a_trace, one_working_pair, pair, talk, with,
    works,
};

const MILLISECOND: Duration = Duration::from_millis(1);

type Rekey = fn(&mut Host, std::time::Instant);
const REKEYS: [(&str, Rekey, Rekey); 4] = [
    ("pair and pair", Host::rekey_child, Host::rekey_child),
    ("IKE SA and IKE SA", Host::rekey_ike, Host::rekey_ike),
    ("pair and IKE SA", Host::rekey_child, Host::rekey_ike),
    ("IKE SA and pair", Host::rekey_ike, Host::rekey_child),
];

/// What both ends are set to.
fn setups() -> [(&'static str, Setup); 2] {
    let hybrid = Setup {
        ike: vec![
            "aes256gcm16-prfsha256-x25519-ke1_mlkem768",
            "aes256gcm16-prfsha256-x25519",
        ],
        esp: vec!["aes256gcm16-x25519-ke1_mlkem768"],
        ..Setup::default()
    };
    [("classical", Setup::default()), ("hybrid", hybrid)]
}

/// So many seeds of everything that can collide.
fn cases(
    seeds: u64,
) -> impl Iterator<Item = (u64, (&'static str, Setup), (&'static str, Rekey, Rekey))> {
    (0..seeds).flat_map(|seed| {
        let setups = setups().into_iter();
        setups.flat_map(move |setup| REKEYS.map(|rekeys| (seed, setup.clone(), rekeys)))
    })
}

fn up(setup: &Setup, seed: u64) -> Sim<Host> {
    let mut sim = pair(seed, setup.clone(), setup.clone());
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    sim
}

/// Loses the messages with these numbers, counted from here.
fn lose(sim: &mut Sim<Host>, lost: &[usize]) {
    let lost = lost.to_vec();
    let mut number = 0;
    sim.tap(move |frame, _| {
        if frame.destination.port() == PORT {
            return Verdict::Pass;
        }
        number += 1;
        if lost.contains(&number) {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    });
}

fn collide(sim: &mut Sim<Host>, (a, b): (Rekey, Rekey), apart: Duration) {
    with(sim, A, a);
    sim.run_for(apart).unwrap();
    with(sim, B, b);
}

/// One IKE SA and one pair, and no IKE SA has ever gone down.
fn ends_well(sim: &mut Sim<Host>, what: &str) {
    let took = sim.run_until(MINUTES * 3, |sim| {
        assert!(works(sim), "{what}: no way at {:?}", sim.elapsed());
        one_working_pair(sim)
    });
    took.unwrap();
    sim.run_for(MINUTES * 3).unwrap();
    assert!(one_working_pair(sim), "{what}");
    let kems = [A, B].map(|host| sim.node(host).snapshot().established[0].0.suite.additional);
    let hybrid = what.starts_with("hybrid");
    assert_eq!(kems, [hybrid.then_some(Kem::MlKem768); 2], "{what}");
    for host in [A, B] {
        let host = sim.node(host);
        assert_eq!(host.down, [], "{what}");
        assert_eq!(host.rekey_failures, [], "{what}");
        assert!(host.offered.is_empty(), "{what}");
    }
    sim.untap();
    leave_without_a_trace(sim);
}

/// D34, D35: whoever comes first.
#[test]
fn no_packet_is_lost_in_a_collision() {
    for (seed, (kind, setup), (name, a, b)) in cases(2) {
        for apart in (0..40).step_by(2) {
            let mut sim = up(&setup, seed);
            talk(&mut sim, Some(MILLISECOND));
            collide(&mut sim, (a, b), MILLISECOND * apart);
            sim.run_for(MILLISECOND * 300).unwrap();
            talk(&mut sim, None);
            let what = format!("{kind}, {name}, {apart} ms apart, seed {seed}");
            ends_well(&mut sim, &what);
            let (a, b) = (&sim.node(A).traffic, &sim.node(B).traffic);
            assert_eq!((a.lost, b.lost, a.unsent, b.unsent), (0, 0, 0, 0), "{what}");
            assert_eq!((a.arrived, b.arrived), (b.sent, a.sent), "{what}");
        }
    }
}

/// PAINS 4 (strongswan/strongswan#1896).
#[test]
fn any_message_of_a_collision_may_be_lost() {
    for (seed, (kind, setup), (name, a, b)) in cases(1) {
        for apart in [0, 5, 12, 25] {
            for lost in 1..16 {
                let mut sim = up(&setup, seed);
                lose(&mut sim, &[lost]);
                collide(&mut sim, (a, b), MILLISECOND * apart);
                let what = format!("{kind}, {name}, {apart} ms apart, {lost} lost, seed {seed}");
                ends_well(&mut sim, &what);
            }
        }
    }
}

#[test]
fn any_two_messages_of_a_collision_may_be_lost() {
    for (_, (kind, setup), (name, a, b)) in cases(1) {
        for first in 1..10 {
            for second in first + 1..11 {
                let mut sim = up(&setup, u64::try_from(first + second).unwrap());
                lose(&mut sim, &[first, second]);
                collide(&mut sim, (a, b), Duration::ZERO);
                let what = format!("{kind}, {name}, {first} and {second} lost");
                ends_well(&mut sim, &what);
            }
        }
    }
}

/// What overtakes what does not matter either.
#[test]
fn messages_of_a_collision_overtake_each_other() {
    let quality = Quality {
        jitter: Duration::from_millis(60),
        duplicate_per_mille: 300,
        reorder_per_mille: 300,
        ..Quality::PERFECT
    };
    for (seed, (kind, setup), (name, a, b)) in cases(15) {
        let mut sim = up(&setup, seed);
        sim.set_quality(quality);
        talk(&mut sim, Some(MILLISECOND * 3));
        collide(&mut sim, (a, b), Duration::ZERO);
        sim.run_for(Duration::from_secs(2)).unwrap();
        talk(&mut sim, None);
        let what = format!("{kind}, {name}, seed {seed}");
        ends_well(&mut sim, &what);
        let lost = [A, B].map(|host| sim.node(host).traffic.lost);
        assert_eq!(lost, [0, 0], "{what}");
    }
}

/// The pair of the exchange with the lowest nonce is redundant, and nobody ever sends on it.
#[test]
fn one_of_two_new_pairs_is_redundant() {
    let mut losers = [0, 0];
    for seed in 0..20 {
        let mut sim = up(&Setup::default(), seed);
        collide(
            &mut sim,
            (Host::rekey_child, Host::rekey_child),
            Duration::ZERO,
        );
        sim.run_for(MINUTES * 2).unwrap();
        assert!(one_working_pair(&sim));
        for (host, losses) in [A, B].iter().zip(&mut losers) {
            let host = sim.node(*host);
            let mut gone = host.gone.clone();
            gone.sort_by_key(|why| format!("{why:?}"));
            assert_eq!(gone, [GoneReason::Redundant, GoneReason::Rekeyed]);
            // The end that has lost takes the old pair's end from the other.
            *losses += usize::from(host.gone[0] == GoneReason::Redundant);
        }
    }
    assert!(losers[0] > 0 && losers[1] > 0, "{losers:?}");
}

/// RFC 9370 §2.2.4: before the additional key exchange there is nothing to delete, so the exchange with
/// the lowest nonce is stopped, and its pair is never made.
#[test]
fn one_of_two_additional_exchanges_is_stopped() {
    let [_, (_, hybrid)] = setups();
    for rekey in [Host::rekey_child, Host::rekey_ike] as [Rekey; 2] {
        for seed in 0..20 {
            let mut sim = up(&hybrid, seed);
            let follow_ups = Rc::new(RefCell::new(BTreeSet::new()));
            let sink = Rc::clone(&follow_ups);
            sim.tap(move |frame, _| {
                let header = header_of(&frame.bytes);
                if header.exchange == ExchangeType::IKE_FOLLOWUP_KE && !header.response {
                    sink.borrow_mut().insert(frame.source);
                }
                Verdict::Pass
            });
            collide(&mut sim, (rekey, rekey), Duration::ZERO);
            sim.run_for(MINUTES * 2).unwrap();
            assert!(one_working_pair(&sim));
            assert_eq!(follow_ups.borrow().len(), 1, "seed {seed}");
            for host in [A, B] {
                let gone = &sim.node(host).gone;
                assert!(!gone.contains(&GoneReason::Redundant), "seed {seed}");
            }
        }
    }
}

/// A rekey that crosses the end of what it is about.
#[test]
fn a_rekey_crosses_a_disconnect() {
    for (seed, (kind, setup), (name, a, b)) in cases(2) {
        for apart in (0..45).step_by(2) {
            let mut sim = up(&setup, seed);
            collide(&mut sim, (a, b), MILLISECOND * 2);
            sim.run_for(MILLISECOND * apart).unwrap();
            support::disconnect(&mut sim, B);
            let done = sim.run_until(MINUTES * 3, |sim| sim.node(B).disconnected == 1);
            assert!(done.is_ok(), "{kind}, {name}, {apart} ms");
            // Nothing of the SAs outlives it at either end.
            sim.run_for(MILLISECOND * 500).unwrap();
            assert!(support::nothing_left(sim.node(B)), "{name}, {apart} ms");
            assert!(support::nothing_left(sim.node(A)), "{name}, {apart} ms");
            sim.node_mut(B).disconnected = 0;
            leave_without_a_trace(&mut sim);
        }
    }
}
