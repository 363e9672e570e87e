//! What routers between the ends see: TTL, TOS and DF of the outer packets by policy, and what of it
//! reaches the passengers.

use std::net::UdpSocket;
use std::time::Duration;

use crate::lab::topology::{LEFT, nft};
use crate::lab::{self, Netns, Outer, Peer, Product, Topology, product, traffic};

const RIGHT_V4: &str = "10.255.0.2";
const RIGHT_V6: &str = "fd00:255::2";
const SOON: Duration = Duration::from_secs(15);

/// One passenger, and the header around it.
struct Passenger {
    /// Options of `ping`.
    ping: &'static str,
    to: &'static str,
    ttl: u8,
    tos: u8,
    df: bool,
}

impl Passenger {
    /// The length of its outer packet tells it from the others: octets of ping's payload.
    fn size(place: usize) -> usize {
        200 + 16 * place
    }

    /// ESP with AES-GCM around GRE without options (RFC 4303 §2, RFC 4106).
    fn outer_length(&self, place: usize, outer: Outer) -> usize {
        let ip = if self.to.contains(':') { 40 } else { 20 };
        let plain = 4 + ip + 8 + Self::size(place) + 2;
        let outer_ip = if outer.is_v6() { 40 } else { 20 };
        outer_ip + 16 + plain.next_multiple_of(4) + 16
    }
}

/// Sends each of them under the policies, and looks at its outer header.
#[track_caller]
fn assert_outer(topology: &Topology, outer: Outer, policies: &'static str, all: &[Passenger]) {
    let peer = Peer {
        more: NATIVE,
        tunnel: policies,
        ..Peer::default().over(outer)
    };
    let mut here = Product::start(&topology.left, &peer);
    here.wait_until_established();
    let capture = topology.capture();
    for (place, passenger) in all.iter().enumerate() {
        let Passenger { ping, to, .. } = passenger;
        let size = Passenger::size(place);
        // Whether it is answered is another matter.
        traffic::ping(&topology.left, to, &format!("-c 1 -W 1 {ping} -s {size}"));
    }
    let packets = capture.stop();
    for (place, passenger) in all.iter().enumerate() {
        let Passenger {
            ping,
            to,
            ttl,
            tos,
            df,
        } = *passenger;
        let length = passenger.outer_length(place, outer);
        let seen = packets.marks(outer.left, length);
        assert_eq!(seen, Some((ttl, tos, df)), "{policies}: ping {ping} {to}");
    }
    assert_eq!(here.interrupt().code, Some(0));
}

const NATIVE: &str = "encapsulation = \"never\"";

/// PAINS 13, RFC 2784 §3.1, RFC 2983 §3.1, RFC 6040 §4.1, RFC 4459 §3: fixed TTL and DF set by
/// default; what is inherited is, but for the TTL of multicasts and of what may go no further.
#[test]
fn each_policy_writes_its_header() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let _there = Product::start(&right, &Peer::right().responder());
    let group = "239.1.1.1";
    let sent = |ping, to, ttl, tos, df| Passenger {
        ping,
        to,
        ttl,
        tos,
        df,
    };
    assert_outer(
        &topology,
        Outer::NATIVE_V4,
        "",
        &[
            sent("-t 9 -M do", RIGHT_V4, 64, 0, true),
            sent("-t 9 -M dont", RIGHT_V4, 64, 0, true),
            sent("-t 1", RIGHT_V4, 64, 0, true),
            sent("-t 1 -I sgre0", group, 64, 0, true),
            sent("-t 9", RIGHT_V6, 64, 0, true),
            sent("-Q 0xb8", RIGHT_V4, 64, 0xb8, true),
            sent("-Q 0xba", RIGHT_V4, 64, 0xba, true),
            sent("-Q 0x29", RIGHT_V6, 64, 0x29, true),
        ],
    );
    assert_outer(
        &topology,
        Outer::NATIVE_V4,
        "ttl = \"inherit\"\ntos = 0x28\ndf = \"copy\"",
        &[
            sent("-t 9 -M do", RIGHT_V4, 9, 0x28, true),
            sent("-t 9 -M dont", RIGHT_V4, 9, 0x28, false),
            sent("-t 1 -M dont", RIGHT_V4, 64, 0x28, false),
            sent("-t 1 -M dont -I sgre0", group, 64, 0x28, false),
            sent("-t 32 -M dont -I sgre0", group, 64, 0x28, false),
            sent("-t 9", RIGHT_V6, 9, 0x28, true),
            sent("-t 1", RIGHT_V6, 64, 0x28, true),
            sent("-t 9 -M do -Q 0xb9", RIGHT_V4, 9, 0x29, true),
        ],
    );
    assert_outer(
        &topology,
        Outer::NATIVE_V4,
        "ttl = 33\ndf = \"clear\"",
        &[
            sent("-t 9 -M do", RIGHT_V4, 33, 0, false),
            sent("-t 1 -M dont", RIGHT_V4, 33, 0, false),
            sent("-t 9", RIGHT_V6, 33, 0, false),
        ],
    );
}

