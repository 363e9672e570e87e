//! An additional key exchange with a peer that says what it likes, and whose key schedule and IntAuth
//! are written out a second time (RFC 9370, RFC 9242).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use secure_gre_ike::algorithm::Kem;
use secure_gre_ike::error::{Drop, Failure, PeerFault};
use secure_gre_ike::limits;
use secure_gre_ike::wire::{ExchangeType, KeyExchange, Notify, NotifyType, Payload};
use support::Setup;
use support::bench::Bench;
use support::puppet::{Half, Session, header_of, notify, public_of, without};

const INTERMEDIATE: ExchangeType = ExchangeType::IKE_INTERMEDIATE;
const AUTH: ExchangeType = ExchangeType::IKE_AUTH;
const CREATE: ExchangeType = ExchangeType::CREATE_CHILD_SA;
const FOLLOW_UP: ExchangeType = ExchangeType::IKE_FOLLOWUP_KE;
const KEM: Kem = Kem::MlKem768;

fn setup() -> Setup {
    Setup {
        ike: vec![
            "aes256gcm16-prfsha256-x25519-ke1_mlkem768",
            "aes256gcm16-prfsha256-x25519",
        ],
        ..Setup::default()
    }
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(77)
}

fn ke(group: u16, data: &[u8]) -> KeyExchange {
    let data = data.to_vec();
    KeyExchange { group, data }
}

fn ml_kem(data: &[u8]) -> KeyExchange {
    ke(KEM.transform_id(), data)
}

fn supported() -> Payload {
    notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED)
}

fn link(data: &[u8]) -> Payload {
    let kind = NotifyType::ADDITIONAL_KEY_EXCHANGE;
    Payload::Notify(Notify::with_data(kind, data.to_vec()))
}

fn link_of(payloads: &[Payload]) -> Option<Vec<u8>> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.kind == NotifyType::ADDITIONAL_KEY_EXCHANGE => {
            Some(notify.data.clone())
        }
        _ => None,
    })
}

fn kinds(payloads: &[Payload]) -> Vec<NotifyType> {
    let notify = |payload: &Payload| match payload {
        Payload::Notify(notify) => Some(notify.kind),
        _ => None,
    };
    payloads.iter().filter_map(notify).collect()
}

/// The puppet has called, and the endpoint has agreed on both key exchanges.
fn called(bench: &mut Bench) -> Session {
    let half = Half::hybrid(1);
    let mut payloads = half.payloads();
    payloads.push(supported());
    let request = half.request(&payloads);
    let response = bench.reply(&request);
    assert_eq!(
        kinds(&support::puppet::clear(&response)),
        [NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED]
    );
    half.called(request, response)
}

/// The endpoint has called, and sent its encapsulation key.
fn answered(bench: &mut Bench) -> (Session, KeyExchange) {
    let [request] = bench.connect().try_into().unwrap();
    let half = Half::hybrid(1);
    let mut payloads = half.payloads();
    payloads.push(supported());
    let response = half.response(&request, &payloads);
    let intermediate = bench.reply(&response);
    let session = half.answered(request, response);
    let header = header_of(&intermediate);
    assert_eq!((header.exchange, header.message_id), (INTERMEDIATE, 1));
    let public = public_of(&session.open(&intermediate));
    (session, ml_kem(&public))
}

/// IKE_INTERMEDIATE of a puppet that has called.
fn intermediate(bench: &mut Bench, session: &mut Session) {
    let key = KEM.generate(&mut rng());
    let request = ml_kem(key.public());
    let message = session.request(INTERMEDIATE, 1, &[Payload::KeyExchange(request.clone())]);
    let reply = bench.reply(&message);
    let response = ml_kem(&public_of(&session.open(&reply)));
    let shared = key.decapsulate(&response.data).unwrap();
    session.update(&request, &response, &shared);
}

/// An SA that the puppet has set up.
fn up_as_initiator(bench: &mut Bench) -> Session {
    let mut session = called(bench);
    intermediate(bench, &mut session);
    let payloads = session.auth_payloads();
    bench.reply(&session.request(AUTH, 2, &payloads));
    assert_eq!(bench.pairs(), 1);
    session
}

