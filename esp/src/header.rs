//! The front of an ESP packet: SPI, sequence number, IV (RFC 4303 §2, RFC 4106 §3.1).
//!
//! Owns: reading and writing it. Not here: the high half of an extended sequence number, which is
//! never on the wire.

use crate::error::Drop;
use crate::keys::Spi;
use crate::suite::{HEADER_LEN, ICV_LEN, IV_LEN, TRAILER_LEN};

/// Octets from the SPI to the end of the IV.
pub(crate) const LEN: usize = HEADER_LEN + IV_LEN;
/// The smallest packet: no payload, no padding.
const MIN_PACKET_LEN: usize = LEN + TRAILER_LEN + ICV_LEN;

/// The SPI of an ESP packet, for finding its SA. `None` if the packet is too short to have one or
/// the SPI is reserved (RFC 4303 §2.1), so that no SA can be meant.
#[must_use]
pub fn peek_spi(packet: &[u8]) -> Option<Spi> {
    let octets = packet.first_chunk()?;
    Spi::try_from(u32::from_be_bytes(*octets)).ok()
}

/// The header's fields.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) spi: Spi,
    pub(crate) seq_low: u32,
    pub(crate) iv: [u8; IV_LEN],
}

impl Header {
    /// The header of the packet with sequence number `seq`, of which the low half is sent.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "RFC 4303 §2.2.1: the low half is sent"
    )]
    pub(crate) const fn new(spi: Spi, seq: u64, iv: [u8; IV_LEN]) -> Self {
        Self {
            spi,
            seq_low: seq as u32,
            iv,
        }
    }

    /// Reads the header and returns with it what follows: ciphertext and ICV.
    pub(crate) fn split(packet: &mut [u8]) -> Result<(Self, &mut [u8]), Drop> {
        let header = Self::read(packet)?;
        let sealed = packet.get_mut(LEN..).ok_or(Drop::Truncated)?;
        Ok((header, sealed))
    }

    /// Reads the header of a packet that has room for a trailer and an ICV.
    pub(crate) fn read(packet: &[u8]) -> Result<Self, Drop> {
        if packet.len() < MIN_PACKET_LEN {
            return Err(Drop::Truncated);
        }
        let header = packet.first_chunk::<LEN>().ok_or(Drop::Truncated)?;
        let [_, _, _, _, q0, q1, q2, q3, iv @ ..] = *header;
        Ok(Self {
            spi: peek_spi(packet).ok_or(Drop::UnknownSpi)?,
            seq_low: u32::from_be_bytes([q0, q1, q2, q3]),
            iv,
        })
    }

    /// The octets of the header.
    pub(crate) fn to_bytes(self) -> [u8; LEN] {
        let mut octets = [0; LEN];
        let (spi, rest) = octets.split_at_mut(4);
        let (seq_low, iv) = rest.split_at_mut(4);
        spi.copy_from_slice(&self.spi.to_be_bytes());
        seq_low.copy_from_slice(&self.seq_low.to_be_bytes());
        iv.copy_from_slice(&self.iv);
        octets
    }
}
