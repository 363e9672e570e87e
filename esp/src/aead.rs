//! The AEAD of ESP: nonces and associated data (RFC 4106 §4, §5).
//!
//! Owns: the cipher's key, the salt, and what the ICV covers. Not here: where IVs come from
//! (`sequence`) and the packet's layout (`header`, `trailer`).
//!
//! `ring` does not wipe its key schedule when it is dropped; the salt is wiped.

use std::fmt;

use ring::aead::{Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use zeroize::Zeroizing;

use crate::keys::Spi;
use crate::suite::{IV_LEN, SALT_LEN, Suite};

const NONCE_LEN: usize = SALT_LEN + IV_LEN;

/// Key and salt of one SA.
pub(crate) struct Cipher {
    key: LessSafeKey,
    salt: Zeroizing<[u8; SALT_LEN]>,
}

impl Cipher {
    /// `None` if `material`, the key and then the salt, has the wrong length.
    pub(crate) fn new(suite: Suite, material: &[u8]) -> Option<Self> {
        let (key, salt) = material.split_last_chunk()?;
        let key = LessSafeKey::new(UnboundKey::new(suite.algorithm(), key).ok()?);
        Some(Self {
            key,
            salt: Zeroizing::new(*salt),
        })
    }

    /// Encrypts in place and returns the ICV; `None` if `plaintext` is too long for the cipher.
    pub(crate) fn seal(
        &self,
        iv: [u8; IV_LEN],
        associated: &Associated,
        plaintext: &mut [u8],
    ) -> Option<Tag> {
        let associated = Aad::from(associated);
        self.key
            .seal_in_place_separate_tag(self.nonce(iv), associated, plaintext)
            .ok()
    }

    /// Checks the ICV at the end of `sealed` and decrypts the rest in place; `None` if it is wrong,
    /// and then `sealed` holds nothing worth reading.
    pub(crate) fn open<'b>(
        &self,
        iv: [u8; IV_LEN],
        associated: &Associated,
        sealed: &'b mut [u8],
    ) -> Option<&'b mut [u8]> {
        self.key
            .open_in_place(self.nonce(iv), Aad::from(associated), sealed)
            .ok()
    }

    /// RFC 4106 §4: the salt, then the IV.
    fn nonce(&self, iv: [u8; IV_LEN]) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        let (salt, explicit) = nonce.split_at_mut(SALT_LEN);
        salt.copy_from_slice(&*self.salt);
        explicit.copy_from_slice(&iv);
        Nonce::assume_unique_for_key(nonce)
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(..)")
    }
}

/// The associated data (RFC 4106 §5): SPI and sequence number, all 64 bits of it with ESN.
pub(crate) enum Associated {
    Short([u8; 8]),
    Extended([u8; 12]),
}

impl Associated {
    /// The octets for the packet with sequence number `seq`.
    pub(crate) fn new(spi: Spi, seq: u64, esn: bool) -> Self {
        let [s0, s1, s2, s3] = spi.to_be_bytes();
        let [h0, h1, h2, h3, l0, l1, l2, l3] = seq.to_be_bytes();
        if esn {
            Self::Extended([s0, s1, s2, s3, h0, h1, h2, h3, l0, l1, l2, l3])
        } else {
            Self::Short([s0, s1, s2, s3, l0, l1, l2, l3])
        }
    }
}

impl AsRef<[u8]> for Associated {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Short(octets) => octets,
            Self::Extended(octets) => octets,
        }
    }
}

#[cfg(test)]
mod tests;
