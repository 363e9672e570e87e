//! A tunnel that lives on: keys that are replaced by either end, deletions, power cuts. Every
//! passenger on the way meanwhile is counted.

use std::time::{Duration, Instant};

use crate::lab::strongswan::{Counts, INNER_V4, Rekey, Rekeys};
use crate::lab::topology::RIGHT;
use crate::lab::{self, Guest, Peer, Probes, Product, Strongswan, Topology, strongswan};

/// For what takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of each end.
const ENOUGH: Counts = Counts {
    children: 4,
    ikes: 2,
};
const ONCE: Counts = Counts {
    children: 1,
    ikes: 1,
};

#[test]
fn keys_are_replaced_when_either_end_wants_it() {
    let strongswan = Strongswan::default();
    replaces_keys_when_either_end_wants_it(&Peer::default(), &strongswan, "ECP_256", ENOUGH);
}

/// RFC 4303 §2.2.1
#[test]
fn keys_are_replaced_with_extended_sequence_numbers() {
    let strongswan = Strongswan {
        esp_proposals: "aes256gcm16-ecp256-esn",
        ..Strongswan::default()
    };
    let peer = Peer::default();
    replaces_keys_when_either_end_wants_it(&peer, &strongswan, "ECP_256/ESN", ONCE);
}

/// D8, RFC 7296 §1.3: INVALID_KE_PAYLOAD to us, when we call, and when we rekey.
#[test]
fn keys_are_replaced_though_the_peer_wants_another_group() {
    let peer = Peer {
        more: "[peer.ike]\nproposals = [\"aes256gcm16-prfsha256-x25519-ecp256\"]\n\
               [peer.esp]\nproposals = [\"aes256gcm16-x25519-ecp256\"]",
        ..Peer::default()
    };
    replaces_keys_when_either_end_wants_it(&peer, &Strongswan::default(), "ECP_256", ONCE);
}

/// D8, RFC 7296 §1.3: INVALID_KE_PAYLOAD to the peer, when it rekeys.
#[test]
fn keys_are_replaced_though_we_want_another_group() {
    let peer = Peer {
        more: "[peer.ike]\nproposals = [\"aes256gcm16-prfsha256-ecp256\"]\n\
               [peer.esp]\nproposals = [\"aes256gcm16-ecp256\"]",
        ..Peer::default()
    };
    let strongswan = Strongswan {
        ike_proposals: "aes256gcm16-prfsha256-curve25519-ecp256",
        esp_proposals: "aes256gcm16-curve25519-ecp256",
        ..Strongswan::default()
    };
    replaces_keys_when_either_end_wants_it(&peer, &strongswan, "ECP_256", ONCE);
}

/// D31, D42, RFC 7296 §1.3.2, §1.3.3, §2.8
#[track_caller]
fn replaces_keys_when_either_end_wants_it(
    peer: &Peer,
    strongswan: &Strongswan,
    suite: &str,
    times: Counts,
) {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    strongswan.start(&guest);
    let mut product = Product::start(&topology.left, peer);
    product.wait_until_established();
    let probes = Probes::start(&topology.left, INNER_V4);
    probes.wait_for_answer(PATIENCE);
    let children = [Rekey::Child].repeat(times.children);
    for what in [children, [Rekey::Ike].repeat(times.ikes)].concat() {
        let arguments: &[&str] = match what {
            Rekey::Child => &["peer"],
            Rekey::Ike => &["peer", "--ike"],
        };
        product.command("rekey", arguments).expect("rekey");
        settles(&product, &guest);
        let before = newest(&product, what);
        strongswan::rekey(&guest, what);
        lab::eventually("keys of the peer's rekey", PATIENCE, || {
            (newest(&product, what) != before).then_some(())
        });
        settles(&product, &guest);
    }
    let Rekeys { ours, its } = strongswan::rekeys(&guest);
    assert!(ours.reach(times) && its.reach(times), "{ours:?} {its:?}");
    let sas = strongswan::list_sas(&guest);
    assert!(
        sas.contains(&format!("TRANSPORT, ESP:AES_GCM_16-256/{suite}\n")),
        "{sas}"
    );
    assert!(probes.expect_none_lost() > 0);
    assert_eq!(product.interrupt().code, Some(0));
    assert_eq!(strongswan::list_sas(&guest), "");
    assert_eq!(strongswan::states(&guest), 0);
}

