//! The algorithms that are built: one table per kind, one row per algorithm.
//!
//! Numbers are IANA's (RFC 7296 §3.3.2 and the registry), keywords strongSwan's. What a peer sends
//! is looked up by number; a number that is in no table stays a number and is never an index. What
//! is done with the rows (proposals, key derivation, exchanges) is elsewhere.

use std::fmt;

use ring::{aead, hmac};

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
    /// ENCR, transform type 1. Every one is an AEAD (RFC 5282, RFC 4106): no INTEG goes with it.
    Encryption: EncryptionRow
    /// AES-GCM with a 256-bit key and a 16-octet ICV.
    Aes256Gcm16 { id: 20, key_bits: 256, keyword: "aes256gcm16", aliases: &["aes256gcm128"], name: "AES_GCM_16-256", algorithm: &aead::AES_256_GCM }
    /// AES-GCM with a 128-bit key and a 16-octet ICV.
    Aes128Gcm16 { id: 20, key_bits: 128, keyword: "aes128gcm16", aliases: &["aes128gcm128"], name: "AES_GCM_16-128", algorithm: &aead::AES_128_GCM }
}

table! {
    /// PRF, transform type 2.
    Prf: PrfRow
    /// HMAC with SHA2-384 (RFC 4868).
    HmacSha384 { id: 6, keyword: "prfsha384", aliases: &[], name: "PRF_HMAC_SHA2_384", octets: 48, algorithm: &hmac::HMAC_SHA384 }
    /// HMAC with SHA2-256 (RFC 4868).
    HmacSha256 { id: 5, keyword: "prfsha256", aliases: &[], name: "PRF_HMAC_SHA2_256", octets: 32, algorithm: &hmac::HMAC_SHA256 }
    /// HMAC with SHA2-512 (RFC 4868).
    HmacSha512 { id: 7, keyword: "prfsha512", aliases: &[], name: "PRF_HMAC_SHA2_512", octets: 64, algorithm: &hmac::HMAC_SHA512 }
}

table! {
    /// KE, transform type 4.
    Group: GroupRow
    /// X25519 (RFC 8031).
    Curve25519 { id: 31, keyword: "x25519", aliases: &["curve25519"], name: "CURVE_25519", public_octets: 32, strength_bits: 128, generate: kex::curve25519 }
    /// NIST P-256 (RFC 5903).
    Ecp256 { id: 19, keyword: "ecp256", aliases: &[], name: "ECP_256", public_octets: 64, strength_bits: 128, generate: kex::ecp256 }
    /// NIST P-384 (RFC 5903).
    Ecp384 { id: 20, keyword: "ecp384", aliases: &[], name: "ECP_384", public_octets: 96, strength_bits: 192, generate: kex::ecp384 }
}

struct EncryptionRow {
    id: u16,
    key_bits: u16,
    keyword: &'static str,
    aliases: &'static [&'static str],
    name: &'static str,
    algorithm: &'static aead::Algorithm,
}

struct PrfRow {
    id: u16,
    keyword: &'static str,
    aliases: &'static [&'static str],
    name: &'static str,
    octets: usize,
    algorithm: &'static hmac::Algorithm,
}

struct GroupRow {
    id: u16,
    keyword: &'static str,
    aliases: &'static [&'static str],
    name: &'static str,
    public_octets: usize,
    strength_bits: u16,
    generate: Generate,
}

impl Encryption {
    /// Octets of salt that follow the key in key material (RFC 4106 §8.1, RFC 5282 §7.1).
    pub const SALT_OCTETS: usize = 4;

    /// The algorithm with this transform ID and Key Length attribute. AES without a Key Length is
    /// no algorithm (RFC 7296 §3.3.5).
    pub fn from_transform(id: u16, key_bits: Option<u16>) -> Option<Self> {
        Self::ALL.iter().copied().find(|encryption| {
            encryption.transform_id() == id && Some(encryption.key_bits()) == key_bits
        })
    }

    /// The Key Length attribute (RFC 7296 §3.3.5).
    pub fn key_bits(self) -> u16 {
        self.row().key_bits
    }

    /// Octets of key, without the salt.
    pub fn key_octets(self) -> usize {
        self.aead().key_len()
    }

    /// Octets of key material for one direction: the key, then the salt.
    pub fn key_material_octets(self) -> usize {
        self.key_octets() + Self::SALT_OCTETS
    }

    /// Octets of the integrity check value.
    pub fn icv_octets(self) -> usize {
        self.aead().tag_len()
    }

    /// The implementation.
    pub(crate) fn aead(self) -> &'static aead::Algorithm {
        self.row().algorithm
    }
}

impl Prf {
    /// The PRF with this transform ID.
    pub fn from_transform_id(id: u16) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|prf| prf.transform_id() == id)
    }

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

impl Group {
    /// The group with this transform ID, which is also the number in KE and INVALID_KE_PAYLOAD.
    pub fn from_transform_id(id: u16) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|group| group.transform_id() == id)
    }

    /// Octets of a public value on the wire.
    pub fn public_octets(self) -> usize {
        self.row().public_octets
    }

    /// The security level that the group is held to have (RFC 8031 §1, SP 800-57).
    pub fn strength_bits(self) -> u16 {
        self.row().strength_bits
    }

    /// The implementation.
    pub(crate) fn generator(self) -> Generate {
        self.row().generate
    }
}

/// A keyword of strongSwan's that names no algorithm of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Sound, but not built.
    NotBuilt,
    /// Too weak to be built, ever (RFC 8247, RFC 8221, RFC 9395).
    Refused,
}

