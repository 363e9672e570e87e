//! The packet path allocates nothing per packet.
//!
//! A test binary of its own, because it counts with the global allocator.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic, also outside the functions that carry #[test]"
)]

use std::net::Ipv4Addr;
use std::time::Instant;

use secure_gre::dataplane::batch::{Batch, MAX_PACKETS};
use secure_gre::dataplane::inbound::{self, Arrival, Inbound};
use secure_gre::dataplane::outbound::{self, Outbound};
use secure_gre::dataplane::{LinkConfig, SaId};
use secure_gre::metrics::{Counters, LinkDrop};
use secure_gre_esp::{InboundSa, Keys, OutboundSa, Spi, Suite};
use secure_gre_gre as gre;

const CONFIG: LinkConfig = LinkConfig {
    gre: gre::Config {
        key: Some(7),
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
};

fn keys() -> Keys {
    let spi = Spi::try_from(0x1001).unwrap();
    Keys::new(Suite::Aes256Gcm16, spi, true, &[1; 36]).unwrap()
}

/// An IPv4 datagram with DF.
fn passenger(len: u16) -> Vec<u8> {
    let [l0, l1] = len.to_be_bytes();
    let mut packet = vec![0x45, 0, l0, l1, 0, 1, 0x40, 0, 64, 17, 0, 0];
    packet.extend([10, 1, 0, 1, 10, 2, 0, 1]);
    packet.resize(len.into(), 0x55);
    packet
}

#[test]
fn nothing_is_allocated_per_packet() {
    let mut outbound = Outbound::new(&CONFIG, |_| {});
    let mut inbound = Inbound::new(&CONFIG, |_| {});
    outbound.obey(outbound::Command::Install {
        id: SaId(1),
        sa: Box::new(OutboundSa::new(keys())),
    });
    inbound.obey(inbound::Command::Install {
        id: SaId(1),
        sa: Box::new(InboundSa::new(keys(), 4096)),
        fresh: true,
    });
    // Every other passenger is too big, so that dropping and answering count as well.
    let passengers = [passenger(1400), passenger(1401)];
    let mut batch = Batch::default();
    let mut wire = vec![0; 2048 * MAX_PACKETS];
    let counters = [Counters::default(), Counters::default()];

    let allocations = allocation_counter::measure(|| {
        for _ in 0..10 {
            batch.clear();
            for passenger in passengers.iter().cycle().take(MAX_PACKETS) {
                batch.vacant().unwrap()[..passenger.len()].copy_from_slice(passenger);
                batch.push(passenger.len());
            }
            outbound.seal(&mut batch, Instant::now(), |_| {});
            let mut slots = wire.chunks_exact_mut(2048);
            let arrivals = batch.packets().map(|packet| {
                let slot = &mut slots.next().unwrap()[..packet.esp.len()];
                slot.copy_from_slice(packet.esp);
                Arrival {
                    esp: slot,
                    tos: packet.tos,
                }
            });
            inbound.open(arrivals, |_| true);
            counters[0].publish(outbound.tally());
            counters[1].publish(inbound.tally());
        }
    });

    let [outbound, inbound] = counters.map(|counters| counters.read());
    assert_eq!(outbound.dropped(LinkDrop::TooBig), 320);
    assert_eq!(inbound.delivered.packets, 320);
    assert_eq!(allocations.count_total, 0);
    let control = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(control.count_total, 1, "the counter counts");
}
