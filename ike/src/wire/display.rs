//! Messages in a line for people, such as
//! `IKE_SA_INIT request 0: SA(1: AES_GCM_16-256 …) KE(31, 32) No(32) N(COOKIE, 8)`.
//! Of variable data only the length is shown, in octets; never keys, nonces or AUTH values.

use std::fmt::{self, Display, Write};

use super::cp::Configuration;
use super::delete::Delete;
use super::header::{EspSpi, Header};
use super::notify::Notify;
use super::payload::Payload;
use super::sa::{Proposal, ProtocolId, Transform, TransformType};
use super::ts::TrafficSelector;

/// A decoded message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its header.
    pub header: &'a Header,
    /// Its payloads, decrypted or not.
    pub payloads: &'a [Payload],
}

impl Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header {
            exchange,
            response,
            message_id,
            ..
        } = self.header;
        let direction = if *response { "response" } else { "request" };
        write!(f, "{exchange} {direction} {message_id}:")?;
        self.payloads
            .iter()
            .try_for_each(|payload| write!(f, " {payload}"))
    }
}

/// The proposals of an SA payload, such as `1: AES_GCM_16-256 PRF_HMAC_SHA2_256 CURVE_25519`.
pub fn proposals(proposals: &[Proposal]) -> String {
    Separated(proposals, "; ").to_string()
}

/// The selectors of both ends, such as `192.0.2.1[47] === 192.0.2.2[47]`.
pub fn selectors(initiator: &[TrafficSelector], responder: &[TrafficSelector]) -> String {
    format!(
        "{} === {}",
        Separated(initiator, ", "),
        Separated(responder, ", ")
    )
}

struct Separated<'a, T>(&'a [T], &'static str);

impl<T: Display> Display for Separated<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(items, separator) = self;
        let mut items = items.iter();
        if let Some(first) = items.next() {
            first.fmt(f)?;
        }
        items.try_for_each(|item| write!(f, "{separator}{item}"))
    }
}

/// The RFC's notation with what matters in brackets.
impl Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::SecurityAssociation(proposals) => {
                write!(f, "{kind}({})", Separated(proposals, "; "))
            }
            Self::KeyExchange(ke) => write!(f, "{kind}({}, {})", ke.group, ke.data.len()),
            Self::IdInitiator(id) | Self::IdResponder(id) => write!(f, "{kind}({})", id.identity),
            Self::Certificate(cert) => write!(f, "{kind}({}, {})", cert.encoding, cert.data.len()),
            Self::CertificateRequest(request) => {
                write!(
                    f,
                    "{kind}({}, {})",
                    request.encoding,
                    request.authorities.len()
                )
            }
            Self::Authentication(auth) => write!(f, "{kind}({}, {})", auth.method, auth.data.len()),
            Self::Nonce(octets) | Self::VendorId(octets) | Self::Eap(octets) => {
                write!(f, "{kind}({})", octets.len())
            }
            Self::Notify(notify) => write!(f, "{kind}({notify})"),
            Self::Delete(delete) => write!(f, "{kind}({delete})"),
            Self::TsInitiator(selectors) | Self::TsResponder(selectors) => {
                write!(f, "{kind}({})", Separated(selectors, ", "))
            }
            Self::Configuration(Configuration {
                kind: cfg,
                attributes,
            }) => {
                write!(f, "{kind}({cfg}, {} attributes)", attributes.len())
            }
        }
    }
}

impl Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        if !self.spi.is_empty() {
            write!(f, ", {} ", self.protocol)?;
            hexadecimal(f, &self.spi)?;
        }
        if self.data.is_empty() {
            Ok(())
        } else {
            write!(f, ", {}", self.data.len())
        }
    }
}

impl Display for Delete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ike => ProtocolId::IKE.fmt(f),
            Self::Esp(spis) => {
                write!(f, "{}", ProtocolId::ESP)?;
                spis.iter().try_for_each(|spi: &EspSpi| write!(f, " {spi}"))
            }
            Self::Other { protocol, spis } => write!(f, "{protocol}, {} SPIs", spis.len()),
        }
    }
}

impl Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.number)?;
        if !self.spi.is_empty() {
            write!(f, " {} ", self.protocol)?;
            hexadecimal(f, &self.spi)?;
        }
        self.transforms
            .iter()
            .try_for_each(|transform| write!(f, " {transform}"))
    }
}

/// The registry's name, with the key length, as in `AES_GCM_16-256`; a number that is in no name's
/// place reads `ENCR 99`. `?` marks an attribute that nobody knows.
impl Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.kind.additional_key_exchange();
        let kind = number.map_or(self.kind, |_| TransformType::KE);
        match (number, transform_name(kind, self.id)) {
            (None, Some(name)) => f.write_str(name)?,
            (Some(number), Some(name)) => {
                write!(f, "KE{number}_{}", name.trim_start_matches("KE_"))?;
            }
            (_, None) => write!(f, "{} {}", self.kind, self.id)?,
        }
        if let Some(bits) = self.key_bits {
            write!(f, "-{bits}")?;
        }
        if self.unknown_attribute {
            f.write_char('?')
        } else {
            Ok(())
        }
    }
}

