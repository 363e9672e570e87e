//! The end of an SA (RFC 7296 §1.4.1): DELETE both ways, lost and crossing, and what comes after it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use secure_gre_ike::error::Drop;
use secure_gre_ike::event::EspSpi;
use secure_gre_ike::event::GoneReason;
use secure_gre_ike::wire::{Delete, ExchangeType, Payload};
use secure_gre_sim::{Quality, Sim, Verdict};
use support::bench::Bench;
use support::puppet::{
    INBOUND, half_way_as_initiator, half_way_as_responder, header_of, up_as_initiator,
    up_as_responder,
};
use support::{
    A, B, Host, LONG, MINUTES, Setup, connect, default_pair, disconnect, leave_without_a_trace,
    nothing_left, one_working_pair,
};

const INFORMATIONAL: ExchangeType = ExchangeType::INFORMATIONAL;

fn up(seed: u64) -> Sim<Host> {
    let mut sim = default_pair(seed);
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    sim
}

fn informational(sim: &mut Sim<Host>, mut verdict: impl FnMut(bool) -> Verdict + 'static) {
    sim.tap(move |frame, _| {
        let header = header_of(&frame.bytes);
        if header.exchange == INFORMATIONAL {
            verdict(header.response)
        } else {
            Verdict::Pass
        }
    });
}

#[test]
fn disconnect_on_either_side_takes_both_down() {
    for leaver in [A, B] {
        let other = if leaver == A { B } else { A };
        let mut sim = up(1);
        disconnect(&mut sim, leaver);
        // The keys are gone with the command, not with the peer's answer.
        assert!(nothing_left(sim.node(leaver)));
        assert_eq!(sim.node(leaver).disconnected, 0);
        sim.run_until(MINUTES, |sim| sim.node(leaver).disconnected == 1)
            .unwrap();
        assert!(nothing_left(sim.node(other)));
        assert_eq!(sim.node(leaver).gone, [GoneReason::Disconnected]);
        assert_eq!(sim.node(other).gone, [GoneReason::DeletedByPeer]);
    }
}

/// D32: two DELETEs that cross answer each other.
#[test]
fn crossing_deletes() {
    for quality in [Quality::PERFECT, Quality::LOSSY, Quality::HOSTILE] {
        for seed in 0..30 {
            let mut sim = up(seed);
            sim.set_quality(quality);
            leave_without_a_trace(&mut sim);
        }
    }
}

/// D2: the reply to a DELETE is repeated for a while by an SA that is over.
#[test]
fn lost_replies_to_a_delete_are_repeated() {
    let mut sim = up(1);
    let mut lost = 0;
    informational(&mut sim, move |response| {
        if response && lost < 4 {
            lost += 1;
            return Verdict::Drop;
        }
        Verdict::Pass
    });
    disconnect(&mut sim, A);
    let took = sim
        .run_until(MINUTES, |sim| sim.node(A).disconnected == 1)
        .unwrap();
    assert!(took > Duration::from_secs(5));
    assert_eq!(sim.node(B).gone.len(), 1);
    disconnect(&mut sim, B);
    sim.run_until(LONG, |sim| sim.node(B).endpoint.is_idle())
        .unwrap();
}

/// A peer that is gone does not keep us for ever.
#[test]
fn a_delete_without_answer_ends_with_the_schedule() {
    let mut sim = up(1);
    sim.partition(A, B);
    disconnect(&mut sim, A);
    sim.run_until(MINUTES * 2, |sim| sim.node(A).disconnected == 1)
        .unwrap();
    assert!(sim.node(A).endpoint.is_idle());
}

