//! The AEADs of ESP: nonces and associated data (RFC 4106 §4, §5; RFC 7634 §2).
//!
//! Owns: the key, the salt, and what the ICV covers. Not here: where IVs come from (`sequence`).
//!
//! Key schedule and salt are wiped when they are dropped; what the library copies to the stack is not
//! (docs/decisions/010-aead-provider.md).

use aws_lc_rs::aead::{Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::cipher::PacketId;

/// Octets of the salt at the end of the key material (RFC 4106 §4).
pub(crate) const SALT_LEN: usize = 4;
/// Octets of the explicit IV (RFC 4106 §3.1).
pub(crate) const IV_LEN: usize = 8;
/// Octets of the ICV (RFC 4106 §6).
pub(crate) const ICV_LEN: usize = 16;

/// Key and salt of one SA.
pub(crate) struct SaltedKey {
    key: LessSafeKey,
    salt: Zeroizing<[u8; SALT_LEN]>,
}

impl SaltedKey {
    /// `None` if `material`, the key and then the salt, has the wrong length.
    pub(crate) fn new(algorithm: &'static Algorithm, material: &[u8]) -> Option<Self> {
        let (key, salt) = material.split_last_chunk()?;
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
        Some(Self {
            key,
            salt: Zeroizing::new(*salt),
        })
    }

    /// RFC 4106 §3.1: the IV is a counter, here the sequence number itself.
    pub(crate) fn seal(&self, packet: PacketId, body: &mut [u8]) -> Option<()> {
        let (iv, rest) = body.split_first_chunk_mut()?;
        let (text, icv) = rest.split_last_chunk_mut()?;
        *iv = packet.seq.to_be_bytes();
        *icv = self.encrypt(*iv, &Associated::of(packet), text)?;
        Some(())
    }

    pub(crate) fn open<'b>(&self, packet: PacketId, body: &'b mut [u8]) -> Option<&'b mut [u8]> {
        let (iv, sealed) = body.split_first_chunk_mut()?;
        self.decrypt(*iv, &Associated::of(packet), sealed)
    }

    fn encrypt(
        &self,
        iv: [u8; IV_LEN],
        associated: &Associated,
        text: &mut [u8],
    ) -> Option<[u8; ICV_LEN]> {
        let associated = Aad::from(associated);
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(iv), associated, text);
        tag.ok()?.as_ref().try_into().ok()
    }

    fn decrypt<'b>(
        &self,
        iv: [u8; IV_LEN],
        associated: &Associated,
        sealed: &'b mut [u8],
    ) -> Option<&'b mut [u8]> {
        let associated = Aad::from(associated);
        self.key
            .open_in_place(self.nonce(iv), associated, sealed)
            .ok()
    }

    /// RFC 4106 §4: the salt, then the IV.
    fn nonce(&self, iv: [u8; IV_LEN]) -> Nonce {
        let [a, b, c, d] = *self.salt;
        let [e, f, g, h, i, j, k, l] = iv;
        Nonce::assume_unique_for_key([a, b, c, d, e, f, g, h, i, j, k, l])
    }
}

/// The associated data (RFC 4106 §5): SPI and sequence number, all 64 bits of it with ESN.
enum Associated {
    Short([u8; 8]),
    Extended([u8; 12]),
}

impl Associated {
    fn of(packet: PacketId) -> Self {
        let header = packet.header();
        match packet.high() {
            None => Self::Short(header),
            Some([h0, h1, h2, h3]) => {
                let [s0, s1, s2, s3, l0, l1, l2, l3] = header;
                Self::Extended([s0, s1, s2, s3, h0, h1, h2, h3, l0, l1, l2, l3])
            }
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
