//! Attempts that cannot succeed: what each end says of it to its person, and whether it tries again.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::time::Duration;

use secure_gre_ike::config::{OnFailure, RemoteId, UdpEncapsulation};
use secure_gre_ike::identity::Identity;
use secure_gre_ike::proposal::EsnPolicy;
use secure_gre_ike::wire::{ExchangeType, Notify, NotifyType, Payload};
use secure_gre_sim::{Frame, Verdict};
use support::bench::Bench;
use support::puppet::Half;
use support::{A, B, LONG, MINUTES, Setup, connect, nothing_left, pair};

const AUTH: ExchangeType = ExchangeType::IKE_AUTH;

/// What the caller and the called one say of the first attempt; no pair is ever installed.
fn told(a: Setup, b: Setup) -> (String, String) {
    let once = Setup {
        on_failure: OnFailure::Exit,
        ..a
    };
    let mut sim = pair(1, once, b);
    connect(&mut sim, A);
    sim.run_until(MINUTES * 2, |sim| !sim.node(A).failures.is_empty())
        .unwrap();
    sim.run_for(MINUTES * 3).unwrap();
    let (a, b) = (sim.node(A), sim.node(B));
    assert!(nothing_left(a) && nothing_left(b));
    assert!(
        a.gone.is_empty() && b.gone.is_empty(),
        "a pair was installed"
    );
    assert!(a.endpoint.is_idle() && b.endpoint.is_idle());
    assert_eq!((a.attempts, a.failures.len(), b.refusals.len()), (1, 1, 1));
    (a.failures[0].to_string(), b.refusals[0].to_string())
}

#[test]
fn different_keys() {
    let other = Setup {
        psk: "incorrect horse battery staple",
        ..Setup::default()
    };
    let (caller, called) = told(Setup::default(), other);
    assert_eq!(
        caller,
        "peer.psk-file, peer.local-id or peer.remote-id: the peer refused our key or identity \
         (AUTHENTICATION_FAILED): we said we are 192.0.2.1 and asked for 192.0.2.2"
    );
    assert_eq!(
        called,
        "peer.psk-file: the pre-shared keys differ: 192.0.2.1 proved itself with another key than \
         ours"
    );
}

fn fqdn(name: &str) -> Identity {
    Identity::Fqdn(name.to_owned())
}

#[test]
fn a_caller_of_another_name() {
    let a = Setup {
        local_id: Some(fqdn("a.example")),
        ..Setup::default()
    };
    let (caller, called) = told(a, Setup::default());
    assert!(
        caller.starts_with("peer.psk-file, peer.local-id or peer.remote-id: "),
        "{caller}"
    );
    assert_eq!(
        called,
        "peer.remote-id: the peer says it is a.example, not 192.0.2.1"
    );
}

#[test]
fn a_called_one_of_another_name() {
    let a = Setup {
        remote_id: RemoteId::Is(fqdn("hub.example")),
        on_failure: OnFailure::Exit,
        ..Setup::default()
    };
    let mut sim = pair(1, a, Setup::default());
    connect(&mut sim, A);
    sim.run_for(MINUTES).unwrap();
    let failure = &sim.node(A).failures[0];
    assert_eq!(
        failure.to_string(),
        "peer.remote-id: the peer says it is 192.0.2.2, not hub.example"
    );
    assert!(
        failure
            .advice()
            .starts_with("set peer.remote-id = \"192.0.2.2\"")
    );
    // The responder had believed us; it was told (RFC 7296 §2.21.2).
    assert!(nothing_left(sim.node(B)) && nothing_left(sim.node(A)));
    assert!(sim.node(A).inbound.is_empty() && sim.node(A).gone.is_empty());
}

#[test]
fn no_common_ike_proposal() {
    let b = Setup {
        ike: vec!["aes128gcm16-prfsha384-ecp384"],
        ..Setup::default()
    };
    let (caller, called) = told(Setup::default(), b);
    assert_eq!(
        caller,
        "peer.ike.proposals: the peer accepts nothing of what we offered \
         (aes256gcm16-prfsha256-x25519): NO_PROPOSAL_CHOSEN"
    );
    assert!(
        called.starts_with("peer.ike.proposals: no common proposal: the peer offers "),
        "{called}"
    );
    assert!(
        called.ends_with("; we accept aes128gcm16-prfsha384-ecp384"),
        "{called}"
    );
}

#[test]
fn no_common_esp_proposal() {
    for b in [
        Setup {
            esp: vec!["aes128gcm16"],
            ..Setup::default()
        },
        Setup {
            esn: EsnPolicy::Never,
            ..Setup::default()
        },
    ] {
        let a = Setup {
            esn: EsnPolicy::Require,
            ..Setup::default()
        };
        let (caller, called) = told(a, b);
        assert_eq!(
            caller,
            "peer.esp.proposals or peer.esp.esn: the peer accepts nothing of what we offered (aes256gcm16-esn): \
             NO_PROPOSAL_CHOSEN"
        );
        assert!(
            called.contains(": no common proposal: the peer offers "),
            "{called}"
        );
    }
}

