//! The lines on the control socket, and the report that `status --json` prints. One set of types
//! for both ends. Nothing here can hold a key.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::net::netns::NetworkNamespace;

/// The version of this protocol. A daemon and a command of different versions do not talk.
pub const PROTOCOL_VERSION: u32 = 1;

/// The longest request, in octets, its line end included.
pub const MAX_REQUEST_OCTETS: usize = 64 * 1024;

/// The longest answer, in octets: room for some thousand peers.
pub const MAX_RESPONSE_OCTETS: usize = 16 * 1024 * 1024;

/// Who the daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Daemon {
    /// [`PROTOCOL_VERSION`] of the daemon.
    pub protocol: u32,
    /// Version of the program.
    pub version: String,
    /// Process id, in the daemon's own pid namespace.
    pub pid: u32,
    /// The network namespace that its sockets and devices are in.
    #[serde(with = "inode")]
    pub network_namespace: NetworkNamespace,
}

impl Daemon {
    /// This process.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn this() -> io::Result<Self> {
        Ok(Self {
            protocol: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            network_namespace: NetworkNamespace::current()?,
        })
    }
}

/// A namespace crosses the socket as the number of its inode.
mod inode {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::net::netns::NetworkNamespace;

    pub(super) fn serialize<S: Serializer>(
        namespace: &NetworkNamespace,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(namespace.inode())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<NetworkNamespace, D::Error> {
        u64::deserialize(deserializer).map(NetworkNamespace::from_inode)
    }
}

/// The first line to everyone who connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "greeting", rename_all = "kebab-case")]
pub enum Greeting {
    /// Requests are welcome.
    Welcome(Daemon),
    /// They are not; nothing follows.
    Refused(Refusal),
}

/// What a command asks of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "request",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Request {
    /// Report on one peer, or on all.
    Status {
        /// The peer's name, or that of a hub for all of its spokes; `None`: all.
        name: Option<String>,
    },
    /// Delete the SAs of one peer, or of all, and undo what was done to the host for them.
    /// Answered when that is done.
    Down {
        /// The peer's name, or that of a hub for all of its spokes; `None`: all.
        name: Option<String>,
    },
    /// Serve the peers of a file, which the daemon reads itself: keys never cross the socket. What
    /// is said of the peer meanwhile comes as [`Response::Said`]. A caller who hangs up before the
    /// last answer takes the peer down.
    Up {
        /// The file's absolute path.
        file: PathBuf,
        /// Until when the caller stays.
        until: Until,
        /// Rekey the first pair at once.
        test_rekey: bool,
    },
    /// Replace the keys of a peer's SA. Answered when that is done, or has failed.
    Rekey {
        /// The peer's name.
        name: String,
        /// Which SA.
        sa: SaKind,
    },
}

/// Which of a peer's SAs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaKind {
    /// The IKE SA (RFC 7296 §1.3.2).
    Ike,
    /// The CHILD_SA pair that carries packets (RFC 7296 §1.3.3).
    Child,
}

/// What the last answer to [`Request::Up`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// The tunnel carries packets ([`Response::Up`]), and was rekeyed if that is to be tested; a first
    /// failure is the last, and takes the peer down again.
    Carries,
    /// The peer is gone again ([`Response::Down`]).
    Gone,
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
pub enum Response {
    /// To [`Request::Status`].
    Status {
        /// In the order of their names.
        peers: Vec<PeerStatus>,
        /// As in [`StatusReport`].
        drops: BTreeMap<String, u64>,
    },
    /// To [`Request::Down`]: these peers are gone.
    Down {
        /// Their names.
        names: Vec<String>,
    },
    /// To [`Request::Up`]: a message about the peer; others follow.
    Said {
        /// How grave it is.
        level: Level,
        /// The line.
        text: String,
    },
    /// To [`Request::Up`]: the peer's tunnel carries packets.
    Up {
        /// The peer's name.
        name: String,
    },
    /// To [`Request::Up`]: the peers of the file are served, and there is nothing to wait for: they are
    /// to call, or some of them were served already.
    Served {
        /// The hub's name, or the peer's.
        name: String,
        /// How many are served in addition.
        more: usize,
        /// How many were before, and are as they were.
        kept: usize,
    },
    /// To [`Request::Rekey`]: the SA has fresh keys.
    Rekeyed {
        /// The peer's name.
        name: String,
        /// The algorithms, in the keywords of the file.
        suite: String,
    },
    /// To [`Request::Up`]: the peer was served, that failed, and it is gone again. To
    /// [`Request::Rekey`]: the SA stays as it was.
    Failed {
        /// The reason.
        problem: String,
    },
    /// Nothing was done.
    Refused(Refusal),
}

