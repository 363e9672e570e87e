#![forbid(unsafe_code)]
//! GRE (RFC 2784, RFC 2890, RFC 7676) and what a tunnel owes the packets inside it, without I/O.
//!
//! | module | owns |
//! |---|---|
//! | [`header`] | the GRE header on the wire |
//! | [`ethernet`] | frames: where their IP packet is, VLAN tags, the FlowID |
//! | [`flow`] | which flow a passenger is of |
//! | [`destination`] | a Destination Options header before it |
//! | [`keys`] | which tunnel a packet is for |
//! | [`tunnel`] | one tunnel's two directions: checksums, sequence numbers, and which passengers may leave |
//! | [`checksum`] | the Internet checksum (RFC 1071) and its incremental update (RFC 1624) |
//! | [`keepalive`] | GRE keepalives: knowing, writing and counting them |
//! | [`probe`] | packets of our own: whether the peer lives, and the largest packet that the path takes |
//! | [`mtu`] | overhead arithmetic: how large a passenger fits the path |
//! | [`mss`] | TCP MSS clamping |
//! | [`icmp`] | "too big" answers to a passenger's sender |
//! | [`ttl`], [`df`] | TTL and DF of the outer header |
//! | [`tos`] | DSCP and ECN between the outer and the inner header (RFC 2983, RFC 6040) |
//!
//! Passengers are IP packets or Ethernet frames. Bytes come in as slices and go out in place; nothing
//! here allocates for a packet, reads a clock or panics on what the network sent. What is not carried
//! has a [`Drop`] that names the rule; the caller counts it.
//!
//! Not here: ESP and outer IP headers, whose sizes [`mtu::Envelope`] takes as plain numbers, and the
//! TTL of the passenger, which the kernel behind the TUN device decrements (RFC 2784 §3.1).

pub mod checksum;
pub mod destination;
pub mod df;
pub mod ethernet;
pub mod flow;
pub mod header;
pub mod icmp;
pub mod keepalive;
pub mod keys;
pub mod mss;
pub mod mtu;
pub mod probe;
pub mod tos;
pub mod ttl;
pub mod tunnel;

/// What IP and ESP call GRE in their Protocol and Next Header fields (RFC 2784 §2, RFC 7676 §2).
pub const IP_PROTOCOL: u8 = 47;

mod error;
mod ip;

pub use error::Drop;
pub use ethernet::Passengers;
pub use header::{Header, Protocol};
pub use keys::{FlowId, Key, Keys, Vsid};
pub use tunnel::{Config, Decapsulator, Delivery, Encapsulator, Packet};
