//! Two endpoints find each other on a perfect network: every suite, every kind of identity, both
//! roles.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use secure_gre_ike::algorithm::{Cipher, Group, Prf};
use secure_gre_ike::config::RemoteId;
use secure_gre_ike::identity::Identity;
use secure_gre_ike::proposal::{DEFAULT_ESP, DEFAULT_IKE, EsnPolicy};
use secure_gre_ike::wire::{NotifyType, Payload};
use secure_gre_sim::Sim;
use support::bench::Bench;
use support::puppet::{half_way_as_initiator, half_way_as_responder, up_as_initiator};
use support::{A, B, Host, LONG, MINUTES, Setup, connect, one_working_pair, pair};

fn handshake(a: Setup, b: Setup) -> Sim<Host> {
    let mut sim = pair(1, a, b);
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    sim
}

#[test]
fn two_round_trips_make_a_working_pair() {
    let sim = handshake(Setup::default(), Setup::default());
    assert_eq!(sim.trace().entries().len(), 4 * 2);
}

/// The table of algorithms is what both ends agree on by name, whoever calls.
#[test]
fn every_ike_suite() {
    let mut texts = vec!["aes256-sha512-sha1-prfsha384-modp2048-ecp256".to_owned()];
    for cipher in Cipher::all() {
        texts.push(match cipher.integrity() {
            None => format!("{cipher}-prfsha256-x25519"),
            Some(_) => format!("{cipher}-x25519"),
        });
    }
    let prfs = Prf::ALL.iter();
    texts.extend(prfs.map(|prf| format!("aes256gcm16-{prf}-x25519")));
    let groups = Group::ALL.iter();
    texts.extend(groups.map(|group| format!("aes256gcm16-prfsha256-{group}")));
    for text in texts {
        let setup = Setup {
            ike: vec![text.clone().leak()],
            ..Setup::default()
        };
        let sim = handshake(setup.clone(), setup);
        let details = sim.node(A).details.as_ref().unwrap();
        let first_of_each = text.replace("-sha1", "").replace("-ecp256", "");
        assert!([text, first_of_each].contains(&details.suite.to_string()));
        assert!(details.initiated);
        assert!(!sim.node(B).details.as_ref().unwrap().initiated);
    }
}

/// RFC 4303 §2.2.1: extended sequence numbers where both want them.
#[test]
fn every_esp_suite_and_esn() {
    use EsnPolicy::{Never, Prefer, Require};
    for cipher in Cipher::all() {
        for (ours, peers, agreed) in [
            (Prefer, Prefer, true),
            (Require, Prefer, true),
            (Prefer, Require, true),
            (Never, Prefer, false),
            (Prefer, Never, false),
        ] {
            let with = |esn| Setup {
                esn,
                esp: vec![cipher.to_string().leak()],
                ..Setup::default()
            };
            let sim = handshake(with(ours), with(peers));
            let (_, keys) = sim.node(A).outbound.last().unwrap();
            assert_eq!(keys.suite.cipher, cipher);
            assert_eq!(keys.suite.esn, agreed, "{ours:?} with {peers:?}");
        }
    }
}

/// D19, RFC 7296 §3.5: each type of identity, expected by the other end, in both roles.
#[test]
fn every_kind_of_identity() {
    for id in [
        Identity::Address("203.0.113.9".parse().unwrap()),
        Identity::Address("2001:db8::9".parse().unwrap()),
        Identity::Fqdn("hub.example.org".to_owned()),
        Identity::Email("hub@example.org".to_owned()),
        Identity::KeyId(vec![0, 1, 255]),
    ] {
        let named = || Setup {
            local_id: Some(id.clone()),
            ..Setup::default()
        };
        let expecting = || Setup {
            remote_id: RemoteId::Is(id.clone()),
            ..Setup::default()
        };
        let sim = handshake(named(), expecting());
        assert_eq!(sim.node(B).details.as_ref().unwrap().remote_id, id);
        let sim = handshake(expecting(), named());
        assert_eq!(sim.node(A).details.as_ref().unwrap().remote_id, id);
    }
}

#[test]
fn remote_id_any_takes_whoever_holds_the_key() {
    let b = Setup {
        remote_id: RemoteId::Any,
        ..Setup::default()
    };
    let a = Setup {
        local_id: Some(Identity::Fqdn("stranger.example.org".to_owned())),
        ..Setup::default()
    };
    handshake(a, b);
}

