//! One peer as the daemon serves it: its tunnels, its link in the data plane, its SAs. The outer side is
//! in [`way`], the SAs are in [`sas`], each tunnel with its device in [`tunnel`], routes that would lead
//! a tunnel into itself in [`recursion`], a peer that moves in [`moving`], what routers say of the way in
//! [`news`], a peer whose ESP does not arrive in [`silence`], probes in [`probing`], what went wrong in
//! [`trouble`].

mod due;
mod moving;
mod news;
mod probing;
mod recursion;
mod sas;
mod silence;
mod trouble;
mod tunnel;
mod way;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use secure_gre_esp::Spi;
use secure_gre_ike::algorithm::Cipher;
use secure_gre_ike::config::PeerId;
use secure_gre_ike::error::Failure;
use secure_gre_ike::event::ChildId;
use tokio::sync::mpsc;
use tracing::{Span, debug, error, info, warn};

use self::due::Pulse;
use self::probing::{EchoTo, Probing};
use self::silence::{Beginning, Fallback};
use self::trouble::Trouble;
pub(super) use self::tunnel::Tunnel;
use super::hooks::Hooks;
use super::host::{Device, Host, HostError};
use super::journal::Records;
use super::locate::LocateError;
use super::mtu::PathMtu;
use crate::config::{self, PeerAddress};
use crate::dataplane::outbound::{Own, SharedSa};
use crate::dataplane::{Link, LinkCounters, Message, Note, StartError, TunnelId};
use crate::net::esp::{Wire, WireError};
use crate::net::netlink::{CoveringRoute, Netlink};
use crate::net::outer::{Path as OuterPath, Via};
use crate::telemetry::peer_span;

/// How often a refusal is said.
const REFUSALS_EVERY: Duration = Duration::from_secs(10);

/// How long a peer that cannot be located, or whose packets nobody carries, is left alone: at first,
/// and at most, after failures that have each doubled it.
const LOCATE_AGAIN: Duration = Duration::from_secs(1);
const LOCATE_AGAIN_MAX: Duration = Duration::from_secs(30);

/// News from a tunnel's packet workers.
#[derive(Debug)]
pub(super) struct PeerNote {
    pub(super) peer: PeerId,
    pub(super) note: Note,
}

/// What was found on the host to stand in a tunnel's way.
#[derive(Debug)]
pub(super) struct Obstacles {
    pub(super) peer: PeerId,
    pub(super) found: Vec<String>,
}

/// What the packet workers, and those who look beside the loop, say to it.
#[derive(Clone)]
pub(super) struct Channels {
    pub(super) notes: mpsc::UnboundedSender<PeerNote>,
    /// IKE messages that came between ESP packets in UDP.
    pub(super) messages: mpsc::Sender<Message>,
    pub(super) obstacles: mpsc::Sender<Obstacles>,
}

/// See the module.
pub(super) struct Peer {
    id: PeerId,
    span: Span,
    config: config::Peer,
    host: Host,
    /// By [`TunnelId`]; never empty.
    tunnels: Vec<Tunnel>,
    channels: Channels,
    /// From the moment that the way to the peer is known.
    outer: Option<Outer>,
    /// What the links before it have counted.
    past: LinkCounters,
    /// Of the way to the peer, as far as the host knows.
    path_mtu: PathMtu,
    /// Addresses of the peer at which it was called in vain, since it was last reached.
    tried: Vec<IpAddr>,
    /// Pairs that carry packets, newest last.
    outbound: Vec<ChildId>,
    /// What protects the newest pair's packets, from the first on.
    cipher: Option<Cipher>,
    /// The pair whose outbound SA may protect nothing more.
    exhausted: Option<ChildId>,
    /// The next pair is the first of an IKE SA that was not rekeyed: the peer may have started anew.
    begun_anew: bool,
    /// Signs of life of the peer in ESP packets.
    pulse: Pulse,
    /// Deleted pairs whose inbound SA may go at this time.
    retiring: BTreeMap<ChildId, Instant>,
    locate_at: Option<Instant>,
    /// How long to wait after the next failure to locate it.
    locate_wait: Duration,
    /// What `status` shows of it.
    trouble: Option<Trouble>,
    rekey_trial: RekeyTrial,
    /// Since when, without a gap, pairs have stood.
    begun: Option<Beginning>,
    /// What has followed from ESP without an answer.
    fallback: Fallback,
    /// The failure that was last said, so that its advice is given once.
    advised: Option<Failure>,
    /// When a refusal of the peer's attempt may be said again.
    refusals_from: Option<Instant>,
    farewell_at: Option<Instant>,
    /// What could not be put back on the host is tried again then.
    repair_from: Option<Instant>,
    /// Why there is no way to the peer, which was said.
    stranded: Option<String>,
    /// While pairs stand.
    probing: Option<Probing>,
    /// Where a peer that does not know probes is asked.
    echo: Option<EchoTo>,
    /// Routes of others into a tunnel that cover the peer.
    covering: Vec<CoveringRoute>,
    /// What was said of the host.
    obstacles: Vec<String>,
}

