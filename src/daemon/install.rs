//! The one place where IKE's keys become ESP's SAs: an exhaustive match, so that a cipher that one
//! side learns and the other does not know fails to compile.

use secure_gre_esp as esp;
use secure_gre_ike::algorithm::{Aead, Cbc, Cipher, Integrity};
use secure_gre_ike::event::{ChildKeys, EspSpi};

/// Keys that make no SA. Negotiation rules out every cause; it would be a fault of ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum InstallError {
    #[error(transparent)]
    Spi(#[from] esp::ReservedSpi),
    #[error(transparent)]
    Keys(#[from] esp::KeyError),
}

/// The SA that opens the peer's packets.
pub(super) fn inbound(
    keys: &ChildKeys,
    window_packets: u32,
) -> Result<esp::InboundSa, InstallError> {
    Ok(esp::InboundSa::new(esp_keys(keys)?, window_packets))
}

/// The SA that seals ours.
pub(super) fn outbound(
    keys: &ChildKeys,
    limits: esp::Limits,
) -> Result<esp::OutboundSa, InstallError> {
    Ok(esp::OutboundSa::with_limits(esp_keys(keys)?, limits))
}

/// The SPI of an SA that may come.
pub(super) fn spi(spi: EspSpi) -> Result<esp::Spi, InstallError> {
    Ok(esp::Spi::try_from(spi.0)?)
}

fn esp_keys(keys: &ChildKeys) -> Result<esp::Keys, InstallError> {
    let spi = spi(keys.spi)?;
    let material = keys.key_material.expose();
    Ok(esp::Keys::new(
        suite(keys.suite.cipher),
        spi,
        keys.suite.esn,
        material,
    )?)
}

/// The ESP suite of what was agreed on.
pub(super) const fn suite(cipher: Cipher) -> esp::Suite {
    match cipher {
        Cipher::Aead(Aead::Aes128Gcm16) => esp::Suite::Aes128Gcm16,
        Cipher::Aead(Aead::Aes192Gcm16) => esp::Suite::Aes192Gcm16,
        Cipher::Aead(Aead::Aes256Gcm16) => esp::Suite::Aes256Gcm16,
        Cipher::Aead(Aead::ChaCha20Poly1305) => esp::Suite::ChaCha20Poly1305,
        Cipher::CbcHmac(cbc, integrity) => esp::Suite::AesCbc(key(cbc), hmac(integrity)),
    }
}

const fn key(cbc: Cbc) -> esp::AesKey {
    match cbc {
        Cbc::Aes128 => esp::AesKey::Bits128,
        Cbc::Aes192 => esp::AesKey::Bits192,
        Cbc::Aes256 => esp::AesKey::Bits256,
    }
}

const fn hmac(integrity: Integrity) -> esp::Hmac {
    match integrity {
        Integrity::HmacSha1 => esp::Hmac::Sha1_96,
        Integrity::HmacSha256 => esp::Hmac::Sha256_128,
        Integrity::HmacSha384 => esp::Hmac::Sha384_192,
        Integrity::HmacSha512 => esp::Hmac::Sha512_256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D17, D48: both crates take the same key material and write the same name for a suite.
    #[test]
    fn ike_and_esp_agree_on_every_suite() {
        for cipher in Cipher::all() {
            let suite = suite(cipher);
            assert_eq!(suite.to_string(), cipher.to_string());
            assert_eq!(
                suite.key_material_len(),
                cipher.key_material_octets(),
                "{suite}"
            );
            if let Some(integrity) = cipher.integrity() {
                assert_eq!(suite.overhead().icv, integrity.icv_octets(), "{suite}");
            }
        }
        assert_eq!(Cipher::all().count(), esp::Suite::all().count());
    }
}
