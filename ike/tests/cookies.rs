//! COOKIE (RFC 7296 §2.6): a responder under load keeps nothing before an initiator has shown that it
//! receives at its address.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use secure_gre_ike::config::HalfOpenLimits;
use secure_gre_ike::error::{Drop, Failure};
use secure_gre_ike::event::Path;
use secure_gre_ike::wire::{self, ExchangeType, IkeSpi, Notify, NotifyType, Payload};
use support::bench::{Bench, at};
use support::puppet::{Half, clear, header_of};
use support::{A, B, MINUTES, Setup, connect, leave_without_a_trace, one_working_pair, pair};

fn limits(cookies_from: usize, limit: usize) -> Setup {
    Setup {
        half_open: HalfOpenLimits {
            cookies_from,
            limit,
        },
        ..Setup::default()
    }
}

fn cookie(data: &[u8]) -> Payload {
    Payload::Notify(Notify::with_data(NotifyType::COOKIE, data.to_vec()))
}

/// What a responder without state says to this request: the responder's SPI is 0 (D7).
fn stateless(request: &[u8], payload: Payload) -> Vec<u8> {
    let header = wire::Header {
        responder: IkeSpi::NONE,
        from_initiator: false,
        response: true,
        ..header_of(request)
    };
    wire::encode(&header, &[payload])
}

#[test]
fn a_cookie_costs_one_round_trip() {
    let mut sim = pair(1, Setup::default(), limits(0, 10));
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    assert_eq!(sim.trace().entries().len(), 6 * 2);
    assert_eq!(sim.node(B).dropped(), 1);
    leave_without_a_trace(&mut sim);
}

#[test]
fn both_ask_for_cookies_and_call_at_once() {
    for seed in 0..50 {
        let mut sim = pair(seed, limits(0, 10), limits(0, 10));
        sim.set_quality(secure_gre_sim::Quality::LOSSY);
        connect(&mut sim, A);
        connect(&mut sim, B);
        sim.run_for(MINUTES * 5).unwrap();
        assert!(one_working_pair(&sim), "seed {seed}");
        leave_without_a_trace(&mut sim);
    }
}

/// D9, D1: the cookie is the first payload, and all else is what it was: SPI, message ID, proposals,
/// public value, nonce.
#[test]
fn the_cookie_comes_first_and_all_else_stays() {
    for octets in [1, 64] {
        let mut bench = Bench::new(&Setup::default());
        let [first] = bench.connect().try_into().unwrap();
        let data = vec![7; octets];
        let again = bench.reply(&stateless(&first, cookie(&data)));
        let mut expected = clear(&first);
        expected.insert(0, cookie(&data));
        assert_eq!(again, wire::encode(&header_of(&first), &expected));
    }
}

/// RFC 7296 §2.6: 1 to 64 octets.
#[test]
fn cookies_of_the_wrong_length_are_dropped() {
    for octets in [0, 65, 2000] {
        let mut bench = Bench::new(&Setup::default());
        let [first] = bench.connect().try_into().unwrap();
        bench.drops(
            &stateless(&first, cookie(&vec![7; octets])),
            Drop::Malformed,
        );
    }
}

/// D10: strongSwan asks for a new cookie each time in its first seconds. The new one is used, with
/// the next repetition: a peer that always wants another does not make us spin.
#[test]
fn another_cookie_is_returned_without_haste() {
    let mut bench = Bench::new(&Setup::default());
    let [first] = bench.connect().try_into().unwrap();
    bench.reply(&stateless(&first, cookie(&[1; 8])));
    for round in 2..5 {
        assert!(
            bench
                .receive(&stateless(&first, cookie(&[round; 8])))
                .is_empty()
        );
        let again = bench.pass(Duration::from_secs(8));
        assert_eq!(clear(&again[0])[0], cookie(&[round; 8]));
    }
}

/// A peer that is never content ends as one that never answers.
#[test]
fn the_schedule_bounds_how_often_cookies_are_tried() {
    let mut bench = Bench::new(&Setup::default());
    let [first] = bench.connect().try_into().unwrap();
    let mut sent = 1;
    for round in 0..200 {
        sent += bench.receive(&stateless(&first, cookie(&[round; 8]))).len();
        sent += bench.pass(Duration::from_millis(500)).len();
        if !bench.failures.is_empty() {
            break;
        }
    }
    assert_eq!(sent, 8);
    assert!(matches!(bench.failures[..], [Failure::NoAnswer { .. }]));
}

