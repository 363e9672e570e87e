//! Long messages in fragments (RFC 7383), over paths that carry no long datagrams, and from peers that
//! divide theirs as they like.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use secure_gre_ike::error::{Drop, Failure};
use secure_gre_ike::event::GoneReason;
use secure_gre_ike::limits;
use secure_gre_ike::wire::{Datagram, ExchangeType, NotifyType, Payload, PayloadType};
use secure_gre_sim::{Frame, Quality};
use support::bench::{Bench, fresh};
use support::puppet::{Half, Session, clear, notify, up_as_initiator};
use support::tap;
use support::{A, LONG, MINUTES, Setup, connect, leave_without_a_trace, one_working_pair, pair};

const AUTH: ExchangeType = ExchangeType::IKE_AUTH;
const INFORMATIONAL: ExchangeType = ExchangeType::INFORMATIONAL;

/// Octets of IP and UDP around an IKE message on port 500 over IPv4.
const AROUND: usize = 28;

/// One that has much to offer: its IKE_AUTH request is longer than two datagrams.
fn talkative() -> Setup {
    let mut esp = vec!["aes128gcm16-aes256gcm16-esn-noesn"; 60];
    esp.push("aes256gcm16");
    Setup {
        esp,
        ..Setup::default()
    }
}

/// The path carries IP datagrams of at most so many octets.
fn path_of(datagram_octets: usize) -> Quality {
    Quality {
        octets_max: datagram_octets - AROUND,
        ..Quality::PERFECT
    }
}

/// The parts of the IKE_AUTH request in these frames.
fn auth_requests(frames: &[Frame]) -> Vec<&Frame> {
    let is_request = |frame: &&Frame| {
        let header = Datagram::parse(&frame.bytes).unwrap().header;
        header.exchange == AUTH && !header.response
    };
    frames.iter().filter(is_request).collect()
}

fn total(frame: &Frame) -> u16 {
    let place = Datagram::parse(&frame.bytes).unwrap().place();
    place.map_or(1, |place| place.total())
}

/// RFC 7383 §2.5.1: nothing is longer than what every path carries.
#[test]
fn long_messages_are_divided_at_once() {
    let mut sim = pair(1, talkative(), Setup::default());
    sim.set_quality(path_of(limits::DATAGRAM_OCTETS));
    let frames = tap::record(&mut sim);
    connect(&mut sim, A);
    sim.run_until(Duration::from_secs(1), one_working_pair)
        .unwrap();
    let frames = frames.borrow();
    let requests = auth_requests(&frames);
    assert!(requests.len() > 1);
    assert!(
        requests
            .iter()
            .all(|frame| usize::from(total(frame)) == requests.len())
    );
}

/// D24, RFC 7383 §2.3: only if both say that they take them. Otherwise a message is as long as it is.
#[test]
fn nothing_is_divided_that_one_end_would_not_take() {
    let without = |setup: Setup| Setup {
        fragmentation: false,
        ..setup
    };
    for (a, b) in [
        (without(talkative()), Setup::default()),
        (talkative(), without(Setup::default())),
    ] {
        let mut sim = pair(1, a.clone(), b.clone());
        connect(&mut sim, A);
        sim.run_until(MINUTES, one_working_pair).unwrap();
        assert_eq!(sim.trace().entries().len(), 4 * 2);

        let mut sim = pair(1, a, b);
        sim.set_quality(path_of(limits::DATAGRAM_OCTETS));
        connect(&mut sim, A);
        sim.run_until(LONG, |sim| !sim.node(A).failures.is_empty())
            .unwrap();
        assert!(matches!(
            sim.node(A).failures[..],
            [Failure::NoAnswer { exchange: AUTH, .. }]
        ));
    }
}

