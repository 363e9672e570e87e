//! What a file means once it is read: a [`Peer`] with its [`Tunnel`]s, every default applied.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use secure_gre_gre::{df, keepalive, tos, ttl};
use secure_gre_ike::config::{
    HalfOpenLimits, OnFailure, Ppk, RemoteId, Retransmit, UdpEncapsulation,
};
use secure_gre_ike::identity::Identity;
use secure_gre_ike::proposal::{EspProposal, IkeProposal};
use secure_gre_ike::secret::Secret;

use crate::net::netlink::MAIN_TABLE;
use crate::net::prefix::Prefix;

/// One peer, ready to be served.
#[derive(Debug)]
pub struct Peer {
    /// What the user calls it: 1 to 64 of `[A-Za-z0-9._-]`.
    pub name: String,
    /// The name of the hub's file whose spoke it is.
    pub hub: Option<String>,
    /// Where it was read from.
    pub file: PathBuf,
    /// Its outer address.
    pub address: PeerAddress,
    /// Our outer address; `None`: the one that the kernel routes from.
    pub local: Option<IpAddr>,
    /// Who we say we are; `None`: our outer address.
    pub local_id: Option<Identity>,
    /// Who the peer must prove to be.
    pub remote_id: RemoteId,
    /// The pre-shared key, decoded.
    pub psk: Secret,
    /// The post-quantum pre-shared key, decoded.
    pub ppk: Option<Ppk>,
    /// Whether we call, or only answer.
    pub initiate: bool,
    /// Name of the network device that outer packets use; `None`: the routes decide.
    pub interface: Option<String>,
    /// Firewall mark of the outer packets.
    pub fwmark: Option<NonZeroU32>,
    /// Offered and accepted for the IKE SA, best first; never empty.
    pub ike_proposals: Vec<IkeProposal>,
    /// Offered and accepted for ESP, best first; never empty.
    pub esp_proposals: Vec<EspProposal>,
    /// How requests are repeated.
    pub retransmit: Retransmit,
    /// What follows a failed attempt.
    pub on_failure: OnFailure,
    /// Whether long IKE messages travel in fragments (RFC 7383).
    pub fragmentation: bool,
    /// When ESP travels in UDP.
    pub encapsulation: UdpEncapsulation,
    /// Bounds on unauthenticated state.
    pub half_open: HalfOpenLimits,
    /// How long the IKE SA lives; it is rekeyed before.
    pub ike_lifetime: Duration,
    /// After how long without a sign of life the peer is asked for one; `None`: never.
    pub dpd: Option<Duration>,
    /// How long a CHILD_SA pair lives; it is rekeyed before.
    pub child_lifetime: Duration,
    /// How many octets its outbound SA may protect; `None`: as many as its algorithm takes.
    pub child_bytes: Option<u64>,
    /// How many packets; `None`: as many as its sequence numbers and its algorithm take.
    pub child_packets: Option<u64>,
    /// Width of the anti-replay window (RFC 4303 §3.4.3), in packets; at least 64.
    pub replay_window_packets: u32,
    /// The GRE tunnels toward it, each with a key of its own; never empty.
    pub tunnels: Vec<Tunnel>,
    /// What is run when a tunnel begins and ends to carry packets.
    pub hooks: Hooks,
    /// Whether one thread carries the packets of all its tunnels, both ways, also under load.
    pub one_thread: bool,
}

/// Commands, each a program with its arguments; empty: none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// When a tunnel carries packets.
    pub up: Vec<String>,
    /// When it does not any more.
    pub down: Vec<String>,
}

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAddress {
    /// Here.
    Ip(IpAddr),
    /// Where this host name points to, at each attempt.
    Name(String),
    /// Anywhere: it calls, and is found by its identity.
    Any,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
            Self::Any => f.write_str("any"),
        }
    }
}

/// One GRE tunnel and its network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// Name of the device; `None`: the first free `sgreN`.
    pub device: Option<String>,
    /// Addresses of the device, with their host bits; never empty.
    pub addresses: Vec<Prefix>,
    /// The other end inside the tunnel; `None`: not known.
    pub peer_address: Option<IpAddr>,
    /// What is reached through the tunnel; networks, without host bits.
    pub routes: Vec<Prefix>,
    /// Number of the routing table that those routes are in.
    pub table: u32,
    /// Metric of those routes.
    pub metric: u32,
    /// Key, checksum and sequence numbers of its GRE headers.
    pub gre: secure_gre_gre::Config,
    /// TTL of the outer packets.
    pub ttl: ttl::Policy,
    /// DF of the outer packets.
    pub df: df::Policy,
    /// DSCP of the outer packets.
    pub tos: tos::Policy,
    /// MTU of the device, in octets; `None`: [`DEVICE_MTU`](secure_gre_gre::mtu::DEVICE_MTU), or what
    /// the path and the suite leave if that is less.
    pub mtu: Option<u16>,
    /// Whether the MSS of TCP connections through the tunnel is lowered to what fits.
    pub mss_clamp: bool,
    /// How often the peer is asked by GRE keepalives; `None`: never. Its own are answered.
    pub keepalive: Option<keepalive::Interval>,
    /// Name of the network namespace that the device is in; `None`: the daemon's own.
    pub netns: Option<String>,
    /// How often a peer that runs this program too is asked by probes; `None`: never. Its own are
    /// answered.
    pub liveness: Option<Duration>,
    /// Octets of passengers that may leave per second; `None`: as many as can.
    pub limit: Option<u64>,
    /// Whether packets pass the kernel many at a time, where it can: the device's and the wire's.
    pub offload: bool,
    /// How many threads carry the packets of its device; more than one only where packets may leave in
    /// any order and alike.
    pub workers: NonZeroUsize,
    /// How many queues its device has; as many as workers at least.
    pub queues: NonZeroUsize,
}

impl Tunnel {
    /// Whether IPv6 is to pass, by its addresses or routes: below 1280 octets the kernel takes both off a
    /// device (RFC 8200 §5).
    pub fn has_ipv6(&self) -> bool {
        let mut prefixes = self.addresses.iter().chain(&self.routes);
        prefixes.any(|prefix| prefix.addr().is_ipv6())
    }

    /// The subnets of its addresses. A lone address has none: nobody else is meant by it.
    pub fn subnets(&self) -> impl Iterator<Item = Prefix> {
        let addresses = self.addresses.iter();
        let subnets = addresses.filter(|address| **address != Prefix::host(address.addr()));
        subnets.map(Prefix::network)
    }

    /// A prefix that this tunnel and `other` cannot both lead to: the kernel has a subnet on one device
    /// only. Equal `routes` are no clash: metrics decide who carries.
    pub fn contested(&self, other: &Self) -> Option<Prefix> {
        if self.netns != other.netns {
            return None;
        }
        self.subnets()
            .find(|subnet| other.leads_to(*subnet))
            .or_else(|| other.subnets().find(|subnet| self.leads_to(*subnet)))
    }

    /// Whether it leads there in the main table, where the kernel has subnets.
    fn leads_to(&self, subnet: Prefix) -> bool {
        let routed = self.table == MAIN_TABLE && self.routes.contains(&subnet);
        routed || self.subnets().any(|own| own == subnet)
    }
}
