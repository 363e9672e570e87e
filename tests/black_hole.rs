//! A path that eats large packets and says nothing: found by probes, before people do.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::lab::{self, Netns, Outer, Peer, Product, Strongswan, Topology, eventually, traffic};

/// What the path takes, in octets; packets of the default MTU are 1460, or 1468 in UDP.
const PATH: u64 = 1420;
const SOON: Duration = Duration::from_secs(60);

/// PAINS 12: with 1500 octets on each link, all ICMP gone, and 1420 in the middle.
#[test]
fn two_products_find_what_the_path_takes_in_each_direction() {
    let Some(lab) = lab::require() else { return };
    for outer in [Outer::NATIVE_V4, Outer::UDP_V4, Outer::NATIVE_V6] {
        let topology = Topology::new(lab);
        let right = topology.add_right();
        topology.swallow_larger_than(PATH, Some(&right));
        let more = "encapsulation = \"never\"";
        let native = |peer: Peer| Peer { more, ..peer };
        let there = Peer::right().responder().over(outer);
        let there = Product::start(&right, &if outer.udp { there } else { native(there) });
        let here = Peer::default().over(outer);
        let here = if outer.udp { here } else { native(here) };
        let _server = traffic::serve_bulk(&right);
        let mut here = Product::start(&topology.left, &here);
        here.wait_until_established();
        // At once, while the hole has yet to be found.
        never_stalls(&topology.left, traffic::Bulk::Upload);
        for product in [&here, &there] {
            wait_for_path(product);
        }
        edge(&topology.left, "10.255.0.2", &here);
        edge(&right, "10.255.0.1", &there);
        never_stalls(&topology.left, traffic::Bulk::Upload);
        never_stalls(&topology.left, traffic::Bulk::Download);
    }
}

/// PAINS 12: nothing moves for more than a second at no time of a transfer.
#[track_caller]
fn never_stalls(netns: &Netns, direction: traffic::Bulk) {
    let stall = traffic::longest_stall(netns, "10.255.0.2", direction);
    assert!(stall <= Duration::from_secs(1), "{direction:?}: {stall:?}");
}

/// A route that changes under a tunnel may bring a black hole with it, and take it away.
#[test]
fn a_hole_that_opens_under_a_bulk_transfer_is_found() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let _there = Product::start(&right, &Peer::right().responder());
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_until_established();
    let _server = traffic::serve_bulk(&right);
    let before = traffic::bulk_transfer(&topology.left, "10.255.0.2", traffic::Bulk::Upload);
    assert!(before > 100_000, "{before} octets");
    assert_eq!(here.status()["path-mtu"], 1500);

    topology.swallow_larger_than(PATH, Some(&right));
    wait_for_path(&here);
    here.wait_for_line("without a word", SOON);
    let after = traffic::bulk_transfer(&topology.left, "10.255.0.2", traffic::Bulk::Upload);
    assert!(after > 100_000, "{after} octets");
}

/// A peer that knows no probes answers ping at its address inside the tunnel.
#[test]
fn strongswan_behind_a_black_hole_is_asked_by_ping() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan::over(Outer::NATIVE_V4, false).start(&guest);
    guest.expect("ip link set gre1 mtu 1300");
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_until_established();
    // The peer answers large requests in fragments: that is no hole.
    thread::sleep(Duration::from_secs(3));
    let status = here.status();
    assert_eq!(
        (&status["path-mtu"], &status["tunnels"][0]["mtu"]),
        (&1500.into(), &1400.into())
    );
    guest.expect("ip link set gre1 mtu 1400");
    topology.swallow_larger_than(PATH, None);
    wait_for_path(&here);
    edge(&topology.left, "10.255.0.2", &here);
}

/// Until the device has the largest MTU that the path takes, or a block of a cipher less.
#[track_caller]
fn wait_for_path(product: &Product<'_>) {
    eventually("the path's MTU", SOON, || {
        let mtu = product.status()["path-mtu"].as_u64()?;
        (PATH - 16..=PATH).contains(&mtu).then_some(())
    });
}

/// The largest packet of the device passes, and a larger one is refused aloud.
#[track_caller]
fn edge(netns: &Netns, destination: &str, product: &Product<'_>) {
    let mtu = |status: &Value| status["tunnels"][0]["mtu"].as_u64().unwrap();
    let largest = mtu(&product.status()) - 28;
    traffic::ping(netns, destination, &format!("-c 3 -M do -s {largest}")).expect("full packets");
    let beyond = traffic::ping(
        netns,
        destination,
        &format!("-c 1 -M do -s {}", largest + 1),
    );
    assert!(!beyond.success());
    let said = beyond.stderr.to_lowercase();
    assert!(said.contains("message too long"), "{beyond:?}");
}
