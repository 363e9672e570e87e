//! What two lists of defaults agree on. Suites by name are in `interop`.

use std::time::Duration;

use crate::lab::{self, Guest, Peer, Product, Strongswan, Topology, product, strongswan, traffic};

/// A list of defaults on each side: nothing to agree upon beforehand.
#[test]
fn defaults_meet_defaults() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan {
        ike_proposals: "default",
        esp_proposals: "default",
        ..Strongswan::default()
    }
    .start(&guest);
    // Who answers chooses: charon begins its list with AES-CBC, we ours with AES-GCM.
    for (calls, ike, esp) in [
        (true, "aes256-sha256-ecp256", "aes256-sha256"),
        (false, "aes256gcm16-prfsha384-x25519", "aes256gcm16"),
    ] {
        let product = established(&topology, &guest, Peer::default(), calls);
        pings(&topology, &guest);
        let status = product.status();
        assert_eq!(status["ike"]["suite"], ike);
        assert_eq!(status["children"][0]["suite"], esp);
        assert_eq!(product.interrupt().code, Some(0));
    }
}

#[track_caller]
fn established<'t>(topology: &'t Topology, guest: &Guest, peer: Peer, calls: bool) -> Product<'t> {
    let mut product;
    if calls {
        product = Product::start(&topology.left, &peer);
    } else {
        product = Product::start(&topology.left, &peer.responder());
        product.wait_for_state("idle", Duration::from_secs(20));
        strongswan::initiate(guest).expect("swanctl --initiate");
    }
    product.wait_until_established();
    product
}

#[track_caller]
fn pings(topology: &Topology, guest: &Guest) {
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 2").expect("small ones");
    traffic::ping(&topology.left, strongswan::INNER_V6, "-c 2").expect("with IPv6");
    traffic::ping_from_guest(guest, product::INNER_V4, "-c 2").expect("from the guest");
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 3 -M do -s 1372").expect("a full one");
}
