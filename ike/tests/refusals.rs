//! IKE_AUTH and IKE_SA_INIT messages of a scripted peer that lead to no pair, in both roles: what is
//! wrong with them, what the peer hears and what our person hears.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use secure_gre_ike::event::EspSpi;
use secure_gre_ike::wire::{AuthMethod, Authentication, Delete, ExchangeType, NotifyType, Payload};
use support::bench::Bench;
use support::puppet::{
    Half, INBOUND, clear, esp_proposals, half_way_as_initiator, half_way_as_responder, notify, put,
    selector, without,
};
use support::{A, B, MINUTES, Setup};

const AUTH: ExchangeType = ExchangeType::IKE_AUTH;

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
            "the peer's mode: it wants tunnel mode (no USE_TRANSPORT_MODE came); secure-gre protects GRE in transport mode",
        ),
        (
            |p| child_error(p, NotifyType::TS_UNACCEPTABLE),
            "the peer's traffic selectors: it refused ours, protocol 47 between the two addresses (TS_UNACCEPTABLE)",
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
            "peer.psk-file, peer.local-id or peer.remote-id: the peer refused our key or identity (AUTHENTICATION_FAILED): we said we are 192.0.2.1 and asked for 192.0.2.2",
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
    for wider in [ts(0), ts(6), Payload::TsInitiator(vec![selector(47, A, B)])] {
        let text = answered_with(with(wider));
        assert!(
            text.starts_with("the peer sent ") && text.ends_with(" in IKE_AUTH"),
            "{text}"
        );
    }
    let text = answered_with(with(Payload::TsInitiator(vec![])));
    assert!(
        text.starts_with("the peer's traffic selectors: it sent none"),
        "{text}"
    );
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
        "the peer's mode: it wants tunnel mode (no USE_TRANSPORT_MODE came); secure-gre protects GRE in transport mode"
    );

    let (reply, text) = asked_with(|p| put(p, Payload::TsInitiator(vec![selector(6, B, B)])));
    assert!(reply.contains(&notify(NotifyType::TS_UNACCEPTABLE)));
    assert!(
        text.starts_with("the peer's traffic selectors: it offers "),
        "{text}"
    );

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
                });
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
