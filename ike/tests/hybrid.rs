//! An additional key exchange with ML-KEM-768: IKE_INTERMEDIATE before IKE_AUTH (RFC 9242, RFC 9370
//! §2.2.2), and what follows for rekeys (RFC 9370 §2.2.4). Collisions of those are in `collisions`,
//! what a peer can get wrong is in `hybrid_hostile`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::net::IpAddr;
use std::time::Duration;

use secure_gre_ike::error::{Failure, Negotiation};
use secure_gre_ike::wire::{Datagram, ExchangeType};
use secure_gre_sim::{Frame, Quality, Sim};
use support::puppet::header_of;
use support::tap;
use support::{
    A, B, Host, LONG, MINUTES, Setup, connect, leave_without_a_trace, one_working_pair, pair,
    settled, talk, with,
};

const HYBRID: &str = "aes256gcm16-prfsha384-x25519-ke1_mlkem768";
const CLASSICAL: &str = "aes256gcm16-prfsha384-x25519";
const HYBRID_ESP: &str = "aes256gcm16-x25519-ke1_mlkem768";
const INTERMEDIATE: ExchangeType = ExchangeType::IKE_INTERMEDIATE;
const FOLLOW_UP: ExchangeType = ExchangeType::IKE_FOLLOWUP_KE;

