//! `secure-gre daemon DIR` serves the peers of a folder.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::process::Process;
use crate::lab::{self, Folder, Peer, Product, Topology};

const SOON: Duration = Duration::from_secs(10);

fn daemon(topology: &Topology, folder: &Folder) -> Process {
    let mut command = folder.command(&topology.left, "daemon");
    command.arg(folder.path());
    Process::spawn(command)
}

#[test]
fn good_files_are_served_and_others_are_reported() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let there = Product::start(&right, &Peer::right().responder());
    let folder = Folder::new();
    folder.write("berlin.toml", &Peer::default());
    fs::write(folder.path().join("broken.toml"), "[peer]\nadress = 1\n").unwrap();
    let device = Peer {
        address: "192.0.2.9",
        ..Peer::default()
    };
    folder.write("same-device.toml", &device);
    let address = Peer {
        device: "other",
        ..Peer::default()
    };
    folder.write("same-peer.toml", &address);
    let subnet = Peer {
        address: "192.0.2.10",
        device: "third",
        ..Peer::default()
    };
    folder.write("same-subnet.toml", &subnet);
    let spoke = "name = \"hub\"\n[peer]\naddress = \"any\"\n[tunnel]\naddress = [\"10.254.%n.0/31\"]\n\
                 routes = [\"10.20.0.0/16\"]\n[[spoke]]\nremote-id = \"spoke.example\"\npsk-file = \"lab.psk\"\n";
    fs::write(folder.path().join("spokes-prefix.toml"), spoke).unwrap();

    let daemon = daemon(&topology, &folder);
    folder.wait_for_states(&topology.left, &[("berlin", "established")]);
    let said = daemon.transcript();
    for part in [
        "adress",
        "broken.toml",
        "same-device.toml: sgre0 is the device of",
        "same-peer.toml: 192.0.2.2 is the peer's address of",
        "spokes-prefix.toml: 10.20.0.0/16 is the prefix of",
        "same-subnet.toml: 10.255.0.0/30 is the subnet or a route of",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }

    // It is a service: it outlives its peers.
    let down = folder.run(&topology.left, "down", &[]);
    assert_eq!(down.stdout, "berlin is down\n");
    folder.wait_for_states(&topology.left, &[]);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait(SOON).code, Some(0));
    drop(there);
}

#[test]
fn an_empty_folder_waits_for_ups() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let folder = Folder::new();
    let files = Folder::new();
    let mut daemon = daemon(&topology, &folder);
    daemon.wait_for_line("serving nobody yet", SOON);
    let mut up = folder.up(
        &topology.left,
        &files.write("berlin.toml", &Peer::default()),
    );
    up.wait_for_line("berlin: calling", SOON);
    folder.wait_for_states(&topology.left, &[("berlin", "connecting")]);
    up.signal(Signal::SIGINT);
    assert_eq!(up.wait(SOON).code, Some(0));
    folder.wait_for_states(&topology.left, &[]);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait(SOON).code, Some(0));
}

#[test]
fn a_folder_that_is_none_is_named() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let output = Folder::new().run(&topology.left, "daemon", &["/nonexistent"]);
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("/nonexistent"), "{}", output.stderr);
}