/// Whoever wants the tunnel calls again after the peer's DELETE, with growing pauses while nobody
/// answers.
#[test]
fn a_deleted_sa_is_set_up_again() {
    let mut sim = up(1);
    disconnect(&mut sim, B);
    sim.run_until(MINUTES, |sim| nothing_left(sim.node(A)))
        .unwrap();
    sim.run_for(LONG).unwrap();
    let host = sim.node(A);
    assert!(host.attempts > 3);
    let waits: Vec<_> = host.retries.iter().flatten().copied().collect();
    assert!(
        waits.iter().all(|wait| *wait <= Duration::from_secs(30)),
        "{waits:?}"
    );
    assert!(waits.last() > waits.first(), "{waits:?}");
    connect(&mut sim, B);
    sim.run_until(MINUTES * 2, one_working_pair).unwrap();
    sim.node_mut(B).disconnected = 0;
    leave_without_a_trace(&mut sim);
}

/// Whoever only answers does not call back.
#[test]
fn a_responder_does_not_call_back() {
    let mut sim = up(1);
    disconnect(&mut sim, A);
    sim.run_for(LONG).unwrap();
    assert_eq!(sim.node(B).attempts, 0);
    assert!(sim.node(B).endpoint.is_idle());
}

/// In every state: exactly one `Disconnected`, and nothing is left.
#[test]
fn disconnect_in_every_state_ends_once() {
    for leaver in [A, B] {
        for at in 0..60 {
            for quality in [Quality::PERFECT, Quality::HOSTILE] {
                let mut sim = default_pair(at);
                sim.set_quality(quality);
                connect(&mut sim, A);
                sim.run_for(Duration::from_millis(at)).unwrap();
                disconnect(&mut sim, leaver);
                sim.run_for(MINUTES * 3).unwrap();
                assert_eq!(sim.node(leaver).disconnected, 1, "{leaver} at {at} ms");
                assert!(nothing_left(sim.node(leaver)));
                sim.node_mut(leaver).disconnected = 0;
                leave_without_a_trace(&mut sim);
            }
        }
    }
}

/// A disconnect that is taken back while it is under way.
#[test]
fn connect_while_closing_begins_anew() {
    for at in 0..30 {
        let mut sim = up(at);
        disconnect(&mut sim, A);
        sim.run_for(Duration::from_millis(at)).unwrap();
        connect(&mut sim, A);
        sim.run_until(MINUTES, one_working_pair).unwrap();
        sim.run_for(MINUTES * 2).unwrap();
        assert!(one_working_pair(&sim));
        assert!(sim.node(A).disconnected <= 1);
    }
}

/// A peer that we have left is not answered.
#[test]
fn who_was_left_is_a_stranger() {
    let mut bench = Bench::new(&Setup::default());
    bench.disconnect();
    assert_eq!(bench.disconnected, 1);
    let half = support::puppet::Half::new(1);
    bench.drops(&half.request(&half.payloads()), Drop::UnknownPeer);
}

/// RFC 7296 §1.4.1: the Delete names what its sender receives on; the reply names the other
/// direction. An IKE SA without its pair is of no use, and is called again.
#[test]
fn the_peer_deletes_the_pair_only() {
    let mut bench = Bench::new(&Setup::default());
    let mut session = up_as_responder(&mut bench, 1);
    let inbound = bench.inbound[0].spi;
    let delete = session.request(
        INFORMATIONAL,
        0,
        &[Payload::Delete(Delete::Esp(vec![INBOUND]))],
    );
    let [reply, request] = bench.receive(&delete).try_into().unwrap();
    assert_eq!(
        session.open(&reply),
        [Payload::Delete(Delete::Esp(vec![inbound]))]
    );
    assert_eq!(session.open(&request), [Payload::Delete(Delete::Ike)]);
    assert_eq!(header_of(&request).message_id, 2);
    assert_eq!(bench.gone, [GoneReason::DeletedByPeer]);
    assert_eq!(bench.down, [GoneReason::Childless]);
    assert_eq!(
        bench
            .receive(&session.response(INFORMATIONAL, 2, &[]))
            .len(),
        0
    );
    assert!(bench.endpoint.is_idle());
    bench.pass(Duration::from_secs(2));
}

