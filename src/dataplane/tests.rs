//! Two data planes back to back, without descriptors.

use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use secure_gre_esp as esp;
use secure_gre_esp::{InboundSa, Keys, OutboundSa, Spi, Suite};
use secure_gre_gre as gre;

use super::batch::{Batch, MAX_PACKETS, MAX_PASSENGER};
use super::inbound::{Arrival, Delivery, Inbound};
use super::outbound::{Outbound, Own};
use super::{Note, SaId, Stray, TunnelConfig, TunnelId, inbound, outbound};
use crate::metrics::{Drop, LinkDrop, Tally};
use crate::net::outer::Path;

mod own;

const CONFIG: TunnelConfig = TunnelConfig {
    gre: gre::Config {
        kind: gre::Kind::Ip,
        key: None,
        checksum: false,
        sequence: false,
    },
    tos: gre::tos::Policy::Inherit,
    ttl: gre::ttl::Policy::Fixed(gre::ttl::Policy::DEFAULT),
    df: gre::df::Policy::Set,
    mtu: 1400,
    mss_clamp: true,
    reply_v4: Some(Ipv4Addr::new(10, 255, 0, 2)),
    reply_v6: Some(Ipv6Addr::new(0xfd00, 0x255, 0, 0, 0, 0, 0, 2)),
    ends: gre::keepalive::Ends::NONE,
    asks: false,
    limit: None,
    echo: None,
};
fn with_sequence() -> TunnelConfig {
    TunnelConfig {
        gre: gre::Config {
            sequence: true,
            ..CONFIG.gre
        },
        ..CONFIG
    }
}

/// The only tunnel of most links here.
const ONLY: TunnelId = TunnelId(0);

/// Notes as they print.
type Notes = Rc<RefCell<Vec<String>>>;
type Notify = Box<dyn FnMut(Note)>;

fn notes() -> (Notes, Notify) {
    let notes = Notes::default();
    let taker = Rc::clone(&notes);
    let notify = move |note| taker.borrow_mut().push(format!("{note:?}"));
    (notes, Box::new(notify))
}

/// A packet on the wire: ESP and the outer TOS.
type Packet = (Vec<u8>, u8);

struct Sender {
    path: Outbound<Notify>,
    batch: Batch,
    notes: Notes,
    replies: Vec<Vec<u8>>,
}

impl Sender {
    fn new(config: &TunnelConfig) -> Self {
        let (notes, notify) = notes();
        Self {
            path: Outbound::new([config], notify),
            batch: Batch::default(),
            notes,
            replies: Vec::new(),
        }
    }

    /// What leaves for these passengers.
    fn send(&mut self, passengers: &[Vec<u8>]) -> Vec<Packet> {
        self.batch.clear();
        for passenger in passengers {
            let room = self.batch.push(passenger.len()).unwrap();
            room.copy_from_slice(passenger);
        }
        let replies = &mut self.replies;
        self.path
            .seal(ONLY, &mut self.batch, Instant::now(), |reply| {
                replies.push(reply.to_vec());
            });
        let tally = self.path.tally(ONLY).unwrap();
        for bytes in self.batch.frames.iter().map(|frame| frame.passenger_len) {
            tally.deliver(bytes);
        }
        assert!(tally.is_conserved(), "{tally:?}");
        let packets = self.batch.packets();
        packets.map(|out| (out.esp.to_vec(), out.tos)).collect()
    }

    /// What leaves for a packet of our own.
    fn send_own(&mut self, own: Own) -> Vec<Packet> {
        self.path.seal_own(ONLY, &mut self.batch, &own);
        let packets = self.batch.packets();
        packets.map(|out| (out.esp.to_vec(), out.tos)).collect()
    }

    fn dropped(&mut self, reason: impl Into<Drop>) -> u64 {
        self.path.tally(ONLY).unwrap().dropped(reason)
    }
}

struct Receiver {
    path: Inbound<Notify>,
    notes: Notes,
}

impl Receiver {
    fn new(config: &TunnelConfig) -> Self {
        let (notes, notify) = notes();
        Self {
            path: Inbound::new([config], notify),
            notes,
        }
    }

