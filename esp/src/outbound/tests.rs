use super::*;
use crate::{AesKey, Hmac, InboundSa, Suite};

const GRE: u8 = 47;
const MATERIAL: [u8; 20] = [3; 20];

fn keys(esn: bool) -> Keys {
    let spi = Spi::try_from(0x1234_5678).unwrap();
    Keys::new(Suite::Aes128Gcm16, spi, esn, &MATERIAL).unwrap()
}

/// Seals `payload` into a buffer of its own.
fn seal(sa: &OutboundSa, seq: Seq, payload: &[u8]) -> Vec<u8> {
    let mut packet = [&vec![0; sa.overhead.header], payload].concat();
    let range = sa.overhead.header..packet.len();
    packet.resize(packet.len() + sa.trailer_len(payload.len()), 0);
    assert_eq!(sa.seal(seq, GRE, &mut packet, range), Ok(0..packet.len()));
    packet
}

/// The const of the buffers and the table of the suites.
#[test]
fn the_headroom_suffices_for_every_suite() {
    let headers = Suite::all().map(|suite| suite.overhead().header);
    assert_eq!(headers.max(), Some(OutboundSa::HEADROOM));
}

/// D44, RFC 4303 §2.4, RFC 3602 §2.4: nothing but whole blocks is between IV and ICV.
#[test]
fn packets_of_aes_cbc_are_of_whole_blocks() {
    for hmac in Hmac::ALL {
        let suite = Suite::AesCbc(AesKey::Bits256, hmac);
        let spi = Spi::try_from(0x1234_5678).unwrap();
        let material = vec![3; suite.key_material_len()];
        let sa = OutboundSa::new(Keys::new(suite, spi, true, &material).unwrap());
        for payload_len in 0..40 {
            let seq = sa.reserve(1, 40).unwrap().next().unwrap();
            let packet = seal(&sa, seq, &vec![9; payload_len]);
            let text = packet.len() - 8 - 16 - hmac.icv_len();
            assert_eq!(text, (payload_len + 2).next_multiple_of(16));
            assert_eq!(packet[..4], [0x12, 0x34, 0x56, 0x78]);
        }
    }
}

/// D45, RFC 4303 §3.3.3; RFC 4106 §3.1
#[test]
fn the_first_packet_has_number_one_and_the_iv_counts() {
    let sa = OutboundSa::new(keys(true));
    for (seq, number) in sa.reserve(3, 3).unwrap().zip(1u8..) {
        let packet = seal(&sa, seq, b"x");
        assert_eq!(packet[..4], [0x12, 0x34, 0x56, 0x78]);
        assert_eq!(packet[4..8], [0, 0, 0, number]);
        assert_eq!(packet[8..16], [0, 0, 0, 0, 0, 0, 0, number]);
    }
}

#[test]
fn a_payload_that_does_not_fit_is_refused() {
    let sa = OutboundSa::new(keys(true));
    let mut buffer = [0; 16 + 4 + 20];
    let cases = [
        (
            "no headroom",
            15..19,
            SealError::Headroom {
                needed: 16,
                available: 15,
            },
        ),
        (
            "no tailroom",
            17..21,
            SealError::Tailroom {
                needed: 41,
                available: 40,
            },
        ),
        (
            "beyond the buffer",
            100..104,
            SealError::Tailroom {
                needed: 124,
                available: 40,
            },
        ),
        (
            "at the end of memory",
            usize::MAX..usize::MAX,
            SealError::Tailroom {
                needed: usize::MAX,
                available: 40,
            },
        ),
        ("backwards", Range { start: 20, end: 16 }, SealError::Range),
    ];
    for (seq, (name, payload, error)) in sa.reserve(5, 20).unwrap().zip(cases) {
        assert_eq!(
            sa.seal(seq, GRE, &mut buffer, payload),
            Err(error),
            "{name}"
        );
    }
}

/// D48: another SA's number would repeat a nonce of this one.
#[test]
fn a_sequence_number_of_another_sa_is_refused() {
    let reserved_from = OutboundSa::new(keys(true));
    let sa = OutboundSa::new(keys(true));
    let seq = reserved_from.reserve(1, 4).unwrap().next().unwrap();
    let mut buffer = [0; 64];
    assert_eq!(
        sa.seal(seq, GRE, &mut buffer, 16..20),
        Err(SealError::ForeignSeq)
    );
    assert_eq!(buffer, [0; 64]);
}

#[test]
fn an_sa_moves_to_its_worker() {
    fn assert_send<T: Send>() {}
    assert_send::<OutboundSa>();
    assert_send::<InboundSa>();
}
