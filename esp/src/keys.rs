//! What IKE hands over for one direction of a CHILD_SA.
//!
//! Owns: [`Spi`], [`Keys`] and the identity of an SA within the process. Not here: key derivation
//! (RFC 7296 §2.17) and the SA's state.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cipher::Cipher;
use crate::suite::Suite;

/// A Security Parameters Index an SA may have: not one of 0 to 255, which are reserved
/// (RFC 4303 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(u32);

impl Spi {
    /// The four octets as they go over the wire.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

impl TryFrom<u32> for Spi {
    type Error = ReservedSpi;

    fn try_from(value: u32) -> Result<Self, ReservedSpi> {
        if value <= 255 {
            Err(ReservedSpi(value))
        } else {
            Ok(Self(value))
        }
    }
}

impl From<Spi> for u32 {
    fn from(spi: Spi) -> Self {
        spi.0
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The number is reserved and cannot be an SA's SPI (RFC 4303 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an SPI of {0}: 0 to 255 are reserved, choose a larger one")]
pub struct ReservedSpi(pub u32);

/// The keys and parameters of one SA, that is of one direction. Becomes exactly one
/// [`OutboundSa`](crate::OutboundSa) or [`InboundSa`](crate::InboundSa); hence no `Clone`.
#[derive(Debug)]
pub struct Keys {
    pub(crate) spi: Spi,
    pub(crate) esn: bool,
    pub(crate) suite: Suite,
    pub(crate) cipher: Cipher,
    pub(crate) id: SaId,
}

impl Keys {
    /// Takes the `material` of one direction, as [`Suite::key_material_len`] says. `esn` says
    /// whether extended sequence numbers were negotiated for the SA. The octets are not kept; the
    /// caller wipes its own.
    ///
    /// Using the same material twice for sealing repeats nonces; material comes fresh from IKE
    /// and is never stored (RFC 4106 §2).
    ///
    /// # Errors
    /// [`KeyError`] if the material has not [`Suite::key_material_len`] octets.
    pub fn new(suite: Suite, spi: Spi, esn: bool, material: &[u8]) -> Result<Self, KeyError> {
        let cipher = Cipher::new(suite, material).ok_or(KeyError {
            suite,
            expected: suite.key_material_len(),
            actual: material.len(),
        })?;
        Ok(Self {
            spi,
            esn,
            suite,
            cipher,
            id: SaId::next(),
        })
    }
}

/// The key material has the wrong length for its suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keys for {suite} from {actual} octets of material: it takes {expected}")]
pub struct KeyError {
    /// The suite the keys were for.
    pub suite: Suite,
    /// Octets the suite takes.
    pub expected: usize,
    /// Octets there were.
    pub actual: usize,
}

/// Which SA a token came from. An SPI would not do: the peers choose those of outbound SAs, and
/// two peers may choose the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SaId(u64);

impl SaId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D43, RFC 4303 §2.1
    #[test]
    fn reserved_spis_are_refused() {
        for value in [0, 1, 255] {
            assert_eq!(Spi::try_from(value), Err(ReservedSpi(value)));
        }
        for value in [256, u32::MAX] {
            assert_eq!(Spi::try_from(value).map(u32::from), Ok(value));
        }
    }

    #[test]
    fn material_of_the_wrong_length_is_refused() {
        let spi = Spi::try_from(256).unwrap();
        for suite in Suite::all() {
            for length in (0..128).filter(|&length| length != suite.key_material_len()) {
                let error = Keys::new(suite, spi, false, &vec![0; length]).unwrap_err();
                assert_eq!((error.suite, error.actual), (suite, length));
            }
        }
    }

    #[test]
    fn debug_output_has_no_key_material() {
        let spi = Spi::try_from(256).unwrap();
        let keys = Keys::new(Suite::Aes128Gcm16, spi, true, &[0xab; 20]).unwrap();
        let text = format!("{keys:?} {keys:#x?}");
        assert!(!text.contains("171") && !text.contains("ab,"), "{text}");
    }
}
