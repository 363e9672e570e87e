//! Protection of the SK payload's body with an AEAD (RFC 7296 §3.14, RFC 5282): IV, ciphertext, ICV.
//! Which octets are payloads, padding or header is [`wire`](crate::wire)'s business.
//!
//! Both calls get the message up to the body of SK as octets that are authenticated and not
//! encrypted. An AEAD takes them as associated data; a MAC over header to Pad Length, as AES-CBC with
//! HMAC has it, begins with the same octets and goes on with IV and ciphertext.

use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::algorithm::Encryption;
use crate::secret::Secret;

/// Octets of the explicit IV (RFC 5282 §3.1).
const IV_OCTETS: usize = 8;

/// Protects what we send. It counts the IVs itself and cannot be cloned, so none comes twice with
/// its key (D20, RFC 5282 §3.1).
pub struct SealingCipher {
    key: SaltedKey,
    next_iv: u64,
}

/// Opens what the peer has sealed.
pub struct OpeningCipher {
    key: SaltedKey,
}

/// The integrity check failed, or there was nothing to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcvMismatch;

struct SaltedKey {
    encryption: Encryption,
    key: LessSafeKey,
    salt: Zeroizing<[u8; Encryption::SALT_OCTETS]>,
}

impl SealingCipher {
    /// For SK_ei or SK_er: the key, then the salt (RFC 5282 §7.1).
    ///
    /// # Panics
    /// Where the key material is not [`Encryption::key_material_octets`] long. It comes from prf+,
    /// which was asked for that many.
    pub fn new(encryption: Encryption, key_material: &Secret) -> Self {
        Self {
            key: SaltedKey::new(encryption, key_material),
            next_iv: 0,
        }
    }

    /// Octets that [`seal`](Self::seal) appends for so many octets of plaintext.
    pub fn sealed_octets(&self, plaintext_octets: usize) -> usize {
        IV_OCTETS + plaintext_octets + self.key.encryption.icv_octets()
    }

    /// Appends IV, ciphertext and ICV to a message that is complete up to there.
    pub fn seal(&mut self, message: &mut Vec<u8>, mut plaintext: Vec<u8>) {
        let iv = self.next_iv.to_be_bytes();
        // Message IDs are 32 bits long, so an IKE SA ends long before its IVs do.
        self.next_iv += 1;
        #[expect(
            clippy::expect_used,
            reason = "a message is far shorter than GCM's 64 GiB"
        )]
        let icv = self
            .key
            .key
            .seal_in_place_separate_tag(
                self.key.nonce(iv),
                Aad::from(message.as_slice()),
                &mut plaintext,
            )
            .expect("a message within the bounds of GCM");
        message.extend_from_slice(&iv);
        message.extend_from_slice(&plaintext);
        message.extend_from_slice(icv.as_ref());
    }
}

#[cfg(test)]
impl SealingCipher {
    /// Goes on from an IV that a vector has.
    pub(crate) fn with_next_iv(self, next_iv: u64) -> Self {
        Self { next_iv, ..self }
    }
}

impl OpeningCipher {
    /// As [`SealingCipher::new`], with the other end's key.
    ///
    /// # Panics
    /// As there.
    pub fn new(encryption: Encryption, key_material: &Secret) -> Self {
        Self {
            key: SaltedKey::new(encryption, key_material),
        }
    }

    /// The plaintext of IV, ciphertext and ICV, if they and the message before them are authentic.
    pub fn open(&self, associated: &[u8], protected: &[u8]) -> Result<Vec<u8>, IcvMismatch> {
        let (iv, sealed) = protected
            .split_first_chunk::<IV_OCTETS>()
            .ok_or(IcvMismatch)?;
        let mut buffer = sealed.to_vec();
        let plaintext = self
            .key
            .key
            .open_in_place(self.key.nonce(*iv), Aad::from(associated), &mut buffer)
            .map_err(|_| IcvMismatch)?
            .len();
        buffer.truncate(plaintext);
        Ok(buffer)
    }
}

impl SaltedKey {
    #[expect(clippy::expect_used, reason = "documented at the public constructors")]
    fn new(encryption: Encryption, key_material: &Secret) -> Self {
        let (key, salt) = key_material
            .expose()
            .split_last_chunk::<{ Encryption::SALT_OCTETS }>()
            .expect("key material with a salt");
        let key = UnboundKey::new(encryption.aead(), key).expect("key material of this cipher");
        Self {
            encryption,
            key: LessSafeKey::new(key),
            salt: Zeroizing::new(*salt),
        }
    }

    /// Salt, then IV (RFC 5282 §4).
    fn nonce(&self, iv: [u8; IV_OCTETS]) -> Nonce {
        let [a, b, c, d] = *self.salt;
        let [e, f, g, h, i, j, k, l] = iv;
        Nonce::assume_unique_for_key([a, b, c, d, e, f, g, h, i, j, k, l])
    }
}

impl std::fmt::Debug for SealingCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealingCipher({}, ..)", self.key.encryption)
    }
}

impl std::fmt::Debug for OpeningCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpeningCipher({}, ..)", self.key.encryption)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ciphers(encryption: Encryption, octet: u8) -> (SealingCipher, OpeningCipher) {
        let key = Secret::new(vec![octet; encryption.key_material_octets()]);
        (
            SealingCipher::new(encryption, &key),
            OpeningCipher::new(encryption, &key),
        )
    }

    /// D20, RFC 5282 §3.1.
    #[test]
    fn no_iv_comes_twice() {
        let (mut sealing, _) = ciphers(Encryption::Aes256Gcm16, 1);
        let ivs: Vec<_> = (0..3)
            .map(|_| {
                let mut message = Vec::new();
                sealing.seal(&mut message, b"the same".to_vec());
                message[..IV_OCTETS].to_vec()
            })
            .collect();
        assert_eq!(ivs, [0_u64, 1, 2].map(|iv| iv.to_be_bytes().to_vec()));
    }

    #[test]
    fn what_is_sealed_is_opened_by_the_same_key_alone() {
        for &encryption in Encryption::ALL {
            let (mut sealing, opening) = ciphers(encryption, 1);
            let mut message = b"header".to_vec();
            let octets = sealing.sealed_octets(7);
            sealing.seal(&mut message, b"payload".to_vec());
            let (associated, protected) = message.split_at(6);
            assert_eq!(protected.len(), octets);
            assert_eq!(opening.open(associated, protected), Ok(b"payload".to_vec()));

            assert_eq!(opening.open(b"Header", protected), Err(IcvMismatch));
            let (_, other) = ciphers(encryption, 2);
            assert_eq!(other.open(associated, protected), Err(IcvMismatch));
        }
    }

    /// The salt is part of the key (RFC 5282 §7.1).
    #[test]
    fn another_salt_is_another_key() {
        let (mut sealing, _) = ciphers(Encryption::Aes128Gcm16, 1);
        let mut message = Vec::new();
        sealing.seal(&mut message, b"payload".to_vec());
        let mut key = vec![1; Encryption::Aes128Gcm16.key_material_octets()];
        *key.last_mut().unwrap() = 2;
        let other = OpeningCipher::new(Encryption::Aes128Gcm16, &Secret::new(key));
        assert_eq!(other.open(&[], &message), Err(IcvMismatch));
    }

    #[test]
    fn debug_shows_no_key() {
        let (sealing, opening) = ciphers(Encryption::Aes128Gcm16, 1);
        assert_eq!(format!("{sealing:?}"), "SealingCipher(aes128gcm16, ..)");
        assert_eq!(format!("{opening:?}"), "OpeningCipher(aes128gcm16, ..)");
    }
}
