use super::*;
use crate::{InboundSa, Suite};

const GRE: u8 = 47;
const MATERIAL: [u8; 20] = [3; 20];

fn keys(esn: bool) -> Keys {
    let spi = Spi::try_from(0x1234_5678).unwrap();
    Keys::new(Suite::Aes128Gcm16, spi, esn, &MATERIAL).unwrap()
}

/// Seals `payload` into a buffer of its own.
fn seal(sa: &OutboundSa, seq: Seq, payload: &[u8]) -> Vec<u8> {
    let mut packet = [&[0; OutboundSa::HEADROOM], payload].concat();
    packet.resize(packet.len() + sa.trailer_len(payload.len()), 0);
    let range = OutboundSa::HEADROOM..OutboundSa::HEADROOM + payload.len();
    assert_eq!(sa.seal(seq, GRE, &mut packet, range), Ok(0..packet.len()));
    packet
}

/// D45, RFC 4303 §3.3.3; RFC 4106 §3.1
#[test]
fn the_first_packet_has_number_one_and_the_iv_counts() {
    let mut sa = OutboundSa::new(keys(true));
    for (seq, number) in sa.reserve(3, 3).unwrap().zip(1u8..) {
        let packet = seal(&sa, seq, b"x");
        assert_eq!(packet[..4], [0x12, 0x34, 0x56, 0x78]);
        assert_eq!(packet[4..8], [0, 0, 0, number]);
        assert_eq!(packet[8..16], [0, 0, 0, 0, 0, 0, 0, number]);
    }
}

#[test]
fn a_payload_that_does_not_fit_is_refused() {
    let mut sa = OutboundSa::new(keys(true));
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
    let mut reserved_from = OutboundSa::new(keys(true));
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
