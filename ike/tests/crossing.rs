//! Both ends initiate at once. DESIGN §3: of the two IKE SAs, the one whose exchange holds the lowest
//! nonce goes, taken down by its initiator (the rule of RFC 7296 §2.8.1).

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use secure_gre_ike::event::GoneReason;
use secure_gre_ike::wire::{ExchangeType, NotifyType};
use secure_gre_sim::{Quality, Sim};
use support::bench::Bench;
use support::puppet::{half_way_as_initiator, half_way_as_responder, notify, up_as_responder};
use support::{
    A, B, Host, LONG, MINUTES, Setup, connect, default_pair, leave_without_a_trace, nothing_left,
    one_working_pair, works,
};

/// Of each quality.
const SEEDS: u64 = 500;

/// B begins so long after A.
fn crossing(seed: u64, quality: Quality, apart: Duration) -> Sim<Host> {
    let mut sim = default_pair(seed);
    sim.set_quality(quality);
    connect(&mut sim, A);
    sim.run_for(apart).unwrap();
    connect(&mut sim, B);
    sim
}

/// Whatever the network has done: one pair in the end, and nothing left of the rest.
fn settles(sim: &mut Sim<Host>, seed: u64) {
    sim.run_until(LONG, works).unwrap();
    sim.set_quality(Quality::PERFECT);
    sim.run_for(LONG).unwrap();
    assert!(one_working_pair(sim), "seed {seed}");
    leave_without_a_trace(sim);
}

#[test]
fn one_sa_is_left_on_a_perfect_network() {
    for seed in 0..SEEDS {
        let mut sim = crossing(seed, Quality::PERFECT, Duration::from_millis(seed / 2));
        sim.run_until(MINUTES, |sim| {
            let both = sim.node(A).established() > 0 && sim.node(B).established() > 0;
            both && works(sim)
        })
        .unwrap();
        // Without loss, no packet is lost either: from here on there is always a way.
        for _ in 0..400 {
            sim.run_for(Duration::from_millis(5)).unwrap();
            assert!(works(&sim), "seed {seed} at {:?}", sim.elapsed());
        }
        assert!(one_working_pair(&sim), "seed {seed}");
        settles(&mut sim, seed);
    }
}

#[test]
fn one_sa_is_left_on_a_lossy_network() {
    for seed in 0..SEEDS {
        let mut sim = crossing(seed, Quality::LOSSY, Duration::from_millis(seed * 3));
        settles(&mut sim, seed);
    }
}

#[test]
fn one_sa_is_left_on_a_hostile_network() {
    for seed in 0..SEEDS {
        let mut sim = crossing(seed, Quality::HOSTILE, Duration::from_millis(seed * 20));
        settles(&mut sim, seed);
    }
}

/// DESIGN §3: both have two SAs for a moment, and both say of the same one that it goes.
#[test]
fn the_lowest_nonce_goes() {
    let (mut ours, mut peers) = (0, 0);
    for seed in 0..40 {
        let mut sim = crossing(seed, Quality::PERFECT, Duration::ZERO);
        sim.run_for(MINUTES).unwrap();
        let (a, b) = (sim.node(A), sim.node(B));
        match (&a.gone[..], &b.gone[..]) {
            ([GoneReason::Redundant], [GoneReason::DeletedByPeer]) => ours += 1,
            ([GoneReason::DeletedByPeer], [GoneReason::Redundant]) => peers += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
        assert_eq!(
            a.snapshot().established[0].0.spi_initiator,
            b.snapshot().established[0].0.spi_initiator
        );
    }
    // A coin with forty throws.
    assert!(ours > 5 && peers > 5, "{ours} {peers}");
}

/// D39: the INITIAL_CONTACT of one does not take down the other's SA, which is being set up.
#[test]
fn initial_contact_spares_the_concurrent_sa() {
    for apart in (0..60).step_by(2) {
        let mut sim = crossing(9, Quality::PERFECT, Duration::from_millis(apart));
        sim.run_for(MINUTES).unwrap();
        for host in [A, B] {
            let gone = &sim.node(host).gone;
            assert!(
                !gone.contains(&GoneReason::Replaced),
                "{apart} ms apart: {gone:?}"
            );
        }
        assert!(one_working_pair(&sim));
    }
}

/// While crossing SAs are being sorted out, both are told to stop.
#[test]
fn disconnect_in_the_middle_of_a_crossing() {
    for apart in 0..120 {
        let mut sim = crossing(apart, Quality::PERFECT, Duration::from_millis(5));
        sim.run_for(Duration::from_millis(apart)).unwrap();
        leave_without_a_trace(&mut sim);
        assert!(nothing_left(sim.node(A)) && nothing_left(sim.node(B)));
    }
}

/// D39: an INITIAL_CONTACT that was on its way while another SA was set up is older than that one.
#[test]
fn a_late_initial_contact_spares_what_came_meanwhile() {
    let mut bench = Bench::new(&Setup::default());
    let mut session = half_way_as_initiator(&mut bench, 1);
    bench.pass(Duration::from_millis(100));
    up_as_responder(&mut bench, 2);
    let mut payloads = session.auth_payloads();
    payloads.push(notify(NotifyType::INITIAL_CONTACT));
    bench.receive(&session.request(ExchangeType::IKE_AUTH, 1, &payloads));
    assert_eq!(bench.pairs(), 2);
    assert!(bench.gone.is_empty());
}

/// An attempt that fails while the peer's has made it is no news.
#[test]
fn a_failed_attempt_beside_a_standing_sa_is_not_told() {
    let mut bench = Bench::new(&Setup::default());
    let (mut ours, _) = half_way_as_responder(&mut bench, 1);
    let mut theirs = half_way_as_initiator(&mut bench, 2);
    let payloads = theirs.auth_payloads();
    bench.receive(&theirs.request(ExchangeType::IKE_AUTH, 1, &payloads));
    let refusal = [notify(NotifyType::AUTHENTICATION_FAILED)];
    bench.receive(&ours.response(ExchangeType::IKE_AUTH, 1, &refusal));
    assert!(bench.failures.is_empty());
    assert_eq!(bench.pairs(), 1);
}
