//! Somebody between, or a peer, does it wrong without a proof of who it is. None of it ends an SA or
//! an attempt for good.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use secure_gre_ike::config::RemoteId;
use secure_gre_ike::error::{Drop, Failure, PeerFault};
use secure_gre_ike::event::Path;
use secure_gre_ike::wire::{self, Delete, ExchangeType, IkeSpi, NotifyType, Payload};
use support::bench::{Bench, at, completes_as_initiator, completes_as_responder, fresh};
use support::puppet::{
    Half, clear, half_way_as_initiator, half_way_as_responder, header_of, notify, put,
    up_as_initiator, up_as_responder,
};
use support::{B, Setup};

const INIT: ExchangeType = ExchangeType::IKE_SA_INIT;
const AUTH: ExchangeType = ExchangeType::IKE_AUTH;
const INFORMATIONAL: ExchangeType = ExchangeType::INFORMATIONAL;

const ERRORS: [NotifyType; 9] = [
    NotifyType::NO_PROPOSAL_CHOSEN,
    NotifyType::INVALID_SYNTAX,
    NotifyType::AUTHENTICATION_FAILED,
    NotifyType::INVALID_IKE_SPI,
    NotifyType::INVALID_SPI,
    NotifyType::INVALID_MESSAGE_ID,
    NotifyType::INVALID_MAJOR_VERSION,
    NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD,
    NotifyType(9000),
];

/// D14, RFC 7296 §2.21.1: anybody can say that IKE_SA_INIT failed. The genuine answer counts, if it
/// comes soon.
#[test]
fn refusals_of_ike_sa_init_wait_for_a_better_answer() {
    for kind in ERRORS {
        let mut bench = fresh();
        let [request] = bench.connect().try_into().unwrap();
        let half = Half::new(1);
        let forged = Half::new(2).response(&request, &[notify(kind)]);
        assert!(bench.receive(&forged).is_empty());
        bench.drops(&forged, Drop::UnexpectedResponse);
        bench.pass(Duration::from_millis(400));
        let response = half.response(&request, &half.payloads());
        assert_eq!(bench.receive(&response).len(), 1, "{kind}");
        completes_as_responder(&mut bench, half.answered(request, response));
        assert!(bench.failures.is_empty());
    }
}

/// D14, RFC 7296 §2.21.2: an error in clear for IKE_AUTH is nothing at all.
#[test]
fn refusals_in_clear_of_ike_auth_are_dropped() {
    for kind in ERRORS {
        let mut bench = fresh();
        let (session, _) = half_way_as_responder(&mut bench, 1);
        let forged = wire::encode(&session.header(AUTH, 1, true), &[notify(kind)]);
        bench.drops(&forged, Drop::Unauthenticated);
        completes_as_responder(&mut bench, session);
    }
}

/// Every bit of every octet of a protected message, at either end: dropped, counted once, and the
/// genuine one still counts.
#[test]
fn flipped_bits_of_ike_auth_are_dropped() {
    let dropped = |bench: &Bench| bench.counters().values().sum::<u64>();
    let mut bench = fresh();
    let mut session = half_way_as_initiator(&mut bench, 1);
    let payloads = session.auth_payloads();
    let request = session.request(AUTH, 1, &payloads);
    for bit in 0..request.len() * 8 {
        let mut broken = request.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        let before = dropped(&bench);
        let answers = bench.receive(&broken);
        assert_eq!(dropped(&bench), before + 1, "bit {bit}");
        let major = answers
            .iter()
            .all(|answer| clear(answer) == [notify(NotifyType::INVALID_MAJOR_VERSION)]);
        assert!(answers.is_empty() || (major && bit / 8 == 17), "bit {bit}");
    }
    for length in 0..request.len() {
        bench.drops(&request[..length], Drop::Header);
    }
    bench.reply(&request);
    assert_eq!(bench.pairs(), 1);

    let mut bench = fresh();
    let (mut session, _) = half_way_as_responder(&mut bench, 1);
    let payloads = session.auth_payloads();
    let response = session.response(AUTH, 1, &payloads);
    for bit in 0..response.len() * 8 {
        let mut broken = response.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        let before = dropped(&bench);
        bench.receive(&broken);
        assert_eq!(dropped(&bench), before + 1, "bit {bit}");
    }
    assert!(bench.receive(&response).is_empty());
    assert_eq!(bench.pairs(), 1);
}

