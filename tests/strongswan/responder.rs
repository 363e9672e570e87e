//! strongSwan calls, we answer.

use std::time::Duration;

use crate::lab::topology::INSIDE_RIGHT;
use crate::lab::{self, Outer, Peer, Product, Strongswan, Topology, product, strongswan, traffic};

#[test]
fn native_ipv4() {
    carries_all_passengers_and_survives_the_peers_delete(Outer::NATIVE_V4);
}

#[test]
fn udp_ipv4() {
    carries_all_passengers_and_survives_the_peers_delete(Outer::UDP_V4);
}

#[test]
fn native_ipv6() {
    carries_all_passengers_and_survives_the_peers_delete(Outer::NATIVE_V6);
}

#[test]
fn udp_ipv6() {
    carries_all_passengers_and_survives_the_peers_delete(Outer::UDP_V6);
}

#[track_caller]
fn carries_all_passengers_and_survives_the_peers_delete(outer: Outer) {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    let mut product = Product::start(&topology.left, &Peer::default().responder().over(outer));
    product.wait_for_state("idle", Duration::from_secs(10));
    // With MOBIKE on, which is its default, charon moves IKE to port 4500 from IKE_AUTH on even
    // where no NAT is. ESP stays protocol 50.
    Strongswan {
        mobike: true,
        ..Strongswan::over(outer, true)
    }
    .start(&guest);

    strongswan::initiate(&guest).expect("swanctl --initiate");
    product.wait_until_established();
    super::carries_all_passengers(&topology, &guest, &product, outer);

    strongswan::terminate(&guest);
    product.wait_for_state("idle", Duration::from_secs(10));
    strongswan::initiate(&guest).expect("swanctl --initiate after a DELETE");
    product.wait_until_established();
    assert_eq!(product.interrupt().code, Some(0));
    assert_eq!(strongswan::list_sas(&guest), "");
}

/// D29, RFC 7296 §2.23.1: the caller's selectors name its address behind the NAT.
#[test]
fn to_a_caller_behind_a_nat() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest_behind_nat();
    let peer = Peer {
        more: "remote-id = \"10.88.0.1\"",
        ..Peer::default().responder()
    };
    let mut product = Product::start(&topology.left, &peer);
    product.wait_for_state("idle", Duration::from_secs(10));
    Strongswan {
        local: INSIDE_RIGHT,
        local_id: INSIDE_RIGHT,
        ..Strongswan::default()
    }
    .start(&guest);

    strongswan::initiate(&guest).expect("swanctl --initiate");
    product.wait_until_established();
    for destination in [product::INNER_V4, product::INNER_V6] {
        traffic::ping_from_guest(&guest, destination, "-c 3").expect(destination);
    }
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 3").expect("ping");
    let sas = strongswan::list_sas(&guest);
    assert!(sas.contains("INSTALLED, TRANSPORT-in-UDP"), "{sas}");
    assert_eq!(product.status()["children"][0]["encapsulation"], "udp");
    assert_eq!(product.interrupt().code, Some(0));
    assert_eq!(strongswan::list_sas(&guest), "");
}
