//! What an ESP packet holds: a GRE packet with its passenger, perhaps behind IPv6 options.

use secure_gre_gre::{
    Config, Decapsulator, Delivery, Drop, Key, Keys, Packet, Passengers, destination, mss, tos,
};

/// The first octet says what the tunnel expects, the second is the outer TOS, the others are the packet,
/// which comes twice.
pub fn run(data: &[u8]) {
    let [expects, outer_tos, packet @ ..] = data else {
        return;
    };
    let config = Config {
        kind: Passengers::Ip,
        key: (expects & 1 != 0).then_some(Key::Whole(5001)),
        checksum: expects & 2 != 0,
        sequence: expects & 4 != 0,
    };
    let (keys, mut tunnel) = (Keys::new([config.key]), Decapsulator::new(config));
    for _ in 0..2 {
        let mut packet = packet.to_vec();
        let octets = packet.len();
        let behind = if expects & 8 != 0 {
            destination::skip_options(&mut packet)
        } else {
            Ok(packet.as_mut_slice())
        };
        let Ok(delivery) = behind.and_then(|packet| decapsulate(&keys, &mut tunnel, packet)) else {
            continue;
        };
        assert!(delivery.passenger.len() < octets);
        if tos::merge_ecn(*outer_tos, delivery.passenger).is_ok() {
            mss::clamp(delivery.passenger, 1400);
        }
    }
}

fn decapsulate<'b>(
    keys: &Keys,
    tunnel: &mut Decapsulator,
    packet: &'b mut [u8],
) -> Result<Delivery<'b>, Drop> {
    let packet = Packet::parse(packet)?;
    keys.find(packet.key())?;
    tunnel.decapsulate(packet)
}
