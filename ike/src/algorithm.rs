//! The algorithms that are built: one table per kind, one row per algorithm.
//!
//! Numbers are IANA's (RFC 7296 §3.3.2 and the registry), keywords strongSwan's. What a peer sends
//! is looked up by number; a number that is in no table stays a number and is never an index. What
//! goes together with what is in [`cipher`]; what is done with the rows (proposals, key derivation,
//! exchanges) is elsewhere.

mod absent;
mod cipher;

use std::fmt;

use aws_lc_rs::{aead, hmac};

pub use self::absent::{Absent, absent};
pub use self::cipher::{Cipher, Encryption};
use crate::crypto::cbc::{self, NewCbc};
use crate::crypto::kem::{self, Answer};
use crate::crypto::kex::{self, Generate};

/// Declares an enum and its rows. `ALL` holds the variants in table order, best first.
macro_rules! table {
    (
        $(#[$about:meta])*
        $kind:ident: $row:ident
        $($(#[$says:meta])* $name:ident { $($field:ident: $value:expr),+ $(,)? })+
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind { $($(#[$says])* $name,)+ }

        impl $kind {
            /// Every one that is built, best first.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            fn row(self) -> &'static $row {
                match self {
                    $(Self::$name => {
                        static ROW: $row = $row { $($field: $value),+ };
                        &ROW
                    })+
                }
            }

            /// The transform ID (RFC 7296 §3.3.2).
            pub fn transform_id(self) -> u16 {
                self.row().id
            }

            /// How proposals in a file write it.
            pub fn keyword(self) -> &'static str {
                self.row().keyword
            }

            /// How logs and `status` write it.
            pub fn name(self) -> &'static str {
                self.row().name
            }

            /// The algorithm that a proposal's keyword names, by its first or another spelling.
            pub fn from_keyword(keyword: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|algorithm| {
                    let row = algorithm.row();
                    row.keyword == keyword || row.aliases.contains(&keyword)
                })
            }
        }

        /// The keyword.
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.keyword())
            }
        }
    };
}

table! {
    /// ENCR, transform type 1, of those that authenticate too (RFC 5282, RFC 4106, RFC 7634): no
    /// INTEG goes with them.
    Aead: AeadRow
    /// AES-GCM with a 256-bit key and a 16-octet ICV.
    Aes256Gcm16 { id: 20, key_bits: Some(256), keyword: "aes256gcm16", aliases: &["aes256gcm128"], name: "AES_GCM_16-256", algorithm: &aead::AES_256_GCM }
    /// AES-GCM with a 128-bit key and a 16-octet ICV.
    Aes128Gcm16 { id: 20, key_bits: Some(128), keyword: "aes128gcm16", aliases: &["aes128gcm128"], name: "AES_GCM_16-128", algorithm: &aead::AES_128_GCM }
    /// ChaCha20-Poly1305, whose key has but one size.
    ChaCha20Poly1305 { id: 28, key_bits: None, keyword: "chacha20poly1305", aliases: &[], name: "CHACHA20_POLY1305", algorithm: &aead::CHACHA20_POLY1305 }
    /// AES-GCM with a 192-bit key and a 16-octet ICV.
    Aes192Gcm16 { id: 20, key_bits: Some(192), keyword: "aes192gcm16", aliases: &["aes192gcm128"], name: "AES_GCM_16-192", algorithm: &aead::AES_192_GCM }
}

table! {
    /// ENCR, transform type 1, of those that need an INTEG beside them (RFC 3602).
    Cbc: CbcRow
    /// AES-CBC with a 256-bit key.
    Aes256 { id: 12, key_bits: 256, keyword: "aes256", aliases: &[], name: "AES_CBC-256", new: cbc::new::<aes::Aes256> }
    /// AES-CBC with a 192-bit key.
    Aes192 { id: 12, key_bits: 192, keyword: "aes192", aliases: &[], name: "AES_CBC-192", new: cbc::new::<aes::Aes192> }
    /// AES-CBC with a 128-bit key.
    Aes128 { id: 12, key_bits: 128, keyword: "aes128", aliases: &["aes"], name: "AES_CBC-128", new: cbc::new::<aes::Aes128> }
}

table! {
    /// INTEG, transform type 3. Its keyword implies a PRF in proposals for IKE that name none.
    Integrity: IntegrityRow
    /// HMAC with SHA2-512, half of it (RFC 4868).
    HmacSha512 { id: 14, keyword: "sha512", aliases: &["sha2_512"], name: "HMAC_SHA2_512_256", icv_octets: 32, prf: Prf::HmacSha512, weak: false }
    /// HMAC with SHA2-384, half of it (RFC 4868).
    HmacSha384 { id: 13, keyword: "sha384", aliases: &["sha2_384"], name: "HMAC_SHA2_384_192", icv_octets: 24, prf: Prf::HmacSha384, weak: false }
    /// HMAC with SHA2-256, half of it (RFC 4868).
    HmacSha256 { id: 12, keyword: "sha256", aliases: &["sha2_256"], name: "HMAC_SHA2_256_128", icv_octets: 16, prf: Prf::HmacSha256, weak: false }
    /// HMAC with SHA-1, 96 bits of it (RFC 2404).
    HmacSha1 { id: 2, keyword: "sha1", aliases: &["sha"], name: "HMAC_SHA1_96", icv_octets: 12, prf: Prf::HmacSha1, weak: true }
}