/// D23, RFC 9370 §2.2.2, RFC 9242 §3.3.2: keys and AUTH values of two implementations agree, as the
/// responder.
#[test]
fn a_caller_with_its_own_key_schedule() {
    let mut bench = Bench::new(&setup());
    up_as_initiator(&mut bench);
}

/// The same as the initiator.
#[test]
fn a_called_one_with_its_own_key_schedule() {
    let mut bench = Bench::new(&setup());
    let (mut session, request) = answered(&mut bench);
    let encapsulated = KEM.encapsulate(&mut rng(), &request.data).unwrap();
    let response = ml_kem(&encapsulated.ciphertext);
    let payloads = [Payload::KeyExchange(response.clone())];
    let auth = bench.reply(&session.response(INTERMEDIATE, 1, &payloads));
    assert_eq!(header_of(&auth).message_id, 2);
    session.update(&request, &response, &encapsulated.secret);
    assert!(session.vouches_for(&auth));
    let payloads = session.auth_payloads();
    bench.receive(&session.response(AUTH, 2, &payloads));
    assert_eq!(bench.pairs(), 1);
}

/// SECURITY lesson 1: nothing comes before its turn.
#[test]
fn exchanges_out_of_order_are_dropped() {
    let mut bench = Bench::new(&setup());
    let mut session = called(&mut bench);
    let payloads = session.auth_payloads();
    for id in [0, 1, 2] {
        let early = session.request(AUTH, id, &payloads);
        bench.drops(&early, Drop::UnexpectedExchange);
        let early = session.request(FOLLOW_UP, id, &payloads);
        bench.drops(&early, Drop::UnexpectedExchange);
    }
    let key = [Payload::KeyExchange(ml_kem(
        KEM.generate(&mut rng()).public(),
    ))];
    for id in [0, 2] {
        let wrong = session.request(INTERMEDIATE, id, &key);
        bench.drops(&wrong, Drop::MessageId);
    }
    intermediate(&mut bench, &mut session);
    for id in [1, 2, 3] {
        let again = session.request(INTERMEDIATE, id, &key);
        bench.drops(&again, Drop::UnexpectedExchange);
    }
    let payloads = session.auth_payloads();
    bench.reply(&session.request(AUTH, 2, &payloads));
    assert_eq!(bench.pairs(), 1);
}

/// D2, RFC 7296 §2.1: the reply is repeated bit by bit, although the keys are others by then.
#[test]
fn a_repeated_request_gets_the_same_reply() {
    let mut bench = Bench::new(&setup());
    let mut session = called(&mut bench);
    let key = Payload::KeyExchange(ml_kem(KEM.generate(&mut rng()).public()));
    let message = session.request(INTERMEDIATE, 1, &[key]);
    let reply = bench.reply(&message);
    assert_eq!(bench.reply(&message), reply);
}

/// RFC 9242 §3.1: whoever does not take the exchange has nothing that needs it.
#[test]
fn an_offer_without_the_notification_is_none() {
    let only = Setup {
        ike: vec!["aes256gcm16-prfsha256-x25519-ke1_mlkem768"],
        ..Setup::default()
    };
    let mut bench = Bench::new(&only);
    let half = Half::hybrid(1);
    let reply = bench.receive(&half.request(&half.payloads()));
    let [reply] = reply.try_into().unwrap();
    let payloads = support::puppet::clear(&reply);
    assert_eq!(kinds(&payloads), [NotifyType::NO_PROPOSAL_CHOSEN]);
}

/// D14: an answer that cannot be followed is a suspicion, until a better one comes.
#[test]
fn an_answer_without_the_notification_is_suspect() {
    let mut bench = Bench::new(&setup());
    let [request] = bench.connect().try_into().unwrap();
    let half = Half::hybrid(1);
    assert!(
        bench
            .receive(&half.response(&request, &half.payloads()))
            .is_empty()
    );
    bench.pass(limits::REFUSAL_WAIT);
    let missing = PeerFault::Missing("N(INTERMEDIATE_EXCHANGE_SUPPORTED)");
    let fault =
        |failure: &Failure| matches!(failure, Failure::Fault { fault, .. } if *fault == missing);
    assert!(bench.failures.iter().any(fault), "{:?}", bench.failures);
}

