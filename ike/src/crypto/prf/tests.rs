//! prf+ as RFC 7296 §2.13 defines it. The keys of live handshakes are tested in
//! [`keys`](crate::keys).

use hex_literal::hex;
use proptest::prelude::*;

use super::*;

/// RFC 4231 §4.3 (test case 2), fed in two parts.
#[test]
fn prf_is_hmac() {
    let prf = |prf: Prf| prf.compute(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
    assert_eq!(
        prf(Prf::HmacSha256).expose(),
        hex!("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    );
    assert_eq!(
        prf(Prf::HmacSha384).expose(),
        hex!(
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
            "8e2240ca5e69e2c78b3239ecfab21649"
        )
    );
    assert_eq!(
        prf(Prf::HmacSha512).expose(),
        hex!(
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
            "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
        )
    );
}

/// RFC 7296 §2.13: T1 = prf(K, S | 0x01), T2 = prf(K, T1 | S | 0x02).
#[test]
fn blocks_are_chained_and_numbered() {
    for &prf in Prf::ALL {
        let first = prf.compute(b"key", &[b"seed", &[1]]);
        let second = prf.compute(b"key", &[first.expose(), b"seed", &[2]]);
        let [stream] = prf.expand(b"key", &[b"se", b"ed"], [2 * prf.octets()]);
        assert_eq!(
            stream.expose(),
            [first.expose(), second.expose()].concat(),
            "{prf}"
        );
    }
}

#[test]
fn all_255_blocks_are_there() {
    let [stream] = Prf::HmacSha256.expand(b"key", &[b"seed"], [255 * 32]);
    assert_eq!(stream.expose().len(), 255 * 32);
}

#[test]
#[should_panic(expected = "255 blocks")]
fn there_is_no_256th_block() {
    let _ = Prf::HmacSha256.expand(b"key", &[b"seed"], [255 * 32 + 1]);
}

proptest! {
    /// However the stream is cut, the octets are the same and in order.
    #[test]
    fn cuts_do_not_change_the_stream(
        key in prop::collection::vec(any::<u8>(), 0..80),
        seed in prop::collection::vec(any::<u8>(), 0..80),
        cuts in prop::array::uniform3(0_usize..150),
        which in 0..Prf::ALL.len(),
    ) {
        let prf = Prf::ALL[which];
        let [whole] = prf.expand(&key, &[&seed], [450]);
        let pieces = prf.expand(&key, &[&seed], cuts);
        let pieces = pieces.iter().flat_map(|piece| piece.expose()).copied().collect::<Vec<u8>>();
        prop_assert_eq!(&pieces, &whole.expose()[..pieces.len()]);
    }
}
