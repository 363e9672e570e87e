//! The Key Exchange payload (RFC 7296 §3.4). Whether the group is known and the value fits it is
//! the key exchange's business.

use super::error::WireError;
use super::payload::Payload;
use super::reader::Reader;
use super::writer::Writer;
use crate::limits;

/// A public value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyExchange {
    /// Transform ID of the method, as in a proposal's KE transform.
    pub group: u16,
    /// The public value as the group's RFC encodes it.
    pub data: Vec<u8>,
}

impl KeyExchange {
    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, WireError> {
        let group = body.u16()?;
        body.array::<2>()?;
        Ok(Self {
            group,
            data: body.take_rest_within(limits::KEY_EXCHANGE_OCTETS)?,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u16(self.group);
        writer.reserved::<2>();
        writer.octets(&self.data);
    }
}

impl Payload {
    /// KE with this public value, of the method with this number.
    pub fn key_exchange(method: u16, public: &[u8]) -> Self {
        Self::KeyExchange(KeyExchange {
            group: method,
            data: public.to_vec(),
        })
    }
}
