//! CREATE_CHILD_SA with a peer that says what a test wants it to say: what our requests hold, what
//! follows from every answer, and what a peer hears that asks at the wrong moment (RFC 7296 §1.3,
//! §2.8, §2.25).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::time::Duration;

use secure_gre_ike::error::{Drop, Failure, PeerFault};
use secure_gre_ike::event::{ChildPhase, Command, EspSpi, GoneReason};
use secure_gre_ike::proposal::{EsnPolicy, EspProposal, esp_offer_with_groups};
use secure_gre_ike::wire::{
    Delete, ExchangeType, KeyExchange, Notify, NotifyType, Payload, Proposal, Transform,
    TransformType,
};
use support::bench::Bench;
use support::puppet::{
    Half, INBOUND, Session, esp_proposals, header_of, notify, pair_answer, pair_payloads, put,
    rekeys, selector, up_as_initiator, up_as_responder, without,
};
use support::{A, B, Setup};

const CREATE: ExchangeType = ExchangeType::CREATE_CHILD_SA;
const INFORMATIONAL: ExchangeType = ExchangeType::INFORMATIONAL;
/// What the puppet receives on in a second pair.
const SECOND: EspSpi = EspSpi(0xc0ff_ee01);

fn setup(esp: &'static str) -> Setup {
    Setup {
        esp: vec![esp],
        ..Setup::default()
    }
}

/// An endpoint that has called the puppet.
fn up(esp: &'static str) -> (Bench, Session) {
    let mut bench = Bench::new(&setup(esp));
    let session = up_as_responder(&mut bench, 1);
    bench.take_log();
    (bench, session)
}

/// The endpoint's next request, in words that can be compared.
fn said(session: &Session, request: &[u8]) -> (u32, Vec<Payload>) {
    (header_of(request).message_id, session.open(request))
}

fn notifies(payloads: &[Payload]) -> Vec<NotifyType> {
    let notifies = payloads.iter().filter_map(|payload| match payload {
        Payload::Notify(notify) => Some(notify.kind),
        _ => None,
    });
    notifies.collect()
}

fn offered(payloads: &[Payload]) -> &Proposal {
    let offered = payloads.iter().find_map(|payload| match payload {
        Payload::SecurityAssociation(proposals) => Some(&proposals[0]),
        _ => None,
    });
    offered.unwrap()
}

fn groups(payloads: &[Payload]) -> Vec<u16> {
    let transforms = offered(payloads).transforms.iter();
    transforms
        .filter(|transform| transform.kind == TransformType::KE)
        .map(|transform| transform.id)
        .collect()
}

fn group_of_ke(payloads: &[Payload]) -> Option<u16> {
    payloads.iter().find_map(|payload| match payload {
        Payload::KeyExchange(ke) => Some(ke.group),
        _ => None,
    })
}

fn spi_of(payloads: &[Payload]) -> EspSpi {
    let spi = offered(payloads).spi[..].try_into().unwrap();
    EspSpi(u32::from_be_bytes(spi))
}

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

/// D33: the inbound half is there before our answer leaves; packets leave on the new pair when the peer
/// has shown that it has it: by a packet, or by deleting the old one.
#[test]
fn a_peer_rekeys_the_pair() {
    for by_packet in [true, false] {
        let (mut bench, mut session) = up("aes256gcm16");
        let mut request = pair_payloads(esp_proposals("aes256gcm16", SECOND), 1);
        request.insert(0, rekeys(INBOUND));
        let reply = bench.reply(&session.request(CREATE, 0, &request));
        assert_eq!(bench.take_log(), ["inbound", "sent"]);
        let reply = session.open(&reply);
        assert_eq!(notifies(&reply), [NotifyType::USE_TRANSPORT_MODE]);
        assert_eq!(spi_of(&reply), bench.inbound[1].spi);
        assert_eq!(bench.phases(), [ChildPhase::Current, ChildPhase::Arriving]);
        let child = bench.children[1];
        if by_packet {
            bench.command(Command::ChildConfirmed { child });
            assert_eq!(bench.take_log(), ["outbound"]);
            bench.command(Command::ChildConfirmed { child });
            assert_eq!(bench.take_log(), [""; 0]);
        }
        let delete = [Payload::Delete(Delete::Esp(vec![INBOUND]))];
        let reply = bench.reply(&session.request(INFORMATIONAL, 1, &delete));
        let named = Payload::Delete(Delete::Esp(vec![bench.inbound[0].spi]));
        assert_eq!(session.open(&reply), [named]);
        assert_eq!(bench.outbound.len(), 2);
        assert_eq!(bench.phases(), [ChildPhase::Draining, ChildPhase::Current]);
        bench.pass(Duration::from_secs(6));
        assert_eq!(bench.gone, [GoneReason::Rekeyed]);
    }
}

