//! Which queue of a device a passenger from the wire is written to. The kernel reads a flow's packets
//! out of the queue that its answers were written to (`tun_flow_update`), so this is also which worker
//! carries the flow.
//!
//! Not here: what a flow is (`gre::flow`), how many queues there are, and flows that nobody answers, which
//! the kernel spreads by a hash of its own.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use secure_gre_gre::Passengers;
use secure_gre_gre::flow::Flow;

/// The queue, of so many, for the flow of this passenger.
pub(super) fn queue_of(kind: Passengers, passenger: &[u8], queues: usize) -> usize {
    if queues < 2 {
        return 0;
    }
    let hasher = BuildHasherDefault::<DefaultHasher>::new();
    place(&hasher, kind, passenger, queues)
}

/// The place of a passenger's flow among so many, at least one, as a hash has it.
pub(super) fn place(
    hasher: &impl BuildHasher,
    kind: Passengers,
    passenger: &[u8],
    places: usize,
) -> usize {
    let hash = hasher.hash_one(Flow::of(kind, passenger));
    let places = u64::try_from(places).unwrap_or(u64::MAX).max(1);
    usize::try_from(hash % places).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::flow::Flow as Model;
    use super::*;

    /// With a header of Ethernet before it where it is a frame.
    fn passenger(kind: Passengers, port: u16, sequence: u32) -> Vec<u8> {
        let flow = Model {
            source_port: port,
            sequence,
            ..Model::default()
        };
        let packet = flow.packet(&[7; 100]);
        match kind {
            Passengers::Ip => packet,
            Passengers::Ethernet => [&[2; 12], &[8, 0][..], &packet].concat(),
        }
    }

    #[test]
    fn flows_are_spread_and_a_flow_is_not() {
        for kind in [Passengers::Ip, Passengers::Ethernet] {
            let queues_of = |packets: &mut dyn Iterator<Item = Vec<u8>>| {
                let mut queues: Vec<_> = packets.map(|it| queue_of(kind, &it, 4)).collect();
                queues.sort_unstable();
                queues.dedup();
                queues.len()
            };
            let mut flows = (0..64).map(|port| passenger(kind, port, 1));
            assert_eq!(queues_of(&mut flows), 4, "{kind:?}");
            let mut packets = (0..64).map(|sequence| passenger(kind, 7, sequence));
            assert_eq!(queues_of(&mut packets), 1, "{kind:?}");
        }
    }

    #[test]
    fn any_octets_have_a_queue() {
        for length in 0..60 {
            for version in [0x45, 0x4f, 0x60, 0xff] {
                assert!(queue_of(Passengers::Ip, &vec![version; length], 3) < 3);
            }
        }
    }
}
