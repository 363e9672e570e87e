//! We call, strongSwan answers.

use std::time::Duration;

use crate::lab::topology::INSIDE_LEFT;
use crate::lab::{self, Outer, Peer, Product, Strongswan, Topology, capture, strongswan, traffic};

#[test]
fn native_ipv4() {
    carries_all_passengers_answers_liveness_checks_and_deletes_its_sas_on_ctrl_c(Outer::NATIVE_V4);
}

#[test]
fn udp_ipv4() {
    carries_all_passengers_answers_liveness_checks_and_deletes_its_sas_on_ctrl_c(Outer::UDP_V4);
}

#[test]
fn native_ipv6() {
    carries_all_passengers_answers_liveness_checks_and_deletes_its_sas_on_ctrl_c(Outer::NATIVE_V6);
}

#[test]
fn udp_ipv6() {
    carries_all_passengers_answers_liveness_checks_and_deletes_its_sas_on_ctrl_c(Outer::UDP_V6);
}

#[track_caller]
fn carries_all_passengers_answers_liveness_checks_and_deletes_its_sas_on_ctrl_c(outer: Outer) {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan {
        dpd_delay: "1s",
        ..Strongswan::over(outer, false)
    }
    .start(&guest);

    let mut product = Product::start(&topology.left, &Peer::default().over(outer));
    product.wait_until_established();
    super::carries_all_passengers(&topology, &guest, &product, outer);

    // D40, RFC 7296 §2.4: an empty request is answered, and the SA lives on.
    lab::eventually(
        "an answered liveness check",
        Duration::from_secs(10),
        || {
            let log = strongswan::log(&guest);
            let (_, after) = log.split_once("sending DPD request")?;
            after
                .contains("parsed INFORMATIONAL response")
                .then_some(())
        },
    );
    assert!(strongswan::list_sas(&guest).contains("INSTALLED"));

    assert_eq!(product.interrupt().code, Some(0));
    assert_eq!(strongswan::list_sas(&guest), "");
    let log = strongswan::log(&guest);
    assert!(log.contains("received DELETE for IKE_SA gre"), "{log}");
}

/// D13, D29, RFC 7296 §2.23: through a NAT on our side, which changes ports too.
#[test]
fn from_behind_a_nat() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let inside = topology.add_inside();
    let guest = topology.boot_guest();
    Strongswan {
        remote_id: INSIDE_LEFT,
        ..Strongswan::default()
    }
    .start(&guest);
    let capture = topology.capture();
    let mut product = Product::start(&inside, &Peer::default());
    product.wait_until_established();
    for destination in [strongswan::INNER_V4, strongswan::INNER_V6] {
        traffic::ping(&inside, destination, "-c 3").expect(destination);
    }
    let sas = strongswan::list_sas(&guest);
    assert!(sas.contains("INSTALLED, TRANSPORT-in-UDP"), "{sas}");
    let status = product.status();
    assert_eq!(status["local-address"], INSIDE_LEFT);
    assert_eq!(status["children"][0]["encapsulation"], "udp");
    assert_eq!(product.interrupt().code, Some(0));
    assert_eq!(strongswan::list_sas(&guest), "");

    let packets = capture.stop();
    assert_eq!(packets.in_clear(), None);
    assert_eq!(packets.count_protocol(capture::ESP), 0);
    assert!(packets.count_udp(4500) > 12);
}