/// D25, D2, RFC 7383 §2.5.2: what gets no answer is repeated as it was, and then goes on in smaller
/// fragments, of which there are more.
#[test]
fn a_narrow_path_is_found_by_smaller_fragments() {
    let mut sim = pair(1, talkative(), Setup::default());
    sim.set_quality(path_of(limits::LEAST_DATAGRAM_OCTETS_V4));
    let frames = tap::record(&mut sim);
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    assert!(sim.node(A).failures.is_empty());
    let frames = frames.borrow();
    let mut times_sent: BTreeMap<(u16, &[u8]), u32> = BTreeMap::new();
    for frame in auth_requests(&frames) {
        *times_sent.entry((total(frame), &frame.bytes)).or_default() += 1;
    }
    let totals: Vec<_> = times_sent.keys().map(|(total, _)| *total).collect();
    let (large, small) = (totals[0], *totals.last().unwrap());
    assert!(large < small);
    assert_eq!(totals.len(), usize::from(large + small));
    for ((total, _), times) in times_sent {
        let expected = if total == large {
            limits::TRANSMISSIONS_OF_ONE_SIZE
        } else {
            1
        };
        assert_eq!(times, expected, "a fragment of {total}");
    }
}

/// Loss, duplication and reordering of everything, on a path that carries nothing whole.
#[test]
fn fragments_come_through_a_bad_network() {
    for seed in 0..100 {
        let mut sim = pair(seed, talkative(), talkative());
        let octets_max = if seed % 2 == 0 {
            limits::DATAGRAM_OCTETS
        } else {
            limits::LEAST_DATAGRAM_OCTETS_V4
        };
        let base = if seed % 3 == 0 {
            Quality::HOSTILE
        } else {
            Quality::LOSSY
        };
        sim.set_quality(Quality {
            octets_max: octets_max - AROUND,
            ..base
        });
        connect(&mut sim, A);
        connect(&mut sim, support::B);
        sim.run_until(LONG * 3, one_working_pair)
            .unwrap_or_else(|stuck| panic!("seed {seed}: {stuck}"));
        sim.set_quality(path_of(limits::LEAST_DATAGRAM_OCTETS_V4));
        sim.run_for(LONG).unwrap();
        assert!(one_working_pair(&sim), "seed {seed}");
        leave_without_a_trace(&mut sim);
    }
}

/// The puppet has called, saying that it takes fragments, and the endpoint does too.
fn half_way(bench: &mut Bench) -> Session {
    let half = Half::new(1);
    let mut payloads = half.payloads();
    payloads.push(notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED));
    let request = half.request(&payloads);
    let response = bench.reply(&request);
    let agreed = clear(&response).contains(&notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED));
    assert!(agreed);
    half.called(request, response)
}

/// IKE_AUTH of the puppet's, in fragments.
fn auth_in_fragments(session: &mut Session, most: usize) -> Vec<Vec<u8>> {
    let payloads = session.auth_payloads();
    let header = session.header(AUTH, 1, false);
    session.fragments(&header, &payloads, most)
}

fn up(bench: &mut Bench) -> Session {
    let mut session = half_way(bench);
    let fragments = auth_in_fragments(&mut session, 172);
    let replies: Vec<_> = fragments
        .iter()
        .flat_map(|one| bench.receive(one))
        .collect();
    session.open_all(&replies);
    assert_eq!(bench.pairs(), 1);
    session
}

/// RFC 7383 §2.6: in any order; the reply is as small as what was received (§2.5.1), and it comes once
/// all are there.
#[test]
fn a_request_in_fragments_is_answered_in_fragments() {
    for reversed in [false, true] {
        let mut bench = fresh();
        let mut session = half_way(&mut bench);
        let mut fragments = auth_in_fragments(&mut session, 120);
        assert!(fragments.len() > 2);
        if reversed {
            fragments.reverse();
        }
        let last = fragments.pop().unwrap();
        for fragment in &fragments {
            assert!(bench.receive(fragment).is_empty());
            bench.drops(fragment, Drop::Fragment);
        }
        let reply = bench.receive(&last);
        assert!(reply.len() > 1 && reply.iter().all(|part| part.len() <= 120));
        let payloads = session.open_all(&reply);
        assert!(matches!(payloads[0], Payload::IdResponder(_)));
        assert_eq!(bench.pairs(), 1);
    }
}