/// D36: the Delete of a pair that we do not have gets an empty reply, and changes nothing.
#[test]
fn the_delete_of_an_unknown_pair_is_answered_with_nothing() {
    let mut bench = Bench::new(&Setup::default());
    let mut session = up_as_initiator(&mut bench, 1);
    let ours = bench.inbound[0].spi;
    for (id, spi) in [(2, EspSpi(0x1234_5678)), (3, ours)] {
        let delete = session.request(
            INFORMATIONAL,
            id,
            &[Payload::Delete(Delete::Esp(vec![spi]))],
        );
        assert_eq!(session.open(&bench.reply(&delete)), []);
    }
    assert_eq!(bench.pairs(), 1);
}

/// D32: the reply to the Delete of an IKE SA is empty, also where it names pairs beside.
#[test]
fn the_reply_to_the_delete_of_an_ike_sa_is_empty() {
    let mut bench = Bench::new(&Setup::default());
    let mut session = up_as_initiator(&mut bench, 1);
    let payloads = [
        Payload::Delete(Delete::Esp(vec![INBOUND])),
        Payload::Delete(Delete::Ike),
    ];
    let delete = session.request(INFORMATIONAL, 2, &payloads);
    let reply = bench.reply(&delete);
    assert_eq!(session.open(&reply), []);
    assert_eq!(bench.down, [GoneReason::DeletedByPeer]);
    // Over, and still repeated (D2), and nothing else is taken.
    assert_eq!(bench.reply(&delete), reply);
    bench.drops(&session.request(INFORMATIONAL, 3, &[]), Drop::MessageId);
    bench.pass(Duration::from_secs(61));
    assert!(bench.endpoint.is_idle());
    bench.drops(&delete, Drop::UnknownSpi);
}

/// While our DELETE waits for its answer, requests of the peer's are answered (RFC 7296 §2.25.2).
#[test]
fn a_closing_sa_answers() {
    let mut bench = Bench::new(&Setup::default());
    let mut session = up_as_initiator(&mut bench, 1);
    let [delete] = bench.disconnect().try_into().unwrap();
    assert_eq!(header_of(&delete).message_id, 0);
    assert_eq!(session.open(&delete), [Payload::Delete(Delete::Ike)]);
    let probe = session.request(INFORMATIONAL, 2, &[]);
    assert_eq!(session.open(&bench.reply(&probe)), []);
    assert_eq!(bench.disconnected, 0);
    bench.receive(&session.response(INFORMATIONAL, 0, &[]));
    assert_eq!(bench.disconnected, 1);
    assert!(bench.endpoint.is_idle());
}

/// Half-open and calling SAs are let go at once; one that waits for IKE_AUTH's answer has to hear it,
/// because the peer has an SA by then.
#[test]
fn disconnect_before_the_sa_stands() {
    let mut bench = Bench::new(&Setup::default());
    bench.connect();
    assert!(bench.disconnect().is_empty());
    assert_eq!(bench.disconnected, 1);
    assert!(bench.endpoint.is_idle());

    let mut bench = Bench::new(&Setup::default());
    half_way_as_initiator(&mut bench, 1);
    assert!(bench.disconnect().is_empty());
    assert_eq!(bench.disconnected, 1);

    let mut bench = Bench::new(&Setup::default());
    let (mut session, _) = half_way_as_responder(&mut bench, 1);
    assert!(bench.disconnect().is_empty());
    let payloads = session.auth_payloads();
    let auth = session.response(ExchangeType::IKE_AUTH, 1, &payloads);
    let delete = bench.reply(&auth);
    assert_eq!(session.open(&delete), [Payload::Delete(Delete::Ike)]);
    assert_eq!((bench.pairs(), bench.disconnected), (0, 0));
    bench.receive(&session.response(INFORMATIONAL, 2, &[]));
    assert_eq!(bench.disconnected, 1);
}
