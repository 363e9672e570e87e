use std::collections::HashSet;

use super::*;
use crate::keys::Spi;

fn keys(octet: u8) -> CbcHmac {
    CbcHmac::new(AesKey::Bits128, Hmac::Sha256_128, &[octet; 16 + 32]).unwrap()
}

/// D48, SECURITY lesson 25, RFC 3602 §3: each once, for each SA its own, and no counter to be seen.
#[test]
fn ivs_neither_repeat_nor_count() {
    let mut seen = HashSet::new();
    for octet in 0..4 {
        let keys = keys(octet);
        for seq in (1..500).chain((1 << 36) - 500..=1 << 36) {
            let iv = keys.iv(seq);
            assert!(iv.iter().filter(|octet| **octet == 0).count() < 8, "{iv:?}");
            assert!(seen.insert(iv));
        }
    }
}

/// RFC 3602 §3: nobody can predict an IV from others, so its key is not that of the text.
#[test]
fn ivs_have_a_key_of_their_own() {
    let keys = keys(1);
    let mut of_the_text = [0; BLOCK_LEN];
    of_the_text[15] = 9;
    keys.cbc
        .encrypt([0; BLOCK_LEN], std::slice::from_mut(&mut of_the_text));
    assert_ne!(keys.iv(9), of_the_text);
}

/// The caller pads; what is not padded is not sealed.
#[test]
fn a_part_of_a_block_is_not_sealed() {
    let packet = PacketId {
        spi: Spi::try_from(256).unwrap(),
        seq: 1,
        esn: true,
    };
    let keys = keys(1);
    for text_len in [1, 15, 17, 31] {
        let mut body = vec![0; BLOCK_LEN + text_len + keys.icv_len];
        assert_eq!(keys.seal(packet, &mut body), None, "{text_len}");
    }
    let mut too_short = vec![0; keys.icv_len];
    assert_eq!(keys.seal(packet, &mut too_short), None);
}

/// D47, RFC 4303 §2.2.1: the half that is not sent counts, and only with ESN.
#[test]
fn the_icv_covers_the_half_of_the_number_that_is_not_sent() {
    let spi = Spi::try_from(256).unwrap();
    let keys = keys(1);
    let mac = |seq, esn| {
        keys.mac(PacketId { spi, seq, esn }, b"covered")
            .as_ref()
            .to_vec()
    };
    assert_ne!(mac(5, true), mac((1 << 32) + 5, true));
    assert_ne!(mac(5, true), mac(5, false));
    assert_eq!(mac(5, false), mac((1 << 32) + 5, false));
    let whole = [&[0, 0, 1, 0, 0, 0, 0, 5][..], b"covered", &[0, 0, 0, 1]].concat();
    let expected = hmac::sign(&keys.mac, &whole);
    assert_eq!(mac((1 << 32) + 5, true), expected.as_ref());
}
