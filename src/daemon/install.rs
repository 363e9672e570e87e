//! The one place where IKE's keys become ESP's SAs: an exhaustive match, so that a cipher that one
//! side learns and the other does not know fails to compile.

use secure_gre_esp as esp;
use secure_gre_ike::algorithm::Encryption;
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
        suite(keys.suite.encryption),
        spi,
        keys.suite.esn,
        material,
    )?)
}

/// The ESP cipher of a transform (RFC 4106).
pub(super) const fn suite(encryption: Encryption) -> esp::Suite {
    match encryption {
        Encryption::Aes128Gcm16 => esp::Suite::Aes128Gcm16,
        Encryption::Aes256Gcm16 => esp::Suite::Aes256Gcm16,
    }
}
