//! The cipher suites: one closed table.
//!
//! Owns: sizes and names (RFC 4106 §3, §4, §6, §8.1; RFC 7634 §2; RFC 3602 §2; RFC 4868 §2) and the
//! overhead they cause on the wire. Not here: the keys, the ciphers themselves.

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Algorithm, CHACHA20_POLY1305};
use aws_lc_rs::hmac;

use crate::{aead, cbc};

/// Octets of SPI and sequence number before the IV (RFC 4303 §2).
pub(crate) const HEADER_LEN: usize = 8;
/// Octets of Pad Length and Next Header (RFC 4303 §2).
const TRAILER_LEN: usize = 2;
/// Octets to which payload, padding and trailer are aligned where the cipher has no blocks of its
/// own (RFC 4303 §2.4).
const ALIGNMENT: usize = 4;

/// The transforms of ESP that protect one SA: an AEAD, or AES-CBC with an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-GCM with a key of 128 bits (ENCR_AES_GCM_16).
    Aes128Gcm16,
    /// AES-GCM with a key of 192 bits (ENCR_AES_GCM_16).
    Aes192Gcm16,
    /// AES-GCM with a key of 256 bits (ENCR_AES_GCM_16).
    Aes256Gcm16,
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
    /// AES-CBC, and an HMAC over what was encrypted.
    AesCbc(AesKey, Hmac),
}

/// The sizes of an AES key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AesKey {
    /// 128 bits.
    Bits128,
    /// 192 bits.
    Bits192,
    /// 256 bits.
    Bits256,
}

/// The HMACs, with the bits to which each is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hmac {
    /// AUTH_HMAC_SHA1_96 (RFC 2404), for peers that have nothing better.
    Sha1_96,
    /// AUTH_HMAC_SHA2_256_128 (RFC 4868).
    Sha256_128,
    /// AUTH_HMAC_SHA2_384_192 (RFC 4868).
    Sha384_192,
    /// AUTH_HMAC_SHA2_512_256 (RFC 4868).
    Sha512_256,
}

impl AesKey {
    /// Every size.
    pub const ALL: [Self; 3] = [Self::Bits128, Self::Bits192, Self::Bits256];

    /// Octets of the key.
    pub(crate) const fn len(self) -> usize {
        match self {
            Self::Bits128 => 16,
            Self::Bits192 => 24,
            Self::Bits256 => 32,
        }
    }
}

/// What tells one HMAC from another.
struct HmacRow {
    name: &'static str,
    key_len: usize,
    icv_len: usize,
    algorithm: &'static hmac::Algorithm,
}

impl Hmac {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self::Sha1_96,
        Self::Sha256_128,
        Self::Sha384_192,
        Self::Sha512_256,
    ];

    const fn row(self) -> HmacRow {
        let (name, key_len, icv_len, algorithm) = match self {
            Self::Sha1_96 => ("sha1", 20, 12, &hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            Self::Sha256_128 => ("sha256", 32, 16, &hmac::HMAC_SHA256),
            Self::Sha384_192 => ("sha384", 48, 24, &hmac::HMAC_SHA384),
            Self::Sha512_256 => ("sha512", 64, 32, &hmac::HMAC_SHA512),
        };
        HmacRow {
            name,
            key_len,
            icv_len,
            algorithm,
        }
    }

    /// Octets of the key: as many as the hash puts out.
    pub(crate) const fn key_len(self) -> usize {
        self.row().key_len
    }

    /// Octets of the ICV.
    pub(crate) const fn icv_len(self) -> usize {
        self.row().icv_len
    }

    pub(crate) const fn algorithm(self) -> &'static hmac::Algorithm {
        self.row().algorithm
    }
}

impl Suite {
    /// Every one.
    pub fn all() -> impl Iterator<Item = Self> {
        let pairs = AesKey::ALL.into_iter().flat_map(|key| {
            Hmac::ALL
                .into_iter()
                .map(move |hmac| Self::AesCbc(key, hmac))
        });
        let aeads = [
            Self::Aes128Gcm16,
            Self::Aes192Gcm16,
            Self::Aes256Gcm16,
            Self::ChaCha20Poly1305,
        ];
        aeads.into_iter().chain(pairs)
    }

