//! Two daemons of ours in two namespaces.

use std::time::Duration;

use serde_json::Value;

use crate::lab::{self, Outer, Peer, Product, Topology, capture, product, traffic};

const RIGHT_V4: &str = "10.255.0.2";
const RIGHT_V6: &str = "fd00:255::2";
const NEVER: &str = "encapsulation = \"never\"";

#[test]
fn native_ipv4() {
    carry_all_passengers_both_ways(Outer::NATIVE_V4);
}

#[test]
fn udp_ipv4() {
    carry_all_passengers_both_ways(Outer::UDP_V4);
}

#[test]
fn native_ipv6() {
    carry_all_passengers_both_ways(Outer::NATIVE_V6);
}

#[test]
fn udp_ipv6() {
    carry_all_passengers_both_ways(Outer::UDP_V6);
}

#[track_caller]
fn carry_all_passengers_both_ways(outer: Outer) {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let capture = topology.capture();
    // One end is enough to keep two of ours from UDP.
    let there = Peer {
        more: if outer.udp { "" } else { NEVER },
        ..Peer::right().responder().over(outer)
    };
    let mut there = Product::start(&right, &there);
    there.wait_for_state("idle", Duration::from_secs(10));
    let mut here = Product::start(&topology.left, &Peer::default().over(outer));
    here.wait_until_established();
    there.wait_until_established();

    for destination in [RIGHT_V4, RIGHT_V6] {
        traffic::ping(&topology.left, destination, "-c 3").expect(destination);
    }
    for destination in [product::INNER_V4, product::INNER_V6] {
        traffic::ping(&right, destination, "-c 3").expect(destination);
    }

    let left_socket = traffic::device_socket(&topology.left, product::DEVICE, product::INNER_V4);
    let right_socket = traffic::device_socket(&right, product::DEVICE, RIGHT_V4);
    for (from, to) in [(&left_socket, &right_socket), (&right_socket, &left_socket)] {
        traffic::send_to_group(from);
        assert!(
            traffic::receive(to, Duration::from_secs(5)).is_some(),
            "multicast"
        );
    }

    let _server = traffic::serve_bulk(&right);
    for direction in [traffic::Bulk::Upload, traffic::Bulk::Download] {
        let octets = traffic::bulk_transfer(&topology.left, RIGHT_V4, direction);
        assert!(
            octets > 2_000_000,
            "{direction:?}: {octets} octets in two seconds"
        );
    }
    assert_one_common_sa(&here.status(), &there.status());

    assert_eq!(here.interrupt().code, Some(0));
    there.wait_for_state("idle", Duration::from_secs(10));
    let packets = capture.stop();
    assert_eq!(packets.in_clear(), None);
    packets.assert_carried_over(outer);
}

/// Each finds by itself that the other is one of ours, and both say why they are in UDP.
#[test]
fn that_are_left_to_choose_meet_in_udp() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let capture = topology.capture();
    let mut there = Product::start(&right, &Peer::right().responder());
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_until_established();
    there.wait_until_established();
    traffic::ping(&topology.left, RIGHT_V4, "-c 3").expect("ping");

    for product in [&here, &there] {
        let status = product.status();
        assert_eq!(children(&status)[0]["encapsulation"], "udp");
        assert_eq!(children(&status)[0]["udp-cause"], "faster");
    }
    assert_eq!(here.interrupt().code, Some(0));
    let packets = capture.stop();
    assert!(packets.count_udp(4500) >= 6);
    assert_eq!(packets.count_protocol(capture::ESP), 0);
}

/// Without offloads UDP is not faster, and one end is enough to say so.
#[test]
fn one_without_offloads_keeps_both_native() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let plain = Peer {
        tunnel: "[daemon]\noffload = false",
        ..Peer::right().responder()
    };
    let mut there = Product::start(&right, &plain);
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_until_established();
    there.wait_until_established();
    traffic::ping(&topology.left, RIGHT_V4, "-c 3").expect("ping");
    assert_eq!(children(&here.status())[0]["encapsulation"], "none");
    assert_eq!(children(&here.status())[0]["udp-cause"], Value::Null);
}

/// D34 applied to set-up, DESIGN §3: the exchange with the lowest nonce gives way.
#[test]
fn that_call_each_other_at_once_keep_one_sa() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let mut here = Product::start(&topology.left, &Peer::default());
    let mut there = Product::start(&right, &Peer::right());
    here.wait_until_established();
    there.wait_until_established();

    // The redundant one is gone soon, and the other stays.
    lab::eventually("one SA on each side", Duration::from_secs(10), || {
        let counts = [&here, &there].map(|product| children(&product.status()).len());
        (counts == [1, 1]).then_some(())
    });
    let first = (here.status(), there.status());
    assert_one_common_sa(&first.0, &first.1);
    traffic::ping(&topology.left, RIGHT_V4, "-c 10").expect("ping");
    let second = (here.status(), there.status());
    assert_one_common_sa(&second.0, &second.1);
    assert_eq!(
        children(&first.0)[0]["spi-inbound"],
        children(&second.0)[0]["spi-inbound"]
    );
}

#[track_caller]
fn assert_one_common_sa(here: &Value, there: &Value) {
    let ([ours], [theirs]) = (children(here), children(there)) else {
        panic!("not exactly one child each:\n{here}\n{there}");
    };
    assert_eq!(ours["spi-outbound"], theirs["spi-inbound"]);
    assert_eq!(ours["spi-inbound"], theirs["spi-outbound"]);
    assert_eq!(ours["suite"], theirs["suite"]);
    assert_eq!(here["ike"]["spi-initiator"], there["ike"]["spi-initiator"]);
    assert_ne!(here["ike"]["initiator"], there["ike"]["initiator"]);
}

fn children(status: &Value) -> &[Value] {
    status["children"].as_array().unwrap()
}

/// Against quantum computers twice over: both key exchanges (RFC 9370) and a PPK (RFC 8784), also after
/// rekeys of both kinds.
#[test]
fn that_trust_no_classical_key_exchange() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let more = "[peer.ike]\nproposals = [\"aes256gcm16-prfsha384-x25519-ke1_mlkem768\"]\n\
                ppk = { id = \"k1\", file = \"lab.ppk\", required = true }\n\
                [peer.esp]\nproposals = [\"aes256gcm16-x25519-ke1_mlkem768\"]";
    let there = Peer {
        more,
        ..Peer::right().responder()
    };
    let here = Peer {
        more,
        ..Peer::default()
    };
    let mut there = Product::start(&right, &there);
    there.wait_for_state("idle", Duration::from_secs(10));
    let mut here = Product::start(&topology.left, &here);
    here.wait_until_established();
    there.wait_until_established();
    let spi = |product: &Product<'_>| product.status()["ike"]["spi-initiator"].clone();
    let first = spi(&here);

    for arguments in [&["peer"][..], &["peer", "--ike"]] {
        here.command("rekey", arguments).expect("rekey");
        traffic::ping(&topology.left, RIGHT_V4, "-c 3").expect("ping");
    }
    lab::eventually("a rekeyed IKE SA", Duration::from_secs(20), || {
        (spi(&here) != first && spi(&here) == spi(&there)).then_some(())
    });
    for product in [&here, &there] {
        let ike = product.status()["ike"].clone();
        assert_eq!(ike["suite"], "aes256gcm16-prfsha384-x25519-ke1_mlkem768");
        assert_eq!(ike["ppk"], true);
    }
    traffic::ping(&right, product::INNER_V4, "-c 3").expect("ping");
    assert_eq!(here.interrupt().code, Some(0));
}
