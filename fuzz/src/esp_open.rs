//! An ESP packet: made up, or a genuine one in which an octet is not what it was.

use secure_gre_esp::{InboundSa, Keys, MIN_WINDOW_PACKETS, OutboundSa, Spi, Suite};

const GRE: u8 = 47;
const SPI: u32 = 0x1001;

/// The octets are a packet; then, after where and how to change it, the payload of a genuine one.
pub fn run(data: &[u8]) {
    let mut inbound = InboundSa::new(keys(), MIN_WINDOW_PACKETS);
    let mut made_up = data.to_vec();
    assert!(!open(&mut inbound, &mut made_up, &[]), "nobody has the key");
    let [high, low, change, payload @ ..] = data else {
        return;
    };
    let mut genuine = seal(payload);
    let mut changed = genuine.clone();
    let at = usize::from(u16::from_be_bytes([*high, *low])) % changed.len();
    changed[at] ^= change;
    assert_eq!(open(&mut inbound, &mut changed, payload), *change == 0);
    assert_eq!(
        open(&mut inbound, &mut genuine, payload),
        *change != 0,
        "once"
    );
}

fn keys() -> Keys {
    let spi = Spi::try_from(SPI).unwrap();
    Keys::new(Suite::Aes256Gcm16, spi, true, &[1; 36]).unwrap()
}

fn seal(payload: &[u8]) -> Vec<u8> {
    let outbound = OutboundSa::new(keys());
    let range = OutboundSa::HEADROOM..OutboundSa::HEADROOM + payload.len();
    let mut buffer = vec![0; range.end + outbound.trailer_len(payload.len())];
    buffer[range.clone()].copy_from_slice(payload);
    let octets = u64::try_from(payload.len()).unwrap();
    let seq = outbound.reserve(1, octets).unwrap().next().unwrap();
    let sealed = outbound.seal(seq, GRE, &mut buffer, range).unwrap();
    buffer[sealed].to_vec()
}

/// Whether the packet is believed; then it is the genuine one.
fn open(inbound: &mut InboundSa, packet: &mut [u8], expected: &[u8]) -> bool {
    let Ok(candidate) = inbound.candidate(packet) else {
        return false;
    };
    let Ok(opened) = inbound.open(candidate, packet) else {
        return false;
    };
    let Ok(payload) = inbound.commit(opened) else {
        return false;
    };
    assert_eq!((payload.next_header, &*payload.bytes), (GRE, expected));
    true
}
