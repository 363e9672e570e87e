//! Attempts that cannot succeed: what each end says of it to its person, and whether it tries again.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use secure_gre_ike::config::{OnFailure, RemoteId};
use secure_gre_ike::event::EspSpi;
use secure_gre_ike::identity::Identity;
use secure_gre_ike::proposal::EsnPolicy;
use secure_gre_ike::wire::{
    AuthMethod, Authentication, Delete, ExchangeType, Notify, NotifyType, Payload,
};
use secure_gre_sim::{Frame, Verdict};
use support::bench::Bench;
use support::puppet::{
    Half, INBOUND, clear, esp_proposals, half_way_as_initiator, half_way_as_responder, notify, put,
    selector, without,
};
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
        "peer.psk-file or peer.local-id: the peer refused our key or identity \
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
        caller.starts_with("peer.psk-file or peer.local-id: "),
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
            "peer.esp.proposals: the peer accepts nothing of what we offered (aes256gcm16-esn): \
             NO_PROPOSAL_CHOSEN"
        );
        assert!(
            called.starts_with("peer.esp.proposals: no common proposal: the peer offers "),
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

/// D12, RFC 7296 §2.23: an address that somebody translates. Native ESP does not pass it, and each
/// end says on whose side it is.
#[test]
fn a_nat_between_the_two() {
    let a = Setup {
        on_failure: OnFailure::Exit,
        ..Setup::default()
    };
    let mut sim = pair(1, a, Setup::default());
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
        "peer.encapsulation: a NAT on the peer's side translates the path 192.0.2.2:500 to \
         192.0.2.1:1024"
    );
    assert!(nothing_left(sim.node(A)) && nothing_left(sim.node(B)));
    assert_eq!(sim.node(A).failures.len(), 1);
}

/// As the initiator: the responder's hashes tell.
#[test]
fn a_nat_that_only_the_initiator_sees() {
    let mut bench = Bench::new(&Setup::default());
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
        "peer.encapsulation: a NAT on our side translates the path 192.0.2.1:500 to 192.0.2.2:500"
    );
}

/// An authenticated responder answers IKE_AUTH like this; what we say, and what we tell it.
fn answered_with(edit: impl FnOnce(Vec<Payload>) -> Vec<Payload>) -> String {
    let mut bench = Bench::new(&Setup::default());
    let (mut session, _) = half_way_as_responder(&mut bench, 1);
    let payloads = edit(session.auth_payloads());
    let response = session.response(AUTH, 1, &payloads);
    let sent = bench.receive(&response);
    assert!(
        bench.inbound.is_empty() && bench.outbound.is_empty(),
        "installed"
    );
    assert_eq!(bench.failures.len(), 1);
    // D30: the peer, which has an IKE SA, hears that it is over.
    for message in sent {
        assert!(
            session
                .open(&message)
                .contains(&Payload::Delete(Delete::Ike))
        );
        bench.receive(&session.response(ExchangeType::INFORMATIONAL, 2, &[]));
    }
    assert!(bench.endpoint.is_idle());
    bench.failures[0].to_string()
}

fn child_error(payloads: Vec<Payload>, kind: NotifyType) -> Vec<Payload> {
    payloads.into_iter().take(2).chain([notify(kind)]).collect()
}

fn ts(protocol: u8) -> Payload {
    Payload::TsInitiator(vec![selector(protocol, A, A)])
}

