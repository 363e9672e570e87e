//! Joining consecutive packets of a flow to one super-packet for the device, the reverse of
//! `segment`: what the kernel cuts again, or hands to a socket in one piece, is what came in.
//!
//! Joined are segments of TCP that say nothing but "more data" and datagrams of UDP, all with the
//! same headers but for what counts on, with right checksums, and of one size but for a shorter last
//! one. Everything else passes as it is, behind what came before it of its flow: packets of one flow
//! are never reordered, those of different flows may be. Nothing is kept beyond
//! [`flush`](Coalescer::flush), which ends each batch; until then what is full is kept too, while there is
//! room, since writes that follow each other closely wake a receiver once.
//!
//! Not here: writing to the device.

use std::num::NonZeroU16;

use secure_gre_gre::Passengers;
use secure_gre_gre::checksum::checksum;

use super::batch::MAX_PASSENGER;
use super::headers::{
    ACK, IPV4_HEADER, IPV6_HEADER, PSH, TCP, TCP_CHECKSUM, TCP_FLAGS, TCP_SEQUENCE, UDP,
    UDP_CHECKSUM, UDP_HEADER, UDP_LENGTH, finish_ipv4, finish_ipv6, put_u16, take, take_u16,
    tcp_header_len,
};
use crate::net::tun::{Offload, Offloads, PartialChecksum, SegmentKind, Segmentation};

/// What goes to the device in one piece.
#[derive(Debug)]
pub struct Coalesced<'a> {
    /// The packet.
    pub packet: &'a [u8],
    /// What is left to do in it.
    pub offload: Offload,
    /// How many passengers it is.
    pub passengers: usize,
    /// Their octets.
    pub octets: usize,
}

/// Joins passengers, in room that is allocated once.
#[derive(Debug)]
pub struct Coalescer {
    offloads: Offloads,
    kind: Passengers,
    /// Those in use first.
    groups: Box<[Group]>,
    used: usize,
}

impl Coalescer {
    /// Makes such super-packets as a device with these `offloads` takes, of passengers of this `kind`.
    pub fn new(offloads: Offloads, kind: Passengers) -> Self {
        let groups = match offloads {
            Offloads::None => 0,
            Offloads::Tcp | Offloads::TcpAndUdp => MAX_GROUPS,
        };
        Self {
            offloads,
            kind,
            groups: (0..groups).map(|_| Group::default()).collect(),
            used: 0,
        }
    }