/// D18, RFC 7296 §2.15: AUTH signs the request that was sent, also when a later cookie has come that
/// was not returned yet. (It was signed before it was ever sent.)
#[test]
fn auth_signs_what_was_sent_last() {
    let mut bench = Bench::new(&Setup::default());
    let [first] = bench.connect().try_into().unwrap();
    let second = bench.reply(&stateless(&first, cookie(&[1; 8])));
    assert!(
        bench
            .receive(&stateless(&first, cookie(&[2; 8])))
            .is_empty()
    );

    let half = Half::new(1);
    let response = half.response(&second, &half.payloads());
    let auth = bench.reply(&response);
    let session = half.answered(second, response);
    assert!(session.vouches_for(&auth));
}

/// D10, RFC 7296 §2.6.1: the group is wrong and a cookie is wanted, in both orders.
#[test]
fn cookie_and_invalid_ke_in_either_order() {
    let group = || {
        Payload::Notify(Notify::with_data(
            NotifyType::INVALID_KE_PAYLOAD,
            vec![0, 19],
        ))
    };
    let setup = Setup {
        ike: vec!["aes256gcm16-prfsha256-x25519-ecp256"],
        ..Setup::default()
    };
    for cookie_first in [true, false] {
        let mut bench = Bench::new(&setup);
        let [first] = bench.connect().try_into().unwrap();
        let demands = if cookie_first {
            [cookie(&[1; 8]), group()]
        } else {
            [group(), cookie(&[1; 8])]
        };
        let mut last = Vec::new();
        for demand in demands {
            last = bench.reply(&stateless(&first, demand));
        }
        let payloads = clear(&last);
        assert_eq!(payloads[0], cookie(&[1; 8]));
        assert!(
            payloads
                .iter()
                .any(|payload| matches!(payload, Payload::KeyExchange(ke) if ke.group == 19))
        );
        assert_eq!(header_of(&last), header_of(&first));
    }
}

/// As the responder: the cookie outlives the INVALID_KE_PAYLOAD (D10).
#[test]
fn our_cookie_holds_for_the_second_group_too() {
    let a = Setup {
        ike: vec!["aes256gcm16-prfsha256-x25519-ecp256"],
        ..Setup::default()
    };
    let b = Setup {
        ike: vec!["aes256gcm16-prfsha256-ecp256"],
        ..limits(0, 10)
    };
    let mut sim = pair(1, a, b);
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    // COOKIE, INVALID_KE_PAYLOAD, IKE_SA_INIT, IKE_AUTH.
    assert_eq!(sim.trace().entries().len(), 8 * 2);
}

fn from_port(bench: &Bench, port: u16) -> Path {
    Path {
        remote: at(B, port),
        ..bench.path
    }
}

/// Of `count` calls from forged sources, the answers.
fn flood(bench: &mut Bench, count: u16) -> Vec<Vec<u8>> {
    (0..count)
        .flat_map(|number| {
            let half = Half::new(u64::from(number) + 100);
            let path = from_port(bench, 1000 + number);
            bench.receive_on(path, &half.request(&half.payloads()))
        })
        .collect()
}

/// RFC 7296 §2.6: a forged source never sees its cookie, so nothing is kept for it, and an honest
/// initiator comes through.
#[test]
fn a_flood_from_forged_sources_leaves_nothing() {
    let mut bench = Bench::new(&limits(0, 10));
    let answers = flood(&mut bench, 500);
    assert!(answers.iter().all(
        |answer| matches!(&clear(answer)[..], [Payload::Notify(n)] if n.kind == NotifyType::COOKIE)
    ));
    assert_eq!(answers.len(), 500);
    assert!(bench.endpoint.is_idle());
    assert_eq!(bench.counters()[&Drop::Cookie], 500);

    let half = Half::new(1);
    let request = half.request(&half.payloads());
    let asked = bench.reply(&request);
    let mut payloads = half.payloads();
    payloads.insert(0, clear(&asked).remove(0));
    let request = half.request(&payloads);
    let response = bench.reply(&request);
    let mut session = half.called(request, response);
    let auth = session.auth_payloads();
    let auth = session.request(ExchangeType::IKE_AUTH, 1, &auth);
    bench.reply(&auth);
    assert_eq!(bench.pairs(), 1);
}

