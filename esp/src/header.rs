//! The front of an ESP packet: SPI and sequence number (RFC 4303 §2).
//!
//! Owns: reading and writing it. Not here: the high half of an extended sequence number, which is
//! never on the wire.

use crate::error::Drop;
use crate::keys::Spi;
use crate::suite::HEADER_LEN;

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
}

impl Header {
    /// Reads the header of a packet that has at least `packet_len_min` octets.
    pub(crate) fn read(packet: &[u8], packet_len_min: usize) -> Result<Self, Drop> {
        if packet.len() < packet_len_min {
            return Err(Drop::Truncated);
        }
        let header = packet.first_chunk::<HEADER_LEN>().ok_or(Drop::Truncated)?;
        let [_, _, _, _, q0, q1, q2, q3] = *header;
        Ok(Self {
            spi: peek_spi(packet).ok_or(Drop::UnknownSpi)?,
            seq_low: u32::from_be_bytes([q0, q1, q2, q3]),
        })
    }
}
