use serde_json::Value;

use super::*;
use crate::MIN_WINDOW_PACKETS;
use crate::suite::{AesKey, Hmac, Suite};

/// draft-mcgrew-gcm-test-01 §4 as whole packets.
const AES_GCM: &str = include_str!("../../tests/vectors/esp-aes-gcm.json");
/// RFC 7634 appendix A.
const CHACHA20: &str = include_str!("../../tests/vectors/chacha20poly1305.json");
/// By other implementations of AES-CBC and of HMAC.
const AES_CBC: &str = include_str!("../../tests/vectors/esp-aes-cbc-hmac.json");

fn hex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap();
    let digit = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(digit).collect()
}

fn cases(vectors: &str) -> Vec<Value> {
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    vectors["cases"].as_array().unwrap().clone()
}

fn number(case: &Value, field: &str) -> u64 {
    case[field].as_u64().unwrap()
}

/// An inbound SA of these keys, unless the SPI is none that we have.
fn sa_of(suite: Suite, spi: &[u8], esn: bool, material: &[Vec<u8>]) -> Option<InboundSa> {
    let spi = u32::from_be_bytes(spi.try_into().unwrap());
    let spi = Spi::try_from(spi).ok()?;
    let keys = Keys::new(suite, spi, esn, &material.concat()).unwrap();
    Some(InboundSa::new(keys, MIN_WINDOW_PACKETS))
}

/// The SA of a vector of AES-GCM, unless its SPI is none that we have.
fn sa(case: &Value) -> Option<InboundSa> {
    let key = hex(&case["key"]);
    let suite = match key.len() {
        16 => Suite::Aes128Gcm16,
        24 => Suite::Aes192Gcm16,
        32 => Suite::Aes256Gcm16,
        length => panic!("a key of {length} octets"),
    };
    let esn = case["esn"].as_bool().unwrap();
    sa_of(suite, &hex(&case["spi"]), esn, &[key, hex(&case["salt"])])
}

/// Opens a packet as the next one and says what it carries.
#[track_caller]
fn received(sa: &mut InboundSa, seq: u64, packet: &Value) -> (Vec<u8>, u64) {
    sa.skip_to(seq - 1);
    let mut packet = hex(packet);
    let candidate = sa.candidate(&packet).unwrap();
    let opened = sa.open(candidate, &mut packet).unwrap();
    let payload = sa.commit(opened).unwrap();
    assert!(payload.newest);
    (payload.bytes.to_vec(), payload.next_header.into())
}

/// RFC 4303 §3.4, RFC 4106
#[test]
fn published_packets_with_aes_gcm() {
    let mut opened = 0;
    for case in cases(AES_GCM) {
        let Some(mut sa) = sa(&case) else {
            continue;
        };
        opened += 1;
        let mut payload = hex(&case["plaintext_with_trailer"]);
        let padding_len = usize::try_from(number(&case, "pad_length")).unwrap();
        payload.truncate(payload.len() - 2 - padding_len);
        let received = received(&mut sa, number(&case, "seq"), &case["esp_packet"]);
        assert_eq!(received, (payload, number(&case, "next_header")), "{case}");
    }
    assert_eq!(opened, 13, "of 14: one has a reserved SPI");
}

/// RFC 7634 appendix A: SPI 0x01020304, sequence number 5.
#[test]
fn published_packet_with_chacha20_poly1305() {
    let cases = cases(CHACHA20);
    let case = cases.iter().find(|case| case["what"] == "ESP").unwrap();
    let keys = [hex(&case["key"]), hex(&case["salt"])];
    let suite = Suite::ChaCha20Poly1305;
    let mut sa = sa_of(suite, &[1, 2, 3, 4], false, &keys).unwrap();
    let mut payload = hex(&case["plaintext_with_trailer"]);
    payload.truncate(payload.len() - 4);
    assert_eq!(received(&mut sa, 5, &case["esp_packet"]), (payload, 4));
}

/// D44, D47, RFC 4303 §2.2.1 and §3.3.2, RFC 3602, RFC 4868
#[test]
fn packets_of_others_with_aes_cbc() {
    let cases = cases(AES_CBC);
    assert_eq!(cases.len(), 2 * AesKey::ALL.len() * Hmac::ALL.len());
    for case in cases {
        let named = |suite: &Suite| case["suite"] == suite.to_string();
        let suite = Suite::all().find(named).unwrap();
        let keys = ["encryption_key", "authentication_key"].map(|key| hex(&case[key]));
        let esn = case["esn"].as_bool().unwrap();
        let mut sa = sa_of(suite, &hex(&case["spi"]), esn, &keys).unwrap();
        let received = received(&mut sa, number(&case, "seq"), &case["esp_packet"]);
        let expected = (hex(&case["payload"]), number(&case, "next_header"));
        assert_eq!(received, expected, "{case}");
    }
}

/// RFC 4303 §3.4.4.1: what a peer has authenticated and not made of whole blocks is no packet.
#[test]
fn a_part_of_a_block_is_not_opened() {
    use aws_lc_rs::hmac;
    let suite = Suite::AesCbc(AesKey::Bits128, Hmac::Sha256_128);
    let spi = 0xc000_0001_u32.to_be_bytes();
    let keys = [vec![1; 16], vec![2; 32]];
    for text_len in [2, 15, 17] {
        let sa = sa_of(suite, &spi, false, &keys).unwrap();
        let mut packet = [&spi[..], &[0, 0, 0, 1], &[7; 16], &vec![9; text_len]].concat();
        let icv = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &keys[1]), &packet);
        packet.extend(&icv.as_ref()[..16]);
        let candidate = sa.candidate(&packet).unwrap();
        assert_eq!(sa.open(candidate, &mut packet).unwrap_err(), Drop::Icv);
    }
}

/// D46, RFC 4303 Appendix A2: a wrong guess of the high half fails the ICV.
#[test]
fn a_packet_from_another_subspace_is_not_authentic() {
    let case = &cases(AES_GCM)[4];
    let seq = case["seq"].as_u64().unwrap();
    for distant in [seq - (1 << 32), seq + (1 << 32)] {
        let mut sa = sa(case).unwrap();
        sa.skip_to(distant - 1);
        let mut packet = hex(&case["esp_packet"]);
        let candidate = sa.candidate(&packet).unwrap();
        assert_eq!(sa.open(candidate, &mut packet).unwrap_err(), Drop::Icv);
    }
}
