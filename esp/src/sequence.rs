//! Outbound sequence numbers, each handed out once (RFC 4303 §2.2, §3.3.3; RFC 4106 §2).
//!
//! Owns: [`Seq`], the only thing that lets a packet be sealed, and the end of the number space.
//! The IV is the sequence number, so a number that cannot repeat is a nonce that cannot repeat.
//! Not here: what to do at the soft limit (a rekey), limits in time or bytes.

use std::iter::FusedIterator;
use std::ops::Range;

use crate::keys::SaId;

/// The last number without ESN: the counter must not cycle (RFC 4303 §3.3.3).
const LAST: u64 = u32::MAX as u64;
/// The last number with ESN, well before 2^64. What ends first is the key: an observer's advantage
/// against AES-GCM grows with the square of the blocks sealed. 2^36 packets of 1500 octets are
/// less than 2^43 blocks and keep it below 2^86 / 2^129 = 2^-43 (the bound behind RFC 8446 §5.5).
/// At ten million packets a second that lasts for nearly two hours.
const LAST_ESN: u64 = 1 << 36;

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
    /// Whether more than 75 % of the SA's sequence numbers are used: time for a rekey.
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

/// The SA has not enough sequence numbers left. The packets must be dropped until a new SA takes
/// over; the numbers never start again (RFC 4303 §3.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reserving {wanted} sequence numbers with {left} left: rekey the SA")]
pub struct Exhausted {
    /// Numbers asked for.
    pub wanted: u32,
    /// Numbers left; a smaller reservation may still succeed.
    pub left: u64,
}

/// The counter of one SA.
#[derive(Debug)]
pub(crate) struct Sequence {
    sa: SaId,
    /// The number of the last packet reserved; 0 before the first, which gets 1 (D45).
    reserved: u64,
    last: u64,
}

impl Sequence {
    pub(crate) const fn new(sa: SaId, esn: bool) -> Self {
        Self {
            sa,
            reserved: 0,
            last: if esn { LAST_ESN } else { LAST },
        }
    }

    /// All of the numbers or none.
    pub(crate) fn reserve(&mut self, packets: u32) -> Result<Reservation, Exhausted> {
        let left = self.last - self.reserved;
        if u64::from(packets) > left {
            return Err(Exhausted {
                wanted: packets,
                left,
            });
        }
        let first = self.reserved + 1;
        self.reserved += u64::from(packets);
        Ok(Reservation {
            sa: self.sa,
            numbers: first..self.reserved + 1,
            soft_limit: self.reserved > self.last / 4 * 3,
        })
    }
}

#[cfg(test)]
mod tests;
