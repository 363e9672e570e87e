//! The largest packet passes, the next one is refused aloud, and no outer packet is ever cut.

use crate::lab::{self, Peer, Product, Topology, capture, traffic};

#[test]
fn full_packets_pass_larger_ones_are_refused_and_bulk_is_never_fragmented() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let capture = topology.capture();
    // In UDP the capture would see many packets as one.
    let there = Peer {
        more: "encapsulation = \"never\"",
        ..Peer::right().responder()
    };
    let _there = Product::start(&right, &there);
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_until_established();

    // Device MTU 1400, less 20 + 8 octets of IPv4 and ICMP, or 40 + 8 of IPv6 and ICMPv6.
    for (destination, largest) in [("10.255.0.2", 1372), ("fd00:255::2", 1352)] {
        let full = format!("-c 3 -M do -s {largest}");
        traffic::ping(&topology.left, destination, &full).expect(&full);
        let beyond = format!("-c 1 -M do -s {}", largest + 1);
        let refused = traffic::ping(&topology.left, destination, &beyond);
        assert!(!refused.success());
        assert!(
            refused.stderr.to_lowercase().contains("message too long"),
            "{refused:?}"
        );
        // Without the don't-fragment bit the passenger is cut before it enters the tunnel.
        traffic::ping(&topology.left, destination, "-c 3 -s 3000").expect("a cut passenger");
    }

    let _server = traffic::serve_bulk(&right);
    for direction in [traffic::Bulk::Upload, traffic::Bulk::Download] {
        traffic::bulk_transfer(&topology.left, "10.255.0.2", direction);
    }
    let packets = capture.stop();
    assert!(packets.count_protocol(capture::ESP) > 1000);
    assert_eq!(packets.count_fragments(), 0);
    // 1400 + GRE 4 + padding 2 and its 2 octets + IV 8 + ICV 16 + ESP 8 + IPv4 20 (RFC 4106).
    assert_eq!(packets.longest(capture::ESP), 1460);
}