    /// The passengers that come out of these packets.
    fn receive(&mut self, mut packets: Vec<Packet>) -> Vec<Vec<u8>> {
        let mut delivered = Vec::new();
        let arrivals = packets.iter_mut().map(|(esp, tos)| Arrival {
            esp: esp.as_mut_slice(),
            tos: *tos,
        });
        let mut delivery = Delivery::default();
        self.path.open(arrivals, |_, passenger| {
            delivered.push(passenger.to_vec());
            delivery.add(1, passenger.len(), true);
        });
        self.path.account(ONLY, delivery);
        let passed_on = self.path.arrivals().delivered.packets;
        let tally = self.tally();
        assert!(tally.is_conserved(), "{tally:?}");
        assert_eq!(tally.received, passed_on);
        let arrivals = self.path.arrivals();
        assert!(arrivals.is_conserved(), "{arrivals:?}");
        delivered
    }

    fn tally(&mut self) -> &mut Tally {
        self.path.tally(ONLY).unwrap()
    }

    /// By the tunnel, or before it was clear that a packet is for it.
    fn dropped(&mut self, reason: impl Into<Drop>) -> u64 {
        let reason = reason.into();
        self.tally().dropped(reason) + self.path.arrivals().dropped(reason)
    }
}

fn keys(number: u8) -> Keys {
    let spi = Spi::try_from(0x1000 + u32::from(number)).unwrap();
    Keys::new(Suite::Aes256Gcm16, spi, false, &[number; 36]).unwrap()
}

fn install_outbound(sender: &mut Sender, number: u8) {
    sender.path.obey(outbound::Command::Install(Arc::new(
        outbound::SharedSa::new(SaId(number.into()), OutboundSa::new(keys(number))),
    )));
}

fn install_inbound(receiver: &mut Receiver, number: u8, fresh: bool) {
    receiver.path.obey(inbound::Command::Install {
        id: SaId(number.into()),
        sa: Box::new(InboundSa::new(keys(number), 64)),
        fresh,
    });
}

fn pair(config: &TunnelConfig) -> (Sender, Receiver) {
    let (mut sender, mut receiver) = (Sender::new(config), Receiver::new(config));
    install_outbound(&mut sender, 1);
    install_inbound(&mut receiver, 1, true);
    (sender, receiver)
}

const DF: u8 = 0x40;

fn ipv4(destination: [u8; 4], tos: u8, flags: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [l0, l1] = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![
        0x45, tos, l0, l1, 0, 1, flags, 0, 64, protocol, 0, 0, 10, 1, 0, 1,
    ];
    packet.extend(destination);
    let sum = gre::checksum::checksum(&[&packet]).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    packet.extend(payload);
    packet
}

fn udp4(tos: u8, flags: u8, len: usize) -> Vec<u8> {
    ipv4([10, 2, 0, 1], tos, flags, 17, &vec![0x55; len - 20])
}

fn udp6(len: usize) -> Vec<u8> {
    let [l0, l1] = u16::try_from(len - 40).unwrap().to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, l0, l1, 17, 64];
    packet.extend([0xfd; 32]);
    packet.resize(len, 0x66);
    packet
}

/// A SYN that offers `mss`.
fn syn(mss: u16) -> Vec<u8> {
    let [m0, m1] = mss.to_be_bytes();
    let tcp = [
        0, 80, 0, 99, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0, 9, 0, 0, 0, 0, 2, 4, m0, m1,
    ];
    ipv4([10, 2, 0, 1], 0, DF, 6, &tcp)
}

fn numbered(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| udp4(0, DF, 28 + number)).collect()
}

fn every_gre_config() -> impl Iterator<Item = gre::Config> {
    (0..8).map(|bits| gre::Config {
        kind: gre::Kind::Ip,
        key: (bits & 1 != 0).then_some(gre::Key::Whole(7)),
        checksum: bits & 2 != 0,
        sequence: bits & 4 != 0,
    })
}

#[test]
fn what_goes_in_comes_out() {
    let ospf_hello = ipv4([224, 0, 0, 5], 0xc0, 0, 89, &[2; 44]);
    let passengers = vec![udp4(0, DF, 1400), udp6(1400), ospf_hello, udp4(0, 0, 20)];
    for gre in every_gre_config() {
        let (mut sender, mut receiver) = pair(&TunnelConfig { gre, ..CONFIG });
        for _ in 0..3 {
            let packets = sender.send(&passengers);
            assert_eq!(receiver.receive(packets), passengers, "{gre:?}");
        }
        assert_eq!(*sender.notes.borrow(), [""; 0]);
        assert_eq!(
            *receiver.notes.borrow(),
            ["FirstInbound { sa: SaId(1) }"],
            "once per SA"
        );
    }
}

