//! The Delete payload (RFC 7296 §3.11).

use super::error::WireError;
use super::header::EspSpi;
use super::reader::Reader;
use super::sa::ProtocolId;
use super::writer::Writer;
use crate::limits;

/// Which SAs their receiver deletes: the sender's inbound SPIs (D32, RFC 7296 §1.4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delete {
    /// The IKE SA of this message.
    Ike,
    /// ESP SAs.
    Esp(Vec<EspSpi>),
    /// SAs of a protocol that is not ours.
    Other {
        /// The protocol.
        protocol: ProtocolId,
        /// Their SPIs, all of one size.
        spis: Vec<Vec<u8>>,
    },
}

const ESP_SPI_OCTETS: u8 = 4;

impl Delete {
    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, WireError> {
        let protocol = ProtocolId(body.u8()?);
        let spi_octets = body.u8()?;
        let count = body.u16()?;
        if usize::from(count) > limits::DELETE_SPIS {
            return Err(WireError::TooMany);
        }
        let delete = match (protocol, spi_octets, count) {
            // The number says nothing where an SPI has no octets (RFC 7296 §3.11).
            (ProtocolId::IKE, 0, _) => Self::Ike,
            (ProtocolId::ESP, ESP_SPI_OCTETS, _) => {
                let spis = (0..count).map(|_| body.u32().map(EspSpi));
                Self::Esp(spis.collect::<Result<_, _>>()?)
            }
            (ProtocolId::IKE | ProtocolId::ESP, _, _) | (_, 0, 1..) => {
                return Err(WireError::DeleteSpis);
            }
            _ => {
                let spis = (0..count).map(|_| body.take(spi_octets.into()).map(<[u8]>::to_vec));
                Self::Other {
                    protocol,
                    spis: spis.collect::<Result<_, _>>()?,
                }
            }
        };
        body.finish()?;
        Ok(delete)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        match self {
            Self::Ike => {
                writer.u8(ProtocolId::IKE.0);
                writer.u8(0);
                writer.u16(0);
            }
            Self::Esp(spis) => {
                writer.u8(ProtocolId::ESP.0);
                writer.u8(ESP_SPI_OCTETS);
                writer.count_u16(spis.len());
                spis.iter().for_each(|spi| writer.u32(spi.0));
            }
            Self::Other { protocol, spis } => {
                writer.u8(protocol.0);
                writer.count_u8(spis.first().map_or(0, Vec::len));
                writer.count_u16(spis.len());
                spis.iter().for_each(|spi| writer.octets(spi));
            }
        }
    }
}
