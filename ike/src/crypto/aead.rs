//! An AEAD with its salt (RFC 5282 §4, RFC 7634 §2). Where IVs come from and what is authenticated
//! beside the text is the caller's business.
//!
//! Key schedule and salt are wiped when they are dropped; what the library copies to the stack is not
//! (docs/decisions/010-aead-provider.md).

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::algorithm::Aead;

/// Octets of the explicit IV (RFC 5282 §3.1).
pub(super) const IV_OCTETS: usize = 8;

/// Key and salt of one direction.
pub(super) struct SaltedKey {
    key: LessSafeKey,
    salt: Zeroizing<[u8; Aead::SALT_OCTETS]>,
}

impl SaltedKey {
    /// `None` where the material, the key and then the salt, is not as long as this takes.
    pub(super) fn new(aead: Aead, material: &[u8]) -> Option<Self> {
        let (key, salt) = material.split_last_chunk()?;
        let key = LessSafeKey::new(UnboundKey::new(aead.algorithm(), key).ok()?);
        Some(Self {
            key,
            salt: Zeroizing::new(*salt),
        })
    }

    /// Encrypts in place and returns the ICV; `None` where the text is longer than the algorithm
    /// takes.
    pub(super) fn seal(
        &self,
        iv: [u8; IV_OCTETS],
        associated: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; Aead::ICV_OCTETS]> {
        let associated = Aad::from(associated);
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(iv), associated, text);
        tag.ok()?.as_ref().try_into().ok()
    }

    /// The text of ciphertext and ICV, decrypted in place; `None` where the ICV is wrong, and then
    /// the buffer holds nothing worth reading.
    pub(super) fn open<'b>(
        &self,
        iv: [u8; IV_OCTETS],
        associated: &[u8],
        sealed: &'b mut [u8],
    ) -> Option<&'b mut [u8]> {
        let associated = Aad::from(associated);
        self.key
            .open_in_place(self.nonce(iv), associated, sealed)
            .ok()
    }

    /// Salt, then IV (RFC 5282 §4).
    fn nonce(&self, iv: [u8; IV_OCTETS]) -> Nonce {
        let [a, b, c, d] = *self.salt;
        let [e, f, g, h, i, j, k, l] = iv;
        Nonce::assume_unique_for_key([a, b, c, d, e, f, g, h, i, j, k, l])
    }
}