/// RFC 7296 §2.7: of two lists, what the responder likes best of what both have.
#[test]
fn proposals_meet_in_the_middle() {
    let a = Setup {
        ike: vec![
            "aes128gcm16-prfsha256-ecp256-x25519",
            "aes256gcm16-prfsha512-ecp384",
        ],
        ..Setup::default()
    };
    let b = Setup {
        ike: vec!["aes256gcm16-aes128gcm16-prfsha512-prfsha256-x25519-ecp384"],
        ..Setup::default()
    };
    handshake(a.clone(), b.clone());
    handshake(b, a);
}

/// D15: a peer without AEADs, or without anything else, finds what it has in a list of both kinds.
#[test]
fn each_kind_of_cipher_is_found_in_the_default_list() {
    for (ike, esp, agreed) in [
        (
            "aes128gcm16-prfsha256-ecp384",
            "aes128gcm16",
            "aes128gcm16-prfsha256-ecp384",
        ),
        (
            "aes256-sha256-modp2048",
            "aes256-sha256",
            "aes256-sha256-modp2048",
        ),
        (
            "aes192-aes256-sha1-sha384-ecp256",
            "chacha20poly1305",
            "aes256-sha384-ecp256",
        ),
    ] {
        let defaults = Setup {
            ike: DEFAULT_IKE.to_vec(),
            esp: DEFAULT_ESP.to_vec(),
            ..Setup::default()
        };
        let peer = Setup {
            ike: vec![ike],
            esp: vec![esp],
            ..Setup::default()
        };
        for sim in [
            handshake(defaults.clone(), peer.clone()),
            handshake(peer, defaults),
        ] {
            let details = sim.node(A).details.as_ref().unwrap();
            assert_eq!(details.suite.to_string(), agreed);
            let (_, keys) = sim.node(A).outbound.last().unwrap();
            assert_eq!(keys.suite.cipher.to_string(), esp);
        }
    }
}

fn says_initial_contact(payloads: &[Payload]) -> bool {
    payloads.iter().any(
        |payload| matches!(payload, Payload::Notify(n) if n.kind == NotifyType::INITIAL_CONTACT),
    )
}

/// D39, RFC 7296 §2.4: only who has no other SA with the peer says so.
#[test]
fn initial_contact_comes_from_who_is_alone() {
    let mut bench = Bench::new(&Setup::default());
    let (session, auth) = half_way_as_responder(&mut bench, 1);
    assert!(says_initial_contact(&session.open(&auth)));
}

/// D39: not even a half-open SA of the peer's would survive it.
#[test]
fn initial_contact_does_not_come_beside_another_sa() {
    let mut bench = Bench::new(&Setup::default());
    half_way_as_initiator(&mut bench, 1);
    let (session, auth) = half_way_as_responder(&mut bench, 2);
    assert!(!says_initial_contact(&session.open(&auth)));
}

/// One SA is enough: a call while one is up goes nowhere.
#[test]
fn connect_with_an_sa_up_does_nothing() {
    let mut bench = Bench::new(&Setup::default());
    up_as_initiator(&mut bench, 1);
    assert!(bench.connect().is_empty());
}

/// STYLE §3.1 rule 7: the same seeds give the same octets at the same times.
#[test]
fn the_same_seed_gives_the_same_trace() {
    let day = |seed| {
        let mut sim = pair(seed, Setup::default(), Setup::default());
        sim.set_quality(secure_gre_sim::Quality::HOSTILE);
        connect(&mut sim, A);
        connect(&mut sim, B);
        sim.run_for(LONG).unwrap();
        sim.trace().hash()
    };
    assert_eq!(day(3), day(3));
    assert_ne!(day(3), day(4));
}

/// STYLE §3.1 rule 9: no key in what a log could print.
#[test]
fn debug_output_shows_no_key() {
    let sim = handshake(Setup::default(), Setup::default());
    for host in [A, B] {
        let host = sim.node(host);
        let printed = format!(
            "{:?} {:?} {:?} {:?}",
            host.inbound,
            host.outbound,
            host.snapshot(),
            Setup::default().config(B)
        );
        assert!(printed.contains("Secret(..)"));
        let keys = host
            .inbound
            .values()
            .chain(host.outbound.iter().map(|(_, keys)| keys));
        for keys in keys {
            let octets = keys.key_material.expose();
            assert!(!printed.contains(&format!("{octets:?}")));
        }
        assert!(!printed.contains(Setup::default().psk));
    }
}
