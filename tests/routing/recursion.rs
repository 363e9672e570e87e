//! Routes into the tunnel that cover the peer: they never take it down where the pinned route can win,
//! and are named where it cannot (RFC 2784 §7, PAINS 15).

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PATIENCE, eventually};
use crate::lab::{self, Frr, Lan, Netns, Peer, Product, Router, Topology, product, traffic};

const SOON: Duration = Duration::from_secs(10);

/// The peer, behind the default route.
const PEER_V4: &str = "10.1.1.1";
const PEER_V6: &str = "2001:db8:f::1";
const RIGHT_V4: &str = "10.255.0.2";

/// The far end has its outer addresses on its loopback.
fn far_away(topology: &Topology, right: &Netns) {
    right.ip(&format!("address add {PEER_V4}/32 dev lo"));
    right.ip(&format!("address add {PEER_V6}/128 dev lo nodad"));
    // Neighbour discovery for packets from such an address asks from a link-local one.
    right.ip("address add fe80::2/64 dev wire nodad");
    topology.left.ip("route add default via 192.0.2.2");
    topology.left.ip("route add default via 2001:db8::2");
}

/// `left`, which has called, and the far end at `address`. `more` is said of the peer by `left`.
fn up<'n>(
    topology: &'n Topology,
    right: &'n Netns,
    address: &'static str,
    more: &'static str,
) -> [Product<'n>; 2] {
    far_away(topology, right);
    let v6 = address == PEER_V6;
    let mut there = Product::start(
        right,
        &Peer {
            address: if v6 { "2001:db8::1" } else { "192.0.2.1" },
            more: if v6 {
                "local = \"2001:db8:f::1\"\n"
            } else {
                "local = \"10.1.1.1\"\n"
            },
            ..Peer::right().responder()
        },
    );
    there.wait_for_state("idle", SOON);
    let here = Peer {
        address,
        more,
        ..Peer::default()
    };
    let mut here = Product::start(&topology.left, &here);
    here.wait_until_established();
    [here, there]
}

/// The device's MTU and the SA: what a loop might have spoiled.
fn essence(product: &Product<'_>) -> [Value; 2] {
    let status = product.status();
    [
        status["children"][0]["spi-inbound"].clone(),
        status["tunnels"][0]["mtu"].clone(),
    ]
}

#[track_caller]
fn expect_obstacle(product: &Product<'_>, words: &str) {
    let status = product.status();
    let obstacles = status["obstacles"].as_array().unwrap();
    let named = |one: &Value| one.as_str().unwrap().contains(words);
    assert!(obstacles.iter().any(named), "{words} in {obstacles:?}");
}

#[track_caller]
fn says_recursion(product: &Product<'_>) -> bool {
    let obstacles = product.status()["obstacles"].to_string();
    obstacles.contains("recursive routing")
}

/// The pinned route wins over whatever is less specific, or of a worse metric.
#[test]
fn a_route_that_covers_the_peer_is_named_and_captures_nothing() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let [mut here, _there] = up(&topology, &right, PEER_V4, "");
    let before = essence(&here);
    for (learned, words) in [
        (
            "10.0.0.0/8 dev sgre0 proto ospf metric 20",
            "10.0.0.0/8 via sgre0, learned by ospf",
        ),
        (
            "10.1.1.1/32 dev sgre0 proto bgp metric 20",
            "10.1.1.1/32 via sgre0, learned by bgp",
        ),
        (
            "10.1.0.0/16 dev sgre0",
            "10.1.0.0/16 via sgre0, set by hand",
        ),
    ] {
        topology.left.ip(&format!("route add {learned}"));
        let words = format!("{words}, covers the peer {PEER_V4}");
        here.wait_for_line(&words, SOON);
        expect_obstacle(&here, &words);
        assert!(topology.left.ip("route get 10.1.1.1").contains("dev wire"));
        traffic::ping(&topology.left, RIGHT_V4, "-c 3").expect("ping");
        topology.left.ip(&format!("route del {learned}"));
        here.wait_for_line(&format!("{words} no more"), SOON);
        assert!(!says_recursion(&here));
    }
    assert_eq!(essence(&here), before);
    assert_eq!(here.interrupt().code, Some(0));
}

/// What leads outer packets into the tunnel in spite of the pinned route: for `ip`, in order.
struct Loop {
    make: &'static [&'static str],
    mend: &'static str,
    /// How it is named.
    words: &'static str,
}

const LOOPS_V4: &[Loop] = &[
    Loop {
        make: &["route replace 10.1.1.1/32 dev sgre0 proto ospf"],
        mend: "route del 10.1.1.1/32 dev sgre0",
        words: "10.1.1.1/32 via sgre0, learned by ospf, covers the peer 10.1.1.1",
    },
    Loop {
        make: &[
            "route add 10.0.0.0/8 dev sgre0 proto bgp table 100",
            "rule add to 10.1.1.1 lookup 100",
        ],
        mend: "rule del to 10.1.1.1 lookup 100",
        words: "10.0.0.0/8 via sgre0 in table 100, learned by bgp, covers the peer 10.1.1.1",
    },
];

const LOOPS_V6: &[Loop] = &[
    Loop {
        make: &["-6 route replace 2001:db8:f::1/128 dev sgre0 metric 1 proto ospf"],
        mend: "-6 route del 2001:db8:f::1/128 dev sgre0",
        words: "2001:db8:f::1/128 via sgre0, learned by ospf, covers the peer 2001:db8:f::1",
    },
    Loop {
        make: &[
            "-6 route add default dev sgre0 proto bgp table 100",
            "-6 rule add to 2001:db8:f::1 lookup 100",
        ],
        mend: "-6 rule del to 2001:db8:f::1 lookup 100",
        words: "::/0 via sgre0 in table 100, learned by bgp, covers the peer 2001:db8:f::1",
    },
];

