//! Whether the peer is there (RFC 7296 §2.4): asked when nothing was heard of it, and only then; and
//! called again, for ever, when it is not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::time::Duration;

use secure_gre_ike::event::{Command, GoneReason};
use secure_gre_ike::wire::ExchangeType;
use secure_gre_sim::Sim;
use support::bench::Bench;
use support::puppet::{header_of, up_as_initiator, up_as_responder};
use support::{
    A, B, Host, LONG, MINUTES, PEER, Setup, connect, leave_without_a_trace, one_working_pair, pair,
    reboot, talk,
};

const INFORMATIONAL: ExchangeType = ExchangeType::INFORMATIONAL;
const SILENCE: Duration = Duration::from_secs(10);

fn watchful() -> Setup {
    Setup {
        dpd: Some(SILENCE),
        ..Setup::default()
    }
}

fn up(seed: u64) -> Sim<Host> {
    let mut sim = pair(seed, watchful(), watchful());
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    sim
}

/// D40: an empty INFORMATIONAL after the configured silence, counted from the last sign of life.
#[test]
fn a_silent_peer_is_asked() {
    let mut bench = Bench::new(&watchful());
    let mut session = up_as_responder(&mut bench, 1);
    for id in 2..5 {
        assert_eq!(bench.pass(SILENCE - Duration::from_millis(1)).len(), 0);
        let probe = bench.pass(Duration::from_millis(1)).remove(0);
        assert_eq!(header_of(&probe).message_id, id);
        assert_eq!(session.open(&probe), []);
        bench.receive(&session.response(INFORMATIONAL, id, &[]));
    }
}

/// D40: any protected message counts, and so does ESP.
#[test]
fn a_peer_that_is_heard_is_not_asked() {
    let mut bench = Bench::new(&watchful());
    let mut session = up_as_initiator(&mut bench, 1);
    for id in 2..20 {
        assert_eq!(bench.pass(SILENCE * 9 / 10).len(), 0);
        if id % 2 == 0 {
            assert_eq!(bench.command(Command::Heard { peer: PEER }).len(), 0);
        } else {
            let asks = session.request(INFORMATIONAL, id / 2 + 1, &[]);
            assert_eq!(bench.receive(&asks).len(), 1);
        }
    }
    assert_eq!(bench.pass(SILENCE).len(), 1);
}

/// D40: what nobody has protected is no sign of life.
#[test]
fn unprotected_messages_are_no_sign_of_life() {
    let mut bench = Bench::new(&watchful());
    let mut session = up_as_initiator(&mut bench, 1);
    bench.pass(SILENCE * 9 / 10);
    let mut forged = session.request(INFORMATIONAL, 2, &[]);
    *forged.last_mut().unwrap() ^= 1;
    bench.receive(&forged);
    assert_eq!(bench.pass(SILENCE / 10).len(), 1);
}

#[test]
fn nobody_is_asked_where_that_is_off() {
    let mut bench = Bench::new(&Setup::default());
    up_as_initiator(&mut bench, 1);
    assert_eq!(bench.pass(MINUTES * 40).len(), 0);
}

/// A dead peer is noticed when the silence and the retransmissions are over, called for ever, and the
/// tunnel is back soon after the peer is.
#[test]
fn a_dead_peer_is_noticed_and_comes_back() {
    for seed in 0..5 {
        let mut sim = up(seed);
        talk(&mut sim, Some(Duration::from_secs(1)));
        sim.run_for(MINUTES * 5).unwrap();
        assert_eq!(sim.node(A).down, []);
        sim.partition(A, B);
        let limit = SILENCE + Setup::default().retransmit.total() + Duration::from_secs(2);
        sim.run_until(limit, |sim| !sim.node(A).down.is_empty())
            .unwrap();
        assert_eq!(sim.node(A).down, [GoneReason::NoAnswer]);
        sim.run_for(LONG * 6).unwrap();
        assert!(sim.node(A).attempts > 20);
        sim.heal(A, B);
        sim.run_until(MINUTES * 2, one_working_pair).unwrap();
        talk(&mut sim, None);
        leave_without_a_trace(&mut sim);
    }
}

/// A peer that lost its memory is noticed although it answers nothing of the old SA's, whoever of the
/// two calls.
#[test]
fn a_rebooted_peer_that_only_answers_is_called_again() {
    let mut sim = up(1);
    sim.run_for(MINUTES).unwrap();
    reboot(&mut sim, B);
    sim.run_until(SILENCE + MINUTES * 2, one_working_pair)
        .unwrap();
    assert_eq!(sim.node(A).down, [GoneReason::NoAnswer]);
    leave_without_a_trace(&mut sim);
}

/// D39: one that calls at once replaces the old state at once.
#[test]
fn a_rebooted_peer_that_calls_is_back_at_once() {
    let mut sim = up(1);
    sim.run_for(MINUTES).unwrap();
    reboot(&mut sim, B);
    connect(&mut sim, B);
    let took = sim.run_until(MINUTES, one_working_pair).unwrap();
    assert!(took < Duration::from_secs(1));
    assert_eq!(sim.node(A).down, [GoneReason::Replaced]);
}
