//! IP protocol 50 is dropped on the way and IKE is not: ESP goes into UDP by itself (PAINS 22).

use std::time::Duration;

use serde_json::Value;

use crate::lab::{self, Peer, Product, Strongswan, Topology, eventually, strongswan, traffic};

const SOON: Duration = Duration::from_secs(30);
const ESP: &str = "ip protocol esp";
const UDP_4500: &str = "udp dport 4500";

/// Sends passengers until ESP has gone without an answer for long enough.
#[track_caller]
fn nothing_comes_back(topology: &Topology, product: &mut Product<'_>) {
    let ping = topology.left.spawn("ping -n -i 0.2 10.255.0.2");
    let line = product.wait_for_line("IKE works, but of ESP", SOON);
    assert!(
        line.starts_with("warning: peer: IKE works")
            && line.contains("a new IKE SA is set up that puts ESP into UDP"),
        "{line}"
    );
    drop(ping);
}

#[track_caller]
fn wait_for_encapsulation(product: &Product<'_>, encapsulation: &str) {
    eventually(encapsulation, SOON, || {
        let status = product.status();
        (status["children"][0]["encapsulation"] == encapsulation).then_some(())
    });
}

/// Two of us are in UDP anyway where that is faster.
fn not_faster() -> Peer {
    Peer {
        tunnel: "[daemon]\noffload = false\n",
        ..Peer::right().responder()
    }
}

/// Whether `status` has an obstacle like that.
fn names(status: &Value, obstacle: &str) -> bool {
    let obstacles = status["obstacles"].as_array().unwrap().iter();
    obstacles
        .map(|said| said.as_str().unwrap())
        .any(|said| said.contains(obstacle))
}

/// The SA that stands keeps its encapsulation; the next one, and all after it, are in UDP.
#[test]
fn between_two_of_us() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    topology.block(&[ESP]);
    let mut there = Product::start(&right, &not_faster());
    there.wait_for_state("idle", SOON);
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_until_established();
    let native = here.status();
    assert_eq!(native["children"][0]["encapsulation"], "none");
    nothing_comes_back(&topology, &mut here);
    wait_for_encapsulation(&here, "udp");
    let status = here.status();
    assert_ne!(
        status["ike"]["spi-initiator"],
        native["ike"]["spi-initiator"]
    );
    assert_eq!(status["children"][0]["udp-cause"], "fallback");
    traffic::ping(&topology.left, "10.255.0.2", "-c 3").expect("ping");

    // It is remembered: the peer starts anew, and nothing has to be found out again.
    drop(there.interrupt());
    let mut there = Product::start(&right, &not_faster());
    there.wait_until_established();
    wait_for_encapsulation(&here, "udp");
    traffic::ping(&topology.left, "10.255.0.2", "-c 3").expect("ping");
    assert_eq!(here.interrupt().code, Some(0));
}

#[test]
fn to_strongswan() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan::default().start(&guest);
    topology.block(&[ESP]);
    let mut product = Product::start(&topology.left, &Peer::default());
    product.wait_until_established();
    nothing_comes_back(&topology, &mut product);
    wait_for_encapsulation(&product, "udp");
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 3").expect("ping");
    let sas = strongswan::list_sas(&guest);
    assert!(sas.contains("INSTALLED, TRANSPORT-in-UDP"), "{sas}");
    assert_eq!(sas.matches("INSTALLED").count(), 1, "{sas}");
    assert_eq!(product.interrupt().code, Some(0));
}

/// Where UDP port 4500 does not pass either, there is one attempt, and then things are as they were: a
/// tunnel that can only send is better than none.
#[test]
fn in_vain_it_is_not_tried_again() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    topology.block(&[ESP, UDP_4500]);
    let mut there = Product::start(&right, &not_faster());
    there.wait_for_state("idle", SOON);
    let here = Peer {
        tunnel: "[peer.ike]\nretransmit = { first = \"500ms\", factor = 1.5, tries = 3 }\n",
        ..Peer::default()
    };
    let mut here = Product::start(&topology.left, &here);
    here.wait_until_established();
    nothing_comes_back(&topology, &mut here);
    here.wait_for_line("it is not tried again", SOON);
    here.wait_until_established();
    let before = here.status();
    assert_eq!(before["children"][0]["encapsulation"], "none");
    let ping = topology.left.spawn("ping -n -i 0.2 10.255.0.2");
    eventually("the obstacle", SOON, || {
        names(&here.status(), "IP protocol 50").then_some(())
    });
    // Several looks later the SA is the same.
    std::thread::sleep(Duration::from_secs(6));
    drop(ping);
    let after = here.status();
    assert_eq!(
        after["ike"]["spi-initiator"],
        before["ike"]["spi-initiator"]
    );
    assert_eq!(here.interrupt().code, Some(0));
}
