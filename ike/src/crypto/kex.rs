//! Key exchange: Diffie-Hellman over X25519 (RFC 7748, RFC 8031), the NIST curves (RFC 5903) and
//! modulo primes (RFC 3526, in `modp`).
//!
//! A [`KeyExchange`] is one ephemeral private key; agreeing consumes it. Which group is used, and
//! whether the KE payload's group is the chosen one, is decided elsewhere.

mod ecp521;
mod modp;

use aws_lc_rs::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey};
use aws_lc_rs::rand::SystemRandom;
use rand_core::CryptoRng;
use x25519_dalek::{EphemeralSecret, PublicKey};

pub(crate) use self::ecp521::ecp521;
pub(crate) use self::modp::{modp1024, modp1536, modp2048, modp3072, modp4096};
use crate::algorithm::Group;
use crate::secret::Secret;

/// An ephemeral private key with its public value.
pub trait KeyExchange: Send {
    /// The group that it belongs to.
    fn group(&self) -> Group;

    /// Our public value as it stands in the KE payload (RFC 7296 §3.4).
    fn public(&self) -> &[u8];

    /// The shared secret g^ir, after the checks that RFC 6989 and RFC 8031 §5 demand of the peer's
    /// public value.
    fn agree(self: Box<Self>, peer_public: &[u8]) -> Result<Secret, KexError>;
}

/// What is wrong with the peer's public value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KexError {
    /// Not the length of the group's public values.
    #[error("a public value of {actual} octets where {group} has {}", .group.public_octets())]
    Length {
        /// The group in use.
        group: Group,
        /// The octets that came.
        actual: usize,
    },
    /// Not a point of the curve (RFC 6989 §2.3).
    #[error("a public value that is no point of {0}")]
    NotOnCurve(Group),
    /// A point of small order: the shared secret is all zero (RFC 8031 §5).
    #[error("a public value of small order in {0}")]
    SmallOrder(Group),
    /// 0, 1, p − 1 or more (RFC 6989 §2.1).
    #[error("a public value out of range in {0}")]
    OutOfRange(Group),
}

/// How a group's row in the table makes a private key.
pub(crate) type Generate = fn(&mut dyn CryptoRng) -> Box<dyn KeyExchange>;

impl Group {
    /// A new private key, drawn from `rng`; but for P-256 and P-384 aws-lc-rs takes only its
    /// own randomness, so what follows from such a key cannot be replayed from a seed.
    ///
    /// Without randomness of the operating system aws-lc ends the process; on Linux getrandom(2) waits until
    /// there is some, and never fails afterwards.
    pub fn generate(self, rng: &mut dyn CryptoRng) -> Box<dyn KeyExchange> {
        self.generator()(rng)
    }

    /// Checks the length of a public value, which comes before anything else that is done with it
    /// (SECURITY lesson 2).
    pub fn check_public(self, public: &[u8]) -> Result<(), KexError> {
        if public.len() == self.public_octets() {
            Ok(())
        } else {
            Err(KexError::Length {
                group: self,
                actual: public.len(),
            })
        }
    }
}

pub(crate) fn curve25519(rng: &mut dyn CryptoRng) -> Box<dyn KeyExchange> {
    let private = EphemeralSecret::random_from_rng(rng);
    let public = PublicKey::from(&private);
    Box::new(Curve25519 { private, public })
}

pub(crate) fn ecp256(_rng: &mut dyn CryptoRng) -> Box<dyn KeyExchange> {
    ecp(Group::Ecp256, &agreement::ECDH_P256)
}

pub(crate) fn ecp384(_rng: &mut dyn CryptoRng) -> Box<dyn KeyExchange> {
    ecp(Group::Ecp384, &agreement::ECDH_P384)
}

struct Curve25519 {
    private: EphemeralSecret,
    public: PublicKey,
}

impl KeyExchange for Curve25519 {
    fn group(&self) -> Group {
        Group::Curve25519
    }

    fn public(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn agree(self: Box<Self>, peer_public: &[u8]) -> Result<Secret, KexError> {
        let group = self.group();
        let peer: [u8; 32] = peer_public.try_into().map_err(|_| KexError::Length {
            group,
            actual: peer_public.len(),
        })?;
        let shared = self.private.diffie_hellman(&PublicKey::from(peer));
        if shared.was_contributory() {
            Ok(Secret::new(shared.as_bytes().to_vec()))
        } else {
            Err(KexError::SmallOrder(group))
        }
    }
}

/// SEC 1 §2.3.3: the octet before x‖y of an uncompressed point. IKE leaves it out (RFC 5903 §7).
const UNCOMPRESSED: u8 = 0x04;

fn ecp(group: Group, algorithm: &'static agreement::Algorithm) -> Box<dyn KeyExchange> {
    #[expect(
        clippy::expect_used,
        reason = "there is no going on without entropy, see `generate`"
    )]
    let private = EphemeralPrivateKey::generate(algorithm, &SystemRandom::new())
        .expect("getrandom(2) gives random bytes");
    #[expect(
        clippy::expect_used,
        reason = "a private key that was just made is a valid scalar"
    )]
    let point = private
        .compute_public_key()
        .expect("a valid key has a public value");
    let public = point.as_ref().iter().copied().skip(1).collect();
    Box::new(Ecp {
        group,
        private,
        public,
    })
}

struct Ecp {
    group: Group,
    private: EphemeralPrivateKey,
    public: Vec<u8>,
}

impl KeyExchange for Ecp {
    fn group(&self) -> Group {
        self.group
    }

    fn public(&self) -> &[u8] {
        &self.public
    }

    fn agree(self: Box<Self>, peer_public: &[u8]) -> Result<Secret, KexError> {
        self.group.check_public(peer_public)?;
        let point = [&[UNCOMPRESSED], peer_public].concat();
        let peer = UnparsedPublicKey::new(self.private.algorithm(), point);
        // RFC 5903 §7: the shared secret is the x coordinate alone, which is what aws-lc-rs returns.
        let not_on_curve = KexError::NotOnCurve(self.group);
        agreement::agree_ephemeral(self.private, peer, not_on_curve, |x| {
            Ok(Secret::new(x.to_vec()))
        })
    }
}

#[cfg(test)]
mod tests;
