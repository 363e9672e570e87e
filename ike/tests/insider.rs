//! A peer that holds the key and does it wrong on purpose: what is authenticated and wrong ends at most
//! the SA on which it came, and nothing of it comes too early.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use secure_gre_ike::config::RemoteId;
use secure_gre_ike::error::Drop;
use secure_gre_ike::event::GoneReason;
use secure_gre_ike::identity::Identity;
use secure_gre_ike::wire::{Delete, ExchangeType, Notify, NotifyType, Payload};
use support::Setup;
use support::bench::{Bench, completes_as_initiator, completes_as_responder, fresh};
use support::puppet::{
    INBOUND, half_way_as_initiator, half_way_as_responder, notify, up_as_initiator, up_as_responder,
};

const INIT: ExchangeType = ExchangeType::IKE_SA_INIT;
const AUTH: ExchangeType = ExchangeType::IKE_AUTH;
const CREATE: ExchangeType = ExchangeType::CREATE_CHILD_SA;
const INFORMATIONAL: ExchangeType = ExchangeType::INFORMATIONAL;

/// SECURITY lesson 1 (CVE-2026-78135): nothing but IKE_AUTH is taken before IKE_AUTH, whoever has the
/// keys of the half-open SA.
#[test]
fn other_exchanges_before_ike_auth_are_dropped() {
    let mut bench = fresh();
    let mut session = half_way_as_initiator(&mut bench, 1);
    for id in [0, 1, 2] {
        for exchange in [INIT, CREATE, INFORMATIONAL, ExchangeType(43)] {
            let payloads = session.auth_payloads();
            bench.drops(
                &session.request(exchange, id, &payloads),
                Drop::UnexpectedExchange,
            );
            bench.drops(
                &session.response(exchange, id, &payloads),
                Drop::UnexpectedResponse,
            );
        }
    }
    for id in [0, 2, u32::MAX] {
        let payloads = session.auth_payloads();
        bench.drops(&session.request(AUTH, id, &payloads), Drop::MessageId);
    }
    completes_as_initiator(&mut bench, session);

    let mut bench = fresh();
    let (mut session, _) = half_way_as_responder(&mut bench, 1);
    for exchange in [AUTH, CREATE, INFORMATIONAL] {
        let payloads = session.auth_payloads();
        bench.drops(
            &session.request(exchange, 0, &payloads),
            Drop::UnexpectedExchange,
        );
        for id in [0, 2] {
            bench.drops(
                &session.response(exchange, id, &payloads),
                Drop::UnexpectedResponse,
            );
        }
    }
    completes_as_responder(&mut bench, session);
}

/// Octets of a payload: generic header and body.
fn payload(next: u8, critical: bool, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + body.len()).unwrap().to_be_bytes();
    [&[next, u8::from(critical) << 7], &length[..], body].concat()
}

/// D6, RFC 7296 §2.5: an unknown critical payload is named in the answer, which is all that happens; one
/// that is not critical is skipped.
#[test]
fn unknown_payloads() {
    let mut bench = fresh();
    let mut session = up_as_initiator(&mut bench, 1);
    let header = session.header(INFORMATIONAL, 2, false);
    let message = session.seal_octets(&header, 200, &payload(0, true, &[1, 2, 3]));
    let expected = Notify::with_data(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![200]);
    assert_eq!(
        session.open(&bench.reply(&message)),
        [Payload::Notify(expected)]
    );
    let header = session.header(INFORMATIONAL, 3, false);
    let message = session.seal_octets(&header, 200, &payload(0, false, &[1, 2, 3]));
    assert_eq!(session.open(&bench.reply(&message)), []);
    assert_eq!(bench.pairs(), 1);
}

/// RFC 7296 §2.21.3: a syntax error that is authenticated costs the SA on which it came.
#[test]
fn an_authenticated_syntax_error_ends_the_sa() {
    let mut bench = fresh();
    let mut session = up_as_initiator(&mut bench, 1);
    let header = session.header(INFORMATIONAL, 2, false);
    let message = session.seal_octets(&header, 42, &[0, 0, 255, 255]);
    let reply = bench.reply(&message);
    assert_eq!(session.open(&reply), [notify(NotifyType::INVALID_SYNTAX)]);
    assert_eq!(bench.gone, [GoneReason::PeerFault]);
    assert_eq!(bench.down, [GoneReason::PeerFault]);
    assert_eq!(bench.reply(&message), reply);
}

