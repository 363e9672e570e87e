//! What goes into an [`Endpoint`](crate::Endpoint) beside datagrams, and what comes out.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::config::{PeerId, Remote};
use crate::error::Failure;
use crate::identity::Identity;
use crate::proposal::{EspSuite, IkeSuite};
use crate::secret::Secret;

pub use crate::wire::EspSpi;

/// The outer addresses and ports that an IKE message takes. On port 4500 the caller adds and strips
/// the non-ESP marker (RFC 7296 §3.1); it is never part of the bytes here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
}

/// A CHILD_SA pair's number, unique for the life of an [`Endpoint`](crate::Endpoint).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u64);

/// The packet worker that a CHILD_SA belongs to. One today; RFC 9611 gives each worker its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerSlot(pub u16);

/// What the caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Set up an IKE SA with its CHILD_SA on this path, unless one is up or under way. Also the
    /// answer to [`Event::Reconnect`].
    Connect {
        /// Whom to call.
        peer: PeerId,
        /// From where to where; the remote port is 500.
        path: Path,
    },
    /// From here on the peer may call from there; also after [`Command::Disconnect`].
    Locate {
        /// Which peer.
        peer: PeerId,
        /// Where, in place of where it might before.
        remote: Remote,
    },
    /// Delete every SA with this peer and do not call it again. [`Event::Disconnected`] says when
    /// nothing is left.
    Disconnect {
        /// Whom to leave.
        peer: PeerId,
    },
    /// Forget every SA with this peer without a word: the path that they ran on is gone. What is
    /// wanted of the peer stays as it is; whoever has a new path sends [`Command::Connect`], whose
    /// INITIAL_CONTACT (RFC 7296 §2.4) makes the peer forget them too.
    Abandon {
        /// Whose SAs.
        peer: PeerId,
    },
    /// Replace this pair by one with fresh keys: a limit of its algorithm is near, or somebody wants
    /// it. Nothing happens where the pair is gone or already replaced.
    RekeyChild {
        /// Which pair.
        child: ChildId,
    },
    /// Replace the IKE SA with this peer, if there is one.
    RekeyIke {
        /// Whose.
        peer: PeerId,
    },
    /// An authenticated packet came in on the inbound SA of this pair: the peer has its half, so
    /// that packets may be sent on ours (RFC 7296 §2.8). Needed once for a pair whose
    /// [`Event::ChildOutbound`] has not come; harmless otherwise.
    ChildConfirmed {
        /// Which pair.
        child: ChildId,
    },
    /// An authenticated ESP packet of the peer's, newer than all before it, came from elsewhere than
    /// they are sent to (RFC 7296 §2.23). [`Event::Moved`] follows if that is to be believed.
    SeenAt {
        /// Of whom.
        peer: PeerId,
        /// To where and from where it came.
        path: Path,
    },
    /// Our address on the way to this peer is this one from here on. SAs for which both ends have agreed
    /// to it go on (RFC 4555, [`Endpoint::may_relocate`](crate::Endpoint::may_relocate)); others are
    /// forgotten as by [`Command::Abandon`].
    Relocate {
        /// To whom.
        peer: PeerId,
        /// Our address.
        local: IpAddr,
    },
    /// Ask the peer for a sign of life at once (RFC 7296 §2.4), if an IKE SA is up with it.
    CheckLiveness {
        /// Whom.
        peer: PeerId,
    },
    /// SAs that are set up with this peer from here on put ESP into UDP, as
    /// [`UdpEncapsulation::Always`](crate::config::UdpEncapsulation::Always) has it, or, without
    /// `force`, when its configuration says so. Those that stand go on as they are.
    ForceUdp {
        /// With whom.
        peer: PeerId,
        /// Whatever its configuration says.
        force: bool,
    },
    /// Authenticated ESP came from the peer since the last of these: it is alive (RFC 7296 §2.4).
    Heard {
        /// From whom.
        peer: PeerId,
    },
}

