//! Messages in words: all of them when asked for, none otherwise, and never a secret.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::{A, B, MINUTES, Setup, connect, one_working_pair, pair};

#[test]
fn both_ends_tell_what_was_encrypted_and_no_secrets() {
    let mut sim = pair(1, Setup::default(), Setup::default());
    sim.node_mut(A).trace();
    sim.node_mut(B).trace();
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();

    let told = |address| -> Vec<_> {
        let traces = sim.node(address).traces.iter();
        traces.map(|t| (t.sent, t.message.clone())).collect()
    };
    let (ours, theirs) = (told(A), told(B));
    let expected = [
        (true, "IKE_SA_INIT request 0: SA("),
        (false, "IKE_SA_INIT response 0: SA("),
        (true, "IKE_AUTH request 1: IDi("),
        (false, "IKE_AUTH response 1: IDr("),
    ];
    assert_eq!(ours.len(), expected.len(), "{ours:?}");
    for ((sent, message), (expected_sent, beginning)) in ours.iter().zip(expected) {
        assert_eq!(*sent, expected_sent);
        assert!(message.starts_with(beginning), "{message}");
        for shown in [" AUTH(", "USE_TRANSPORT_MODE"] {
            assert_eq!(
                message.contains(shown),
                beginning.starts_with("IKE_AUTH"),
                "{message}"
            );
        }
        assert!(!message.contains(Setup::default().psk), "{message}");
    }
    let mirrored: Vec<_> = theirs
        .into_iter()
        .map(|(sent, text)| (!sent, text))
        .collect();
    assert_eq!(ours, mirrored);
}

#[test]
fn nothing_is_told_unasked() {
    let mut sim = pair(1, Setup::default(), Setup::default());
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    assert!(sim.node(A).traces.is_empty() && sim.node(B).traces.is_empty());
}