/// A peer may fragment even what fits (D24), and into one.
#[test]
fn a_single_fragment_is_a_message() {
    let mut bench = fresh();
    let mut session = up(&mut bench);
    let header = session.header(INFORMATIONAL, 2, false);
    let single = session.sealed_fragment(&header, PayloadType::NONE, (1, 1), &[]);
    assert_eq!(session.open_all(&bench.receive(&single)), []);
}

/// D25, RFC 7383 §2.6.1: of an answered request the first fragment asks for the reply again, and gets
/// it bit by bit the same; the others are nothing.
#[test]
fn only_the_first_fragment_asks_again() {
    let mut bench = fresh();
    let mut session = half_way(&mut bench);
    let fragments = auth_in_fragments(&mut session, 172);
    let reply: Vec<_> = fragments
        .iter()
        .flat_map(|one| bench.receive(one))
        .collect();
    for _ in 0..3 {
        assert_eq!(bench.receive(&fragments[0]), reply);
        for other in &fragments[1..] {
            bench.drops(other, Drop::MessageId);
        }
    }
}

/// RFC 7383 §2.5.2: a peer that got no answer goes on in smaller fragments. The request is not
/// processed twice, before or after the answer.
#[test]
fn a_request_that_is_divided_anew_is_the_same_request() {
    let mut bench = fresh();
    let mut session = half_way(&mut bench);
    let large = auth_in_fragments(&mut session, 172);
    let small = auth_in_fragments(&mut session, 120);
    assert!(large.len() < small.len());
    assert!(bench.receive(&large[0]).is_empty());
    let replies: Vec<_> = small.iter().flat_map(|one| bench.receive(one)).collect();
    session.open_all(&replies);
    let installed = bench.inbound.len();

    let smaller = auth_in_fragments(&mut session, 100);
    assert_eq!(bench.receive(&smaller[0]), replies);
    for late in large.iter().chain(&small[1..]).chain(&smaller[1..]) {
        bench.drops(late, Drop::MessageId);
    }
    let mut forged = smaller[0].clone();
    *forged.last_mut().unwrap() ^= 1;
    bench.drops(&forged, Drop::MessageId);
    assert_eq!((bench.inbound.len(), bench.pairs()), (installed, 1));
}

/// D20, D25, SECURITY lesson 22: nothing forged is stored, takes the place of what is genuine, or
/// ends what goes on.
#[test]
fn forged_fragments_do_no_harm() {
    let mut bench = fresh();
    let mut session = half_way(&mut bench);
    let genuine = auth_in_fragments(&mut session, 172);
    for fragment in &genuine {
        for bit in (28 * 8..fragment.len() * 8).step_by(3) {
            let mut forged = fragment.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let before = bench.counters().values().sum::<u64>();
            assert!(bench.receive(&forged).is_empty());
            assert_eq!(bench.counters().values().sum::<u64>(), before + 1);
        }
    }
    let replies: Vec<_> = genuine.iter().flat_map(|one| bench.receive(one)).collect();
    session.open_all(&replies);
    assert_eq!(bench.pairs(), 1);
}

/// D24, D25: numbers that no fragment has; a total beyond the bound; and a next payload where it means
/// nothing.
#[test]
fn numbers_out_of_bounds() {
    let mut bench = fresh();
    let mut session = up(&mut bench);
    let header = session.header(INFORMATIONAL, 2, false);
    let none = PayloadType::NONE;
    let beyond = u16::try_from(limits::FRAGMENTS).unwrap() + 1;
    for (place, reason) in [
        ((0, 2), Drop::Unauthenticated),
        ((0, 0), Drop::Unauthenticated),
        ((3, 2), Drop::Unauthenticated),
        ((1, beyond), Drop::Fragment),
        ((1, u16::MAX), Drop::Fragment),
    ] {
        bench.drops(&session.sealed_fragment(&header, none, place, &[]), reason);
    }
    let second = session.sealed_fragment(&header, PayloadType::DELETE, (2, 2), &[]);
    assert!(bench.receive(&second).is_empty());
    let first = session.sealed_fragment(&header, none, (1, 2), &[]);
    assert_eq!(session.open_all(&bench.receive(&first)), []);
}