/// A command that does not fit; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No peer of the configuration has this id.
    #[error("no peer has the id {}", .0.0)]
    UnknownPeer(PeerId),
    /// This one may call from anywhere, so that there is nowhere to call it.
    #[error("the peer with the id {} is not called: it may call from anywhere", .0.0)]
    CalledFromAnywhere(PeerId),
    /// A peer of the configuration has this id already.
    #[error("there is a peer with the id {} already", .0.0)]
    DuplicatePeer(PeerId),
}

/// One step for the caller to perform; they are performed in the order in which they come.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram.
    Transmit(Transmit),
    /// Something happened.
    Event(Event),
    /// A message that was decoded or is about to leave, if that was asked for.
    Trace(Trace),
    /// Nothing more now; call `handle_timeout` at the deadline.
    Idle(Option<Deadline>),
}

/// A message in words, for whoever follows a negotiation: see
/// [`Endpoint::set_trace`](crate::Endpoint::set_trace).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The path that it came or goes on.
    pub path: Path,
    /// Whether it is ours.
    pub sent: bool,
    /// Exchange, message ID and payloads, also the encrypted ones; of keys, nonces and AUTH values the
    /// length only.
    pub message: String,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// From where to where.
    pub path: Path,
    /// The IKE message, without a non-ESP marker.
    pub payload: Vec<u8>,
}

/// When the endpoint wants to be called again, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// The instant.
    pub at: Instant,
    /// The reason, for whoever wonders why a loop spins.
    pub why: Timer,
}

/// Why an [`Endpoint`](crate::Endpoint) sets an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A request has had no answer yet (RFC 7296 §2.1).
    Retransmit,
    /// A responder's half-open IKE SA was never completed.
    HalfOpen,
    /// An unauthenticated refusal has been the only answer so far (RFC 7296 §2.21.1).
    Refusal,
    /// A closed IKE SA still repeats its last reply (RFC 7296 §2.1).
    Closed,
    /// The rest of a fragmented message has not come (RFC 7383 §2.6).
    Reassembly,
    /// The next attempt to set up an IKE SA.
    Reconnect,
    /// Nothing has been heard of the peer for a while (RFC 7296 §2.4).
    Liveness,
    /// An SA is to be rekeyed (RFC 7296 §2.8).
    Rekey,
    /// The peer has not gone on with a CREATE_CHILD_SA exchange (RFC 9370 §2.2.4).
    FollowUp,
    /// An SA that could not be rekeyed has to end.
    Lifetime,
    /// The peer has had time enough to install the pair that we as responder have made.
    Confirm,
    /// What was in flight on a replaced pair has arrived.
    Drain,
}

/// Keys and numbers of one direction of a CHILD_SA. Made once, moved to whoever protects packets.
#[derive(Debug)]
pub struct ChildKeys {
    /// The SPI in the packets of this direction.
    pub spi: EspSpi,
    /// Algorithm and ESN.
    pub suite: EspSuite,
    /// KEYMAT of this direction (RFC 7296 §2.17): for AES-GCM and ChaCha20-Poly1305 the key followed
    /// by the 4-octet salt (RFC 4106 §8.1, RFC 7634 §2), for AES-CBC the key followed by the HMAC's.
    pub key_material: Secret,
}

