//! The way of one passenger through a tunnel, without a network: GRE around it, sealed by one end of an
//! SA, opened by the other, and out of GRE again. What comes twice, or was changed, is not opened.
//!
//! `cargo run --example seal_and_open`

use std::error::Error;

use secure_gre_esp::{DEFAULT_WINDOW_PACKETS, InboundSa, Keys, OutboundSa, Spi, Suite};
use secure_gre_gre::{Config, Decapsulator, Encapsulator, Key, Packet, Passengers};

/// The protocol number that ESP names inside.
const GRE: u8 = 47;
const TUNNEL: Config = Config {
    kind: Passengers::Ip,
    key: Some(Key::Whole(42)),
    checksum: false,
    sequence: false,
};
/// An IPv4 header without a payload, from 10.0.0.1 to 10.0.0.2.
const PASSENGER: [u8; 20] = [
    0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut far_end = InboundSa::new(keys()?, DEFAULT_WINDOW_PACKETS);
    let packet = seal(&PASSENGER)?;
    println!("sealed: {} octets of ESP on the wire", packet.len());

    let changed = open(&mut far_end, with_one_bit_changed(&packet));
    println!("changed: {changed:?}");
    let opened = open(&mut far_end, packet.clone())?;
    println!("opened: {opened:02x?}");
    let again = open(&mut far_end, packet);
    println!("once more: {again:?}");
    Ok(())
}

fn with_one_bit_changed(packet: &[u8]) -> Vec<u8> {
    let mut changed = packet.to_vec();
    if let Some(octet) = changed.last_mut() {
        *octet ^= 1;
    }
    changed
}

/// Both ends have the same; in earnest they come from IKE, as in `handshake_in_memory`, and an SA with
/// the same keys is never begun twice.
fn keys() -> Result<Keys, Box<dyn Error>> {
    let material = [7; Suite::Aes256Gcm16.key_material_len()];
    let spi = Spi::try_from(0xc0ff_ee01)?;
    Ok(Keys::new(Suite::Aes256Gcm16, spi, true, &material)?)
}

/// The first packet of an SA. Everything is written where the passenger is, in one buffer.
fn seal(passenger: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut encapsulator = Encapsulator::new(TUNNEL);
    let sa = OutboundSa::new(keys()?);
    let start = OutboundSa::HEADROOM + encapsulator.header_len();
    let payload_len = encapsulator.header_len() + passenger.len();
    let mut buffer = vec![0; start];
    buffer.extend(passenger);
    let payload = encapsulator
        .encapsulate(&mut buffer, start..start + passenger.len())
        .map_err(|reason| reason.name())?;
    buffer.resize(payload.end + sa.trailer_len(payload_len), 0);

    let mut numbers = sa.reserve(1, payload_len as u64)?;
    let number = numbers.next().ok_or("an empty reservation")?;
    let packet = sa.seal(number, GRE, &mut buffer, payload)?;
    Ok(buffer.get(packet).ok_or("outside of the buffer")?.to_vec())
}

/// The passenger of a packet that nobody has changed and that is new to this end.
fn open(sa: &mut InboundSa, mut packet: Vec<u8>) -> Result<Vec<u8>, Box<dyn Error>> {
    let candidate = sa.candidate(&packet)?;
    let opened = sa.open(candidate, &mut packet)?;
    let payload = sa.commit(opened)?;
    let packet = Packet::parse(payload.bytes).map_err(|reason| reason.name())?;
    let delivery = Decapsulator::new(TUNNEL)
        .decapsulate(packet)
        .map_err(|reason| reason.name())?;
    Ok(delivery.passenger.to_vec())
}

#[test]
fn a_passenger_comes_out_unchanged_and_once() -> Result<(), Box<dyn Error>> {
    use secure_gre_esp::Drop;

    main()?;
    let mut far_end = InboundSa::new(keys()?, DEFAULT_WINDOW_PACKETS);
    let packet = seal(&PASSENGER)?;
    let reason = |refused: Result<Vec<u8>, Box<dyn Error>>| {
        let error = refused.err()?;
        error.downcast_ref::<Drop>().copied()
    };
    let changed = open(&mut far_end, with_one_bit_changed(&packet));
    assert_eq!(reason(changed), Some(Drop::Icv));
    assert_eq!(open(&mut far_end, packet.clone())?, PASSENGER);
    let again = open(&mut far_end, packet);
    assert_eq!(reason(again), Some(Drop::ReplayDuplicate));
    Ok(())
}