impl Response {
    /// Whether no other answer to the same request follows.
    pub const fn is_last(&self) -> bool {
        !matches!(self, Self::Said { .. })
    }
}

/// How grave a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A change of state.
    Info,
    /// Someone may have to act.
    Warning,
    /// Something is broken.
    Error,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Refusal {
    /// The line was no request of this version.
    #[error("the daemon does not understand the request: {problem}")]
    BadRequest {
        /// What is wrong with it.
        problem: String,
    },
    /// The daemon serves no peer of that name.
    #[error("no peer is called `{name}` here; there is {}", list(.known))]
    UnknownPeer {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// The file can't be used.
    #[error("{report}")]
    BadFile {
        /// What is wrong with it, with excerpts.
        report: String,
    },
    /// The file can be used, but not beside what is served, or not on this host.
    #[error("{problem}")]
    NotServed {
        /// The reason.
        problem: String,
    },
    /// There is no SA with the peer to do that with.
    #[error("{name} is not up: `secure-gre status {name}` says more")]
    NotUp {
        /// The peer's name.
        name: String,
    },
    /// The daemon is about to end and takes no more requests.
    #[error("the daemon is shutting down")]
    ShuttingDown,
    /// The caller's user may not speak to this daemon.
    #[error("user {uid} may not control this daemon; run the command as root")]
    NotPermitted {
        /// The caller's user id.
        uid: u32,
    },
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

/// The whole of `status --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusReport {
    /// Who reports.
    pub daemon: Daemon,
    /// Datagrams on the IKE ports that changed nothing, of all peers and of strangers, by the reason;
    /// reasons that never happened are absent.
    pub drops: BTreeMap<String, u64>,
    /// In the order of their names.
    pub peers: Vec<PeerStatus>,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PeerStatus {
    /// The name in its file.
    pub name: String,
    /// The hub whose spoke it is.
    pub hub: Option<String>,
    /// It may call from anywhere, and is found by its identity.
    pub from_anywhere: bool,
    /// What goes on with it.
    pub state: PeerState,
    /// Our outer address; `None` while no path is known.
    pub local_address: Option<IpAddr>,
    /// The peer's outer address; `None` while its name was not resolved.
    pub remote_address: Option<IpAddr>,
    /// What is known of its being alive.
    pub liveness: Liveness,
    /// The IKE SA in use.
    pub ike: Option<IkeStatus>,
    /// Its CHILD_SA pairs, newest last.
    pub children: Vec<ChildStatus>,
    /// Why the last attempt, of ours or of the peer's, failed while nothing is up; or the last rekey.
    pub last_failure: Option<String>,
    /// What to do about that.
    pub advice: Option<String>,
    /// What on this host, or between the two, stands in its way, each with what mends it, as of the
    /// last look.
    pub obstacles: Vec<String>,
    /// Packets from it that reached no tunnel, by the reason; reasons that never happened are absent.
    pub drops: BTreeMap<String, u64>,
    /// The largest outer packet that the path is known to take, in octets; `None` while nothing is up.
    pub path_mtu: Option<u16>,
    /// GRE keys that it sends and no tunnel has: the first few of them.
    pub strange_keys: Vec<StrangeKey>,
    /// Its GRE tunnels, in the order of its file.
    pub tunnels: Vec<TunnelStatus>,
}

/// What is known of a peer's being alive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Liveness {
    /// Since anything authentic came from it, IKE or ESP; `None` while nothing is up.
    pub heard_seconds: Option<u64>,
    /// After so long it is asked for a sign of life; `None`: never.
    pub checked_after_seconds: Option<u64>,
}

/// What goes on with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerState {
    /// Only answering: nothing is up and nothing is planned.
    Idle,
    /// An attempt is under way.
    Connecting,
    /// The next attempt waits for its time.
    Waiting,
    /// A CHILD_SA pair carries packets.
    Established,
    /// SAs are being deleted.
    Closing,
}

impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Waiting => "waiting",
            Self::Established => "established",
            Self::Closing => "closing",
        })
    }
}

/// One IKE SA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IkeStatus {
    /// The algorithms, in the keywords of the file.
    pub suite: String,
    /// Whether a post-quantum pre-shared key is in its keys.
    #[serde(default)]
    pub ppk: bool,
    /// Whether we were the initiator.
    pub initiator: bool,
    /// Who we said we are.
    pub local_id: String,
    /// Who the peer proved to be.
    pub remote_id: String,
    /// The initiator's SPI.
    pub spi_initiator: IkeSpi,
    /// The responder's SPI.
    pub spi_responder: IkeSpi,
    /// Since it came up.
    pub age_seconds: u64,
    /// Until we rekey it, unless the peer does before.
    pub rekey_seconds: u64,
}

/// One CHILD_SA pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChildStatus {
    /// The algorithms, in the keywords of the file.
    pub suite: String,
    /// IPsec mode.
    pub mode: Mode,
    /// What ESP travels in.
    pub encapsulation: Encapsulation,
    /// Why that is UDP, if it is.
    #[serde(default)]
    pub udp_cause: Option<UdpCause>,
    /// We receive on this one.
    pub spi_inbound: EspSpi,
    /// The peer receives on this one.
    pub spi_outbound: EspSpi,
    /// Since it came up.
    pub age_seconds: u64,
    /// Where it is in its life.
    pub phase: Phase,
    /// Until we rekey it, unless the peer does before, or its packets or bytes are used up; `None`: it
    /// has a successor.
    pub rekey_seconds: Option<u64>,
}

/// Where a pair is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Packets are taken on it; ours leave on the one before until the peer has shown that it has it.
    Arriving,
    /// Packets are sent and taken on it.
    Current,
    /// It has a successor: what is in flight on it is taken.
    Draining,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Arriving => "arriving",
            Self::Current => "current",
            Self::Draining => "draining",
        })
    }
}

/// IPsec mode (RFC 4301 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// ESP protects the GRE packet between the outer addresses.
    Transport,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport => f.pad("transport"),
        }
    }
}

/// What ESP packets travel in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encapsulation {
    /// IP protocol 50.
    None,
    /// UDP (RFC 3948).
    Udp,
}

impl fmt::Display for Encapsulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("none"),
            Self::Udp => f.pad("udp"),
        }
    }
}

/// Why ESP travels in UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UdpCause {
    /// `peer.encapsulation = "always"`.
    Wanted,
    /// There is a NAT on the path, or the peer wants UDP.
    Nat,
    /// It is faster, and both ends are secure-gre.
    Faster,
    /// IKE worked, and nothing came back by IP protocol 50.
    Fallback,
}

impl fmt::Display for UdpCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Wanted => "peer.encapsulation is \"always\"",
            Self::Nat => "there is a NAT on the path, or the peer asks for it",
            Self::Faster => "both ends are secure-gre, and it is faster",
            Self::Fallback => {
                "nothing came back by IP protocol 50; to begin with UDP, set peer.encapsulation = \"always\""
            }
        })
    }
}

