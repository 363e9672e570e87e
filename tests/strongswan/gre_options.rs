//! GRE options against Linux's own GRE: key, checksum and sequence numbers, each alone and all
//! together, over IPv4 and over IPv6; a peer that starts anew; keys that are not alike.
//!
//! One boot for all of it. That an option is there is seen in the length of the ESP packets; Linux
//! drops what lacks an option of its device, and checks the value of the others.

use std::time::Duration;

use crate::lab::{
    self, Guest, Outer, Peer, Product, Strongswan, Topology, eventually, gre_device, product,
    strongswan, traffic,
};

/// One configuration on both sides.
struct Cell {
    /// Lines of `[tunnel]`.
    ours: &'static str,
    /// Words of `ip link add … type gre`.
    theirs: &'static str,
    /// How much longer they make a packet of ours, and one of theirs, in octets.
    octets: [usize; 2],
}

const CELLS: &[Cell] = &[
    Cell {
        ours: "key = 4294967295",
        theirs: "key 4294967295",
        octets: [4, 4],
    },
    // D54: key 0 is a key.
    Cell {
        ours: "key = 0",
        theirs: "key 0",
        octets: [4, 4],
    },
    Cell {
        ours: "key = \"10.0.0.7\"",
        theirs: "key 10.0.0.7",
        octets: [4, 4],
    },
    // D52.
    Cell {
        ours: "checksum = true",
        theirs: "csum",
        octets: [4, 4],
    },
    // D55.
    Cell {
        ours: "sequence = true",
        theirs: "seq",
        octets: [4, 4],
    },
    Cell {
        ours: "key = 1001\nchecksum = true\nsequence = true",
        theirs: "key 1001 csum seq",
        octets: [12, 12],
    },
];

/// D52, D54, D55, D56, PAINS 20
#[test]
fn options_alone_and_together() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan::default().start(&guest);
    for cell in CELLS {
        carries(&topology, &guest, Outer::NATIVE_V4, cell);
    }
    starts_anew(&topology, &guest);
    keys_differ(&topology, &guest);
    keepalives(&topology, &guest);

    Strongswan::over(Outer::NATIVE_V6, false).reload(&guest);
    let all = CELLS.last().unwrap();
    let without_options_header = Cell {
        theirs: "encaplimit none key 1001 csum seq",
        ..*all
    };
    let with_options_header = Cell {
        theirs: "encaplimit 4 key 1001 csum seq",
        octets: [12, 12 + 8],
        ..*all
    };
    carries(&topology, &guest, Outer::NATIVE_V6, &without_options_header);
    carries(&topology, &guest, Outer::NATIVE_V6, &with_options_header);
}

#[track_caller]
fn carries(topology: &Topology, guest: &Guest, outer: Outer, cell: &Cell) {
    let Cell {
        ours,
        theirs,
        octets,
    } = *cell;
    println!("{ours:?} against {theirs:?}");
    gre_device::replace(guest, outer, theirs);
    let product = established(topology, outer, ours);
    let capture = topology.capture();
    pings(topology, guest);
    let packets = capture.stop();
    assert_eq!(packets.in_clear(), None);
    for (end, more) in [outer.left, outer.right].into_iter().zip(octets) {
        let longest = packets.longest_from(end);
        assert_eq!(longest, outer.longest_packet() + more, "{ours}, from {end}");
    }
    let tunnel = &product.status()["tunnels"][0];
    let drops = tunnel["drops"].as_object().unwrap();
    let by_gre = drops.keys().find(|reason| reason.starts_with("gre_"));
    assert_eq!(by_gre, None, "{tunnel}");
    assert_eq!(product.interrupt().code, Some(0));
}

/// D55: the guest's device is made anew under a living SA, and counts from the start again.
#[track_caller]
fn starts_anew(topology: &Topology, guest: &Guest) {
    gre_device::replace(guest, Outer::NATIVE_V4, "seq");
    let product = established(topology, Outer::NATIVE_V4, "sequence = true");
    traffic::ping_from_guest(guest, product::INNER_V4, "-c 12").expect("before");
    gre_device::replace(guest, Outer::NATIVE_V4, "seq");
    let lossy = traffic::ping_from_guest(guest, product::INNER_V4, "-c 10");
    assert!(lossy.success(), "{lossy:?}");
    traffic::ping_from_guest(guest, product::INNER_V4, "-c 3").expect("after");
    let tunnel = &product.status()["tunnels"][0];
    assert!(
        tunnel["drops"]["gre_sequence_old"].as_u64() >= Some(1),
        "{tunnel}"
    );
    assert_eq!(product.interrupt().code, Some(0));
}

/// D54: nothing passes under another key.
#[track_caller]
fn keys_differ(topology: &Topology, guest: &Guest) {
    gre_device::replace(guest, Outer::NATIVE_V4, "key 1001");
    let product = established(topology, Outer::NATIVE_V4, "key = 1002");
    assert!(!traffic::ping_from_guest(guest, product::INNER_V4, "-c 3 -W 1").success());
    let peer = product.status();
    assert!(
        peer["drops"]["gre_key_unknown"].as_u64() >= Some(3),
        "{peer}"
    );
    assert_eq!(peer["strange-keys"][0]["key"], 1001, "{peer}");
    let shown = product.command("status", &[]).expect("status");
    assert!(
        shown.contains("the peer sends key 1001, no tunnel has it"),
        "{shown}"
    );
    assert_eq!(product.interrupt().code, Some(0));
}

/// D60: Linux sends keepalives back, as any router would, once it forwards what comes from an address
/// of its own. They come under ESP, since they go between the ends of the SA.
#[track_caller]
fn keepalives(topology: &Topology, guest: &Guest) {
    gre_device::replace(guest, Outer::NATIVE_V4, "key 7");
    let asking = "key = 7\nkeepalive = { every = \"1s\", tries = 2 }";
    let product = established(topology, Outer::NATIVE_V4, asking);
    let capture = topology.capture();
    let wait_for = |state: &str| {
        eventually(state, Duration::from_secs(30), || {
            (product.status()["tunnels"][0]["keepalive"] == state).then_some(())
        });
    };
    wait_for("dead");
    for (key, value) in [
        ("ip_forward", 1),
        ("conf/all/rp_filter", 0),
        ("conf/gre1/rp_filter", 0),
        ("conf/gre1/accept_local", 1),
    ] {
        guest.expect(&format!("echo {value} >/proc/sys/net/ipv4/{key}"));
    }
    wait_for("alive");
    assert_eq!(capture.stop().in_clear(), None);
    assert_eq!(product.interrupt().code, Some(0));
}

#[track_caller]
fn established<'t>(topology: &'t Topology, outer: Outer, tunnel: &'static str) -> Product<'t> {
    let peer = Peer {
        tunnel,
        ..Peer::default().over(outer)
    };
    let mut product = Product::start(&topology.left, &peer);
    product.wait_until_established();
    product
}

#[track_caller]
fn pings(topology: &Topology, guest: &Guest) {
    for destination in [strongswan::INNER_V4, strongswan::INNER_V6] {
        traffic::ping(&topology.left, destination, "-c 3").expect(destination);
    }
    for destination in [product::INNER_V4, product::INNER_V6] {
        traffic::ping_from_guest(guest, destination, "-c 3").expect(destination);
    }
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 3 -M do -s 1372").expect("a full one");
}
