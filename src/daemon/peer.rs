//! One peer as the daemon serves it: its device on the host, its link in the data plane, its SAs. The
//! outer side is in [`way`], the SAs are in [`sas`], GRE keepalives in [`keepalive`], what went wrong in
//! [`trouble`].

mod keepalive;
mod moving;
mod sas;
mod trouble;
mod way;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secure_gre_esp::Spi;
use secure_gre_gre::keepalive::Prober;
use secure_gre_ike::algorithm::Cipher;
use secure_gre_ike::config::PeerId;
use secure_gre_ike::error::Failure;
use secure_gre_ike::event::ChildId;
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use self::trouble::{Beginning, Trouble};
use super::hooks::{Hooks, Variable};
use super::host::{Host, HostError};
use super::locate::LocateError;
use super::mtu::{LINK_MTU, device_mtu};
use crate::config::{self, PeerAddress};
use crate::dataplane::{Link, LinkCounters, Message, Note, StartError, WorkerError};
use crate::net::esp::{Overhead, Wire, WireError};
use crate::net::netlink::Netlink;
use crate::net::outer::{Path as OuterPath, Via};
use crate::net::prefix::Prefix;
use crate::net::tun::Queue;

/// How long an inbound SA outlives its deletion: packets of it may still be on their way, as
/// `ike::limits::DRAIN` has it for a pair that was rekeyed.
const RETIRE_AFTER: Duration = Duration::from_secs(5);

/// How often it is made sure that nobody has taken from the host what we put there.
const REPAIR_EVERY: Duration = Duration::from_secs(2);

/// How often it is looked whether the peer's packets have come in: as fine as liveness checks go.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

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
    config: config::Peer,
    host: Host,
    /// `None` after the device was deleted behind our back.
    queue: Option<Arc<Queue>>,
    channels: Channels,
    hooks: Hooks,
    /// From the moment that the way to the peer is known.
    link: Option<Outer>,
    /// What the links before it have counted.
    past: LinkCounters,
    /// Of the way to the peer, in octets, as far as it is known.
    path_mtu: u16,
    /// Addresses of the peer at which it was called in vain, since it was last reached.
    tried: Vec<IpAddr>,
    /// Pairs that carry packets, newest last.
    outbound: Vec<ChildId>,
    /// Asks the peer for signs of life, while SAs stand.
    prober: Option<Prober>,
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
    /// The failure that was last said, so that its advice is given once.
    advised: Option<Failure>,
    /// When a refusal of the peer's attempt may be said again.
    refusals_from: Option<Instant>,
    farewell_at: Option<Instant>,
    repair_at: Instant,
    /// What the link of the way takes, in octets; the path may take less.
    link_mtu: Option<u16>,
    /// There is no way to the peer, and that was said.
    stranded: bool,
    /// Routes of others into the tunnel that cover the peer.
    captures: Vec<Prefix>,
    /// What was said of the host.
    obstacles: Vec<String>,
}

