//! What our requests hold, and what follows from every answer.

use std::time::Duration;

use secure_gre_ike::error::{Drop, Failure, PeerFault};
use secure_gre_ike::event::{ChildPhase, EspSpi, GoneReason};
use secure_gre_ike::wire::{Delete, Notify, NotifyType, Payload};

use super::support::bench::Bench;
use super::support::puppet::{
    Half, esp_proposals, header_of, notify, pair_answer, put, rekeys, selector, up_as_responder,
    without,
};
use super::support::{A, B, Setup};
use super::{
    CREATE, INFORMATIONAL, SECOND, group_of_ke, groups, notifies, offered, said, spi_of, up,
};

/// D26, D31, D28: the request names the pair by what we receive on, asks for transport mode and for the
/// selectors in use, and offers a group.
#[test]
fn what_we_ask_for() {
    let (mut bench, session) = up("aes256gcm16-x25519-ecp256-modpnone");
    let old = bench.inbound[0].spi;
    let request = bench.rekey_child();
    assert_eq!(bench.take_log(), ["offered", "sent"]);
    let (id, payloads) = said(&session, &request);
    assert_eq!((id, header_of(&request).exchange), (2, CREATE));
    assert_eq!(payloads[0], rekeys(old));
    assert_eq!(payloads[1], notify(NotifyType::USE_TRANSPORT_MODE));
    assert_eq!(groups(&payloads), [31, 19, 0]);
    assert_eq!(group_of_ke(&payloads), Some(31));
    assert_eq!(payloads[5], Payload::TsInitiator(vec![selector(47, A, A)]));
    assert_eq!(payloads[6], Payload::TsResponder(vec![selector(47, B, B)]));
}

/// RFC 7296 §1.3: a peer has the group of the IKE SA, and may know no answer to another one than
/// INVALID_SYNTAX (libreswan 4.10).
#[test]
fn the_group_of_the_ike_sa_is_tried_first() {
    for esp in ["aes256gcm16-ecp256-x25519", "aes256gcm16-x25519-ecp256"] {
        let (mut bench, session) = up(esp);
        let request = bench.rekey_child();
        assert_eq!(group_of_ke(&said(&session, &request).1), Some(31), "{esp}");
    }
    let (mut bench, session) = up("aes256gcm16-ecp384-ecp256");
    let request = bench.rekey_child();
    assert_eq!(group_of_ke(&said(&session, &request).1), Some(20));
}

/// The initiator deletes the old pair, and keeps its inbound half for what is in flight.
#[test]
fn a_good_answer() {
    let (mut bench, mut session) = up("aes256gcm16");
    let (old, request) = (bench.inbound[0].spi, bench.rekey_child());
    bench.take_log();
    let answer = pair_answer(esp_proposals("aes256gcm16", SECOND), 1);
    let delete = bench.reply(&session.response(CREATE, 2, &answer));
    assert_eq!(bench.take_log(), ["inbound", "outbound", "sent"]);
    assert_eq!(bench.outbound[1].spi, SECOND);
    assert_eq!(bench.inbound[1].spi, spi_of(&said(&session, &request).1));
    let deleted = Payload::Delete(Delete::Esp(vec![old]));
    assert_eq!(said(&session, &delete), (3, vec![deleted]));
    bench.receive(&session.response(INFORMATIONAL, 3, &[]));
    assert_eq!(bench.phases(), [ChildPhase::Draining, ChildPhase::Current]);
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.phases(), [ChildPhase::Current]);
    assert_eq!(bench.gone, [GoneReason::Rekeyed]);
}