    /// Takes one passenger; `write` gets what is ready, in the order of each flow.
    pub fn take(&mut self, passenger: &[u8], write: &mut impl FnMut(Coalesced<'_>)) {
        if self.offloads == Offloads::None {
            return write(alone(passenger));
        }
        let (flow, segment) = match classify(passenger, self.kind) {
            Class::Other => return write(alone(passenger)),
            Class::Unknown => {
                self.flush(write);
                return write(alone(passenger));
            }
            Class::Flow(flow, segment) => (flow, segment),
        };
        let segment = segment.filter(|_| flow.is_tcp() || self.offloads == Offloads::TcpAndUdp);
        if !segment.is_some_and(|segment| self.join(flow, &segment, passenger, write)) {
            self.finish(flow, write);
            write(alone(passenger));
        }
    }

    /// Hands out everything that is kept, in the order of coming.
    pub fn flush(&mut self, write: &mut impl FnMut(Coalesced<'_>)) {
        for group in self.groups.iter_mut().take(self.used) {
            write(group.finish());
        }
        self.used = 0;
    }

    /// Adds a passenger to the last group of its flow, or begins one with it. `false`: it stays alone.
    fn join(
        &mut self,
        flow: Flow,
        segment: &Segment,
        passenger: &[u8],
        write: &mut impl FnMut(Coalesced<'_>),
    ) -> bool {
        let groups = self.groups.get_mut(..self.used).unwrap_or_default();
        let last = groups.iter_mut().rfind(|group| group.flow == flow);
        if last.is_some_and(|group| group.join(segment, passenger).is_some()) {
            return true;
        }
        if segment.is_last || !segment.is_intact(passenger) {
            return false;
        }
        if self.used == self.groups.len() {
            self.make_room(write);
        }
        if let Some(group) = self.groups.get_mut(self.used) {
            group.start(flow, segment, passenger);
            self.used += 1;
        }
        true
    }

    /// Hands out the flow that came last: where flows take turns, the others go on to be joined.
    fn make_room(&mut self, write: &mut impl FnMut(Coalesced<'_>)) {
        if let Some(last) = self.groups.last().map(|group| group.flow) {
            self.finish(last, write);
        }
    }

    /// Hands out the groups of a flow; the others keep their order.
    fn finish(&mut self, flow: Flow, write: &mut impl FnMut(Coalesced<'_>)) {
        let mut groups = self.groups.iter().take(self.used);
        let Some(first) = groups.position(|group| group.flow == flow) else {
            return;
        };
        let mut kept = first;
        for index in first..self.used {
            match self.groups.get_mut(index) {
                Some(group) if group.flow == flow => write(group.finish()),
                _ => {
                    self.groups.swap(kept, index);
                    kept += 1;
                }
            }
        }
        self.used = kept;
    }
}

fn alone(packet: &[u8]) -> Coalesced<'_> {
    Coalesced {
        packet,
        offload: Offload::default(),
        passengers: 1,
        octets: packet.len(),
    }
}

/// What tells one flow from another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Flow {
    /// Source and destination, 8 octets or 32.
    addresses: [u8; 32],
    ports: [u8; 4],
    protocol: u8,
    is_v4: bool,
}

impl Flow {
    fn is_tcp(&self) -> bool {
        self.protocol == TCP
    }
}

/// A packet that may be joined with its neighbours, as far as it tells by itself.
#[derive(Debug, Clone, Copy, Default)]
struct Segment {
    is_v4: bool,
    is_tcp: bool,
    /// Where the IP header, the transport header and the payload are.
    ip: usize,
    transport: usize,
    payload: usize,
    /// Of TCP: the number of its first octet.
    sequence: u32,
    /// IPv4: its identification, unless that says nothing (RFC 6864 §4.1: with DF).
    identification: Option<u16>,
    /// Nothing can follow it.
    is_last: bool,
}

/// What a passenger is to the coalescer.
enum Class {
    /// Of no flow that is ever joined.
    Other,
    /// Perhaps of a flow that is, but the packet does not tell which.
    Unknown,
    /// Of this flow, and to be joined or not.
    Flow(Flow, Option<Segment>),
}

fn classify(packet: &[u8], kind: Passengers) -> Class {
    let Some(ip) = kind.ip_offset(packet) else {
        return Class::Other;
    };
    match packet.get(ip).map(|version| version >> 4) {
        Some(4) => classify_ipv4(packet, ip).unwrap_or(Class::Unknown),
        Some(6) => classify_ipv6(packet, ip).unwrap_or(Class::Unknown),
        _ => Class::Other,
    }
}

fn classify_ipv4(packet: &[u8], ip: usize) -> Option<Class> {
    let header: &[u8; IPV4_HEADER] = packet.get(ip..)?.first_chunk()?;
    let &[version_ihl, _, l0, l1, i0, i1, f0, f1, _, protocol, ..] = header;
    if !matches!(protocol, TCP | UDP) {
        return Some(Class::Other);
    }
    let fragment = u16::from_be_bytes([f0, f1]);
    if version_ihl != 0x45 || fragment & !DONT_FRAGMENT != 0 {
        return Some(Class::Unknown);
    }
    has_length(packet, ip, [l0, l1])?;
    let mut addresses = [0; 32];
    *addresses.first_chunk_mut()? = take::<8>(header, 12)?;
    let has_df = fragment & DONT_FRAGMENT != 0;
    let segment = Segment {
        is_v4: true,
        is_tcp: protocol == TCP,
        ip,
        transport: ip + IPV4_HEADER,
        identification: (!has_df).then_some(u16::from_be_bytes([i0, i1])),
        ..Segment::default()
    };
    classify_transport(packet, addresses, segment)
}

/// What a header says of the octets from `start` on is true.
fn has_length(packet: &[u8], start: usize, field: [u8; 2]) -> Option<()> {
    (start + usize::from(u16::from_be_bytes(field)) == packet.len()).then_some(())
}

fn classify_ipv6(packet: &[u8], ip: usize) -> Option<Class> {
    let header: &[u8; IPV6_HEADER] = packet.get(ip..)?.first_chunk()?;
    let &[_, _, _, _, l0, l1, next_header, ..] = header;
    match next_header {
        ICMPV6 => Some(Class::Other),
        protocol @ (TCP | UDP) => {
            has_length(packet, ip + IPV6_HEADER, [l0, l1])?;
            let segment = Segment {
                is_tcp: protocol == TCP,
                ip,
                transport: ip + IPV6_HEADER,
                ..Segment::default()
            };
            classify_transport(packet, take(header, 8)?, segment)
        }
        // An extension header, and what is behind it.
        _ => Some(Class::Unknown),
    }
}

fn classify_transport(packet: &[u8], addresses: [u8; 32], mut segment: Segment) -> Option<Class> {
    let transport = packet.get(segment.transport..)?;
    let flow = Flow {
        addresses,
        ports: take(transport, 0)?,
        protocol: if segment.is_tcp { TCP } else { UDP },
        is_v4: segment.is_v4,
    };
    let joins = if segment.is_tcp {
        let flags = transport.get(TCP_FLAGS)?;
        let reserved = transport.get(TCP_FLAGS - 1)? & 0x0f;
        segment.sequence = take(transport, TCP_SEQUENCE).map(u32::from_be_bytes)?;
        segment.payload = segment.transport + tcp_header_len(transport)?;
        segment.is_last = flags & PSH != 0;
        flags & !PSH == ACK && reserved == 0
    } else {
        segment.payload = segment.transport + UDP_HEADER;
        // RFC 768: a checksum of 0 is none, and the kernel would make one.
        usize::from(take_u16(transport, UDP_LENGTH)?) == transport.len()
            && take_u16(transport, UDP_CHECKSUM)? != 0
    };
    let joins = joins && segment.payload < packet.len();
    Some(Class::Flow(flow, joins.then_some(segment)))
}

impl Segment {
    /// Whether its checksums are right, so that nothing is lost when the kernel makes them anew.
    fn is_intact(&self, packet: &[u8]) -> bool {
        let Some((network, transport)) = packet.split_at_checked(self.transport) else {
            return false;
        };
        let Some(ip) = network.get(self.ip..) else {
            return false;
        };
        (!self.is_v4 || checksum(&[ip]) == 0) && self.sum(ip, transport.len(), transport) == 0
    }

    /// The checksum over the pseudo-header, for a transport header and payload of `len` octets, and
    /// over `octets`.
    fn sum(&self, ip: &[u8], len: usize, octets: &[u8]) -> u16 {
        let addresses = ip
            .get(if self.is_v4 { 12 } else { 8 }..)
            .unwrap_or_default();
        let protocol = if self.is_tcp { TCP } else { UDP };
        let [.., l0, l1] = len.to_be_bytes();
        checksum(&[addresses, &[0, protocol, l0, l1], octets])
    }

    /// Whether the headers up to the payload are alike in all that does not count on: not in
    /// lengths, identification, sequence number, PSH and checksums.
    fn has_headers_of(&self, packet: &[u8], other: &[u8]) -> bool {
        let Self { ip, transport, .. } = *self;
        let (length, identification, checksum) = if self.is_v4 {
            (ip + 2..ip + 4, ip + 4..ip + 6, ip + 10..ip + 12)
        } else {
            (ip + 4..ip + 6, ip + 6..ip + 6, ip + 6..ip + 6)
        };
        let fixed = [
            0..length.start,
            length.end..identification.start,
            identification.end..checksum.start,
            checksum.end..transport + 4,
        ];
        let tcp = [
            transport + TCP_SEQUENCE + 4..transport + TCP_FLAGS,
            transport + TCP_FLAGS + 1..transport + TCP_CHECKSUM,
            transport + TCP_CHECKSUM + 2..self.payload,
        ];
        let tcp = tcp.into_iter().filter(|_| self.is_tcp);
        fixed
            .into_iter()
            .chain(tcp)
            .all(|range| packet.get(range.clone()) == other.get(range))
    }
}

/// Passengers of one flow that are one packet already.
#[derive(Debug)]
struct Group {
    flow: Flow,
    /// The first of them.
    first: Segment,
    packet: Box<[u8]>,
    /// Octets of the packet.
    len: usize,
    /// Octets of payload in each passenger but the last.
    size: usize,
    next_sequence: u32,
    next_identification: Option<u16>,
    passengers: usize,
    /// Octets of the passengers.
    octets: usize,
    /// It takes no more.
    is_full: bool,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            flow: Flow::default(),
            first: Segment::default(),
            packet: vec![0; MAX_PASSENGER].into_boxed_slice(),
            len: 0,
            size: 0,
            next_sequence: 0,
            next_identification: None,
            passengers: 0,
            octets: 0,
            is_full: false,
        }
    }
}

impl Group {
    fn start(&mut self, flow: Flow, segment: &Segment, passenger: &[u8]) {
        self.flow = flow;
        self.first = *segment;
        self.len = passenger.len();
        if let Some(place) = self.packet.get_mut(..self.len) {
            place.copy_from_slice(passenger);
        }
        self.size = passenger.len() - segment.payload;
        self.passengers = 0;
        self.octets = 0;
        self.is_full = false;
        self.count(segment, passenger);
    }