#[test]
fn without_an_sa_nothing_leaves() {
    let mut sender = Sender::new(&CONFIG);
    let passengers = vec![udp4(0, DF, 100), udp4(0, DF, 1500), vec![0]];
    assert_eq!(sender.send(&passengers), []);
    assert_eq!(sender.dropped(LinkDrop::NoSa), 3);
    assert_eq!(sender.replies.len(), 0);

    install_outbound(&mut sender, 1);
    assert_eq!(sender.send(&passengers).len(), 1);
    sender.path.obey(outbound::Command::Remove(SaId(1)));
    assert_eq!(sender.send(&passengers), []);
    assert_eq!(sender.dropped(LinkDrop::NoSa), 6);
}

/// RFC 7296 §2.8
#[test]
fn the_newest_outbound_sa_carries_and_the_older_one_after_it() {
    let spi = |packets: &[Packet]| esp::peek_spi(&packets[0].0).map(u32::from);
    let mut sender = Sender::new(&CONFIG);
    install_outbound(&mut sender, 1);
    install_outbound(&mut sender, 2);
    assert_eq!(spi(&sender.send(&numbered(1))), Some(0x1002));
    sender.path.obey(outbound::Command::Remove(SaId(2)));
    assert_eq!(spi(&sender.send(&numbered(1))), Some(0x1001));
}

#[test]
fn packets_of_both_sas_arrive_during_a_rekey_each_once() {
    let (mut sender, mut receiver) = pair(&with_sequence());
    let old = sender.send(&numbered(2));
    install_inbound(&mut receiver, 2, false);
    install_outbound(&mut sender, 2);
    let new = sender.send(&numbered(2));

    assert_eq!(
        receiver.receive(vec![old[0].clone(), old[1].clone()]).len(),
        2
    );
    assert_eq!(
        receiver.receive(new.clone()).len(),
        2,
        "the GRE sequence goes on"
    );
    assert_eq!(receiver.receive([old.clone(), new].concat()), [[0; 0]; 0]);
    assert_eq!(receiver.dropped(esp::Drop::ReplayDuplicate), 4);
    receiver.path.obey(inbound::Command::Remove(SaId(1)));
    assert_eq!(receiver.receive(old), [[0; 0]; 0]);
    assert_eq!(receiver.dropped(esp::Drop::UnknownSpi), 2);
}

/// libreswan answers a rekey after it has sent its first packets on the new SA.
#[test]
fn packets_that_overtake_their_sa_are_held_for_it() {
    let (mut sender, mut receiver) = pair(&CONFIG);
    install_outbound(&mut sender, 2);
    let passengers = numbered(4);
    let mut packets = sender.send(&passengers);
    let spi = Spi::try_from(0x1002).unwrap();

    let early = packets.remove(0);
    assert_eq!(receiver.receive(vec![early]), [[0; 0]; 0]);
    assert_eq!(receiver.dropped(esp::Drop::UnknownSpi), 1, "not offered");

    receiver.path.obey(inbound::Command::Expect(spi));
    assert_eq!(receiver.receive(packets.drain(..2).collect()), [[0; 0]; 0]);
    assert_eq!(receiver.path.arrivals().received, 1, "their fate is open");
    assert!(!receiver.path.has_due());
    install_inbound(&mut receiver, 2, false);
    assert!(receiver.path.has_due());
    assert_eq!(receiver.receive(packets), passengers[1..], "in their order");
    assert!(!receiver.path.has_due());
    assert_eq!(receiver.path.arrivals().authentic, 3);
    assert_eq!(*receiver.notes.borrow(), ["FirstInbound { sa: SaId(2) }"]);
}