/// D26, D27, D28: an answer in tunnel mode, for other packets or with another suite is a pair at the
/// peer that we have it delete; the old one stays, and packets are never taken on the new one.
#[test]
fn an_answer_that_is_not_what_we_asked_for() {
    type Spoil = fn(Vec<Payload>) -> Vec<Payload>;
    type Expected = fn(&Failure) -> bool;
    let cases: [(&str, Spoil, Expected); 5] = [
        (
            "tunnel mode",
            |payloads| without(payloads, &notify(NotifyType::USE_TRANSPORT_MODE)),
            |failure| *failure == Failure::TunnelMode,
        ),
        (
            "wider selectors",
            |mut payloads| {
                put(&mut payloads, Payload::TsInitiator(vec![selector(0, A, A)]));
                payloads
            },
            |failure| matches!(failure, Failure::Fault { fault, .. } if *fault == PeerFault::Selectors),
        ),
        (
            "another suite",
            |mut payloads| {
                let other = esp_proposals("aes128gcm16", SECOND);
                put(&mut payloads, Payload::SecurityAssociation(other));
                payloads
            },
            |failure| matches!(failure, Failure::Fault { fault, .. } if matches!(fault, PeerFault::NotOffered(_))),
        ),
        (
            "no nonce",
            |payloads| without(payloads, &Payload::Nonce(Vec::new())),
            |failure| matches!(failure, Failure::Fault { fault, .. } if *fault == PeerFault::Missing("Nonce")),
        ),
        (
            "a reserved SPI",
            |mut payloads| {
                let other = esp_proposals("aes256gcm16", EspSpi(7));
                put(&mut payloads, Payload::SecurityAssociation(other));
                payloads
            },
            |failure| matches!(failure, Failure::Fault { fault, .. } if *fault == PeerFault::ReservedSpi),
        ),
    ];
    for (name, spoil, expected) in cases {
        let (mut bench, mut session) = up("aes256gcm16");
        let request = bench.rekey_child();
        bench.take_log();
        let answer = spoil(pair_answer(esp_proposals("aes256gcm16", SECOND), 1));
        let delete = bench.reply(&session.response(CREATE, 2, &answer));
        assert_eq!(bench.take_log(), ["withdrawn", "sent"], "{name}");
        let refused = spi_of(&said(&session, &request).1);
        let deleted = Payload::Delete(Delete::Esp(vec![refused]));
        assert_eq!(said(&session, &delete), (3, vec![deleted]), "{name}");
        bench.receive(&session.response(INFORMATIONAL, 3, &[]));
        assert!(expected(&bench.failures[0]), "{name}: {:?}", bench.failures);
        assert_eq!(bench.phases(), [ChildPhase::Current]);
        bench.disconnect();
        bench.receive(&session.response(INFORMATIONAL, 4, &[]));
        assert!(bench.endpoint.is_idle(), "{name}");
    }
}

/// D37: we ask again in a while, and delete nothing.
#[test]
fn a_busy_peer_is_asked_again() {
    let (mut bench, mut session) = up("aes256gcm16");
    bench.rekey_child();
    bench.take_log();
    let busy = [notify(NotifyType::TEMPORARY_FAILURE)];
    bench.receive(&session.response(CREATE, 2, &busy));
    assert_eq!(bench.take_log(), ["withdrawn"]);
    assert_eq!(bench.pass(Duration::from_millis(200)).len(), 0);
    let again = bench.pass(Duration::from_secs(10)).remove(0);
    assert_eq!(
        (header_of(&again).exchange, header_of(&again).message_id),
        (CREATE, 3)
    );
    assert_eq!((bench.failures.len(), bench.pairs()), (0, 1));

    // So is one that is busy with the IKE SA.
    let (mut bench, mut session) = up("aes256gcm16");
    bench.rekey_ike();
    bench.receive(&session.response(CREATE, 2, &busy));
    assert_eq!(bench.pass(Duration::from_millis(200)).len(), 0);
    let again = bench.pass(Duration::from_secs(10)).remove(0);
    assert_eq!(header_of(&again).message_id, 3);
}

