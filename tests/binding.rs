//! Outer traffic is bound to a device or carries a mark, and the other way that there is stays silent.

use crate::lab::capture::Capture;
use crate::lab::{self, Folder, Netns, Peer, Product, Topology, traffic};

/// The peer's address, to which the main table leads by another device than the file asks for.
const FAR: &str = "203.0.113.2";

/// `left` and `right` on a second link, with 10.66.0.1 and 10.66.0.2.
fn add_second_link(left: &Netns, right: &Netns) {
    let name = right.name();
    left.ip(&format!(
        "link add second type veth peer name second netns {name}"
    ));
    for (netns, address) in [(left, "10.66.0.1/24"), (right, "10.66.0.2/24")] {
        netns.ip(&format!("address add {address} dev second"));
        netns.ip("link set second up");
    }
    right.ip(&format!("address add {FAR}/32 dev lo"));
    left.ip(&format!("route add {FAR} via 192.0.2.2 metric 10"));
}

/// The tunnel works, and nothing of it has come by the first link.
fn carries_by_the_second_only(topology: &Topology, right: &Netns, more: &'static str) {
    let folder = Folder::new();
    let there = Peer {
        address: "10.66.0.1",
        more: "local = \"203.0.113.2\"\nencapsulation = \"never\"\n",
        ..Peer::right().responder()
    };
    let there = folder.write("there.toml", &there);
    let _there = folder.up(right, &there);
    let first = topology.capture();
    let here = Peer {
        address: FAR,
        more,
        ..Peer::default()
    };
    let second = Capture::start(right, "second");
    let mut here = Product::start(&topology.left, &here);
    here.wait_until_established();
    traffic::ping(&topology.left, "10.255.0.2", "-c 3 -i 0.2").expect("ping");
    let pinned = topology.left.ip(&format!("route show {FAR}"));
    let is_marked = more.contains("fwmark");
    assert_eq!(
        pinned.contains("10.66.0.2 dev second proto"),
        !is_marked,
        "{pinned}"
    );
    assert_eq!(here.interrupt().code, Some(0));
    let (first, second) = (first.stop(), second.stop());
    assert_eq!((first.count_udp(500), first.count_protocol(50)), (0, 0));
    assert!(second.count_udp(500) >= 4 && second.count_protocol(50) >= 6);
}

#[test]
fn peer_interface_chooses_among_two_ways() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    add_second_link(&topology.left, &right);
    topology
        .left
        .ip(&format!("route add {FAR} via 10.66.0.2 metric 500"));
    carries_by_the_second_only(&topology, &right, "interface = \"second\"");
}

#[test]
fn peer_fwmark_chooses_the_table_of_a_rule() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    add_second_link(&topology.left, &right);
    topology
        .left
        .ip(&format!("route add {FAR} via 10.66.0.2 table 100"));
    topology.left.ip("rule add fwmark 7 table 100");
    carries_by_the_second_only(&topology, &right, "fwmark = \"0x7\"");
}
