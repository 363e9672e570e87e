//! Reassembly by itself: fragments that are authentic, in every order and number.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::wire::{ExchangeType, IkeSpi};

fn start() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the start"
    )]
    Instant::now()
}

fn header(message_id: u32) -> Header {
    Header {
        initiator: IkeSpi(1),
        responder: IkeSpi(2),
        exchange: ExchangeType::IKE_AUTH,
        from_initiator: true,
        response: false,
        message_id,
    }
}

fn place(number: u16, total: u16) -> Place {
    Place::new(number, total).unwrap()
}

fn fragment(number: u16, total: u16, octets: &[u8]) -> Fragment {
    let first = if number == 1 {
        PayloadType::ID_INITIATOR
    } else {
        PayloadType::NONE
    };
    Fragment {
        place: place(number, total),
        first,
        octets: octets.to_vec(),
    }
}

/// A message cut into parts of a size, with a datagram that names them.
fn divided(message: &[u8], part: usize) -> Vec<(Vec<u8>, Fragment)> {
    let parts: Vec<_> = message.chunks(part).collect();
    let total = u16::try_from(parts.len()).unwrap();
    let numbered = parts.into_iter().zip(1..);
    numbered
        .map(|(octets, number)| {
            let datagram = format!("{number} of {total}").into_bytes();
            (datagram, fragment(number, total, octets))
        })
        .collect()
}

/// D25, RFC 7383 §2.6: of no use are duplicates, fragments of an earlier division of the message, and
/// ones beyond what a message may have.
#[test]
fn useless_fragments_are_known_before_they_are_decrypted() {
    let (now, header) = (start(), header(1));
    let mut slot = Reassembly::default();
    let most = u16::try_from(limits::FRAGMENTS).unwrap();
    assert!(slot.wants(&header, place(1, most)));
    assert!(!slot.wants(&header, place(1, most + 1)));
    assert_eq!(slot.add(now, &header, b"", fragment(2, 3, b"b")), Ok(None));
    for (number, total, wanted) in [(2, 3, false), (1, 3, true), (1, 2, false), (1, 4, true)] {
        let place = place(number, total);
        assert_eq!(slot.wants(&header, place), wanted, "{number} of {total}");
        if !wanted {
            let again = fragment(number, total, b"x");
            assert_eq!(slot.add(now, &header, b"", again), Err(Drop::Fragment));
        }
    }
}

/// D25, RFC 7383 §2.6: more fragments in all are a new division, and those before it are let go of.
#[test]
fn a_new_division_begins_anew() {
    let (now, header) = (start(), header(1));
    let mut slot = Reassembly::default();
    assert_eq!(
        slot.add(now, &header, b"", fragment(1, 2, b"old")),
        Ok(None)
    );
    assert_eq!(slot.add(now, &header, b"", fragment(2, 3, b"b")), Ok(None));
    assert_eq!(slot.add(now, &header, b"", fragment(1, 3, b"a")), Ok(None));
    let whole = slot.add(now, &header, b"", fragment(3, 3, b"c"));
    assert_eq!(whole.unwrap().unwrap().octets, b"abc");
    assert_eq!(slot.deadline(), None);
}

#[test]
fn another_message_makes_an_unfinished_one_go() {
    let now = start();
    let mut slot = Reassembly::default();
    assert_eq!(
        slot.add(now, &header(1), b"", fragment(1, 2, b"a")),
        Ok(None)
    );
    assert_eq!(
        slot.add(now, &header(2), b"", fragment(2, 2, b"d")),
        Ok(None)
    );
    let whole = slot.add(now, &header(2), b"", fragment(1, 2, b"c"));
    assert_eq!(whole.unwrap().unwrap().octets, b"cd");
}

/// SECURITY lesson 22: bounded in octets.
#[test]
fn a_message_beyond_its_octets_is_let_go_of() {
    let (now, header) = (start(), header(1));
    let half = vec![0; limits::REASSEMBLED_OCTETS / 2];
    let mut slot = Reassembly::default();
    assert_eq!(slot.add(now, &header, b"", fragment(1, 3, &half)), Ok(None));
    assert_eq!(slot.add(now, &header, b"", fragment(2, 3, &half)), Ok(None));
    let one_more = slot.add(now, &header, b"", fragment(3, 3, b"!"));
    assert_eq!(one_more, Err(Drop::Fragment));
    assert_eq!(slot.deadline(), None, "nothing is left");
}

/// Bounded in time.
#[test]
fn fragments_do_not_wait_for_ever() {
    let (now, header) = (start(), header(1));
    let mut slot = Reassembly::default();
    assert_eq!(slot.add(now, &header, b"", fragment(1, 2, b"a")), Ok(None));
    let due = now + limits::REASSEMBLY;
    assert_eq!(slot.deadline(), Some(due));
    slot.expire(due - Duration::from_millis(1));
    assert_eq!(slot.deadline(), Some(due));
    slot.expire(due);
    assert_eq!(slot.deadline(), None);
    assert!(slot.wants(&header, place(1, 2)));
}

proptest! {
    /// RFC 7383 §2.6: in whatever order fragments come, how often each, and whether the sender begins
    /// again with smaller ones, of which there are more, in between: the message comes out once it is
    /// complete, as it was, and never anything else.
    #[test]
    fn whatever_the_order_only_the_message_comes_out(
        message in prop::collection::vec(any::<u8>(), 201..2_000),
        sizes in (200usize..1_000, 40usize..100),
        order in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200),
    ) {
        let (now, header) = (start(), header(1));
        let divisions = [divided(&message, sizes.0), divided(&message, sizes.1)];
        let mut slot = Reassembly::default();
        let complete = |slot: &mut Reassembly, (datagram, fragment): &(Vec<u8>, Fragment)| {
            slot.add(now, &header, datagram, fragment.clone()).ok().flatten()
        };
        let check = |whole: Whole| {
            assert_eq!(whole.octets, message);
            assert_eq!(whole.first, PayloadType::ID_INITIATOR);
            assert!(whole.first_datagram.starts_with(b"1 of "));
        };
        for (smaller, index) in order {
            let division = &divisions[usize::from(smaller)];
            if let Some(whole) = complete(&mut slot, index.get(division)) {
                check(whole);
            }
        }
        // Whatever was there: another round of all the smaller ones completes it.
        let mut last = None;
        for item in &divisions[1] {
            last = complete(&mut slot, item).or(last);
        }
        check(last.unwrap());
    }
}