/// SECURITY lesson 22: bounded in octets, also for a peer that holds the keys, which every half-open
/// one does.
#[test]
fn a_message_without_end_is_let_go_of() {
    let mut bench = fresh();
    let mut session = half_way(&mut bench);
    let header = session.header(AUTH, 1, false);
    let part = vec![0; 1_000];
    let mut kept = 0;
    for number in 1..=64 {
        let place = (number, 64);
        let datagram = session.sealed_fragment(&header, PayloadType::VENDOR_ID, place, &part);
        bench.receive(&datagram);
        if bench.counters()[&Drop::Fragment] > 0 {
            break;
        }
        kept += part.len();
    }
    assert!(kept <= limits::REASSEMBLED_OCTETS);
    assert!(kept > limits::REASSEMBLED_OCTETS - part.len());
    let reply = session.auth_payloads();
    bench.reply(&session.request(AUTH, 1, &reply));
    assert_eq!(bench.pairs(), 1);
}

/// Bounded in time: a half-open SA does not live longer for its fragments, and a live one lets go of
/// them.
#[test]
fn fragments_are_not_waited_for_without_end() {
    let mut bench = fresh();
    let mut session = half_way(&mut bench);
    let fragments = auth_in_fragments(&mut session, 172);
    bench.pass(limits::HALF_OPEN - Duration::from_millis(1));
    bench.receive(&fragments[0]);
    bench.pass(Duration::from_millis(1));
    assert!(bench.endpoint.is_idle());

    let mut bench = fresh();
    let mut session = up(&mut bench);
    let header = session.header(INFORMATIONAL, 2, false);
    let mut part = |number| session.sealed_fragment(&header, PayloadType::NONE, (number, 2), &[]);
    let (first, second) = (part(1), part(2));
    assert!(bench.receive(&first).is_empty());
    bench.pass(limits::REASSEMBLY);
    assert!(bench.receive(&second).is_empty());
    assert_eq!(bench.receive(&first).len(), 1);
}

/// Fragments that nobody agreed to are no message.
#[test]
fn fragments_without_agreement_are_dropped() {
    let mut bench = fresh();
    let mut session = up_as_initiator(&mut bench, 1);
    let header = session.header(INFORMATIONAL, 2, false);
    let single = session.sealed_fragment(&header, PayloadType::NONE, (1, 1), &[]);
    bench.drops(&single, Drop::Unauthenticated);
    assert_eq!(
        bench.receive(&session.request(INFORMATIONAL, 2, &[])).len(),
        1
    );
}

/// RFC 7296 §2.21.3: authentic fragments of nonsense are a fault of the peer's.
#[test]
fn authentic_nonsense_in_fragments_ends_the_sa() {
    let mut bench = fresh();
    let mut session = up(&mut bench);
    let header = session.header(INFORMATIONAL, 2, false);
    let mut part =
        |number| session.sealed_fragment(&header, PayloadType::NOTIFY, (number, 2), &[0, 0, 0]);
    let (first, second) = (part(1), part(2));
    assert!(bench.receive(&first).is_empty());
    let reply = bench.receive(&second);
    assert_eq!(
        session.open_all(&reply),
        [notify(NotifyType::INVALID_SYNTAX)]
    );
    assert_eq!(bench.down, [GoneReason::PeerFault]);
}

/// Our request's answer in fragments.
#[test]
fn an_answer_in_fragments_completes_the_exchange() {
    let mut bench = fresh();
    let [request] = bench.connect().try_into().unwrap();
    let half = Half::new(1);
    let mut payloads = half.payloads();
    payloads.push(notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED));
    let response = half.response(&request, &payloads);
    bench.reply(&response);
    let mut session = half.answered(request, response);
    let payloads = session.auth_payloads();
    let header = session.header(AUTH, 1, true);
    let fragments = session.fragments(&header, &payloads, 120);
    for fragment in fragments.iter().rev() {
        assert_eq!(bench.pairs(), 0);
        assert!(bench.receive(fragment).is_empty());
    }
    assert_eq!(bench.pairs(), 1);
    for fragment in &fragments {
        bench.drops(fragment, Drop::UnexpectedResponse);
    }
}
