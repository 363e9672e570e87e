//! GRE keepalives between two products: what silence does to carrier and routes, and what an answer.

use std::time::Duration;

use crate::lab::{self, Netns, Peer, Product, Topology, eventually, product};

const LONG: Duration = Duration::from_secs(30);

/// D60: the routes follow the keepalives, fail closed, while the SA stands.
#[test]
fn carrier_and_routes_follow_the_answers() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let there = Product::start(&right, &Peer::right().responder());
    let peer = Peer {
        tunnel: "keepalive = { every = \"1s\", tries = 2 }",
        ..Peer::default()
    };
    let mut here = Product::start(&topology.left, &peer);
    here.wait_until_established();
    let capture = topology.capture();
    wait_for(&here, &topology.left, "alive", true);

    there.pause();
    wait_for(&here, &topology.left, "dead", false);
    assert_eq!(here.status()["state"], "established");
    let refused = topology.left.ip(&format!("route show {}", product::ROUTE));
    assert!(refused.starts_with("unreachable"), "{refused}");
    let shown = here.command("status", &[]).expect("status");
    assert!(shown.contains("does not answer GRE keepalives"), "{shown}");

    there.resume();
    wait_for(&here, &topology.left, "alive", true);
    assert_eq!(capture.stop().in_clear(), None);
    assert_eq!(here.interrupt().code, Some(0));
    assert_eq!(there.interrupt().code, Some(0));
}

/// Waits until `status` says so, and the kernel too.
#[track_caller]
fn wait_for(product: &Product<'_>, netns: &Netns, keepalive: &str, usable: bool) {
    eventually(&format!("keepalives {keepalive}"), LONG, || {
        let link = netns.ip(&format!("link show {}", product::DEVICE));
        let routes = netns.ip(&format!("route show {}", product::ROUTE));
        let tunnel = &product.status()["tunnels"][0];
        (tunnel["keepalive"] == keepalive
            && link.contains("NO-CARRIER") != usable
            && routes.contains(product::DEVICE) == usable)
            .then_some(())
    });
}
