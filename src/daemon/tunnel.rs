//! One peer as the daemon serves it: its device on the host, its link in the data plane, its SAs.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secure_gre_esp as esp;
use secure_gre_gre::mtu::Envelope;
use secure_gre_ike::config::{OnFailure, PeerId, UdpEncapsulation};
use secure_gre_ike::error::Failure;
use secure_gre_ike::event::{ChildId, ChildKeys, GoneReason};
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use super::host::{Host, HostError};
use super::install;
use super::locate::{self, LocateError};
use super::obstacles;
use crate::config::{self, PeerAddress};
use crate::dataplane::{
    Link, LinkConfig, LinkCounters, Message, Note, SaId, StartError, WorkerError,
};
use crate::net::esp::{Overhead, Wire, WireError};
use crate::net::netlink::{Netlink, RouteInfo};
use crate::net::outer::{Encapsulation, NAT_TRAVERSAL_PORT, Path as OuterPath};
use crate::net::prefix::Prefix;
use crate::net::tun::Queue;

/// How long an inbound SA outlives its deletion: packets of it may still be on their way.
const RETIRE_AFTER: Duration = Duration::from_secs(5);

/// How often it is made sure that nobody has taken from the host what we put there.
const REPAIR_EVERY: Duration = Duration::from_secs(2);

/// How often a refusal is said.
const REFUSALS_EVERY: Duration = Duration::from_secs(10);

/// How long a peer that cannot be located, or whose packets nobody carries, is left alone: at first,
/// and at most, after failures that have each doubled it.
const LOCATE_AGAIN: Duration = Duration::from_secs(1);
const LOCATE_AGAIN_MAX: Duration = Duration::from_secs(30);

/// News from a tunnel's packet workers.
#[derive(Debug)]
pub(super) struct TunnelNote {
    pub(super) peer: PeerId,
    pub(super) note: Note,
}

/// What the packet workers say to the loop.
#[derive(Clone)]
pub(super) struct Channels {
    pub(super) notes: mpsc::UnboundedSender<TunnelNote>,
    /// IKE messages that came between ESP packets in UDP.
    pub(super) messages: mpsc::Sender<Message>,
}

/// See the module.
pub(super) struct Tunnel {
    id: PeerId,
    config: config::Peer,
    host: Host,
    /// `None` after the device was deleted behind our back.
    queue: Option<Arc<Queue>>,
    channels: Channels,
    /// From the moment that the way to the peer is known.
    link: Option<Outer>,
    /// What the links before it have counted.
    past: LinkCounters,
    /// Of the way to the peer, in octets, as far as it is known.
    path_mtu: u16,
    /// Which of a name's addresses is tried first.
    preferred: usize,
    /// Pairs that carry packets, newest last.
    outbound: Vec<ChildId>,
    /// Deleted pairs whose inbound SA may go at this time.
    retiring: BTreeMap<ChildId, Instant>,
    locate_at: Option<Instant>,
    /// How long to wait after the next failure to locate it.
    locate_wait: Duration,
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

/// The outer side: where the packets go, and who carries them.
struct Outer {
    wire: Arc<Wire>,
    link: Link,
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

impl Tunnel {
    /// Puts the tunnel's device on the host; packets wait until the way is known.
    pub(super) async fn raise(
        id: PeerId,
        config: config::Peer,
        netlink: &Netlink,
        runtime_dir: &Path,
        channels: Channels,
    ) -> Result<Self, HostError> {
        let mtu = device_mtu(&config, Overhead::MAX, LINK_MTU);
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
            link: None,
            past: LinkCounters::default(),
            path_mtu: LINK_MTU,
            preferred: 0,
            outbound: Vec::new(),
            retiring: BTreeMap::new(),
            locate_at: None,
            locate_wait: LOCATE_AGAIN,
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
        self.unlink();
        drop(self.queue);
        match self.host.lower().await {
            Ok(()) => info!("{}: down; the host is as it was", self.config.name),
            Err(problem) => error!("{}: not everything was undone: {problem}", self.config.name),
        }
    }

