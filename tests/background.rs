//! `up --background` returns when the tunnel carries packets, or fails with the reason and leaves
//! nothing.

use std::time::Duration;

use crate::lab::{self, Folder, Peer, Product, Topology, eventually, traffic};

#[test]
fn it_returns_when_packets_pass_and_the_daemon_ends_with_the_tunnel() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let mut there = Product::start(&right, &Peer::right().responder());
    there.wait_for_state("idle", Duration::from_secs(10));
    let before = topology.left.ip("route show table all");
    let folder = Folder::new();
    let file = folder.write("berlin.toml", &Peer::default());

    let output = folder.up_in_background(&topology.left, &file);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert_eq!(output.stdout, "berlin is up\n");
    assert!(
        output.stderr.contains("berlin: tunnel up"),
        "{}",
        output.stderr
    );
    traffic::ping(&topology.left, "10.255.0.2", "-c 1").expect("ping at once");

    let down = folder.run(&topology.left, "down", &["berlin"]);
    assert_eq!(down.stdout, "berlin is down\n", "{}", down.stderr);
    eventually("nothing left", Duration::from_secs(5), || {
        (!folder.runtime().exists()).then_some(())
    });
    assert_eq!(topology.left.ip("route show table all"), before);
}

#[test]
fn a_failure_is_told_and_leaves_nothing() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let before = topology.left.ip("route show table all");
    let folder = Folder::new();
    // Nothing answers there, and it is not tried for long.
    let more = "[peer.ike]\nretransmit = { first = \"100ms\", factor = 1.0, tries = 2 }\n";
    let peer = Peer {
        more,
        ..Peer::default()
    };
    let output = folder.up_in_background(&topology.left, &folder.write("berlin.toml", &peer));
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(
        output.stderr.contains("error: berlin: "),
        "{}",
        output.stderr
    );
    assert!(!folder.runtime().exists());
    assert_eq!(topology.left.ip("route show table all"), before);
}

#[test]
fn no_route_to_the_peer_is_a_failure() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let folder = Folder::new();
    let peer = Peer {
        address: "203.0.113.9",
        ..Peer::default()
    };
    let output = folder.up_in_background(&topology.left, &folder.write("berlin.toml", &peer));
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(
        output.stderr.contains("no route to 203.0.113.9"),
        "{}",
        output.stderr
    );
    assert!(!folder.runtime().exists());
}
