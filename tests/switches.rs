//! `[daemon]`: `offload` and `workers` switch the machinery for speed off or down.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::capture::Capture;
use crate::lab::topology::LEFT;
use crate::lab::{self, Netns, Peer, Product, Topology, eventually, product, traffic};

const RIGHT_V4: &str = "10.255.0.2";
const SOON: Duration = Duration::from_secs(20);
/// Octets of the largest packet on a link.
const LINK: usize = 1500;
/// Of a device, for each worker.
const QUEUES: usize = 8;

/// What a device and its daemon look like with these lines in the file.
struct Machinery {
    /// The longest TCP payload that the device hands over.
    segment: usize,
    queues: usize,
    senders: usize,
    /// The longest packet that it gives the wire.
    longest: usize,
}

#[track_caller]
fn machinery(topology: &Topology, tunnel: &'static str) -> Machinery {
    let peer = Peer {
        more: "encapsulation = \"always\"",
        tunnel,
        ..Peer::default()
    };
    let mut here = Product::start(&topology.left, &peer);
    here.wait_until_established();
    // Packets as they are handed on, many in one where that is so.
    let capture = Capture::start(&topology.mid, "left0");
    let mut device = topology.left.spawn(&format!(
        "tcpdump -n -q -l -Z root -i {} tcp and dst {RIGHT_V4}",
        product::DEVICE
    ));
    device.wait_for_line("listening on", SOON);
    let octets = traffic::bulk_transfer(&topology.left, RIGHT_V4, traffic::Bulk::Upload);
    assert!(octets > 100_000, "{tunnel}: {octets} octets");
    device.signal(Signal::SIGINT);
    let senders = here.threads();
    let seen = Machinery {
        segment: longest_segment(&device.wait(SOON).stdout),
        queues: queues(&topology.left),
        senders: senders
            .iter()
            .filter(|name| name.starts_with("sgre-outbound"))
            .count(),
        longest: capture.stop().longest_from(LEFT),
    };
    assert_eq!(here.interrupt().code, Some(0));
    seen
}

/// Of lines like "IP 10.255.0.1.50000 > 10.255.0.2.5201: tcp 1348".
fn longest_segment(listed: &str) -> usize {
    let lengths = listed.lines().filter_map(|line| line.rsplit(' ').next());
    let lengths = lengths.filter_map(|length| length.parse().ok());
    lengths.max().expect("segments")
}

fn queues(netns: &Netns) -> usize {
    let folder = format!("/sys/class/net/{}/queues", product::DEVICE);
    let listed = netns.run(&format!("ls {folder}"), SOON);
    let names = listed.expect("queues");
    names.lines().filter(|name| name.starts_with("rx-")).count()
}

#[test]
fn offloads_and_workers_are_what_the_file_says() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let _there = Product::start(&right, &Peer::right().responder());
    let _server = traffic::serve_bulk(&right);

    let usual = machinery(&topology, "");
    assert!(usual.segment > LINK, "{} octets", usual.segment);
    assert!(usual.longest > LINK, "{} octets", usual.longest);

    let plain = machinery(&topology, "[daemon]\noffload = false\nworkers = 1");
    assert!(plain.segment <= LINK, "{} octets", plain.segment);
    assert_eq!((plain.queues, plain.senders), (QUEUES, 1));
    assert!(plain.longest <= LINK, "{} octets", plain.longest);

    let many = machinery(&topology, "[daemon]\nworkers = 3");
    assert_eq!((many.queues, many.senders), (3 * QUEUES, 3));

    // Whose packets have numbers keeps their order.
    let ordered = machinery(&topology, "sequence = true\n[daemon]\nworkers = 3");
    assert_eq!((ordered.queues, ordered.senders), (QUEUES, 1));
}

/// A peer that takes one packet at a time, and one that takes many, understand each other.
#[test]
fn one_end_without_offloads_carries_bulk_both_ways() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    for more in ["encapsulation = \"always\"", "encapsulation = \"never\""] {
        let there = Product::start(&right, &Peer::right().responder());
        let peer = Peer {
            more,
            tunnel: "[daemon]\noffload = false",
            ..Peer::default()
        };
        let mut here = Product::start(&topology.left, &peer);
        here.wait_until_established();
        let _server = traffic::serve_bulk(&right);
        for direction in [traffic::Bulk::Upload, traffic::Bulk::Download] {
            let octets = traffic::bulk_transfer(&topology.left, RIGHT_V4, direction);
            assert!(octets > 100_000, "{more}, {direction:?}: {octets} octets");
        }
        for end in [&here, &there] {
            let status = end.status();
            let drops = &status["tunnels"][0]["drops"];
            assert_eq!(drops["tun_refused"], serde_json::Value::Null, "{drops}");
        }
        assert_eq!(here.interrupt().code, Some(0));
        eventually("the end", SOON, || {
            (there.status()["state"] != "established").then_some(())
        });
        assert_eq!(there.interrupt().code, Some(0));
    }
}
