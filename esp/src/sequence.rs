//! Outbound sequence numbers, each handed out once (RFC 4303 §2.2, §3.3.3; RFC 4106 §2).
//!
//! Owns: [`Seq`], the only thing that lets a packet be sealed.
//! The IV is the sequence number, so a number that cannot repeat is a nonce that cannot repeat, also
//! where several threads reserve at once.
//! Not here: how many numbers there are (`lifetime`), what to do at the soft limit (a rekey).

use std::iter::FusedIterator;
use std::ops::Range;

use crate::keys::SaId;
use crate::lifetime::Budget;

/// The sequence number of one packet to seal. Made by [`OutboundSa::reserve`] only, neither `Copy`
/// nor `Clone`, and consumed by [`OutboundSa::seal`], so that it seals one packet at most:
///
/// ```compile_fail,E0382
/// # use secure_gre_esp::{OutboundSa, Seq};
/// fn twice(sa: &OutboundSa, seq: Seq, buffer: &mut [u8]) {
///     let _ = sa.seal(seq, 47, buffer, 16..20);
///     let _ = sa.seal(seq, 47, buffer, 16..20);
/// }
/// ```
///
/// [`OutboundSa::reserve`]: crate::OutboundSa::reserve
/// [`OutboundSa::seal`]: crate::OutboundSa::seal
#[derive(Debug)]
pub struct Seq {
    pub(crate) sa: SaId,
    pub(crate) number: u64,
}

/// Consecutive sequence numbers, to be used in order. Numbers that are not used are skipped,
/// which the peer sees as loss.
#[derive(Debug)]
#[must_use = "reserved sequence numbers that are not used look like loss to the peer"]
pub struct Reservation {
    sa: SaId,
    numbers: Range<u64>,
    soft_limit: bool,
}

impl Reservation {
    /// Whether a soft limit of the SA is passed: time for a rekey.
    #[must_use]
    pub const fn soft_limit(&self) -> bool {
        self.soft_limit
    }
}

impl Iterator for Reservation {
    type Item = Seq;

    fn next(&mut self) -> Option<Seq> {
        self.numbers.next().map(|number| Seq {
            sa: self.sa,
            number,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.numbers.size_hint()
    }
}

impl FusedIterator for Reservation {}

/// The SA may not protect so much more. The packets must be dropped until a new SA takes over; the
/// numbers never start again (RFC 4303 §3.3.3). A smaller reservation may still succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// Its packets.
    #[error("reserving {wanted} sequence numbers with {left} left: rekey the SA")]
    Packets {
        /// Numbers asked for.
        wanted: u32,
        /// Numbers left.
        left: u64,
    },
    /// Its octets.
    #[error("protecting {wanted} octets with {left} left: rekey the SA")]
    Bytes {
        /// Octets asked for.
        wanted: u64,
        /// Octets left.
        left: u64,
    },
}

/// The counter of one SA.
#[derive(Debug)]
pub(crate) struct Sequence {
    sa: SaId,
    budget: Budget,
}

impl Sequence {
    pub(crate) const fn new(sa: SaId, budget: Budget) -> Self {
        Self { sa, budget }
    }

    /// Numbers for `packets` packets with `bytes` octets of payload: all or none. The first packet of
    /// all gets 1 (D45).
    pub(crate) fn reserve(&self, packets: u32, bytes: u64) -> Result<Reservation, Exhausted> {
        let taken = self.budget.spend(packets, bytes)?;
        Ok(Reservation {
            sa: self.sa,
            numbers: taken.start + 1..taken.end + 1,
            soft_limit: self.budget.is_beyond_soft(),
        })
    }

    /// Whether a number with this low half may have been handed out.
    pub(crate) fn may_have_given(&self, low: u32) -> bool {
        let given = self.budget.packets_spent();
        given > u64::from(u32::MAX) || (1..=given).contains(&u64::from(low))
    }
}

#[cfg(test)]
mod tests;