/// Signs of life in ESP packets are looked for now and then, not packet by packet.
struct Pulse {
    listen_at: Instant,
    /// How many there were.
    authentic: u64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            listen_at: Instant::now(),
            authentic: 0,
        }
    }
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
    /// The inbound SAs that the link has.
    inbound: Vec<(ChildId, Spi)>,
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
    /// Puts the tunnel's device on the host; packets wait until the way is known.
    pub(super) async fn raise(
        id: PeerId,
        config: config::Peer,
        netlink: &Netlink,
        runtime_dir: &Path,
        channels: Channels,
        hooks: Hooks,
    ) -> Result<Self, HostError> {
        let mtu = device_mtu(&config, None, Overhead::MAX, LINK_MTU);
        let (host, queue) =
            Host::raise(netlink, runtime_dir, &config.name, &config.tunnel, mtu).await?;
        let addresses: Vec<_> = config
            .tunnel
            .addresses
            .iter()
            .map(Prefix::to_string)
            .collect();
        info!(
            "{}: device {} with {}, mtu {mtu}",
            config.name,
            host.device(),
            addresses.join(", ")
        );
        Ok(Self {
            id,
            config,
            host,
            queue: Some(Arc::new(queue)),
            channels,
            hooks,
            link: None,
            past: LinkCounters::default(),
            path_mtu: LINK_MTU,
            tried: Vec::new(),
            outbound: Vec::new(),
            prober: None,
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
            advised: None,
            refusals_from: None,
            farewell_at: None,
            repair_at: Instant::now() + REPAIR_EVERY,
            link_mtu: None,
            stranded: false,
            captures: Vec::new(),
            obstacles: Vec::new(),
        })
    }

    /// Takes the tunnel from the host. What could not be undone is said.
    pub(super) async fn lower(mut self) {
        self.tell_hooks(false);
        self.unlink();
        drop(self.queue);
        match self.host.lower().await {
            Ok(()) => info!("{}: down; the host is as it was", self.config.name),
            Err(problem) => error!("{}: not everything was undone: {problem}", self.config.name),
        }
    }

    /// Gives the tunnel up: nothing is carried, and its routes stay unreachable.
    pub(super) async fn abandon(mut self) {
        self.tell_hooks(false);
        self.unlink();
        drop(self.queue);
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

    pub(super) fn config(&self) -> &config::Peer {
        &self.config
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// What is to be resolved, and for which address of ours.
    pub(super) fn address(&self) -> (PeerAddress, Option<IpAddr>) {
        (self.config.address.clone(), self.config.local)
    }

    /// Our outer address and the peer's, once they are known.
    pub(super) fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        let path = self.link.as_ref()?.wire.path();
        Some((path.local.ip(), path.remote.ip()))
    }

    /// What outer packets are bound to, as far as that is known.
    pub(super) fn via(&self) -> Via {
        let outer = self.link.as_ref();
        outer.map_or(Via::default(), |outer| outer.wire.via())
    }

    /// Since the tunnel was raised.
    pub(super) fn counters(&self) -> LinkCounters {
        let mut counters = self.past.clone();
        if let Some(outer) = &self.link {
            counters.add(&outer.link.counters());
        }
        counters
    }

    /// Has the hook run that is for whether the tunnel carries packets.
    fn tell_hooks(&self, carries: bool) {
        self.hooks.tell(carries, || self.variables());
    }

    /// What a hook finds in its environment.
    fn variables(&self) -> Vec<Variable> {
        let tunnel = &self.config.tunnel;
        let or_empty = |value: Option<String>| value.unwrap_or_default();
        let joined = |prefixes: &[Prefix]| {
            let words: Vec<_> = prefixes.iter().map(Prefix::to_string).collect();
            words.join(" ")
        };
        let (local, remote) = self.addresses().unzip();
        vec![
            ("SECURE_GRE_PEER", self.config.name.clone()),
            ("SECURE_GRE_DEVICE", self.host.device().to_owned()),
            ("SECURE_GRE_MTU", self.host.mtu().to_string()),
            (
                "SECURE_GRE_KEY",
                or_empty(tunnel.gre.key.map(|key| key.to_string())),
            ),
            ("SECURE_GRE_ADDRESSES", joined(&tunnel.addresses)),
            ("SECURE_GRE_ROUTES", joined(&tunnel.routes)),
            (
                "SECURE_GRE_PEER_ADDRESS",
                or_empty(tunnel.peer_address.map(|address| address.to_string())),
            ),
            (
                "SECURE_GRE_LOCAL",
                or_empty(local.map(|address| address.to_string())),
            ),
            (
                "SECURE_GRE_REMOTE",
                or_empty(remote.map(|address| address.to_string())),
            ),
        ]
    }

    /// Stops the packet workers; what they have counted is kept.
    fn unlink(&mut self) {
        if let Some(outer) = self.link.take() {
            self.past.add(&outer.link.stop());
        }
    }

    /// Says that the next step is the peer's.
    pub(super) fn say_waiting(&self) {
        if let Some((_, remote)) = self.addresses() {
            info!("{}: waiting for {remote} to call", self.name());
        }
    }

    pub(super) fn initiates(&self) -> bool {
        self.config.initiate && self.farewell_at.is_none()
    }

    /// Puts back on the host what others have taken from it, when it is time to look.
    pub(super) async fn repair_due(&mut self, now: Instant) {
        if now < self.repair_at || self.is_parting() {
            return;
        }
        self.repair_at = now + REPAIR_EVERY;
        self.name_silence(now);
        let carries = self.is_usable();
        match self.host.repair(&self.config.tunnel, carries).await {
            Ok(repaired) if repaired.is_empty() => {}
            Ok(repaired) => warn!(
                "{}: someone had removed {}; put back",
                self.config.name,
                repaired.join(", ")
            ),
            Err(problem) => {
                self.repair_at = now + LOCATE_AGAIN_MAX;
                warn!("{}: {problem}", self.config.name);
            }
        }
    }

    /// Deals with news of the packet workers.
    pub(super) async fn on_note(&mut self, note: Note, now: Instant) -> Reaction {
        match note {
            Note::PathMtu(mtu) => {
                self.path_mtu = mtu;
                if let Err(problem) = self.follow_path_mtu().await {
                    error!("{}: {problem}", self.name());
                }
                Reaction::None
            }
            Note::Exhausted { sa } => self.used_up(ChildId(sa.0), true),
            Note::SoftLimit { sa } => self.used_up(ChildId(sa.0), false),
            Note::Elsewhere { path } => Reaction::SeenAt(path),
            Note::KeepaliveRequest(answer) => {
                self.answer(answer);
                Reaction::None
            }
            Note::KeepaliveAnswer => {
                self.on_answer().await;
                Reaction::None
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
                if matches!(error, WorkerError::Tun(_)) {
                    self.queue = None;
                }
                self.locate_at = Some(now + LOCATE_AGAIN);
                Reaction::Renew
            }
        }
    }

    /// Whether anybody wants to know of signs of life.
    const fn listens(&self) -> bool {
        self.config.dpd.is_some() && !self.outbound.is_empty()
    }

    /// Whether authentic packets have come since the last time it was looked for them, if it is time
    /// to look.
    pub(super) fn heard_since(&mut self, now: Instant) -> bool {
        if !self.listens() || now < self.pulse.listen_at {
            return false;
        }
        self.pulse.listen_at = now + LISTEN_EVERY;
        let authentic = self.counters().inbound.authentic;
        std::mem::replace(&mut self.pulse.authentic, authentic) != authentic
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

    /// To be located again, but not at once.
    pub(super) fn rest(&mut self, now: Instant) {
        self.locate_at = Some(now + LOCATE_AGAIN);
    }

    /// Whether it is to be located again in a while, so not at once.
    pub(super) const fn waits_to_be_located(&self) -> bool {
        self.locate_at.is_some()
    }

    pub(super) fn locate_due(&mut self, now: Instant) -> bool {
        self.locate_at.take_if(|at| *at <= now).is_some()
    }

    pub(super) fn farewell_due(&self, now: Instant) -> bool {
        self.farewell_at.is_some_and(|at| at <= now)
    }

    pub(super) fn next_alarm(&self) -> Option<Instant> {
        let repair_at = Some(self.repair_at).filter(|_| !self.is_parting());
        let listen_at = self.listens().then_some(self.pulse.listen_at);
        let alarms = [self.locate_at, self.farewell_at, repair_at, listen_at];
        alarms
            .into_iter()
            .flatten()
            .chain(self.prober.as_ref().map(Prober::next))
            .chain(self.retiring.values().copied())
            .min()
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
    /// This pair needs a successor.
    Rekey(ChildId),
    /// The peer uses this pair.
    Confirm(ChildId),
    /// The peer may be elsewhere.
    SeenAt(OuterPath),
    /// Set up new SAs on a new path; the old path is gone.
    Move,
    /// `on-failure = "exit"`.
    GiveUp,
}
