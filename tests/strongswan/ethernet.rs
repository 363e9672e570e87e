//! Ethernet passengers against Linux's gretap, plain and bridged; and two keyed GRE devices of Linux
//! against two tunnels of ours, under one SA.

use std::time::Duration;

use crate::examples::example;
use crate::lab::topology::RIGHT;
use crate::lab::{
    self, Outer, Product, Router, Strongswan, Topology, VlanHost, gre_device, product, strongswan,
    traffic, vlan,
};

const OURS: &str = "10.30.0.1";
const THEIRS: &str = "10.30.0.2";

/// D54, PAINS 21: IP under one key and Ethernet under another, both through the one SA.
#[test]
fn gretap_and_gre_share_an_sa() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan::default().start(&guest);
    gre_device::replace(&guest, Outer::NATIVE_V4, "key 1001");
    guest.expect(&format!(
        "set -e\nip link add tap1 type gretap local {} remote {} key 1002 ttl 64\n\
         ip link set tap1 mtu 1400 up\nip address add {THEIRS}/24 dev tap1\n\
         ip address add fd00:30::2/64 dev tap1 nodad",
        Outer::NATIVE_V4.right,
        Outer::NATIVE_V4.left,
    ));
    let file = format!(
        "[peer]\naddress = \"{RIGHT}\"\npsk-file = \"lab.psk\"\n\
         [[tunnel]]\nkey = 1001\naddress = [\"10.255.0.1/30\"]\n\
         [[tunnel]]\nkey = 1002\nkind = \"ethernet\"\naddress = [\"{OURS}/24\", \"fd00:30::1/64\"]\n"
    );
    let mut here = Product::start_with(&topology.left, &file, "lab.psk");
    here.wait_until_established();
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 3").expect("IP");
    traffic::ping_from_guest(&guest, product::INNER_V4, "-c 3").expect("IP, from there");
    lab::eventually("the neighbour", Duration::from_secs(15), || {
        traffic::ping(&topology.left, THEIRS, "-c 1 -W 1")
            .success()
            .then_some(())
    });
    traffic::ping(&topology.left, THEIRS, "-c 3 -M do -s 1372").expect("a full frame");
    traffic::ping_from_guest(&guest, OURS, "-c 3 -M do -s 1372").expect("one from there");
    traffic::ping(&topology.left, "fd00:30::2", "-c 3").expect("IPv6");
    traffic::guest_serves_bulk(&guest);
    for direction in [traffic::Bulk::Upload, traffic::Bulk::Download] {
        let octets = traffic::bulk_transfer(&topology.left, THEIRS, direction);
        assert!(octets > 500_000, "{direction:?}: {octets} octets");
    }
    let status = here.status();
    assert_eq!(status["children"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        status["strange-keys"].as_array().map(Vec::len),
        Some(0),
        "{status}"
    );
    assert_eq!(here.interrupt().code, Some(0));
}

/// `examples/ethernet-bridge`: one Ethernet, with a VLAN on it, of a bridge here and gretap's there.
#[test]
fn vlans_pass_to_a_bridged_gretap() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let example = |name: &str| example(&format!("ethernet-bridge/{name}"));
    topology.left.ip("tuntap add lan0 mode tap");
    Router::Namespace(&topology.left).expect(&example("bridge.sh"));
    let here_guest = VlanHost::boot(&topology.left, "lan0");
    let there_guest = topology.boot_guest();
    let swanctl = crate::examples::example("strongswan/swanctl.conf");
    let swanctl = swanctl.replace("change-me-to-what-peer.psk-holds", product::PSK);
    let devices = [
        VlanHost::BESIDE_ROUTER,
        &example("bridge.sh"),
        &example("gretap.sh"),
    ]
    .concat();
    strongswan::start_with(&there_guest, &devices, &swanctl);
    let mut here = Product::start_with(&topology.left, &example("berlin.toml"), "berlin.psk");
    here.wait_until_established();
    let near = VlanHost::alone(&here_guest, 1);
    let far = VlanHost::beside_router(&there_guest, 2);
    vlan::are_neighbours([&near, &far]);
    assert_eq!(here.interrupt().code, Some(0));
}
