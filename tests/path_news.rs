//! What routers say of packets that were too big for them: believed if the packet was ours.

use std::time::Duration;

use crate::lab::topology::LEFT;
use crate::lab::{self, Netns, Outer, Peer, Product, Topology, eventually, traffic};

const LONG: Duration = Duration::from_secs(30);

/// RFC 1191, RFC 8201: a path that becomes narrow behind a router, which says so. The device follows
/// before anybody has to look for a black hole.
#[test]
fn what_a_narrow_router_says_is_believed() {
    let Some(lab) = lab::require() else { return };
    for outer in [
        Outer::NATIVE_V4,
        Outer::UDP_V4,
        Outer::NATIVE_V6,
        Outer::UDP_V6,
    ] {
        let topology = Topology::new(lab);
        let far = topology.add_beyond_router();
        let outer = outer.beyond_router();
        let _there = Product::start(&far, &unless_udp(outer, Peer::right().responder()));
        let mut here = Product::start(&topology.left, &unless_udp(outer, Peer::default()));
        here.wait_until_established();
        assert_eq!(here.status()["path-mtu"], 1500, "{outer:?}");

        topology.narrow_beyond_router(&far, 1300);
        ping_until(&topology.left, &here, 1300);
        let full = traffic::ping(&topology.left, "10.255.0.2", "-c 3 -M do -s 1252");
        assert!(full.success(), "{outer:?}: {full:?}");
        let said = here.interrupt().stdout;
        assert!(!said.contains("without a word"), "{outer:?}: {said}");
    }
}

/// D50, RFC 4301 §8.2.1: anybody may send an ICMP message. It counts if it quotes a packet that was sent:
/// the SPI of an SA, and a sequence number of it that is spent; and only downwards.
#[test]
fn forged_news_of_packets_that_were_not_sent_change_nothing() {
    let Some(lab) = lab::require() else { return };
    for outer in [Outer::NATIVE_V4, Outer::UDP_V4] {
        let topology = Topology::new(lab);
        let right = topology.add_right();
        let _there = Product::start(&right, &unless_udp(outer, Peer::right().responder()));
        let mut here = Product::start(&topology.left, &unless_udp(outer, Peer::default()));
        here.wait_until_established();
        traffic::ping(&topology.left, "10.255.0.2", "-c 3").expect("passengers");

        let spi = &here.status()["children"][0]["spi-outbound"];
        let spi = spi.as_str().unwrap().strip_prefix("0x").unwrap();
        let spi = u32::from_str_radix(spi, 16).unwrap();
        let spent = 1;
        // They come in this order.
        for (mtu, spi, sequence) in [
            (1000, spi ^ 1, spent),
            (1010, spi, u32::MAX),
            (1020, spi, 0),
            // Of nobody's link.
            (300, spi, spent),
            (1200, spi, spent),
            (1250, spi, spent),
        ] {
            let news = fragmentation_needed(outer, mtu, spi, sequence);
            traffic::send_raw(&right, &news, LEFT);
        }
        let path = eventually("a narrower path", LONG, || {
            here.status()["path-mtu"].as_u64().filter(|mtu| *mtu < 1500)
        });
        assert_eq!(path, 1200, "{outer:?}");
        // IPv6 keeps its 1280 octets.
        assert_eq!(here.status()["tunnels"][0]["mtu"], 1280, "{outer:?}");
        traffic::ping(&topology.left, "fd00:255::2", "-c 3 -M do -s 1232").expect("full packets");
        assert_eq!(here.status()["path-mtu"], 1200, "{outer:?}");
    }
}

/// Two secure-gre would use UDP.
fn unless_udp(outer: Outer, peer: Peer) -> Peer {
    let peer = peer.over(outer);
    match outer.udp {
        true => peer,
        false => Peer {
            more: "encapsulation = \"never\"",
            ..peer
        },
    }
}

/// Sends full packets until the path is known to take so much.
#[track_caller]
fn ping_until(netns: &Netns, product: &Product<'_>, path_mtu: u64) {
    eventually("news of the path", LONG, || {
        traffic::ping(netns, "10.255.0.2", "-c 1 -W 1 -M do -s 1372");
        let mtu = product.status()["path-mtu"].as_u64()?;
        (mtu == path_mtu).then_some(())
    });
}

/// What a router would say of an ESP packet from left to right (RFC 792, RFC 1191 §4).
fn fragmentation_needed(outer: Outer, mtu: u16, spi: u32, sequence: u32) -> Vec<u8> {
    let esp = [spi, sequence].map(u32::to_be_bytes).concat();
    let (protocol, payload) = if outer.udp {
        let ports = [4500_u16, 4500, 1448, 0].map(u16::to_be_bytes).concat();
        (17, [ports, esp].concat())
    } else {
        (50, esp)
    };
    let quoted = traffic::ipv4(outer.left, outer.right, protocol, &payload);
    let [high, low] = mtu.to_be_bytes();
    let mut message = [&[3, 4, 0, 0, 0, 0, high, low][..], &quoted].concat();
    let sum = traffic::checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    traffic::ipv4(outer.right, outer.left, 1, &message)
}
