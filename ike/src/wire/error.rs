//! What is wrong with octets that a peer sent: copied around and counted, never with octets inside.

use super::header::Header;

/// Why a datagram is not an IKEv2 message (RFC 7296 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Shorter than the 28 octets of the header.
    #[error("shorter than an IKE header")]
    Truncated,
    /// The Length field is not the number of octets received, or beyond
    /// [`limits::MESSAGE_OCTETS`](crate::limits::MESSAGE_OCTETS).
    #[error("the length field says {claimed} octets, {received} were received")]
    Length {
        /// What the field says.
        claimed: u32,
        /// What arrived.
        received: usize,
    },
    /// A version from the future: may be answered with INVALID_MAJOR_VERSION (D5, RFC 7296 §2.5).
    #[error("major version {major}")]
    MajorVersion {
        /// The rest of the header, as version 2 has it, for the answer.
        header: Header,
        /// The version.
        major: u8,
    },
    /// IKEv1 or older, which is not answered: its header means other things.
    #[error("obsolete major version {0}")]
    ObsoleteVersion(u8),
}

/// Which rule the payloads of a message break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field reaches beyond what holds it, or a length does not even count its own octets.
    #[error("a length or field reaches beyond what holds it")]
    Truncated,
    /// Something holds more octets than its lengths and counts account for.
    #[error("octets that no length accounts for")]
    TrailingOctets,
    /// A variable part beyond its bound in [`limits`](crate::limits).
    #[error("a field longer than any honest one")]
    TooLong,
    /// More elements than the bound in [`limits`](crate::limits).
    #[error("more elements than any honest message has")]
    TooMany,
    /// An unknown payload type with the critical bit (D6, RFC 7296 §2.5): answered with
    /// UNSUPPORTED_CRITICAL_PAYLOAD.
    #[error("unknown critical payload {0}")]
    UnsupportedCritical(u8),
    /// An SK or SKF payload that is not the last, is inside another, or is where nothing may be
    /// encrypted (RFC 7296 §3.14).
    #[error("an SK payload in the wrong place")]
    MisplacedEncrypted,
    /// Pad Length says more octets than there are (RFC 7296 §3.14).
    #[error("more padding than octets")]
    Padding,
    /// An SA payload without a proposal, or a proposal without a transform (RFC 7296 §3.3).
    #[error("an SA payload or a proposal with nothing in it")]
    EmptyProposal,
    /// "Last Substruc" contradicts the lengths (RFC 7296 §3.3.1, §3.3.2).
    #[error("a proposal or transform that is last by one field and not by another")]
    LastSubstructure,
    /// A nonce outside 16 to 256 octets (D11, RFC 7296 §2.10).
    #[error("a nonce of {0} octets")]
    Nonce(usize),
    /// An ID payload without an identity.
    #[error("an empty identity")]
    EmptyIdentity,
    /// ID_IPV4_ADDR that is not 4 octets, or ID_IPV6_ADDR that is not 16 (RFC 7296 §3.5).
    #[error("an identity of type address with the wrong length")]
    IdentityAddress,
    /// SPIs of a size that the protocol does not have (RFC 7296 §3.11).
    #[error("SPIs of the wrong size or number for their protocol")]
    DeleteSpis,
    /// A TS payload without a selector (RFC 7296 §3.13).
    #[error("no traffic selector")]
    NoTrafficSelector,
    /// An address range that ends before it starts (RFC 7296 §3.13.1).
    #[error("a traffic selector whose addresses end before they start")]
    TrafficSelectorRange,
    /// An EAP message shorter than its header, or with a length of its own that differs from the
    /// payload's (RFC 7296 §3.16).
    #[error("an EAP message with the wrong length")]
    Eap,
}

/// Why an encrypted message was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No SK payload is found at the end of the message, or no SKF payload with possible numbers.
    /// Nothing authenticates it.
    #[error("nothing is encrypted")]
    NotEncrypted,
    /// The integrity check failed. Nothing authenticates the message.
    #[error("the integrity check failed")]
    Icv,
    /// The message is authentic and malformed: a fault of the peer's.
    #[error("authentic, but malformed")]
    Malformed(#[from] WireError),
}