/// IKE_SA_INIT is authenticated only afterwards, by AUTH: no broken bit of it ends in a pair.
#[test]
fn flipped_bits_of_ike_sa_init_never_make_a_pair() {
    let half = Half::new(1);
    let request = half.request(&half.payloads());
    for octet in 0..request.len() {
        let mut broken = request.clone();
        broken[octet] ^= 1 << (octet % 8);
        let mut bench = fresh();
        let answers = bench.receive(&broken);
        let Some(response) = answers.first().filter(|answer| clear(answer).len() > 1) else {
            assert_eq!(bench.counters().values().sum::<u64>(), 1, "octet {octet}");
            continue;
        };
        // The initiator signs what it sent. Its SPI may be the broken octet, and the answer goes astray.
        let mut response = response.clone();
        response[..8].copy_from_slice(&request[..8]);
        let mut session = Half::new(1).called(request.clone(), response);
        let payloads = session.auth_payloads();
        bench.receive(&session.request(AUTH, 1, &payloads));
        assert_eq!(bench.pairs(), 0, "octet {octet}");
        assert!(bench.inbound.is_empty());
    }
}

#[test]
fn flipped_bits_of_the_answer_never_make_a_pair() {
    let mut reference = fresh();
    let [request] = reference.connect().try_into().unwrap();
    let half = Half::new(1);
    let response = half.response(&request, &half.payloads());
    for octet in 0..response.len() {
        let mut broken = response.clone();
        broken[octet] ^= 1 << (octet % 8);
        let mut bench = fresh();
        bench.connect();
        bench.receive(&broken);
        let mut session = Half::new(1).answered(request.clone(), response.clone());
        let payloads = session.auth_payloads();
        bench.receive(&session.response(AUTH, 1, &payloads));
        assert_eq!(bench.pairs(), 0, "octet {octet}");
        assert!(bench.inbound.is_empty());
    }
}

/// RFC 7296 §2.23, DESIGN §1: no ICV covers the outer addresses. An IKE_AUTH that somebody relays from
/// elsewhere does not take the SA there; another port is none of our business (D4).
#[test]
fn a_relayed_ike_auth_does_not_move_the_sa() {
    let mut bench = fresh();
    let mut session = half_way_as_initiator(&mut bench, 1);
    let payloads = session.auth_payloads();
    let request = session.request(AUTH, 1, &payloads);
    let elsewhere = Path {
        remote: at("198.51.100.66".parse().unwrap(), 500),
        ..bench.path
    };
    assert!(bench.receive_on(elsewhere, &request).is_empty());
    assert_eq!(bench.counters()[&Drop::UnknownPeer], 1);
    let port = Path {
        remote: at(B, 4500),
        local: at(bench.path.local.ip(), 4500),
    };
    assert_eq!(bench.receive_on(port, &request).len(), 1);
    assert_eq!(bench.endpoint.snapshot()[0].established[0].0.path, port);
}

/// SECURITY: silence to strangers.
#[test]
fn strangers_get_no_answer() {
    let mut bench = fresh();
    let stranger = Path {
        remote: at("198.51.100.66".parse().unwrap(), 500),
        ..bench.path
    };
    let half = Half::new(1);
    let request = half.request(&half.payloads());
    let mut future = request.clone();
    future[17] = 0x30;
    for bytes in [&request[..], &future, &half.request(&[]), &[0; 28], &[]] {
        assert!(bench.receive_on(stranger, bytes).is_empty());
    }
    assert!(bench.endpoint.is_idle());
    assert_eq!(bench.counters().values().sum::<u64>(), 5);
}

/// D5, RFC 7296 §2.5: a higher major version is answered, in a request only; a higher minor version,
/// the version flag and reserved bits mean nothing.
#[test]
fn versions_from_the_future() {
    let half = Half::new(1);
    let request = half.request(&half.payloads());
    let mut bench = fresh();
    let mut major = request.clone();
    major[17] = 0x30;
    let reply = bench.reply(&major);
    assert_eq!(clear(&reply), [notify(NotifyType::INVALID_MAJOR_VERSION)]);
    assert_eq!(reply[17], 0x20);
    major[19] |= 0x20;
    bench.drops(&major, Drop::MajorVersion);
    let mut obsolete = request.clone();
    obsolete[17] = 0x10;
    bench.drops(&obsolete, Drop::Header);

    let mut minor = request;
    minor[17] = 0x2f;
    minor[19] |= 0xd7 & !0x20;
    let response = bench.reply(&minor);
    completes_as_initiator(&mut bench, half.called(minor, response));
}

