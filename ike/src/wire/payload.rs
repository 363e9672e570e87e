//! The chain of payloads (RFC 7296 §3.2): generic headers, which payload types are known, and what
//! becomes of those that are not.

use std::fmt;

use super::auth::Authentication;
use super::cert::{Certificate, CertificateRequest};
use super::cp::Configuration;
use super::delete::Delete;
use super::error::WireError;
use super::id::Identification;
use super::ke::KeyExchange;
use super::notify::Notify;
use super::reader::{Reader, Substructure};
use super::sa::Proposal;
use super::ts::TrafficSelector;
use super::writer::Writer;
use super::{eap, nonce, sa, ts, vendor};
use crate::limits;

/// A payload of a message; SK and SKF, which hold others, are the message's own business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// SA (RFC 7296 §3.3): proposals, best first. Never empty.
    SecurityAssociation(Vec<Proposal>),
    /// KE (RFC 7296 §3.4).
    KeyExchange(KeyExchange),
    /// IDi (RFC 7296 §3.5).
    IdInitiator(Identification),
    /// IDr (RFC 7296 §3.5).
    IdResponder(Identification),
    /// CERT (RFC 7296 §3.6).
    Certificate(Certificate),
    /// CERTREQ (RFC 7296 §3.7).
    CertificateRequest(CertificateRequest),
    /// AUTH (RFC 7296 §3.8).
    Authentication(Authentication),
    /// Ni or Nr (RFC 7296 §3.9): 16 to 256 octets.
    Nonce(Vec<u8>),
    /// N (RFC 7296 §3.10).
    Notify(Notify),
    /// D (RFC 7296 §3.11).
    Delete(Delete),
    /// V (RFC 7296 §3.12).
    VendorId(Vec<u8>),
    /// TSi (RFC 7296 §3.13). Empty where the peer sent types that we do not know only.
    TsInitiator(Vec<TrafficSelector>),
    /// TSr (RFC 7296 §3.13). Empty where the peer sent types that we do not know only.
    TsResponder(Vec<TrafficSelector>),
    /// CP (RFC 7296 §3.15).
    Configuration(Configuration),
    /// EAP (RFC 7296 §3.16): one EAP message, opaque: there is no EAP here.
    Eap(Vec<u8>),
}

/// The number of a payload type (RFC 7296 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadType(pub u8);

/// Names and notations of the RFC.
macro_rules! payload_types {
    ($($name:ident = $number:literal, $notation:literal;)+) => {
        impl PayloadType {
            $(#[doc = concat!("`", $notation, "`.")] pub const $name: Self = Self($number);)+

            /// Whether RFC 7296 or RFC 7383 defines it, so that its critical bit means nothing (D6).
            const fn is_known(self) -> bool {
                matches!(self, $(Self::$name)|+)
            }
        }

        /// The RFC's notation, or the number.
        impl fmt::Display for PayloadType {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => f.write_str($notation),)+
                    Self(other) => write!(f, "payload {other}"),
                }
            }
        }
    };
}

payload_types! {
    NONE = 0, "none";
    SECURITY_ASSOCIATION = 33, "SA";
    KEY_EXCHANGE = 34, "KE";
    ID_INITIATOR = 35, "IDi";
    ID_RESPONDER = 36, "IDr";
    CERTIFICATE = 37, "CERT";
    CERTIFICATE_REQUEST = 38, "CERTREQ";
    AUTHENTICATION = 39, "AUTH";
    NONCE = 40, "No";
    NOTIFY = 41, "N";
    DELETE = 42, "D";
    VENDOR_ID = 43, "V";
    TS_INITIATOR = 44, "TSi";
    TS_RESPONDER = 45, "TSr";
    ENCRYPTED = 46, "SK";
    CONFIGURATION = 47, "CP";
    EAP = 48, "EAP";
    ENCRYPTED_FRAGMENT = 53, "SKF";
}

impl PayloadType {
    /// Whether it ends its message (RFC 7296 §3.14, RFC 7383 §2.5).
    const fn is_encrypted(self) -> bool {
        matches!(self, Self::ENCRYPTED | Self::ENCRYPTED_FRAGMENT)
    }
}

/// A payload whose body is not looked at yet.
pub(super) struct Raw<'a> {
    pub(super) kind: PayloadType,
    /// Its Next Payload field; of SK and SKF: the first payload inside.
    pub(super) next: PayloadType,
    critical: bool,
    pub(super) body: Reader<'a>,
}

/// Walks the generic headers. Ends after an SK or SKF payload, or at the first error.
#[derive(Debug, Clone)]
pub(super) struct Chain<'a> {
    next: PayloadType,
    rest: Reader<'a>,
    walked: usize,
}

const CRITICAL: u8 = 0x80;

impl<'a> Chain<'a> {
    pub(super) const fn new(first: PayloadType, payloads: Reader<'a>) -> Self {
        Self {
            next: first,
            rest: payloads,
            walked: 0,
        }
    }

    fn step(&mut self) -> Result<Option<Raw<'a>>, WireError> {
        if self.next == PayloadType::NONE {
            return self.rest.finish().map(|()| None);
        }
        if self.walked == limits::PAYLOADS {
            return Err(WireError::TooMany);
        }
        self.walked += 1;
        let Substructure {
            first,
            second,
            body,
        } = self.rest.substructure()?;
        let (kind, next) = (self.next, PayloadType(first));
        self.next = next;
        if kind.is_encrypted() {
            self.next = PayloadType::NONE;
            self.rest
                .finish()
                .map_err(|_| WireError::MisplacedEncrypted)?;
        }
        Ok(Some(Raw {
            kind,
            next,
            critical: second & CRITICAL != 0,
            body,
        }))
    }
}

