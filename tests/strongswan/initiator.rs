//! We call, strongSwan answers.

use std::time::Duration;

use crate::lab::{self, Peer, Product, Strongswan, Topology, strongswan};

#[test]
fn carries_all_passengers_answers_liveness_checks_and_deletes_its_sas_on_ctrl_c() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan {
        dpd_delay: "1s",
        ..Strongswan::default()
    }
    .start(&guest);

    let mut product = Product::start(&topology.left, &Peer::default());
    product.wait_until_established();
    super::carries_all_passengers(&topology, &guest, &product);

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