/// An SA stands; each of these is counted under its reason, and it still stands.
#[test]
fn a_standing_sa_stands() {
    for initiated in [true, false] {
        let mut bench = fresh();
        let mut session = if initiated {
            up_as_initiator(&mut bench, 1)
        } else {
            up_as_responder(&mut bench, 1)
        };
        let expected = if initiated { 2 } else { 0 };
        let before = bench.endpoint.snapshot();
        let clear_delete = wire::encode(
            &session.header(INFORMATIONAL, expected, false),
            &[Payload::Delete(Delete::Ike)],
        );
        bench.drops(&clear_delete, Drop::Unauthenticated);
        for kind in ERRORS {
            bench.drops(
                &wire::encode(
                    &session.header(INFORMATIONAL, expected, false),
                    &[notify(kind)],
                ),
                Drop::Unauthenticated,
            );
            bench.drops(
                &wire::encode(&session.header(INFORMATIONAL, 7, true), &[notify(kind)]),
                Drop::UnexpectedResponse,
            );
            bench.drops(
                &wire::encode(&session.header(INIT, 0, true), &[notify(kind)]),
                Drop::UnexpectedResponse,
            );
        }
        // D3: the window is one.
        for id in [expected + 1, expected + 2, u32::MAX] {
            bench.drops(
                &session.request(INFORMATIONAL, id, &[Payload::Delete(Delete::Ike)]),
                Drop::MessageId,
            );
        }
        // Responses to nothing.
        for id in [0, 1, 2, 3] {
            bench.drops(
                &session.response(INFORMATIONAL, id, &[Payload::Delete(Delete::Ike)]),
                Drop::UnexpectedResponse,
            );
        }
        // The wrong direction: as if the puppet were the other end of the same SA.
        let mut header = session.header(INFORMATIONAL, expected, false);
        header.from_initiator = !header.from_initiator;
        bench.drops(&session.seal(&header, &[]), Drop::UnknownSpi);
        // The right keys, another SA.
        let mut header = session.header(INFORMATIONAL, expected, false);
        if initiated {
            header.initiator = IkeSpi(1);
        } else {
            header.responder = IkeSpi(1);
        };
        bench.drops(&session.seal(&header, &[]), Drop::UnknownSpi);
        assert_eq!(bench.endpoint.snapshot(), before);
        // And it is still the same conversation.
        let probe = session.request(INFORMATIONAL, expected, &[]);
        assert_eq!(session.open(&bench.reply(&probe)), []);
    }
}

/// D2: a recorded conversation, played again: the last reply is repeated, the rest is nothing, and
/// what IKE_SA_INIT opens is half-open and expires.
#[test]
fn a_replayed_handshake_leads_nowhere() {
    let mut bench = fresh();
    let half = Half::new(1);
    let request = half.request(&half.payloads());
    let response = bench.reply(&request);
    let mut session = half.called(request.clone(), response);
    let payloads = session.auth_payloads();
    let auth = session.request(AUTH, 1, &payloads);
    let reply = bench.reply(&auth);
    let before = bench.endpoint.snapshot();
    for _ in 0..3 {
        assert_eq!(bench.receive(&request).len(), 1);
        assert_eq!(bench.reply(&auth), reply);
    }
    // Our own words, sent back to us.
    bench.drops(&reply, Drop::UnknownSpi);
    assert_eq!(bench.endpoint.snapshot(), before);
    bench.pass(Duration::from_secs(31));
    assert_eq!(bench.endpoint.snapshot(), before);
    // Once a later request was answered, the old one is outside of the window.
    bench.reply(&session.request(INFORMATIONAL, 2, &[]));
    bench.drops(&auth, Drop::MessageId);
}

