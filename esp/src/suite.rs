//! The cipher suites: one closed table.
//!
//! Owns: sizes and names (RFC 4106 §3, §4, §6, §8.1) and the overhead they cause on the wire.
//! Not here: the keys, the AEAD itself.

use std::fmt;

use ring::aead::{AES_128_GCM, AES_256_GCM, Algorithm};

/// Octets of SPI and sequence number before the IV (RFC 4303 §2).
pub(crate) const HEADER_LEN: usize = 8;
/// Octets of the salt at the end of the key material (RFC 4106 §4).
pub(crate) const SALT_LEN: usize = 4;
/// Octets of the explicit IV (RFC 4106 §3.1).
pub(crate) const IV_LEN: usize = 8;
/// Octets of the ICV (RFC 4106 §6).
pub(crate) const ICV_LEN: usize = 16;
/// Octets of Pad Length and Next Header (RFC 4303 §2).
pub(crate) const TRAILER_LEN: usize = 2;
/// Octets to which payload, padding and trailer are aligned: GCM is a stream cipher, so only the
/// four of RFC 4303 §2.4 matter.
const ALIGNMENT: usize = 4;

/// A combined-mode transform of ESP. Every suite has a salt of 4 octets, an IV of 8 and an ICV of
/// 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-GCM with a key of 128 bits (ENCR_AES_GCM_16).
    Aes128Gcm16,
    /// AES-GCM with a key of 256 bits (ENCR_AES_GCM_16).
    Aes256Gcm16,
}

/// What tells one suite from another.
struct Row {
    name: &'static str,
    key_len: usize,
    algorithm: &'static Algorithm,
}

impl Suite {
    const fn row(self) -> Row {
        let (name, key_len, algorithm) = match self {
            Self::Aes128Gcm16 => ("aes128gcm16", 16, &AES_128_GCM),
            Self::Aes256Gcm16 => ("aes256gcm16", 32, &AES_256_GCM),
        };
        Row {
            name,
            key_len,
            algorithm,
        }
    }

    /// The suite's name as proposal strings write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Octets of key material for one direction: the key, then the salt (RFC 4106 §8.1).
    #[must_use]
    pub const fn key_material_len(self) -> usize {
        self.row().key_len + SALT_LEN
    }

    /// What the suite adds to each packet.
    #[must_use]
    pub const fn overhead(self) -> Overhead {
        Overhead {
            header: HEADER_LEN + IV_LEN,
            trailer: TRAILER_LEN,
            icv: ICV_LEN,
            alignment: ALIGNMENT,
        }
    }

    pub(crate) const fn algorithm(self) -> &'static Algorithm {
        self.row().algorithm
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What ESP adds to a payload, in octets: `header`, the payload, padding up to a multiple of
/// `alignment` that includes `trailer`, and the `icv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overhead {
    /// SPI, sequence number and IV.
    pub header: usize,
    /// Pad Length and Next Header.
    pub trailer: usize,
    /// Integrity check value.
    pub icv: usize,
    /// Payload, padding and trailer together are a multiple of this (a power of two).
    pub alignment: usize,
}

impl Overhead {
    /// Octets of padding behind a payload of `payload_len` octets (RFC 4303 §2.4).
    #[must_use]
    pub const fn padding(self, payload_len: usize) -> usize {
        // Only the remainder counts, so a length near `usize::MAX` cannot overflow.
        let used = (payload_len % self.alignment + self.trailer) % self.alignment;
        (self.alignment - used) % self.alignment
    }

    /// Octets that follow a payload of `payload_len` octets: padding, trailer and ICV.
    #[must_use]
    pub const fn trailer_len(self, payload_len: usize) -> usize {
        self.padding(payload_len) + self.trailer + self.icv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_agrees_with_the_cipher() {
        for suite in [Suite::Aes128Gcm16, Suite::Aes256Gcm16] {
            let algorithm = suite.algorithm();
            assert_eq!(
                suite.key_material_len(),
                algorithm.key_len() + SALT_LEN,
                "{suite}"
            );
            assert_eq!(SALT_LEN + IV_LEN, algorithm.nonce_len(), "{suite}");
            assert_eq!(ICV_LEN, algorithm.tag_len(), "{suite}");
        }
    }

    /// D44, RFC 4303 §2.4
    #[test]
    fn padding_is_the_least_that_aligns() {
        let overhead = Suite::Aes128Gcm16.overhead();
        for (payload_len, padding) in [(0, 2), (1, 1), (2, 0), (3, 3), (4, 2), (1372, 2)] {
            assert_eq!(overhead.padding(payload_len), padding, "{payload_len}");
        }
    }
}
