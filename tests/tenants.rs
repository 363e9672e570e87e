//! Two tenants with the same prefixes behind one peer, each in a network namespace of its own, as in
//! `examples/two-tenants/`.

use std::time::Duration;

use serde_json::Value;

use crate::examples::example;
use crate::lab::process::Process;
use crate::lab::require::Lab;
use crate::lab::topology::{LEFT, RIGHT, THIRD};
use crate::lab::{self, Folder, Netns, Peer, Product, Topology, traffic};

/// In the prefix that both tenants route to Berlin.
const BOTH_HAVE: &str = "10.20.0.1";
const RED_HAS: &str = "10.20.0.9";
const SOON: Duration = Duration::from_secs(15);

/// The namespaces of one host's tenants.
struct Tenants {
    blue: Netns,
    red: Netns,
}

impl Tenants {
    fn new(lab: Lab) -> Self {
        Self {
            blue: Netns::new(lab, "blue"),
            red: Netns::new(lab, "red"),
        }
    }

    /// A file of the example, but for the outer address and the names of the namespaces.
    fn file(&self, name: &str, peer: [&str; 2]) -> String {
        let [typed, address] = peer;
        let quoted = |name: &str| format!("netns   = \"{name}\"");
        example(&format!("two-tenants/{name}.toml"))
            .replace(typed, address)
            .replace(&quoted("blue"), &quoted(self.blue.name()))
            .replace(&quoted("red"), &quoted(self.red.name()))
    }
}

/// Both hosts, with the tenants' own in Berlin.
fn hosts(lab: Lab) -> (Tenants, Tenants) {
    let (paris, berlin) = (Tenants::new(lab), Tenants::new(lab));
    for tenant in [&berlin.blue, &berlin.red] {
        tenant.ip(&format!("address add {BOTH_HAVE}/32 dev lo"));
    }
    berlin.red.ip(&format!("address add {RED_HAS}/32 dev lo"));
    (paris, berlin)
}

fn delivered(product: &Product<'_>, tunnel: usize) -> u64 {
    let status = product.status();
    let packets = &status["tunnels"][tunnel]["inbound"]["packets"];
    packets.as_u64().unwrap_or_else(|| panic!("{status}"))
}

/// A key of one end alone is counted and named at the other.
#[test]
fn tenants_with_the_same_prefixes_reach_their_own_and_nobody_elses() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let (paris, berlin) = hosts(lab);
    let file = berlin.file("paris", ["192.0.2.1", LEFT]);
    let mut there = Product::start_with(&right, &file, "paris.psk");
    there.wait_for_line("with 10.255.0.2/30", SOON);
    let file = paris.file("berlin", ["198.51.100.2", RIGHT]);
    let stray = "[[tunnel]]\nkey = 0\naddress = [\"10.255.9.1/30\"]\n";
    let mut here = Product::start_with(&topology.left, &format!("{file}\n{stray}"), "berlin.psk");
    here.wait_until_established();
    there.wait_until_established();

    for (place, tenant) in [&paris.blue, &paris.red].into_iter().enumerate() {
        let before = [0, 1].map(|tunnel| delivered(&there, tunnel));
        traffic::ping(tenant, BOTH_HAVE, "-c 3").expect("a tenant's own");
        traffic::ping(tenant, "fd00:255::2", "-c 3").expect("a tenant's own, IPv6");
        let after = [0, 1].map(|tunnel| delivered(&there, tunnel));
        assert!(after[place] >= before[place] + 6, "{before:?} {after:?}");
    }
    traffic::ping(&paris.red, RED_HAS, "-c 3").expect("red's own");
    assert!(!traffic::ping(&paris.blue, RED_HAS, "-c 3 -W 1").success());
    assert!(!traffic::ping(&topology.left, BOTH_HAVE, "-c 1 -W 1").success());
    assert!(!topology.left.ip("address").contains("10.255.0.1"));

    assert!(!traffic::ping(&topology.left, "10.255.9.2", "-c 3 -W 1").success());
    let status = there.status();
    let strange = &status["strange-keys"][0];
    assert_eq!(strange["key"], Value::from(0), "{status}");
    assert!(strange["packets"].as_u64() >= Some(3), "{status}");
    let shown = there.command("status", &[]).expect("status");
    assert!(
        shown.contains("the peer sends key 0, no tunnel has it"),
        "{shown}"
    );
    assert!(shown.contains(berlin.blue.name()), "{shown}");
    assert_eq!(here.interrupt().code, Some(0));
    assert_eq!(there.interrupt().code, Some(0));
}

