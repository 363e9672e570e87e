//! Ethernet passengers: two bridges joined by a tunnel of ours, with the hosts behind them none the
//! wiser; and Linux's gretap as the other end is in `strongswan::ethernet`.

use std::time::Duration;

use crate::lab::require::Lab;
use crate::lab::topology::{LEFT, RIGHT};
use crate::lab::{self, Netns, Product, Topology, eventually, traffic};

const SOON: Duration = Duration::from_secs(15);
/// Of the hosts behind the bridges, which are in one subnet.
const HOSTS: [&str; 2] = ["10.30.0.1", "10.30.0.2"];

/// One end: the file's text, with more lines of `[tunnel]`.
fn file(peer: &str, initiate: bool, tunnel: &str) -> String {
    format!(
        "[peer]\naddress = \"{peer}\"\npsk-file = \"lab.psk\"\ninitiate = {initiate}\n\
         [tunnel]\ndevice = \"sgre0\"\nkind = \"ethernet\"\n{tunnel}\n"
    )
}

/// A host on a bridge of `netns`, whose other port is the tunnel's device.
fn bridge(lab: Lab, netns: &Netns, end: usize) -> Netns {
    let host = Netns::new(lab, "host");
    let name = host.name();
    netns.ip("link add lan type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
    netns.ip(&format!(
        "link add port type veth peer name lan netns {name}"
    ));
    for port in ["port", "sgre0"] {
        netns.ip(&format!("link set {port} master lan up"));
    }
    netns.ip("link set lan up");
    host.ip("link set lan mtu 1400 up");
    host.ip(&format!("address add {}/24 dev lan", HOSTS[end]));
    host.ip(&format!(
        "address add fd00:30::{}/64 dev lan nodad",
        end + 1
    ));
    host
}

/// The hosts behind two bridges, with the tunnel up between them.
#[track_caller]
fn bridged(tunnel: &str, check: impl FnOnce(&Netns, &Netns, &Product<'_>)) {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let mut there = Product::start_with(&right, &file(LEFT, false, tunnel), "lab.psk");
    there.wait_for_line("device sgre0", SOON);
    let there_host = bridge(lab, &right, 1);
    let mut here = Product::start_with(&topology.left, &file(RIGHT, true, tunnel), "lab.psk");
    here.wait_for_line("device sgre0", SOON);
    let here_host = bridge(lab, &topology.left, 0);
    here.wait_until_established();
    there.wait_until_established();
    // The first frames teach the bridges and the hosts their addresses.
    eventually("the first ping", SOON, || {
        let ping = traffic::ping(&here_host, HOSTS[1], "-c 1");
        ping.success().then_some(())
    });
    check(&here_host, &there_host, &here);
    assert_eq!(here.interrupt().code, Some(0));
    assert_eq!(there.interrupt().code, Some(0));
}

/// Full frames, IPv6's neighbours, and TCP many segments at a time. (Tags: `dataplane::worker`'s tests,
/// which need no VLAN devices.)
#[test]
fn bridges_are_joined() {
    bridged("key = 7", |here, there, product| {
        traffic::ping(here, HOSTS[1], "-c 3 -M do -s 1372").expect("a full frame");
        traffic::ping(there, "fd00:30::1", "-c 3").expect("IPv6");
        let _server = traffic::serve_bulk(there);
        for direction in [traffic::Bulk::Upload, traffic::Bulk::Download] {
            let octets = traffic::bulk_transfer(here, HOSTS[1], direction);
            assert!(
                octets > 2_000_000,
                "{direction:?}: {octets} octets in two seconds"
            );
        }
        let tunnel = &product.status()["tunnels"][0];
        assert_eq!(tunnel["kind"], "ethernet", "{tunnel}");
        assert_eq!(tunnel["mtu"], 1400, "{tunnel}");
        let drops = tunnel["drops"].as_object().unwrap();
        assert!(!drops.contains_key("tun_malformed"), "{tunnel}");
    });
}

/// RFC 7637 §3.2
#[test]
fn nvgre_joins_subnets_by_vsid() {
    bridged(
        "key = { vsid = 5001, flow-id = \"auto\" }",
        |here, there, product| {
            traffic::ping(here, HOSTS[1], "-c 3 -M do -s 1372").expect("a full frame");
            let _server = traffic::serve_bulk(there);
            let octets = traffic::bulk_transfer(here, HOSTS[1], traffic::Bulk::Upload);
            assert!(octets > 2_000_000, "{octets} octets in two seconds");
            let tunnel = &product.status()["tunnels"][0];
            assert_eq!(tunnel["vsid"], 5001, "{tunnel}");
            let shown = product.command("status", &[]).expect("status");
            assert!(shown.contains("vsid 5001"), "{shown}");
        },
    );
}
