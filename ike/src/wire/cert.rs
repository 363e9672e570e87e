//! The Certificate and Certificate Request payloads (RFC 7296 §3.6, §3.7). They are carried, never
//! looked into: authentication is by pre-shared key.

use super::error::WireError;
use super::reader::Reader;
use super::writer::Writer;

/// CERT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Cert Encoding.
    pub encoding: u8,
    /// Certificate Data.
    pub data: Vec<u8>,
}

/// CERTREQ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    /// Cert Encoding.
    pub encoding: u8,
    /// Certification Authority: usually concatenated SHA-1 hashes.
    pub authorities: Vec<u8>,
}

impl Certificate {
    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            encoding: body.u8()?,
            data: body.take_rest().to_vec(),
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u8(self.encoding);
        writer.octets(&self.data);
    }
}

impl CertificateRequest {
    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            encoding: body.u8()?,
            authorities: body.take_rest().to_vec(),
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u8(self.encoding);
        writer.octets(&self.authorities);
    }
}
