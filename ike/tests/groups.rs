//! INVALID_KE_PAYLOAD (D8, RFC 7296 §1.2): nothing authenticates it, so it can only make us choose
//! another group of our own list.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use secure_gre_ike::error::{Drop, Failure, PeerFault};
use secure_gre_ike::wire::{Notify, NotifyType, Payload};
use support::bench::Bench;
use support::puppet::{Half, clear, header_of, put};
use support::{A, B, MINUTES, Setup, connect, leave_without_a_trace, one_working_pair, pair};

fn three_groups() -> Setup {
    Setup {
        ike: vec!["aes256gcm16-prfsha256-x25519-ecp256-ecp384"],
        ..Setup::default()
    }
}

fn invalid_ke(request: &[u8], data: &[u8]) -> Vec<u8> {
    let notify = Notify::with_data(NotifyType::INVALID_KE_PAYLOAD, data.to_vec());
    Half::new(0).response(request, &[Payload::Notify(notify)])
}

#[test]
fn the_peers_group_costs_one_round_trip() {
    for group in ["ecp256", "ecp384"] {
        let b = Setup {
            ike: vec![format!("aes256gcm16-prfsha256-{group}").leak()],
            ..Setup::default()
        };
        for (a, b, caller) in [(three_groups(), b.clone(), A), (b, three_groups(), B)] {
            let mut sim = pair(1, a, b);
            connect(&mut sim, caller);
            sim.run_until(MINUTES, one_working_pair).unwrap();
            assert_eq!(sim.trace().entries().len(), 6 * 2);
            leave_without_a_trace(&mut sim);
        }
    }
}

/// D8, D1: the same SPI, message ID, list and nonce; only the public value is another.
#[test]
fn only_the_public_value_changes() {
    let mut bench = Bench::new(&three_groups());
    let [first] = bench.connect().try_into().unwrap();
    let second = bench.reply(&invalid_ke(&first, &[0, 20]));
    assert_eq!(header_of(&second), header_of(&first));
    let mut expected = clear(&first);
    let ke = clear(&second)
        .into_iter()
        .find(|payload| matches!(payload, Payload::KeyExchange(_)));
    put(&mut expected, ke.unwrap());
    assert_eq!(clear(&second), expected);
    assert!(
        expected
            .iter()
            .any(|payload| matches!(payload, Payload::KeyExchange(ke) if ke.group == 20))
    );
}

/// D8: each group at most once, however often it is asked for.
#[test]
fn no_group_is_tried_twice() {
    let mut bench = Bench::new(&three_groups());
    let [first] = bench.connect().try_into().unwrap();
    assert_eq!(bench.receive(&invalid_ke(&first, &[0, 19])).len(), 1);
    bench.drops(&invalid_ke(&first, &[0, 19]), Drop::UnexpectedResponse);
    assert_eq!(bench.receive(&invalid_ke(&first, &[0, 20])).len(), 1);
    assert!(bench.receive(&invalid_ke(&first, &[0, 19])).is_empty());
    assert!(bench.receive(&invalid_ke(&first, &[0, 31])).is_empty());
}

/// D14: groups that are no help do not end the attempt while a genuine answer may come, and end it
/// soon with a word that names them if none does.
#[test]
fn bogus_groups_wait_for_a_better_answer() {
    for group in [0u16, 2, 14, 31, 1025, 65535] {
        let mut bench = Bench::new(&three_groups());
        let [first] = bench.connect().try_into().unwrap();
        assert!(
            bench
                .receive(&invalid_ke(&first, &group.to_be_bytes()))
                .is_empty()
        );
        bench.pass(Duration::from_millis(1900));
        assert!(bench.failures.is_empty());
        let half = Half::new(1);
        assert_eq!(
            bench
                .receive(&half.response(&first, &half.payloads()))
                .len(),
            1,
            "{group}"
        );
    }
    let mut bench = Bench::new(&three_groups());
    let [first] = bench.connect().try_into().unwrap();
    bench.receive(&invalid_ke(&first, &[0, 2]));
    bench.pass(Duration::from_millis(2100));
    assert!(matches!(
        &bench.failures[..],
        [Failure::Fault {
            fault: PeerFault::UselessGroup(2),
            ..
        }]
    ));
}

#[test]
fn data_that_is_no_group_is_dropped() {
    for data in [&[][..], &[19], &[0, 0, 19]] {
        let mut bench = Bench::new(&three_groups());
        let [first] = bench.connect().try_into().unwrap();
        bench.drops(&invalid_ke(&first, data), Drop::Malformed);
    }
}

/// RFC 7296 §1.2: the responder chooses a group of both lists, or says that there is none.
#[test]
fn no_common_group_is_no_proposal() {
    let mut bench = Bench::new(&Setup {
        ike: vec!["aes256gcm16-prfsha256-ecp384"],
        ..Setup::default()
    });
    let half = Half::new(1);
    let reply = bench.reply(&half.request(&half.payloads()));
    assert!(
        matches!(&clear(&reply)[..], [Payload::Notify(n)] if n.kind == NotifyType::NO_PROPOSAL_CHOSEN)
    );
    assert!(bench.endpoint.is_idle());
}