/// A mirror: whoever accepts any identity could be made to talk with itself.
#[test]
fn our_own_call_sent_back_is_refused() {
    let mut bench = Bench::new(&Setup {
        remote_id: RemoteId::Any,
        ..Setup::default()
    });
    let [request] = bench.connect().try_into().unwrap();
    bench.drops(&request, Drop::Refused);
    // With another SPI it looks like a stranger's; but SPIs go into the keys.
    let spi = header_of(&request).initiator;
    // The hashes of the NAT detection have the SPI in them: the mirror leaves them out.
    let mut payloads = clear(&request);
    payloads.retain(|payload| !matches!(payload, Payload::Notify(_)));
    let mut bent = wire::encode(&header_of(&request), &payloads);
    bent[0] ^= 1;
    let mut response = bench.reply(&bent);
    response[..8].copy_from_slice(&spi.0.to_be_bytes());
    let mut auth = bench.reply(&response);
    bench.drops(&auth, Drop::UnknownSpi);
    auth[0] ^= 1;
    bench.drops(&auth, Drop::Unauthenticated);
    assert_eq!(bench.pairs(), 0);
}

fn public(data: Vec<u8>) -> Payload {
    Payload::KeyExchange(wire::KeyExchange { group: 31, data })
}

/// D11, RFC 8031 §5, SECURITY lessons 2 and 18: public values of the wrong length or of small order.
#[test]
fn weak_public_values() {
    let half = Half::new(1);
    let mut one = vec![0; 32];
    one[0] = 1;
    for data in [
        vec![],
        vec![9; 31],
        vec![9; 33],
        vec![9; 1000],
        vec![0; 32],
        one,
    ] {
        let mut payloads = half.payloads();
        put(&mut payloads, public(data.clone()));
        let mut bench = fresh();
        assert_eq!(
            clear(&bench.reply(&half.request(&payloads))),
            [notify(NotifyType::INVALID_SYNTAX)]
        );
        assert!(bench.endpoint.is_idle());

        let mut bench = fresh();
        let [request] = bench.connect().try_into().unwrap();
        assert!(
            bench
                .receive(&half.response(&request, &payloads))
                .is_empty()
        );
        if data.len() != 32 {
            // The private key is not spent, and a better answer may come (D14).
            assert!(bench.failures.is_empty());
            assert_eq!(
                bench
                    .receive(&half.response(&request, &half.payloads()))
                    .len(),
                1
            );
        } else {
            assert!(matches!(
                bench.failures[..],
                [Failure::Fault {
                    fault: PeerFault::PublicValue,
                    ..
                }]
            ));
        }
    }
}

/// D11, RFC 6989 §2.3, SECURITY lesson 18: points off the curve, the point at infinity as zeros, and
/// values of another length, which are refused before a key of ours is made.
#[test]
fn points_that_are_none() {
    for (group, keyword, octets) in [(19, "ecp256", 64), (20, "ecp384", 96)] {
        let ike = format!("aes256gcm16-prfsha256-{keyword}");
        let setup = Setup {
            ike: vec![ike.clone().leak()],
            ..Setup::default()
        };
        let mut one = vec![0; octets];
        one[octets - 1] = 1;
        let wrong = [
            vec![],
            vec![4; octets - 1],
            vec![4; octets + 1],
            vec![4; 1_000],
            vec![0; octets],
            vec![0xff; octets],
            vec![4; octets],
            one,
        ];
        for data in wrong {
            let mut payloads = Half::new(1).payloads();
            put(
                &mut payloads,
                Payload::SecurityAssociation(support::puppet::ike_proposals(&ike)),
            );
            put(
                &mut payloads,
                Payload::KeyExchange(wire::KeyExchange { group, data }),
            );
            let mut bench = Bench::new(&setup);
            let reply = bench.reply(&Half::new(1).request(&payloads));
            assert_eq!(clear(&reply), [notify(NotifyType::INVALID_SYNTAX)]);
            assert!(bench.endpoint.is_idle());
        }
    }
}

