//! IKE messages in fragments (RFC 7383), both ways.

use std::time::Duration;

use crate::lab::{self, Peer, Product, Strongswan, Topology, product, strongswan, traffic};

/// Of IP datagrams that small, everything that charon sends but an empty message takes several; and
/// so does what we answer, since we learn the size from it (RFC 7383 §2.5.1).
const FRAGMENT_SIZE: &str = "fragment_size = 200";

/// An offer that is too long for one datagram of 1280 octets. The last proposal is the one that the
/// peer takes.
fn long_offer() -> String {
    let mut proposals = vec!["\"aes128gcm16-x25519-esn\""; 40];
    proposals.push("\"aes256gcm16-ecp256-noesn\"");
    format!("[peer.esp]\nproposals = [{}]", proposals.join(", "))
}

#[test]
fn we_call() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan {
        fragmentation: "force",
        charon: FRAGMENT_SIZE,
        ..Strongswan::default()
    }
    .start(&guest);
    let peer = Peer {
        more: long_offer().leak(),
        ..Peer::default()
    };
    let mut product = Product::start(&topology.left, &peer);
    product.wait_until_established();
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 3").expect("ping");
    assert_eq!(product.interrupt().code, Some(0));
    assert_eq!(strongswan::list_sas(&guest), "");

    let log = strongswan::log(&guest);
    assert!(log.contains("received fragment #1 of 2"), "{log}");
    assert!(log.contains("reassembled fragmented IKE message"), "{log}");
    assert!(log.contains("splitting IKE message"), "{log}");
}

#[test]
fn strongswan_calls() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    let mut product = Product::start(&topology.left, &Peer::default().responder());
    product.wait_for_state("idle", Duration::from_secs(10));
    Strongswan {
        fragmentation: "force",
        charon: FRAGMENT_SIZE,
        ..Strongswan::default()
    }
    .start(&guest);
    strongswan::initiate(&guest).expect("swanctl --initiate");
    product.wait_until_established();
    traffic::ping_from_guest(&guest, product::INNER_V4, "-c 3").expect("ping");
    strongswan::terminate(&guest);
    product.wait_for_state("idle", Duration::from_secs(10));
    assert_eq!(product.interrupt().code, Some(0));

    let log = strongswan::log(&guest);
    assert!(log.contains("splitting IKE message"), "{log}");
    assert!(log.contains("received fragment #1 of 2"), "{log}");
    assert!(log.contains("reassembled fragmented IKE message"), "{log}");
}
