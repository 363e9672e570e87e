//! Packets agree with those of another AES-GCM and another hand.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::aes::Aes192;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
use proptest::prelude::*;
use secure_gre_esp::{Drop, Suite};

use crate::pair::{GRE, Pair, SPI, kinds, material};

/// Salt, and the IV that is the counter.
fn nonce(suite: Suite, seq: u64) -> [u8; 12] {
    let salt = material(suite).split_off(suite.key_material_len() - 4);
    [&*salt, &seq.to_be_bytes()].concat().try_into().unwrap()
}

fn encrypt(suite: Suite, seq: u64, aad: &[u8], msg: &[u8]) -> Vec<u8> {
    let material = material(suite);
    let key = &material[..material.len() - 4];
    let nonce = nonce(suite, seq).into();
    let input = Payload { msg, aad };
    match suite {
        Suite::Aes128Gcm16 => Aes128Gcm::new_from_slice(key)
            .unwrap()
            .encrypt(&nonce, input),
        Suite::Aes192Gcm16 => AesGcm::<Aes192, U12>::new_from_slice(key)
            .unwrap()
            .encrypt(&nonce, input),
        Suite::Aes256Gcm16 => Aes256Gcm::new_from_slice(key)
            .unwrap()
            .encrypt(&nonce, input),
        _ => unreachable!("{suite} is not among {:?}", judged()),
    }
    .unwrap()
}

/// What aws-lc-rs does in the crate and `aes-gcm` here.
fn judged() -> Vec<(Suite, bool)> {
    let mut kinds = kinds();
    kinds.retain(|(suite, _)| {
        matches!(
            suite,
            Suite::Aes128Gcm16 | Suite::Aes192Gcm16 | Suite::Aes256Gcm16
        )
    });
    kinds
}

/// RFC 4303 §2 and RFC 4106 §3 to §6, written down once more.
fn packet(suite: Suite, esn: bool, seq: u64, plaintext: &[u8]) -> Vec<u8> {
    let (high, low) = ((seq >> 32) as u32, seq as u32);
    let mut aad = SPI.to_be_bytes().to_vec();
    if esn {
        aad.extend(high.to_be_bytes());
    }
    aad.extend(low.to_be_bytes());
    let mut packet = SPI.to_be_bytes().to_vec();
    packet.extend(low.to_be_bytes());
    packet.extend(seq.to_be_bytes());
    packet.extend(encrypt(suite, seq, &aad, plaintext));
    packet
}

fn with_trailer(payload: &[u8], next_header: u8) -> Vec<u8> {
    let mut plaintext = payload.to_vec();
    while !(plaintext.len() + 2).is_multiple_of(4) {
        plaintext.push((plaintext.len() - payload.len() + 1) as u8);
    }
    let padding_len = (plaintext.len() - payload.len()) as u8;
    plaintext.extend([padding_len, next_header]);
    plaintext
}

proptest! {
    /// D44, D47, RFC 4106
    #[test]
    fn sealed_packets_agree(
        kind in prop::sample::select(judged()),
        skips in prop::collection::vec(any::<u32>(), 0..4),
        next_header: u8,
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (suite, esn) = kind;
        let mut pair = Pair::new(suite, esn);
        let mut seq = 1;
        for packets in skips.into_iter().take(if esn { 4 } else { 1 }) {
            let packets = packets.min(u32::MAX - 1);
            pair.skip(packets);
            seq += u64::from(packets);
        }
        let expected = packet(suite, esn, seq, &with_trailer(&payload, next_header));
        prop_assert_eq!(pair.seal(next_header, &payload), expected);
    }

    /// RFC 4303 §2.4: authentic packets of a peer that pads as it likes, rightly or wrongly.
    #[test]
    fn authentic_packets_open_if_their_padding_is_right(
        kind in prop::sample::select(judged()),
        payload in prop::collection::vec(any::<u8>(), 0..300),
        padding_len: u8,
        wrong in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut plaintext = payload.clone();
        plaintext.extend(1..=padding_len);
        let wrong = wrong.filter(|_| padding_len > 0);
        if let Some(index) = wrong {
            plaintext[payload.len() + index.index(padding_len.into())] ^= 0x80;
        }
        plaintext.extend([padding_len, GRE]);
        let (suite, esn) = kind;
        let mut packet = packet(suite, esn, 1, &plaintext);
        let mut pair = Pair::new(suite, esn);
        let received = pair.receive(&mut packet).map(|payload| payload.bytes.to_vec());
        let expected = if wrong.is_some() { Err(Drop::Padding) } else { Ok(payload) };
        prop_assert_eq!(received, expected);
    }

    /// RFC 4303 §2.4: no authentic plaintext does harm.
    #[test]
    fn authentic_nonsense_is_dropped_or_delivered(
        kind in prop::sample::select(judged()),
        plaintext in prop::collection::vec(prop_oneof![0..6u8, any::<u8>()], 2..80),
    ) {
        let (suite, esn) = kind;
        let mut packet = packet(suite, esn, 1, &plaintext);
        let mut pair = Pair::new(suite, esn);
        match pair.receive(&mut packet) {
            Ok(payload) => prop_assert!(plaintext.starts_with(payload.bytes)),
            Err(reason) => prop_assert_eq!(reason, Drop::Padding),
        }
    }
}