/// A peer that shows nothing has it after a while; one that does not delete the old pair has us do it.
#[test]
fn a_peer_that_rekeys_and_says_no_more() {
    let (mut bench, mut session) = up("aes256gcm16");
    let mut request = pair_payloads(esp_proposals("aes256gcm16", SECOND), 1);
    request.insert(0, rekeys(INBOUND));
    bench.reply(&session.request(CREATE, 0, &request));
    bench.pass(Duration::from_secs(9));
    assert_eq!(bench.outbound.len(), 1);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.outbound.len(), 2);
    assert_eq!(bench.phases(), [ChildPhase::Draining, ChildPhase::Current]);
    let delete = bench.pass(Duration::from_secs(30)).remove(0);
    let named = Payload::Delete(Delete::Esp(vec![bench.inbound[0].spi]));
    assert_eq!(session.open(&delete), [named]);
    bench.receive(&session.response(INFORMATIONAL, 2, &[]));
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.phases(), [ChildPhase::Current]);
}

/// D36, PAINS 6, PAINS 7: a pair that is not there, one that was rekeyed before, one beside the one that
/// stands, and anything at all while the IKE SA is being replaced or deleted.
#[test]
fn a_peer_that_asks_at_the_wrong_moment() {
    let ask = |spi| {
        let mut request = pair_payloads(esp_proposals("aes256gcm16", SECOND), 1);
        request.insert(0, rekeys(spi));
        request
    };
    let one_more = pair_payloads(esp_proposals("aes256gcm16", SECOND), 1);
    let heir = Half::new(9).heir_payloads();
    let busy = [notify(NotifyType::TEMPORARY_FAILURE)];

    let (mut bench, mut session) = up("aes256gcm16");
    let reply = bench.reply(&session.request(CREATE, 0, &ask(SECOND)));
    let mut unknown = rekeys(SECOND);
    if let Payload::Notify(notify) = &mut unknown {
        notify.kind = NotifyType::CHILD_SA_NOT_FOUND;
    }
    assert_eq!(session.open(&reply), [unknown]);
    let reply = bench.reply(&session.request(CREATE, 1, &one_more));
    assert_eq!(
        session.open(&reply),
        [notify(NotifyType::NO_ADDITIONAL_SAS)]
    );
    assert_eq!(bench.inbound.len(), 1);
    bench.reply(&session.request(CREATE, 2, &ask(INBOUND)));
    let reply = bench.reply(&session.request(CREATE, 3, &ask(INBOUND)));
    assert_eq!(session.open(&reply), busy);
    assert_eq!(bench.inbound.len(), 2);

    // While we rekey the IKE SA, pairs stay as they are.
    let (mut bench, mut session) = up("aes256gcm16");
    bench.rekey_ike();
    for (id, request) in [(0, ask(INBOUND)), (1, one_more.clone())] {
        let reply = bench.reply(&session.request(CREATE, id, &request));
        assert_eq!(session.open(&reply), busy);
    }

    // While we rekey or delete a pair, the IKE SA stays as it is.
    let (mut bench, mut session) = up("aes256gcm16");
    bench.rekey_child();
    let reply = bench.reply(&session.request(CREATE, 0, &heir));
    assert_eq!(session.open(&reply), busy);
    let answer = pair_answer(esp_proposals("aes256gcm16", SECOND), 1);
    bench.reply(&session.response(CREATE, 2, &answer));
    for (id, request) in [(1, heir.clone()), (2, ask(INBOUND))] {
        let reply = bench.reply(&session.request(CREATE, id, &request));
        assert_eq!(session.open(&reply), busy);
    }

    // While we delete the IKE SA, nothing is made.
    let (mut bench, mut session) = up("aes256gcm16");
    bench.disconnect();
    for (id, request) in [(0, heir), (1, ask(INBOUND)), (2, one_more)] {
        let reply = bench.reply(&session.request(CREATE, id, &request));
        assert_eq!(session.open(&reply), busy);
    }
    bench.receive(&session.response(INFORMATIONAL, 2, &[]));
    assert!(bench.endpoint.is_idle());
}

