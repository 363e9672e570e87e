//! Identities of the two ends (RFC 7296 §3.5), as they are written in a file and sent on the wire.

use std::fmt;
use std::net::IpAddr;

/// The longest identity that we send or accept, in octets. DNS names end at 255; e-mail addresses
/// at 320; nothing honest is longer (SECURITY lesson 23).
pub const MAX_IDENTITY_OCTETS: usize = 320;

/// Who an endpoint says it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// ID_IPV4_ADDR or ID_IPV6_ADDR.
    Address(IpAddr),
    /// ID_FQDN: a name without a trailing dot or NUL.
    Fqdn(String),
    /// ID_RFC822_ADDR.
    Email(String),
    /// ID_KEY_ID: opaque octets.
    KeyId(Vec<u8>),
    /// Any other type that a peer may send; matches only `remote-id = "any"`.
    Other {
        /// The ID type.
        kind: u8,
        /// The octets.
        data: Vec<u8>,
    },
}

/// How the file writes them: an address, `fqdn.example`, `user@example`, `keyid:0x…`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Fqdn(name) | Self::Email(name) => write!(f, "{}", name.escape_debug()),
            Self::KeyId(octets) => write!(f, "keyid:0x{}", Hex(octets)),
            Self::Other { kind, data } => write!(f, "id type {kind} 0x{}", Hex(data)),
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}