table! {
    /// PRF, transform type 2.
    Prf: PrfRow
    /// HMAC with SHA2-384 (RFC 4868).
    HmacSha384 { id: 6, keyword: "prfsha384", aliases: &[], name: "PRF_HMAC_SHA2_384", octets: 48, algorithm: &hmac::HMAC_SHA384, weak: false }
    /// HMAC with SHA2-256 (RFC 4868).
    HmacSha256 { id: 5, keyword: "prfsha256", aliases: &[], name: "PRF_HMAC_SHA2_256", octets: 32, algorithm: &hmac::HMAC_SHA256, weak: false }
    /// HMAC with SHA2-512 (RFC 4868).
    HmacSha512 { id: 7, keyword: "prfsha512", aliases: &[], name: "PRF_HMAC_SHA2_512", octets: 64, algorithm: &hmac::HMAC_SHA512, weak: false }
    /// HMAC with SHA-1 (RFC 2104).
    HmacSha1 { id: 2, keyword: "prfsha1", aliases: &[], name: "PRF_HMAC_SHA1", octets: 20, algorithm: &hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, weak: true }
}

table! {
    /// KE, transform type 4. Strengths are those of SP 800-57 Part 1, for MODP those of RFC 3526 §8.
    Group: GroupRow
    /// X25519 (RFC 8031).
    Curve25519 { id: 31, keyword: "x25519", aliases: &["curve25519"], name: "CURVE_25519", public_octets: 32, strength_bits: 128, generate: kex::curve25519, weak: false }
    /// NIST P-256 (RFC 5903).
    Ecp256 { id: 19, keyword: "ecp256", aliases: &[], name: "ECP_256", public_octets: 64, strength_bits: 128, generate: kex::ecp256, weak: false }
    /// NIST P-384 (RFC 5903).
    Ecp384 { id: 20, keyword: "ecp384", aliases: &[], name: "ECP_384", public_octets: 96, strength_bits: 192, generate: kex::ecp384, weak: false }
    /// NIST P-521 (RFC 5903).
    Ecp521 { id: 21, keyword: "ecp521", aliases: &[], name: "ECP_521", public_octets: 132, strength_bits: 256, generate: kex::ecp521, weak: false }
    /// Powers of 2 modulo a prime of 4096 bits (RFC 3526 §5).
    Modp4096 { id: 16, keyword: "modp4096", aliases: &[], name: "MODP_4096", public_octets: 512, strength_bits: 150, generate: kex::modp4096, weak: false }
    /// Powers of 2 modulo a prime of 3072 bits (RFC 3526 §4).
    Modp3072 { id: 15, keyword: "modp3072", aliases: &[], name: "MODP_3072", public_octets: 384, strength_bits: 128, generate: kex::modp3072, weak: false }
    /// Powers of 2 modulo a prime of 2048 bits (RFC 3526 §3).
    Modp2048 { id: 14, keyword: "modp2048", aliases: &[], name: "MODP_2048", public_octets: 256, strength_bits: 112, generate: kex::modp2048, weak: false }
    /// Powers of 2 modulo a prime of 1536 bits (RFC 3526 §2).
    Modp1536 { id: 5, keyword: "modp1536", aliases: &[], name: "MODP_1536", public_octets: 192, strength_bits: 90, generate: kex::modp1536, weak: true }
    /// Powers of 2 modulo a prime of 1024 bits (RFC 2409 §6.2).
    Modp1024 { id: 2, keyword: "modp1024", aliases: &[], name: "MODP_1024", public_octets: 128, strength_bits: 80, generate: kex::modp1024, weak: true }
}

table! {
    /// Additional key exchange, transform types 6 to 12, whose numbers are KE's (RFC 9370 §2.2.1). The
    /// keyword is that of the first such exchange.
    Kem: KemRow
    /// ML-KEM-768 (FIPS 203, draft-ietf-ipsecme-ikev2-mlkem).
    MlKem768 { id: 36, keyword: "ke1_mlkem768", aliases: &[], name: "KE1_ML_KEM_768", public_octets: 1184, ciphertext_octets: 1088, generate: kem::ml_kem_768, answer: kem::answer_ml_kem_768, weak: false }
}

struct AeadRow {
    id: u16,
    key_bits: Option<u16>,
    keyword: &'static str,
    aliases: &'static [&'static str],
    name: &'static str,
    algorithm: &'static aead::Algorithm,
}