/// D11: wrong lengths and methods, no KE payload, two of them, a key that is none.
fn useless(length: usize) -> Vec<Vec<Payload>> {
    let of = |ke| vec![Payload::KeyExchange(ke)];
    vec![
        vec![],
        of(ml_kem(&[])),
        of(ml_kem(&vec![0; length - 1])),
        of(ml_kem(&vec![0; length + 1])),
        of(ke(35, &vec![0; length])),
        of(ke(31, &[9; 32])),
        [of(ml_kem(&vec![0; length])), of(ml_kem(&vec![0; length]))].concat(),
    ]
}

#[test]
fn useless_public_values_end_the_callers_attempt() {
    let mut cases = useless(KEM.public_octets());
    cases.push(vec![Payload::KeyExchange(ml_kem(&[0xff; 1184]))]);
    for payloads in cases {
        let mut bench = Bench::new(&setup());
        let mut session = called(&mut bench);
        let reply = bench.reply(&session.request(INTERMEDIATE, 1, &payloads));
        assert_eq!(kinds(&session.open(&reply)), [NotifyType::INVALID_SYNTAX]);
        assert!(matches!(
            bench.refusals[..],
            [Failure::Fault {
                exchange: INTERMEDIATE,
                ..
            }]
        ));
        bench.pass(Duration::from_secs(120));
        assert!(bench.endpoint.is_idle());
    }
}

#[test]
fn useless_public_values_end_our_attempt() {
    let mut cases = useless(KEM.ciphertext_octets());
    cases.push(vec![notify(NotifyType::INVALID_SYNTAX)]);
    for payloads in cases {
        let mut bench = Bench::new(&setup());
        let (mut session, _) = answered(&mut bench);
        assert_eq!(
            bench
                .receive(&session.response(INTERMEDIATE, 1, &payloads))
                .len(),
            0
        );
        assert_eq!(bench.failures.len(), 1, "{payloads:?}");
        assert_eq!(bench.pairs(), 0);
    }
}

/// D23: whoever has changed a message on the way is found out by AUTH.
#[test]
fn auth_covers_the_exchange() {
    for edit in [
        (|session| session.int_auth.clear()) as fn(&mut Session),
        |session| session.int_auth[0] ^= 1,
        |session| session.int_auth[40] ^= 1,
        |session| *session.int_auth.last_mut().unwrap() = 1,
    ] {
        let mut bench = Bench::new(&setup());
        let mut session = called(&mut bench);
        intermediate(&mut bench, &mut session);
        edit(&mut session);
        let payloads = session.auth_payloads();
        let reply = bench.reply(&session.request(AUTH, 2, &payloads));
        assert_eq!(
            kinds(&session.open(&reply)),
            [NotifyType::AUTHENTICATION_FAILED]
        );
        assert_eq!(bench.pairs(), 0);
    }
}

/// A request for an heir with both key exchanges; the link of its answer.
fn asks_for_heir(bench: &mut Bench, session: &mut Session, id: u32) -> Vec<u8> {
    let payloads = Half::hybrid(9).heir_payloads();
    let reply = bench.reply(&session.request(CREATE, id, &payloads));
    link_of(&session.open(&reply)).unwrap()
}

fn follow_up(link_data: &[u8]) -> Vec<Payload> {
    let key = ml_kem(KEM.generate(&mut rng()).public());
    vec![Payload::KeyExchange(key), link(link_data)]
}

