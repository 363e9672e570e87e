//! The report that `status --json` prints: one type per part of it.

mod routes;
mod spi;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::routes::{PathState, PathStatus, RouteStatus};
pub use self::spi::{EspSpi, IkeSpi, NotAnSpi};
use super::Daemon;

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
    /// The prefixes that lead into their tunnels, with the paths by other peers that they have.
    pub routes: Vec<RouteStatus>,
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
    pub kind: Passengers,
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
pub enum Passengers {
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
