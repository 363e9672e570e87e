//! One GRE tunnel's two directions: RFC 2784 §2 and §3, RFC 2890 §2, RFC 7676 §3, RFC 7637 §3.2.
//!
//! [`Encapsulator`] and [`Decapsulator`] share nothing but their [`Config`], so that the worker of
//! each direction owns its half.
//!
//! Not here: finding the tunnel of a key ([`keys`](crate::keys)), protecting the packet, keepalives.

use std::ops::Range;

use crate::checksum::checksum;
use crate::error::Drop;
use crate::ethernet::{self, Passengers};
use crate::header::{Header, Protocol};
use crate::ip;
use crate::keys::{FlowId, Key};

/// What both ends of a tunnel agree on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Config {
    /// What passengers are.
    pub kind: Passengers,
    /// The key that every packet carries, both ways. 0 is a key, `None` is none (RFC 2890 §2.1).
    pub key: Option<Key>,
    /// Whether packets leave with a checksum. One that arrives is verified either way, and one
    /// that is absent is not missed (RFC 2784 §2.5).
    pub checksum: bool,
    /// Whether packets leave with a sequence number, and late arrivals are dropped
    /// (RFC 2890 §2.2).
    pub sequence: bool,
}

/// The outbound half of a tunnel.
#[derive(Debug)]
pub struct Encapsulator {
    config: Config,
    /// Goes on through a rekey or a new SA: the far end may keep its own count.
    next_sequence: u32,
}

impl Encapsulator {
    /// A tunnel that has sent nothing: its sequence numbers start at 0 (RFC 2890 §2.2).
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            next_sequence: 0,
        }
    }

    /// How many octets [`encapsulate`](Self::encapsulate) puts before a passenger: 4, 8, 12 or 16.
    pub fn header_len(&self) -> usize {
        self.header(Protocol::IPV4, &[]).wire_len()
    }

    /// Writes the GRE header right before the `passenger` octets of `buf` and returns the range
    /// of both. With NVGRE, the frame's VLAN tags are taken off before.
    ///
    /// # Errors
    /// [`Drop::PassengerNotIp`] or [`Drop::PassengerNotEthernet`], and [`Drop::NoHeadroom`] where the
    /// passenger is not inside `buf` with [`header_len`](Self::header_len) octets before it. No sequence
    /// number is used up.
    pub fn encapsulate(
        &mut self,
        buf: &mut [u8],
        mut passenger: Range<usize>,
    ) -> Result<Range<usize>, Drop> {
        if let Some(Key::Subnet { .. }) = self.config.key {
            let frame = buf.get_mut(passenger.clone()).ok_or(Drop::NoHeadroom)?;
            passenger.start += ethernet::remove_tags(frame);
        }
        let start = passenger
            .start
            .checked_sub(self.header_len())
            .ok_or(Drop::NoHeadroom)?;
        let range = start..passenger.end;
        let bytes = buf.get(passenger).ok_or(Drop::NoHeadroom)?;
        let mut header = self.header(self.protocol(bytes)?, bytes);

        let packet = buf.get_mut(range.clone()).ok_or(Drop::NoHeadroom)?;
        header.write(packet).ok_or(Drop::NoHeadroom)?;
        if self.config.checksum {
            header.checksum = Some(checksum(&[packet]));
            header.write(packet).ok_or(Drop::NoHeadroom)?;
        }
        if self.config.sequence {
            self.next_sequence = self.next_sequence.wrapping_add(1);
        }
        Ok(range)
    }

    fn protocol(&self, passenger: &[u8]) -> Result<Protocol, Drop> {
        match self.config.kind {
            Passengers::Ip => ip::protocol(passenger).ok_or(Drop::PassengerNotIp),
            Passengers::Ethernet if passenger.len() < ethernet::HEADER_LEN => {
                Err(Drop::PassengerNotEthernet)
            }
            Passengers::Ethernet => Ok(Protocol::ETHERNET),
        }
    }

    /// The header of the next packet, which carries `passenger`; its checksum still zero.
    fn header(&self, protocol: Protocol, passenger: &[u8]) -> Header {
        let key = self.config.key.map(|key| match key {
            Key::Whole(key) => key,
            Key::Subnet { vsid, flow_id } => {
                let flow_id = match flow_id {
                    FlowId::Auto => ethernet::flow_id(passenger),
                    FlowId::Fixed(flow_id) => flow_id,
                };
                vsid.get() << 8 | u32::from(flow_id)
            }
        });
        Header {
            protocol,
            checksum: self.config.checksum.then_some(0),
            key,
            sequence: self.config.sequence.then_some(self.next_sequence),
        }
    }
}

/// A GRE packet of the peer's, on its way to the tunnel of its key: its header can be read, and its
/// checksum, if it has one, is right.
#[derive(Debug, PartialEq, Eq)]
pub struct Packet<'b> {
    header: Header,
    octets: &'b mut [u8],
}

impl<'b> Packet<'b> {
    /// Looks at an authenticated GRE packet from its first octet.
    ///
    /// # Errors
    /// Those of [`Header::parse`], and [`Drop::Checksum`].
    pub fn parse(octets: &'b mut [u8]) -> Result<Self, Drop> {
        let (header, _) = Header::parse(octets)?;
        if header.checksum.is_some() && checksum(&[octets]) != 0 {
            return Err(Drop::Checksum);
        }
        Ok(Self { header, octets })
    }

    /// What tells its tunnel from others.
    pub const fn key(&self) -> Option<u32> {
        self.header.key
    }