const NATIVE: &str = "encapsulation = \"never\"";
const IN_UDP: &str = "encapsulation = \"always\"";

#[test]
fn a_loop_is_named_and_carries_nothing_native_ipv4() {
    a_loop_is_named_and_carries_nothing(PEER_V4, NATIVE, LOOPS_V4);
}

#[test]
fn a_loop_is_named_and_carries_nothing_udp_ipv4() {
    a_loop_is_named_and_carries_nothing(PEER_V4, IN_UDP, LOOPS_V4);
}

#[test]
fn a_loop_is_named_and_carries_nothing_native_ipv6() {
    a_loop_is_named_and_carries_nothing(PEER_V6, NATIVE, LOOPS_V6);
}

#[test]
fn a_loop_is_named_and_carries_nothing_udp_ipv6() {
    a_loop_is_named_and_carries_nothing(PEER_V6, IN_UDP, LOOPS_V6);
}

#[track_caller]
fn a_loop_is_named_and_carries_nothing(address: &'static str, more: &'static str, loops: &[Loop]) {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let [mut here, _there] = up(&topology, &right, address, more);
    let before = essence(&here);
    for Loop { make, mend, words } in loops {
        let begin = Instant::now();
        for step in *make {
            topology.left.ip(step);
        }
        here.wait_for_line(words, SOON);
        println!("{words}: named after {:?}", begin.elapsed());
        expect_obstacle(&here, words);
        each_packet_passes_the_device_once(&here, &topology.left);

        topology.left.ip(mend);
        eventually("an end of the loop in status", SOON, || {
            (!says_recursion(&here)).then_some(())
        });
        traffic::ping(&topology.left, RIGHT_V4, "-c 3").expect("ping");
        assert_eq!(essence(&here), before);
    }
    assert_eq!(here.interrupt().code, Some(0));
}

/// What was sealed comes back once, and ends there.
#[track_caller]
fn each_packet_passes_the_device_once(product: &Product<'_>, netns: &Netns) {
    let count = |status: &Value, pointer: &str| status.pointer(pointer).and_then(Value::as_u64);
    let sealed = |status: &Value| count(status, "/tunnels/0/outbound/packets").unwrap_or(0);
    let recursed = |status: &Value| count(status, "/tunnels/0/drops/recursion").unwrap_or(0);
    let before = product.status();
    assert!(!traffic::ping(netns, RIGHT_V4, "-c 10 -W 1").success());
    let after = product.status();
    let came_back = recursed(&after) - recursed(&before);
    // IKE, probes and the kernel's own packets for the device are few; going round, these ten alone would
    // be some hundreds.
    assert!(
        (10..80).contains(&came_back),
        "{came_back} came back: {after}"
    );
    assert!(sealed(&after) - sealed(&before) < 20, "{after}");
}

/// OSPF announces a subnet of the far end that covers its outer address, and BGP another.
#[test]
fn what_frr_learns_over_the_tunnel_does_not_take_it_down() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let [mut here, _there] = up(&topology, &right, PEER_V4, "");
    let before = essence(&here);

    let _lan = Lan::new(lab, Router::Namespace(&right), "10.20.1", "2001:db8:20:1");
    right.ip("address add 10.20.1.9/8 dev lan0");
    let routers = [Router::Namespace(&topology.left), Router::Namespace(&right)];
    let [mut ours, mut theirs] = routers.map(|router| Frr::start(router, &["ospfd", "bgpd"]));
    ours.configure(&frr_conf("10.255.0.1", RIGHT_V4, ""));
    theirs.configure(&frr_conf(RIGHT_V4, "10.255.0.1", "network 10.1.0.0/16"));
    for words in [
        "10.0.0.0/8 via sgre0, learned by ospf, covers the peer 10.1.1.1",
        "10.1.0.0/16 via sgre0, learned by bgp, covers the peer 10.1.1.1",
    ] {
        here.wait_for_line(words, PATIENCE);
        expect_obstacle(&here, words);
    }
    assert!(topology.left.ip("route get 10.1.1.1").contains("dev wire"));
    traffic::ping(&topology.left, RIGHT_V4, "-c 10").expect("ping");
    assert_eq!(essence(&here), before);
    let drops = &here.status()["tunnels"][0]["drops"];
    assert_eq!(drops["recursion"], Value::Null, "{drops}");

    right.ip("address del 10.20.1.9/8 dev lan0");
    here.wait_for_line(
        "10.0.0.0/8 via sgre0, learned by ospf, covers the peer 10.1.1.1 no more",
        PATIENCE,
    );
    assert_eq!(here.interrupt().code, Some(0));
}

fn frr_conf(own: &str, other: &str, announced: &str) -> String {
    let device = product::DEVICE;
    format!(
        "frr defaults traditional
interface {device}
 ip ospf area 0
 ip ospf network point-to-point
 ip ospf hello-interval 1
 ip ospf dead-interval 10
exit
interface lan0
 ip ospf area 0
 ip ospf passive
exit
router ospf
 ospf router-id {own}
exit
router bgp 65001
 bgp router-id {own}
 no bgp network import-check
 neighbor {other} remote-as 65001
 neighbor {other} timers connect 3
 address-family ipv4 unicast
  {announced}
 exit-address-family
exit"
    )
}
