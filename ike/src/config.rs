//! What the caller tells an [`Endpoint`](crate::Endpoint): its peers and its limits. Validated
//! before it gets here, immutable afterwards.

use std::net::IpAddr;
use std::time::Duration;

use crate::identity::Identity;
use crate::proposal::{EspProposal, IkeProposal};
use crate::secret::Secret;

/// A peer's number, chosen by the caller; stable for the life of an [`Endpoint`](crate::Endpoint).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// Everything that one [`Endpoint`](crate::Endpoint) serves.
#[derive(Debug)]
pub struct Config {
    /// The peers, each with an id of its own.
    pub peers: Vec<PeerConfig>,
    /// Bounds on unauthenticated state.
    pub half_open: HalfOpenLimits,
}

/// Bounds on half-open responder state (RFC 7296 §2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HalfOpenLimits {
    /// From this many half-open IKE SAs on, every new initiator must return a cookie first. 0 asks
    /// always.
    pub cookies_from: usize,
    /// Never more half-open IKE SAs than this; the oldest one gives way.
    pub limit: usize,
}

impl Default for HalfOpenLimits {
    fn default() -> Self {
        Self {
            cookies_from: 30,
            limit: 1000,
        }
    }
}

/// One other endpoint.
#[derive(Debug)]
pub struct PeerConfig {
    /// The caller's number for it.
    pub id: PeerId,
    /// Where it may call from, until [`Command::Locate`](crate::event::Command::Locate) says
    /// otherwise; the address that we call is part of `Command::Connect`.
    pub remote: Remote,
    /// Who we say we are; `None`: our address on the path (`local-id = "auto"`).
    pub local_id: Option<Identity>,
    /// Who the peer must say it is.
    pub remote_id: RemoteId,
    /// The pre-shared key.
    pub psk: Secret,
    /// Another one, against quantum computers; `None`: there is none.
    pub ppk: Option<Ppk>,
    /// What we offer and accept for the IKE SA, best first. Never empty.
    pub ike_proposals: Vec<IkeProposal>,
    /// What we offer and accept for ESP, best first. Never empty.
    pub esp_proposals: Vec<EspProposal>,
    /// How requests are repeated.
    pub retransmit: Retransmit,
    /// Whether a failed attempt is followed by another.
    pub on_failure: OnFailure,
    /// Whether long messages are sent and taken in fragments (RFC 7383), if the peer agrees.
    pub fragmentation: bool,
    /// When ESP travels in UDP.
    pub encapsulation: UdpEncapsulation,
    /// How long an IKE SA lives. It is rekeyed some time before, chosen at random so that both ends
    /// seldom do it at once; what has not been rekeyed by then is deleted, and set up anew.
    pub ike_lifetime: Duration,
    /// The same for a CHILD_SA pair.
    pub child_lifetime: Duration,
    /// The peer is asked for a sign of life after so long without anything authenticated from it;
    /// `None`: never.
    pub dpd: Option<Duration>,
}

/// A post-quantum pre-shared key (RFC 8784). Unlike the other one it goes into the keys, so that whoever
/// breaks the key exchange one day does not have them.
#[derive(Debug)]
pub struct Ppk {
    /// What both ends call it.
    pub id: String,
    /// The key: 32 random octets or more (RFC 8784 §6).
    pub secret: Secret,
    /// Whether an IKE SA without it is refused.
    pub required: bool,
}

/// Where a peer may call from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// One of these addresses.
    At(Vec<IpAddr>),
    /// Anywhere: it is found by its identity, which has to be [`RemoteId::Is`]; else it is never
    /// found. It is never called.
    Anywhere,
}

impl Remote {
    /// The addresses that are known.
    pub(crate) fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::At(addresses) => addresses,
            Self::Anywhere => &[],
        }
    }
}

/// When ESP packets are put into UDP (RFC 3948).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UdpEncapsulation {
    /// Where there is a NAT on the way.
    #[default]
    Auto,
    /// As [`Auto`](Self::Auto), and where the peer's endpoint is of this crate and has `Faster` or
    /// `Always` too, which each tells the other by its vendor ID (RFC 7296 §3.12): for packet paths
    /// that are faster in UDP. With any other peer it is `Auto`. Between two of those the SAs go on when
    /// an address changes (RFC 4555).
    Faster,
    /// In any case: the peer is made to see a NAT on our side.
    Always,
    /// Not at all: there is no SA across a NAT.
    Never,
}

/// Which identity the peer has to prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteId {
    /// The peer's address on the path (`remote-id = "auto"`).
    Address,
    /// Exactly this one.
    Is(Identity),
    /// Whoever holds the key.
    Any,
}

/// The retransmission schedule: `first`, then each wait `factor` times the one before, `tries`
/// repetitions after the first transmission.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retransmit {
    /// Wait before the first repetition.
    pub first: Duration,
    /// Growth of the wait; at least 1.
    pub factor: f64,
    /// Repetitions after the first transmission.
    pub tries: u32,
}

impl Default for Retransmit {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            factor: 1.8,
            tries: 7,
        }
    }
}

/// What follows a failed attempt to set up the IKE SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Another attempt, for ever, with back-off up to 30 s.
    Retry,
    /// None: the caller hears of it and decides.
    Exit,
}