/// A peer without a key exchange of the pair's own (Azure), or with another group (PAINS 8).
#[test]
fn the_peers_choice_of_a_group() {
    let ask = |text: &str, ke: Option<(u16, usize)>| {
        let proposal = EspProposal::parse(text, EsnPolicy::Require).unwrap();
        let mut request = pair_payloads(esp_offer_with_groups(&[proposal], SECOND), 1);
        request.insert(0, rekeys(INBOUND));
        request.extend(ke.map(|(group, octets)| {
            let data = vec![9; octets];
            Payload::KeyExchange(KeyExchange { group, data })
        }));
        request
    };
    let answer = |ours, request: Vec<Payload>| {
        let (mut bench, mut session) = up(ours);
        let reply = bench.reply(&session.request(CREATE, 0, &request));
        let made = bench.inbound.len() == 2;
        (made, session.open(&reply), bench)
    };
    let with = "aes256gcm16-x25519";
    let optional = "aes256gcm16-x25519-modpnone";

    let (made, reply, _) = answer(optional, ask("aes256gcm16", None));
    assert!(made && groups(&reply).is_empty());
    let (made, reply, _) = answer("aes256gcm16", ask(optional, Some((31, 32))));
    assert!(made);
    assert_eq!(groups(&reply), [0]);
    let (made, reply, _) = answer(with, ask(with, Some((31, 32))));
    assert!(made);
    assert_eq!((groups(&reply), group_of_ke(&reply)), (vec![31], Some(31)));

    let (made, reply, bench) = answer(with, ask("aes256gcm16", None));
    assert!(!made);
    assert_eq!(reply, [notify(NotifyType::NO_PROPOSAL_CHOSEN)]);
    assert!(matches!(
        bench.refusals[..],
        [Failure::NothingAcceptable { .. }]
    ));
    let (made, reply, _) = answer(with, ask("aes256gcm16-ecp256-x25519", Some((19, 64))));
    let wanted = Notify::with_data(NotifyType::INVALID_KE_PAYLOAD, vec![0, 31]);
    assert_eq!(
        (made, reply),
        (false, vec![Payload::Notify(wanted.clone())])
    );
    let (made, reply, _) = answer(with, ask(with, None));
    assert_eq!((made, reply), (false, vec![Payload::Notify(wanted)]));
    // SECURITY lesson 2: a public value of the wrong length makes nothing.
    for octets in [0, 31, 33] {
        let (made, reply, bench) = answer(with, ask(with, Some((31, octets))));
        assert!(!made);
        assert_eq!(reply, [notify(NotifyType::INVALID_SYNTAX)]);
        assert_eq!(bench.pairs(), 1);
    }
}

