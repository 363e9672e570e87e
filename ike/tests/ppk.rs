//! Post-quantum pre-shared keys (RFC 8784): who uses one, who does without, and who refuses.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::time::Duration;

use secure_gre_ike::error::Failure;
use secure_gre_sim::Sim;
use support::tap;
use support::{
    A, B, Host, MINUTES, Setup, connect, leave_without_a_trace, one_working_pair, pair, settled,
    with,
};

const KEY: &str = "a key that is thirty-two octets!";
const OTHER: &str = "a key that is thirty-two octets?";
const HYBRID: &str = "aes256gcm16-prfsha384-x25519-ke1_mlkem768";

type Ppk = Option<(&'static str, &'static str, bool)>;

fn setup(ppk: Ppk) -> Setup {
    Setup {
        ppk,
        ..Setup::default()
    }
}

fn uses_ppk(sim: &Sim<Host>) -> [bool; 2] {
    [A, B].map(|host| sim.node(host).snapshot().established[0].0.ppk)
}

/// RFC 8784 §3, table 1, and what follows from it: both use it, both do without, or there is no SA.
#[test]
fn every_two_ends() {
    let none = None;
    let optional = Some(("k1", KEY, false));
    let required = Some(("k1", KEY, true));
    let other_id = Some(("k2", KEY, false));
    let other_id_required = Some(("k2", KEY, true));
    for (a, b, expected) in [
        (none, none, Some(false)),
        (optional, none, Some(false)),
        (none, optional, Some(false)),
        (optional, optional, Some(true)),
        (optional, required, Some(true)),
        (required, optional, Some(true)),
        (required, required, Some(true)),
        (required, none, None),
        (none, required, None),
        (optional, other_id, Some(false)),
        (optional, other_id_required, None),
        (required, other_id, None),
    ] {
        let mut sim = pair(1, setup(a), setup(b));
        connect(&mut sim, A);
        sim.run_for(Duration::from_secs(5)).unwrap();
        let up = one_working_pair(&sim);
        assert_eq!(up, expected.is_some(), "{a:?} {b:?}");
        if let Some(used) = expected {
            assert_eq!(uses_ppk(&sim), [used; 2], "{a:?} {b:?}");
            leave_without_a_trace(&mut sim);
        }
    }
}

/// The first failures of the caller and of the one who is called.
fn failures(a: Setup, b: Setup) -> [Option<Failure>; 2] {
    let mut sim = pair(2, a, b);
    connect(&mut sim, A);
    sim.run_for(Duration::from_secs(5)).unwrap();
    assert_eq!([A, B].map(|host| sim.node(host).established()), [0, 0]);
    [
        sim.node(A).failures.first().cloned(),
        sim.node(B).refusals.first().cloned(),
    ]
}

/// Failures begin with the field of the file.
#[test]
fn failures_name_the_field() {
    let id = || "k1".to_owned();
    let required = |key| setup(Some(("k1", key, true)));
    let optional = |key| setup(Some(("k1", key, false)));
    let of_other = setup(Some(("k2", KEY, true)));
    let refused = |failure: &Option<Failure>| matches!(failure, Some(Failure::AuthenticationRefused { ppk: Some(id), .. }) if id == "k1");

    let [asked, answered] = failures(required(KEY), setup(None));
    assert_eq!(asked, Some(Failure::PpkUnused { id: id() }));
    assert_eq!(answered, None);
    let [asked, answered] = failures(setup(None), required(KEY));
    assert!(matches!(
        asked,
        Some(Failure::AuthenticationRefused { ppk: None, .. })
    ));
    assert_eq!(answered, Some(Failure::PpkUnused { id: id() }));

    let [asked, answered] = failures(required(KEY), of_other);
    assert!(refused(&asked), "{asked:?}");
    let unknown = Failure::PpkUnknown {
        received: id(),
        ours: Some("k2".to_owned()),
    };
    assert_eq!(answered.as_ref(), Some(&unknown));

    // A wrong key is none that could be left out.
    let [asked, answered] = failures(optional(KEY), optional(OTHER));
    assert!(refused(&asked), "{asked:?}");
    assert_eq!(answered, Some(Failure::PpkMismatch { id: id() }));
    let [asked, answered] = failures(required(KEY), required(OTHER));
    assert!(refused(&asked), "{asked:?}");
    let answered = answered.unwrap();
    assert!(
        matches!(&answered, Failure::PskMismatch { ppk: Some(_), .. }),
        "{answered:?}"
    );
    assert!(
        answered
            .to_string()
            .starts_with("peer.psk-file or peer.ike.ppk: "),
        "{answered}"
    );

    for failure in [
        Failure::PpkUnused { id: id() },
        unknown,
        Failure::PpkMismatch { id: id() },
    ] {
        assert!(
            failure.to_string().starts_with("peer.ike.ppk: "),
            "{failure}"
        );
        assert!(failure.advice().contains("peer.ike.ppk"), "{failure}");
        assert!(failure.advice().contains("strongSwan"), "{failure}");
    }
}

/// The keys of what comes after have it in them, so that a rekey needs nothing.
#[test]
fn rekeys_keep_it() {
    for ike in [vec![HYBRID], vec!["aes256gcm16-prfsha256-x25519"]] {
        let both = Setup {
            ike,
            ..setup(Some(("k1", KEY, true)))
        };
        let mut sim = pair(3, both.clone(), both);
        connect(&mut sim, A);
        sim.run_until(MINUTES, one_working_pair).unwrap();
        for rekey in [Host::rekey_ike, Host::rekey_child, Host::rekey_ike] {
            for host in [A, B] {
                with(&mut sim, host, rekey);
                sim.run_for(Duration::from_secs(10)).unwrap();
                assert!(settled(&sim));
                assert_eq!(uses_ppk(&sim), [true; 2]);
            }
        }
        leave_without_a_trace(&mut sim);
    }
}

/// RFC 8784 §3: the keys of the first pair are other ones with it, from the same seeds.
#[test]
fn the_first_pair_has_it_in_its_keys() {
    let keys = |ppk| {
        let mut sim = pair(4, setup(ppk), setup(ppk));
        connect(&mut sim, A);
        sim.run_until(MINUTES, one_working_pair).unwrap();
        let (_, keys) = &sim.node(A).outbound[0];
        keys.key_material.expose().to_vec()
    };
    let (with, with_other) = (
        keys(Some(("k1", KEY, true))),
        keys(Some(("k1", OTHER, true))),
    );
    assert_ne!(keys(None), with);
    assert_ne!(with, with_other);
}

#[test]
fn any_two_messages_may_be_lost() {
    for first in 0..8 {
        for second in first..8 {
            let both = setup(Some(("k1", KEY, false)));
            let mut sim = pair(5, both.clone(), both);
            tap::lose(&mut sim, [first, second]);
            connect(&mut sim, A);
            sim.run_until(MINUTES, one_working_pair).unwrap();
            assert_eq!(uses_ppk(&sim), [true; 2]);
            leave_without_a_trace(&mut sim);
        }
    }
}