/// One GRE tunnel and its device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TunnelStatus {
    /// The network device.
    pub device: String,
    /// The network namespace that the device is in, by its name; `None`: the daemon's own.
    pub netns: Option<String>,
    /// Its addresses with prefix lengths.
    pub addresses: Vec<String>,
    /// What passengers are.
    pub kind: Kind,
    /// The GRE key (RFC 2890 §2.1); `None`: it has none, or NVGRE's.
    pub key: Option<u32>,
    /// NVGRE's Virtual Subnet ID (RFC 7637 §3.2).
    pub vsid: Option<u32>,
    /// MTU of the device, in octets.
    pub mtu: u16,
    /// From the device to the peer.
    pub outbound: Traffic,
    /// From the peer to the device.
    pub inbound: Traffic,
    /// Packets of this tunnel that did not get through, by the reason; reasons that never happened are
    /// absent.
    pub drops: BTreeMap<String, u64>,
    /// What the peer makes of our GRE keepalives; `None`: it is not asked.
    pub keepalive: Option<Keepalive>,
    /// What the peer makes of our probes; `None`: it is not asked.
    pub liveness: Option<ProbedLiveness>,
}

/// What a peer makes of our probes, and how good the way to it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProbedLiveness {
    /// Whether it answers.
    pub verdict: Verdict,
    /// Of the last probes: how many stayed without an answer, per mille.
    pub loss_permille: u16,
    /// The smoothed round-trip time, in microseconds; `None` before the first answer.
    pub round_trip_micros: Option<u64>,
    /// How much one round trip differs from the next, in microseconds.
    pub jitter_micros: u64,
}

/// What is known of a peer that is asked by probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It has answered nothing so far: it may not be secure-gre.
    Unheard,
    /// It answers.
    Alive,
    /// It does not answer any more, so that nothing is routed to it.
    Dead,
}

/// What a tunnel's passengers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// IP packets.
    Ip,
    /// Ethernet frames.
    Ethernet,
}

/// What a peer makes of our GRE keepalives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keepalive {
    /// It answers.
    Alive,
    /// It has not answered so many in a row that nothing is routed to it.
    Dead,
}

/// A GRE key that the peer sends and no tunnel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StrangeKey {
    /// The key; `None`: its packets have none.
    pub key: Option<u32>,
    /// How many packets came with it.
    pub packets: u64,
}

/// What one direction has carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Passenger packets.
    pub packets: u64,
    /// Octets of those packets.
    pub bytes: u64,
}

/// An ESP SPI, written `0x` and 8 digits as other tools do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EspSpi(pub u32);

impl fmt::Display for EspSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

impl From<EspSpi> for String {
    fn from(spi: EspSpi) -> Self {
        spi.to_string()
    }
}

impl TryFrom<String> for EspSpi {
    type Error = NotAnSpi;

    fn try_from(text: String) -> Result<Self, NotAnSpi> {
        let digits = text.strip_prefix("0x").ok_or(NotAnSpi)?;
        u32::from_str_radix(digits, 16)
            .map(Self)
            .map_err(|_| NotAnSpi)
    }
}

/// An IKE SPI, written `0x` and 16 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IkeSpi(pub u64);

impl fmt::Display for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:016x}", self.0)
    }
}

impl From<IkeSpi> for String {
    fn from(spi: IkeSpi) -> Self {
        spi.to_string()
    }
}

impl TryFrom<String> for IkeSpi {
    type Error = NotAnSpi;

    fn try_from(text: String) -> Result<Self, NotAnSpi> {
        let digits = text.strip_prefix("0x").ok_or(NotAnSpi)?;
        u64::from_str_radix(digits, 16)
            .map(Self)
            .map_err(|_| NotAnSpi)
    }
}

/// A text that should have been `0x` and hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an SPI is 0x and hexadecimal digits")]
pub struct NotAnSpi;
