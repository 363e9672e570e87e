//! The replay window (RFC 4303 §3.4.3 and Appendix A2, laid out as in RFC 6479).
//!
//! Owns: which sequence numbers have been accepted, and the inference of the half that ESN does
//! not send. Not here: the ICV; nothing in this module may be told of a packet that failed it.
//!
//! A ring of words, one bit per sequence number. A bit is found from the number alone, so that
//! nothing is shifted when the window moves; the words it moves over are cleared. The ring has at
//! least one word more than the window, because the highest number rarely ends a word.

use crate::error::Drop;

/// The smallest window, in packets: the default of RFC 4303 §3.4.3.
pub const MIN_WINDOW_PACKETS: u32 = 64;
/// Wide enough for the reordering of parallel links and queues at line rate.
pub const DEFAULT_WINDOW_PACKETS: u32 = 4096;
/// The largest window, in packets; it takes 256 KiB.
pub const MAX_WINDOW_PACKETS: u32 = 1 << 20;

const WORD_BITS: u64 = u64::BITS as u64;

/// The sequence numbers up to `top` that were accepted, of which the last `packets` are known.
#[derive(Debug)]
pub(crate) struct Window {
    /// W of RFC 4303 Appendix A2.
    packets: u32,
    /// T of RFC 4303 Appendix A2: the highest number accepted, 0 if none was.
    top: u64,
    /// A power of two of words, so that `slot` needs no division.
    words: Box<[u64]>,
}

impl Window {
    pub(crate) fn new(packets: u32) -> Self {
        let packets = packets
            .clamp(MIN_WINDOW_PACKETS, MAX_WINDOW_PACKETS)
            .next_multiple_of(u64::BITS);
        let words = (packets / u64::BITS + 1).next_power_of_two();
        Self {
            packets,
            top: 0,
            words: vec![0; words as usize].into_boxed_slice(),
        }
    }

    /// The whole of a sequence number of which `low` was received, by RFC 4303 Appendix A2.2.
    /// `None` if it would lie before the first subspace or after the last.
    pub(crate) const fn infer(&self, low: u32) -> Option<u64> {
        let (top_high, top_low) = halves(self.top);
        let bottom_low = top_low.wrapping_sub(self.packets - 1);
        let high = if top_low >= self.packets - 1 {
            // Case A: the window lies within one subspace.
            if low >= bottom_low {
                Some(top_high)
            } else {
                top_high.checked_add(1)
            }
        } else {
            // Case B: the window spans two subspaces.
            if low >= bottom_low {
                top_high.checked_sub(1)
            } else {
                Some(top_high)
            }
        };
        match high {
            Some(high) => Some((high as u64) << 32 | low as u64),
            None => None,
        }
    }

    /// Whether a packet with this number may be accepted.
    pub(crate) fn check(&self, seq: u64) -> Result<(), Drop> {
        // D45, RFC 4303 §3.3.3: the first packet has number 1.
        if seq == 0 {
            return Err(Drop::ReplayOld);
        }
        match self.top.checked_sub(seq) {
            None => Ok(()),
            Some(age) if age >= u64::from(self.packets) => Err(Drop::ReplayOld),
            Some(_) if self.word(seq) & bit(seq) != 0 => Err(Drop::ReplayDuplicate),
            Some(_) => Ok(()),
        }
    }

    /// Accepts an authentic packet. `Ok(true)` if its number is the highest so far.
    pub(crate) fn accept(&mut self, seq: u64) -> Result<bool, Drop> {
        self.check(seq)?;
        let newest = seq > self.top;
        if newest {
            self.advance(seq);
        }
        *self.word_mut(seq) |= bit(seq);
        Ok(newest)
    }

    /// Moves the window up to `seq`, which clears the ring at most once.
    fn advance(&mut self, seq: u64) {
        let first = self.top / WORD_BITS + 1;
        let last = (seq / WORD_BITS).min(self.top / WORD_BITS + self.words.len() as u64);
        for word in first..=last {
            *self.word_mut(word * WORD_BITS) = 0;
        }
        self.top = seq;
    }

    /// Where the bit of `seq` lies.
    const fn slot(&self, seq: u64) -> usize {
        ((seq / WORD_BITS) & (self.words.len() as u64 - 1)) as usize
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "`slot` is masked to the ring's length"
    )]
    fn word(&self, seq: u64) -> u64 {
        self.words[self.slot(seq)]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "`slot` is masked to the ring's length"
    )]
    fn word_mut(&mut self, seq: u64) -> &mut u64 {
        let slot = self.slot(seq);
        &mut self.words[slot]
    }

    /// As if `seq` had been accepted, and nothing before it.
    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, seq: u64) {
        self.words.fill(0);
        self.top = seq;
        *self.word_mut(seq) |= bit(seq);
    }
}

/// The bit of `seq` within its word.
const fn bit(seq: u64) -> u64 {
    1 << (seq % WORD_BITS)
}

/// The high and the low half: Th and Tl of RFC 4303 Appendix A2.
#[expect(clippy::cast_possible_truncation, reason = "this is what halves are")]
const fn halves(seq: u64) -> (u32, u32) {
    ((seq >> 32) as u32, seq as u32)
}

#[cfg(test)]
mod tests;
