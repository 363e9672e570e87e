//! The Notify payload (RFC 7296 §3.10) and the registries of its types.

use std::fmt;

use super::error::WireError;
use super::reader::Reader;
use super::sa::ProtocolId;
use super::writer::Writer;
use crate::limits;

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The protocol of the SA that it concerns; [`ProtocolId::NONE`] where it has no SPI.
    pub protocol: ProtocolId,
    /// The SPI of the SA that it concerns.
    pub spi: Vec<u8>,
    /// What it says.
    pub kind: NotifyType,
    /// What the type has to add.
    pub data: Vec<u8>,
}

/// A notify message type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotifyType(pub u16);

/// Types by name: the name is the RFC's.
macro_rules! notify_types {
    ($($name:ident = $number:literal, $rfc:literal;)+) => {
        impl NotifyType {
            $(#[doc = concat!("RFC ", $rfc, ".")] pub const $name: Self = Self($number);)+
        }

        /// The RFC's name, or `notify type 40000`.
        impl fmt::Display for NotifyType {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => f.write_str(stringify!($name)),)+
                    Self(other) => write!(f, "notify type {other}"),
                }
            }
        }
    };
}

notify_types! {
    UNSUPPORTED_CRITICAL_PAYLOAD = 1, "7296 §2.5";
    INVALID_IKE_SPI = 4, "7296 §2.21";
    INVALID_MAJOR_VERSION = 5, "7296 §2.5";
    INVALID_SYNTAX = 7, "7296 §2.21";
    INVALID_MESSAGE_ID = 9, "7296 §2.3";
    INVALID_SPI = 11, "7296 §1.5";
    NO_PROPOSAL_CHOSEN = 14, "7296 §2.7";
    INVALID_KE_PAYLOAD = 17, "7296 §1.2, §1.3";
    AUTHENTICATION_FAILED = 24, "7296 §2.21.2";
    SINGLE_PAIR_REQUIRED = 34, "7296 §2.9";
    NO_ADDITIONAL_SAS = 35, "7296 §1.3";
    INTERNAL_ADDRESS_FAILURE = 36, "7296 §3.15.4";
    FAILED_CP_REQUIRED = 37, "7296 §2.19";
    TS_UNACCEPTABLE = 38, "7296 §2.9";
    INVALID_SELECTORS = 39, "7296 §3.10.1";
    UNACCEPTABLE_ADDRESSES = 40, "4555";
    UNEXPECTED_NAT_DETECTED = 41, "4555";
    TEMPORARY_FAILURE = 43, "7296 §2.25";
    CHILD_SA_NOT_FOUND = 44, "7296 §2.25";
    STATE_NOT_FOUND = 47, "9370 §2.2.4";
    INITIAL_CONTACT = 16384, "7296 §2.4";
    SET_WINDOW_SIZE = 16385, "7296 §2.3";
    ADDITIONAL_TS_POSSIBLE = 16386, "7296 §2.9";
    IPCOMP_SUPPORTED = 16387, "7296 §2.22";
    NAT_DETECTION_SOURCE_IP = 16388, "7296 §2.23";
    NAT_DETECTION_DESTINATION_IP = 16389, "7296 §2.23";
    COOKIE = 16390, "7296 §2.6";
    USE_TRANSPORT_MODE = 16391, "7296 §1.3.1";
    HTTP_CERT_LOOKUP_SUPPORTED = 16392, "7296 §3.6";
    REKEY_SA = 16393, "7296 §1.3.3";
    ESP_TFC_PADDING_NOT_SUPPORTED = 16394, "7296 §1.3.1";
    NON_FIRST_FRAGMENTS_ALSO = 16395, "7296 §1.3.1";
    MOBIKE_SUPPORTED = 16396, "4555";
    ADDITIONAL_IP4_ADDRESS = 16397, "4555";
    ADDITIONAL_IP6_ADDRESS = 16398, "4555";
    NO_ADDITIONAL_ADDRESSES = 16399, "4555";
    UPDATE_SA_ADDRESSES = 16400, "4555";
    COOKIE2 = 16401, "4555";
    NO_NATS_ALLOWED = 16402, "4555";
    AUTH_LIFETIME = 16403, "4478";
    MULTIPLE_AUTH_SUPPORTED = 16404, "4739";
    REDIRECT_SUPPORTED = 16406, "5685";
    EAP_ONLY_AUTHENTICATION = 16417, "5998";
    CHILDLESS_IKEV2_SUPPORTED = 16418, "6023";
    QUICK_CRASH_DETECTION = 16419, "6290";
    IKEV2_MESSAGE_ID_SYNC_SUPPORTED = 16420, "6311";
    IKEV2_FRAGMENTATION_SUPPORTED = 16430, "7383";
    SIGNATURE_HASH_ALGORITHMS = 16431, "7427";
    USE_PPK = 16435, "8784";
    PPK_IDENTITY = 16436, "8784";
    NO_PPK_AUTH = 16437, "8784";
    INTERMEDIATE_EXCHANGE_SUPPORTED = 16438, "9242";
    ADDITIONAL_KEY_EXCHANGE = 16441, "9370 §2.2.4";
}

/// Types below are errors (RFC 7296 §3.10.1).
const FIRST_STATUS: u16 = 16384;

impl NotifyType {
    /// Whether it says that something failed, known to us or not (D5, RFC 7296 §3.10.1).
    pub const fn is_error(self) -> bool {
        self.0 < FIRST_STATUS
    }
}

impl Notify {
    /// A type that says it all.
    pub const fn status(kind: NotifyType) -> Self {
        Self::with_data(kind, Vec::new())
    }

    /// A type with data, about no SA in particular.
    pub const fn with_data(kind: NotifyType, data: Vec<u8>) -> Self {
        Self {
            protocol: ProtocolId::NONE,
            spi: Vec::new(),
            kind,
            data,
        }
    }

    /// The answer to an authentic request that is malformed (RFC 7296 §2.5, §2.21.3).
    pub fn for_wire_error(error: &WireError) -> Self {
        match *error {
            WireError::UnsupportedCritical(kind) => {
                Self::with_data(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![kind])
            }
            _ => Self::status(NotifyType::INVALID_SYNTAX),
        }
    }

    pub(super) fn parse(body: &mut Reader<'_>) -> Result<Self, WireError> {
        let protocol = ProtocolId(body.u8()?);
        let spi_octets = body.u8()?;
        let kind = NotifyType(body.u16()?);
        let spi = body.take(spi_octets.into())?.to_vec();
        Ok(Self {
            protocol,
            spi,
            kind,
            data: body.take_rest_within(limits::NOTIFY_OCTETS)?,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u8(self.protocol.0);
        writer.count_u8(self.spi.len());
        writer.u16(self.kind.0);
        writer.octets(&self.spi);
        writer.octets(&self.data);
    }
}
