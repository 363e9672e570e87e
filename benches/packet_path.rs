//! What one packet costs, stage by stage: segment, GRE, seal, send; receive, open, coalesce. Then the
//! whole of a direction as its worker does it between two system calls, on one thread and on several:
//! each with an SA of its own, and, outbound, as workers that share one (`outbound_of_one_sa`).
//!
//! `cargo bench --bench packet_path`; each item is one packet. `send` and `receive` pass the loopback
//! in UDP: `send` contains the kernel's way up to the other socket, `receive` is its reader alone.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark may panic"
)]

use std::cell::RefCell;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use secure_gre::dataplane::batch::Batch;
use secure_gre::dataplane::coalesce::{Coalesced, Coalescer};
use secure_gre::dataplane::inbound::{self, Arrival, Inbound};
use secure_gre::dataplane::outbound::{self, Outbound, SharedSa};
use secure_gre::dataplane::segment::Source;
use secure_gre::dataplane::{Note, SaId, TunnelConfig, TunnelId};
use secure_gre::net::esp::{Outgoing, ReceiveBatch, Wire};
use secure_gre::net::outer::{Encapsulation, Path, Via};
use secure_gre::net::tun::{Offload, Offloads, PartialChecksum, SegmentKind, Segmentation};
use secure_gre_esp::{InboundSa, Keys, OutboundSa, Spi, Suite};
use secure_gre_gre as gre;
use secure_gre_gre::checksum::checksum;

/// Octets of the passengers: small ones, and full segments.
const LENGTHS: [usize; 2] = [64, 1400];
/// Passengers of a batch: what one super-packet makes at most of the long ones.
const PACKETS: usize = COUNT as usize;
const COUNT: u32 = 48;
/// Of the passengers.
const HEADERS: usize = 40;
const THREADS: [usize; 4] = [1, 2, 4, 8];