/// RFC 7296 §2.21: bodies of IKE_AUTH that are cut to any length, with lengths that agree, to either
/// end: the genuine one still counts.
#[test]
fn truncated_ike_auth_with_the_right_spis_is_dropped() {
    let cut_to = |message: &[u8], length: usize| {
        let mut cut = message[..length].to_vec();
        cut[24..28].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        if let Some(sk) = cut.get_mut(30..32) {
            sk.copy_from_slice(&u16::try_from(length - 28).unwrap().to_be_bytes());
        }
        cut
    };
    let mut called = fresh();
    let mut session = half_way_as_initiator(&mut called, 1);
    let payloads = session.auth_payloads();
    let request = session.request(AUTH, 1, &payloads);
    for length in 28..request.len() {
        called.drops(&cut_to(&request, length), Drop::Unauthenticated);
    }
    called.reply(&request);
    assert_eq!(called.pairs(), 1);

    let mut calling = fresh();
    let (mut session, _) = half_way_as_responder(&mut calling, 1);
    let payloads = session.auth_payloads();
    let response = session.response(AUTH, 1, &payloads);
    for length in 28..response.len() {
        calling.drops(&cut_to(&response, length), Drop::Unauthenticated);
    }
    calling.receive(&response);
    assert_eq!(calling.pairs(), 1);
}

/// D11, RFC 7296 §2.10: 16 to 256 octets, and half the key of the PRF.
#[test]
fn nonces_of_the_wrong_length() {
    let half = Half::new(1);
    for (octets, taken) in [
        (0, false),
        (15, false),
        (16, true),
        (256, true),
        (257, false),
    ] {
        let mut payloads = half.payloads();
        put(&mut payloads, Payload::Nonce(vec![3; octets]));
        let mut bench = fresh();
        let reply = bench.reply(&half.request(&payloads));
        assert_eq!(clear(&reply).len() > 1, taken, "{octets}");
    }
    let sha512 = Setup {
        ike: vec!["aes256gcm16-prfsha512-x25519"],
        ..Setup::default()
    };
    for (octets, taken) in [(31, false), (32, true)] {
        let mut payloads = half.payloads();
        put(
            &mut payloads,
            Payload::SecurityAssociation(support::puppet::ike_proposals(sha512.ike[0])),
        );
        put(&mut payloads, Payload::Nonce(vec![3; octets]));
        let mut bench = Bench::new(&sha512);
        let reply = bench.reply(&half.request(&payloads));
        assert_eq!(clear(&reply).len() > 1, taken, "{octets}");
    }
}

/// D7: an SA has two SPIs. Only errors leave the responder's out.
#[test]
fn an_answer_without_responder_spi_is_dropped() {
    let mut bench = fresh();
    let [request] = bench.connect().try_into().unwrap();
    let half = Half::new(1);
    let mut response = half.response(&request, &half.payloads());
    response[8..16].fill(0);
    bench.drops(&response, Drop::Malformed);
    assert_eq!(
        bench
            .receive(&half.response(&request, &half.payloads()))
            .len(),
        1
    );
}

/// RFC 7296 §3.1: the I flag says who speaks. An answer with our flag and our SPI on both sides is none.
#[test]
fn an_answer_in_our_name_is_dropped() {
    let mut bench = fresh();
    let [request] = bench.connect().try_into().unwrap();
    let half = Half::new(1);
    let mut response = half.response(&request, &half.payloads());
    response.copy_within(0..8, 8);
    response[19] |= 0x08;
    bench.drops(&response, Drop::UnknownSpi);
}

#[test]
fn datagrams_of_every_wrong_size() {
    let mut bench = fresh();
    let half = Half::new(1);
    let request = half.request(&half.payloads());
    for length in 0..request.len() {
        bench.drops(&request[..length], Drop::Header);
    }
    for more in [1, 1000, 65_536] {
        bench.drops(&[&request[..], &vec![0; more]].concat(), Drop::Header);
    }
    let mut claims = vec![0; 70_000];
    claims[..request.len()].copy_from_slice(&request);
    claims[24..28].copy_from_slice(&70_000u32.to_be_bytes());
    bench.drops(&claims, Drop::Header);
    // Half-open SAs keep their request: nobody makes us keep 64 KiB of it.
    let mut padded = half.payloads();
    padded.extend((0..5).map(|_| Payload::VendorId(vec![0; 2_000])));
    bench.drops(&half.request(&padded), Drop::Header);
    let mut no_spi = request.clone();
    no_spi[..8].fill(0);
    bench.drops(&no_spi, Drop::Header);
    assert!(bench.endpoint.is_idle());
}
