//! What the peer's requests lead to, and what a peer hears that asks at the wrong moment.

use std::time::Duration;

use secure_gre_ike::error::Failure;
use secure_gre_ike::event::{ChildPhase, Command, EspSpi, GoneReason};
use secure_gre_ike::proposal::{EsnPolicy, EspProposal, esp_offer_with_groups};
use secure_gre_ike::wire::{
    Delete, KeyExchange, Notify, NotifyType, Payload, Transform, TransformType,
};

use super::support::bench::Bench;
use super::support::puppet::{
    Half, INBOUND, esp_proposals, notify, pair_answer, pair_payloads, put, rekeys, selector,
    up_as_initiator, without,
};
use super::support::{B, Setup};
use super::{
    CREATE, INFORMATIONAL, SECOND, group_of_ke, groups, notifies, offered, said, spi_of, up,
};

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

/// A peer that rekeys what it has just rekeyed, again and again, does not fill our memory: what it
/// leaves behind is bounded.
#[test]
fn pairs_are_bounded() {
    let (mut bench, mut session) = up("aes256gcm16");
    let mut old = INBOUND;
    let mut made = 0;
    for id in 0..40 {
        let new = EspSpi(0x1000 + id);
        let mut request = pair_payloads(esp_proposals("aes256gcm16", new), 1);
        request.insert(0, rekeys(old));
        let reply = bench.reply(&session.request(CREATE, id, &request));
        if session.open(&reply) != [notify(NotifyType::TEMPORARY_FAILURE)] {
            made += 1;
            old = new;
        }
        let current = bench.phases().into_iter();
        assert!(
            current
                .filter(|phase| *phase == ChildPhase::Current)
                .count()
                <= 1
        );
    }
    assert_eq!((made, bench.pairs()), (7, 8));
    // Nor does it lose its tunnel by that.
    bench.pass(Duration::from_secs(15));
    assert_eq!(bench.outbound.last().unwrap().spi, old);
    assert_eq!(bench.down, []);
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