/// SECURITY (NAT rebinding), D49, RFC 7296 §2.23: what comes from elsewhere is opened like anything
/// else, and only what is newer than all before it shows where the peer is.
#[test]
fn what_comes_by_no_wire_is_delivered_and_shows_where_the_peer_is_if_it_is_new() {
    let (mut sender, mut receiver) = pair(&CONFIG);
    let passengers = numbered(4);
    let packets = sender.send(&passengers);
    let stray = |packet: &Packet| {
        let [local, remote] = ["192.0.2.2:4500", "198.51.100.1:7"].map(|at| at.parse().unwrap());
        inbound::Command::Open(Stray {
            path: Path { local, remote },
            esp: packet.0.as_slice().into(),
        })
    };
    let open = |receiver: &mut Receiver, packet: &Packet| {
        receiver.path.obey(stray(packet));
        assert!(receiver.path.has_due());
        let delivered = receiver.receive(Vec::new());
        let told = receiver.notes.borrow_mut().drain(..).collect::<Vec<_>>();
        (delivered, told.len())
    };
    let mut forged = packets[3].clone();
    *forged.0.last_mut().unwrap() ^= 1;
    assert_eq!(open(&mut receiver, &forged), (vec![], 0));
    assert_eq!(receiver.dropped(esp::Drop::Icv), 1);
    let first = (vec![passengers[1].clone()], 2);
    assert_eq!(
        open(&mut receiver, &packets[1]),
        first,
        "and its SA's first"
    );
    assert_eq!(open(&mut receiver, &packets[1]), (vec![], 0));
    assert_eq!(receiver.dropped(esp::Drop::ReplayDuplicate), 1);
    let older = (vec![passengers[0].clone()], 0);
    assert_eq!(open(&mut receiver, &packets[0]), older, "too late to tell");
    let newer = (vec![passengers[3].clone()], 1);
    assert_eq!(open(&mut receiver, &packets[3]), newer);
    assert_eq!(
        receiver.receive(vec![packets[2].clone()]),
        passengers[2..3],
        "what was in flight on the wire"
    );
}

/// Who knows an SPI cannot make us check more ICVs than that.
#[test]
fn a_flood_of_strays_is_dropped() {
    let (mut sender, mut receiver) = pair(&CONFIG);
    let packets = sender.send(&numbered(1));
    for _ in 0..10_000 {
        let [local, remote] = ["192.0.2.2:4500", "198.51.100.1:7"].map(|at| at.parse().unwrap());
        receiver.path.obey(inbound::Command::Open(Stray {
            path: Path { local, remote },
            esp: packets[0].0.as_slice().into(),
        }));
    }
    receiver.receive(Vec::new());
    assert!(receiver.dropped(LinkDrop::StrayFlood) > 0);
    assert_eq!(receiver.path.arrivals().received, 10_000);
}

#[test]
fn packets_for_an_sa_that_does_not_come_are_counted() {
    let (mut sender, mut receiver) = pair(&CONFIG);
    install_outbound(&mut sender, 2);
    let packets = sender.send(&numbered(4));
    let spi = Spi::try_from(0x1002).unwrap();
    receiver.path.obey(inbound::Command::Expect(spi));
    assert_eq!(receiver.receive(packets.clone()), [[0; 0]; 0]);
    receiver.path.obey(inbound::Command::ExpectNoMore(spi));
    assert_eq!(receiver.dropped(LinkDrop::HeldInVain), 4);
    assert_eq!(receiver.receive(packets), [[0; 0]; 0]);
    assert_eq!(receiver.dropped(esp::Drop::UnknownSpi), 4);
}

/// D55, RFC 2890 §2.2
#[test]
fn a_peer_that_starts_anew_may_count_gre_sequence_numbers_from_0() {
    for fresh in [true, false] {
        let (mut sender, mut receiver) = pair(&with_sequence());
        let packets = sender.send(&numbered(9));
        assert_eq!(receiver.receive(packets).len(), 9);
        let late = sender.send(&numbered(1));

        let mut restarted = Sender::new(&with_sequence());
        install_outbound(&mut restarted, 2);
        install_inbound(&mut receiver, 2, fresh);
        assert_eq!(receiver.receive(late).len(), 1);
        let packets = restarted.send(&numbered(3));
        let expected = if fresh { 3 } else { 0 };
        assert_eq!(receiver.receive(packets).len(), expected);
        assert_eq!(
            receiver.dropped(gre::Drop::SequenceOld),
            3 - expected as u64
        );
    }
}

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

