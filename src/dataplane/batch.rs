//! Outbound packets on their way from the device to the wire, in one buffer that is allocated once.
//!
//! Packets lie one behind the other, each with room around it for its headers and its trailer, so
//! that a passenger is copied here once and nothing is moved afterwards, and a batch of small packets
//! touches little memory.
//!
//! Not here: what the passengers are cut from (`segment`), what is written around them (`outbound`).

use std::num::NonZeroU8;
use std::ops::Range;

use secure_gre_esp::OutboundSa;

use crate::net::esp::Outgoing;

/// The most packets of one batch: two super-packets of TCP with the usual MTU, and the message
/// headers for them fit a thread's stack.
pub const MAX_PACKETS: usize = 128;

/// The longest passenger, in octets: what IP's length field can say.
pub const MAX_PASSENGER: usize = u16::MAX as usize;

/// Preallocated room for up to [`MAX_PACKETS`] packets.
#[derive(Debug)]
pub struct Batch {
    buffer: Box<[u8]>,
    /// Where the next frame begins.
    end: usize,
    pub(super) frames: Vec<Frame>,
}

/// One packet in the buffer.
#[derive(Debug)]
pub(super) struct Frame {
    /// What there is of the packet: the passenger, then the GRE packet, then the ESP packet.
    pub(super) range: Range<usize>,
    /// Octets of the passenger.
    pub(super) passenger_len: usize,
    /// The outer TOS octet.
    pub(super) tos: u8,
    /// The outer TTL; `None`: the wire's.
    pub(super) ttl: Option<NonZeroU8>,
    /// Whether the outer packet may be fragmented.
    pub(super) may_fragment: bool,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            buffer: vec![0; USUAL_FRAME * (MAX_PACKETS - 1) + MAX_FRAME].into_boxed_slice(),
            end: 0,
            frames: Vec::with_capacity(MAX_PACKETS),
        }
    }
}

impl Batch {
    /// Forgets the packets.
    pub fn clear(&mut self) {
        self.end = 0;
        self.frames.clear();
    }

    /// Takes a passenger of `length` octets: these. `None` when the batch is full, or the passenger
    /// longer than [`MAX_PASSENGER`], for which an empty batch always has room.
    pub fn push(&mut self, length: usize) -> Option<&mut [u8]> {
        if self.frames.len() == MAX_PACKETS || length > MAX_PASSENGER {
            return None;
        }
        let start = self.end + HEADROOM;
        let range = start..start + length;
        if range.end + TAILROOM > self.buffer.len() {
            return None;
        }
        self.end = (range.end + TAILROOM).next_multiple_of(ALIGNMENT);
        self.frames.push(Frame {
            range: range.clone(),
            passenger_len: length,
            tos: 0,
            ttl: None,
            may_fragment: false,
        });
        self.buffer.get_mut(range)
    }

    /// How many packets there are.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Octets of all passengers together.
    pub fn passenger_bytes(&self) -> usize {
        self.frames.iter().map(|frame| frame.passenger_len).sum()
    }

    /// Octets of what the frames hold: passengers, GRE packets or ESP packets.
    pub(super) fn bytes(&self) -> u64 {
        let lengths = self.frames.iter().map(|frame| frame.range.len() as u64);
        lengths.sum()
    }

    /// The packets as they go to the wire, in their order.
    pub fn packets(&self) -> impl Iterator<Item = Outgoing<'_>> {
        self.frames.iter().filter_map(|frame| {
            let esp = self.buffer.get(frame.range.clone())?;
            Some(Outgoing {
                esp,
                tos: frame.tos,
                ttl: frame.ttl,
                may_fragment: frame.may_fragment,
            })
        })
    }

    /// The passengers, as long as nothing is written around them.
    pub(super) fn passengers(&self) -> impl Iterator<Item = &[u8]> {
        let frames = self.frames.iter();
        frames.filter_map(|frame| self.buffer.get(frame.range.clone()))
    }

    /// Hands each packet to `keep` with the whole buffer, and forgets those that it does not want.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut [u8], &mut Frame) -> bool) {
        let Self { buffer, frames, .. } = self;
        frames.retain_mut(|frame| keep(buffer, frame));
    }
}

/// Before a passenger: ESP's header and the longest GRE header.
const HEADROOM: usize = OutboundSa::HEADROOM + 16;
/// Behind a passenger: padding, trailer and the longest ICV of any suite (RFC 4303 §2).
const TAILROOM: usize = 64;
/// Frames begin at the start of a cache line.
const ALIGNMENT: usize = 64;
/// A passenger of the usual MTU with its room.
const USUAL_FRAME: usize = 2048;
const MAX_FRAME: usize = (HEADROOM + MAX_PASSENGER + TAILROOM).next_multiple_of(ALIGNMENT);
