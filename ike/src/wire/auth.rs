//! The Authentication payload (RFC 7296 §3.8). What the value has to be is in RFC 7296 §2.15.

use std::fmt;

use super::error::WireError;
use super::reader::Reader;
use super::writer::Writer;
use crate::limits;

/// A proof of identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// How the value was made.
    pub method: AuthMethod,
    /// The value.
    pub data: Vec<u8>,
}

/// The number of an authentication method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthMethod(pub u8);

impl AuthMethod {
    /// RSA Digital Signature.
    pub const RSA_SIGNATURE: Self = Self(1);
    /// Shared Key Message Integrity Code.
    pub const SHARED_KEY: Self = Self(2);
    /// NULL Authentication (RFC 7619).
    pub const NULL: Self = Self(13);
    /// Digital Signature (RFC 7427).
    pub const DIGITAL_SIGNATURE: Self = Self(14);
}

/// A word for the methods that are met, or `method 9`.
impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RSA_SIGNATURE => f.write_str("RSA signature"),
            Self::SHARED_KEY => f.write_str("shared key"),
            Self::NULL => f.write_str("null"),
            Self::DIGITAL_SIGNATURE => f.write_str("digital signature"),
            Self(other) => write!(f, "method {other}"),
        }
    }
}

impl Authentication {
    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, WireError> {
        let method = AuthMethod(body.u8()?);
        body.array::<3>()?;
        Ok(Self {
            method,
            data: body.take_rest_within(limits::AUTHENTICATION_OCTETS)?,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u8(self.method.0);
        writer.reserved::<3>();
        writer.octets(&self.data);
    }
}
