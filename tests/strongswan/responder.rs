//! strongSwan calls, we answer.

use std::time::Duration;

use crate::lab::{self, Peer, Product, Strongswan, Topology, strongswan};

#[test]
fn carries_all_passengers_and_survives_the_peers_delete() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    let mut product = Product::start(&topology.left, &Peer::default().responder());
    product.wait_for_state("idle", Duration::from_secs(10));
    // With MOBIKE on, which is its default, charon moves IKE to port 4500 from IKE_AUTH on even
    // where no NAT is. ESP stays protocol 50.
    Strongswan {
        mobike: true,
        ..Strongswan::default()
    }
    .start(&guest);

    strongswan::initiate(&guest).expect("swanctl --initiate");
    product.wait_until_established();
    super::carries_all_passengers(&topology, &guest, &product);

    strongswan::terminate(&guest);
    product.wait_for_state("idle", Duration::from_secs(10));
    strongswan::initiate(&guest).expect("swanctl --initiate after a DELETE");
    product.wait_until_established();
    assert_eq!(product.interrupt().code, Some(0));
    assert_eq!(strongswan::list_sas(&guest), "");
}
