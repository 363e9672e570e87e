//! No passenger octet leaves in clear and none in clear gets in, whatever the state of the tunnel.
//! `left` always has default routes, so that a packet without a better one would be seen leaving.

use std::time::Duration;

use crate::lab::{self, Netns, Peer, Product, Topology, capture, product, topology, traffic};

/// What a passenger may be sent to: the far end of the tunnel, and what lies behind it.
const DESTINATIONS: [&str; 3] = ["10.255.0.2", product::ROUTED_HOST, "fd00:255::2"];

/// Sends passengers that must get no answer.
#[track_caller]
fn send_in_vain(left: &Netns) {
    for destination in DESTINATIONS {
        let reply = traffic::ping(left, destination, "-c 2 -W 1");
        assert!(
            !reply.success(),
            "an answer from {destination}: {}",
            reply.stdout
        );
    }
}

/// The measuring instrument: without the product, the same packets do leave in clear.
#[test]
fn passengers_leave_in_clear_without_the_product() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    topology.add_default_routes();
    let capture = topology.capture();
    send_in_vain(&topology.left);
    assert!(capture.stop().in_clear().is_some());
}

#[test]
fn nothing_leaves_before_the_first_sa() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    topology.add_default_routes();
    // A host without IKE: it answers ARP, so that calls are seen on the wire.
    let _right = topology.add_right();
    let capture = topology.capture();
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_for_state("connecting", Duration::from_secs(10));
    send_in_vain(&topology.left);
    let socket = traffic::device_socket(&topology.left, product::DEVICE, product::INNER_V4);
    traffic::send_to_group(&socket);

    let packets = capture.stop();
    assert_eq!(packets.in_clear(), None);
    assert!(
        packets.count_udp(500) > 0,
        "the product was calling meanwhile"
    );
}

#[test]
fn nothing_leaves_after_the_peer_deleted_the_sa() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    topology.add_default_routes();
    let right = topology.add_right();
    let mut there = Product::start(&right, &Peer::right());
    let mut here = Product::start(&topology.left, &Peer::default().responder());
    here.wait_until_established();
    // The responder is first; its packets are of use once the initiator is, too.
    there.wait_until_established();
    traffic::ping(&topology.left, "10.255.0.2", "-c 1").expect("ping through the tunnel");

    let capture = topology.capture();
    assert_eq!(there.interrupt().code, Some(0));
    here.wait_for_state("idle", Duration::from_secs(10));
    send_in_vain(&topology.left);
    assert_eq!(capture.stop().in_clear(), None);
}

/// The third that may say "dead", beside keepalives and probes: a peer that answers IKE no more. (The other
/// two: `tests/keepalive.rs`, `tests/probes.rs`.)
#[test]
fn carrier_and_routes_go_with_an_sa_whose_peer_is_gone() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    topology.add_default_routes();
    let right = topology.add_right();
    let there = Product::start(&right, &Peer::right().responder());
    let asks = Peer {
        more: "[peer.ike]\ndpd = \"1s\"\nretransmit = { first = \"300ms\", factor = 1.5, tries = 4 }",
        ..Peer::default()
    };
    let mut here = Product::start(&topology.left, &asks);
    here.wait_until_established();
    let wait_for = |usable: bool| {
        lab::eventually(
            &format!("usable: {usable}"),
            Duration::from_secs(60),
            || {
                let link = topology.left.ip(&format!("link show {}", product::DEVICE));
                let routes = topology.left.ip(&format!("route show {}", product::ROUTE));
                let guarded = routes.contains("unreachable");
                let agree = link.contains("NO-CARRIER") != usable
                    && routes.contains(product::DEVICE) == usable;
                (guarded && agree).then_some(())
            },
        );
    };
    wait_for(true);
    let capture = topology.capture();
    there.pause();
    wait_for(false);
    send_in_vain(&topology.left);
    there.resume();
    wait_for(true);
    traffic::ping(&topology.left, "10.255.0.2", "-c 1").expect("after its return");
    assert_eq!(capture.stop().in_clear(), None);
}

#[test]
fn nothing_leaves_after_a_crash() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    topology.add_default_routes();
    let right = topology.add_right();
    let _there = Product::start(&right, &Peer::right().responder());
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_until_established();

    let capture = topology.capture();
    here.kill();
    send_in_vain(&topology.left);
    assert_eq!(capture.stop().in_clear(), None);
}

/// The same inner packet is delivered when it came protected, and never when it came in clear.
#[test]
fn gre_in_clear_is_never_delivered() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let mut here = Product::start(&topology.left, &Peer::default().responder());
    here.wait_for_state("idle", Duration::from_secs(10));
    let socket = traffic::device_socket(&topology.left, product::DEVICE, product::INNER_V4);

    let inner = traffic::ipv4("10.255.0.2", product::INNER_V4, 17, &traffic::datagram());
    let gre = [&[0, 0, 0x08, 0x00], inner.as_slice()].concat();
    let forged = traffic::ipv4(topology::RIGHT, topology::LEFT, capture::GRE, &gre);
    let forge = || {
        let capture = topology.capture();
        traffic::send_raw(&right, &forged, topology::LEFT);
        assert_eq!(
            traffic::receive(&socket, Duration::from_secs(1)),
            None,
            "taken in clear"
        );
        assert_eq!(
            capture.stop().count_protocol(capture::GRE),
            1,
            "it did arrive"
        );
    };
    forge();

    let _there = Product::start(&right, &Peer::right());
    here.wait_until_established();
    forge();
    traffic::send_raw(&right, &inner, product::INNER_V4);
    let sender = traffic::receive(&socket, Duration::from_secs(5));
    assert_eq!(
        sender,
        Some("10.255.0.2".parse().unwrap()),
        "the same, protected"
    );
}
