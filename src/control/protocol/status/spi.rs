//! SPIs as other tools write them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An ESP SPI, written `0x` and 8 digits as other tools do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EspSpi(pub u32);

impl fmt::Display for EspSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

impl From<EspSpi> for String {
    fn from(spi: EspSpi) -> Self {
        spi.to_string()
    }
}

impl TryFrom<String> for EspSpi {
    type Error = NotAnSpi;

    fn try_from(text: String) -> Result<Self, NotAnSpi> {
        let digits = text.strip_prefix("0x").ok_or(NotAnSpi)?;
        u32::from_str_radix(digits, 16)
            .map(Self)
            .map_err(|_| NotAnSpi)
    }
}

/// An IKE SPI, written `0x` and 16 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IkeSpi(pub u64);

impl fmt::Display for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:016x}", self.0)
    }
}

impl From<IkeSpi> for String {
    fn from(spi: IkeSpi) -> Self {
        spi.to_string()
    }
}

impl TryFrom<String> for IkeSpi {
    type Error = NotAnSpi;

    fn try_from(text: String) -> Result<Self, NotAnSpi> {
        let digits = text.strip_prefix("0x").ok_or(NotAnSpi)?;
        u64::from_str_radix(digits, 16)
            .map(Self)
            .map_err(|_| NotAnSpi)
    }
}

/// A text that should have been `0x` and hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an SPI is 0x and hexadecimal digits")]
pub struct NotAnSpi;