const CONFIG: TunnelConfig = TunnelConfig {
    gre: gre::Config {
        kind: gre::Passengers::Ip,
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
    limit: None,
    echo: None,
};

/// The only tunnel of each link.
const ONLY: TunnelId = TunnelId(0);

fn main() {
    divan::main();
}

fn counted<'a, 'b>(bencher: Bencher<'a, 'b>, len: usize) -> Bencher<'a, 'b> {
    bencher
        .counter(ItemsCount::new(PACKETS))
        .counter(BytesCount::new(len * PACKETS))
}

fn keys() -> Keys {
    let spi = Spi::try_from(0x1001).unwrap();
    Keys::new(Suite::Aes256Gcm16, spi, true, &[1; 36]).unwrap()
}

fn shared_sa() -> Arc<SharedSa> {
    Arc::new(SharedSa::new(SaId(1), OutboundSa::new(keys())))
}

/// The sending end of a tunnel.
struct Sender {
    packet: Vec<u8>,
    offload: Offload,
    source: Source,
    batch: Batch,
    path: Outbound<fn(Note)>,
}

impl Sender {
    /// It sends passengers of `len` octets, on an SA of its own.
    fn new(len: usize) -> Self {
        Self::on(&shared_sa(), len)
    }

    fn on(sa: &Arc<SharedSa>, len: usize) -> Self {
        let mut path = Outbound::new([&CONFIG], (|_| {}) as fn(Note));
        path.obey(outbound::Command::Install(Arc::clone(sa)));
        let (packet, offload) = super_packet(len - HEADERS);
        let mut source = Source::new(gre::Passengers::Ip);
        source.vacant()[..packet.len()].copy_from_slice(&packet);
        Self {
            packet,
            offload,
            source,
            batch: Batch::default(),
            path,
        }
    }

    /// Cuts a super-packet, which is where the device was read into.
    fn segment(&mut self) {
        self.batch.clear();
        self.source.accept(self.packet.len(), self.offload).unwrap();
        assert!(!self.source.fill(&mut self.batch), "one batch takes it");
    }

    fn run(&mut self, now: Instant) {
        self.segment();
        self.path.seal(ONLY, &mut self.batch, now, |_| {});
    }

    /// ESP packets that were never there before.
    fn sealed(&mut self) -> Vec<Vec<u8>> {
        self.run(Instant::now());
        self.batch
            .packets()
            .map(|packet| packet.esp.to_vec())
            .collect()
    }
}

/// Segments of TCP with `size` octets each, [`PACKETS`] of them, as the kernel hands them over.
fn super_packet(size: usize) -> (Vec<u8>, Offload) {
    let total = u16::try_from(HEADERS + size * PACKETS).unwrap();
    let [l0, l1] = total.to_be_bytes();
    let mut packet = vec![0x45, 0, l0, l1, 0, 1, 0x40, 0, 64, 6, 0, 0];
    packet.extend([10, 1, 0, 1, 10, 2, 0, 1]);
    let sum = checksum(&[&packet]).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    let pseudo = !checksum(&[&packet[12..20], &[0, 6], &(total - 20).to_be_bytes()]);
    packet.extend([0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0]);
    packet.extend(pseudo.to_be_bytes());
    packet.resize(total.into(), 0x55);
    let offload = Offload {
        checksum: Some(PartialChecksum {
            start: 20,
            offset: 16,
        }),
        segmentation: Some(Segmentation {
            kind: SegmentKind::TcpV4,
            size: u16::try_from(size).ok().and_then(NonZeroU16::new).unwrap(),
            header_len: 40,
        }),
    };
    (packet, offload)
}

/// The receiving end of a tunnel.
struct Receiver {
    path: Inbound<fn(Note)>,
    coalescer: Coalescer,
}

impl Receiver {
    fn new() -> Self {
        let mut path = Inbound::new([&CONFIG], (|_| {}) as fn(Note));
        path.obey(inbound::Command::Install {
            id: SaId(1),
            sa: Box::new(InboundSa::new(keys(), 4096)),
            fresh: true,
        });
        Self {
            path,
            coalescer: Coalescer::new(Offloads::TcpAndUdp, gre::Passengers::Ip),
        }
    }

    fn open(&mut self, packets: &mut [Vec<u8>], mut deliver: impl FnMut(&mut [u8])) {
        let arrivals = packets.iter_mut().map(|esp| Arrival { esp, tos: 0 });
        self.path.open(arrivals, |_, passenger| deliver(passenger));
        let dropped = self.path.arrivals().drops().next();
        assert!(dropped.is_none(), "{dropped:?}");
    }

    fn run(&mut self, packets: &mut [Vec<u8>]) {
        let Self { path, coalescer } = self;
        let mut joined = 0;
        let mut write = |packet: Coalesced<'_>| {
            black_box(packet);
            joined += 1;
        };
        let arrivals = packets.iter_mut().map(|esp| Arrival { esp, tos: 0 });
        path.open(arrivals, |_, passenger| {
            coalescer.take(passenger, &mut write);
        });
        coalescer.flush(&mut write);
        assert_eq!(joined, 1, "all in one");
    }
}

/// From the device's super-packet into the batch, checksums included.
#[divan::bench(args = LENGTHS)]
fn segment(bencher: Bencher<'_, '_>, len: usize) {
    let mut sender = Sender::new(len);
    counted(bencher, len).bench_local(|| sender.segment());
}

#[divan::bench(args = LENGTHS)]
fn gre_header(bencher: Bencher<'_, '_>, len: usize) {
    let mut tunnel = gre::Encapsulator::new(CONFIG.gre);
    let mut buffer = vec![0x45; 64 + len];
    counted(bencher, len).bench_local(|| {
        for _ in 0..PACKETS {
            tunnel
                .encapsulate(black_box(&mut buffer), 64..64 + len)
                .unwrap();
        }
    });
}

#[divan::bench(args = LENGTHS)]
fn seal(bencher: Bencher<'_, '_>, len: usize) {
    let sa = OutboundSa::new(keys());
    let mut buffer = vec![0; 64 + len + 64];
    counted(bencher, len).bench_local(|| {
        for number in sa.reserve(COUNT, 0).unwrap() {
            let packet = sa.seal(number, 47, black_box(&mut buffer), 64..64 + len);
            black_box(packet.unwrap());
        }
    });
}

/// Two ends of a wire in UDP.
fn wires(offload: bool) -> [Wire; 2] {
    let [a, b] = ["127.0.0.1:14500", "127.0.0.2:14500"].map(|end| end.parse().unwrap());
    [(a, b), (b, a)].map(|(local, remote): (SocketAddr, SocketAddr)| {
        let encapsulation = Encapsulation::Udp { keepalives: false };
        let path = Path { local, remote };
        let ttl = gre::ttl::Policy::DEFAULT;
        Wire::new(path, Via::default(), encapsulation, ttl, offload).unwrap()
    })
}