/// RFC 2890 §2.1: a key is its peer's own. The same one at two peers leads each to its own tunnel, and
/// not to the other's.
#[test]
fn two_peers_with_the_same_key_have_their_own_tunnels() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let (right, third) = (topology.add_right(), topology.add_third());
    let folder = Folder::new();
    let here = |address, device, inner| Peer {
        address,
        device,
        inner,
        routes: &[],
        tunnel: "key = 1001",
        ..Peer::default()
    };
    let berlin = here(RIGHT, "berlin", ["10.255.0.1/30", "fd00:255::1/64"]);
    let rome = here(THIRD, "rome", ["10.255.1.1/30", "fd00:256::1/64"]);
    folder.write("berlin.toml", &berlin);
    folder.write("rome.toml", &rome);
    let there = |inner| Peer {
        inner,
        tunnel: "key = 1001",
        ..Peer::right().responder()
    };
    let at_right = there(["10.255.0.2/30", "fd00:255::2/64"]);
    let at_third = there(["10.255.1.2/30", "fd00:256::2/64"]);
    let [at_right, at_third] =
        [(&right, &at_right), (&third, &at_third)].map(|(netns, peer)| Product::start(netns, peer));
    let mut command = folder.command(&topology.left, "daemon");
    command.arg(folder.path());
    let _daemon = Process::spawn(command);
    let states = [("berlin", "established"), ("rome", "established")];
    folder.wait_for_states(&topology.left, &states);

    for (destination, own, other) in [
        ("10.255.0.2", &at_right, &at_third),
        ("10.255.1.2", &at_third, &at_right),
    ] {
        let before = [own, other].map(|end| delivered(end, 0));
        traffic::ping(&topology.left, destination, "-c 5").expect(destination);
        let after = [own, other].map(|end| delivered(end, 0));
        assert!(after[0] >= before[0] + 5, "{before:?} {after:?}");
        // The kernel's own few packets for a new device may still come.
        assert!(after[1] < before[1] + 5, "{before:?} {after:?}");
    }
}

/// Fail closed also there; and what a tenant had before is what it has afterwards.
#[test]
fn a_device_comes_back_in_its_namespace() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let (paris, berlin) = hosts(lab);
    let before = paris.blue.ip("route show table all");
    let file = berlin.file("paris", ["192.0.2.1", LEFT]);
    let mut there = Product::start_with(&right, &file, "paris.psk");
    there.wait_for_line("with 10.255.0.2/30", SOON);
    let file = paris.file("berlin", ["198.51.100.2", RIGHT]);
    let mut here = Product::start_with(&topology.left, &file, "berlin.psk");
    here.wait_until_established();
    traffic::ping(&paris.blue, BOTH_HAVE, "-c 1").expect("blue");

    here.crash();
    for tenant in [&paris.blue, &paris.red] {
        let routes = tenant.ip("route show");
        assert!(routes.contains("unreachable 10.20.0.0/16"), "{routes}");
        assert!(!tenant.ip("link show").contains("sgre"));
    }
    here.restart();
    here.wait_until_established();
    for tenant in [&paris.blue, &paris.red] {
        traffic::ping(tenant, BOTH_HAVE, "-c 1").expect("after the crash");
    }

    paris.red.make_anew();
    here.wait_for_line("is there again", SOON);
    traffic::ping(&paris.red, BOTH_HAVE, "-c 1").expect("in the new namespace");
    traffic::ping(&paris.blue, BOTH_HAVE, "-c 1").expect("and the other one");
    assert_eq!(here.interrupt().code, Some(0));
    assert_eq!(paris.blue.ip("route show table all"), before);
}

#[test]
fn a_namespace_that_is_not_there_is_an_error_with_its_remedy() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let file = example("two-tenants/berlin.toml").replace("\"blue\"", "\"sgre-nowhere\"");
    let here = Product::start_with(&topology.left, &file, "berlin.psk");
    let output = here.wait();
    assert_ne!(output.code, Some(0));
    let remedy =
        "there is no network namespace sgre-nowhere: make it with \"ip netns add sgre-nowhere\"";
    assert!(output.stderr.contains(remedy), "{}", output.stderr);
}