impl<'a> Iterator for Chain<'a> {
    type Item = Result<Raw<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            *self = Self::new(PayloadType::NONE, Reader::new(&[]));
        }
        step.transpose()
    }
}

/// Reads every payload of a chain in which nothing is encrypted.
pub(super) fn parse(chain: Chain<'_>) -> Result<Vec<Payload>, WireError> {
    chain
        .filter_map(|raw| raw.and_then(Raw::parse).transpose())
        .collect()
}

/// The type of the first payload, for the field that comes before it.
pub(super) fn first(payloads: &[Payload]) -> PayloadType {
    payloads.first().map_or(PayloadType::NONE, Payload::kind)
}

/// Writes payloads as a chain.
pub(super) fn write(payloads: &[Payload]) -> Vec<u8> {
    let mut writer = Writer::default();
    let following = payloads
        .iter()
        .skip(1)
        .map(Payload::kind)
        .chain([PayloadType::NONE]);
    for (payload, next) in payloads.iter().zip(following) {
        writer.substructure(next.0, 0, |writer| payload.write(writer));
    }
    writer.into_octets()
}

impl Raw<'_> {
    /// An unknown payload may be skipped only if its sender says so (D6, RFC 7296 §2.5, §3.2).
    pub(super) fn supported(&self) -> Result<(), WireError> {
        if self.critical && !self.kind.is_known() {
            return Err(WireError::UnsupportedCritical(self.kind.0));
        }
        Ok(())
    }

    /// The payload, or `None` where it is unknown and may be skipped.
    pub(super) fn parse(self) -> Result<Option<Payload>, WireError> {
        self.supported()?;
        let mut body = self.body;
        let body = &mut body;
        let payload = match self.kind {
            PayloadType::SECURITY_ASSOCIATION => Payload::SecurityAssociation(sa::parse(body)?),
            PayloadType::KEY_EXCHANGE => Payload::KeyExchange(KeyExchange::parse(body)?),
            PayloadType::ID_INITIATOR => Payload::IdInitiator(Identification::parse(body)?),
            PayloadType::ID_RESPONDER => Payload::IdResponder(Identification::parse(body)?),
            PayloadType::CERTIFICATE => Payload::Certificate(Certificate::parse(body)?),
            PayloadType::CERTIFICATE_REQUEST => {
                Payload::CertificateRequest(CertificateRequest::parse(body)?)
            }
            PayloadType::AUTHENTICATION => Payload::Authentication(Authentication::parse(body)?),
            PayloadType::NONCE => Payload::Nonce(nonce::parse(body)?),
            PayloadType::NOTIFY => Payload::Notify(Notify::parse(body)?),
            PayloadType::DELETE => Payload::Delete(Delete::parse(body)?),
            PayloadType::VENDOR_ID => Payload::VendorId(vendor::parse(body)),
            PayloadType::TS_INITIATOR => Payload::TsInitiator(ts::parse(body)?),
            PayloadType::TS_RESPONDER => Payload::TsResponder(ts::parse(body)?),
            PayloadType::ENCRYPTED | PayloadType::ENCRYPTED_FRAGMENT => {
                return Err(WireError::MisplacedEncrypted);
            }
            PayloadType::CONFIGURATION => Payload::Configuration(Configuration::parse(body)?),
            PayloadType::EAP => Payload::Eap(eap::parse(body)?),
            PayloadType(_) => return Ok(None),
        };
        Ok(Some(payload))
    }
}

impl Payload {
    /// Its number.
    pub const fn kind(&self) -> PayloadType {
        match self {
            Self::SecurityAssociation(_) => PayloadType::SECURITY_ASSOCIATION,
            Self::KeyExchange(_) => PayloadType::KEY_EXCHANGE,
            Self::IdInitiator(_) => PayloadType::ID_INITIATOR,
            Self::IdResponder(_) => PayloadType::ID_RESPONDER,
            Self::Certificate(_) => PayloadType::CERTIFICATE,
            Self::CertificateRequest(_) => PayloadType::CERTIFICATE_REQUEST,
            Self::Authentication(_) => PayloadType::AUTHENTICATION,
            Self::Nonce(_) => PayloadType::NONCE,
            Self::Notify(_) => PayloadType::NOTIFY,
            Self::Delete(_) => PayloadType::DELETE,
            Self::VendorId(_) => PayloadType::VENDOR_ID,
            Self::TsInitiator(_) => PayloadType::TS_INITIATOR,
            Self::TsResponder(_) => PayloadType::TS_RESPONDER,
            Self::Configuration(_) => PayloadType::CONFIGURATION,
            Self::Eap(_) => PayloadType::EAP,
        }
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::SecurityAssociation(proposals) => sa::write(proposals, writer),
            Self::KeyExchange(key_exchange) => key_exchange.write(writer),
            Self::IdInitiator(id) | Self::IdResponder(id) => id.write(writer),
            Self::Certificate(certificate) => certificate.write(writer),
            Self::CertificateRequest(request) => request.write(writer),
            Self::Authentication(authentication) => authentication.write(writer),
            Self::Nonce(octets) | Self::VendorId(octets) | Self::Eap(octets) => {
                writer.octets(octets);
            }
            Self::Notify(notify) => notify.write(writer),
            Self::Delete(delete) => delete.write(writer),
            Self::TsInitiator(selectors) | Self::TsResponder(selectors) => {
                ts::write(selectors, writer);
            }
            Self::Configuration(configuration) => configuration.write(writer),
        }
    }
}
