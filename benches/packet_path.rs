//! What one packet costs without the kernel: passenger → GRE → ESP, and back.
//!
//! `cargo bench --bench packet_path`; each item is one packet of a batch of 64.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::time::Instant;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use secure_gre::dataplane::batch::{Batch, MAX_PACKETS};
use secure_gre::dataplane::inbound::{self, Arrival, Inbound};
use secure_gre::dataplane::outbound::{self, Outbound};
use secure_gre::dataplane::{LinkConfig, Note, SaId};
use secure_gre_esp::{InboundSa, Keys, OutboundSa, Spi, Suite};
use secure_gre_gre as gre;

/// Octets of the passengers: a bare acknowledgement, and a full segment.
const LENGTHS: [u16; 2] = [52, 1400];

fn main() {
    divan::main();
}

const CONFIG: LinkConfig = LinkConfig {
    gre: gre::Config {
        key: None,
        checksum: false,
        sequence: false,
    },
    tos: gre::tos::Policy::Inherit,
    ttl: gre::ttl::Policy::Fixed(gre::ttl::Policy::DEFAULT),
    df: gre::df::Policy::Set,
    mtu: 1400,
    mss_clamp: true,
    reply_v4: None,
    reply_v6: None,
    ends: gre::keepalive::Ends::NONE,
    asks: false,
};

fn keys() -> Keys {
    let spi = Spi::try_from(0x1001).unwrap();
    Keys::new(Suite::Aes256Gcm16, spi, true, &[1; 36]).unwrap()
}

fn sender() -> Outbound<fn(Note)> {
    let mut sender = Outbound::new(&CONFIG, (|_| {}) as fn(Note));
    sender.obey(outbound::Command::Install {
        id: SaId(1),
        sa: Box::new(OutboundSa::new(keys())),
    });
    sender
}

fn receiver() -> Inbound<fn(Note)> {
    let mut receiver = Inbound::new(&CONFIG, (|_| {}) as fn(Note));
    receiver.obey(inbound::Command::Install {
        id: SaId(1),
        sa: Box::new(InboundSa::new(keys(), 4096)),
        fresh: true,
    });
    receiver
}

/// A full batch of TCP segments of `len` octets.
fn fill(batch: &mut Batch, len: u16) {
    let [l0, l1] = len.to_be_bytes();
    let header = [
        0x45, 0, l0, l1, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 1, 0, 1, 10, 2, 0, 1,
    ];
    batch.clear();
    while let Some(room) = batch.push(len.into()) {
        *room.first_chunk_mut().unwrap() = header;
    }
}

fn counted<'a, 'b>(bencher: Bencher<'a, 'b>, len: u16) -> Bencher<'a, 'b> {
    bencher
        .counter(ItemsCount::new(MAX_PACKETS))
        .counter(BytesCount::new(usize::from(len) * MAX_PACKETS))
}

#[divan::bench(args = LENGTHS)]
fn seal(bencher: Bencher<'_, '_>, len: u16) {
    let mut sender = sender();
    let mut batch = Batch::default();
    let now = Instant::now();
    counted(bencher, len).bench_local(|| {
        fill(&mut batch, len);
        sender.seal(&mut batch, now, |_| {});
        black_box(batch.len())
    });
}

#[divan::bench(args = LENGTHS)]
fn seal_and_open(bencher: Bencher<'_, '_>, len: u16) {
    let (mut sender, mut receiver) = (sender(), receiver());
    let mut batch = Batch::default();
    let now = Instant::now();
    let mut wire = vec![0; 2048 * MAX_PACKETS];
    counted(bencher, len).bench_local(|| {
        fill(&mut batch, len);
        sender.seal(&mut batch, now, |_| {});
        let slots = wire.chunks_exact_mut(2048);
        let arrivals = batch.packets().zip(slots).map(|(packet, slot)| {
            let (esp, _) = slot.split_at_mut(packet.esp.len());
            esp.copy_from_slice(packet.esp);
            Arrival {
                esp,
                tos: packet.tos,
            }
        });
        receiver.open(arrivals, |passenger| {
            black_box(passenger);
        });
    });
    assert!(receiver.tally().drops().next().is_none(), "all delivered");
}

#[divan::bench(args = LENGTHS)]
fn open(bencher: Bencher<'_, '_>, len: u16) {
    let (mut sender, mut receiver) = (sender(), receiver());
    let now = Instant::now();
    let sealed = || {
        let mut batch = Batch::default();
        fill(&mut batch, len);
        sender.seal(&mut batch, now, |_| {});
        let packets = batch.packets().map(|packet| packet.esp.to_vec());
        packets.collect::<Vec<_>>()
    };
    counted(bencher, len)
        .with_inputs(sealed)
        .bench_local_refs(|packets| {
            let arrivals = packets.iter_mut().map(|esp| Arrival { esp, tos: 0 });
            receiver.open(arrivals, |passenger| {
                black_box(passenger);
            });
        });
    assert!(receiver.tally().drops().next().is_none(), "all delivered");
}
