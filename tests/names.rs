//! A peer that is known by a host name with several addresses.

use std::time::Duration;

use crate::lab::topology::RIGHT;
use crate::lab::{self, Netns, Peer, Probes, Product, Topology, product, traffic};

const NAME: &str = "peer.example";
/// Nobody has it. As close to ours as the peer's, so that the resolver leaves the order as it is
/// (RFC 6724 §6, rule 9).
const VACANT: &str = "192.0.2.3";
const RIGHT_V4: &str = "10.255.0.2";
const PATIENCE: Duration = Duration::from_secs(30);

/// Lets the name lead to both.
fn name(netns: &Netns) {
    netns.write_hosts(&format!("{VACANT} {NAME}\n{RIGHT} {NAME}\n"));
}

/// The route to the peer's outer address, whatever others do to the routes.
fn pinned(topology: &Topology, address: &str) -> bool {
    let routes = topology.left.ip("route show");
    routes
        .lines()
        .any(|route| route.starts_with(&format!("{address} dev wire")))
}

#[test]
fn every_address_of_a_name_is_called() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    name(&topology.left);
    let mut there = Product::start(&right, &Peer::right().responder());
    there.wait_for_state("idle", PATIENCE);
    let here = Peer {
        address: NAME,
        more: "[peer.ike]\nretransmit = { first = \"200ms\", factor = 1.0, tries = 2 }",
        ..Peer::default()
    };
    let mut here = Product::start(&topology.left, &here);
    here.wait_for_line(&format!("calling {VACANT}"), PATIENCE);
    here.wait_until_established();
    traffic::ping(&topology.left, RIGHT_V4, "-c 1").expect("ping");
    assert!(pinned(&topology, RIGHT) && !pinned(&topology, VACANT));
}

#[test]
fn a_caller_may_have_any_address_of_its_name() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    name(&topology.left);
    let here = Peer {
        address: NAME,
        ..Peer::default().responder()
    };
    let mut here = Product::start(&topology.left, &here);
    here.wait_for_line(&format!("waiting for {VACANT}"), PATIENCE);
    assert!(pinned(&topology, VACANT));
    let mut there = Product::start(&right, &Peer::right());
    there.wait_until_established();
    here.wait_until_established();
    let probes = Probes::start(&right, product::INNER_V4);
    probes.wait_for_answer(PATIENCE);
    assert!(probes.expect_none_lost() > 0);
    assert_eq!(here.status()["remote-address"], RIGHT);
    assert!(pinned(&topology, RIGHT) && !pinned(&topology, VACANT));
}