/// What tells the keys of one SA from those of the next.
#[track_caller]
fn newest(product: &Product<'_>, what: Rekey) -> String {
    let mut status = product.status();
    let spi = match what {
        Rekey::Ike => status["ike"]["spi-initiator"].take(),
        Rekey::Child => {
            let children = status["children"].as_array().unwrap();
            children
                .last()
                .map_or_else(Default::default, |child| child["spi-inbound"].clone())
        }
    };
    spi.to_string()
}

/// Waits until each end has one IKE SA and one pair, and no other is left in the guest's kernel.
#[track_caller]
fn settles(product: &Product<'_>, guest: &Guest) {
    lab::eventually("one pair on each end", PATIENCE, || {
        let status = product.status();
        let [child] = status["children"].as_array()?.as_slice() else {
            return None;
        };
        let sas = strongswan::list_sas(guest);
        let alone = sas.matches("ESTABLISHED").count() == 1
            && sas.matches("INSTALLED").count() == 1
            && sas.matches("gre: #").count() == 2;
        (child["phase"] == "current" && alone && strongswan::states(guest) == 2).then_some(())
    });
}

/// D34, D35, D42: both ends have about the same lifetimes, so that they also rekey at once now and
/// then. `SECURE_GRE_FULL` makes it three minutes of 20 seconds each.
#[test]
fn lifetimes_run_out_on_both_ends() {
    let Some(lab) = lab::require() else { return };
    let (peer, strongswan, minimum) = if lab::is_full_run() {
        let peer = "[peer.ike]\nlifetime = \"20s\"\n[peer.esp]\nlifetime = \"20s\"";
        (peer, ["18s", "18s"], Duration::from_secs(180))
    } else {
        let peer = "[peer.ike]\nlifetime = \"24s\"\n[peer.esp]\nlifetime = \"12s\"";
        (peer, ["11s", "22s"], Duration::ZERO)
    };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    let [child_rekey, ike_rekey] = strongswan;
    Strongswan {
        child_rekey,
        ike_rekey,
        ..Strongswan::default()
    }
    .start(&guest);
    let peer = Peer {
        more: peer,
        ..Peer::default()
    };
    let mut product = Product::start(&topology.left, &peer);
    product.wait_until_established();
    let begin = Instant::now();
    let probes = Probes::start(&topology.left, INNER_V4);
    lab::eventually("rekeys", minimum + Duration::from_secs(300), || {
        std::thread::sleep(Duration::from_millis(500));
        let Rekeys { ours, its } = strongswan::rekeys(&guest);
        let all = Counts {
            children: ours.children + its.children,
            ikes: ours.ikes + its.ikes,
        };
        (all.reach(ENOUGH) && begin.elapsed() >= minimum).then_some(())
    });
    settles(&product, &guest);
    assert!(probes.expect_none_lost() > 0);
    assert_eq!(product.interrupt().code, Some(0));
    assert_eq!(strongswan::states(&guest), 0);
}

/// PAINS 10: the tunnel is wanted while `up` runs.
#[test]
fn comes_back_when_the_peer_has_deleted_it() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan::default().start(&guest);
    let mut product = Product::start(&topology.left, &Peer::default());
    product.wait_until_established();
    for what in ["--ike", "--child"] {
        let before = newest(&product, Rekey::Child);
        guest.expect(&format!("swanctl --terminate {what} gre"));
        lab::eventually("another pair", PATIENCE, || {
            let after = newest(&product, Rekey::Child);
            (after != before && after != "null").then_some(())
        });
        settles(&product, &guest);
        let probes = Probes::start(&topology.left, INNER_V4);
        probes.wait_for_answer(PATIENCE);
    }
}

