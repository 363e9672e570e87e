//! The Identification payloads, IDi and IDr (RFC 7296 §3.5).

use std::net::IpAddr;

use super::error::WireError;
use super::reader::Reader;
use super::writer::Writer;
use crate::identity::{Identity, MAX_IDENTITY_OCTETS};

/// An identity together with the octets that stand for it in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identification {
    /// Who it is.
    pub identity: Identity,
    /// The payload without its generic header: ID type, reserved, data. AUTH signs exactly these
    /// octets, so a received payload keeps its own (D18, RFC 7296 §2.15).
    pub body: Vec<u8>,
}

const ID_IPV4_ADDR: u8 = 1;
const ID_FQDN: u8 = 2;
const ID_RFC822_ADDR: u8 = 3;
const ID_IPV6_ADDR: u8 = 5;
const ID_KEY_ID: u8 = 11;

impl Identification {
    /// As we send it.
    pub fn new(identity: Identity) -> Self {
        let mut writer = Writer::default();
        let mut put = |kind, data: &[u8]| {
            writer.u8(kind);
            writer.reserved::<3>();
            writer.octets(data);
        };
        match &identity {
            Identity::Address(IpAddr::V4(address)) => put(ID_IPV4_ADDR, &address.octets()),
            Identity::Address(IpAddr::V6(address)) => put(ID_IPV6_ADDR, &address.octets()),
            Identity::Fqdn(name) => put(ID_FQDN, name.as_bytes()),
            Identity::Email(address) => put(ID_RFC822_ADDR, address.as_bytes()),
            Identity::KeyId(octets) => put(ID_KEY_ID, octets),
            Identity::Other { kind, data } => put(*kind, data),
        }
        Self {
            identity,
            body: writer.into_octets(),
        }
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let body = reader.clone().take_rest();
        let kind = reader.u8()?;
        reader.array::<3>()?;
        let data = reader.take_rest_within(MAX_IDENTITY_OCTETS)?;
        if data.is_empty() {
            return Err(WireError::EmptyIdentity);
        }
        Ok(Self {
            identity: identity(kind, data)?,
            body: body.to_vec(),
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.octets(&self.body);
    }
}

fn identity(kind: u8, data: Vec<u8>) -> Result<Identity, WireError> {
    let text = |data: &[u8]| std::str::from_utf8(data).ok().map(str::to_owned);
    Ok(match kind {
        ID_IPV4_ADDR => Identity::Address(address::<4>(&data)?),
        ID_IPV6_ADDR => Identity::Address(address::<16>(&data)?),
        ID_FQDN => match text(&data).filter(|name| !is_terminated(name)) {
            Some(name) => Identity::Fqdn(name),
            None => Identity::Other { kind, data },
        },
        ID_RFC822_ADDR => match text(&data).filter(|address| !is_terminated(address)) {
            Some(address) => Identity::Email(address),
            None => Identity::Other { kind, data },
        },
        ID_KEY_ID => Identity::KeyId(data),
        kind => Identity::Other { kind, data },
    })
}

/// D19: no terminator belongs to a name. One that has it is not the name without: only `any` matches.
fn is_terminated(text: &str) -> bool {
    text.ends_with('.') || text.contains(char::is_control)
}

fn address<const OCTETS: usize>(data: &[u8]) -> Result<IpAddr, WireError>
where
    IpAddr: From<[u8; OCTETS]>,
{
    let octets: [u8; OCTETS] = data.try_into().map_err(|_| WireError::IdentityAddress)?;
    Ok(octets.into())
}
