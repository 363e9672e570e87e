//! The underlay changes, and the tunnel follows: source address, path and pinned route.

use std::time::Duration;

use crate::lab::{self, Folder, Netns, Peer, Product, Topology, eventually, traffic};

const SOON: Duration = Duration::from_secs(10);
const WHILE: Duration = Duration::from_secs(30);

/// The peer's address behind the default route.
const FAR: &str = "203.0.113.2";

/// `left` reaches the peer by its default route and sends everything into the tunnel.
fn far_peer() -> (Peer, Peer) {
    let here = Peer {
        address: FAR,
        routes: &["0.0.0.0/0"],
        ..Peer::default()
    };
    let there = Peer {
        more: "local = \"203.0.113.2\"\n",
        ..Peer::right().responder()
    };
    (here, there)
}

fn add_far(right: &Netns) {
    right.ip(&format!("address add {FAR}/32 dev lo"));
    right.ip("address add 192.0.2.3/24 dev wire");
}

fn way(netns: &Netns, destination: &str) -> String {
    netns.ip(&format!("route get {destination}"))
}

#[test]
fn an_underlay_that_comes_up_late_is_used_at_once() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    topology.left.ip("link set wire down");
    topology.left.ip("address flush dev wire");
    let mut there = Product::start(&right, &Peer::right().responder());
    there.wait_for_state("idle", SOON);
    let mut here = Product::start(&topology.left, &Peer::default());
    // By then the next look is seconds away.
    here.wait_for_line("trying again in 4 s", SOON);
    topology.left.ip("link set wire up");
    topology.left.ip("address add 192.0.2.1/24 dev wire");
    here.wait_for_state("established", Duration::from_secs(3));
    assert_eq!(here.interrupt().code, Some(0));
}

/// RFC 4555: between two of us, either end may move under traffic, and the IKE SA stays.
#[test]
fn an_sa_goes_on_at_another_address() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let mut there = Product::start(&right, &Peer::right().responder());
    there.wait_for_state("idle", SOON);
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_until_established();
    there.wait_until_established();
    let spis = |product: &Product<'_>| {
        let ike = &product.status()["ike"];
        (ike["spi-initiator"].clone(), ike["spi-responder"].clone())
    };
    let before = spis(&here);
    let pinging = topology.left.spawn("ping -n -i 0.2 10.255.0.2");
    for (mover, from, to) in [
        (&topology.left, "192.0.2.1", "192.0.2.7"),
        (&right, "192.0.2.2", "192.0.2.9"),
    ] {
        mover.ip(&format!("address del {from}/24 dev wire"));
        mover.ip(&format!("address add {to}/24 dev wire"));
        for product in [&mut here, &mut there] {
            let moved = format!("{to}:4500 instead of {from}:4500; its SAs go on there");
            product.wait_for_line(&moved, WHILE);
        }
        traffic::ping(&topology.left, "10.255.0.2", "-c 3").expect("ping");
        traffic::ping(&right, "10.255.0.1", "-c 3").expect("ping");
    }
    drop(pinging);
    for (product, local, remote) in [
        (&here, "192.0.2.7", "192.0.2.9"),
        (&there, "192.0.2.9", "192.0.2.7"),
    ] {
        let status = product.status();
        assert_eq!(status["local-address"], local);
        assert_eq!(status["remote-address"], remote);
        assert_eq!(spis(product), before);
        product.command("rekey", &["peer"]).expect("rekey");
    }
    traffic::ping(&topology.left, "10.255.0.2", "-c 3").expect("ping");
    assert_eq!(here.interrupt().code, Some(0));
}

#[test]
fn our_new_address_gets_a_new_sa() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    // The other end knows us by both addresses.
    let folder = Folder::new();
    folder.write("old.toml", &Peer::right().responder());
    let new = Peer {
        address: "192.0.2.7",
        device: "sgre1",
        inner: ["10.255.0.6/30", "fd00:256::2/64"],
        ..Peer::right().responder()
    };
    folder.write("new.toml", &new);
    let mut command = folder.command(&right, "daemon");
    command.arg(folder.path());
    let _there = lab::process::Process::spawn(command);
    folder.wait_for_states(&right, &[("new", "idle"), ("old", "idle")]);
    // The SA of two that may put ESP into UDP goes along.
    let here = Peer {
        tunnel: "[daemon]\noffload = false\n",
        ..Peer::default()
    };
    let mut here = Product::start(&topology.left, &here);
    here.wait_until_established();

    topology.left.ip("address del 192.0.2.1/24 dev wire");
    topology.left.ip("address add 192.0.2.7/24 dev wire");
    here.wait_for_line("our address is 192.0.2.7 instead of 192.0.2.1", SOON);
    here.wait_for_state("established", SOON);
    assert_eq!(here.status()["local-address"], "192.0.2.7");
    let states = folder.states(&right).unwrap();
    assert_eq!(states["new"], "established");
    assert_eq!(here.interrupt().code, Some(0));
}

#[test]
fn a_default_route_through_the_tunnel_leaves_outer_packets_outside() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    add_far(&right);
    topology.left.ip("route add default via 192.0.2.2");
    let before = topology.left.ip("route show table all");
    let (here, there) = far_peer();
    let mut there = Product::start(&right, &there);
    there.wait_for_state("idle", SOON);
    let mut here = Product::start(&topology.left, &here);
    here.wait_until_established();
    assert!(way(&topology.left, "198.51.100.9").contains("dev sgre0"));
    assert!(way(&topology.left, FAR).contains("via 192.0.2.2 dev wire"));
    let spi = here.status()["children"][0]["spi-inbound"].clone();

    topology.left.ip("route replace default via 192.0.2.3");
    eventually("the pinned route to follow", SOON, || {
        way(&topology.left, FAR)
            .contains("via 192.0.2.3")
            .then_some(())
    });
    // The wire is gone for a moment, and the kernel drops every route over it.
    topology.left.ip("link set wire down");
    here.wait_for_line("waiting for a way", SOON);
    topology.left.ip("link set wire up");
    topology.left.ip("route add default via 192.0.2.2");
    here.wait_for_line("there is a way to 203.0.113.2 again", SOON);
    assert!(way(&topology.left, FAR).contains("via 192.0.2.2 dev wire"));
    traffic::ping(&topology.left, "10.255.0.2", "-c 3").expect("ping");
    assert_eq!(
        here.status()["children"][0]["spi-inbound"],
        spi,
        "the SA has stayed"
    );

    assert_eq!(here.interrupt().code, Some(0));
    assert_eq!(topology.left.ip("route show table all"), before);
}
