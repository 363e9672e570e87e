use proptest::prelude::*;

use super::*;
use crate::{Keys, Limits, Spi, Suite};

fn sequence(esn: bool) -> Sequence {
    let spi = Spi::try_from(256).unwrap();
    Sequence::new(
        Keys::new(Suite::Aes128Gcm16, spi, esn, &[0; 20])
            .unwrap()
            .id,
        Budget::new(esn, Limits::default()),
    )
}

fn numbers(reservation: Reservation) -> Vec<u64> {
    reservation.map(|seq| seq.number).collect()
}

/// D45, RFC 4303 §3.3.3
#[test]
fn numbers_start_at_one_and_never_repeat() {
    let sequence = sequence(false);
    assert_eq!(numbers(sequence.reserve(2, 0).unwrap()), [1, 2]);
    assert!(numbers(sequence.reserve(0, 0).unwrap()).is_empty());
    drop(sequence.reserve(2, 0).unwrap());
    assert_eq!(
        numbers(sequence.reserve(1, 0).unwrap()),
        [5],
        "unused numbers are skipped"
    );
}

/// D45, RFC 4303 §3.3.3
#[test]
fn without_esn_the_counter_does_not_cycle() {
    let sequence = sequence(false);
    drop(sequence.reserve(u32::MAX - 1, 0).unwrap());
    assert_eq!(
        sequence.reserve(2, 0).unwrap_err(),
        Exhausted::Packets { wanted: 2, left: 1 }
    );
    assert_eq!(
        numbers(sequence.reserve(1, 0).unwrap()),
        [u64::from(u32::MAX)]
    );
    assert_eq!(
        sequence.reserve(1, 0).unwrap_err(),
        Exhausted::Packets { wanted: 1, left: 0 }
    );
    assert_eq!(
        sequence.reserve(u32::MAX, 0).unwrap_err(),
        Exhausted::Packets {
            wanted: u32::MAX,
            left: 0
        }
    );
}

/// D48: the key is used up long before the counter of 64 bits.
#[test]
fn with_esn_the_key_ends_at_2_36() {
    let sequence = sequence(true);
    for _ in 0..16 {
        drop(sequence.reserve(u32::MAX, 0).unwrap());
    }
    assert_eq!(
        sequence.reserve(17, 0).unwrap_err(),
        Exhausted::Packets {
            wanted: 17,
            left: 16
        }
    );
    assert_eq!(
        numbers(sequence.reserve(16, 0).unwrap()).last(),
        Some(&(1 << 36))
    );
    assert_eq!(
        sequence.reserve(1, 0).unwrap_err(),
        Exhausted::Packets { wanted: 1, left: 0 }
    );
}

/// D42, RFC 7296 §2.8
#[test]
fn the_soft_limit_comes_at_75_percent() {
    let sequence = sequence(false);
    let three_quarters = 3_221_225_471;
    assert!(!sequence.reserve(three_quarters, 0).unwrap().soft_limit());
    assert!(sequence.reserve(1, 0).unwrap().soft_limit());
    assert!(sequence.reserve(u32::MAX / 8, 0).unwrap().soft_limit());
}

proptest! {
    /// D45, RFC 4106 §2: whatever threads reserve at once, no number is handed out twice, none is lost,
    /// and none lies beyond the limit.
    #[test]
    fn threads_never_share_a_number(
        wishes in prop::collection::vec(prop::collection::vec(0_u32..200, 1..40), 1..5),
        limit in 1_u64..4000,
    ) {
        let limits = Limits { packets: Some(limit), ..Limits::default() };
        let keys = Keys::new(Suite::Aes128Gcm16, Spi::try_from(256).unwrap(), true, &[0; 20]).unwrap();
        let sequence = Sequence::new(keys.id, Budget::new(true, limits));
        let mut taken: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = wishes
                .iter()
                .map(|wishes| scope.spawn(|| {
                    let granted = wishes.iter().filter_map(|wish| sequence.reserve(*wish, 1).ok());
                    granted.flat_map(numbers).collect::<Vec<_>>()
                }))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        taken.sort_unstable();
        let last = taken.len() as u64;
        prop_assert!(last <= limit);
        prop_assert!(taken.into_iter().eq(1..=last));
    }
}

/// D50: of a packet that somebody quotes.
#[test]
fn what_may_have_been_handed_out() {
    let short = sequence(false);
    assert!(!short.may_have_given(0) && !short.may_have_given(1));
    let _ = short.reserve(3, 0).unwrap();
    let given = [0, 1, 3, 4, u32::MAX].map(|low| short.may_have_given(low));
    assert_eq!(given, [false, true, true, false, false]);

    // With ESN the low halves come again.
    let long = sequence(true);
    let _ = long.reserve(u32::MAX, 0).unwrap();
    assert!(!long.may_have_given(0));
    let _ = long.reserve(1, 0).unwrap();
    assert!(long.may_have_given(0) && long.may_have_given(u32::MAX));
}
