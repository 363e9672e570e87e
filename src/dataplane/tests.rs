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

mod bad_gre;
mod fit;
mod hostile;
mod own;
mod sas;
mod strays;
mod tunnels;

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

fn numbered(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| udp4(0, DF, 28 + number)).collect()
}

fn every_gre_config() -> impl Iterator<Item = gre::Config> {
    (0..8).map(|bits| gre::Config {
        kind: gre::Passengers::Ip,
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

/// An authentic ESP packet with any payload.
fn sealed(sa: &OutboundSa, next_header: u8, payload: &[u8]) -> Packet {
    let range = OutboundSa::HEADROOM..OutboundSa::HEADROOM + payload.len();
    let mut buffer = vec![0; range.end + sa.trailer_len(payload.len())];
    buffer[range.clone()].copy_from_slice(payload);
    let seq = sa.reserve(1, payload.len() as u64).unwrap().next().unwrap();
    let packet = sa.seal(seq, next_header, &mut buffer, range).unwrap();
    (buffer[packet].to_vec(), 0)
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
