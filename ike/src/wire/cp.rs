//! The Configuration payload (RFC 7296 §3.15). It is carried, never acted on: the tunnel's
//! addresses come from the file.

use super::error::WireError;
use super::reader::Reader;
use super::writer::Writer;
use crate::limits;

/// CP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// CFG Type: 1 request, 2 reply, 3 set, 4 ack.
    pub kind: u8,
    /// The attributes, in order.
    pub attributes: Vec<ConfigurationAttribute>,
}

/// One configuration attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationAttribute {
    /// Attribute Type, 15 bits.
    pub kind: u16,
    /// The value; empty in a request for any.
    pub value: Vec<u8>,
}

/// The top bit of the type is reserved (RFC 7296 §3.15.1).
const TYPE_BITS: u16 = 0x7fff;

impl Configuration {
    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, WireError> {
        let kind = body.u8()?;
        body.array::<3>()?;
        let mut attributes = Vec::new();
        while !body.is_empty() {
            if attributes.len() == limits::CONFIGURATION_ATTRIBUTES {
                return Err(WireError::TooMany);
            }
            let kind = body.u16()? & TYPE_BITS;
            let octets = body.u16()?;
            let value = body.take(octets.into())?.to_vec();
            attributes.push(ConfigurationAttribute { kind, value });
        }
        Ok(Self { kind, attributes })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u8(self.kind);
        writer.reserved::<3>();
        for attribute in &self.attributes {
            writer.u16(attribute.kind & TYPE_BITS);
            writer.count_u16(attribute.value.len());
            writer.octets(&attribute.value);
        }
    }
}
