//! Room for received packets, and what was found in them.

use std::num::NonZeroUsize;
use std::ops::Range;

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
    kind: Option<Kind>,
    /// How many slots are offered: what is offered takes its time where the last packet is long ago, and
    /// what was filled once stays resident.
    wanted: usize,
    /// For each slot that the last reception filled.
    filled: Vec<sys::Arrival>,
}

impl ReceiveBatch {
    /// `slots` (at most 128 are of use) of `slot_size` octets each: the longest outer packet to be
    /// received, header included, or as many packets in UDP as the kernel puts together, which is
    /// 64 KiB at most.
    pub fn new(slots: NonZeroUsize, slot_size: NonZeroUsize) -> Self {
        let slots = slots.get().min(sys::BATCH);
        Self {
            buffer: vec![0; slots * slot_size.get()].into_boxed_slice(),
            slot_size,
            kind: None,
            wanted: slots,
            filled: Vec::with_capacity(slots),
        }
    }

    /// The ESP packets that the last [`Wire::receive`](super::Wire::receive) brought, in the order of
    /// arrival.
    pub fn packets(&mut self) -> impl Iterator<Item = Incoming<'_>> {
        let kind = self.kind;
        let slots = self.buffer.chunks_exact_mut(self.slot_size.get());
        slots.zip(&self.filled).flat_map(move |(slot, arrival)| {
            let tos = arrival.tos;
            let datagrams = slot
                .get_mut(..arrival.length)
                .unwrap_or_default()
                .chunks_mut(datagram_size(arrival));
            datagrams.filter_map(move |datagram| match kind?.classify(datagram) {
                Content::Esp(range) => Some(Incoming {
                    esp: datagram.get_mut(range)?,
                    tos,
                }),
                _ => None,
            })
        })
    }

    /// The IKE messages among them, without their markers.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let kind = self.kind;
        self.datagrams()
            .filter_map(move |datagram| match kind?.classify(datagram) {
                Content::Ike(range) => datagram.get(range),
                _ => None,
            })
    }

    /// The slots that are to be filled next, and what is to be said of them.
    pub(super) fn room(&mut self) -> (impl Iterator<Item = &mut [u8]>, &mut Vec<sys::Arrival>) {
        let slots = self.buffer.chunks_exact_mut(self.slot_size.get());
        (slots.take(self.wanted), &mut self.filled)
    }

    /// Sorts what the slots were filled with.
    pub(super) fn sort(&mut self, kind: Kind, outcome: &mut ReceiveOutcome) {
        self.kind = Some(kind);
        self.wanted = self.wanted_next();
        for arrival in &mut self.filled {
            if arrival.truncated || arrival.length > self.slot_size.get() {
                arrival.length = 0;
                outcome.truncated += 1;
            } else if arrival.length == 0 {
                // A datagram without octets.
                outcome.malformed += 1;
            }
        }
        for datagram in self.datagrams() {
            *match kind.classify(datagram) {
                Content::Esp(_) => &mut outcome.packets,
                Content::Ike(_) => &mut outcome.messages,
                Content::Keepalive => &mut outcome.keepalives,
                Content::Malformed => &mut outcome.malformed,
            } += 1;
        }
    }

    /// Twice as many slots as were filled, and no more than are [`MUCH`] if arrivals stay as long as these.
    fn wanted_next(&self) -> usize {
        let slots = self.buffer.len() / self.slot_size;
        let filled = self.filled.len();
        let octets: usize = self.filled.iter().map(|arrival| arrival.length).sum();
        let most = MUCH * filled / octets.max(1);
        (filled * 2).min(most).max(FEWEST).min(slots)
    }

    fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let slots = self.buffer.chunks_exact(self.slot_size.get());
        slots.zip(&self.filled).flat_map(|(slot, arrival)| {
            let octets = slot.get(..arrival.length).unwrap_or_default();
            octets.chunks(datagram_size(arrival))
        })
    }
}

/// Slots that are offered when none was filled.
const FEWEST: usize = 4;

/// Octets that a reception aims at: what a core's own cache holds. More waits in the socket as well.
const MUCH: usize = 1 << 20;

/// Octets of each datagram in a slot but the last, which may be shorter.
fn datagram_size(arrival: &sys::Arrival) -> usize {
    match arrival.segment {
        0 => arrival.length.max(1),
        segment => segment,
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

/// What a datagram holds, and where.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Esp(Range<usize>),
    Ike(Range<usize>),
    Keepalive,
    Malformed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_slots_are_offered_as_may_be_filled_and_few_of_long_arrivals() {
        let [slots, slot_size] = [64, 1 << 16].map(|size| NonZeroUsize::new(size).unwrap());
        let mut batch = ReceiveBatch::new(slots, slot_size);
        let mut after = |filled: usize, length| {
            let arrival = sys::Arrival {
                length,
                ..sys::Arrival::default()
            };
            batch.filled = vec![arrival; filled];
            batch.wanted_next()
        };
        assert_eq!(after(0, 0), FEWEST);
        assert_eq!(after(10, 1400), 20);
        assert_eq!(after(60, 1400), 64);
        assert_eq!(after(10, 65_000), 16, "a MiB");
    }
}