/// Something that the caller has to act on or may want to say.
#[derive(Debug)]
pub enum Event {
    /// An attempt begins: the first IKE_SA_INIT request of it follows.
    Connecting {
        /// Whom we call.
        peer: PeerId,
        /// On which path.
        path: Path,
    },
    /// The peer has proven who it is; an IKE SA is up.
    IkeUp {
        /// With whom.
        peer: PeerId,
        /// What was agreed on.
        details: IkeDetails,
    },
    /// As initiator we are about to offer this inbound SPI. A peer may send on it before its answer
    /// is here: such packets are worth holding until [`Event::ChildInbound`] brings the keys.
    ChildOffered {
        /// To whom.
        peer: PeerId,
        /// The SPI of an inbound SA that may come.
        spi: EspSpi,
    },
    /// Nothing has become of that offer.
    ChildOfferWithdrawn {
        /// With whom.
        peer: PeerId,
        /// The SPI of [`Event::ChildOffered`].
        spi: EspSpi,
    },
    /// Install this inbound SA before performing any later output.
    ChildInbound {
        /// With whom.
        peer: PeerId,
        /// Which pair.
        child: ChildId,
        /// Whose packets.
        slot: WorkerSlot,
        /// The keys.
        keys: ChildKeys,
    },
    /// Send on this SA from now on; older ones stay until their [`Event::ChildGone`]. Where the peer
    /// began the exchange that rekeys a pair, it comes when the peer has shown that it has the new
    /// pair, or has had the time for it (RFC 7296 §2.8).
    ChildOutbound {
        /// With whom.
        peer: PeerId,
        /// Which pair.
        child: ChildId,
        /// Whose packets.
        slot: WorkerSlot,
        /// The keys.
        keys: ChildKeys,
    },
    /// Forget both directions of this pair. Where an older pair is left, it carries the packets.
    ChildGone {
        /// With whom.
        peer: PeerId,
        /// Which pair.
        child: ChildId,
        /// Why.
        why: GoneReason,
    },
    /// The packets of all pairs go by another path from here on.
    Moved {
        /// With whom.
        peer: PeerId,
        /// The path.
        path: Path,
        /// Whether they are in UDP is as it was; whether a NAT is to be reminded of us may not be.
        encapsulation: Encapsulation,
    },
    /// The IKE SA was rekeyed (RFC 7296 §1.3.2): the new one has its pairs, which go on as they are.
    IkeRekeyed {
        /// With whom.
        peer: PeerId,
        /// What was agreed on.
        details: IkeDetails,
    },
    /// An SA could not be rekeyed; it stays until its lifetime is over.
    RekeyFailed {
        /// With whom.
        peer: PeerId,
        /// The pair; `None`: the IKE SA.
        child: Option<ChildId>,
        /// What went wrong, for a person.
        failure: Failure,
        /// When it is tried again; `None`: not before the SA ends.
        retry_in: Option<Duration>,
    },
    /// An established IKE SA has ended. `last` says whether any other is left with this peer.
    IkeDown {
        /// With whom.
        peer: PeerId,
        /// Why.
        why: GoneReason,
        /// No other established IKE SA is left with this peer.
        last: bool,
    },
    /// An attempt of ours has failed.
    AttemptFailed {
        /// With whom.
        peer: PeerId,
        /// What went wrong, for a person.
        failure: Failure,
        /// When the next attempt begins; `None`: never by itself.
        retry_in: Option<Duration>,
    },
    /// We refused an attempt of the peer's, or gave up on it.
    Refused {
        /// The peer, as far as its address tells.
        peer: PeerId,
        /// What went wrong, for a person.
        failure: Failure,
    },
    /// The same for somebody who has not said who it is, or is nobody that we know: it called from an
    /// address that is no peer's, while there are peers who may call from anywhere.
    StrangerRefused {
        /// From where.
        path: Path,
        /// What went wrong, for a person.
        failure: Failure,
    },
    /// Time for another attempt: find the peer's address again and send [`Command::Connect`].
    Reconnect {
        /// Whom to call.
        peer: PeerId,
    },
    /// After [`Command::Disconnect`]: no SA with this peer is left.
    Disconnected {
        /// Whom we left.
        peer: PeerId,
    },
}

impl Event {
    /// Whom it is about; `None`: a stranger.
    pub const fn peer(&self) -> Option<PeerId> {
        match self {
            Self::StrangerRefused { .. } => None,
            Self::Connecting { peer, .. }
            | Self::IkeUp { peer, .. }
            | Self::ChildOffered { peer, .. }
            | Self::ChildOfferWithdrawn { peer, .. }
            | Self::ChildInbound { peer, .. }
            | Self::ChildOutbound { peer, .. }
            | Self::ChildGone { peer, .. }
            | Self::Moved { peer, .. }
            | Self::IkeRekeyed { peer, .. }
            | Self::RekeyFailed { peer, .. }
            | Self::IkeDown { peer, .. }
            | Self::AttemptFailed { peer, .. }
            | Self::Refused { peer, .. }
            | Self::Reconnect { peer }
            | Self::Disconnected { peer } => Some(*peer),
        }
    }
}