/// D1, D21: the heir of an IKE SA has SPIs and keys of its own and counts from 0; it has the pair, and
/// the old one only waits for its end.
#[test]
fn a_peer_rekeys_the_ike_sa() {
    let (mut bench, mut session) = up("aes256gcm16");
    let half = Half::new(9);
    let request = session.request(CREATE, 0, &half.heir_payloads());
    let reply = bench.reply(&request);
    assert_eq!(bench.take_log(), ["sent", "rekeyed"]);
    assert_eq!(bench.reply(&request), reply);
    let payloads = session.open(&reply);
    assert_eq!(offered(&payloads).spi.len(), 8);
    // A pair of the old one's is not there any more.
    let delete = [Payload::Delete(Delete::Esp(vec![INBOUND]))];
    let reply = bench.reply(&session.request(INFORMATIONAL, 1, &delete));
    assert_eq!(session.open(&reply), []);
    let again = Half::new(10).heir_payloads();
    let reply = bench.reply(&session.request(CREATE, 2, &again));
    assert_eq!(
        session.open(&reply),
        [notify(NotifyType::TEMPORARY_FAILURE)]
    );
    let end = [Payload::Delete(Delete::Ike)];
    let reply = bench.reply(&session.request(INFORMATIONAL, 3, &end));
    assert_eq!(session.open(&reply), []);
    assert_eq!((bench.pairs(), bench.down.len()), (1, 0));

    let mut heir = session.heir(half, true, &payloads);
    let reply = bench.reply(&heir.request(INFORMATIONAL, 0, &[]));
    assert_eq!(heir.open(&reply), []);
    let rekey = bench.rekey_child();
    let (id, payloads) = said(&heir, &rekey);
    assert_eq!(id, 0);
    assert_eq!(payloads[0], rekeys(bench.inbound[0].spi));
    let answer = pair_answer(esp_proposals("aes256gcm16", SECOND), 1);
    bench.reply(&heir.response(CREATE, 0, &answer));
    assert_eq!(bench.outbound.len(), 2);
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

/// A peer's wish that makes no sense costs it the exchange, and us nothing.
#[test]
fn wishes_that_make_no_sense() {
    let (mut bench, mut session) = up("aes256gcm16");
    let heir = Half::new(9).heir_payloads();
    let mut no_spi = heir.clone();
    let mut zero_spi = heir.clone();
    for (payloads, spi) in [(&mut no_spi, vec![]), (&mut zero_spi, vec![0; 8])] {
        let mut proposal = offered(payloads).clone();
        proposal.spi = spi;
        put(payloads, Payload::SecurityAssociation(vec![proposal]));
    }
    let mut other_suite = heir.clone();
    let mut proposal = offered(&heir).clone();
    proposal.transforms = vec![Transform::with_key_bits(TransformType::ENCR, 12, 256)];
    put(
        &mut other_suite,
        Payload::SecurityAssociation(vec![proposal]),
    );
    let pair = pair_payloads(esp_proposals("aes256gcm16", SECOND), 1);
    let mut tunnel = without(pair.clone(), &notify(NotifyType::USE_TRANSPORT_MODE));
    tunnel.insert(0, rekeys(INBOUND));
    let mut wide = pair;
    put(&mut wide, Payload::TsInitiator(vec![selector(6, B, B)]));
    wide.insert(0, rekeys(INBOUND));
    let cases = [
        (vec![], NotifyType::INVALID_SYNTAX),
        (heir[..1].to_vec(), NotifyType::INVALID_SYNTAX),
        (heir[..2].to_vec(), NotifyType::INVALID_SYNTAX),
        (no_spi, NotifyType::NO_PROPOSAL_CHOSEN),
        (zero_spi, NotifyType::NO_PROPOSAL_CHOSEN),
        (other_suite, NotifyType::NO_PROPOSAL_CHOSEN),
        (tunnel, NotifyType::NO_PROPOSAL_CHOSEN),
        (wide, NotifyType::TS_UNACCEPTABLE),
    ];
    for (id, (payloads, expected)) in (0..).zip(cases) {
        let reply = bench.reply(&session.request(CREATE, id, &payloads));
        assert_eq!(session.open(&reply), [notify(expected)], "{id}");
        assert_eq!((bench.pairs(), bench.inbound.len()), (1, 1), "{id}");
    }
    bench.disconnect();
    bench.receive(&session.response(INFORMATIONAL, 2, &[]));
    assert!(bench.endpoint.is_idle());
}

/// A pair may be made that replaces none where none stands: here the peer has lost what we had.
#[test]
fn a_pair_in_place_of_none() {
    let mut bench = Bench::new(&Setup::default());
    let mut session = up_as_initiator(&mut bench, 1);
    let one_more = pair_payloads(esp_proposals("aes256gcm16", SECOND), 1);
    let delete = [Payload::Delete(Delete::Esp(vec![INBOUND]))];
    let [reply, end] = bench
        .receive(&session.request(INFORMATIONAL, 2, &delete))
        .try_into()
        .unwrap();
    let named = Payload::Delete(Delete::Esp(vec![bench.inbound[0].spi]));
    assert_eq!(session.open(&reply), [named]);
    // Whoever deletes its only pair ends the IKE SA with us.
    assert_eq!(session.open(&end), [Payload::Delete(Delete::Ike)]);
    let reply = bench.reply(&session.request(CREATE, 3, &one_more));
    assert_eq!(
        session.open(&reply),
        [notify(NotifyType::TEMPORARY_FAILURE)]
    );
}
