//! Keywords of strongSwan's that name no algorithm of the tables, and why.

use super::Group;

/// Why a keyword names nothing that is built.
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

/// strongSwan's notation for additional key exchanges (RFC 9370), `ke1_…` to `ke7_…`, of those that are
/// not built: there is one, and that is ML-KEM.
fn is_additional_key_exchange(keyword: &str) -> bool {
    let Some((number, group)) = keyword
        .strip_prefix("ke")
        .and_then(|rest| rest.split_once('_'))
    else {
        return false;
    };
    matches!(number, "1" | "2" | "3" | "4" | "5" | "6" | "7")
        && (Group::from_keyword(group).is_some() || NOT_BUILT.contains(&group) || group == "none")
}

const NOT_BUILT: &[&str] = &[
    // Encryption
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
    "aes256gcm8",
    "aes256gcm12",
    "aes128gmac",
    "aes192gmac",
    "aes256gmac",
    "camellia128",
    "camellia192",
    "camellia256",
    // Integrity
    "sha1_160",
    "sha256_96",
    "aesxcbc",
    "aescmac",
    // PRF
    "prfaesxcbc",
    "prfaescmac",
    // Key exchange
    "modp6144",
    "modp8192",
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
    use crate::algorithm::{Encryption, Integrity, Kem, Prf};

    #[test]
    fn absent_keywords_say_why() {
        assert_eq!(absent("camellia256"), Some(Absent::NotBuilt));
        assert_eq!(absent("ke2_mlkem768"), Some(Absent::NotBuilt));
        assert_eq!(absent("ke1_none"), Some(Absent::NotBuilt));
        assert_eq!(absent("ke1_x25519"), Some(Absent::NotBuilt));
        assert_eq!(absent("3des"), Some(Absent::Refused));
        assert_eq!(absent("aes256gcm17"), None);
        for keyword in NOT_BUILT.iter().chain(REFUSED) {
            assert_eq!(Encryption::from_keyword(keyword), None, "{keyword}");
            assert_eq!(Integrity::from_keyword(keyword), None, "{keyword}");
            assert_eq!(Prf::from_keyword(keyword), None, "{keyword}");
            assert_eq!(Group::from_keyword(keyword), None, "{keyword}");
            assert_eq!(Kem::from_keyword(keyword), None, "{keyword}");
        }
    }
}
