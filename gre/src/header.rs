//! The GRE header on the wire: RFC 2784 §2 with the key and sequence number of RFC 2890 §2.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |C| |K|S| Reserved0       | Ver |         Protocol Type         |
//! |      Checksum (optional)      |       Reserved1 (optional)    |
//! |                         Key (optional)                        |
//! |                 Sequence Number (optional)                    |
//! ```
//!
//! Not here: what a key or a sequence number means to a tunnel ([`tunnel`](crate::tunnel)), and
//! RFC 1701 routing, which RFC 2784 removed.

use std::fmt;

use crate::error::Drop;

/// What the passenger is: an ethertype (RFC 2784 §2.4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u16);

impl Protocol {
    /// IPv4 (RFC 2784 §3).
    pub const IPV4: Self = Self(0x0800);
    /// IPv6 (RFC 7676 §3).
    pub const IPV6: Self = Self(0x86dd);
    /// Ethernet frames (RFC 1701, RFC 7637 §3.2).
    pub const ETHERNET: Self = Self(0x6558);
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protocol({:#06x})", self.0)
    }
}

/// A GRE header of version 0. A field that is `None` is not on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The passenger's type.
    pub protocol: Protocol,
    /// The checksum as it stands on the wire; 0 while it is being computed (RFC 2784 §2.5).
    pub checksum: Option<u16>,
    /// The key (RFC 2890 §2.1). `Some(0)` is a key.
    pub key: Option<u32>,
    /// The sequence number (RFC 2890 §2.2).
    pub sequence: Option<u32>,
}

impl Header {
    /// The longest header, in octets: every optional field present.
    pub const MAX_LEN: usize = 16;

    /// Splits a packet into its header and its passenger. Does not verify the checksum.
    ///
    /// # Errors
    /// [`Drop::HeaderTruncated`], [`Drop::ReservedBits`] or [`Drop::Version`].
    pub fn parse(packet: &[u8]) -> Result<(Self, &[u8]), Drop> {
        let (&word, mut rest) = packet
            .split_first_chunk::<4>()
            .ok_or(Drop::HeaderTruncated)?;
        let [f0, f1, p0, p1] = word;
        let flags = u16::from_be_bytes([f0, f1]);
        // The bits outside these masks are 6 to 12: sent as zero, ignored on receipt (§2.3).
        if flags & DISCARD != 0 {
            return Err(Drop::ReservedBits);
        }
        if flags & VERSION != 0 {
            return Err(Drop::Version);
        }
        let mut field = |present: u16| match flags & present {
            0 => Ok(None),
            _ => take_u32(&mut rest).map(Some).ok_or(Drop::HeaderTruncated),
        };
        let checksum = field(CHECKSUM)?.map(|checksum_and_reserved| {
            let [c0, c1, ..] = checksum_and_reserved.to_be_bytes();
            u16::from_be_bytes([c0, c1])
        });
        let key = field(KEY)?;
        let sequence = field(SEQUENCE)?;
        let protocol = Protocol(u16::from_be_bytes([p0, p1]));
        Ok((
            Self {
                protocol,
                checksum,
                key,
                sequence,
            },
            rest,
        ))
    }

    /// How many octets [`write`](Self::write) produces: 4, 8, 12 or 16.
    pub fn wire_len(&self) -> usize {
        let optional = [
            self.checksum.is_some(),
            self.key.is_some(),
            self.sequence.is_some(),
        ]
        .map(usize::from);
        4 + 4 * optional.iter().sum::<usize>()
    }

    /// Writes the header to the start of `out` and returns its length, or `None` where `out` is
    /// shorter than [`wire_len`](Self::wire_len); `out` is unspecified then.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let flag = |present: bool, bit: u16| if present { bit } else { 0 };
        let flags = flag(self.checksum.is_some(), CHECKSUM)
            | flag(self.key.is_some(), KEY)
            | flag(self.sequence.is_some(), SEQUENCE);
        let fields = [
            Some(u32::from(flags) << 16 | u32::from(self.protocol.0)),
            self.checksum.map(|checksum| u32::from(checksum) << 16),
            self.key,
            self.sequence,
        ];
        let mut rest = out;
        for field in fields.into_iter().flatten() {
            let (word, after) = rest.split_first_chunk_mut::<4>()?;
            *word = field.to_be_bytes();
            rest = after;
        }
        Some(self.wire_len())
    }
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (word, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(*word))
}

const CHECKSUM: u16 = 0x8000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
/// Bits 1, 4 and 5: of the five that RFC 2784 §2.3 has a receiver discard unless it implements
/// them, those that RFC 2890 gives no meaning.
const DISCARD: u16 = 0x4c00;
const VERSION: u16 = 0x0007;

#[cfg(test)]
mod tests;
