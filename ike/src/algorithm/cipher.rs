//! What protects messages and packets: an AEAD by itself, or AES-CBC and an HMAC (RFC 7296 §3.3: an
//! integrity algorithm goes with the second and never with the first).

use std::fmt;

use super::{Aead, Cbc, Integrity};

/// ENCR, transform type 1, of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encryption {
    /// Authenticates too.
    Aead(Aead),
    /// Needs an integrity algorithm.
    Cbc(Cbc),
}

impl Encryption {
    /// Every one that is built, best first.
    pub fn all() -> impl Iterator<Item = Self> {
        let cbcs = Cbc::ALL.iter().copied().map(Self::Cbc);
        Aead::ALL.iter().copied().map(Self::Aead).chain(cbcs)
    }

    /// The transform ID (RFC 7296 §3.3.2).
    pub fn transform_id(self) -> u16 {
        match self {
            Self::Aead(aead) => aead.transform_id(),
            Self::Cbc(cbc) => cbc.transform_id(),
        }
    }

    /// The Key Length attribute, where the transform has one (RFC 7296 §3.3.5).
    pub fn key_bits(self) -> Option<u16> {
        match self {
            Self::Aead(aead) => aead.key_bits(),
            Self::Cbc(cbc) => Some(cbc.key_bits()),
        }
    }

    /// The algorithm with this transform ID and Key Length attribute. AES without a Key Length is
    /// no algorithm, and ChaCha20 with one is none either (D15, RFC 7296 §3.3.5, RFC 7634 §4).
    pub fn from_transform(id: u16, key_bits: Option<u16>) -> Option<Self> {
        Self::all()
            .find(|encryption| encryption.transform_id() == id && encryption.key_bits() == key_bits)
    }

    /// The algorithm that a proposal's keyword names.
    pub fn from_keyword(keyword: &str) -> Option<Self> {
        let cbc = || Cbc::from_keyword(keyword).map(Self::Cbc);
        Aead::from_keyword(keyword).map(Self::Aead).or_else(cbc)
    }

    /// How proposals in a file write it.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Aead(aead) => aead.keyword(),
            Self::Cbc(cbc) => cbc.keyword(),
        }
    }

    /// How logs and `status` write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aead(aead) => aead.name(),
            Self::Cbc(cbc) => cbc.name(),
        }
    }
}

/// What was agreed on to encrypt and authenticate with. Displays as `aes256gcm16` or
/// `aes256-sha256`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cipher {
    /// One algorithm for both.
    Aead(Aead),
    /// Encrypt, then MAC.
    CbcHmac(Cbc, Integrity),
}

impl Cipher {
    /// Every one that is built.
    pub fn all() -> impl Iterator<Item = Self> {
        let pairs = Cbc::ALL.iter().flat_map(|&cbc| {
            let integrities = Integrity::ALL.iter();
            integrities.map(move |&integrity| Self::CbcHmac(cbc, integrity))
        });
        Aead::ALL.iter().copied().map(Self::Aead).chain(pairs)
    }

    /// Its ENCR transform.
    pub fn encryption(self) -> Encryption {
        match self {
            Self::Aead(aead) => Encryption::Aead(aead),
            Self::CbcHmac(cbc, _) => Encryption::Cbc(cbc),
        }
    }

    /// Its INTEG transform, if it has one.
    pub fn integrity(self) -> Option<Integrity> {
        match self {
            Self::Aead(_) => None,
            Self::CbcHmac(_, integrity) => Some(integrity),
        }
    }

    /// Octets of the encryption key, an AEAD's salt included: the length of SK_e.
    pub fn encryption_key_octets(self) -> usize {
        match self {
            Self::Aead(aead) => aead.key_octets() + Aead::SALT_OCTETS,
            Self::CbcHmac(cbc, _) => cbc.key_octets(),
        }
    }

    /// Octets of the integrity key: the length of SK_a, 0 for an AEAD (RFC 5282 §7.1).
    pub fn integrity_key_octets(self) -> usize {
        self.integrity().map_or(0, Integrity::key_octets)
    }

    /// Octets of key material for one direction: the encryption key, then the integrity key
    /// (RFC 7296 §2.17).
    pub fn key_material_octets(self) -> usize {
        self.encryption_key_octets() + self.integrity_key_octets()
    }
}

/// The keywords of a proposal that offers this alone.
impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aead(aead) => aead.fmt(f),
            Self::CbcHmac(cbc, integrity) => write!(f, "{cbc}-{integrity}"),
        }
    }
}