/// D26, D27, D30, D43 and SECURITY lessons 10 and 12, as the initiator.
#[test]
fn answers_to_ike_auth_that_are_of_no_use() {
    type Edit = fn(Vec<Payload>) -> Vec<Payload>;
    let with = |new: Payload| {
        move |mut payloads: Vec<Payload>| {
            put(&mut payloads, new);
            payloads
        }
    };
    let cases: [(Edit, &str); 8] = [
        (
            |p| without(p, &notify(NotifyType::USE_TRANSPORT_MODE)),
            "the peer wants tunnel mode; secure-gre protects GRE in transport mode",
        ),
        (
            |p| child_error(p, NotifyType::TS_UNACCEPTABLE),
            "the peer refused our traffic selectors, protocol 47 between the two addresses (TS_UNACCEPTABLE)",
        ),
        (
            |p| child_error(p, NotifyType::NO_PROPOSAL_CHOSEN),
            "peer.esp.proposals: the peer accepts nothing of what we offered (aes256gcm16-esn-noesn): NO_PROPOSAL_CHOSEN",
        ),
        (
            |p| child_error(p, NotifyType(8000)),
            "the peer answered IKE_AUTH with notify type 8000",
        ),
        (
            |p| p.into_iter().skip(1).collect(),
            "the peer sent no IDr payload in IKE_AUTH",
        ),
        (
            |mut p| {
                p.remove(1);
                p
            },
            "the peer sent no AUTH payload in IKE_AUTH",
        ),
        (
            |_| vec![notify(NotifyType::AUTHENTICATION_FAILED)],
            "peer.psk-file or peer.local-id: the peer refused our key or identity (AUTHENTICATION_FAILED): we said we are 192.0.2.1 and asked for 192.0.2.2",
        ),
        (|_| vec![], "the peer sent no IDr payload in IKE_AUTH"),
    ];
    for (edit, text) in cases {
        assert_eq!(answered_with(edit), text);
    }
    assert_eq!(
        answered_with(with(Payload::SecurityAssociation(esp_proposals(
            "aes256gcm16",
            EspSpi(255)
        )))),
        "the peer sent a reserved ESP SPI in IKE_AUTH"
    );
    let text = answered_with(with(Payload::SecurityAssociation(esp_proposals(
        "aes128gcm16",
        INBOUND,
    ))));
    assert!(
        text.starts_with("the peer sent an answer that we had not offered ("),
        "{text}"
    );
    for wider in [
        ts(0),
        ts(6),
        Payload::TsInitiator(vec![selector(47, A, B)]),
        Payload::TsInitiator(vec![]),
    ] {
        let text = answered_with(with(wider));
        assert!(
            text.starts_with("the peer sent ") && text.ends_with(" in IKE_AUTH"),
            "{text}"
        );
    }
    let method = AuthMethod::RSA_SIGNATURE;
    assert_eq!(
        answered_with(with(Payload::Authentication(Authentication {
            method,
            data: vec![0; 256]
        }))),
        "peer.psk-file: the peer authenticates by method 1, not by a pre-shared key"
    );
    let method = AuthMethod::SHARED_KEY;
    for octets in [0, 31, 33] {
        let auth = Payload::Authentication(Authentication {
            method,
            data: vec![0; octets],
        });
        assert!(answered_with(with(auth)).starts_with("peer.psk-file: the pre-shared keys differ"));
    }
}

/// An authenticated initiator asks like this; what it hears, and what our person hears.
fn asked_with(edit: impl FnOnce(&mut Vec<Payload>)) -> (Vec<Payload>, String) {
    let mut bench = Bench::new(&Setup::default());
    let mut session = half_way_as_initiator(&mut bench, 1);
    let mut payloads = session.auth_payloads();
    edit(&mut payloads);
    let request = session.request(AUTH, 1, &payloads);
    let sent = bench.receive(&request);
    assert!(
        bench.inbound.is_empty() && bench.outbound.is_empty(),
        "installed"
    );
    assert_eq!(bench.refusals.len(), 1);
    let reply = session.open(&sent[0]);
    if sent.len() > 1 {
        assert_eq!(session.open(&sent[1]), [Payload::Delete(Delete::Ike)]);
        bench.receive(&session.response(ExchangeType::INFORMATIONAL, 0, &[]));
    }
    bench.pass(MINUTES);
    assert!(bench.endpoint.is_idle());
    (reply, bench.refusals[0].to_string())
}

/// D26, D27, D30, as the responder.
#[test]
fn requests_for_a_pair_that_we_do_not_make() {
    let (reply, text) = asked_with(|p| p.retain(|p| *p != notify(NotifyType::USE_TRANSPORT_MODE)));
    assert!(reply.contains(&notify(NotifyType::NO_PROPOSAL_CHOSEN)));
    assert!(matches!(
        reply[..2],
        [Payload::IdResponder(_), Payload::Authentication(_)]
    ));
    assert_eq!(
        text,
        "the peer wants tunnel mode; secure-gre protects GRE in transport mode"
    );

    let (reply, text) = asked_with(|p| put(p, Payload::TsInitiator(vec![selector(6, B, B)])));
    assert!(reply.contains(&notify(NotifyType::TS_UNACCEPTABLE)));
    assert!(text.starts_with("the peer's traffic selectors ("), "{text}");

    let (reply, _) = asked_with(|p| put(p, Payload::TsResponder(vec![selector(47, B, B)])));
    assert!(reply.contains(&notify(NotifyType::TS_UNACCEPTABLE)));

    for offer in [
        esp_proposals("aes128gcm16", INBOUND),
        esp_proposals("aes256gcm16", EspSpi(255)),
    ] {
        let (reply, text) = asked_with(|p| put(p, Payload::SecurityAssociation(offer)));
        assert!(reply.contains(&notify(NotifyType::NO_PROPOSAL_CHOSEN)));
        assert!(
            text.starts_with("peer.esp.proposals: no common proposal"),
            "{text}"
        );
    }
}

