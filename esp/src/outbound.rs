//! The sending half of a CHILD_SA (RFC 4303 §3.3).
//!
//! Owns: the layout of a sealed packet within the caller's buffer. Not here: the order of the
//! sequence numbers (`sequence`), the ciphers (`cipher`), fragmentation.

use std::ops::Range;

use crate::cbc;
use crate::cipher::{Cipher, PacketId};
use crate::error::SealError;
use crate::header::Header;
use crate::keys::{Keys, SaId, Spi};
use crate::lifetime::{Budget, Limits};
use crate::sequence::{Exhausted, Reservation, Seq, Sequence};
use crate::suite::{HEADER_LEN, Overhead};
use crate::trailer;

/// An outbound SA: seals payloads into ESP packets, in place. Threads may share it: numbers are reserved
/// in one atomic step, for as many packets as the caller has, and nothing else changes.
#[derive(Debug)]
pub struct OutboundSa {
    spi: Spi,
    esn: bool,
    overhead: Overhead,
    cipher: Cipher,
    id: SaId,
    sequence: Sequence,
}

impl OutboundSa {
    /// Octets before a payload that suffice for every suite: SPI, sequence number and the longest
    /// IV.
    pub const HEADROOM: usize = HEADER_LEN + cbc::BLOCK_LEN;

    /// The SA has sent nothing; its first packet gets sequence number 1 (RFC 4303 §3.3.3). It has no
    /// limits but its own.
    #[must_use]
    pub fn new(keys: Keys) -> Self {
        Self::with_limits(keys, Limits::default())
    }

    /// As [`Self::new`], with the caller's limits beside its own.
    #[must_use]
    pub fn with_limits(keys: Keys, limits: Limits) -> Self {
        let Keys {
            spi,
            esn,
            suite,
            cipher,
            id,
        } = keys;
        let sequence = Sequence::new(id, Budget::new(esn, limits));
        Self {
            spi,
            esn,
            overhead: suite.overhead(),
            cipher,
            id,
            sequence,
        }
    }

    /// The SPI, chosen by the peer.
    #[must_use]
    pub const fn spi(&self) -> Spi {
        self.spi
    }

    /// Whether a packet that begins like `packet` may be one of this SA, by its SPI and sequence number.
    /// With ESN only the low half of that is to be seen (RFC 4303 §2.2.1).
    #[must_use]
    pub fn may_have_sent(&self, packet: &[u8]) -> bool {
        Header::read(packet, HEADER_LEN).is_ok_and(|header| {
            header.spi == self.spi && self.sequence.may_have_given(header.seq_low)
        })
    }

    /// Octets a payload of `payload_len` octets needs behind it: padding, trailer and ICV.
    #[must_use]
    pub const fn trailer_len(&self, payload_len: usize) -> usize {
        self.overhead.trailer_len(payload_len)
    }

    /// Takes the next `packets` sequence numbers, for `bytes` octets of payload in all: all or none.
    ///
    /// # Errors
    /// [`Exhausted`] if less is left: without ESN the last number is 2^32 − 1, with ESN 2^36; 2^47
    /// octets are what AES takes under one key; and the [`Limits`] may be narrower.
    pub fn reserve(&self, packets: u32, bytes: u64) -> Result<Reservation, Exhausted> {
        self.sequence.reserve(packets, bytes)
    }

    /// Seals the octets of `buf` in `payload`, whose first header is of protocol `next_header`, and
    /// returns where in `buf` the ESP packet lies: from at most [`Self::HEADROOM`] octets before the
    /// payload to [`Self::trailer_len`] octets behind it.
    ///
    /// # Errors
    /// [`SealError`] if the packet does not fit into `buf` or `seq` is another SA's. There is no
    /// packet then, and the sequence number is spent.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a sequence number seals one packet"
    )]
    pub fn seal(
        &self,
        seq: Seq,
        next_header: u8,
        buf: &mut [u8],
        payload: Range<usize>,
    ) -> Result<Range<usize>, SealError> {
        if seq.sa != self.id {
            return Err(SealError::ForeignSeq);
        }
        let place = self.place(buf.len(), &payload)?;
        let trailer = buf.get_mut(payload.end..place.end - self.overhead.icv);
        trailer::write(trailer.ok_or(SealError::Range)?, next_header);
        let packet = buf.get_mut(place.clone()).ok_or(SealError::Range)?;
        let (header, body) = packet.split_first_chunk_mut().ok_or(SealError::Range)?;
        let id = PacketId {
            spi: self.spi,
            seq: seq.number,
            esn: self.esn,
        };
        *header = id.header();
        self.cipher.seal(id, body).ok_or(SealError::TooLong)?;
        Ok(place)
    }

    /// Where the packet around `payload` lies within a buffer of `available` octets.
    fn place(&self, available: usize, payload: &Range<usize>) -> Result<Range<usize>, SealError> {
        if payload.end < payload.start {
            return Err(SealError::Range);
        }
        let no_headroom = SealError::Headroom {
            needed: self.overhead.header,
            available: payload.start,
        };
        let start = payload
            .start
            .checked_sub(self.overhead.header)
            .ok_or(no_headroom)?;
        let end = payload.end.saturating_add(self.trailer_len(payload.len()));
        if end > available {
            return Err(SealError::Tailroom {
                needed: end,
                available,
            });
        }
        Ok(start..end)
    }
}

#[cfg(test)]
mod tests;