/// D39, RFC 7296 §2.4: it begins anew, and says INITIAL_CONTACT.
#[test]
fn a_peer_that_calls_after_a_power_cut() {
    survives_a_power_cut("start", "");
}

/// D40, RFC 7296 §2.4: nobody tells us; it has to be noticed.
#[test]
fn a_peer_that_only_answers_after_a_power_cut() {
    survives_a_power_cut(
        "none",
        "[peer.ike]\ndpd = \"1s\"\nretransmit = { first = \"300ms\", factor = 1.5, tries = 4 }",
    );
}

#[track_caller]
fn survives_a_power_cut(start_action: &'static str, more: &'static str) {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    let strongswan = Strongswan {
        start_action,
        ..Strongswan::default()
    };
    let peer = Peer {
        more,
        ..Peer::default()
    };
    let mut product = Product::start(&topology.left, &peer);
    strongswan.start(&guest);
    product.wait_until_established();
    let device = topology.left.ip("-oneline link show dev sgre0");
    let before = newest(&product, Rekey::Child);

    drop(guest);
    let guest = topology.switch_on_guest();
    strongswan.start(&guest);
    let answers = Instant::now();
    lab::eventually("another pair", PATIENCE, || {
        let after = newest(&product, Rekey::Child);
        (after != before && after != "null").then_some(())
    });
    eprintln!("back {:?} after it answers", answers.elapsed());
    settles(&product, &guest);
    let probes = Probes::start(&topology.left, INNER_V4);
    probes.wait_for_answer(PATIENCE);
    assert!(probes.expect_none_lost() > 0);
    let same = topology.left.ip("-oneline link show dev sgre0");
    assert_eq!(same, device, "the device stays");
}

/// D6, RFC 7296 §2.6: a responder under load wants its cookie back. charon refuses every cookie in the
/// first seconds of its host's life and sends another.
#[test]
fn a_peer_that_asks_for_cookies() {
    const ANOTHER: &str = "192.0.2.9";
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    topology
        .left
        .ip(&format!("address add {ANOTHER}/24 dev wire"));
    let guest = topology.boot_guest();
    Strongswan {
        charon: "dos_protection = yes\n  cookie_threshold = 1\n  block_threshold = 5",
        another: "another {\n    version = 2\n    remote_addrs = 192.0.2.9\n    \
                  proposals = aes256gcm16-prfsha256-ecp256\n    local {\n      auth = psk\n    }\n    \
                  remote {\n      auth = psk\n    }\n  }",
        ..Strongswan::default()
    }
    .start(&guest);
    lab::half_open::leave(
        &topology.left,
        ANOTHER,
        RIGHT,
        "aes256gcm16-prfsha256-ecp256",
    );
    lab::eventually("a half-open IKE SA", PATIENCE, || {
        let log = strongswan::log(&guest);
        log.contains("IKE_SA_INIT response 0 [ SA KE").then_some(())
    });
    let peer = Peer {
        more: "local = \"192.0.2.1\"",
        ..Peer::default()
    };
    let mut product = Product::start(&topology.left, &peer);
    product.wait_until_established();
    let log = strongswan::log(&guest);
    assert!(
        log.contains("IKE_SA_INIT response 0 [ N(COOKIE) ]"),
        "{log}"
    );
    settles_beside_another(&product, &guest);
}

/// As [`settles`], where somebody else is half-open.
#[track_caller]
fn settles_beside_another(product: &Product<'_>, guest: &Guest) {
    lab::eventually("one pair on each end", PATIENCE, || {
        let one = product.status()["children"].as_array()?.len() == 1;
        (one && strongswan::states(guest) == 2).then_some(())
    });
}
