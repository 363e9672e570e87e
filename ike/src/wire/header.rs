//! The IKE header (RFC 7296 §3.1), and the SPIs.

use std::fmt;

use super::error::{HeaderError, WireError};
use super::payload::PayloadType;
use super::reader::Reader;
use super::writer::Writer;
use crate::limits;

/// An IKE SA's SPI, chosen by one of its ends; 0 stands for the responder's while it is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeSpi(pub u64);

impl IkeSpi {
    /// The responder's in a first request, where it is not known (RFC 7296 §3.1).
    pub const NONE: Self = Self(0);
}

/// Sixteen hexadecimal digits.
impl fmt::Display for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// An ESP SPI (RFC 4303 §2.1), chosen by the receiver of the packets; never 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EspSpi(pub u32);

impl EspSpi {
    /// D43: 0 to 255 are reserved, nobody may choose them.
    pub const fn is_reserved(self) -> bool {
        self.0 <= 255
    }
}

/// Eight hexadecimal digits.
impl fmt::Display for EspSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The exchange type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeType(pub u8);

impl ExchangeType {
    /// RFC 7296 §1.2.
    pub const IKE_SA_INIT: Self = Self(34);
    /// RFC 7296 §1.2.
    pub const IKE_AUTH: Self = Self(35);
    /// RFC 7296 §1.3.
    pub const CREATE_CHILD_SA: Self = Self(36);
    /// RFC 7296 §1.4.
    pub const INFORMATIONAL: Self = Self(37);
    /// RFC 9242.
    pub const IKE_INTERMEDIATE: Self = Self(43);
    /// RFC 9370 §2.2.4.
    pub const IKE_FOLLOWUP_KE: Self = Self(44);
}

/// The RFC's name, or `exchange type 38`.
impl fmt::Display for ExchangeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IKE_SA_INIT => f.write_str("IKE_SA_INIT"),
            Self::IKE_AUTH => f.write_str("IKE_AUTH"),
            Self::CREATE_CHILD_SA => f.write_str("CREATE_CHILD_SA"),
            Self::INFORMATIONAL => f.write_str("INFORMATIONAL"),
            Self::IKE_INTERMEDIATE => f.write_str("IKE_INTERMEDIATE"),
            Self::IKE_FOLLOWUP_KE => f.write_str("IKE_FOLLOWUP_KE"),
            Self(other) => write!(f, "exchange type {other}"),
        }
    }
}

/// The fields of the IKE header that mean something. Version 2.0 and the lengths are the codec's,
/// the version bit and the reserved ones are sent as 0 and ignored (D5, RFC 7296 §2.5, §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The initiator's SPI. 0 is not refused here: outside IKE_SA_INIT it is legal in one case
    /// (RFC 7296 §1.5), and whoever looks an SA up finds none.
    pub initiator: IkeSpi,
    /// The responder's SPI; 0 in the first request.
    pub responder: IkeSpi,
    /// The exchange.
    pub exchange: ExchangeType,
    /// The I flag: the sender is the initiator of the IKE SA.
    pub from_initiator: bool,
    /// The R flag: an answer to the request with this message ID.
    pub response: bool,
    /// Message ID (RFC 7296 §2.2).
    pub message_id: u32,
}

/// Octets of the header.
pub(super) const HEADER_OCTETS: usize = 28;

/// Where Next Payload is in it.
const NEXT_PAYLOAD: usize = 16;

const MAJOR_VERSION: u8 = 2;
const VERSION: u8 = MAJOR_VERSION << 4;
const FLAG_INITIATOR: u8 = 0x08;
const FLAG_RESPONSE: u8 = 0x20;

/// The header's Next Payload field, and what follows the header.
pub(super) struct Parsed<'a> {
    pub(super) header: Header,
    pub(super) first: PayloadType,
    pub(super) payloads: Reader<'a>,
}

/// Reads the header of a datagram that it has to describe exactly. The version comes before the
/// length: another one may count differently.
pub(super) fn parse(datagram: &[u8]) -> Result<Parsed<'_>, HeaderError> {
    let mut reader = Reader::new(datagram);
    let (header, first, version, claimed) =
        fields(&mut reader).map_err(|_| HeaderError::Truncated)?;
    let received = datagram.len();
    match version >> 4 {
        MAJOR_VERSION => {}
        major @ ..MAJOR_VERSION => return Err(HeaderError::ObsoleteVersion(major)),
        major => return Err(HeaderError::MajorVersion { header, major }),
    }
    if usize::try_from(claimed) != Ok(received) || received > limits::MESSAGE_OCTETS {
        return Err(HeaderError::Length { claimed, received });
    }
    Ok(Parsed {
        header,
        first,
        payloads: reader,
    })
}

fn fields(reader: &mut Reader<'_>) -> Result<(Header, PayloadType, u8, u32), WireError> {
    let initiator = IkeSpi(reader.u64()?);
    let responder = IkeSpi(reader.u64()?);
    let first = PayloadType(reader.u8()?);
    let version = reader.u8()?;
    let exchange = ExchangeType(reader.u8()?);
    let flags = reader.u8()?;
    let message_id = reader.u32()?;
    let length = reader.u32()?;
    let header = Header {
        initiator,
        responder,
        exchange,
        from_initiator: flags & FLAG_INITIATOR != 0,
        response: flags & FLAG_RESPONSE != 0,
        message_id,
    };
    Ok((header, first, version, length))
}

/// Makes the header at the front of a message say that it is so long, and in one piece: that SK follows
/// where it said SKF. `None`: there is no header.
pub(super) fn set_length(message: &mut [u8], octets: u32) -> Option<()> {
    let (header, _) = message.split_at_mut_checked(HEADER_OCTETS)?;
    let [.., length_1, length_2, length_3, length_4] = header else {
        return None;
    };
    [*length_1, *length_2, *length_3, *length_4] = octets.to_be_bytes();
    let next = header.get_mut(NEXT_PAYLOAD)?;
    if *next == PayloadType::ENCRYPTED_FRAGMENT.0 {
        *next = PayloadType::ENCRYPTED.0;
    }
    Some(())
}

impl Header {
    /// Writes the header of a message with so many octets of payloads.
    pub(super) fn write(&self, writer: &mut Writer, first: PayloadType, payload_octets: usize) {
        let flag = |set, flag| if set { flag } else { 0 };
        writer.u64(self.initiator.0);
        writer.u64(self.responder.0);
        writer.u8(first.0);
        writer.u8(VERSION);
        writer.u8(self.exchange.0);
        writer.u8(flag(self.from_initiator, FLAG_INITIATOR) | flag(self.response, FLAG_RESPONSE));
        writer.u32(self.message_id);
        writer.count_u32(HEADER_OCTETS + payload_octets);
    }
}