/// D37: a pair that the peer does not have is of no use; another is made from scratch.
#[test]
fn a_pair_that_the_peer_has_lost() {
    let (mut bench, mut session) = up("aes256gcm16");
    bench.rekey_child();
    bench.take_log();
    let unknown = [notify(NotifyType::CHILD_SA_NOT_FOUND)];
    let request = bench.reply(&session.response(CREATE, 2, &unknown));
    assert_eq!(bench.take_log(), ["withdrawn", "gone", "offered", "sent"]);
    let (id, payloads) = said(&session, &request);
    assert_eq!(
        (id, notifies(&payloads)),
        (3, vec![NotifyType::USE_TRANSPORT_MODE])
    );
    let answer = pair_answer(esp_proposals("aes256gcm16", SECOND), 1);
    assert_eq!(
        bench.receive(&session.response(CREATE, 3, &answer)).len(),
        0
    );
    assert_eq!(bench.phases(), [ChildPhase::Current]);
    assert_eq!(bench.down, []);

    // And if that fails too, so does the IKE SA.
    let (mut bench, mut session) = up("aes256gcm16");
    bench.rekey_child();
    bench.receive(&session.response(CREATE, 2, &unknown));
    let refusal = [notify(NotifyType::NO_ADDITIONAL_SAS)];
    let delete = bench.reply(&session.response(CREATE, 3, &refusal));
    assert_eq!(session.open(&delete), [Payload::Delete(Delete::Ike)]);
    assert_eq!(bench.down, [GoneReason::Childless]);
}

/// A minimal peer (RFC 7296 §4) and any other refusal: the old pair stays until its time is over; then
/// everything is set up anew, at once.
#[test]
fn a_peer_that_never_rekeys() {
    for kind in [
        NotifyType::NO_ADDITIONAL_SAS,
        NotifyType::TS_UNACCEPTABLE,
        NotifyType(8193),
    ] {
        let mut bench = Bench::new(&Setup {
            child_lifetime: Duration::from_secs(60),
            ..Setup::default()
        });
        let mut session = up_as_responder(&mut bench, 1);
        let request = bench.pass(Duration::from_secs(55)).remove(0);
        assert_eq!(header_of(&request).exchange, CREATE);
        bench.receive(&session.response(CREATE, 2, &[notify(kind)]));
        assert!(matches!(
            bench.failures[..],
            [Failure::Notified { exchange: CREATE, notify }] if notify == kind
        ));
        assert_eq!(bench.pairs(), 1);
        bench.take_log();
        let delete = bench.pass(Duration::from_secs(6)).remove(0);
        assert_eq!(session.open(&delete), [Payload::Delete(Delete::Ike)]);
        assert_eq!(bench.down, [GoneReason::Expired]);
        assert_eq!(bench.take_log(), ["gone", "sent", "reconnect", "sent"]);
    }
}

/// PAINS 8: a peer that refuses every group may rekey without, if our list allows that.
#[test]
fn a_refused_group_is_left_out_where_it_may_be() {
    let (mut bench, mut session) = up("aes256gcm16-x25519-modpnone");
    let first = bench.rekey_child();
    let refusal = [notify(NotifyType::NO_PROPOSAL_CHOSEN)];
    let second = bench.reply(&session.response(CREATE, 2, &refusal));
    let (id, payloads) = said(&session, &second);
    assert_eq!(
        (id, groups(&payloads), group_of_ke(&payloads)),
        (3, vec![], None)
    );
    assert_eq!(spi_of(&payloads), spi_of(&said(&session, &first).1));
    let answer = pair_answer(esp_proposals("aes256gcm16", SECOND), 1);
    bench.reply(&session.response(CREATE, 3, &answer));
    assert_eq!(bench.outbound.len(), 2);
    assert_eq!(bench.failures, []);
}

/// PAINS 8: the group of the first pair is never checked, so a mismatch shows a lifetime later. It is
/// named, and nothing is torn down for it.
#[test]
fn a_group_that_only_fails_when_rekeying() {
    let (mut bench, mut session) = up("aes256gcm16-x25519");
    bench.rekey_child();
    let refusal = [notify(NotifyType::NO_PROPOSAL_CHOSEN)];
    assert_eq!(
        bench.receive(&session.response(CREATE, 2, &refusal)).len(),
        0
    );
    let [failure] = &bench.failures[..] else {
        unreachable!("{:?}", bench.failures);
    };
    let text = failure.to_string();
    assert!(
        text.starts_with("peer.esp.proposals: ") && text.contains("x25519"),
        "{text}"
    );
    assert!(failure.advice().contains("modpnone"));
    assert_eq!((bench.pairs(), bench.down.len()), (1, 0));
}