    /// Octets of header and passenger.
    pub const fn size(&self) -> usize {
        self.octets.len()
    }
}

/// A passenger that may go to the device.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery<'b> {
    /// [`Protocol::IPV4`] or [`Protocol::IPV6`], and the passenger's version agrees; or
    /// [`Protocol::ETHERNET`].
    pub protocol: Protocol,
    /// The IP packet, without what may have followed it; or the whole frame.
    pub passenger: &'b mut [u8],
}

/// The inbound half of a tunnel.
#[derive(Debug)]
pub struct Decapsulator {
    config: Config,
    /// The sequence number of the last packet delivered; `None` takes any as the first.
    last_sequence: Option<u32>,
    /// What has come since that was old.
    old: OldRun,
}

/// Old sequence numbers in a row, each newer than the one before it. Late packets mix with those in
/// sequence; a sender that has started anew is nothing but old.
#[derive(Debug, Clone, Copy, Default)]
struct OldRun {
    length: u8,
    newest: u32,
}

/// So many old packets in a row are a sender that has started anew: few, so that a routing
/// protocol's hellos get through in time; what this mistakes for one is delivered out of order, and
/// the next packet in sequence ends it.
const RESTARTED: u8 = 4;

impl Decapsulator {
    /// A tunnel that has received nothing: its last sequence number is 2^32 − 1, so that the peer
    /// starts at 0 (RFC 2890 §2.2).
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            last_sequence: Some(u32::MAX),
            old: OldRun {
                length: 0,
                newest: 0,
            },
        }
    }

    /// Forgets the last sequence number. To be called when an SA is set up anew, though not for a
    /// rekey: a peer that restarted counts from 0 again and one that did not goes on, and
    /// comparing either with the past could black-hole it for half the number space. One that starts
    /// anew under a living SA, as a deleted and re-made device does, is known by its packets.
    pub const fn restart(&mut self) {
        self.last_sequence = None;
    }

    /// Takes the GRE header off a packet that has this tunnel's key, and checks header and passenger.
    ///
    /// # Errors
    /// The [`Drop`] that names the first rule broken; the last sequence number is as before then.
    /// [`Drop::KeepaliveUnasked`] is the answer that whoever has asked waits for.
    pub fn decapsulate<'b>(&mut self, packet: Packet<'b>) -> Result<Delivery<'b>, Drop> {
        let Packet { header, octets } = packet;
        let (_, passenger) = octets
            .split_at_mut_checked(header.wire_len())
            .ok_or(Drop::HeaderTruncated)?;
        self.check_sequence(header.sequence)?;
        let passenger_len = match self.config.kind {
            Passengers::Ip => {
                check_protocol(header.protocol, passenger)?;
                ip::total_len(passenger)?
            }
            Passengers::Ethernet => self.check_frame(header.protocol, passenger)?,
        };
        let passenger = passenger
            .get_mut(..passenger_len)
            .ok_or(Drop::PassengerTruncated)?;
        if header.sequence.is_some() {
            self.last_sequence = header.sequence;
            self.old.length = 0;
        }
        Ok(Delivery {
            protocol: header.protocol,
            passenger,
        })
    }

    /// How long the frame is: as long as the packet, for nothing in it says so.
    fn check_frame(&self, protocol: Protocol, frame: &[u8]) -> Result<usize, Drop> {
        if protocol != Protocol::ETHERNET {
            return Err(Drop::ProtocolUnknown);
        }
        if frame.len() < ethernet::HEADER_LEN {
            return Err(Drop::PassengerTruncated);
        }
        let is_nvgre = matches!(self.config.key, Some(Key::Subnet { .. }));
        if is_nvgre && ethernet::is_tagged(frame) {
            return Err(Drop::VlanTag);
        }
        Ok(frame.len())
    }

    /// RFC 2890 §2.2: a number among the last one and the 2^31 − 1 before it is out of sequence,
    /// unless the peer has started anew; a packet without a number is in sequence. Gaps are not
    /// waited for.
    fn check_sequence(&mut self, sequence: Option<u32>) -> Result<(), Drop> {
        let (true, Some(last), Some(sequence)) =
            (self.config.sequence, self.last_sequence, sequence)
        else {
            return Ok(());
        };
        if is_newer(sequence, last) {
            return Ok(());
        }
        let continues = self.old.length > 0 && is_newer(sequence, self.old.newest);
        self.old = OldRun {
            length: if continues {
                self.old.length.saturating_add(1)
            } else {
                1
            },
            newest: sequence,
        };
        if self.old.length < RESTARTED {
            return Err(Drop::SequenceOld);
        }
        Ok(())
    }
}

/// Whether `sequence` is one of the 2^31 numbers after `last` (RFC 2890 §2.2).
const fn is_newer(sequence: u32, last: u32) -> bool {
    last.wrapping_sub(sequence) >= 1 << 31
}

fn check_protocol(protocol: Protocol, passenger: &[u8]) -> Result<(), Drop> {
    match protocol {
        Protocol(0) if passenger.is_empty() => Err(Drop::KeepaliveUnasked),
        Protocol(0) => Err(Drop::ProtocolZero),
        Protocol::IPV4 | Protocol::IPV6 if passenger.is_empty() => Err(Drop::PassengerTruncated),
        Protocol::IPV4 | Protocol::IPV6 if ip::protocol(passenger) == Some(protocol) => Ok(()),
        Protocol::IPV4 | Protocol::IPV6 => Err(Drop::PassengerVersion),
        Protocol(_) => Err(Drop::ProtocolUnknown),
    }
}

#[cfg(test)]
mod tests;
