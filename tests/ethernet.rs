//! Ethernet passengers: two bridges joined by a tunnel of ours, with the hosts behind them none the
//! wiser: `examples/ethernet-bridge`. Linux's gretap as the other end is in `strongswan::ethernet`.

use std::time::Duration;

use crate::examples::example;
use crate::lab::require::Lab;
use crate::lab::{self, Netns, Product, Router, Topology, VlanHost, eventually, traffic, vlan};

const SOON: Duration = Duration::from_secs(15);
/// Of the hosts behind the bridges, which are in one subnet.
const HOSTS: [&str; 2] = ["10.30.0.1", "10.30.0.2"];

/// A file of the example, with more lines of `[tunnel]`.
fn file(name: &str, tunnel: &str) -> String {
    let text = example(&format!("ethernet-bridge/{name}.toml"));
    text.replace("[tunnel]\n", &format!("[tunnel]\n{tunnel}\n"))
}

/// A host on `lan0` of `netns`, from where the example's bridge leads into the tunnel.
fn bridge(lab: Lab, netns: &Netns, end: usize) -> Netns {
    let host = Netns::new(lab, "host");
    let name = host.name();
    netns.ip(&format!(
        "link add lan0 type veth peer name lan netns {name}"
    ));
    make_bridge(netns);
    host.ip("link set lan up");
    host.ip(&format!("address add {}/24 dev lan", HOSTS[end]));
    host.ip(&format!(
        "address add fd00:30::{}/64 dev lan nodad",
        end + 1
    ));
    host
}

#[track_caller]
fn make_bridge(netns: &Netns) {
    Router::Namespace(netns).expect(&example("ethernet-bridge/bridge.sh"));
}

/// The hosts behind two bridges, with the tunnel up between them.
#[track_caller]
fn bridged(tunnel: &str, check: impl FnOnce(&Netns, &Netns, &Product<'_>)) {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let there_host = bridge(lab, &right, 1);
    let here_host = bridge(lab, &topology.left, 0);
    let mut there = Product::start_with(&right, &file("paris", tunnel), "paris.psk");
    let mut here = Product::start_with(&topology.left, &file("berlin", tunnel), "berlin.psk");
    here.wait_until_established();
    there.wait_until_established();
    // The first frames teach the bridges and the hosts their addresses.
    eventually("the first ping", SOON, || {
        let ping = traffic::ping(&here_host, HOSTS[1], "-c 1 -W 1");
        ping.success().then_some(())
    });
    check(&here_host, &there_host, &here);
    assert_eq!(here.interrupt().code, Some(0));
    assert_eq!(there.interrupt().code, Some(0));
}

/// Full frames, IPv6's neighbours, and TCP many segments at a time.
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

/// IEEE 802.1Q: hosts whose own kernels put the tags in, also on many segments in one frame.
#[test]
fn vlans_pass_from_bridge_to_bridge() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let guests = [&topology.left, &right].map(|netns| {
        netns.ip("tuntap add lan0 mode tap");
        make_bridge(netns);
        VlanHost::boot(netns, "lan0")
    });
    let mut there = Product::start_with(&right, &file("paris", ""), "paris.psk");
    let mut here = Product::start_with(&topology.left, &file("berlin", ""), "berlin.psk");
    here.wait_until_established();
    there.wait_until_established();
    let [near, far] =
        [(&guests[0], 1), (&guests[1], 2)].map(|(guest, number)| VlanHost::alone(guest, number));
    let many_in_one = "tcpdump -n -e -l -c 1 -Z root -i sgre0 vlan 10 and greater 2000";
    let mut many_in_one = topology.left.spawn(many_in_one);
    many_in_one.wait_for_line("listening on", SOON);
    vlan::are_neighbours([&near, &far]);
    many_in_one.wait_for_line("vlan 10", SOON);
    assert_eq!(here.interrupt().code, Some(0));
    assert_eq!(there.interrupt().code, Some(0));
}