/// RFC 7296 §1.3: any group that we offered, each once.
#[test]
fn another_group_is_used_if_the_peer_asks_for_it() {
    let ask = |group: u16| {
        let data = group.to_be_bytes().to_vec();
        [Payload::Notify(Notify::with_data(
            NotifyType::INVALID_KE_PAYLOAD,
            data,
        ))]
    };
    let (mut bench, mut session) = up("aes256gcm16-x25519-ecp256");
    bench.rekey_child();
    let second = bench.reply(&session.response(CREATE, 2, &ask(19)));
    let (id, payloads) = said(&session, &second);
    assert_eq!((id, group_of_ke(&payloads)), (3, Some(19)));
    assert_eq!(notifies(&payloads)[0], NotifyType::REKEY_SA);
    bench.receive(&session.response(CREATE, 3, &ask(31)));
    let fault = PeerFault::UselessGroup(31);
    let exchange = CREATE;
    assert_eq!(bench.failures, [Failure::Fault { exchange, fault }]);

    let mut bench = Bench::new(&Setup {
        ike: vec!["aes256gcm16-prfsha256-x25519-ecp256"],
        ..Setup::default()
    });
    let mut session = up_as_responder(&mut bench, 1);
    let first = bench.rekey_ike();
    let second = bench.reply(&session.response(CREATE, 2, &ask(19)));
    let (id, payloads) = said(&session, &second);
    assert_eq!((id, group_of_ke(&payloads)), (3, Some(19)));
    assert_eq!(offered(&payloads), offered(&said(&session, &first).1));
    bench.receive(&session.response(CREATE, 3, &ask(20)));
    let fault = PeerFault::UselessGroup(20);
    assert_eq!(bench.failures, [Failure::Fault { exchange, fault }]);
    assert_eq!(bench.pairs(), 1);
}

/// As the initiator we delete the old IKE SA, under the old keys.
#[test]
fn we_rekey_the_ike_sa() {
    let (mut bench, mut session) = up("aes256gcm16");
    let request = bench.rekey_ike();
    bench.take_log();
    let payloads = said(&session, &request).1;
    let half = Half::new(9);
    let answer = session.response(CREATE, 2, &half.heir_payloads());
    let delete = bench.reply(&answer);
    assert_eq!(bench.take_log(), ["rekeyed", "sent"]);
    assert_eq!(
        said(&session, &delete),
        (3, vec![Payload::Delete(Delete::Ike)])
    );
    bench.receive(&session.response(INFORMATIONAL, 3, &[]));
    bench.drops(&answer, Drop::UnknownSpi);
    let mut heir = session.heir(half, false, &payloads);
    let reply = bench.reply(&heir.request(INFORMATIONAL, 0, &[]));
    assert_eq!(heir.open(&reply), []);
    bench.disconnect();
    bench.receive(&heir.response(INFORMATIONAL, 0, &[]));
    assert!(bench.endpoint.is_idle());
}

/// An heir that we cannot use has the pairs at the peer: nothing is left of this IKE SA.
#[test]
fn an_heir_that_is_not_what_we_asked_for() {
    let (mut bench, mut session) = up("aes256gcm16");
    bench.rekey_ike();
    let answer = without(Half::new(9).heir_payloads(), &Payload::Nonce(Vec::new()));
    let delete = bench.reply(&session.response(CREATE, 2, &answer));
    assert_eq!(session.open(&delete), [Payload::Delete(Delete::Ike)]);
    assert_eq!(bench.down, [GoneReason::PeerFault]);
}
