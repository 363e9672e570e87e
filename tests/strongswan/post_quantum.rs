//! Against quantum computers: strongSwan 5.9 has no ML-KEM, so a proposal with it has to fall through to
//! the next, and it has post-quantum pre-shared keys (RFC 8784).

use std::time::Duration;

use crate::lab::{self, Guest, Peer, Product, Strongswan, Topology, product, strongswan, traffic};

const PROPOSALS: &str = "[peer.ike]\n\
    proposals = [\"aes256gcm16-prfsha256-x25519-ke1_mlkem768\", \"aes256gcm16-prfsha256-ecp256\"]";
const REQUIRED: &str = "[peer.ike]\nppk = { id = \"k1\", file = \"lab.ppk\", required = true }";
const OPTIONAL: &str = "[peer.ike]\nppk = { id = \"k1\", file = \"lab.ppk\" }";

fn here(more: &'static str) -> Peer {
    Peer {
        more,
        ..Peer::default()
    }
}

fn with_ppk(connection: &'static str) -> Strongswan {
    Strongswan {
        connection,
        ppk: Some(("k1", product::PPK)),
        ..Strongswan::default()
    }
}

/// We call, packets pass, and both say whether a PPK is in the keys.
#[track_caller]
fn comes_up(topology: &Topology, guest: &Guest, peer: &Peer, ppk: bool) {
    let mut product = Product::start(&topology.left, peer);
    product.wait_until_established();
    carries(topology, guest, &product, ppk);
    assert_eq!(product.interrupt().code, Some(0));
}

#[track_caller]
fn carries(topology: &Topology, guest: &Guest, product: &Product<'_>, ppk: bool) {
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 3").expect("ping");
    traffic::ping_from_guest(guest, product::INNER_V4, "-c 3").expect("ping from the peer");
    let ike = &product.status()["ike"];
    assert_eq!(ike["suite"], "aes256gcm16-prfsha256-ecp256");
    assert_eq!(ike["ppk"], ppk);
    let sas = strongswan::list_sas(guest);
    assert_eq!(sas.contains("/PPK"), ppk, "{sas}");
}

/// A peer without it refuses or passes over the first proposal (RFC 7296 §3.3.6), whoever calls.
#[test]
fn a_proposal_with_ml_kem_falls_through() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan::default().start(&guest);
    comes_up(&topology, &guest, &here(PROPOSALS), false);

    let mut product = Product::start(&topology.left, &here(PROPOSALS).responder());
    product.wait_for_state("idle", Duration::from_secs(10));
    strongswan::initiate(&guest).expect("swanctl --initiate");
    product.wait_until_established();
    carries(&topology, &guest, &product, false);
    assert_eq!(product.interrupt().code, Some(0));
}

/// RFC 8784 §3, we call: the key of both, ours that is not wanted, and the peer's that has to be there.
#[test]
fn a_ppk_when_we_call() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    with_ppk("ppk_id = k1\n    ppk_required = yes").start(&guest);
    comes_up(&topology, &guest, &here(REQUIRED), true);
    comes_up(&topology, &guest, &here(OPTIONAL), true);
    Strongswan::default().reload(&guest);
    comes_up(&topology, &guest, &here(OPTIONAL), false);

    let mut product = Product::start(&topology.left, &here(REQUIRED));
    product.wait_for_line("peer.ike.ppk: ", Duration::from_secs(20));
    assert_eq!(product.interrupt().code, Some(0));
}

/// The same, strongSwan calls; and rekeys of both kinds, which need no key any more.
#[test]
fn a_ppk_when_strongswan_calls() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    with_ppk("ppk_id = k1\n    ppk_required = yes").start(&guest);
    let mut product = Product::start(&topology.left, &here(REQUIRED).responder());
    product.wait_for_state("idle", Duration::from_secs(10));
    strongswan::initiate(&guest).expect("swanctl --initiate");
    product.wait_until_established();
    carries(&topology, &guest, &product, true);
    let before = strongswan::rekeys(&guest);
    strongswan::rekey(&guest, strongswan::Rekey::Ike);
    lab::eventually("a rekeyed IKE SA", Duration::from_secs(20), || {
        let listed = strongswan::list_sas(&guest);
        let done = strongswan::rekeys(&guest).its.ikes > before.its.ikes;
        (done && listed.matches("ESTABLISHED").count() == 1).then_some(())
    });
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 3").expect("ping");
    strongswan::terminate(&guest);
    product.wait_for_state("idle", Duration::from_secs(10));

    // One that we require and it does not name.
    Strongswan::default().reload(&guest);
    assert!(!strongswan::initiate(&guest).success());
    assert_eq!(product.interrupt().code, Some(0));
}
