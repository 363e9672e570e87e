//! Two of us with NATs between them: who may be behind one, and what happens when a NAT forgets.

use std::time::Duration;

use crate::lab::topology::{INSIDE_LEFT, INSIDE_RIGHT, LEFT, RIGHT};
use crate::lab::{self, Netns, Peer, Product, Topology, capture, traffic};

const SOON: Duration = Duration::from_secs(30);

/// Who they are wherever they are seen.
const LEFT_IS: &str = "local-id = \"left.example\"\nremote-id = \"right.example\"\n";
const RIGHT_IS: &str = "local-id = \"right.example\"\nremote-id = \"left.example\"\n";

/// Two of us are in UDP anyway where that is faster.
const NOT_FASTER: &str = "[daemon]\noffload = false\n";

fn left() -> Peer {
    Peer {
        more: LEFT_IS,
        ..Peer::default()
    }
}

fn right() -> Peer {
    Peer {
        more: RIGHT_IS,
        ..Peer::right().responder()
    }
}

#[track_caller]
fn pings_both_ways(left: &Netns, right: &Netns) {
    for (from, to) in [(left, "10.255.0.2"), (right, "10.255.0.1")] {
        traffic::ping(from, to, "-c 3").expect(to);
    }
}

/// D29, RFC 7296 §2.23, §2.23.1: transport mode with a NAT on no side, ours, the peer's, or both.
#[track_caller]
fn passes(left_natted: bool, right_natted: bool) {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let outside_right = topology.add_right();
    let inside_left = left_natted.then(|| topology.add_inside());
    let inside_right = right_natted.then(|| topology.add_inside_right(&outside_right));
    let here = inside_left.as_ref().unwrap_or(&topology.left);
    let there = inside_right.as_ref().unwrap_or(&outside_right);
    let capture = topology.capture();

    let plain = |peer| Peer {
        tunnel: NOT_FASTER,
        ..peer
    };
    let mut responder = Product::start(there, &plain(right()));
    responder.wait_for_state("idle", SOON);
    let mut initiator = Product::start(here, &plain(left()));
    initiator.wait_until_established();
    responder.wait_until_established();
    pings_both_ways(here, there);
    // Either end asks for the next pair, whoever began the IKE SA.
    for product in [&initiator, &responder] {
        product.command("rekey", &["peer"]).expect("rekey");
        pings_both_ways(here, there);
    }

    let natted = left_natted || right_natted;
    for (product, local, remote) in [
        (
            &initiator,
            if left_natted { INSIDE_LEFT } else { LEFT },
            RIGHT,
        ),
        (
            &responder,
            if right_natted { INSIDE_RIGHT } else { RIGHT },
            LEFT,
        ),
    ] {
        let status = product.status();
        assert_eq!(status["local-address"], local);
        assert_eq!(status["remote-address"], remote);
        let udp = if natted { "udp" } else { "none" };
        assert_eq!(status["children"][0]["encapsulation"], udp);
    }
    assert_eq!(initiator.interrupt().code, Some(0));
    let packets = capture.stop();
    assert_eq!(packets.in_clear(), None);
    assert_eq!(packets.count_protocol(capture::ESP) == 0, natted);
}

#[test]
fn no_nat() {
    passes(false, false);
}

#[test]
fn a_nat_on_the_initiators_side() {
    passes(true, false);
}

/// It forwards IKE's ports.
#[test]
fn a_nat_on_the_responders_side() {
    passes(false, true);
}

#[test]
fn nats_on_both_sides() {
    passes(true, true);
}

/// PAINS 11, RFC 7296 §2.23: a NAT that has forgotten us gives us another port. The first passenger that
/// gets through moves ESP and IKE with it, under the same SAs.
#[test]
fn a_nat_that_rebinds_is_followed() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let outside_right = topology.add_right();
    let inside = topology.add_inside();
    // Nothing but passengers can show where we are.
    let quiet = "[peer.ike]\ndpd = \"off\"\n";
    let there = Peer {
        tunnel: quiet,
        ..right()
    };
    let mut responder = Product::start(&outside_right, &there);
    responder.wait_for_state("idle", SOON);
    let here = Peer {
        tunnel: quiet,
        ..left()
    };
    let mut initiator = Product::start(&inside, &here);
    initiator.wait_until_established();
    pings_both_ways(&inside, &outside_right);
    let spis = |product: &Product<'_>| {
        let status = product.status();
        let ike = status["ike"]["spi-initiator"].clone();
        (ike, status["children"][0]["spi-inbound"].clone())
    };
    let before = (spis(&initiator), spis(&responder));

    for _ in 0..2 {
        // Without their device, masquerading NATs forget what they have translated.
        topology.left.ip("link set wire down");
        topology.left.ip("link set wire up");
        let pinging = inside.spawn("ping -n -i 0.2 10.255.0.2");
        responder.wait_for_line("its SAs go on there", SOON);
        drop(pinging);
        pings_both_ways(&inside, &outside_right);
    }
    // IKE has moved too: its request reaches us.
    let rekeyed = responder.command("rekey", &["peer"]);
    rekeyed.expect("rekey");
    pings_both_ways(&inside, &outside_right);
    assert_eq!(
        (spis(&initiator).0, spis(&responder).0),
        (before.0.0, before.1.0),
        "the IKE SA is the same"
    );
    assert_eq!(initiator.interrupt().code, Some(0));
}