/// Cookies are asked for only from the limit on, and not any more when the half-open SAs are over.
#[test]
fn cookies_from_the_limit_on() {
    let mut bench = Bench::new(&limits(5, 10));
    let answers = flood(&mut bench, 20);
    let cookies = answers
        .iter()
        .filter(|answer| clear(answer).len() == 1)
        .count();
    assert_eq!((answers.len(), cookies), (20, 15));
    bench.pass(Duration::from_secs(31));
    assert!(bench.endpoint.is_idle());
    assert_eq!(
        flood(&mut bench, 5)
            .iter()
            .filter(|answer| clear(answer).len() == 1)
            .count(),
        0
    );
}

/// Under the cap, the oldest half-open SA gives way to a newcomer, not one that has come far.
#[test]
fn the_oldest_half_open_sa_gives_way() {
    let mut bench = Bench::new(&limits(100, 3));
    let mut sessions: Vec<_> = (0..5)
        .map(|seed| {
            bench.pass(Duration::from_millis(10));
            support::puppet::half_way_as_initiator(&mut bench, seed)
        })
        .collect();
    for (number, session) in sessions.iter_mut().enumerate() {
        let payloads = session.auth_payloads();
        let auth = session.request(ExchangeType::IKE_AUTH, 1, &payloads);
        if number < 2 {
            bench.drops(&auth, Drop::UnknownSpi);
        } else {
            bench.receive(&auth);
        }
    }
    assert_eq!(bench.pairs(), 3);
}

/// A call that is refused needs no room: it evicts nobody.
#[test]
fn a_refused_call_evicts_nobody() {
    let mut bench = Bench::new(&limits(100, 1));
    let mut session = support::puppet::half_way_as_initiator(&mut bench, 1);
    let half = Half::new(2);
    let mut payloads = half.payloads();
    support::puppet::put(
        &mut payloads,
        Payload::SecurityAssociation(support::puppet::ike_proposals(
            "aes128gcm16-prfsha512-ecp384",
        )),
    );
    bench.receive(&half.request(&payloads));
    let payloads = session.auth_payloads();
    let auth = session.request(ExchangeType::IKE_AUTH, 1, &payloads);
    bench.reply(&auth);
    assert_eq!(bench.pairs(), 1);
}

/// The puppet's call with the cookie that it was asked for.
fn with_cookie(half: &Half, asked: &[u8]) -> Vec<u8> {
    let mut payloads = half.payloads();
    payloads.insert(0, clear(asked).remove(0));
    half.request(&payloads)
}

fn completes(bench: &mut Bench, half: Half, request: Vec<u8>, response: Vec<u8>) {
    let mut session = half.called(request, response);
    let payloads = session.auth_payloads();
    let auth = session.request(ExchangeType::IKE_AUTH, 1, &payloads);
    bench.reply(&auth);
    assert_eq!(bench.pairs(), 1);
}

/// D9: in the moment in which the endpoint begins, its cookie is as good as later: the same each time,
/// and taken.
#[test]
fn cookies_hold_from_the_first_second() {
    let mut bench = Bench::new(&limits(0, 10));
    let half = Half::new(1);
    let request = half.request(&half.payloads());
    let asked = bench.reply(&request);
    assert_eq!(bench.reply(&request), asked);
    let request = with_cookie(&half, &asked);
    let response = bench.reply(&request);
    completes(&mut bench, half, request, response);
}

/// Under load a call is asked for a cookie, and a late copy of it is answered when the load is over: the
/// caller, which has gone on with the cookie, signs that request (D18, RFC 7296 §2.15).
#[test]
fn a_load_that_rises_and_falls_costs_no_attempt() {
    for cookie_first in [true, false] {
        let mut bench = Bench::new(&limits(1, 10));
        let other = Half::new(2);
        bench.reply(&other.request(&other.payloads()));
        let half = Half::new(1);
        let request = half.request(&half.payloads());
        let asked = bench.reply(&request);
        bench.pass(Duration::from_secs(31));
        let response = bench.reply(&request);
        assert!(clear(&response).len() > 1);
        let returned = with_cookie(&half, &asked);
        assert_eq!(bench.reply(&returned), response);
        assert_eq!(bench.endpoint.half_open(), 1);
        let signed = if cookie_first { returned } else { request };
        completes(&mut bench, half, signed, response);
    }
}