/// RFC 7676 §3, RFC 2474: the same fields of an outer IPv6 header, which has no DF.
#[test]
fn each_policy_writes_its_header_over_ipv6() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let there = Peer::right().responder().over(Outer::NATIVE_V6);
    let _there = Product::start(&right, &there);
    let sent = |ping, to, ttl, tos| Passenger {
        ping,
        to,
        ttl,
        tos,
        df: true,
    };
    assert_outer(
        &topology,
        Outer::NATIVE_V6,
        "ttl = \"inherit\"",
        &[
            sent("-t 9 -Q 0xba", RIGHT_V4, 9, 0xba),
            sent("-t 1", RIGHT_V4, 64, 0),
            sent("-t 9 -Q 0x29", RIGHT_V6, 9, 0x29),
            sent("-t 1 -I sgre0", "ff0e::99", 64, 0),
        ],
    );
}

/// RFC 4459 §3: over a link that takes 1300 octets. DF set, or copied from one who sets it: the
/// passenger's sender is told. Not set: its packets are cut, by this host before they are
/// encapsulated; cleared under a fixed MTU: the outer packets are, and each passenger is whole.
#[test]
fn what_is_too_big_is_told_or_cut_as_df_says() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    for end in [&topology.left, &right] {
        end.ip("link set wire mtu 1300");
    }
    let _there = Product::start(&right, &Peer::right().responder());
    for (policies, told, outer_is_cut) in [
        ("df = \"set\"", true, false),
        ("df = \"copy\"", true, false),
        ("df = \"clear\"\nmtu = 1400", false, true),
    ] {
        let peer = Peer {
            more: NATIVE,
            tunnel: policies,
            // With IPv6 the device's MTU would not fall below 1280.
            inner: ["10.255.0.1/30", "10.255.1.1/30"],
            ..Peer::default()
        };
        let mut here = Product::start(&topology.left, &peer);
        here.wait_until_established();
        let capture = topology.capture();
        let full = traffic::ping(&topology.left, RIGHT_V4, "-c 2 -M do -s 1372");
        assert_eq!(full.success(), !told, "{policies}: {full:?}");
        let said = full.stderr.to_lowercase();
        assert_eq!(
            said.contains("message too long"),
            told,
            "{policies}: {said}"
        );
        let uncut = traffic::ping(&topology.left, RIGHT_V4, "-c 2 -M dont -s 1372");
        assert!(uncut.success(), "{policies}: {uncut:?}");
        let packets = capture.stop();
        let fragments = packets.count_fragments_from(LEFT);
        assert_eq!(fragments > 0, outer_is_cut, "{policies}: {fragments}");
        assert_eq!(here.interrupt().code, Some(0));
    }
}

/// RFC 7676 §3, D56: over the same link IPv6 passengers of 1280 octets are carried, in outer packets
/// that are cut, and no larger ones.
#[test]
fn passengers_of_ipv6_keep_their_1280_octets() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    for end in [&topology.left, &right] {
        end.ip("link set wire mtu 1300");
    }
    for outer in [Outer::NATIVE_V4, Outer::UDP_V4, Outer::NATIVE_V6] {
        let there = Product::start(&right, &Peer::right().responder().over(outer));
        let mut here = Product::start(&topology.left, &Peer::default().over(outer));
        here.wait_until_established();
        let capture = topology.capture();
        let full = traffic::ping(&topology.left, RIGHT_V6, "-c 3 -M do -s 1232");
        assert!(full.success(), "{outer:?}: {full:?}");
        let beyond = traffic::ping(&topology.left, RIGHT_V6, "-c 1 -M do -s 1233");
        assert!(!beyond.success(), "{outer:?}: {beyond:?}");
        let packets = capture.stop();
        if !outer.is_v6() {
            assert!(packets.count_fragments_from(LEFT) > 0, "{outer:?}");
        }
        assert_eq!(here.interrupt().code, Some(0));
        assert_eq!(there.interrupt().code, Some(0));
    }
}

