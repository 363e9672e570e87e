//! Room for received packets, and what was found in them.

use std::num::NonZeroUsize;
use std::ops::Range;

use super::MAX_BATCH;
use super::kind::Kind;
use crate::net::sys;

/// What [`Wire::receive`](super::Wire::receive) did; the packets themselves are in the batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReceiveOutcome {
    /// ESP packets in the batch.
    pub packets: usize,
    /// IKE messages in the batch.
    pub messages: usize,
    /// NAT keepalives (RFC 3948 §2.3), which ask for nothing.
    pub keepalives: usize,
    /// Longer than a slot, so not in the batch.
    pub truncated: usize,
    /// Without a whole outer header, or too short for what travels in UDP; so not in the batch.
    pub malformed: usize,
    /// ICMP errors that came back for packets that we sent.
    pub network_errors: usize,
}

impl ReceiveOutcome {
    /// Whether nothing at all came in.
    pub const fn is_empty(self) -> bool {
        self.packets + self.messages + self.keepalives + self.truncated + self.malformed == 0
    }
}

/// Slots for received packets, allocated once.
#[derive(Debug)]
pub struct ReceiveBatch {
    buffer: Box<[u8]>,
    slot_size: NonZeroUsize,
    /// For each slot that the last reception filled.
    found: Vec<Found>,
}

#[derive(Debug, Clone)]
struct Found {
    content: Content,
    tos: u8,
}

impl ReceiveBatch {
    /// `slots` (at most [`MAX_BATCH`] are of use) of `slot_size` octets each: the longest outer packet
    /// to be received, header included.
    pub fn new(slots: NonZeroUsize, slot_size: NonZeroUsize) -> Self {
        let slots = slots.get().min(MAX_BATCH);
        Self {
            buffer: vec![0; slots * slot_size.get()].into_boxed_slice(),
            slot_size,
            found: Vec::with_capacity(slots),
        }
    }

    /// The ESP packets that the last [`Wire::receive`](super::Wire::receive) brought, in the order of arrival.
    pub fn packets(&mut self) -> impl Iterator<Item = Incoming<'_>> {
        let slots = self.buffer.chunks_exact_mut(self.slot_size.get());
        slots
            .zip(&self.found)
            .filter_map(|(slot, found)| match &found.content {
                Content::Esp(range) => Some(Incoming {
                    esp: slot.get_mut(range.clone())?,
                    tos: found.tos,
                }),
                _ => None,
            })
    }

    /// The IKE messages among them, without their markers.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let slots = self.buffer.chunks_exact(self.slot_size.get());
        slots
            .zip(&self.found)
            .filter_map(|(slot, found)| match &found.content {
                Content::Ike(range) => slot.get(range.clone()),
                _ => None,
            })
    }

    pub(super) fn slots(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.buffer.chunks_exact_mut(self.slot_size.get())
    }

    pub(super) fn fill<'a>(
        &mut self,
        kind: Kind,
        arrivals: impl Iterator<Item = &'a sys::Arrival>,
        outcome: &mut ReceiveOutcome,
    ) {
        self.found.clear();
        let slots = self.buffer.chunks_exact(self.slot_size.get());
        for (slot, arrival) in slots.zip(arrivals) {
            let content = match slot.get(..arrival.length) {
                Some(datagram) if !arrival.truncated => kind.classify(datagram),
                _ => Content::Truncated,
            };
            *match content {
                Content::Esp(_) => &mut outcome.packets,
                Content::Ike(_) => &mut outcome.messages,
                Content::Keepalive => &mut outcome.keepalives,
                Content::Truncated => &mut outcome.truncated,
                Content::Malformed => &mut outcome.malformed,
            } += 1;
            self.found.push(Found {
                content,
                tos: arrival.tos,
            });
        }
    }
}

/// One received packet in its slot.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// From the SPI to the ICV.
    pub esp: &'a mut [u8],
    /// The outer TOS octet (DSCP and ECN).
    pub tos: u8,
}

/// What a slot holds, and where.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Esp(Range<usize>),
    Ike(Range<usize>),
    Keepalive,
    Truncated,
    Malformed,
}
