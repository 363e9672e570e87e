//! An `up` beside a running daemon hands its file over, and takes down only its own tunnel.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::{self, Folder, Peer, Product, Topology};

const SOON: Duration = Duration::from_secs(10);

fn paris() -> Peer {
    Peer {
        address: "192.0.2.3",
        device: "sgre1",
        inner: ["10.255.3.1/30", "fd00:255:3::1/64"],
        routes: &[],
        ..Peer::default()
    }
}

#[test]
fn each_up_ends_its_own_tunnel_and_the_daemon_ends_with_the_last() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let there = Product::start(&right, &Peer::right().responder());
    let folder = Folder::new();
    let second_file = folder.write("paris.toml", &paris());
    let first = folder.up(
        &topology.left,
        &folder.write("berlin.toml", &Peer::default()),
    );
    folder.wait_for_states(&topology.left, &[("berlin", "established")]);

    let mut second = folder.up(&topology.left, &second_file);
    // What the daemon says of this peer, and nothing of the other.
    second.wait_for_line("paris: device sgre1", SOON);
    second.wait_for_line("paris: calling 192.0.2.3", SOON);
    assert!(!second.transcript().contains("berlin"));
    // Also what it finds when nothing but time has passed.
    topology.left.ip("route del unreachable 10.255.3.0/30");
    second.wait_for_line("paris: someone had removed the route 10.255.3.0/30", SOON);
    let both = [("berlin", "established"), ("paris", "connecting")];
    folder.wait_for_states(&topology.left, &both);

    // Killed, it cannot say that it goes.
    second.signal(Signal::SIGKILL);
    folder.wait_for_states(&topology.left, &[("berlin", "established")]);

    let mut third = folder.up(&topology.left, &second_file);
    third.wait_for_line("paris: calling", SOON);
    let again = folder.up(&topology.left, &second_file).wait(SOON);
    assert_eq!(again.code, Some(3), "{}", again.stderr);
    assert!(
        again.stderr.contains("\"paris\" is the name of"),
        "{}",
        again.stderr
    );

    // The first one serves the other's tunnel until that ends too.
    first.signal(Signal::SIGINT);
    folder.wait_for_states(&topology.left, &[("paris", "connecting")]);
    third.signal(Signal::SIGINT);
    let third = third.wait(SOON);
    assert_eq!(third.code, Some(0));
    assert!(third.stderr.contains("paris: down"), "{}", third.stderr);
    assert_eq!(first.wait(SOON).code, Some(0));
    assert!(!folder.runtime().exists());
    drop((there, second));
}

#[test]
fn a_second_file_for_one_peer_is_refused() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let folder = Folder::new();
    let first = folder.up(
        &topology.left,
        &folder.write("berlin.toml", &Peer::default()),
    );
    folder.wait_for_states(&topology.left, &[("berlin", "connecting")]);
    let clash = Peer {
        device: "sgre1",
        ..Peer::default()
    };
    let output = folder.up_in_background(&topology.left, &folder.write("clash.toml", &clash));
    assert_eq!(output.code, Some(3));
    assert!(
        output.stderr.contains("192.0.2.2 is the peer's address of"),
        "{}",
        output.stderr
    );
    first.signal(Signal::SIGINT);
    assert_eq!(first.wait(SOON).code, Some(0));
}