    /// Gives the tunnel up: nothing is carried, and its routes stay unreachable.
    pub(super) async fn abandon(mut self) {
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

    /// Since the tunnel was raised.
    pub(super) fn counters(&self) -> LinkCounters {
        let mut counters = self.past.clone();
        if let Some(outer) = &self.link {
            counters.add(&outer.link.counters());
        }
        counters
    }

    /// Stops the packet workers; what they have counted is kept.
    fn unlink(&mut self) {
        if let Some(outer) = self.link.take() {
            self.past.add(&outer.link.stop());
        }
    }

    /// Finds a way to one of the peer's addresses, and brings up what carries packets on it.
    pub(super) async fn reach_one_of(
        &mut self,
        addresses: &[IpAddr],
    ) -> Result<Reached, ReachError> {
        let mut outcome = Err(ReachError::NoAddress(self.config.address.clone()));
        let first = self.preferred.checked_rem(addresses.len()).unwrap_or(0);
        let (later, sooner) = addresses.split_at(first);
        for remote in sooner.iter().chain(later) {
            outcome = self.reach(*remote).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Finds the way to the peer, pins it, and brings up what carries packets on it.
    async fn reach(&mut self, remote: IpAddr) -> Result<Reached, ReachError> {
        let queue = self.queue().await?;
        let way = self.host.pin(remote, self.config.local).await?;
        let local = way.source;
        self.path_mtu = u16::try_from(way.mtu).unwrap_or(u16::MAX);
        self.link_mtu = Some(self.path_mtu);
        if self.addresses() == Some((local, remote)) {
            self.follow_path_mtu().await?;
        } else if self.outbound.is_empty() {
            // The workers of the old way have to let go of the device first.
            self.unlink();
            let (path, encapsulation) = self.first_wire(local, remote);
            self.start_link(queue, path, encapsulation).await?;
            debug!(
                "{}: packets go from {local} to {remote} by {}",
                self.name(),
                way.link_name
            );
        } else {
            return Ok(Reached::Elsewhere);
        }
        self.name_obstacles(&way);
        self.locate_at = None;
        self.locate_wait = LOCATE_AGAIN;
        Ok(Reached::Way { local, remote })
    }

    /// How packets will travel, as far as anybody can tell before IKE has looked for NATs.
    fn first_wire(&self, local: IpAddr, remote: IpAddr) -> (OuterPath, Encapsulation) {
        if self.config.encapsulation == UdpEncapsulation::Always {
            let path = OuterPath {
                local: SocketAddr::new(local, NAT_TRAVERSAL_PORT),
                remote: SocketAddr::new(remote, NAT_TRAVERSAL_PORT),
            };
            (path, Encapsulation::Udp { keepalives: false })
        } else {
            (locate::ike_path(local, remote), Encapsulation::None)
        }
    }

    async fn start_link(
        &mut self,
        queue: Arc<Queue>,
        path: OuterPath,
        encapsulation: Encapsulation,
    ) -> Result<(), ReachError> {
        let wire = Arc::new(Wire::new(path, encapsulation, self.config.tunnel.ttl)?);
        let (notes, peer) = (self.channels.notes.clone(), self.id);
        let tell = move |note| {
            // The loop is gone, and the link soon too.
            let _ = notes.send(TunnelNote { peer, note });
        };
        let messages = self.channels.messages.clone();
        let config = self.link_config();
        let link = Link::start(&config, queue, Arc::clone(&wire), tell, messages)?;
        self.link = Some(Outer { wire, link });
        Ok(self.follow_path_mtu().await?)
    }

    /// An IKE SA is up: the packets of its pairs travel like this, from before the first of them.
    pub(super) async fn travel(
        &mut self,
        path: OuterPath,
        encapsulation: Encapsulation,
    ) -> Result<(), ReachError> {
        let Some(outer) = &mut self.link else {
            return Ok(());
        };
        if outer.wire.is_like(path, encapsulation) {
            return Ok(());
        }
        let wire = Arc::new(Wire::new(path, encapsulation, self.config.tunnel.ttl)?);
        outer.link.rewire(Arc::clone(&wire));
        outer.wire = wire;
        Ok(self.follow_path_mtu().await?)
    }

    /// Says what on the host stands in the way, unless that was said.
    fn name_obstacles(&mut self, way: &RouteInfo) {
        let routes = &self.config.tunnel.routes;
        let found = obstacles::find(routes, self.host.device(), &way.link_name);
        for obstacle in found.iter().filter(|one| !self.obstacles.contains(one)) {
            warn!("{}: {obstacle}", self.name());
        }
        self.obstacles = found;
    }

    /// The host's addresses, links or routes have changed: packets follow the way that there is.
    pub(super) async fn follow(&mut self, now: Instant) -> Reaction {
        if self.is_parting() {
            return Reaction::None;
        }
        if self.locate_at.is_some() {
            self.locate_at = Some(now);
            return Reaction::None;
        }
        let Some((local, remote)) = self.addresses() else {
            return Reaction::None;
        };
        let way = match self.host.pin(remote, self.config.local).await {
            Ok(way) => way,
            Err(problem) => {
                if !self.stranded {
                    warn!("{}: {problem}; waiting for a way", self.name());
                }
                self.stranded = true;
                return Reaction::None;
            }
        };
        self.name_captures(remote, &way).await;
        if way.source != local {
            info!(
                "{}: our address is {} instead of {local}",
                self.name(),
                way.source
            );
            self.stranded = false;
            return Reaction::Move;
        }
        if std::mem::take(&mut self.stranded) {
            info!(
                "{}: there is a way to {remote} again, by {}",
                self.name(),
                way.link_name
            );
        }
        let path_mtu = u16::try_from(way.mtu).unwrap_or(u16::MAX);
        if self.link_mtu.replace(path_mtu) != Some(path_mtu) {
            self.path_mtu = path_mtu;
            if let Err(problem) = self.follow_path_mtu().await {
                error!("{}: {problem}", self.name());
            }
        }
        Reaction::None
    }

    /// Says once which routes of others would make the tunnel recursive.
    async fn name_captures(&mut self, remote: IpAddr, way: &RouteInfo) {
        let captures = match self.host.captures(remote).await {
            Ok(captures) => captures,
            Err(problem) => return error!("{}: {problem}", self.name()),
        };
        for prefix in captures
            .iter()
            .filter(|prefix| !self.captures.contains(prefix))
        {
            warn!(
                "{}: recursive routing: the route {prefix} through {} covers the peer {remote}; outer \
                 packets stay on {}, and the peer's side should not announce {prefix}",
                self.name(),
                self.host.device(),
                way.link_name
            );
        }
        self.captures = captures;
    }

    /// The device's queue; of a new device where the old one is gone.
    async fn queue(&mut self) -> Result<Arc<Queue>, HostError> {
        if let Some(queue) = &self.queue {
            return Ok(Arc::clone(queue));
        }
        let queue = Arc::new(self.host.replace_device(&self.config.tunnel).await?);
        info!(
            "{}: device {} is there again",
            self.config.name,
            self.host.device()
        );
        self.queue = Some(Arc::clone(&queue));
        Ok(queue)
    }

    fn link_config(&self) -> LinkConfig {
        let tunnel = &self.config.tunnel;
        let (reply_v4, reply_v6) = match tunnel.peer_address {
            Some(IpAddr::V4(address)) => (Some(address), None),
            Some(IpAddr::V6(address)) => (None, Some(address)),
            None => (None, None),
        };
        LinkConfig {
            gre: tunnel.gre,
            tos: tunnel.tos,
            mtu: self.host.mtu(),
            mss_clamp: tunnel.mss_clamp,
            reply_v4,
            reply_v6,
        }
    }

    /// The way to the peer is not known. Said, and tried again.
    pub(super) fn not_reached(&mut self, problem: &ReachError, now: Instant) -> Reaction {
        if self.config.on_failure == OnFailure::Exit {
            warn!("{}: {problem}", self.name());
            return Reaction::GiveUp;
        }
        let wait = self.locate_wait;
        warn!(
            "{}: {problem}; trying again in {} s",
            self.name(),
            wait.as_secs()
        );
        self.locate_at = Some(now + wait);
        self.locate_wait = (wait * 2).min(LOCATE_AGAIN_MAX);
        Reaction::None
    }

    /// Says why an attempt failed, and how to mend it unless that was said the last time. A peer with
    /// several addresses is called at another one next.
    pub(super) fn attempt_failed(&mut self, failure: Failure, retry_in: Option<Duration>) {
        self.preferred = self.preferred.wrapping_add(1);
        let retry = retry_in.map_or(String::new(), |wait| {
            format!("; trying again in {:.0} s", wait.as_secs_f64().max(1.0))
        });
        warn!("{}: {failure}{retry}", self.name());
        if self.advised.as_ref() != Some(&failure) {
            warn!("{}: to mend it: {}", self.name(), failure.advice());
            self.advised = Some(failure);
        }
    }

    /// Says why the peer's attempt was refused. Nothing authenticates such attempts, so that not each
    /// of them gets its line.
    pub(super) fn attempt_refused(&mut self, failure: &Failure, now: Instant) {
        if self.refusals_from.is_some_and(|from| now < from) {
            return;
        }
        self.refusals_from = Some(now + REFUSALS_EVERY);
        warn!("{}: refused the peer's attempt: {failure}", self.name());
        warn!("{}: to mend it: {}", self.name(), failure.advice());
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

    pub(super) fn install_inbound(&mut self, child: ChildId, keys: &ChildKeys) {
        let Some(outer) = &self.link else { return };
        match install::inbound(keys, self.config.replay_window_packets) {
            Ok(sa) => outer
                .link
                .install_inbound(SaId(child.0), sa, self.outbound.is_empty()),
            Err(problem) => error!("{}: inbound SA not installed: {problem}", self.name()),
        }
    }

    pub(super) async fn install_outbound(&mut self, child: ChildId, keys: &ChildKeys) {
        let Some(outer) = &self.link else { return };
        match install::outbound(keys) {
            Ok(sa) => outer.link.install_outbound(SaId(child.0), sa),
            Err(problem) => {
                return error!("{}: outbound SA not installed: {problem}", self.name());
            }
        }
        self.outbound.push(child);
        self.advised = None;
        if self.outbound.len() == 1 {
            self.carries(keys).await;
        }
    }

    /// The first pair stands: routes lead into the tunnel.
    async fn carries(&mut self, keys: &ChildKeys) {
        if let Err(problem) = self.host.open().await {
            error!("{}: the routes are not all usable: {problem}", self.name());
        }
        let routes: Vec<_> = self
            .config
            .tunnel
            .routes
            .iter()
            .map(Prefix::to_string)
            .collect();
        let routes = if routes.is_empty() {
            String::new()
        } else {
            format!(", routes {}", routes.join(", "))
        };
        info!(
            "{}: tunnel up on {}: ESP {} in transport mode{}, mtu {}{routes}",
            self.name(),
            self.host.device(),
            keys.suite,
            self.in_udp(),
            self.host.mtu(),
        );
    }

    /// What there is to say of the wire.
    fn in_udp(&self) -> &'static str {
        match &self.link {
            Some(outer) if outer.wire.overhead().udp > 0 => ", in UDP",
            _ => "",
        }
    }

    /// A pair is gone: nothing is sent on it any more; what the peer has sent is still taken for a
    /// while, unless we are leaving.
    pub(super) async fn remove(&mut self, child: ChildId, why: GoneReason, now: Instant) {
        // Without a link, the pair went with its workers.
        if let Some(outer) = &self.link {
            outer.link.remove_outbound(SaId(child.0));
            if why == GoneReason::Disconnected {
                outer.link.remove_inbound(SaId(child.0));
            } else {
                self.retiring.insert(child, now + RETIRE_AFTER);
            }
        }
        let carried = !self.outbound.is_empty();
        self.outbound.retain(|id| *id != child);
        if carried && self.outbound.is_empty() {
            if let Err(problem) = self.host.close().await {
                error!("{}: the routes are not all closed: {problem}", self.name());
            }
            info!("{}: tunnel down: its routes are unreachable", self.name());
        }
    }

    /// Puts back on the host what others have taken from it, when it is time to look.
    pub(super) async fn repair_due(&mut self, now: Instant) {
        if now < self.repair_at || self.is_parting() {
            return;
        }
        self.repair_at = now + REPAIR_EVERY;
        let carries = !self.outbound.is_empty();
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

    /// Lets go of inbound SAs whose time is over.
    pub(super) fn retire_due(&mut self, now: Instant) {
        let due: Vec<_> = self
            .retiring
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(child, _)| *child)
            .collect();
        for child in due {
            self.retiring.remove(&child);
            if let Some(outer) = &self.link {
                outer.link.remove_inbound(SaId(child.0));
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
            Note::Exhausted { .. } => {
                warn!("{}: an SA has used up its sequence numbers", self.name());
                Reaction::Renew
            }
            Note::SoftLimit { .. } => {
                info!(
                    "{}: an SA has used three quarters of its sequence numbers",
                    self.name()
                );
                Reaction::None
            }
            Note::FirstInbound { sa } => {
                debug!("{}: the peer sends on SA {}", self.name(), sa.0);
                Reaction::None
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

    /// The device's MTU follows the path's and the wire's, within the bounds of [`device_mtu`].
    async fn follow_path_mtu(&mut self) -> Result<(), HostError> {
        let Some(outer) = &self.link else {
            return Ok(());
        };
        let mtu = device_mtu(&self.config, outer.wire.overhead(), self.path_mtu);
        outer.link.set_mtu(mtu);
        if mtu != self.host.mtu() {
            info!(
                "{}: path MTU {}, so the device's is {mtu}",
                self.name(),
                self.path_mtu
            );
            self.host.set_mtu(mtu).await?;
        }
        Ok(())
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
        let alarms = [self.locate_at, self.farewell_at, repair_at];
        alarms
            .into_iter()
            .flatten()
            .chain(self.retiring.values().copied())
            .min()
    }
}

/// What [`Tunnel::reach_one_of`] has come to.
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
    /// Set up new SAs on a new path; the old path is gone.
    Move,
    /// `on-failure = "exit"`.
    GiveUp,
}

/// The MTU of a path before the route says otherwise: Ethernet's.
const LINK_MTU: u16 = 1500;

/// The least MTU that an IPv6 device may have (RFC 8200 §5), and IPv4's minimum reassembly size
/// (RFC 791). Nobody's news of the path, which nothing authenticates, gets below it (D50).
const LEAST_IPV6_MTU: u16 = 1280;
const LEAST_IPV4_MTU: u16 = 576;

/// The device's MTU for a path: the file's, or 1400; less if the path leaves less (DESIGN §5).
fn device_mtu(config: &config::Peer, overhead: Overhead, path_mtu: u16) -> u16 {
    let tunnel = &config.tunnel;
    let fits = envelope(config, overhead).passenger_mtu(path_mtu);
    let wanted = tunnel.mtu.unwrap_or(secure_gre_gre::mtu::DEVICE_MTU);
    let has_ipv6 = tunnel
        .addresses
        .iter()
        .any(|address| address.addr().is_ipv6());
    let least = if has_ipv6 {
        LEAST_IPV6_MTU
    } else {
        LEAST_IPV4_MTU
    };
    wanted.min(fits).max(least.min(wanted))
}

/// What is put around a passenger, by the offered suite that needs the most room.
fn envelope(config: &config::Peer, overhead: Overhead) -> Envelope {
    let gre_header = secure_gre_gre::Encapsulator::new(config.tunnel.gre).header_len();
    let suites = config
        .esp_proposals
        .iter()
        .flat_map(|proposal| proposal.encryptions());
    let overheads = suites.map(|encryption| install::suite(*encryption).overhead());
    let widest = overheads.max_by_key(|overhead| overhead.header + overhead.icv);
    let esp = widest.unwrap_or(esp::Suite::Aes256Gcm16.overhead());
    Envelope {
        outer_ip: overhead.ip,
        udp: overhead.udp,
        esp_header: esp.header,
        esp_icv: esp.icv,
        esp_alignment: esp.alignment,
        gre_header,
        link: 0,
    }
}
