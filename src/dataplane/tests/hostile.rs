//! Octets that nobody in their right mind sends: each packet is accounted for, and none does harm.

use super::*;

#[test]
fn one_flipped_bit_is_dropped_and_leaves_the_packet_acceptable() {
    let (mut sender, mut receiver) = pair(&CONFIG);
    let packet = sender.send(&numbered(1)).remove(0);
    for bit in 0..packet.0.len() * 8 {
        let mut tampered = packet.clone();
        tampered.0[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(receiver.receive(vec![tampered]), [[0; 0]; 0], "bit {bit}");
    }
    assert_eq!(receiver.notes.borrow().len(), 0, "nothing was authentic");
    assert_eq!(receiver.receive(vec![packet]).len(), 1);
}

#[test]
fn what_is_not_gre_inside_a_known_sa_is_not_delivered() {
    let gre_in_clear = [&[0, 0, 8, 0][..], &udp4(0, DF, 60)].concat();
    let cases: [(&str, Vec<u8>, Drop); 4] = [
        ("empty", vec![], esp::Drop::Truncated.into()),
        ("reserved SPI", vec![0; 60], esp::Drop::UnknownSpi.into()),
        ("plain GRE", gre_in_clear, esp::Drop::UnknownSpi.into()),
        (
            "header only",
            vec![0, 0, 0x10, 1],
            esp::Drop::Truncated.into(),
        ),
    ];
    for (name, packet, reason) in cases {
        let (_, mut receiver) = pair(&CONFIG);
        assert_eq!(receiver.receive(vec![(packet, 0)]), [[0; 0]; 0], "{name}");
        assert_eq!(receiver.dropped(reason), 1, "{name}");
    }
}

/// D44, RFC 4303 §2.6
#[test]
fn a_dummy_is_consumed_and_other_payloads_are_dropped() {
    let (_, mut receiver) = pair(&CONFIG);
    let sa = OutboundSa::new(keys(1));
    let packets = [59, 4, 41, 6].map(|next_header| sealed(&sa, next_header, &udp4(0, DF, 40)));
    assert_eq!(receiver.receive(packets.to_vec()), [[0; 0]; 0]);
    assert_eq!(receiver.path.arrivals().consumed, 1);
    assert_eq!(receiver.dropped(LinkDrop::NotGre), 3);
    assert_eq!(receiver.receive(packets.to_vec()), [[0; 0]; 0]);
    assert_eq!(receiver.dropped(esp::Drop::ReplayDuplicate), 4);
}

/// Indexes below 64 in any order, some of them twice.
fn any_order() -> impl Strategy<Value = Vec<usize>> {
    let order = Just((0..64).collect::<Vec<_>>()).prop_shuffle();
    let again = prop::collection::vec(0..64usize, 0..64);
    (order, again)
        .prop_map(|(order, again)| [order, again].concat())
        .prop_shuffle()
}

proptest! {
    #[test]
    fn every_packet_comes_out_once_whatever_the_order(order in any_order()) {
        let (mut sender, mut receiver) = pair(&CONFIG);
        let passengers = numbered(64);
        let packets = sender.send(&passengers);
        let mut delivered = receiver.receive(order.iter().map(|&i| packets[i].clone()).collect());
        delivered.sort_by_key(Vec::len);
        prop_assert_eq!(delivered, passengers);
        let again = (order.len() - 64) as u64;
        prop_assert_eq!(receiver.dropped(esp::Drop::ReplayDuplicate), again);
    }

    #[test]
    fn any_octets_from_the_device_are_accounted_for(
        passengers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..16),
        v6 in any::<bool>(),
        with_sa in any::<bool>(),
    ) {
        let mut sender = Sender::new(&CONFIG);
        if with_sa {
            install_outbound(&mut sender, 1);
        }
        let mut passengers = passengers;
        for first in passengers.iter_mut().filter_map(|passenger| passenger.first_mut()) {
            *first = *first & 0x0f | if v6 { 0x60 } else { 0x40 };
        }
        let left = sender.send(&passengers).len();
        prop_assert!(with_sa || left == 0);
    }

    #[test]
    fn any_octets_from_the_wire_are_accounted_for(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..16),
        known_spi in any::<bool>(),
        tos in any::<u8>(),
    ) {
        let (_, mut receiver) = pair(&CONFIG);
        let mut packets = packets;
        if known_spi {
            for packet in packets.iter_mut().filter(|packet| packet.len() >= 4) {
                packet[..4].copy_from_slice(&[0, 0, 0x10, 1]);
            }
        }
        let packets = packets.into_iter().map(|packet| (packet, tos)).collect();
        prop_assert_eq!(receiver.receive(packets), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn any_authentic_payload_is_accounted_for(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..16),
        flags in any::<[bool; 3]>(),
        tos in any::<u8>(),
    ) {
        let [key, checksum, sequence] = flags;
        let gre = gre::Config {
            kind: gre::Passengers::Ip,
            key: key.then_some(gre::Key::Whole(0)),
            checksum,
            sequence,
        };
        let (_, mut receiver) = pair(&TunnelConfig { gre, ..CONFIG });
        let sa = OutboundSa::new(keys(1));
        let packets = payloads.iter().map(|payload| {
            let (esp, _) = sealed(&sa, 47, &[&[0, 0, 8, 0, 0x45], &payload[..]].concat());
            (esp, tos)
        });
        receiver.receive(packets.collect());
    }
}