/// RFC 7296 §4: further pairs and rekeying are declined by name; an exchange that we do not know too.
#[test]
fn exchanges_that_we_do_not_have_are_declined() {
    let mut bench = fresh();
    let mut session = up_as_responder(&mut bench, 1);
    for (id, exchange, kind) in [
        (0, CREATE, NotifyType::NO_ADDITIONAL_SAS),
        (1, ExchangeType(43), NotifyType::INVALID_SYNTAX),
        (2, AUTH, NotifyType::INVALID_SYNTAX),
    ] {
        let payloads = session.auth_payloads();
        let request = session.request(exchange, id, &payloads);
        assert_eq!(session.open(&bench.reply(&request)), [notify(kind)]);
    }
    assert_eq!((bench.pairs(), bench.inbound.len()), (1, 1));
}

/// SECURITY lesson 6 (CVE-2026-47895): IDi of no octets, and with a header only.
#[test]
fn an_empty_identity_is_a_syntax_error() {
    for body in [&[][..], &[2, 0, 0], &[2, 0, 0, 0], &[1, 0, 0, 0, 192, 0, 2]] {
        let mut bench = Bench::new(&Setup {
            remote_id: RemoteId::Any,
            ..Setup::default()
        });
        let mut session = half_way_as_initiator(&mut bench, 1);
        let header = session.header(AUTH, 1, false);
        let inner = [payload(39, false, body), payload(0, false, &[2; 36])].concat();
        let request = session.seal_octets(&header, 35, &inner);
        assert_eq!(
            session.open(&bench.reply(&request)),
            [notify(NotifyType::INVALID_SYNTAX)]
        );
        assert_eq!(bench.pairs(), 0);
    }
}

/// Whoever fails IKE_AUTH again and again does not fill our memory with last replies.
#[test]
fn ended_sas_are_bounded() {
    let mut bench = fresh();
    let mut requests: Vec<_> = (0..40)
        .map(|seed| {
            bench.pass(Duration::from_millis(1));
            let mut session = half_way_as_initiator(&mut bench, seed);
            let request = session.request(AUTH, 1, &[]);
            let reply = bench.reply(&request);
            (request, reply)
        })
        .collect();
    let kept = requests.split_off(40 - 16);
    for (request, _) in requests {
        bench.drops(&request, Drop::UnknownSpi);
    }
    for (request, reply) in kept {
        assert_eq!(bench.reply(&request), reply);
    }
}

/// A peer that sets up SA after SA has four of them; the oldest is deleted, and it is told so.
#[test]
fn standing_sas_are_bounded() {
    let mut bench = fresh();
    let mut sessions: Vec<_> = (0..6)
        .map(|seed| {
            bench.pass(Duration::from_millis(1));
            let mut session = half_way_as_initiator(&mut bench, seed);
            let payloads = session.auth_payloads();
            bench.receive(&session.request(AUTH, 1, &payloads));
            session
        })
        .collect();
    assert_eq!(bench.pairs(), 4);
    assert_eq!(bench.gone, [GoneReason::Replaced; 2]);
    // The first was asked whether it is alive; its DELETE waits for that (D3).
    let [delete] = bench
        .receive(&sessions[0].response(INFORMATIONAL, 0, &[]))
        .try_into()
        .unwrap();
    assert_eq!(sessions[0].open(&delete), [Payload::Delete(Delete::Ike)]);
}

/// D39: INITIAL_CONTACT speaks for one pair of identities, and only where it is authenticated.
#[test]
fn initial_contact_replaces_only_its_own_identity() {
    let mut bench = Bench::new(&Setup {
        remote_id: RemoteId::Any,
        ..Setup::default()
    });
    let mut call = |seed, name: &str, psk: &str| {
        bench.pass(Duration::from_secs(1));
        let mut session = half_way_as_initiator(&mut bench, seed);
        session.id = Identity::Fqdn(name.to_owned());
        session.psk = psk.to_owned();
        let mut payloads = session.auth_payloads();
        payloads.insert(1, notify(NotifyType::INITIAL_CONTACT));
        bench.receive(&session.request(AUTH, 1, &payloads));
        bench.gone.clone()
    };
    let psk = Setup::default().psk;
    assert_eq!(call(1, "a.example", psk), []);
    assert_eq!(call(2, "b.example", psk), []);
    assert_eq!(call(3, "a.example", "a guess"), []);
    assert_eq!(call(4, "a.example", psk), [GoneReason::Replaced]);
    assert_eq!(bench.pairs(), 2);
}

/// The reply of an authenticated peer that lies about what it receives on.
#[test]
fn a_delete_of_our_own_direction_deletes_nothing() {
    let mut bench = fresh();
    let mut session = up_as_initiator(&mut bench, 1);
    let ours = bench.inbound[0].spi;
    assert_ne!(ours, INBOUND);
    let delete = session.request(
        INFORMATIONAL,
        2,
        &[Payload::Delete(Delete::Esp(vec![ours]))],
    );
    assert_eq!(session.open(&bench.reply(&delete)), []);
    assert_eq!(bench.pairs(), 1);
}