fn setup(ike: &[&'static str], esp: &'static str) -> Setup {
    Setup {
        ike: ike.to_vec(),
        esp: vec![esp],
        ..Setup::default()
    }
}

fn hybrid() -> Setup {
    setup(&[HYBRID, CLASSICAL], HYBRID_ESP)
}

fn suite(sim: &Sim<Host>, host: IpAddr) -> String {
    sim.node(host).snapshot().established[0].0.suite.to_string()
}

fn suites(sim: &Sim<Host>) -> [String; 2] {
    [A, B].map(|host| suite(sim, host))
}

/// Exchange and message ID of each request, once.
fn requests(frames: &[Frame]) -> Vec<(ExchangeType, u32)> {
    let headers = frames.iter().map(|frame| header_of(&frame.bytes));
    let requests = headers.filter(|header| !header.response);
    let mut requests: Vec<_> = requests
        .map(|header| (header.exchange, header.message_id))
        .collect();
    requests.dedup();
    requests
}

/// D1, RFC 9242 §3.2: message ID 1, and IKE_AUTH follows with 2.
#[test]
fn two_ends_agree_on_both_key_exchanges() {
    for (seed, caller) in [(1, A), (2, B)] {
        let mut sim = pair(seed, hybrid(), hybrid());
        let frames = tap::record(&mut sim);
        connect(&mut sim, caller);
        sim.run_until(Duration::from_secs(1), one_working_pair)
            .unwrap();
        assert_eq!(suites(&sim), [HYBRID; 2]);
        assert_eq!(
            requests(&frames.borrow()),
            [
                (ExchangeType::IKE_SA_INIT, 0),
                (INTERMEDIATE, 1),
                (ExchangeType::IKE_AUTH, 2),
            ]
        );
        leave_without_a_trace(&mut sim);
    }
}

/// RFC 9242 §3.3, RFC 7383 §2.5.1: nothing is longer than what every path carries; without fragments
/// everything goes in one piece, and AUTH covers the same.
#[test]
fn long_public_values_travel_in_fragments() {
    for fragmentation in [true, false] {
        let setup = Setup {
            fragmentation,
            ..hybrid()
        };
        let mut sim = pair(1, setup.clone(), hybrid());
        let frames = tap::record(&mut sim);
        connect(&mut sim, A);
        sim.run_until(Duration::from_secs(1), one_working_pair)
            .unwrap();
        let of_intermediate = |frame: &&Frame| header_of(&frame.bytes).exchange == INTERMEDIATE;
        let frames = frames.borrow().clone();
        let totals: Vec<_> = frames
            .iter()
            .filter(of_intermediate)
            .map(|frame| Datagram::parse(&frame.bytes).unwrap().place())
            .map(|place| place.map_or(1, |place| place.total()))
            .collect();
        if fragmentation {
            // 1184 octets of key do not fit; 1088 of ciphertext do.
            assert_eq!(totals, [2, 2, 1]);
            assert!(frames.iter().all(|frame| frame.bytes.len() <= 1280 - 32));
        } else {
            assert_eq!(totals, [1, 1]);
        }
        leave_without_a_trace(&mut sim);
    }
}

/// RFC 7383 §2.5.2, D25: a path that carries little makes both divide further, also after the reply
/// was sent under the keys before.
#[test]
fn narrow_paths_are_found_out() {
    let mut sim = pair(1, hybrid(), hybrid());
    sim.set_quality(Quality {
        octets_max: 576 - 28,
        ..Quality::PERFECT
    });
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    assert_eq!(suites(&sim), [HYBRID; 2]);
    leave_without_a_trace(&mut sim);
}

/// A peer without it falls through to the next proposal, whoever calls.
#[test]
fn a_classical_peer_gets_the_classical_proposal() {
    let classical = || setup(&[CLASSICAL], "aes256gcm16");
    let esp = "aes256gcm16";
    for caller in [A, B] {
        let mut sim = pair(3, setup(&[HYBRID, CLASSICAL], esp), classical());
        connect(&mut sim, caller);
        sim.run_until(Duration::from_secs(1), one_working_pair)
            .unwrap();
        assert_eq!(suites(&sim), [CLASSICAL; 2]);
        for host in [A, B] {
            with(&mut sim, host, Host::rekey_ike);
            sim.run_for(Duration::from_secs(10)).unwrap();
            assert!(one_working_pair(&sim));
        }
        leave_without_a_trace(&mut sim);
    }
}

/// Where a file names nothing else, there is no IKE SA without it.
#[test]
fn there_is_no_way_around_a_hybrid_proposal_alone() {
    let mut sim = pair(
        4,
        setup(&[HYBRID], "aes256gcm16"),
        setup(&[CLASSICAL], "aes256gcm16"),
    );
    connect(&mut sim, A);
    sim.run_for(Duration::from_secs(5)).unwrap();
    assert_eq!(sim.node(A).established(), 0);
    let refused = |failure: &Failure| matches!(failure, Failure::NoProposalChosen { what: Negotiation::Ike, offered } if offered == HYBRID);
    assert!(sim.node(A).failures.iter().all(refused));
    assert!(!sim.node(A).failures.is_empty());
}

/// RFC 7296 §2.1, RFC 9242 §3.2: each of the first datagrams once, then each pair of them.
#[test]
fn any_two_messages_may_be_lost() {
    for first in 0..10 {
        for second in first..10 {
            let mut sim = pair(1, hybrid(), hybrid());
            tap::lose(&mut sim, [first, second]);
            connect(&mut sim, A);
            sim.run_until(MINUTES, one_working_pair)
                .unwrap_or_else(|stuck| panic!("{first} and {second}: {stuck}"));
            assert!(sim.node(A).failures.is_empty(), "{first} and {second}");
            assert_eq!(suites(&sim), [HYBRID; 2]);
            leave_without_a_trace(&mut sim);
        }
    }
}

#[test]
fn a_bad_network_does_not_matter() {
    let quality = Quality {
        jitter: Duration::from_millis(80),
        loss_per_mille: 200,
        duplicate_per_mille: 200,
        reorder_per_mille: 300,
        ..Quality::PERFECT
    };
    for seed in 0..40 {
        let mut sim = pair(seed, hybrid(), hybrid());
        sim.set_quality(quality);
        connect(&mut sim, A);
        if seed % 2 == 0 {
            connect(&mut sim, B);
        }
        sim.run_until(LONG, one_working_pair).unwrap();
        let lifetimes = [Host::rekey_ike, Host::rekey_child];
        for rekey in lifetimes {
            with(&mut sim, A, rekey);
            sim.run_for(MINUTES * 2).unwrap();
        }
        sim.set_quality(Quality::PERFECT);
        sim.run_until(LONG, one_working_pair).unwrap();
        assert_eq!(suites(&sim), [HYBRID; 2], "seed {seed}");
        leave_without_a_trace(&mut sim);
    }
}

/// All randomness is what was passed in.
#[test]
fn the_same_seed_gives_the_same_datagrams() {
    let run = || {
        let mut sim = pair(9, hybrid(), hybrid());
        let frames = tap::record(&mut sim);
        connect(&mut sim, A);
        sim.run_until(MINUTES, one_working_pair).unwrap();
        with(&mut sim, B, Host::rekey_ike);
        sim.run_for(MINUTES).unwrap();
        let frames = frames.borrow();
        frames.iter().map(|f| f.bytes.clone()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

/// RFC 9370 §2.2.4: the heir has both key exchanges again, although the lists allow less; no packet is
/// lost.
#[test]
fn a_rekeyed_ike_sa_stays_as_it_was() {
    for host in [A, B] {
        // One end likes the classical proposal better.
        let other = setup(&[CLASSICAL, HYBRID], HYBRID_ESP);
        let mut sim = pair(5, hybrid(), other);
        connect(&mut sim, B);
        sim.run_until(MINUTES, one_working_pair).unwrap();
        assert_eq!(suites(&sim), [HYBRID; 2]);
        talk(&mut sim, Some(Duration::from_millis(1)));
        let frames = tap::record(&mut sim);
        for _ in 0..3 {
            with(&mut sim, host, Host::rekey_ike);
            sim.run_for(Duration::from_secs(1)).unwrap();
            assert!(settled(&sim));
            assert_eq!(suites(&sim), [HYBRID; 2]);
        }
        talk(&mut sim, None);
        sim.run_for(Duration::from_secs(10)).unwrap();
        let lost = [A, B].map(|host| sim.node(host).traffic.lost);
        assert_eq!(lost, [0, 0]);
        let follow_ups = frames
            .borrow()
            .iter()
            .filter(|frame| {
                frame.destination.port() != support::traffic::PORT
                    && header_of(&frame.bytes).exchange == FOLLOW_UP
                    && !header_of(&frame.bytes).response
            })
            .count();
        assert!(follow_ups >= 3);
        leave_without_a_trace(&mut sim);
    }
}

/// RFC 9370 §2.2.4, either end.
#[test]
fn a_pair_is_rekeyed_with_both_key_exchanges() {
    for host in [A, B] {
        let mut sim = pair(6, hybrid(), hybrid());
        connect(&mut sim, A);
        sim.run_until(MINUTES, one_working_pair).unwrap();
        talk(&mut sim, Some(Duration::from_millis(1)));
        let old = sim.node(A).outbound.last().unwrap().1.spi;
        let frames = tap::record(&mut sim);
        with(&mut sim, host, Host::rekey_child);
        sim.run_for(Duration::from_secs(1)).unwrap();
        talk(&mut sim, None);
        sim.run_for(Duration::from_secs(10)).unwrap();
        assert!(one_working_pair(&sim));
        assert_ne!(sim.node(A).outbound.last().unwrap().1.spi, old);
        let lost = [A, B].map(|host| sim.node(host).traffic.lost);
        assert_eq!(lost, [0, 0]);
        let frames: Vec<_> = frames
            .borrow()
            .iter()
            .filter(|frame| frame.destination.port() != support::traffic::PORT)
            .cloned()
            .collect();
        let exchanges: Vec<_> = requests(&frames)
            .into_iter()
            .map(|(kind, _)| kind)
            .collect();
        assert_eq!(
            exchanges[..3],
            [
                ExchangeType::CREATE_CHILD_SA,
                FOLLOW_UP,
                ExchangeType::INFORMATIONAL
            ]
        );
        leave_without_a_trace(&mut sim);
    }
}

/// A peer's pair may have what is good enough for the IKE SA.
#[test]
fn a_pair_may_have_what_the_ike_sa_has() {
    let mut sim = pair(7, hybrid(), setup(&[HYBRID], "aes256gcm16"));
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    with(&mut sim, A, Host::rekey_child);
    sim.run_for(MINUTES).unwrap();
    assert!(one_working_pair(&sim));
    assert_eq!(sim.node(A).rekey_failures, []);
    leave_without_a_trace(&mut sim);
}

/// By time: nobody asks.
#[test]
fn a_day_passes() {
    let short = Setup {
        ike_lifetime: Duration::from_secs(3600),
        child_lifetime: Duration::from_secs(1200),
        ..hybrid()
    };
    let mut sim = pair(8, short.clone(), short);
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    sim.run_for(Duration::from_secs(86_400)).unwrap();
    assert!(settled(&sim));
    assert_eq!(suites(&sim), [HYBRID; 2]);
    for host in [A, B] {
        assert_eq!(sim.node(host).down, []);
        assert_eq!(sim.node(host).rekey_failures, []);
    }
    leave_without_a_trace(&mut sim);
}