/// An authentic ESP packet with any payload.
fn sealed(sa: &OutboundSa, next_header: u8, payload: &[u8]) -> Packet {
    let range = OutboundSa::HEADROOM..OutboundSa::HEADROOM + payload.len();
    let mut buffer = vec![0; range.end + sa.trailer_len(payload.len())];
    buffer[range.clone()].copy_from_slice(payload);
    let seq = sa.reserve(1, payload.len() as u64).unwrap().next().unwrap();
    let packet = sa.seal(seq, next_header, &mut buffer, range).unwrap();
    (buffer[packet].to_vec(), 0)
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

/// D56, PAINS 20: as Linux's ip6gre writes it between ESP and GRE.
#[test]
fn gre_behind_a_destination_options_header_is_delivered() {
    let (_, mut receiver) = pair(&CONFIG);
    let sa = OutboundSa::new(keys(1));
    let passenger = udp4(0, DF, 40);
    let options = [47, 0, 4, 1, 4, 1, 1, 0];
    let packet = [&options[..], &[0, 0, 8, 0], &passenger].concat();
    let packets = vec![sealed(&sa, 60, &packet), sealed(&sa, 60, &packet[8..])];
    assert_eq!(receiver.receive(packets), [passenger]);
    assert_eq!(receiver.dropped(gre::Drop::DestinationOptions), 1);
}

/// D54
#[test]
fn packets_with_a_key_that_no_tunnel_has_are_counted_under_it() {
    let with_key = |key: Option<u32>| TunnelConfig {
        gre: gre::Config {
            key: key.map(gre::Key::Whole),
            ..CONFIG.gre
        },
        ..CONFIG
    };
    let (_, mut receiver) = pair(&with_key(Some(0)));
    let keys = [Some(1001), None, Some(1001), Some(0)];
    for (sent, key) in keys.into_iter().enumerate() {
        let (mut sender, _) = pair(&with_key(key));
        // The numbers of one SA.
        sender.send(&numbered(sent));
        receiver.receive(sender.send(&[udp4(0, DF, 40)]));
    }
    let counts = receiver.path.arrivals().strange_keys;
    let counts: Vec<_> = counts.iter().map(|c| (c.key, c.packets)).collect();
    assert_eq!(counts, [(Some(1001), 2), (None, 1)]);
    assert_eq!(receiver.dropped(gre::Drop::KeyUnknown), 2);
    assert_eq!(receiver.dropped(gre::Drop::KeyMissing), 1);
    assert_eq!(receiver.tally().delivered.packets, 1);
}

/// RFC 2890 §2.1: under one SA pair each key has its device, and its own of everything else.
#[test]
fn tunnels_share_the_sas_and_nothing_else() {
    let configs = [Some(1001), None, Some(0)].map(|key| TunnelConfig {
        gre: gre::Config {
            key: key.map(gre::Key::Whole),
            sequence: true,
            ..CONFIG.gre
        },
        mtu: if key == Some(0) { 1280 } else { 1400 },
        ttl: gre::ttl::Policy::Fixed(NonZeroU8::new(if key.is_some() { 7 } else { 64 }).unwrap()),
        ..CONFIG
    });
    let (_, notify) = notes();
    let mut sender = Outbound::new(&configs, notify);
    let (mut receiver, passenger) = (Inbound::new(&configs, |_| {}), udp4(0, DF, 1300));
    sender.obey(outbound::Command::Install(Arc::new(
        outbound::SharedSa::new(SaId(1), OutboundSa::new(keys(1))),
    )));
    receiver.obey(inbound::Command::Install {
        id: SaId(1),
        sa: Box::new(InboundSa::new(keys(1), 64)),
        fresh: true,
    });
    let mut batch = Batch::default();
    let mut delivered = Vec::new();
    for tunnel in [0, 1, 2, 1, 0].map(TunnelId) {
        batch.clear();
        let place = batch.push(passenger.len()).unwrap();
        place.copy_from_slice(&passenger);
        sender.seal(tunnel, &mut batch, Instant::now(), |_| {});
        let mut packets: Vec<_> = batch
            .packets()
            .map(|out| (out.esp.to_vec(), out.ttl))
            .collect();
        let ttl = if tunnel == TunnelId(1) { 64 } else { 7 };
        assert!(packets.iter().all(|(_, t)| t.unwrap().get() == ttl));
        let arrivals = packets.iter_mut().map(|(esp, _)| Arrival { esp, tos: 0 });
        receiver.open(arrivals, |tunnel, passenger| {
            delivered.push((tunnel, passenger.to_vec()));
        });
    }
    let expected = [0, 1, 1, 0].map(|tunnel| (TunnelId(tunnel), passenger.clone()));
    assert_eq!(delivered, expected, "the numbers of each are in sequence");
    let too_big = |path: &mut Outbound<Notify>, tunnel| {
        let tally = path.tally(TunnelId(tunnel)).unwrap();
        tally.dropped(LinkDrop::TooBig)
    };
    assert_eq!(
        [0, 1, 2].map(|tunnel| too_big(&mut sender, tunnel)),
        [0, 0, 1]
    );
    let mut touched: Vec<_> = std::iter::from_fn(|| receiver.next_touched()).collect();
    touched.sort_unstable();
    assert_eq!(touched, [0, 1].map(TunnelId));
    assert_eq!(receiver.tally(TunnelId(0)).unwrap().received, 2);
}

/// D45, RFC 4303 §3.3.3
#[test]
fn an_exhausted_sa_sends_nothing_more_and_says_so_once() {
    let mut sender = Sender::new(&CONFIG);
    let sa = OutboundSa::new(keys(1));
    drop(sa.reserve(u32::MAX - 2, 0).unwrap());
    sender.path.obey(outbound::Command::Install(Arc::new(
        outbound::SharedSa::new(SaId(1), sa),
    )));
    assert_eq!(sender.send(&numbered(5)).len(), 2);
    assert_eq!(sender.send(&numbered(5)), []);
    assert_eq!(sender.dropped(LinkDrop::Exhausted), 8);
    assert_eq!(
        *sender.notes.borrow(),
        ["SoftLimit { sa: SaId(1) }", "Exhausted { sa: SaId(1) }"]
    );
}

/// D42: limits of octets, which GRE packets of 44 octets reach in the middle of a batch.
#[test]
fn nothing_is_sealed_beyond_a_limit() {
    let mut sender = Sender::new(&CONFIG);
    let limits = esp::Limits {
        bytes: Some(10 * 44),
        soft_per_mille: 700,
        ..esp::Limits::default()
    };
    sender.path.obey(outbound::Command::Install(Arc::new(
        outbound::SharedSa::new(SaId(1), OutboundSa::with_limits(keys(1), limits)),
    )));
    let passengers = vec![udp4(0, DF, 40); 7];
    assert_eq!(sender.send(&passengers).len(), 7);
    assert_eq!(*sender.notes.borrow(), [""; 0]);
    assert_eq!(sender.send(&passengers).len(), 3);
    assert_eq!(sender.dropped(LinkDrop::Exhausted), 4);
    assert_eq!(
        *sender.notes.borrow(),
        ["SoftLimit { sa: SaId(1) }", "Exhausted { sa: SaId(1) }"]
    );
}

/// PAINS 15: other packets between the same hosts are passengers like any other.
#[test]
fn what_the_link_itself_sent_does_not_leave_again() {
    let (mut sender, _) = pair(&CONFIG);
    let [local, remote] = [[10, 0, 0, 1], [10, 0, 0, 2]]
        .map(|address: [u8; 4]| std::net::SocketAddr::from((address, 4500)));
    sender.path.travel(Path { local, remote });
    let to_peer = |protocol, payload: &[u8]| {
        let mut packet = ipv4([10, 0, 0, 2], 0, DF, protocol, payload);
        packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
        packet
    };
    let own = [to_peer(50, &[0; 64]), to_peer(17, &4500_u16.to_be_bytes())];
    assert_eq!(sender.send(&own), []);
    assert_eq!(sender.dropped(LinkDrop::Recursion), 2);
    assert_eq!(sender.send(&[to_peer(1, &[8, 0, 0, 0])]).len(), 1);
}

/// D57
#[test]
fn a_passenger_that_is_too_big_is_answered_and_not_sent() {
    let (mut sender, _) = pair(&CONFIG);
    assert_eq!(
        sender.send(&[udp4(0, DF, 1401), udp6(1401), udp4(0, 0, 1401)]),
        []
    );
    assert_eq!(sender.dropped(LinkDrop::TooBig), 3);
    let versions: Vec<_> = sender.replies.iter().map(|reply| reply[0] >> 4).collect();
    assert_eq!(versions, [4, 6], "with DF only");
    assert_eq!(sender.replies[0][12..16], [10, 255, 0, 2]);

    sender.path.obey(outbound::Command::SetMtu {
        tunnel: ONLY,
        mtu: 1401,
    });
    assert_eq!(sender.send(&[udp4(0, DF, 1401)]).len(), 1);
}

/// D59, RFC 9293 §3.7.1
#[test]
fn the_mss_is_clamped_in_both_directions() {
    let mss = |packets: &[Vec<u8>]| u16::from_be_bytes([packets[0][42], packets[0][43]]);
    let unclamped = TunnelConfig {
        mss_clamp: false,
        ..CONFIG
    };
    let small = TunnelConfig {
        mtu: 1300,
        ..CONFIG
    };
    for (ours, theirs, expected) in [
        (&CONFIG, &unclamped, 1360),
        (&unclamped, &CONFIG, 1360),
        (&small, &CONFIG, 1260),
        (&CONFIG, &small, 1260),
        (&unclamped, &unclamped, 1460),
    ] {
        let (mut sender, _) = pair(ours);
        let (_, mut receiver) = pair(theirs);
        let packets = sender.send(&[syn(1460)]);
        assert_eq!(mss(&receiver.receive(packets)), expected);
    }
    let (mut sender, mut receiver) = pair(&CONFIG);
    receiver.path.obey(inbound::Command::SetMtu {
        tunnel: ONLY,
        mtu: 1200,
    });
    let packets = sender.send(&[syn(1460)]);
    assert_eq!(mss(&receiver.receive(packets)), 1160);
}

/// D58, RFC 6040 §4
#[test]
fn congestion_on_the_way_reaches_the_passenger_or_costs_it() {
    const ECT_0: u8 = 2;
    const CE: u8 = 3;
    const DSCP: u8 = 0xb8;
    let (mut sender, mut receiver) = pair(&CONFIG);
    let mut packets = sender.send(&[udp4(DSCP | ECT_0, DF, 60), udp4(DSCP, DF, 60)]);
    assert_eq!((packets[0].1, packets[1].1), (DSCP | ECT_0, DSCP));
    for packet in &mut packets {
        packet.1 |= CE;
    }
    assert_eq!(receiver.receive(packets), [udp4(DSCP | CE, DF, 60)]);
    assert_eq!(receiver.dropped(gre::Drop::EcnCongestion), 1);
}

#[test]
fn what_the_device_refuses_is_counted() {
    let (mut sender, mut receiver) = pair(&CONFIG);
    let mut packets = sender.send(&numbered(2));
    let arrivals = packets.iter_mut().map(|(esp, tos)| Arrival {
        esp: esp.as_mut_slice(),
        tos: *tos,
    });
    let mut delivery = Delivery::default();
    receiver.path.open(arrivals, |_, passenger| {
        delivery.add(1, passenger.len(), passenger.len() > 28);
    });
    receiver.path.account(ONLY, delivery);
    assert_eq!(receiver.dropped(LinkDrop::TunRefused), 1);
    assert_eq!(receiver.tally().delivered.packets, 1);
    assert!(receiver.tally().is_conserved());
}

#[test]
fn a_batch_has_room_for_many_usual_packets_or_few_of_the_largest() {
    let fill = |len: usize| {
        let mut batch = Batch::default();
        while let Some(room) = batch.push(len) {
            assert_eq!(room.len(), len);
        }
        batch.len()
    };
    assert_eq!(fill(0), MAX_PACKETS);
    assert_eq!(fill(1500), MAX_PACKETS);
    assert_eq!(fill(MAX_PASSENGER), 4);
    assert_eq!(fill(MAX_PASSENGER + 1), 0);
}

/// The largest passenger with every GRE option still has room for its trailer.
#[test]
fn the_largest_passenger_passes() {
    for gre in every_gre_config() {
        let (mut sender, mut receiver) = pair(&TunnelConfig {
            gre,
            mtu: u16::MAX,
            ..CONFIG
        });
        for len in MAX_PASSENGER - 4..=MAX_PASSENGER {
            let packets = sender.send(&[udp4(0, DF, len)]);
            assert_eq!(receiver.receive(packets), [udp4(0, DF, len)]);
        }
    }
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
            kind: gre::Kind::Ip,
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
