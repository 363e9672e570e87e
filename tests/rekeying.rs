//! Two daemons of ours whose tunnel lives on: lifetimes that run out, ends that die and come back.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::lab::{self, Peer, Probes, Product, Topology, product};

const RIGHT_V4: &str = "10.255.0.2";
const PATIENCE: Duration = Duration::from_secs(60);

/// D34, D35, D42: both ends have the same lifetimes, so that they also rekey at once now and then.
#[test]
fn lifetimes_run_out_on_both_ends_and_no_packet_is_lost() {
    const LIFETIMES: &str = "[peer.ike]\nlifetime = \"12s\"\n[peer.esp]\nlifetime = \"8s\"";
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let [here, there] = [Peer::default(), Peer::right().responder()].map(|peer| Peer {
        more: LIFETIMES,
        ..peer
    });
    let mut there = Product::start(&right, &there);
    there.wait_for_state("idle", PATIENCE);
    let mut here = Product::start(&topology.left, &here);
    here.wait_until_established();
    let probes = [(&topology.left, RIGHT_V4), (&right, product::INNER_V4)]
        .map(|(from, to)| Probes::start(from, to));

    let (mut pairs, mut ikes) = (BTreeSet::new(), BTreeSet::new());
    lab::eventually("rekeys", 3 * PATIENCE, || {
        let status = here.status();
        let children = status["children"].as_array()?.iter();
        pairs.extend(children.map(|child| child["spi-inbound"].to_string()));
        ikes.insert(status["ike"]["spi-initiator"].to_string());
        (pairs.len() > 4 && ikes.len() > 2).then_some(())
    });
    settles(&here, &there);
    for probes in probes {
        assert!(probes.expect_none_lost() > 0);
    }
    assert_eq!(here.interrupt().code, Some(0));
    there.wait_for_state("idle", PATIENCE);
}

/// Waits until each end has one pair, and it is the same one.
#[track_caller]
fn settles(here: &Product<'_>, there: &Product<'_>) {
    lab::eventually("one common pair", PATIENCE, || {
        let (here, there) = (here.status(), there.status());
        let [ours] = here["children"].as_array()?.as_slice() else {
            return None;
        };
        let [theirs] = there["children"].as_array()?.as_slice() else {
            return None;
        };
        let common = ours["spi-inbound"] == theirs["spi-outbound"]
            && here["ike"]["spi-initiator"] == there["ike"]["spi-initiator"];
        (common && ours["phase"] == "current").then_some(())
    });
}

/// Limits in packets, which 400 probes and answers a second reach soon.
#[test]
fn packets_run_out_and_none_is_lost() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let mut there = Product::start(&right, &Peer::right().responder());
    there.wait_for_state("idle", PATIENCE);
    let here = Peer {
        more: "[peer.esp]\nlifetime-packets = 1000",
        ..Peer::default()
    };
    let mut here = Product::start(&topology.left, &here);
    here.wait_until_established();
    let probes = Probes::start(&topology.left, RIGHT_V4);
    let mut pairs = BTreeSet::new();
    lab::eventually("rekeys", 3 * PATIENCE, || {
        pairs.insert(here.status()["children"][0]["spi-inbound"].to_string());
        (pairs.len() > 3).then_some(())
    });
    assert!(probes.expect_none_lost() > 2000);
    settles(&here, &there);
    assert_eq!(
        here.status()["tunnels"][0]["drops"]["exhausted"],
        serde_json::Value::Null
    );
}

/// D40, RFC 7296 §2.4: routes follow, the device stays.
#[test]
fn a_peer_that_dies_silently_is_noticed_and_comes_back() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let mut there = Product::start(&right, &Peer::right().responder());
    there.wait_for_state("idle", PATIENCE);
    let here = Peer {
        more: "[peer.ike]\ndpd = \"1s\"\nretransmit = { first = \"200ms\", factor = 1.5, tries = 3 }",
        ..Peer::default()
    };
    let mut here = Product::start(&topology.left, &here);
    here.wait_until_established();
    let device = topology.left.ip("-oneline link show dev sgre0");
    let usable = format!("{} dev {}", product::ROUTE, product::DEVICE);
    assert!(topology.left.ip("route show").contains(&usable));

    there.crash();
    here.wait_for_line("tunnel down", PATIENCE);
    let routes = topology.left.ip("route show");
    assert!(!routes.contains(&usable), "{routes}");
    assert!(
        routes.contains(&format!("unreachable {}", product::ROUTE)),
        "{routes}"
    );

    let mut there = Product::start(&right, &Peer::right().responder());
    there.wait_until_established();
    here.wait_until_established();
    assert!(topology.left.ip("route show").contains(&usable));
    assert_eq!(topology.left.ip("-oneline link show dev sgre0"), device);
    let probes = Probes::start(&topology.left, RIGHT_V4);
    probes.wait_for_answer(PATIENCE);
    settles(&here, &there);
}

/// D39, RFC 7296 §2.4: INITIAL_CONTACT replaces what is left of the old life, long before liveness
/// checks would notice.
#[test]
fn a_peer_that_was_killed_and_calls_again_replaces_its_old_sas() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let mut there = Product::start(&right, &Peer::right());
    let mut here = Product::start(&topology.left, &Peer::default().responder());
    here.wait_until_established();
    there.wait_until_established();
    there.crash();
    let mut there = Product::start(&right, &Peer::right());
    there.wait_until_established();
    here.wait_for_line("the peer set up a new one", PATIENCE);
    settles(&here, &there);
    let probes = Probes::start(&topology.left, RIGHT_V4);
    probes.wait_for_answer(PATIENCE);
    assert!(probes.expect_none_lost() > 0);
}
