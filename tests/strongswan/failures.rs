//! What cannot work, and what we say about it: the cause by the name of the key to look at.

use std::time::Duration;

use crate::lab::{self, Peer, Product, Strongswan, Topology, strongswan};

/// Whose request begins the negotiation.
enum Caller {
    We,
    Strongswan,
}

/// Lets the two meet and waits for our line with `cause`. The product must live on without an SA.
#[track_caller]
fn fails(caller: &Caller, strongswan: &Strongswan, cause: &str) {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    strongswan.start(&guest);
    let peer = match caller {
        Caller::We => Peer::default(),
        Caller::Strongswan => Peer::default().responder(),
    };
    let mut product = Product::start(&topology.left, &peer);
    if matches!(caller, Caller::Strongswan) {
        product.wait_for_state("idle", Duration::from_secs(10));
        assert!(!strongswan::initiate(&guest).success());
    }
    product.wait_for_line(cause, Duration::from_secs(20));

    let status = product.status();
    assert_ne!(status["state"], "established", "{status}");
    assert_eq!(
        status["children"].as_array().map(Vec::len),
        Some(0),
        "{status}"
    );
    assert_eq!(product.interrupt().code, Some(0));
    let sas = strongswan::list_sas(&guest);
    assert!(!sas.contains("INSTALLED"), "{sas}");
}

#[test]
fn the_peer_refuses_our_key() {
    let strongswan = Strongswan {
        psk: "another key of the laboratory",
        ..Strongswan::default()
    };
    fails(&Caller::We, &strongswan, "peer.psk-file");
}

#[test]
fn the_peer_calls_with_another_key() {
    let strongswan = Strongswan {
        psk: "another key of the laboratory",
        ..Strongswan::default()
    };
    fails(
        &Caller::Strongswan,
        &strongswan,
        "the pre-shared keys differ",
    );
}

#[test]
fn the_peer_expects_another_identity_of_us() {
    let strongswan = Strongswan {
        remote_id: "other.example",
        ..Strongswan::default()
    };
    fails(&Caller::We, &strongswan, "peer.local-id");
}

#[test]
fn the_peer_calls_with_another_identity() {
    let strongswan = Strongswan {
        local_id: "other.example",
        ..Strongswan::default()
    };
    fails(&Caller::Strongswan, &strongswan, "peer.remote-id");
}

#[test]
fn no_common_ike_proposal() {
    let strongswan = Strongswan {
        ike_proposals: "aes128-sha1-modp1024",
        ..Strongswan::default()
    };
    fails(&Caller::We, &strongswan, "peer.ike.proposals");
}

#[test]
fn the_peer_calls_with_no_common_ike_proposal() {
    let strongswan = Strongswan {
        ike_proposals: "aes128-sha1-modp1024",
        ..Strongswan::default()
    };
    fails(&Caller::Strongswan, &strongswan, "peer.ike.proposals");
}

#[test]
fn no_common_esp_proposal() {
    let strongswan = Strongswan {
        esp_proposals: "aes128-sha1",
        ..Strongswan::default()
    };
    fails(&Caller::We, &strongswan, "peer.esp.proposals");
}

/// D26, RFC 7296 §1.3.1: a proposal of tunnel mode is refused, not taken as another.
#[test]
fn the_peer_calls_for_tunnel_mode() {
    let strongswan = Strongswan {
        mode: "tunnel",
        ..Strongswan::default()
    };
    fails(&Caller::Strongswan, &strongswan, "tunnel mode");
}

/// D26, RFC 7296 §1.3.1: without USE_TRANSPORT_MODE in the answer the SA is not used.
#[test]
fn the_peer_wants_tunnel_mode() {
    let strongswan = Strongswan {
        mode: "tunnel",
        ..Strongswan::default()
    };
    fails(&Caller::We, &strongswan, "tunnel mode");
}
