//! An AEAD with its salt (RFC 5282 §4, RFC 7634 §2). Where IVs come from and what is authenticated
//! beside the text is the caller's business.
//!
//! `ring` does not wipe its key schedule when it is dropped; the salt and AES-192's are wiped.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use aes_gcm::aes::Aes192;
use aes_gcm::{AesGcm, KeyInit};
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::algorithm::{Aead, AeadProvider};

/// Octets of the explicit IV (RFC 5282 §3.1).
pub(super) const IV_OCTETS: usize = 8;

/// Key and salt of one direction.
pub(super) struct SaltedKey {
    key: Key,
    salt: Zeroizing<[u8; Aead::SALT_OCTETS]>,
}

enum Key {
    Ring(LessSafeKey),
    Gcm192(AesGcm<Aes192, U12>),
}

impl SaltedKey {
    /// `None` where the material, the key and then the salt, is not as long as this takes.
    pub(super) fn new(aead: Aead, material: &[u8]) -> Option<Self> {
        let (key, salt) = material.split_last_chunk()?;
        let key = match aead.provider() {
            AeadProvider::Ring(algorithm) => {
                Key::Ring(LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?))
            }
            AeadProvider::Gcm192 => Key::Gcm192(AesGcm::new_from_slice(key).ok()?),
        };
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
        let nonce = self.nonce(iv);
        match &self.key {
            Key::Ring(key) => {
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(associated), text);
                tag.ok()?.as_ref().try_into().ok()
            }
            Key::Gcm192(key) => key
                .encrypt_inout_detached(&nonce.into(), associated, text.into())
                .ok()
                .map(Into::into),
        }
    }

    /// The text of ciphertext and ICV, decrypted in place; `None` where the ICV is wrong, and then
    /// the buffer holds nothing worth reading.
    pub(super) fn open<'b>(
        &self,
        iv: [u8; IV_OCTETS],
        associated: &[u8],
        sealed: &'b mut [u8],
    ) -> Option<&'b mut [u8]> {
        let nonce = self.nonce(iv);
        match &self.key {
            Key::Ring(key) => {
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, Aad::from(associated), sealed).ok()
            }
            Key::Gcm192(key) => {
                let (text, icv) = sealed.split_last_chunk_mut::<{ Aead::ICV_OCTETS }>()?;
                let buffer = (&mut *text).into();
                key.decrypt_inout_detached(&nonce.into(), associated, buffer, &(*icv).into())
                    .ok()?;
                Some(text)
            }
        }
    }

    /// Salt, then IV (RFC 5282 §4).
    fn nonce(&self, iv: [u8; IV_OCTETS]) -> [u8; NONCE_LEN] {
        let [a, b, c, d] = *self.salt;
        let [e, f, g, h, i, j, k, l] = iv;
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}
