//! Rekeying on a network that loses nothing (RFC 7296 §1.3.2, §1.3.3, §2.8): who deletes what, and no
//! packet is without an SA.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::net::IpAddr;
use std::time::Duration;

use secure_gre_ike::event::{ChildPhase, GoneReason};
use secure_gre_sim::{Quality, Sim};
use support::{
    A, B, Host, MINUTES, Setup, connect, leave_without_a_trace, one_working_pair, pair, settled,
    talk, with,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const PFS: &str = "aes256gcm16-x25519";

/// A has called, and both send packets, one in each millisecond.
fn talking(seed: u64, a: Setup, b: Setup) -> Sim<Host> {
    let mut sim = pair(seed, a, b);
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    talk(&mut sim, Some(MILLISECOND));
    sim
}

fn setup(esp: &'static str) -> Setup {
    Setup {
        esp: vec![esp],
        ..Setup::default()
    }
}

/// Everything that was sent has found its SA, and nothing waited for one.
fn nothing_lost(sim: &mut Sim<Host>) {
    talk(sim, None);
    sim.run_for(Duration::from_secs(1)).unwrap();
    let (a, b) = (&sim.node(A).traffic, &sim.node(B).traffic);
    assert_eq!((a.lost, b.lost), (0, 0));
    assert_eq!((a.unsent, b.unsent), (0, 0));
    assert_eq!((a.arrived, b.arrived), (b.sent, a.sent));
    assert!(a.sent > 100);
}

fn current(sim: &Sim<Host>, host: IpAddr) -> u32 {
    sim.node(host).outbound.last().unwrap().1.spi.0
}

fn ike(sim: &Sim<Host>, host: IpAddr) -> (u64, u64) {
    let (details, _) = &sim.node(host).snapshot().established[0];
    (details.spi_initiator, details.spi_responder)
}

/// D33: either end, with and without a key exchange of the pair's own.
#[test]
fn a_pair_is_rekeyed_without_a_lost_packet() {
    for (seed, esp) in [
        (1, "aes256gcm16"),
        (2, PFS),
        (3, "aes256gcm16-x25519-modpnone"),
    ] {
        for host in [A, B] {
            let mut sim = talking(seed, setup(esp), setup(esp));
            let old = current(&sim, A);
            with(&mut sim, host, Host::rekey_child);
            sim.run_for(Duration::from_millis(100)).unwrap();
            assert_ne!(current(&sim, A), old);
            assert!(settled(&sim));
            // What is in flight on the old one is still taken.
            assert_eq!(sim.node(A).inbound.len(), 2);
            sim.run_for(Duration::from_secs(6)).unwrap();
            assert!(one_working_pair(&sim));
            assert_eq!(sim.node(A).gone, [GoneReason::Rekeyed]);
            assert_eq!(sim.node(B).gone, [GoneReason::Rekeyed]);
            nothing_lost(&mut sim);
            leave_without_a_trace(&mut sim);
        }
    }
}

/// PAINS 5: what is still in flight on the old pair when both ends have deleted it is taken.
#[test]
fn packets_that_are_overtaken_by_a_rekey_are_not_lost() {
    for seed in 0..10 {
        let mut sim = talking(seed, setup(PFS), setup(PFS));
        sim.set_quality(Quality {
            jitter: MILLISECOND * 300,
            ..Quality::PERFECT
        });
        for host in [A, B, A, B] {
            with(&mut sim, host, Host::rekey_child);
            sim.run_for(Duration::from_secs(2)).unwrap();
        }
        sim.run_for(Duration::from_secs(60)).unwrap();
        nothing_lost(&mut sim);
    }
}

/// D22: the keys of a pair go by who began its exchange, not by who began the IKE SA.
#[test]
fn packets_pass_both_ways_after_every_rekey() {
    let mut sim = talking(1, setup(PFS), setup(PFS));
    for host in [A, B, B, A, B] {
        with(&mut sim, host, Host::rekey_child);
        sim.run_for(Duration::from_secs(10)).unwrap();
        with(&mut sim, host, Host::rekey_ike);
        sim.run_for(Duration::from_secs(10)).unwrap();
        assert!(one_working_pair(&sim));
    }
    nothing_lost(&mut sim);
}

/// D21: the pairs move as they are.
#[test]
fn an_ike_sa_is_rekeyed_under_its_pair() {
    for host in [A, B] {
        let mut sim = talking(1, Setup::default(), Setup::default());
        let (old, pair) = (ike(&sim, A), current(&sim, A));
        with(&mut sim, host, Host::rekey_ike);
        sim.run_for(Duration::from_millis(200)).unwrap();
        assert_ne!(ike(&sim, A), old);
        assert_eq!(ike(&sim, A), ike(&sim, B));
        assert_eq!(current(&sim, A), pair);
        assert!(one_working_pair(&sim));
        let details = sim.node(host).details.clone().unwrap();
        assert!(details.initiated);
        assert_eq!(sim.node(A).down, []);
        nothing_lost(&mut sim);
        leave_without_a_trace(&mut sim);
    }
}

/// D42: each end by its own clock, for as long as it takes.
#[test]
fn lifetimes_are_kept_for_ever() {
    for seed in 0..5 {
        let short = Setup {
            child_lifetime: Duration::from_secs(20),
            ike_lifetime: Duration::from_secs(33),
            ..setup(PFS)
        };
        let mut sim = talking(seed, short.clone(), short);
        talk(&mut sim, Some(MILLISECOND * 20));
        for _ in 0..300 {
            sim.run_for(Duration::from_secs(1)).unwrap();
            assert!(support::works(&sim));
            assert!(sim.node(A).inbound.len() <= 3);
        }
        assert!(sim.node(A).gone.len() > 15);
        assert_eq!(sim.node(A).down, []);
        nothing_lost(&mut sim);
        leave_without_a_trace(&mut sim);
    }
}

/// As the responder we send on the new pair when the peer has shown that it has it: here only by the
/// deletion of the old one.
#[test]
fn a_responder_waits_for_a_sign() {
    let mut sim = pair(1, Setup::default(), Setup::default());
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    let old = current(&sim, B);
    with(&mut sim, A, Host::rekey_child);
    // The request is there, the answer is not.
    sim.run_for(Duration::from_millis(15)).unwrap();
    assert_eq!(sim.node(B).inbound.len(), 2);
    assert_eq!(current(&sim, B), old);
    let phases: Vec<_> = sim.node(B).snapshot().established[0]
        .1
        .iter()
        .map(|pair| (pair.phase, pair.rekey_at.is_some()))
        .collect();
    assert_eq!(
        phases,
        [(ChildPhase::Current, false), (ChildPhase::Arriving, true)]
    );
    sim.run_for(Duration::from_millis(100)).unwrap();
    assert_ne!(current(&sim, B), old);
}

/// The peer that never shows anything is believed to have it after a while, and if it does not delete
/// the old pair, we do.
#[test]
fn the_old_pair_goes_even_if_the_peer_does_not_delete_it() {
    let mut sim = pair(1, Setup::default(), Setup::default());
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    with(&mut sim, A, Host::rekey_child);
    sim.run_for(Duration::from_millis(15)).unwrap();
    reboot_unnoticed(&mut sim);
    sim.run_for(Duration::from_secs(10)).unwrap();
    assert_eq!(sim.node(B).outbound.len(), 2);
    assert_eq!(sim.node(B).inbound.len(), 2);
    sim.run_for(MINUTES * 3).unwrap();
    assert!(support::nothing_left(sim.node(B)));
}

fn reboot_unnoticed(sim: &mut Sim<Host>) {
    sim.partition(A, B);
    support::reboot(sim, A);
}

#[test]
fn a_day_takes_a_second() {
    let setup = Setup {
        dpd: Some(Duration::from_secs(10)),
        ..setup(PFS)
    };
    let mut sim = pair(1, setup.clone(), setup);
    connect(&mut sim, A);
    sim.set_quality(Quality::LOSSY);
    sim.run_for(MINUTES * 60 * 24).unwrap();
    sim.set_quality(Quality::PERFECT);
    sim.run_until(MINUTES, settled).unwrap();
    let host = sim.node(A);
    assert!(host.gone.len() >= 24, "{:?}", host.gone);
    leave_without_a_trace(&mut sim);
}