fn slots() -> ReceiveBatch {
    let size = NonZeroUsize::new((1 << 16) + 192).unwrap();
    ReceiveBatch::new(NonZeroUsize::new(PACKETS).unwrap(), size)
}

fn send_batch(wire: &Wire, packets: &[Vec<u8>]) {
    let packets = packets.iter().map(|esp| Outgoing {
        esp,
        ..Outgoing::default()
    });
    assert_eq!(wire.send(packets).unwrap().sent, PACKETS);
}

/// All of a batch, which is there already.
fn receive_batch(wire: &Wire, slots: &mut ReceiveBatch) {
    let mut received = 0;
    while received < PACKETS {
        received += wire.receive(slots).unwrap().packets;
    }
}

#[divan::bench(args = [true, false])]
fn send(bencher: Bencher<'_, '_>, offload: bool) {
    let [here, there] = wires(offload);
    let packets = Sender::new(1400).sealed();
    let slots = RefCell::new(slots());
    counted(bencher, 1400)
        .with_inputs(|| while !there.receive(&mut slots.borrow_mut()).unwrap().is_empty() {})
        .bench_local_values(|()| send_batch(&here, &packets));
}

#[divan::bench(args = [true, false])]
fn receive(bencher: Bencher<'_, '_>, offload: bool) {
    let [here, there] = wires(offload);
    let packets = Sender::new(1400).sealed();
    let mut slots = slots();
    counted(bencher, 1400)
        .with_inputs(|| send_batch(&here, &packets))
        .bench_local_values(|()| receive_batch(&there, &mut slots));
}

/// ESP, GRE, and what is owed to the passenger.
#[divan::bench(args = LENGTHS)]
fn open(bencher: Bencher<'_, '_>, len: usize) {
    let (mut sender, mut receiver) = (Sender::new(len), Receiver::new());
    counted(bencher, len)
        .with_inputs(|| sender.sealed())
        .bench_local_refs(|packets| {
            receiver.open(packets, |passenger| {
                black_box(passenger);
            });
        });
}

/// From a batch's passengers to the device's super-packet, checksums verified.
#[divan::bench(args = LENGTHS)]
fn coalesce(bencher: Bencher<'_, '_>, len: usize) {
    let mut passengers = Vec::new();
    Receiver::new().open(&mut Sender::new(len).sealed(), |passenger| {
        passengers.push(passenger.to_vec());
    });
    let mut coalescer = Coalescer::new(Offloads::TcpAndUdp, gre::Passengers::Ip);
    counted(bencher, len).bench_local(|| {
        for passenger in &passengers {
            coalescer.take(passenger, &mut |joined| {
                black_box(joined);
            });
        }
        coalescer.flush(&mut |joined| {
            black_box(joined);
        });
    });
}

static ONE_SA: LazyLock<Arc<SharedSa>> = LazyLock::new(shared_sa);

thread_local! {
    static SHARER: RefCell<Sender> = RefCell::new(Sender::on(&ONE_SA, 1400));
    static SENDER: RefCell<Sender> = RefCell::new(Sender::new(1400));
    static ENDS: RefCell<(Sender, Receiver)> = RefCell::new((Sender::new(1400), Receiver::new()));
}

/// All of the outbound direction but its system calls.
#[divan::bench(threads = THREADS)]
fn outbound(bencher: Bencher<'_, '_>) {
    let now = Instant::now();
    counted(bencher, 1400).bench(|| SENDER.with_borrow_mut(|sender| sender.run(now)));
}

/// The same by workers that share an SA and reserve its numbers a batch at a time.
#[divan::bench(threads = THREADS)]
fn outbound_of_one_sa(bencher: Bencher<'_, '_>) {
    let now = Instant::now();
    counted(bencher, 1400).bench(|| SHARER.with_borrow_mut(|sender| sender.run(now)));
}

/// All of the inbound direction but its system calls.
#[divan::bench(threads = THREADS)]
fn inbound(bencher: Bencher<'_, '_>) {
    counted(bencher, 1400)
        .with_inputs(|| ENDS.with_borrow_mut(|(sender, _)| sender.sealed()))
        .bench_refs(|packets| ENDS.with_borrow_mut(|(_, receiver)| receiver.run(packets)));
}