    /// Octets of key material for one direction: the key, then for an AEAD the salt (RFC 4106 §8.1),
    /// for others the authentication key (RFC 7296 §2.17).
    #[must_use]
    pub const fn key_material_len(self) -> usize {
        match self {
            Self::Aes128Gcm16 => 16 + aead::SALT_LEN,
            Self::Aes192Gcm16 => 24 + aead::SALT_LEN,
            Self::Aes256Gcm16 | Self::ChaCha20Poly1305 => 32 + aead::SALT_LEN,
            Self::AesCbc(key, hmac) => key.len() + hmac.key_len(),
        }
    }

    /// What the suite adds to each packet.
    #[must_use]
    pub const fn overhead(self) -> Overhead {
        let (iv, icv, alignment) = match self {
            Self::AesCbc(_, hmac) => (cbc::BLOCK_LEN, hmac.icv_len(), cbc::BLOCK_LEN),
            _ => (aead::IV_LEN, aead::ICV_LEN, ALIGNMENT),
        };
        Overhead {
            header: HEADER_LEN + iv,
            trailer: TRAILER_LEN,
            icv,
            alignment,
        }
    }

    /// The AEAD; `None` if the suite has an HMAC instead.
    pub(crate) const fn aead(self) -> Option<&'static Algorithm> {
        match self {
            Self::Aes128Gcm16 => Some(&AES_128_GCM),
            Self::Aes192Gcm16 => Some(&AES_192_GCM),
            Self::Aes256Gcm16 => Some(&AES_256_GCM),
            Self::ChaCha20Poly1305 => Some(&CHACHA20_POLY1305),
            Self::AesCbc(..) => None,
        }
    }
}

/// As proposal strings write it.
impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aes128Gcm16 => f.write_str("aes128gcm16"),
            Self::Aes192Gcm16 => f.write_str("aes192gcm16"),
            Self::Aes256Gcm16 => f.write_str("aes256gcm16"),
            Self::ChaCha20Poly1305 => f.write_str("chacha20poly1305"),
            Self::AesCbc(key, hmac) => write!(f, "aes{}-{}", key.len() * 8, hmac.row().name),
        }
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

    /// Octets of the shortest packet that is worth a look: no payload, no padding.
    pub(crate) const fn packet_len_min(self) -> usize {
        self.header + self.trailer + self.icv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_agrees_with_the_ciphers() {
        for suite in Suite::all() {
            if let Some(algorithm) = suite.aead() {
                let material_len = algorithm.key_len() + aead::SALT_LEN;
                assert_eq!(suite.key_material_len(), material_len, "{suite}");
                assert_eq!(
                    aead::SALT_LEN + aead::IV_LEN,
                    algorithm.nonce_len(),
                    "{suite}"
                );
                assert_eq!(aead::ICV_LEN, algorithm.tag_len(), "{suite}");
            }
        }
        for hmac in Hmac::ALL {
            let digest = hmac.algorithm().digest_algorithm().output_len();
            assert_eq!(hmac.key_len(), digest, "{hmac:?}");
        }
    }

    /// D48, RFC 4868 §2.1: half of the hash, not 96 bits.
    #[test]
    fn overheads() {
        let of = |suite: Suite| {
            let Overhead {
                header,
                icv,
                alignment,
                ..
            } = suite.overhead();
            (header, icv, alignment)
        };
        assert_eq!(of(Suite::Aes128Gcm16), (16, 16, 4));
        assert_eq!(of(Suite::ChaCha20Poly1305), (16, 16, 4));
        for key in AesKey::ALL {
            assert_eq!(of(Suite::AesCbc(key, Hmac::Sha1_96)), (24, 12, 16));
            assert_eq!(of(Suite::AesCbc(key, Hmac::Sha256_128)), (24, 16, 16));
            assert_eq!(of(Suite::AesCbc(key, Hmac::Sha384_192)), (24, 24, 16));
            assert_eq!(of(Suite::AesCbc(key, Hmac::Sha512_256)), (24, 32, 16));
        }
    }

    /// D44, RFC 4303 §2.4
    #[test]
    fn padding_is_the_least_that_aligns() {
        let overhead = Suite::Aes128Gcm16.overhead();
        for (payload_len, padding) in [(0, 2), (1, 1), (2, 0), (3, 3), (4, 2), (1372, 2)] {
            assert_eq!(overhead.padding(payload_len), padding, "{payload_len}");
        }
        let overhead = Suite::AesCbc(AesKey::Bits128, Hmac::Sha256_128).overhead();
        for (payload_len, padding) in [(0, 14), (13, 1), (14, 0), (15, 15), (16, 14), (1372, 2)] {
            assert_eq!(overhead.padding(payload_len), padding, "{payload_len}");
        }
    }
}