    /// Takes one more passenger, if it follows those that are here.
    fn join(&mut self, segment: &Segment, passenger: &[u8]) -> Option<()> {
        let payload = passenger.get(segment.payload..)?;
        let follows = !self.is_full
            && payload.len() <= self.size
            && segment.payload == self.first.payload
            && (!segment.is_tcp || segment.sequence == self.next_sequence)
            && segment.identification == self.next_identification
            && segment.has_headers_of(passenger, &self.packet)
            && segment.is_intact(passenger);
        if !follows {
            return None;
        }
        let place = self.packet.get_mut(self.len..self.len + payload.len())?;
        place.copy_from_slice(payload);
        self.len += payload.len();
        if segment.is_last {
            *self.packet.get_mut(segment.transport + TCP_FLAGS)? |= PSH;
        }
        self.count(segment, passenger);
        self.is_full = segment.is_last
            || payload.len() < self.size
            || !segment.is_tcp && self.passengers >= MAX_DATAGRAMS;
        Some(())
    }

    fn count(&mut self, segment: &Segment, passenger: &[u8]) {
        #[expect(clippy::cast_possible_truncation, reason = "at most 65535")]
        let payload = (passenger.len() - segment.payload) as u32;
        self.next_sequence = segment.sequence.wrapping_add(payload);
        self.next_identification = segment.identification.map(|number| number.wrapping_add(1));
        self.passengers += 1;
        self.octets += passenger.len();
    }

