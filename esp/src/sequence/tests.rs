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
    let mut sequence = sequence(false);
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
    let mut sequence = sequence(false);
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
    let mut sequence = sequence(true);
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
    let mut sequence = sequence(false);
    let three_quarters = 3_221_225_471;
    assert!(!sequence.reserve(three_quarters, 0).unwrap().soft_limit());
    assert!(sequence.reserve(1, 0).unwrap().soft_limit());
    assert!(sequence.reserve(u32::MAX / 8, 0).unwrap().soft_limit());
}
