//! IKEv2 messages between octets and values (RFC 7296 §3, SK with RFC 5282, SKF with RFC 7383).
//!
//! One file per payload, over a bounded reader and its mirror image. Every parser takes any octets
//! without a panic and holds no more than [`limits`](crate::limits) says. Lengths and counts have to
//! agree exactly; reserved fields are ignored (D5). What a payload *means* (whether a proposal suits,
//! an AUTH value is right, a selector wide enough) is not here, nor are keys: the SK payload is
//! opened and sealed with a cipher of [`crypto::cipher`](crate::crypto::cipher), and fragments are put
//! together elsewhere.

mod auth;
mod cert;
mod cp;
mod delete;
pub mod display;
mod eap;
mod error;
mod header;
mod id;
mod ke;
mod message;
mod nonce;
mod notify;
mod payload;
mod reader;
mod sa;
mod sk;
mod ts;
mod vendor;
mod writer;

#[cfg(test)]
mod tests;

pub use self::auth::{AuthMethod, Authentication};
pub use self::cert::{Certificate, CertificateRequest};
pub use self::cp::{Configuration, ConfigurationAttribute};
pub use self::delete::Delete;
pub use self::error::{HeaderError, OpenError, WireError};
pub use self::header::{EspSpi, ExchangeType, Header, IkeSpi};
pub use self::id::Identification;
pub use self::ke::KeyExchange;
pub use self::message::{Datagram, Inner, encode, parse_inner, seal, seal_within};
pub use self::notify::{Notify, NotifyType};
pub use self::payload::{Payload, PayloadType};
pub use self::sa::{Proposal, ProtocolId, Transform, TransformType};
pub use self::sk::{Fragment, Place};
pub use self::ts::TrafficSelector;
pub(crate) use self::vendor::FASTER_IN_UDP;