/// D56: with several workers, whose flows mix packets that may be cut with others that may not, each
/// packet gets its own header: none that may be cut is refused for its length.
#[test]
fn workers_do_not_mix_up_whose_packets_may_be_cut() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    for end in [&topology.left, &right] {
        end.ip("link set wire mtu 1300");
    }
    for outer in [Outer::NATIVE_V4, Outer::UDP_V4] {
        let there = Product::start(&right, &Peer::right().responder().over(outer));
        let peer = Peer {
            tunnel: "[daemon]\nworkers = 3",
            ..Peer::default().over(outer)
        };
        let mut here = Product::start(&topology.left, &peer);
        here.wait_until_established();
        let capture = topology.capture();
        send_long_and_short(&topology.left);
        let fragments = capture.stop().count_fragments_from(LEFT);
        assert!(fragments > 100, "{outer:?}: {fragments} fragments");
        let drops = &here.status()["tunnels"][0]["drops"];
        assert!(drops["wire_too_big"].is_null(), "{outer:?}: {drops}");
        assert_eq!(here.interrupt().code, Some(0));
        assert_eq!(there.interrupt().code, Some(0));
    }
}

/// Datagrams of several flows that fill a device of 1280 octets, and small ones between them.
fn send_long_and_short(netns: &Netns) {
    let sockets: [UdpSocket; 8] =
        netns.enter(|| std::array::from_fn(|_| UdpSocket::bind("[::]:0").unwrap()));
    for round in 0..2000 {
        for (place, socket) in sockets.iter().enumerate() {
            let length = if (round + place) % 2 == 0 { 1232 } else { 64 };
            // What finds the device's queue full is lost, which is no matter.
            let _ = socket.send_to(&[0; 1232][..length], (RIGHT_V6, traffic::PORT));
        }
    }
}

/// RFC 6040 §4.2, D58: a router that is congested marks the outer header; a passenger that knows ECN
/// gets the mark, and one that does not is lost, as the router would have lost it.
#[test]
fn congestion_between_the_ends_reaches_the_passengers() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let there = Product::start(&right, &Peer::right().responder());
    let peer = Peer {
        more: NATIVE,
        ..Peer::default()
    };
    let mut here = Product::start(&topology.left, &peer);
    here.wait_until_established();
    traffic::ping(&topology.left, RIGHT_V4, "-c 2").expect("before");
    mark_congestion(&right);
    let mut inner = right.spawn(&format!(
        "tcpdump -n -v -l -Z root -i {} icmp or icmp6",
        product::DEVICE
    ));
    inner.wait_for_line("listening on", SOON);

    traffic::ping(&topology.left, RIGHT_V4, "-c 2 -Q 0xba").expect("ECT(0)");
    inner.wait_for_line("tos 0xbb,CE", SOON);
    traffic::ping(&topology.left, RIGHT_V6, "-c 2 -Q 0x29").expect("ECT(1)");
    inner.wait_for_line("class 0x2b", SOON);
    let lost = |status: &serde_json::Value| {
        let count = &status["tunnels"][0]["drops"]["gre_ecn_congestion"];
        count.as_u64().unwrap_or(0)
    };
    let before = lost(&there.status());
    assert!(!traffic::ping(&topology.left, RIGHT_V4, "-c 3 -W 1 -Q 0xb8").success());
    let after = lost(&there.status());
    assert!(after >= before + 3, "{before} before, {after} after");
}

/// Marks all ESP that comes in as a congested router does.
fn mark_congestion(netns: &Netns) {
    nft(netns, "add table ip congested");
    nft(
        netns,
        "add chain ip congested pre { type filter hook prerouting priority -300 ; }",
    );
    nft(
        netns,
        "add rule ip congested pre ip protocol esp ip ecn set ce",
    );
}
