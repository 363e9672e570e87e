//! Peers that come and go, and paths that do, while an endpoint runs.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use secure_gre_ike::event::{Command, CommandError, GoneReason};
use support::{A, B, MINUTES, PEER, Setup, connect, default_pair, nothing_left, one_working_pair};

#[test]
fn a_peer_that_is_removed_is_a_stranger_and_added_again_is_not() {
    let mut sim = default_pair(1);
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();

    let now = sim.now();
    let b = sim.node_mut(B);
    b.endpoint.remove_peer(now, PEER).unwrap();
    b.drain(now);
    assert!(b.inbound.is_empty() && b.outbound.is_empty());
    assert_eq!(b.gone, [GoneReason::Abandoned]);
    assert!(b.endpoint.is_idle() && b.endpoint.snapshot().is_empty());
    let unknown = b.endpoint.remove_peer(now, PEER);
    assert_eq!(unknown, Err(CommandError::UnknownPeer(PEER)));

    // A starts anew, and nobody is at home.
    sim.node_mut(A).reboot(now);
    connect(&mut sim, A);
    sim.run_for(MINUTES / 6).unwrap();
    assert!(nothing_left(sim.node(A)));

    let peer = || Setup::default().config(A).peers.remove(0);
    let b = sim.node_mut(B);
    b.endpoint.add_peer(peer()).unwrap();
    let twice = b.endpoint.add_peer(peer());
    assert_eq!(twice, Err(CommandError::DuplicatePeer(PEER)));
    sim.run_until(10 * MINUTES, one_working_pair).unwrap();
}

#[test]
fn nothing_of_a_removed_peer_is_left_at_any_moment_of_its_handshake() {
    for messages in 0..4 {
        let mut sim = default_pair(2);
        connect(&mut sim, A);
        let arrived = |sim: &secure_gre_sim::Sim<_>| sim.trace().entries().len() >= 2 * messages;
        sim.run_until(MINUTES, arrived).unwrap();
        let now = sim.now();
        let a = sim.node_mut(A);
        a.endpoint.remove_peer(now, PEER).unwrap();
        a.drain(now);
        assert!(a.endpoint.is_idle(), "after {messages} messages");
        assert!(a.inbound.is_empty() && a.outbound.is_empty());
    }
}

/// RFC 7296 §2.4: INITIAL_CONTACT of the new SA makes the peer forget the old one.
#[test]
fn a_path_that_is_abandoned_is_replaced_on_both_ends() {
    let mut sim = default_pair(3);
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();

    let now = sim.now();
    let a = sim.node_mut(A);
    a.endpoint
        .handle_command(now, Command::Abandon { peer: PEER })
        .unwrap();
    a.drain(now);
    assert!(nothing_left(a));
    assert_eq!(a.gone, [GoneReason::Abandoned]);
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    assert_eq!(sim.node(B).gone, [GoneReason::Replaced]);
}
