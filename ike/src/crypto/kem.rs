//! Key encapsulation, for the additional key exchanges of RFC 9370: ML-KEM (FIPS 203,
//! draft-ietf-ipsecme-ikev2-mlkem). Unlike Diffie-Hellman the two ends differ: the initiator's public
//! value is an encapsulation key, the responder's is a ciphertext that only the initiator can open.
//! In which exchange they travel is decided elsewhere.

use ml_kem::kem::{Decapsulate, Encapsulate, KeyExport};
use ml_kem::{DecapsulationKey768, EncapsulationKey768, MlKem768};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::algorithm::Kem;
use crate::secret::Secret;

/// An initiator's ephemeral key pair.
pub trait KemKey: Send {
    /// The method that it belongs to.
    fn kem(&self) -> Kem;

    /// Our encapsulation key as it stands in the KE payload.
    fn public(&self) -> &[u8];

    /// The secret inside the responder's ciphertext. Only its length can be wrong: of one that was made
    /// for another key, a secret comes that nobody else has (FIPS 203 §6.3).
    fn decapsulate(self: Box<Self>, ciphertext: &[u8]) -> Result<Secret, KemError>;
}

/// What a responder makes of an encapsulation key.
#[derive(Debug)]
pub struct Encapsulated {
    /// As it stands in the KE payload.
    pub ciphertext: Vec<u8>,
    /// What both ends have.
    pub secret: Secret,
}

/// What is wrong with the peer's public value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KemError {
    /// Not as long as the method's (the type check of FIPS 203 §7.2 and §7.3).
    #[error("a public value of {actual} octets in {kem}")]
    Length {
        /// The method in use.
        kem: Kem,
        /// The octets that came.
        actual: usize,
    },
    /// An encapsulation key with a coefficient that is not reduced (the modulus check of FIPS 203 §7.2).
    #[error("an encapsulation key that is none of {0}")]
    Key(Kem),
}

/// How a method's row in the table makes a key pair.
pub(crate) type Generate = fn(&mut dyn CryptoRng) -> Box<dyn KemKey>;

/// How it answers one.
pub(crate) type Answer = fn(&mut dyn CryptoRng, &[u8]) -> Result<Encapsulated, KemError>;

impl Kem {
    /// A new key pair, drawn from `rng`.
    pub fn generate(self, rng: &mut dyn CryptoRng) -> Box<dyn KemKey> {
        self.generator()(rng)
    }

    /// A secret for whoever has made this encapsulation key, drawn from `rng`.
    pub fn encapsulate(
        self,
        rng: &mut dyn CryptoRng,
        public: &[u8],
    ) -> Result<Encapsulated, KemError> {
        self.answerer()(rng, public)
    }
}

struct MlKem768Key {
    private: DecapsulationKey768,
    public: Vec<u8>,
}

pub(crate) fn ml_kem_768(rng: &mut dyn CryptoRng) -> Box<dyn KemKey> {
    let mut seed = Zeroizing::new([0; 64]);
    rng.fill_bytes(seed.as_mut_slice());
    let private = DecapsulationKey768::from_seed((*seed).into());
    let public = private.encapsulation_key().to_bytes().to_vec();
    Box::new(MlKem768Key { private, public })
}

pub(crate) fn answer_ml_kem_768(
    rng: &mut dyn CryptoRng,
    public: &[u8],
) -> Result<Encapsulated, KemError> {
    let kem = Kem::MlKem768;
    let length = KemError::Length {
        kem,
        actual: public.len(),
    };
    let public = public.try_into().map_err(|_| length)?;
    let public = EncapsulationKey768::new(public).map_err(|_| KemError::Key(kem))?;
    let (ciphertext, mut secret) = public.encapsulate_with_rng(rng);
    Ok(Encapsulated {
        ciphertext: ciphertext.to_vec(),
        secret: taken(secret.as_mut_slice()),
    })
}

impl KemKey for MlKem768Key {
    fn kem(&self) -> Kem {
        Kem::MlKem768
    }

    fn public(&self) -> &[u8] {
        &self.public
    }

    fn decapsulate(self: Box<Self>, ciphertext: &[u8]) -> Result<Secret, KemError> {
        let length = KemError::Length {
            kem: self.kem(),
            actual: ciphertext.len(),
        };
        let ciphertext: &ml_kem::kem::Ciphertext<MlKem768> =
            ciphertext.try_into().map_err(|_| length)?;
        let mut secret = self.private.decapsulate(ciphertext);
        Ok(taken(secret.as_mut_slice()))
    }
}

/// Moves a secret out of where nobody wipes it.
fn taken(secret: &mut [u8]) -> Secret {
    let taken = Secret::new(secret.to_vec());
    zeroize::Zeroize::zeroize(secret);
    taken
}

#[cfg(test)]
mod tests;