struct CbcRow {
    id: u16,
    key_bits: u16,
    keyword: &'static str,
    aliases: &'static [&'static str],
    name: &'static str,
    new: NewCbc,
}

struct IntegrityRow {
    id: u16,
    keyword: &'static str,
    aliases: &'static [&'static str],
    name: &'static str,
    icv_octets: usize,
    /// The same HMAC, at its full length.
    prf: Prf,
    weak: bool,
}

struct PrfRow {
    id: u16,
    keyword: &'static str,
    aliases: &'static [&'static str],
    name: &'static str,
    octets: usize,
    algorithm: &'static hmac::Algorithm,
    weak: bool,
}

struct GroupRow {
    id: u16,
    keyword: &'static str,
    aliases: &'static [&'static str],
    name: &'static str,
    public_octets: usize,
    strength_bits: u16,
    generate: Generate,
    weak: bool,
}

struct KemRow {
    id: u16,
    keyword: &'static str,
    aliases: &'static [&'static str],
    name: &'static str,
    public_octets: usize,
    ciphertext_octets: usize,
    generate: kem::Generate,
    answer: Answer,
    weak: bool,
}

/// For the kinds whose transforms have no attribute: the number says everything.
macro_rules! numbered {
    ($($kind:ident)+) => { $(
        impl $kind {
            /// The algorithm with this transform ID.
            pub fn from_transform_id(id: u16) -> Option<Self> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|algorithm| algorithm.transform_id() == id)
            }

            /// Whether it is here only for peers that have nothing better (RFC 8247, RFC 8221): no
            /// default list has it, and a file that names it gets a warning.
            pub fn is_weak(self) -> bool {
                self.row().weak
            }
        }
    )+ };
}

numbered! { Integrity Prf Group Kem }

impl Aead {
    /// Octets of salt that follow the key in key material (RFC 4106 §8.1, RFC 5282 §7.1,
    /// RFC 7634 §2).
    pub const SALT_OCTETS: usize = 4;
    /// Octets of the ICV.
    pub const ICV_OCTETS: usize = 16;

    /// The Key Length attribute, where its transform has one (RFC 7296 §3.3.5).
    pub fn key_bits(self) -> Option<u16> {
        self.row().key_bits
    }

    /// Octets of key, without the salt.
    pub fn key_octets(self) -> usize {
        self.algorithm().key_len()
    }

    /// The implementation.
    pub(crate) fn algorithm(self) -> &'static aead::Algorithm {
        self.row().algorithm
    }
}

impl Cbc {
    /// The Key Length attribute (RFC 7296 §3.3.5).
    pub fn key_bits(self) -> u16 {
        self.row().key_bits
    }

    /// Octets of key.
    pub fn key_octets(self) -> usize {
        usize::from(self.key_bits() / 8)
    }

    pub(crate) fn constructor(self) -> NewCbc {
        self.row().new
    }
}

impl Integrity {
    /// Octets of key: as many as the hash puts out (RFC 4868 §2.1.1, RFC 2404 §3).
    pub fn key_octets(self) -> usize {
        self.prf().octets()
    }

    /// Octets of the ICV, to which the HMAC is cut.
    pub fn icv_octets(self) -> usize {
        self.row().icv_octets
    }

    /// The PRF of the same HMAC.
    pub fn prf(self) -> Prf {
        self.row().prf
    }
}

impl Prf {
    /// Octets of output, which is also the preferred key size (RFC 4868 §2.1.2).
    pub fn octets(self) -> usize {
        self.row().octets
    }

    /// The shortest nonce that goes with it (RFC 7296 §2.10). The initiator's has to be long enough
    /// for every PRF that it proposes.
    pub fn nonce_octets_min(self) -> usize {
        (self.octets() / 2).max(16)
    }

    /// The implementation.
    pub(crate) fn hmac(self) -> hmac::Algorithm {
        *self.row().algorithm
    }
}

/// A group's transform ID is also the number in KE and INVALID_KE_PAYLOAD.
impl Group {
    /// Octets of a public value on the wire.
    pub fn public_octets(self) -> usize {
        self.row().public_octets
    }

    /// The security level that the group is held to have.
    pub fn strength_bits(self) -> u16 {
        self.row().strength_bits
    }

    /// The implementation.
    pub(crate) fn generator(self) -> Generate {
        self.row().generate
    }
}

/// A method's transform ID is also the number in KE.
impl Kem {
    /// Octets of an initiator's public value, the encapsulation key.
    pub fn public_octets(self) -> usize {
        self.row().public_octets
    }

    /// Octets of a responder's public value, the ciphertext.
    pub fn ciphertext_octets(self) -> usize {
        self.row().ciphertext_octets
    }

    /// The implementation of the initiator's side.
    pub(crate) fn generator(self) -> kem::Generate {
        self.row().generate
    }

    /// The implementation of the responder's side.
    pub(crate) fn answerer(self) -> Answer {
        self.row().answer
    }
}

#[cfg(test)]
mod tests;
