//! Protection of the SK payload's body (RFC 7296 §3.14): IV, ciphertext, ICV, with an AEAD
//! (RFC 5282) or with AES-CBC and an HMAC. Which octets are payloads, padding or header is
//! [`wire`](crate::wire)'s business.
//!
//! Both calls get the message up to the body of SK as octets that are authenticated and not
//! encrypted. An AEAD takes them as associated data; an HMAC begins with them and goes on with IV
//! and ciphertext.

use super::aead::{IV_OCTETS, SaltedKey};
use super::cbc::{BLOCK_OCTETS, CbcHmac};
use crate::algorithm::{Aead, Cipher};
use crate::secret::Secret;

/// Protects what we send. It counts the IVs itself and cannot be cloned, so none comes twice with
/// its key (D20, RFC 5282 §3.1).
pub struct SealingCipher {
    keys: Keys,
    /// The number of the next IV.
    next_iv: u64,
}

/// Opens what the peer has sealed.
pub struct OpeningCipher {
    keys: Keys,
}

/// The integrity check failed, or there was nothing to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcvMismatch;

/// One direction's keys, and what they are for.
struct Keys {
    cipher: Cipher,
    inner: Inner,
}

enum Inner {
    Aead(SaltedKey),
    /// Boxed for its size.
    CbcHmac(Box<CbcHmac>),
}

impl SealingCipher {
    /// For SK_ei or SK_er with its salt (RFC 5282 §7.1), and then SK_ai or SK_ar, which is empty for
    /// an AEAD.
    ///
    /// # Panics
    /// Where the key material is not [`Cipher::key_material_octets`] long. It comes from prf+,
    /// which was asked for that many.
    pub fn new(cipher: Cipher, key_material: &Secret) -> Self {
        Self {
            keys: Keys::new(cipher, key_material),
            next_iv: 0,
        }
    }

    /// Octets of padding between so many octets of payloads and the Pad Length octet, which make
    /// whole blocks of them (RFC 7296 §3.14). An AEAD needs none.
    pub fn padding_octets(&self, payloads_octets: usize) -> usize {
        match self.keys.inner {
            Inner::Aead(_) => 0,
            Inner::CbcHmac(_) => BLOCK_OCTETS - 1 - payloads_octets % BLOCK_OCTETS,
        }
    }

    /// Octets that [`seal`](Self::seal) appends for so many octets of plaintext.
    pub fn sealed_octets(&self, plaintext_octets: usize) -> usize {
        plaintext_octets
            + match &self.keys.inner {
                Inner::Aead(_) => IV_OCTETS + Aead::ICV_OCTETS,
                Inner::CbcHmac(keys) => BLOCK_OCTETS + keys.icv_octets(),
            }
    }

    /// Appends IV, ciphertext and ICV to a message that is complete up to there. The plaintext is
    /// payloads, padding and Pad Length.
    pub fn seal(&mut self, message: &mut Vec<u8>, mut plaintext: Vec<u8>) {
        let number = self.next_iv;
        // Message IDs are 32 bits long, so an IKE SA ends long before its IVs do.
        self.next_iv += 1;
        match &self.keys.inner {
            Inner::Aead(key) => {
                let iv = number.to_be_bytes();
                #[expect(
                    clippy::expect_used,
                    reason = "a message is far shorter than GCM's 64 GiB"
                )]
                let icv = key
                    .seal(iv, message, &mut plaintext)
                    .expect("a message within the bounds of the cipher");
                message.extend_from_slice(&iv);
                message.extend_from_slice(&plaintext);
                message.extend_from_slice(&icv);
            }
            Inner::CbcHmac(keys) => keys.seal(message, keys.iv(number), plaintext),
        }
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
    pub fn new(cipher: Cipher, key_material: &Secret) -> Self {
        Self {
            keys: Keys::new(cipher, key_material),
        }
    }

    /// The plaintext of IV, ciphertext and ICV, if they and the message before them are authentic.
    pub fn open(&self, associated: &[u8], protected: &[u8]) -> Result<Vec<u8>, IcvMismatch> {
        match &self.keys.inner {
            Inner::Aead(key) => {
                let (iv, sealed) = protected
                    .split_first_chunk::<IV_OCTETS>()
                    .ok_or(IcvMismatch)?;
                let mut buffer = sealed.to_vec();
                let plaintext = key.open(*iv, associated, &mut buffer);
                let plaintext = plaintext.ok_or(IcvMismatch)?.len();
                buffer.truncate(plaintext);
                Ok(buffer)
            }
            Inner::CbcHmac(keys) => keys.open(associated, protected).ok_or(IcvMismatch),
        }
    }
}

impl Keys {
    #[expect(clippy::expect_used, reason = "documented at the public constructors")]
    fn new(cipher: Cipher, key_material: &Secret) -> Self {
        let material = key_material.expose();
        let inner = match cipher {
            Cipher::Aead(aead) => SaltedKey::new(aead, material).map(Inner::Aead),
            Cipher::CbcHmac(cbc, integrity) => CbcHmac::new(cbc, integrity, material)
                .map(Box::new)
                .map(Inner::CbcHmac),
        };
        Self {
            cipher,
            inner: inner.expect("key material of this cipher"),
        }
    }
}

impl std::fmt::Debug for SealingCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealingCipher({}, ..)", self.keys.cipher)
    }
}