/// Why an SA has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GoneReason {
    /// The peer deleted it (RFC 7296 §1.4.1).
    DeletedByPeer,
    /// We were told to disconnect.
    Disconnected,
    /// A request of ours got no answer, retransmissions included.
    NoAnswer,
    /// The peer started anew (INITIAL_CONTACT, RFC 7296 §2.4).
    Replaced,
    /// Both ends had initiated; the other SA stays (RFC 7296 §2.8.1's nonce rule).
    Redundant,
    /// The peer broke the protocol inside an authenticated message.
    PeerFault,
    /// The IKE SA under which the pair stood has lost its only pair, and is closed with it.
    Childless,
    /// We were told that its path is gone.
    Abandoned,
    /// Another pair has taken its place (RFC 7296 §1.3.3).
    Rekeyed,
    /// Its lifetime is over, and it could not be rekeyed.
    Expired,
}

/// What an IKE SA was agreed to be. Plain data, for people and for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IkeDetails {
    /// The path of its messages; on port 4500 where ESP is in UDP.
    pub path: Path,
    /// The initiator's SPI.
    pub spi_initiator: u64,
    /// The responder's SPI.
    pub spi_responder: u64,
    /// Whether we were the initiator.
    pub initiated: bool,
    /// The algorithms.
    pub suite: IkeSuite,
    /// Whether a post-quantum pre-shared key is in its keys (RFC 8784).
    pub ppk: bool,
    /// Who we said we are.
    pub local_id: Identity,
    /// Who the peer proved to be.
    pub remote_id: Identity,
    /// How the packets of its CHILD_SAs travel.
    pub encapsulation: Encapsulation,
    /// Why they are in UDP, if they are.
    pub udp_cause: Option<UdpCause>,
    /// Since when.
    pub since: Instant,
    /// When we rekey it, unless the peer does before.
    pub rekey_at: Instant,
}

/// How the ESP packets of CHILD_SAs travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// As IP protocol 50, between the addresses of the path.
    None,
    /// In UDP (RFC 3948), between the addresses and ports of the path.
    Udp {
        /// A NAT on our side has to be reminded of us (RFC 3948 §4).
        behind_nat: bool,
    },
}

/// Why ESP travels in UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UdpCause {
    /// We want it in any case.
    Wanted,
    /// There is a NAT on the path, or the peer makes us see one because it wants UDP.
    Nat,
    /// It is faster, and both ends are of this crate.
    Faster,
}

/// What one CHILD_SA pair was agreed to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildDetails {
    /// Its number.
    pub child: ChildId,
    /// Algorithm and ESN.
    pub suite: EspSuite,
    /// We receive on this one.
    pub inbound: EspSpi,
    /// The peer receives on this one.
    pub outbound: EspSpi,
    /// Since when.
    pub since: Instant,
    /// What it is used for.
    pub phase: ChildPhase,
    /// When we rekey it, unless the peer does before; `None`: it has a successor.
    pub rekey_at: Option<Instant>,
}

/// Where a pair is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildPhase {
    /// Packets are taken on it; until the peer has shown that it has it, ours leave on the one that
    /// it replaces.
    Arriving,
    /// Packets are sent and taken on it.
    Current,
    /// It has a successor: what is in flight on it is taken, then it goes.
    Draining,
}

/// What `status` shows of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSnapshot {
    /// Which peer.
    pub peer: PeerId,
    /// What it is doing, in one word.
    pub state: PeerState,
    /// Established IKE SAs with their pairs, newest last; normally one.
    pub established: Vec<(IkeDetails, Vec<ChildDetails>)>,
    /// When anything authenticated came from it last, while an IKE SA is up.
    pub heard: Option<Instant>,
    /// The last failed attempt, while nothing is up.
    pub last_failure: Option<Failure>,
}

/// What goes on with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerState {
    /// Nothing, and nothing is planned: only answering.
    Idle,
    /// An attempt is under way.
    Connecting,
    /// The next attempt waits for its time.
    Waiting,
    /// An IKE SA with a CHILD_SA is up.
    Established,
    /// SAs are being deleted.
    Closing,
}
