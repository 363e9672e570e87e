use serde_json::Value;

use super::*;
use crate::suite::Suite;
use crate::{DEFAULT_WINDOW_PACKETS, MIN_WINDOW_PACKETS};

/// draft-mcgrew-gcm-test-01 §4 as whole packets.
const CASES: &str = include_str!("../../tests/vectors/esp-aes-gcm.json");

fn hex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap();
    let digit = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(digit).collect()
}

/// The SA of a vector, unless its cipher or SPI is none we have.
fn sa(case: &Value, window_packets: u32) -> Option<InboundSa> {
    let key = hex(&case["key"]);
    let suite = match key.len() {
        16 => Suite::Aes128Gcm16,
        32 => Suite::Aes256Gcm16,
        _ => return None,
    };
    let spi = u32::from_be_bytes(hex(&case["spi"]).try_into().unwrap());
    let material = [key, hex(&case["salt"])].concat();
    let esn = case["esn"].as_bool().unwrap();
    let keys = Keys::new(suite, Spi::try_from(spi).ok()?, esn, &material).unwrap();
    Some(InboundSa::new(keys, window_packets))
}

/// RFC 4303 §3.4, RFC 4106
#[test]
fn published_packets() {
    let cases: Value = serde_json::from_str(CASES).unwrap();
    let mut opened = 0;
    for case in cases["cases"].as_array().unwrap() {
        let Some(mut sa) = sa(case, DEFAULT_WINDOW_PACKETS) else {
            continue;
        };
        opened += 1;
        sa.skip_to(case["seq"].as_u64().unwrap() - 1);
        let mut packet = hex(&case["esp_packet"]);
        let mut plaintext = hex(&case["plaintext_with_trailer"]);
        let padding_len = usize::try_from(case["pad_length"].as_u64().unwrap()).unwrap();
        plaintext.truncate(plaintext.len() - 2 - padding_len);

        let candidate = sa.candidate(&packet).unwrap();
        let payload = sa
            .open(candidate, &mut packet)
            .and_then(|opened| sa.commit(opened));
        let payload = payload.unwrap_or_else(|reason| panic!("{reason}: {case}"));
        assert_eq!(payload.bytes, plaintext, "{case}");
        assert_eq!(
            u64::from(payload.next_header),
            case["next_header"].as_u64().unwrap()
        );
        assert!(payload.newest);
    }
    assert_eq!(
        opened, 12,
        "of 14: one has an AES-192 key, one a reserved SPI"
    );
}

/// D46, RFC 4303 Appendix A2: a wrong guess of the high half fails the ICV.
#[test]
fn a_packet_from_another_subspace_is_not_authentic() {
    let cases: Value = serde_json::from_str(CASES).unwrap();
    let case = &cases["cases"][4];
    let seq = case["seq"].as_u64().unwrap();
    for distant in [seq - (1 << 32), seq + (1 << 32)] {
        let mut sa = sa(case, MIN_WINDOW_PACKETS).unwrap();
        sa.skip_to(distant - 1);
        let mut packet = hex(&case["esp_packet"]);
        let candidate = sa.candidate(&packet).unwrap();
        assert_eq!(sa.open(candidate, &mut packet).unwrap_err(), Drop::Icv);
    }
}