/// Why a keyword that is in no table is in none, if it is known at all.
pub fn absent(keyword: &str) -> Option<Absent> {
    if REFUSED.contains(&keyword) {
        Some(Absent::Refused)
    } else if NOT_BUILT.contains(&keyword) || is_additional_key_exchange(keyword) {
        Some(Absent::NotBuilt)
    } else {
        None
    }
}

/// strongSwan's notation for additional key exchanges (RFC 9370): `ke1_mlkem768` to `ke7_…`.
fn is_additional_key_exchange(keyword: &str) -> bool {
    let Some((number, group)) = keyword
        .strip_prefix("ke")
        .and_then(|rest| rest.split_once('_'))
    else {
        return false;
    };
    matches!(number, "1" | "2" | "3" | "4" | "5" | "6" | "7")
        && (Group::from_keyword(group).is_some() || NOT_BUILT.contains(&group))
}

const NOT_BUILT: &[&str] = &[
    // Encryption
    "aes",
    "aes128",
    "aes192",
    "aes256",
    "aes128ctr",
    "aes192ctr",
    "aes256ctr",
    "aes128ccm8",
    "aes128ccm12",
    "aes128ccm16",
    "aes192ccm8",
    "aes192ccm12",
    "aes192ccm16",
    "aes256ccm8",
    "aes256ccm12",
    "aes256ccm16",
    "aes128gcm8",
    "aes128gcm12",
    "aes192gcm8",
    "aes192gcm12",
    "aes192gcm16",
    "aes256gcm8",
    "aes256gcm12",
    "aes128gmac",
    "aes192gmac",
    "aes256gmac",
    "camellia128",
    "camellia192",
    "camellia256",
    "chacha20poly1305",
    // Integrity
    "sha",
    "sha1",
    "sha256",
    "sha384",
    "sha512",
    "sha2_256",
    "sha2_384",
    "sha2_512",
    "sha256_96",
    "aesxcbc",
    "aescmac",
    // PRF
    "prfsha1",
    "prfaesxcbc",
    "prfaescmac",
    // Key exchange
    "modp1024",
    "modp1536",
    "modp2048",
    "modp3072",
    "modp4096",
    "modp6144",
    "modp8192",
    "ecp521",
    "ecp224bp",
    "ecp256bp",
    "ecp384bp",
    "ecp512bp",
    "x448",
    "curve448",
    "mlkem512",
    "mlkem768",
    "mlkem1024",
];

const REFUSED: &[&str] = &[
    "des",
    "3des",
    "blowfish",
    "blowfish128",
    "blowfish192",
    "blowfish256",
    "cast128",
    "null",
    "md5",
    "md5_128",
    "prfmd5",
    "modp768",
    "modp1024s160",
    "modp2048s224",
    "modp2048s256",
    "ecp192",
    "ecp224",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_agree_with_the_implementations() {
        for encryption in Encryption::ALL {
            assert_eq!(
                encryption.key_octets() * 8,
                usize::from(encryption.key_bits())
            );
            assert_eq!(encryption.icv_octets(), 16, "{encryption}");
        }
        for prf in Prf::ALL {
            assert_eq!(
                prf.octets(),
                prf.hmac().digest_algorithm().output_len(),
                "{prf}"
            );
        }
    }

    #[test]
    fn every_keyword_names_its_row_and_nothing_else() {
        for &encryption in Encryption::ALL {
            assert_eq!(
                Encryption::from_keyword(encryption.keyword()),
                Some(encryption)
            );
            assert_eq!(
                Encryption::from_transform(encryption.transform_id(), Some(encryption.key_bits())),
                Some(encryption)
            );
        }
        for &prf in Prf::ALL {
            assert_eq!(Prf::from_keyword(prf.keyword()), Some(prf));
            assert_eq!(Prf::from_transform_id(prf.transform_id()), Some(prf));
        }
        for &group in Group::ALL {
            assert_eq!(Group::from_keyword(group.keyword()), Some(group));
            assert_eq!(Group::from_transform_id(group.transform_id()), Some(group));
        }
        assert_eq!(Group::from_keyword("curve25519"), Some(Group::Curve25519));
    }

    /// D15, RFC 7296 §3.3.5: AES has no default key length.
    #[test]
    fn aes_without_a_key_length_is_no_algorithm() {
        assert_eq!(Encryption::from_transform(20, None), None);
        assert_eq!(Encryption::from_transform(20, Some(192)), None);
    }

    /// SECURITY lesson 3: a group from the wire is a number until the table knows it.
    #[test]
    fn unknown_groups_stay_unknown() {
        for id in (0..=u16::MAX).filter(|id| ![19, 20, 31].contains(id)) {
            assert_eq!(Group::from_transform_id(id), None, "group {id}");
        }
    }

    #[test]
    fn absent_keywords_say_why() {
        assert_eq!(absent("chacha20poly1305"), Some(Absent::NotBuilt));
        assert_eq!(absent("ke1_mlkem768"), Some(Absent::NotBuilt));
        assert_eq!(absent("ke1_x25519"), Some(Absent::NotBuilt));
        assert_eq!(absent("3des"), Some(Absent::Refused));
        assert_eq!(absent("aes256gcm17"), None);
        for keyword in NOT_BUILT.iter().chain(REFUSED) {
            assert_eq!(Encryption::from_keyword(keyword), None, "{keyword}");
            assert_eq!(Prf::from_keyword(keyword), None, "{keyword}");
            assert_eq!(Group::from_keyword(keyword), None, "{keyword}");
        }
    }
}
