//! Why a packet was dropped, and why one could not be sealed.
//!
//! Owns: [`Drop`], which is about packets of the network and is counted, and [`SealError`], which
//! is about our caller. Not here: the counters.

use std::fmt;

/// Why an inbound packet was dropped. Nothing about the SA changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Drop {
    /// The packet is shorter than the smallest ESP packet of the suite.
    Truncated,
    /// The packet belongs to no SA, or not to the SA it was handed to.
    UnknownSpi,
    /// The sequence number lies before the replay window (RFC 4303 §3.4.3).
    ReplayOld,
    /// A packet with this sequence number has been accepted before (RFC 4303 §3.4.3).
    ReplayDuplicate,
    /// The ICV is wrong: the packet was altered, forged, or sealed with other keys; or it is
    /// older than the replay window, which with ESN looks like a packet 2^32 ahead
    /// (RFC 4303 Appendix A2).
    Icv,
    /// Authentic, but Pad Length exceeds the packet or the padding is not 1, 2, 3, …
    /// (RFC 4303 §2.4).
    Padding,
}

impl Drop {
    /// Every reason, in the order of the counters: `Drop::ALL[reason as usize] == reason`.
    pub const ALL: [Self; 6] = [
        Self::Truncated,
        Self::UnknownSpi,
        Self::ReplayOld,
        Self::ReplayDuplicate,
        Self::Icv,
        Self::Padding,
    ];

    /// The reason's name for counters and JSON, in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::UnknownSpi => "unknown_spi",
            Self::ReplayOld => "replay_old",
            Self::ReplayDuplicate => "replay_duplicate",
            Self::Icv => "icv",
            Self::Padding => "padding",
        }
    }
}

impl fmt::Display for Drop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a payload could not be sealed: the caller's mistake. Its sequence number is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The payload starts too early in the buffer for the ESP header.
    #[error("sealing needs {needed} octets before the payload, there are {available}")]
    Headroom {
        /// Octets of SPI, sequence number and IV.
        needed: usize,
        /// Octets before the payload.
        available: usize,
    },
    /// The payload, or the trailer and ICV behind it, do not lie within the buffer.
    #[error("sealing needs a buffer of {needed} octets, it has {available}")]
    Tailroom {
        /// Where the ICV would end.
        needed: usize,
        /// The buffer's length.
        available: usize,
    },
    /// The payload's range ends before it starts.
    #[error("sealing needs a payload range that does not end before it starts")]
    Range,
    /// The sequence number was reserved from another SA: sealing could repeat a nonce.
    #[error("sealing with a sequence number of another SA: reserve it from this one")]
    ForeignSeq,
    /// The payload is longer than the cipher can take.
    #[error("sealing a payload longer than the cipher can take: split it")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_indexes_its_own_counter() {
        for (index, reason) in Drop::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason}");
        }
    }
}