/// RFC 9370 §2.2.4: who comes too late, or with another link, or with none before, hears so, and the SA
/// stays.
#[test]
fn a_follow_up_of_nothing_finds_no_state() {
    let not_found = [NotifyType::STATE_NOT_FOUND];
    let mut bench = Bench::new(&setup());
    let mut session = up_as_initiator(&mut bench);
    let ask = |bench: &mut Bench, session: &mut Session, id, payloads: &[Payload]| {
        let reply = bench.reply(&session.request(FOLLOW_UP, id, payloads));
        session.open(&reply)
    };
    let said = ask(&mut bench, &mut session, 3, &follow_up(b"nothing"));
    assert_eq!(kinds(&said), not_found);

    let known = asks_for_heir(&mut bench, &mut session, 4);
    let said = ask(&mut bench, &mut session, 5, &follow_up(b"another"));
    assert_eq!(kinds(&said), not_found);
    let said = ask(
        &mut bench,
        &mut session,
        6,
        &without(follow_up(&known), &link(b"")),
    );
    assert_eq!(kinds(&said), not_found);
    bench.pass(limits::FOLLOW_UP_WAIT);
    let said = ask(&mut bench, &mut session, 7, &follow_up(&known));
    assert_eq!(kinds(&said), not_found);
    assert_eq!((bench.pairs(), bench.down.len()), (1, 0));

    // In time it is taken, once.
    let known = asks_for_heir(&mut bench, &mut session, 8);
    let said = ask(&mut bench, &mut session, 9, &follow_up(&known));
    assert!(matches!(said[..], [Payload::KeyExchange(_)]), "{said:?}");
    let said = ask(&mut bench, &mut session, 10, &follow_up(&known));
    assert_eq!(kinds(&said), not_found);
}

/// A public value that is none costs the exchange, not the SA.
#[test]
fn a_follow_up_with_a_useless_public_value() {
    for payloads in useless(KEM.public_octets()) {
        let mut bench = Bench::new(&setup());
        let mut session = up_as_initiator(&mut bench);
        let known = asks_for_heir(&mut bench, &mut session, 3);
        let payloads = [payloads, vec![link(&known)]].concat();
        let reply = bench.reply(&session.request(FOLLOW_UP, 4, &payloads));
        assert_eq!(kinds(&session.open(&reply)), [NotifyType::INVALID_SYNTAX]);
        assert_eq!((bench.pairs(), bench.down.len()), (1, 0));
    }
}

/// An IKE SA with both key exchanges is not rekeyed to one with less.
#[test]
fn a_weaker_heir_is_refused() {
    let mut bench = Bench::new(&setup());
    let mut session = up_as_initiator(&mut bench);
    let reply = bench.reply(&session.request(CREATE, 3, &Half::new(9).heir_payloads()));
    assert_eq!(
        kinds(&session.open(&reply)),
        [NotifyType::NO_PROPOSAL_CHOSEN]
    );

    // Nor does it ask for one, or take one that is answered.
    let request = bench.rekey_ike();
    let offered = session.open(&request);
    let Payload::SecurityAssociation(proposals) = &offered[0] else {
        panic!("{offered:?}");
    };
    assert_eq!(proposals.len(), 1);
    bench.receive(&session.response(CREATE, 0, &Half::new(9).heir_payloads()));
    assert_eq!(bench.down.len(), 1);
}

/// What comes of an answer to our CREATE_CHILD_SA, and of one to our IKE_FOLLOWUP_KE.
#[test]
fn answers_that_lead_nowhere_leave_the_sa() {
    let mut bench = Bench::new(&setup());
    let mut session = up_as_initiator(&mut bench);
    bench.rekey_ike();
    let heir = Half::hybrid(9).heir_payloads();
    assert!(
        bench
            .receive(&session.response(CREATE, 0, &heir))
            .is_empty()
    );
    assert_eq!(bench.failures.len(), 1, "no link");

    bench.rekey_ike();
    let linked = [heir.clone(), vec![link(b"x")]].concat();
    let follow_up = bench.reply(&session.response(CREATE, 1, &linked));
    assert_eq!(link_of(&session.open(&follow_up)).unwrap(), b"x");
    let gone = [notify(NotifyType::STATE_NOT_FOUND)];
    assert!(
        bench
            .receive(&session.response(FOLLOW_UP, 2, &gone))
            .is_empty()
    );
    assert_eq!((bench.pairs(), bench.down.len()), (1, 0));
    // Once more from the start, soon.
    let again = bench.pass(limits::TEMPORARY_WAIT.1);
    assert_eq!(header_of(&again[0]).exchange, CREATE);
    assert_eq!(bench.failures.len(), 1);

    // RFC 9370 §2.2.4: the peer's own request is too late for a comparison of nonces.
    bench.receive(&session.response(CREATE, 3, &linked));
    let crossing = Half::hybrid(10).heir_payloads();
    let reply = bench.receive(&session.request(CREATE, 3, &crossing));
    assert_eq!(
        kinds(&session.open(&reply[0])),
        [NotifyType::TEMPORARY_FAILURE]
    );
}