/// SECURITY lessons 7, 10, 12, 20: no identity without its proof. The peer hears one notification and
/// nothing of ours.
#[test]
fn requests_without_proof() {
    let method = AuthMethod::SHARED_KEY;
    for (name, edit) in [
        (
            "no AUTH",
            Box::new(|p: &mut Vec<Payload>| drop(p.remove(1)))
                as Box<dyn FnOnce(&mut Vec<Payload>)>,
        ),
        ("no IDi", Box::new(|p| drop(p.remove(0)))),
        ("nothing", Box::new(|p| p.clear())),
        ("two AUTH", Box::new(|p| p.push(p[1].clone()))),
        ("two IDi", Box::new(|p| p.push(p[0].clone()))),
        (
            "empty AUTH",
            Box::new(move |p| {
                p[1] = Payload::Authentication(Authentication {
                    method,
                    data: vec![],
                })
            }),
        ),
        (
            "short AUTH",
            Box::new(move |p| {
                if let Payload::Authentication(auth) = &mut p[1] {
                    auth.data.pop();
                }
            }),
        ),
        (
            "long AUTH",
            Box::new(move |p| {
                if let Payload::Authentication(auth) = &mut p[1] {
                    auth.data.push(0);
                }
            }),
        ),
        (
            "another method",
            Box::new(move |p| {
                if let Payload::Authentication(auth) = &mut p[1] {
                    auth.method = AuthMethod::NULL;
                }
            }),
        ),
    ] {
        let (reply, text) = asked_with(edit);
        assert!(
            matches!(&reply[..], [Payload::Notify(notify)] if notify.kind.is_error()),
            "{name}: {reply:?}"
        );
        assert!(!text.is_empty());
    }
}

/// D27: what is wider is narrowed to GRE between the two hosts.
#[test]
fn wide_selectors_are_narrowed() {
    let any = "0.0.0.0".parse().unwrap();
    let last = "255.255.255.255".parse().unwrap();
    let mut bench = Bench::new(&Setup::default());
    let mut session = half_way_as_initiator(&mut bench, 1);
    let mut payloads = session.auth_payloads();
    put(
        &mut payloads,
        Payload::TsInitiator(vec![selector(0, any, last)]),
    );
    put(
        &mut payloads,
        Payload::TsResponder(vec![selector(6, A, A), selector(47, any, last)]),
    );
    let request = session.request(AUTH, 1, &payloads);
    let reply = session.open(&bench.reply(&request));
    assert!(reply.contains(&Payload::TsInitiator(vec![selector(47, B, B)])));
    assert!(reply.contains(&Payload::TsResponder(vec![selector(47, A, A)])));
    assert_eq!(bench.pairs(), 1);
}

/// The answers to IKE_SA_INIT outside of an SA are one notification, with responder SPI 0 (D7).
#[test]
fn calls_that_are_refused_at_once() {
    let half = Half::new(1);
    for (name, payloads, kind) in [
        (
            "no SA",
            half.payloads()[1..].to_vec(),
            NotifyType::INVALID_SYNTAX,
        ),
        (
            "no KE",
            vec![half.payloads()[0].clone(), half.payloads()[2].clone()],
            NotifyType::INVALID_SYNTAX,
        ),
        (
            "no nonce",
            half.payloads()[..2].to_vec(),
            NotifyType::INVALID_SYNTAX,
        ),
        (
            "two nonces",
            [half.payloads(), half.payloads()[2..].to_vec()].concat(),
            NotifyType::INVALID_SYNTAX,
        ),
        ("nothing", vec![], NotifyType::INVALID_SYNTAX),
    ] {
        let mut bench = Bench::new(&Setup::default());
        let reply = bench.reply(&half.request(&payloads));
        assert_eq!(clear(&reply), [notify(kind)], "{name}");
        assert_eq!(support::puppet::header_of(&reply).responder.0, 0);
        assert!(bench.endpoint.is_idle(), "{name}");
        assert_eq!(bench.refusals.len(), 1);
    }
}
