#![forbid(unsafe_code)]
//! ESP packets and security associations, without I/O.
//!
//! Owns: sealing and opening of ESP packets in place (RFC 4303 with the AEADs of RFC 4106 and
//! RFC 7634, or with AES-CBC and an HMAC of RFC 3602, RFC 4868 and RFC 2404),
//! sequence numbers of 32 and of 64 bits (ESN), how much an SA may protect ([`Limits`]), and the
//! replay window.
//!
//! Not here: the outer IP or UDP header, what the payload means (GRE lives in its own crate), SA
//! negotiation and lifetimes in time, the lookup of an SA by SPI beyond [`peek_spi`], and
//! ESP without encryption.
//!
//! # Ownership
//! An inbound SA belongs to the one worker thread that uses it: what changes its state takes
//! `&mut self`. An outbound SA may be shared by several: [`OutboundSa::reserve`] takes `&self`, and is one
//! atomic step for a whole batch. There are no locks on the path of a packet.
//!
//! # Tokens
//! A nonce is used once: [`OutboundSa::seal`] consumes a [`Seq`], which only
//! [`OutboundSa::reserve`] makes. A packet is believed once: its octets are readable only from
//! [`InboundSa::commit`], which consumes an [`Opened`], which only [`InboundSa::open`] makes from
//! a [`Candidate`], which only [`InboundSa::candidate`] makes. Each token remembers its SA, and
//! every other SA refuses it.
//!
//! # Example
//! ```
//! use secure_gre_esp::{DEFAULT_WINDOW_PACKETS, InboundSa, Keys, OutboundSa, Spi, Suite, peek_spi};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! const GRE: u8 = 47;
//! let spi = Spi::try_from(0xc0ff_ee01)?;
//! let material = [7; Suite::Aes256Gcm16.key_material_len()]; // from IKE in earnest
//! let mut outbound = OutboundSa::new(Keys::new(Suite::Aes256Gcm16, spi, true, &material)?);
//! let mut inbound = InboundSa::new(
//!     Keys::new(Suite::Aes256Gcm16, spi, true, &material)?,
//!     DEFAULT_WINDOW_PACKETS,
//! );
//!
//! let message = b"hello through the tunnel";
//! let payload = OutboundSa::HEADROOM..OutboundSa::HEADROOM + message.len();
//! let mut buffer = vec![0; payload.end + outbound.trailer_len(message.len())];
//! buffer[payload.clone()].copy_from_slice(message);
//! for seq in outbound.reserve(1, message.len() as u64)? {
//!     let sealed = outbound.seal(seq, GRE, &mut buffer, payload.clone())?;
//!     let packet = &mut buffer[sealed];
//!
//!     assert_eq!(peek_spi(packet), Some(inbound.spi()));
//!     let candidate = inbound.candidate(packet)?;
//!     let opened = inbound.open(candidate, packet)?;
//!     let received = inbound.commit(opened)?;
//!     assert_eq!(received.next_header, GRE);
//!     assert_eq!(received.bytes, message);
//!     assert!(received.newest);
//! }
//! # Ok(())
//! # }
//! ```

/// The Next Header of a dummy packet, which is discarded without a word (RFC 4303 §2.6).
pub const NO_NEXT_HEADER: u8 = 59;

mod aead;
mod cbc;
mod cipher;
mod error;
mod header;
mod inbound;
mod keys;
mod lifetime;
mod outbound;
mod replay;
mod sequence;
mod suite;
mod trailer;

pub use error::{Drop, SealError};
pub use header::peek_spi;
pub use inbound::{Candidate, InboundSa, Opened, Payload};
pub use keys::{KeyError, Keys, ReservedSpi, Spi};
pub use lifetime::Limits;
pub use outbound::OutboundSa;
pub use replay::{DEFAULT_WINDOW_PACKETS, MAX_WINDOW_PACKETS, MIN_WINDOW_PACKETS};
pub use sequence::{Exhausted, Reservation, Seq};
pub use suite::{AesKey, Hmac, Overhead, Suite};
