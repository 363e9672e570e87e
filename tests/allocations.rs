//! The packet path allocates nothing per packet.
//!
//! A test binary of its own, because it counts with the global allocator. What aws-lc takes from C's it does
//! not see; by its source, sealing and opening take nothing.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic, also outside the functions that carry #[test]"
)]

use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Instant;

use secure_gre::dataplane::batch::{Batch, MAX_PACKETS};
use secure_gre::dataplane::coalesce::{Coalesced, Coalescer};
use secure_gre::dataplane::inbound::{self, Arrival, Delivery, Inbound};
use secure_gre::dataplane::outbound::{self, Outbound};
use secure_gre::dataplane::segment::Source;
use secure_gre::dataplane::{SaId, TunnelConfig, TunnelId};
use secure_gre::metrics::{Counters, LinkDrop};
use secure_gre::net::tun::{Offload, Offloads, PartialChecksum, SegmentKind, Segmentation};
use secure_gre_esp::{InboundSa, Keys, OutboundSa, Spi, Suite};
use secure_gre_gre as gre;
use secure_gre_gre::checksum::checksum;

const CONFIG: TunnelConfig = TunnelConfig {
    gre: gre::Config {
        kind: gre::Passengers::Ip,
        key: Some(gre::Key::Whole(7)),
        checksum: true,
        sequence: true,
    },
    tos: gre::tos::Policy::Inherit,
    ttl: gre::ttl::Policy::Fixed(gre::ttl::Policy::DEFAULT),
    df: gre::df::Policy::Set,
    mtu: 1400,
    mss_clamp: true,
    reply_v4: Some(Ipv4Addr::new(10, 255, 0, 2)),
    reply_v6: None,
    ends: gre::keepalive::Ends::NONE,
    asks: false,
    limit: None,
    echo: None,
};

/// The only tunnel of the link.
const ONLY: TunnelId = TunnelId(0);

fn keys(suite: Suite) -> Keys {
    let spi = Spi::try_from(0x1001).unwrap();
    Keys::new(suite, spi, true, &vec![1; suite.key_material_len()]).unwrap()
}

/// A segment of TCP with DF and `payload` octets, whose checksum is to be completed.
fn segment(payload: u16) -> Vec<u8> {
    let [l0, l1] = (40 + payload).to_be_bytes();
    let mut packet = vec![0x45, 0, l0, l1, 0, 1, 0x40, 0, 64, 6, 0, 0];
    packet.extend([10, 1, 0, 1, 10, 2, 0, 1]);
    let sum = checksum(&[&packet]).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    let [l0, l1] = (20 + payload).to_be_bytes();
    let pseudo = !checksum(&[&packet[12..20], &[0, 6, l0, l1]]);
    packet.extend([0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0]);
    packet.extend(pseudo.to_be_bytes());
    packet.resize(40 + usize::from(payload), 0x55);
    packet
}

/// What the kernel says of a super-packet that is to be cut at `size` octets of payload.
fn cut_at(size: u16) -> Offload {
    Offload {
        checksum: Some(PartialChecksum {
            start: 20,
            offset: 16,
        }),
        segmentation: Some(Segmentation {
            kind: SegmentKind::TcpV4,
            size: NonZeroU16::new(size).unwrap(),
            header_len: 40,
        }),
    }
}

#[test]
fn nothing_is_allocated_per_packet() {
    for suite in Suite::all() {
        allocates_nothing_per_packet(suite);
    }
    let control = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(control.count_total, 1, "the counter counts");
}

fn allocates_nothing_per_packet(suite: Suite) {
    let mut outbound = Outbound::new([&CONFIG], |_| {});
    let mut inbound = Inbound::new([&CONFIG], |_| {});
    outbound.obey(outbound::Command::Install(Arc::new(
        outbound::SharedSa::new(SaId(1), OutboundSa::new(keys(suite))),
    )));
    inbound.obey(inbound::Command::Install {
        id: SaId(1),
        sa: Box::new(InboundSa::new(keys(suite), 4096)),
        fresh: true,
    });
    // 40 segments that fit the MTU, and 2 that are too big, so that dropping and answering count too.
    let fitting = segment(40 * 1360);
    let too_big = segment(2 * 1361);
    let mut source = Source::new(gre::Passengers::Ip);
    let mut batch = Batch::default();
    let mut wire = vec![0; 2048 * MAX_PACKETS];
    let mut coalescer = Coalescer::new(Offloads::TcpAndUdp, gre::Passengers::Ip);
    let mut written = 0;
    let counters = std::array::from_fn::<_, 3, _>(|_| Counters::default());

    let allocations = allocation_counter::measure(|| {
        for _ in 0..10 {
            batch.clear();
            for (packet, size) in [(&fitting, 1360), (&too_big, 1361)] {
                source.vacant()[..packet.len()].copy_from_slice(packet);
                source.accept(packet.len(), cut_at(size)).unwrap();
                assert!(!source.fill(&mut batch));
            }
            outbound.seal(ONLY, &mut batch, Instant::now(), |_| {});
            let mut slots = wire.chunks_exact_mut(2048);
            let arrivals = batch.packets().map(|packet| {
                let slot = &mut slots.next().unwrap()[..packet.esp.len()];
                slot.copy_from_slice(packet.esp);
                Arrival {
                    esp: slot,
                    tos: packet.tos,
                }
            });
            let mut delivery = Delivery::default();
            let mut write = |joined: Coalesced<'_>| {
                written += 1;
                delivery.add(joined.passengers, joined.octets, true);
            };
            inbound.open(arrivals, |_, passenger| {
                coalescer.take(passenger, &mut write);
            });
            coalescer.flush(&mut write);
            inbound.account(ONLY, delivery);
            assert_eq!(inbound.next_touched(), Some(ONLY));
            counters[0].publish(outbound.tally(ONLY).unwrap());
            counters[1].publish(inbound.tally(ONLY).unwrap());
            counters[2].publish(inbound.arrivals());
        }
    });

    let [outbound, inbound, arrivals] = counters.map(|counters| counters.read());
    assert_eq!(outbound.dropped(LinkDrop::TooBig), 20);
    assert_eq!(arrivals.delivered.packets, 400);
    assert_eq!(inbound.delivered.packets, 400);
    assert_eq!(written, 10, "all of a batch in one piece");
    assert_eq!(allocations.count_total, 0, "{suite}");
}
