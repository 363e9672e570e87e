//! Which queue of a device a passenger from the wire is written to. The kernel reads a flow's packets
//! out of the queue that its answers were written to (`tun_flow_update`), so this is also which worker
//! carries the flow.
//!
//! Not here: how many queues there are, and flows that nobody answers, which the kernel spreads by a
//! hash of its own.

use std::hash::{DefaultHasher, Hasher};

use super::headers::{IPV4_HEADER, IPV6_HEADER, TCP, UDP, take};

/// The queue, of so many, for the flow of this IP packet. A flow has one queue, and so have all
/// fragments between two addresses, as only the first of them has ports.
pub(super) fn queue_of(passenger: &[u8], queues: usize) -> usize {
    if queues < 2 {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    hash_flow(passenger, &mut hasher);
    let queues = u64::try_from(queues).unwrap_or(u64::MAX);
    usize::try_from(hasher.finish() % queues).unwrap_or(0)
}

fn hash_flow(passenger: &[u8], hasher: &mut DefaultHasher) -> Option<()> {
    let (addresses, protocol, header_len, is_whole) = match passenger.first()? >> 4 {
        4 => {
            let header_len = usize::from(passenger.first()? & 0x0f) * 4;
            let fragment = u16::from_be_bytes(take(passenger, 6)?) & !DONT_FRAGMENT;
            (
                passenger.get(12..IPV4_HEADER)?,
                *passenger.get(9)?,
                header_len,
                fragment == 0,
            )
        }
        // Behind extension headers ports are not looked for.
        _ => (
            passenger.get(8..IPV6_HEADER)?,
            *passenger.get(6)?,
            IPV6_HEADER,
            true,
        ),
    };
    hasher.write(addresses);
    if is_whole && matches!(protocol, TCP | UDP) {
        hasher.write(&take::<4>(passenger, header_len)?);
    }
    Some(())
}

/// Of IPv4's flags and fragment offset (RFC 791 §3.1).
const DONT_FRAGMENT: u16 = 0x4000;

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(port: u8, flags: u8, protocol: u8) -> Vec<u8> {
        let mut packet = vec![0; 40];
        (packet[0], packet[6], packet[9]) = (0x45, flags, protocol);
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet[21] = port;
        packet
    }

    fn queues_of(packets: impl Iterator<Item = Vec<u8>>) -> Vec<usize> {
        let mut queues: Vec<_> = packets.map(|packet| queue_of(&packet, 4)).collect();
        queues.sort_unstable();
        queues.dedup();
        queues
    }

    #[test]
    fn flows_are_spread_and_a_flow_is_not() {
        let ports = || 0..64_u8;
        assert_eq!(
            queues_of(ports().map(|port| ipv4(port, 0x40, TCP))).len(),
            4
        );
        assert_eq!(queues_of(ports().map(|_| ipv4(7, 0x40, TCP))).len(), 1);
        let of_one_flow = ports().map(|octet| {
            let mut packet = ipv4(7, 0, UDP);
            (packet[1], packet[5], packet[8], packet[39]) = (octet, octet, octet, octet);
            packet
        });
        assert_eq!(queues_of(of_one_flow).len(), 1);
    }

    /// What the others of a datagram have where the first has ports is payload.
    #[test]
    fn fragments_stay_together() {
        assert_eq!(
            queues_of((0..64).map(|port| ipv4(port, 0x20, UDP))).len(),
            1
        );
    }

    #[test]
    fn any_octets_have_a_queue() {
        for length in 0..60 {
            for version in [0x45, 0x4f, 0x60, 0xff] {
                assert!(queue_of(&vec![version; length], 3) < 3);
            }
        }
    }
}
