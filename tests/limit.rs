//! `limit`: no more leaves than was allowed, and a flow that fills it does not drown the others.

use crate::lab::{self, Peer, Product, Topology, traffic};

#[test]
fn a_transfer_is_held_to_the_limit_and_pings_pass_beside_it() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let _there = Product::start(&right, &Peer::right().responder());
    let peer = Peer {
        tunnel: "limit = \"10Mbit\"",
        ..Peer::default()
    };
    let mut here = Product::start(&topology.left, &peer);
    here.wait_until_established();
    let server = traffic::serve_bulk(&right);

    // 2 s of 10 Mbit are 2.5 MB; what iperf3 asks for is twenty times as much.
    let up = traffic::bulk_transfer(&topology.left, "10.255.0.2", traffic::Bulk::Upload);
    assert!((250_000..3_500_000).contains(&up), "{up} octets in 2 s");
    let over = &here.status()["tunnels"][0]["drops"]["over_limit"];
    assert!(over.as_u64() > Some(0), "TCP finds the limit by its losses");

    let flood = topology
        .left
        .spawn("iperf3 --udp --time 6 --bitrate 50M --length 1200 --client 10.255.0.2");
    // A queue of a megabyte would delay each by most of a second, or drop it.
    traffic::ping(&topology.left, "10.255.0.2", "-c 10").expect("beside a flood");
    drop(flood);
    drop(server);
}