/// Nobody else can put a request in the place of the one that was answered.
#[test]
fn a_call_that_is_under_way_is_not_replaced() {
    let mut bench = Bench::new(&limits(1, 10));
    let half = Half::new(1);
    let request = half.request(&half.payloads());
    let response = bench.reply(&request);
    let forged = stateless(&request, cookie(&[7; 33]));
    bench.drops(&with_cookie(&half, &forged), Drop::MessageId);
    let mut other = half.payloads();
    other.push(Payload::VendorId(vec![1]));
    bench.drops(&half.request(&other), Drop::MessageId);
    completes(&mut bench, half, request, response);
}

/// RFC 7296 §2.6: as the initiator. The answer to the first request was lost and its repetition is asked
/// for a cookie; a cookie that comes after the answer is nothing.
#[test]
fn a_cookie_in_answer_to_a_repetition() {
    let mut bench = Bench::new(&Setup::default());
    let [first] = bench.connect().try_into().unwrap();
    bench.pass(Duration::from_millis(500));
    let second = bench.reply(&stateless(&first, cookie(&[1; 8])));
    let half = Half::new(1);
    let response = half.response(&second, &half.payloads());
    let auth = bench.reply(&response);
    bench.drops(&stateless(&first, cookie(&[2; 8])), Drop::UnknownSpi);
    let mut session = half.answered(second, response);
    assert!(session.vouches_for(&auth));
    let payloads = session.auth_payloads();
    bench.receive(&session.response(ExchangeType::IKE_AUTH, 1, &payloads));
    assert_eq!(bench.pairs(), 1);
}

/// SECURITY §2: 16 half-open SAs for an address. From there on a caller has to show that it receives
/// there, although there is no load; then the oldest one of the address gives way, and no other.
#[test]
fn one_address_has_sixteen() {
    let most = secure_gre_ike::limits::HALF_OPEN_PER_ADDRESS;
    let mut bench = Bench::new(&limits(1000, 1000));
    let answers = flood(&mut bench, 100);
    let answered = answers.iter().filter(|answer| clear(answer).len() > 1);
    assert_eq!((answered.count(), answers.len()), (most, 100));
    assert_eq!(bench.endpoint.half_open(), most);

    let half = Half::new(1);
    let asked = bench.reply(&half.request(&half.payloads()));
    let request = with_cookie(&half, &asked);
    let response = bench.reply(&request);
    assert_eq!(bench.endpoint.half_open(), most);
    completes(&mut bench, half, request, response);
    assert_eq!(bench.endpoint.half_open(), most - 1);
}

/// SECURITY §2: whatever strangers send, what is kept is bounded, each datagram is counted or answered,
/// and an honest peer gets through in the middle of it.
#[test]
fn a_hundred_thousand_messages_of_strangers() {
    let mut bench = Bench::new(&limits(5, 10));
    let half = Half::new(1);
    let call = half.request(&half.payloads());
    let stranger = Path {
        remote: at("198.51.100.66".parse().unwrap(), 500),
        ..bench.path
    };
    let mut answered = 0;
    for number in 0..100_000_u32 {
        let mut datagram = call.clone();
        datagram[4..8].copy_from_slice(&number.to_be_bytes());
        let path = match number % 5 {
            0 => stranger,
            1 => from_port(&bench, u16::try_from(number % 60_000).unwrap()),
            2 => {
                datagram[18] = ExchangeType::IKE_AUTH.0;
                datagram[8..12].copy_from_slice(&number.to_be_bytes());
                bench.path
            }
            3 => {
                datagram.truncate(usize::try_from(number).unwrap() % call.len());
                bench.path
            }
            _ => {
                datagram[28] = number.to_be_bytes()[3];
                bench.path
            }
        };
        answered += bench.receive_on(path, &datagram).len();
        assert!(bench.endpoint.half_open() <= 10);
    }
    let counted: u64 = bench.counters().values().sum();
    assert!(answered > 0);
    assert!(counted >= 100_000 - 10, "{counted}");

    let asked = bench.reply(&call);
    let request = with_cookie(&half, &asked);
    let response = bench.reply(&request);
    completes(&mut bench, half, request, response);
    bench.pass(Duration::from_secs(31));
    assert_eq!(bench.endpoint.half_open(), 0);
}