#[test]
fn nobody_answers() {
    let a = Setup {
        on_failure: OnFailure::Exit,
        ..Setup::default()
    };
    let total = a.retransmit.total();
    let mut sim = pair(1, a, Setup::default());
    sim.partition(A, B);
    connect(&mut sim, A);
    let took = sim
        .run_until(LONG, |sim| !sim.node(A).failures.is_empty())
        .unwrap();
    assert_eq!(took, total);
    let text = sim.node(A).failures[0].to_string();
    assert_eq!(
        text,
        "peer.address: no answer from 192.0.2.2:500 to IKE_SA_INIT for 68 s"
    );
    sim.heal(A, B);
    sim.run_for(LONG).unwrap();
    assert_eq!(sim.node(A).attempts, 1, "on-failure = exit");
    // It still answers.
    connect(&mut sim, B);
    sim.run_until(MINUTES, support::one_working_pair).unwrap();
}

#[test]
fn the_peer_falls_silent_before_ike_auth() {
    let a = Setup {
        on_failure: OnFailure::Exit,
        ..Setup::default()
    };
    let mut sim = pair(1, a, Setup::default());
    sim.tap(|frame, _| {
        if support::puppet::header_of(&frame.bytes).exchange == AUTH {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    });
    connect(&mut sim, A);
    sim.run_until(LONG, |sim| !sim.node(A).failures.is_empty())
        .unwrap();
    let text = sim.node(A).failures[0].to_string();
    assert!(
        text.starts_with("peer.address: no answer from 192.0.2.2:500 to IKE_AUTH for "),
        "{text}"
    );
    assert!(sim.node(A).endpoint.is_idle() && sim.node(B).endpoint.is_idle());
}

/// Failure after failure: the pauses grow up to half a minute, with jitter.
#[test]
fn attempts_back_off() {
    let other = Setup {
        psk: "x",
        ..Setup::default()
    };
    let mut sim = pair(1, Setup::default(), other);
    connect(&mut sim, A);
    sim.run_for(LONG).unwrap();
    let waits: Vec<Duration> = sim.node(A).retries.iter().flatten().copied().collect();
    assert!(waits.len() > 15, "{waits:?}");
    assert!(waits[0] <= Duration::from_secs(1));
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(30)));
    assert!(
        waits[8..]
            .iter()
            .all(|wait| *wait > Duration::from_secs(20)),
        "{waits:?}"
    );
    // Anybody can make us refuse: it is told once in a while.
    assert!(sim.node(B).refusals.len() <= waits.len());
}

/// D12, RFC 7296 §2.23: an address that somebody translates. Native ESP does not pass it, and where
/// UDP is forbidden the end says on whose side it is.
#[test]
fn a_nat_between_the_two() {
    let a = Setup {
        on_failure: OnFailure::Exit,
        ..Setup::default()
    };
    let b = Setup {
        encapsulation: UdpEncapsulation::Never,
        ..Setup::default()
    };
    let mut sim = pair(1, a, b);
    // A's port 500 is 1024 outside.
    sim.tap(|frame, _| {
        let (mut source, mut destination) = (frame.source, frame.destination);
        if source.ip() == A {
            source.set_port(1024);
        } else if destination.port() == 1024 {
            destination.set_port(500);
        }
        Verdict::Replace(Frame {
            source,
            destination,
            bytes: frame.bytes.clone(),
        })
    });
    connect(&mut sim, A);
    sim.run_for(MINUTES).unwrap();
    let refusal = sim.node(B).refusals[0].to_string();
    assert_eq!(
        refusal,
        "peer.encapsulation is \"never\", but a NAT on the peer's side translates the path \
         192.0.2.2:500 to 192.0.2.1:1024"
    );
    assert!(nothing_left(sim.node(A)) && nothing_left(sim.node(B)));
    assert_eq!(sim.node(A).failures.len(), 1);
}

/// As the initiator: the responder's hashes tell.
#[test]
fn a_nat_that_only_the_initiator_sees() {
    let mut bench = Bench::new(&Setup {
        encapsulation: UdpEncapsulation::Never,
        ..Setup::default()
    });
    let [request] = bench.connect().try_into().unwrap();
    let half = Half::new(1);
    let mut payloads = half.payloads();
    payloads.push(Payload::Notify(Notify::with_data(
        NotifyType::NAT_DETECTION_DESTINATION_IP,
        vec![0; 20],
    )));
    assert!(
        bench
            .receive(&half.response(&request, &payloads))
            .is_empty()
    );
    assert!(
        bench.failures.is_empty(),
        "nothing authenticates it: a better answer may come (D14)"
    );
    bench.pass(Duration::from_secs(2));
    let text = bench.failures[0].to_string();
    assert_eq!(
        text,
        "peer.encapsulation is \"never\", but a NAT on our side translates the path 192.0.2.1:500 \
         to 192.0.2.2:500"
    );
}