    /// The packet as it goes to the device.
    fn finish(&mut self) -> Coalesced<'_> {
        let offload = if self.passengers > 1 {
            self.complete()
        } else {
            None
        };
        Coalesced {
            packet: self.packet.get(..self.len).unwrap_or_default(),
            offload: offload.unwrap_or_default(),
            passengers: self.passengers,
            octets: self.octets,
        }
    }

    /// Makes the headers those of the whole, and says how it is to be cut.
    fn complete(&mut self) -> Option<Offload> {
        let first = self.first;
        let packet = self.packet.get_mut(..self.len)?;
        let (network, transport) = packet.split_at_mut_checked(first.transport)?;
        let ip = network.get_mut(first.ip..)?;
        let len = u16::try_from(transport.len()).ok()?;
        let sum = !first.sum(ip, len.into(), &[]);
        let (kind, offset) = if first.is_v4 {
            finish_ipv4(ip, len)?;
            (SegmentKind::TcpV4, TCP_CHECKSUM)
        } else {
            finish_ipv6(ip, len)?;
            (SegmentKind::TcpV6, TCP_CHECKSUM)
        };
        let (kind, offset) = if first.is_tcp {
            (kind, offset)
        } else {
            put_u16(transport, UDP_LENGTH, len)?;
            (SegmentKind::Udp, UDP_CHECKSUM)
        };
        put_u16(transport, offset, sum)?;
        Some(Offload {
            checksum: Some(PartialChecksum {
                start: first.transport.try_into().ok()?,
                offset: offset.try_into().ok()?,
            }),
            segmentation: Some(Segmentation {
                kind,
                size: u16::try_from(self.size).ok().and_then(NonZeroU16::new)?,
                header_len: first.payload.try_into().ok()?,
            }),
        })
    }
}

/// What is kept at most: that many flows, or super-packets of one. A reception of a stream
/// mostly has the octets of 3, and aims at 16 as the most; each takes 64 KiB of a core's cache.
const MAX_GROUPS: usize = 8;

/// Datagrams of one packet: the kernel cuts no more than 64 (`UDP_MAX_SEGMENTS`, 128 since Linux 6.9) and
/// refuses the whole packet, in whose payload it counts a header of Ethernet too.
const MAX_DATAGRAMS: usize = 60;

const DONT_FRAGMENT: u16 = 0x4000;
const ICMPV6: u8 = 58;

#[cfg(test)]
mod tests;