/// Whether the first pair is rekeyed at once, to see whether that works (PAINS 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RekeyTrial {
    None,
    /// When the first pair stands.
    Planned,
    Running,
}

/// The outer side: where the packets go, and who carries them.
struct Outer {
    wire: Arc<Wire>,
    link: Link,
    /// The SAs that the link has.
    inbound: Vec<(ChildId, Spi)>,
    outbound: Vec<(ChildId, Weak<SharedSa>)>,
}

/// Why packets cannot get to the peer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReachError {
    #[error(transparent)]
    Locate(#[from] LocateError),
    #[error("peer.address: {0} has no address of the IP version of peer.local")]
    NoAddress(PeerAddress),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Workers(#[from] StartError),
}

impl ReachError {
    fn advice(&self) -> Option<String> {
        match self {
            Self::Locate(LocateError::Resolve { name, .. }) => Some(format!(
                "make \"getent ahosts {name}\" print an address, or write the address into peer.address; \
                 the name is looked up anew at each attempt"
            )),
            _ => None,
        }
    }
}

impl Peer {
    /// Puts the tunnels' devices on the host; packets wait until the way is known. `hooks` are the
    /// tunnels', in their order.
    pub(super) async fn raise(
        id: PeerId,
        config: config::Peer,
        netlink: &Netlink,
        records: &Records,
        channels: Channels,
        hooks: Vec<Hooks>,
    ) -> Result<Self, HostError> {
        let mut host = Host::raise(netlink, records, &config.name, &config.tunnels).await?;
        let mut tunnels = Vec::with_capacity(config.tunnels.len());
        for (place, hooks) in hooks.into_iter().enumerate() {
            match Tunnel::raise(TunnelId(place), &config, &mut host, hooks).await {
                Ok(tunnel) => tunnels.extend(tunnel),
                Err(problem) => {
                    // The devices go with their queues. What went wrong first is what to say.
                    drop(tunnels);
                    let _ = host.lower().await;
                    return Err(problem);
                }
            }
        }
        let echo = EchoTo::find(&config.tunnels);
        Ok(Self {
            id,
            span: peer_span(&config.name),
            config,
            host,
            tunnels,
            channels,
            outer: None,
            past: LinkCounters::default(),
            path_mtu: PathMtu::default(),
            tried: Vec::new(),
            outbound: Vec::new(),
            cipher: None,
            exhausted: None,
            begun_anew: false,
            pulse: Pulse::default(),
            retiring: BTreeMap::new(),
            locate_at: None,
            locate_wait: LOCATE_AGAIN,
            trouble: None,
            rekey_trial: RekeyTrial::None,
            begun: None,
            fallback: Fallback::default(),
            advised: None,
            refusals_from: None,
            farewell_at: None,
            repair_from: None,
            stranded: None,
            probing: None,
            echo,
            covering: Vec::new(),
            obstacles: Vec::new(),
        })
    }

    /// Takes the tunnels from the host. What could not be undone is said.
    pub(super) async fn lower(mut self) {
        self.close().await;
        self.unlink();
        drop(self.tunnels);
        match self.host.lower().await {
            Ok(()) => info!("{}: down; the host is as it was", self.config.name),
            Err(problem) => error!("{}: not everything was undone: {problem}", self.config.name),
        }
    }

    /// Gives the peer up: nothing is carried, and the tunnels' routes stay unreachable.
    pub(super) async fn abandon(mut self) {
        self.close().await;
        self.unlink();
        drop(self.tunnels);
        let name = self.config.name;
        if let Err(problem) = self.host.abandon().await {
            error!("{name}: not everything was undone: {problem}");
        }
        warn!(
            "{name}: its routes stay unreachable until `secure-gre down {name}`, or the next `up`"
        );
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    /// Where messages about it belong.
    pub(super) const fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn config(&self) -> &config::Peer {
        &self.config
    }

    /// By [`TunnelId`].
    pub(super) fn tunnels(&self) -> &[Tunnel] {
        &self.tunnels
    }

    fn devices(&self) -> Vec<&Device> {
        self.tunnels.iter().map(Tunnel::device).collect()
    }

    /// What is to be resolved, and for which address of ours.
    pub(super) fn address(&self) -> (PeerAddress, Option<IpAddr>) {
        (self.config.address.clone(), self.config.local)
    }

    /// Our outer address and the peer's, once they are known.
    pub(super) fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        let path = self.outer.as_ref()?.wire.path();
        Some((path.local.ip(), path.remote.ip()))
    }

    /// What outer packets are bound to, as far as that is known.
    pub(super) fn via(&self) -> Via {
        let outer = self.outer.as_ref();
        outer.map_or(Via::default(), |outer| outer.wire.via())
    }

    /// Since the peer is served.
    pub(super) fn counters(&self) -> LinkCounters {
        let mut counters = self.past.clone();
        if let Some(outer) = &self.outer {
            counters.add(&outer.link.counters());
        }
        counters
    }

    /// Routes lead into the tunnels through which packets go, as far as anybody knows.
    async fn open(&mut self) {
        let addresses = self.addresses();
        for tunnel in &mut self.tunnels {
            tunnel.open(addresses).await;
        }
    }

    /// Routes lead into no tunnel any more.
    async fn close(&mut self) {
        let addresses = self.addresses();
        for tunnel in &mut self.tunnels {
            tunnel.close(addresses).await;
        }
    }

    /// Stops the packet workers; what they have counted is kept.
    fn unlink(&mut self) {
        if let Some(outer) = self.outer.take() {
            self.past.add(&outer.link.stop());
        }
    }

    /// Says that the next step is the peer's.
    pub(super) fn say_waiting(&self) {
        if self.calls_from_anywhere() {
            info!("{}: waiting for its call", self.name());
        } else if let Some((_, remote)) = self.addresses() {
            info!("{}: waiting for {remote} to call", self.name());
        }
    }

    /// Whether it is found by its identity, wherever it is.
    pub(super) fn calls_from_anywhere(&self) -> bool {
        self.config.address == PeerAddress::Any
    }

    pub(super) fn initiates(&self) -> bool {
        self.config.initiate && self.farewell_at.is_none()
    }

    /// Deals with news of the packet workers.
    pub(super) async fn on_note(&mut self, note: Note, now: Instant) -> Reaction {
        match note {
            Note::Exhausted { sa } => self.used_up(ChildId(sa.0), true),
            Note::SoftLimit { sa } => self.used_up(ChildId(sa.0), false),
            Note::Elsewhere { path } => Reaction::SeenAt(path),
            Note::KeepaliveRequest { tunnel, answer } => {
                if let Some(outer) = &self.outer {
                    outer.link.send(tunnel, Own::Gre(answer));
                }
                Reaction::None
            }
            Note::KeepaliveAnswer { tunnel } => {
                let addresses = self.addresses();
                if let Some(tunnel) = self.tunnels.get_mut(tunnel.0) {
                    tunnel.on_answer(addresses).await;
                }
                Reaction::None
            }
            Note::Probe(probe) => {
                self.on_probe(probe, now).await;
                Reaction::None
            }
            Note::EchoAnswer { sequence, size } => {
                self.on_echo_answer(sequence, size, now).await;
                Reaction::None
            }
            Note::DeviceGone { tunnel, error } => {
                if let Some(tunnel) = self.tunnels.get_mut(tunnel.0) {
                    tunnel.device_gone(&error, now);
                }
                Reaction::Repair
            }
            Note::SegmentationLost => {
                info!(
                    "{}: the kernel does not cut large messages on this way to the peer, so that \
                     packets are sent one by one",
                    self.name()
                );
                Reaction::None
            }
            Note::FirstInbound { sa } => {
                debug!("{}: the peer sends on SA {}", self.name(), sa.0);
                Reaction::Confirm(ChildId(sa.0))
            }
            Note::WorkerFailed { error, .. } => {
                error!("{}: {error}", self.name());
                self.unlink();
                self.locate_at = Some(now + LOCATE_AGAIN);
                Reaction::Renew
            }
        }
    }

    /// Begins to leave; `false` if that has begun.
    pub(super) fn part(&mut self, deadline: Instant) -> bool {
        let first = self.farewell_at.is_none();
        if first {
            self.farewell_at = Some(deadline);
            self.locate_at = None;
        }
        first
    }

    pub(super) fn is_parting(&self) -> bool {
        self.farewell_at.is_some()
    }
}

/// What [`Peer::reach_one_of`] has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// Packets can pass.
    Way {
        /// From this address of ours.
        local: IpAddr,
        /// To this one of the peer's.
        remote: IpAddr,
    },
    /// One of the outer addresses has changed, and SAs stand that are bound to the old ones.
    Elsewhere,
}

/// What news of a tunnel ask of the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    None,
    /// Set up new SAs.
    Renew,
    /// A device is gone, and with it routes that other tunnels share: put them back.
    Repair,
    /// This pair needs a successor.
    Rekey(ChildId),
    /// The peer uses this pair.
    Confirm(ChildId),
    /// See by IKE whether the peer is there.
    CheckLiveness,
    /// Put ESP into UDP in SAs from here on, `renew`: and set them up at once.
    InUdp {
        renew: bool,
    },
    /// The peer may be elsewhere.
    SeenAt(OuterPath),
    /// Our address is another one: take the SAs there, or set up new ones.
    Relocate {
        local: IpAddr,
    },
    /// Set up new SAs on a new path; the old path is gone.
    Move,
    /// `on-failure = "exit"`.
    GiveUp,
}