impl std::fmt::Debug for OpeningCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpeningCipher({}, ..)", self.keys.cipher)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::algorithm::{Cbc, Integrity};

    const AES128_GCM: Cipher = Cipher::Aead(Aead::Aes128Gcm16);
    const AES128_CBC: Cipher = Cipher::CbcHmac(Cbc::Aes128, Integrity::HmacSha256);

    fn ciphers(cipher: Cipher, octet: u8) -> (SealingCipher, OpeningCipher) {
        let key = Secret::new(vec![octet; cipher.key_material_octets()]);
        (
            SealingCipher::new(cipher, &key),
            OpeningCipher::new(cipher, &key),
        )
    }

    /// Payloads with what the cipher wants behind them.
    fn padded(sealing: &SealingCipher, payloads: &[u8]) -> Vec<u8> {
        let padding = sealing.padding_octets(payloads.len());
        let mut plaintext = payloads.to_vec();
        plaintext.resize(payloads.len() + padding, 0xaa);
        plaintext.push(u8::try_from(padding).unwrap());
        plaintext
    }

    /// D20, RFC 5282 §3.1.
    #[test]
    fn no_iv_comes_twice() {
        let (mut sealing, _) = ciphers(Cipher::Aead(Aead::Aes256Gcm16), 1);
        let ivs: Vec<_> = (0..3)
            .map(|_| {
                let mut message = Vec::new();
                sealing.seal(&mut message, b"the same".to_vec());
                message[..IV_OCTETS].to_vec()
            })
            .collect();
        assert_eq!(ivs, [0_u64, 1, 2].map(|iv| iv.to_be_bytes().to_vec()));
    }

    /// D48, SECURITY lesson 25, RFC 3602 §3: neither a counter nor that of another key, and each once.
    #[test]
    fn ivs_of_cbc_do_not_repeat_between_messages_or_keys() {
        let mut seen = HashSet::new();
        for octet in 0..4 {
            let (mut sealing, _) = ciphers(AES128_CBC, octet);
            for _ in 0..64 {
                let mut message = Vec::new();
                let plaintext = padded(&sealing, b"the same");
                sealing.seal(&mut message, plaintext);
                let iv = *message.first_chunk::<BLOCK_OCTETS>().unwrap();
                assert!(iv.iter().filter(|octet| **octet == 0).count() < 8, "{iv:?}");
                assert!(seen.insert(iv));
            }
        }
    }

    /// RFC 7296 §3.14: whole blocks, and no more padding than that takes.
    #[test]
    fn padding_makes_whole_blocks() {
        let (cbc, _) = ciphers(AES128_CBC, 1);
        let (gcm, _) = ciphers(AES128_GCM, 1);
        for payloads in 0..64 {
            assert_eq!(
                (payloads + cbc.padding_octets(payloads) + 1) % BLOCK_OCTETS,
                0
            );
            assert!(cbc.padding_octets(payloads) < BLOCK_OCTETS);
            assert_eq!(gcm.padding_octets(payloads), 0);
        }
    }

    #[test]
    fn what_is_sealed_is_opened_by_the_same_key_alone() {
        for cipher in Cipher::all() {
            let (mut sealing, opening) = ciphers(cipher, 1);
            let mut message = b"header".to_vec();
            let plaintext = padded(&sealing, b"payload");
            let octets = sealing.sealed_octets(plaintext.len());
            sealing.seal(&mut message, plaintext.clone());
            let (associated, protected) = message.split_at(6);
            assert_eq!(protected.len(), octets, "{cipher}");
            assert_eq!(
                opening.open(associated, protected),
                Ok(plaintext),
                "{cipher}"
            );

            assert_eq!(opening.open(b"Header", protected), Err(IcvMismatch));
            for octets in 0..protected.len() {
                assert_eq!(
                    opening.open(associated, &protected[..octets]),
                    Err(IcvMismatch)
                );
            }
            let (_, other) = ciphers(cipher, 2);
            assert_eq!(other.open(associated, protected), Err(IcvMismatch));
        }
    }

    proptest! {
        #[test]
        fn every_bit_counts(
            cipher in prop::sample::select(Cipher::all().collect::<Vec<_>>()),
            payloads in prop::collection::vec(any::<u8>(), 0..100),
            bit in any::<prop::sample::Index>(),
        ) {
            let (mut sealing, opening) = ciphers(cipher, 3);
            let mut message = vec![7; 32];
            let plaintext = padded(&sealing, &payloads);
            sealing.seal(&mut message, plaintext.clone());
            prop_assert_eq!(opening.open(&message[..32], &message[32..]), Ok(plaintext));
            let bit = bit.index(message.len() * 8);
            message[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(opening.open(&message[..32], &message[32..]), Err(IcvMismatch));
        }
    }

    /// Each part of the key material is part of the key: the salt too (RFC 5282 §7.1).
    #[test]
    fn another_octet_of_key_material_is_another_key() {
        for cipher in Cipher::all() {
            let (mut sealing, _) = ciphers(cipher, 1);
            let mut message = Vec::new();
            let plaintext = padded(&sealing, b"payload");
            sealing.seal(&mut message, plaintext.clone());
            for place in 0..cipher.key_material_octets() {
                let mut key = vec![1; cipher.key_material_octets()];
                key[place] = 2;
                let other = OpeningCipher::new(cipher, &Secret::new(key));
                assert_ne!(
                    other.open(&[], &message),
                    Ok(plaintext.clone()),
                    "{cipher} {place}"
                );
            }
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let (sealing, opening) = ciphers(AES128_CBC, 1);
        assert_eq!(format!("{sealing:?}"), "SealingCipher(aes128-sha256, ..)");
        assert_eq!(format!("{opening:?}"), "OpeningCipher(aes128-sha256, ..)");
    }
}
