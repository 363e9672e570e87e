//! `liveness`: a peer that runs this program too is asked many times a second.

use std::time::Duration;

use crate::lab::{self, Peer, Product, Topology, eventually, product};

const LONG: Duration = Duration::from_secs(30);

/// Long before IKE notices, the carrier and the routes go with the peer, and come back with it.
#[test]
fn carrier_and_routes_follow_the_probes() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let there = Product::start(&right, &Peer::right().responder());
    let peer = Peer {
        tunnel: "liveness = \"100ms\"",
        ..Peer::default()
    };
    let mut here = Product::start(&topology.left, &peer);
    here.wait_until_established();
    let capture = topology.capture();
    let wait_for = |verdict: &str, usable: bool| {
        eventually(&format!("a peer that is {verdict}"), LONG, || {
            let link = topology.left.ip(&format!("link show {}", product::DEVICE));
            let routes = topology.left.ip(&format!("route show {}", product::ROUTE));
            let tunnel = &here.status()["tunnels"][0];
            (tunnel["liveness"]["verdict"] == verdict
                && link.contains("NO-CARRIER") != usable
                && routes.contains(product::DEVICE) == usable)
                .then_some(())
        });
    };
    wait_for("alive", true);
    eventually("a round trip", LONG, || {
        let liveness = &here.status()["tunnels"][0]["liveness"];
        (liveness["round-trip-micros"].as_u64()? > 0).then_some(())
    });
    let liveness = &here.status()["tunnels"][0]["liveness"];
    for figure in ["loss-permille", "round-trip-micros", "jitter-micros"] {
        assert!(liveness[figure].is_u64(), "{figure} of {liveness}");
    }
    let shown = here.command("status", &[]).expect("status");
    for part in ["the peer answers probes: loss ", "round trip ", "jitter "] {
        assert!(shown.contains(part), "{part} in {shown}");
    }

    there.pause();
    wait_for("dead", false);
    assert_eq!(here.status()["state"], "established");
    let refused = topology.left.ip(&format!("route show {}", product::ROUTE));
    assert!(refused.starts_with("unreachable"), "{refused}");

    there.resume();
    wait_for("alive", true);
    assert_eq!(capture.stop().in_clear(), None);
    assert_eq!(here.interrupt().code, Some(0));
    assert_eq!(there.interrupt().code, Some(0));
}