impl Display for TransformType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ENCR => f.write_str("ENCR"),
            Self::PRF => f.write_str("PRF"),
            Self::INTEG => f.write_str("INTEG"),
            Self::KE => f.write_str("KE"),
            Self::ESN => f.write_str("ESN"),
            other => match other.additional_key_exchange() {
                Some(number) => write!(f, "ADDKE{number}"),
                None => write!(f, "transform type {}", other.0),
            },
        }
    }
}

/// `192.0.2.1[47]`, with the ports unless they are all of them: `192.0.2.1-192.0.2.9[6/80-81]`.
impl Display for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ip_protocol,
            start_port,
            end_port,
            start,
            end,
        } = *self;
        start.fmt(f)?;
        if end != start {
            write!(f, "-{end}")?;
        }
        match (start_port, end_port) {
            (0, u16::MAX) => write!(f, "[{ip_protocol}]"),
            (first, last) => write!(f, "[{ip_protocol}/{first}-{last}]"),
        }
    }
}

fn hexadecimal(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

/// What peers are known to offer, from IANA's registries; the names are strongSwan's, as in its
/// `swanctl --list-sas`. Whether we have the algorithm is another question.
const TRANSFORM_NAMES: &[(TransformType, u16, &str)] = &[
    (TransformType::ENCR, 2, "DES_CBC"),
    (TransformType::ENCR, 3, "3DES_CBC"),
    (TransformType::ENCR, 11, "NULL"),
    (TransformType::ENCR, 12, "AES_CBC"),
    (TransformType::ENCR, 13, "AES_CTR"),
    (TransformType::ENCR, 14, "AES_CCM_8"),
    (TransformType::ENCR, 15, "AES_CCM_12"),
    (TransformType::ENCR, 16, "AES_CCM_16"),
    (TransformType::ENCR, 18, "AES_GCM_8"),
    (TransformType::ENCR, 19, "AES_GCM_12"),
    (TransformType::ENCR, 20, "AES_GCM_16"),
    (TransformType::ENCR, 23, "CAMELLIA_CBC"),
    (TransformType::ENCR, 28, "CHACHA20_POLY1305"),
    (TransformType::PRF, 1, "PRF_HMAC_MD5"),
    (TransformType::PRF, 2, "PRF_HMAC_SHA1"),
    (TransformType::PRF, 4, "PRF_AES128_XCBC"),
    (TransformType::PRF, 5, "PRF_HMAC_SHA2_256"),
    (TransformType::PRF, 6, "PRF_HMAC_SHA2_384"),
    (TransformType::PRF, 7, "PRF_HMAC_SHA2_512"),
    (TransformType::PRF, 8, "PRF_AES128_CMAC"),
    (TransformType::INTEG, 0, "INTEG_NONE"),
    (TransformType::INTEG, 1, "HMAC_MD5_96"),
    (TransformType::INTEG, 2, "HMAC_SHA1_96"),
    (TransformType::INTEG, 5, "AES_XCBC_96"),
    (TransformType::INTEG, 8, "AES_CMAC_96"),
    (TransformType::INTEG, 12, "HMAC_SHA2_256_128"),
    (TransformType::INTEG, 13, "HMAC_SHA2_384_192"),
    (TransformType::INTEG, 14, "HMAC_SHA2_512_256"),
    (TransformType::KE, 0, "KE_NONE"),
    (TransformType::KE, 1, "MODP_768"),
    (TransformType::KE, 2, "MODP_1024"),
    (TransformType::KE, 5, "MODP_1536"),
    (TransformType::KE, 14, "MODP_2048"),
    (TransformType::KE, 15, "MODP_3072"),
    (TransformType::KE, 16, "MODP_4096"),
    (TransformType::KE, 17, "MODP_6144"),
    (TransformType::KE, 18, "MODP_8192"),
    (TransformType::KE, 19, "ECP_256"),
    (TransformType::KE, 20, "ECP_384"),
    (TransformType::KE, 21, "ECP_521"),
    (TransformType::KE, 28, "ECP_256_BP"),
    (TransformType::KE, 29, "ECP_384_BP"),
    (TransformType::KE, 30, "ECP_512_BP"),
    (TransformType::KE, 31, "CURVE_25519"),
    (TransformType::KE, 32, "CURVE_448"),
    (TransformType::KE, 35, "ML_KEM_512"),
    (TransformType::KE, 36, "ML_KEM_768"),
    (TransformType::KE, 37, "ML_KEM_1024"),
    (TransformType::ESN, 0, "NO_EXT_SEQ"),
    (TransformType::ESN, 1, "EXT_SEQ"),
];

fn transform_name(kind: TransformType, id: u16) -> Option<&'static str> {
    let row = TRANSFORM_NAMES
        .iter()
        .find(|row| (row.0, row.1) == (kind, id));
    row.map(|row| row.2)
}
