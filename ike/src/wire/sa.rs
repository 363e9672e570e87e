//! The Security Association payload (RFC 7296 §3.3): proposals, their transforms and attributes.
//! Choosing among them is elsewhere; here even a proposal that nobody could accept is read, so that
//! the others stay usable (D16, RFC 7296 §3.3.6).

use std::fmt;

use super::error::WireError;
use super::reader::{Reader, Substructure};
use super::writer::Writer;
use crate::limits;

/// One proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Proposal Num: 1 for the first of an offer, the chosen one's in an answer.
    pub number: u8,
    /// What it would protect.
    pub protocol: ProtocolId,
    /// The sender's SPI: none in IKE_SA_INIT, 8 octets for rekeying the IKE SA, 4 for ESP (D15).
    pub spi: Vec<u8>,
    /// The transforms. Never empty.
    pub transforms: Vec<Transform>,
}

/// A security protocol identifier (RFC 7296 §3.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolId(pub u8);

impl ProtocolId {
    /// In notifications: concerns no SA in particular.
    pub const NONE: Self = Self(0);
    /// IKE.
    pub const IKE: Self = Self(1);
    /// AH.
    pub const AH: Self = Self(2);
    /// ESP.
    pub const ESP: Self = Self(3);
}

/// `IKE`, `AH`, `ESP`, or `protocol 7`.
impl fmt::Display for ProtocolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("none"),
            Self::IKE => f.write_str("IKE"),
            Self::AH => f.write_str("AH"),
            Self::ESP => f.write_str("ESP"),
            Self(other) => write!(f, "protocol {other}"),
        }
    }
}

/// One algorithm in a proposal (RFC 7296 §3.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transform {
    /// What it is for.
    pub kind: TransformType,
    /// Which one: the number in the registry of its type.
    pub id: u16,
    /// The Key Length attribute (RFC 7296 §3.3.5).
    pub key_bits: Option<u16>,
    /// It came with an attribute that we do not know, or with a repeated or misshapen Key Length:
    /// nobody may accept it (D16, RFC 7296 §3.3.6). Never written.
    pub unknown_attribute: bool,
}

/// A transform type (RFC 7296 §3.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransformType(pub u8);

impl TransformType {
    /// Encryption.
    pub const ENCR: Self = Self(1);
    /// Pseudorandom function.
    pub const PRF: Self = Self(2);
    /// Integrity.
    pub const INTEG: Self = Self(3);
    /// Key exchange method, "D-H" of old.
    pub const KE: Self = Self(4);
    /// Sequence numbers, "ESN" of old (RFC 9827).
    pub const ESN: Self = Self(5);
    /// The first additional key exchange (RFC 9370 §2.2.1); its IDs are those of KE.
    pub const ADDKE1: Self = Self(6);
    /// The last one.
    pub const ADDKE7: Self = Self(12);

    /// The number of an additional key exchange, counted from 1.
    pub fn additional_key_exchange(self) -> Option<u8> {
        (Self::ADDKE1..=Self::ADDKE7)
            .contains(&self)
            .then(|| self.0.saturating_sub(Self::ADDKE1.0).saturating_add(1))
    }
}

/// Last Substruc: none follows, a proposal follows, a transform follows.
const LAST: u8 = 0;
const MORE_PROPOSALS: u8 = 2;
const MORE_TRANSFORMS: u8 = 3;

/// The top bit of an attribute's type: two octets of value follow instead of a length.
const ATTRIBUTE_SHORT: u16 = 0x8000;
const KEY_LENGTH: u16 = ATTRIBUTE_SHORT | 14;

pub(super) fn parse(body: &mut Reader<'_>) -> Result<Vec<Proposal>, WireError> {
    let mut proposals = Vec::new();
    while !body.is_empty() {
        if proposals.len() == limits::PROPOSALS {
            return Err(WireError::TooMany);
        }
        let Substructure {
            first,
            body: mut inner,
            ..
        } = body.substructure()?;
        expect_last(first, MORE_PROPOSALS, body.is_empty())?;
        proposals.push(proposal(&mut inner)?);
    }
    if proposals.is_empty() {
        Err(WireError::EmptyProposal)
    } else {
        Ok(proposals)
    }
}

fn proposal(body: &mut Reader<'_>) -> Result<Proposal, WireError> {
    let number = body.u8()?;
    let protocol = ProtocolId(body.u8()?);
    let spi_octets = body.u8()?;
    let count = usize::from(body.u8()?);
    let spi = body.take(spi_octets.into())?.to_vec();
    match count {
        0 => return Err(WireError::EmptyProposal),
        count if count > limits::TRANSFORMS => return Err(WireError::TooMany),
        _ => {}
    }
    let mut transforms = Vec::with_capacity(count);
    for at in 1..=count {
        let Substructure {
            first,
            body: mut inner,
            ..
        } = body.substructure()?;
        expect_last(first, MORE_TRANSFORMS, at == count)?;
        transforms.push(transform(&mut inner)?);
    }
    body.finish()?;
    Ok(Proposal {
        number,
        protocol,
        spi,
        transforms,
    })
}

fn transform(body: &mut Reader<'_>) -> Result<Transform, WireError> {
    let kind = TransformType(body.u8()?);
    body.u8()?;
    let id = body.u16()?;
    let mut transform = Transform {
        kind,
        id,
        key_bits: None,
        unknown_attribute: false,
    };
    while !body.is_empty() {
        let attribute = body.u16()?;
        let value = body.u16()?;
        if attribute == KEY_LENGTH && transform.key_bits.is_none() {
            transform.key_bits = Some(value);
            continue;
        }
        transform.unknown_attribute = true;
        if attribute & ATTRIBUTE_SHORT == 0 {
            body.take(value.into())?;
        }
    }
    Ok(transform)
}

/// Lengths and counts say which one is last; the field that says it again has to agree.
fn expect_last(field: u8, more: u8, last: bool) -> Result<(), WireError> {
    if field == if last { LAST } else { more } {
        Ok(())
    } else {
        Err(WireError::LastSubstructure)
    }
}

pub(super) fn write(proposals: &[Proposal], writer: &mut Writer) {
    for (at, proposal) in proposals.iter().enumerate() {
        let more = if at + 1 == proposals.len() {
            LAST
        } else {
            MORE_PROPOSALS
        };
        writer.substructure(more, 0, |writer| proposal.write(writer));
    }
}

impl Proposal {
    fn write(&self, writer: &mut Writer) {
        writer.u8(self.number);
        writer.u8(self.protocol.0);
        writer.count_u8(self.spi.len());
        writer.count_u8(self.transforms.len());
        writer.octets(&self.spi);
        for (at, transform) in self.transforms.iter().enumerate() {
            let more = if at + 1 == self.transforms.len() {
                LAST
            } else {
                MORE_TRANSFORMS
            };
            writer.substructure(more, 0, |writer| transform.write(writer));
        }
    }
}

impl Transform {
    /// An algorithm without a choice of key length.
    pub const fn new(kind: TransformType, id: u16) -> Self {
        Self {
            kind,
            id,
            key_bits: None,
            unknown_attribute: false,
        }
    }

    /// An algorithm with a Key Length attribute.
    pub const fn with_key_bits(kind: TransformType, id: u16, key_bits: u16) -> Self {
        Self {
            kind,
            id,
            key_bits: Some(key_bits),
            unknown_attribute: false,
        }
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8(self.kind.0);
        writer.reserved::<1>();
        writer.u16(self.id);
        if let Some(key_bits) = self.key_bits {
            writer.u16(KEY_LENGTH);
            writer.u16(key_bits);
        }
    }
}
