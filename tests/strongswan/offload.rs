//! The same passengers with the offloads off, as on an old kernel: packet by packet on both sides.

use crate::lab::{self, Outer, Peer, Product, Strongswan, Topology};

#[test]
fn native_ipv4_without_offloads() {
    carries_all_passengers_without_offloads(Outer::NATIVE_V4);
}

#[test]
fn udp_ipv6_without_offloads() {
    carries_all_passengers_without_offloads(Outer::UDP_V6);
}

#[track_caller]
fn carries_all_passengers_without_offloads(outer: Outer) {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan::over(outer, false).start(&guest);
    let peer = Peer {
        tunnel: "[daemon]\noffload = false",
        ..Peer::default().over(outer)
    };
    let mut product = Product::start(&topology.left, &peer);
    product.wait_until_established();
    super::carries_all_passengers(&topology, &guest, &product, outer);
    assert_eq!(product.interrupt().code, Some(0));
}
