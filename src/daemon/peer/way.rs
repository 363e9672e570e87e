//! The outer side of a tunnel: the way to the peer, the wire on it, and the MTU that it leaves.
//!
//! A tunnel is *located* (addresses of the peer), *reached* (a way is found and pinned, workers run),
//! and, once IKE has found out how packets travel, its wire is laid for that. It *follows* the host
//! when addresses and routes change.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use secure_gre_gre::ttl;
use secure_gre_ike::config::{OnFailure, UdpEncapsulation};
use tracing::{debug, error, info, warn};

use super::trouble::Trouble;
use super::{
    LOCATE_AGAIN, LOCATE_AGAIN_MAX, Obstacles, Outer, Peer, PeerNote, ReachError, Reached,
    Reaction, Tunnel,
};
use crate::daemon::host::HostError;
use crate::daemon::mtu::{PathMtu, device_mtu};
use crate::daemon::{locate, obstacles};
use crate::dataplane::{Link, Threads};
use crate::net::esp::{Wire, WireError};
use crate::net::netlink::{Look, RouteInfo};
use crate::net::outer::{Encapsulation, NAT_TRAVERSAL_PORT, Path as OuterPath, Via};
use crate::net::prefix::Prefix;

impl Peer {
    /// Finds a way to one of the peer's addresses, and brings up what carries packets on it.
    pub(in crate::daemon) async fn reach_one_of(
        &mut self,
        addresses: &[IpAddr],
    ) -> Result<Reached, ReachError> {
        let mut look = self.host.look();
        let mut outcome = Err(ReachError::NoAddress(self.config.address.clone()));
        for remote in self.in_turn(addresses) {
            outcome = self.reach(&mut look, remote).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// The address on which SAs stand first, then those at which the peer was not called yet.
    fn in_turn(&mut self, addresses: &[IpAddr]) -> Vec<IpAddr> {
        self.tried.retain(|tried| addresses.contains(tried));
        if addresses.iter().all(|address| self.tried.contains(address)) {
            self.tried.clear();
        }
        let current = self.addresses().map(|(_, remote)| remote);
        let standing = current.filter(|_| !self.outbound.is_empty());
        let mut addresses = addresses.to_vec();
        addresses.sort_by_key(|address| (standing != Some(*address), self.tried.contains(address)));
        addresses
    }

    /// Finds the way to the peer, pins it, and brings up what carries packets on it.
    async fn reach(&mut self, look: &mut Look, remote: IpAddr) -> Result<Reached, ReachError> {
        let (via, way) = self.find_way(look, remote).await?;
        let local = way.source;
        self.path_mtu.take_link(way.mtu);
        if self.addresses() == Some((local, remote)) && self.via() == via {
            self.follow_path_mtu().await;
        } else if self.outbound.is_empty() {
            // The workers of the old way have to let go of the devices first.
            self.unlink();
            let (path, encapsulation) = self.first_wire(local, remote);
            self.start_link(path, via, encapsulation).await?;
            debug!(
                "{}: packets go from {local} to {remote} by {}",
                self.name(),
                way.link_name
            );
        } else {
            return Ok(Reached::Elsewhere);
        }
        self.look_for_obstacles(local, remote, way.link_name);
        self.locate_at = None;
        self.locate_wait = LOCATE_AGAIN;
        Ok(Reached::Way { local, remote })
    }

    /// Finds the way to `remote`, and what packets on it are bound to.
    async fn find_way(
        &mut self,
        look: &mut Look,
        remote: IpAddr,
    ) -> Result<(Via, RouteInfo), HostError> {
        let called = self.addresses().filter(|_| self.calls_from_anywhere());
        let source = self.config.local.or(called.map(|(local, _)| local));
        self.find_way_from(look, source, remote).await
    }

    async fn find_way_from(
        &mut self,
        look: &mut Look,
        source: Option<IpAddr>,
        remote: IpAddr,
    ) -> Result<(Via, RouteInfo), HostError> {
        let link = match &self.config.interface {
            Some(interface) => self.host.link(interface).await?,
            None => None,
        };
        let mark = self.config.fwmark;
        let via = Via { link, mark };
        let devices: Vec<_> = self.tunnels.iter().map(Tunnel::device).collect();
        let way = self.host.pin(look, remote, source, via, &devices).await?;
        Ok((via, way))
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
        path: OuterPath,
        via: Via,
        encapsulation: Encapsulation,
    ) -> Result<(), ReachError> {
        let wire = Arc::new(self.make_wire(path, via, encapsulation)?);
        let (notes, peer) = (self.channels.notes.clone(), self.id);
        let tell = move |note| {
            // The loop is gone, and the link soon too.
            let _ = notes.send(PeerNote { peer, note });
        };
        let messages = self.channels.messages.clone();
        let ports: Vec<_> = self
            .tunnels
            .iter()
            .map(|tunnel| {
                let echo = self.echo.filter(|to| to.tunnel == tunnel.id());
                tunnel.port(path, echo.map(|to| to.echo))
            })
            .collect();
        let threads = match self.config.one_thread {
            true => Threads::One,
            false => Threads::AsNeeded,
        };
        let link = Link::start(&ports, threads, &wire, tell, messages)?;
        self.outer = Some(Outer {
            wire,
            link,
            inbound: Vec::new(),
            outbound: Vec::new(),
        });
        self.follow_path_mtu().await;
        Ok(())
    }

    /// The TTL of what is of no tunnel, and whether the kernel joins and cuts, are the first tunnel's.
    fn make_wire(
        &self,
        path: OuterPath,
        via: Via,
        encapsulation: Encapsulation,
    ) -> Result<Wire, WireError> {
        let first = self.tunnels.first().map(Tunnel::config);
        let ttl = first.map_or(ttl::Policy::DEFAULT, |tunnel| tunnel.ttl.own());
        let offload = first.is_none_or(|tunnel| tunnel.offload);
        Wire::new(path, via, encapsulation, ttl, offload)
    }

    /// An IKE SA is up: the packets of its pairs travel like this, from before the first of them.
    pub(in crate::daemon) async fn travel(
        &mut self,
        path: OuterPath,
        encapsulation: Encapsulation,
    ) -> Result<(), ReachError> {
        self.begun_anew = true;
        self.lay_wire(path, encapsulation).await
    }

    /// Lays another wire, if packets do not travel like this already.
    pub(super) async fn lay_wire(
        &mut self,
        path: OuterPath,
        encapsulation: Encapsulation,
    ) -> Result<(), ReachError> {
        let Some((local, remote)) = self.addresses() else {
            return match self.calls_from_anywhere() {
                true => self.meet(path, encapsulation).await,
                false => Ok(()),
            };
        };
        let mut via = self.via();
        if (local, remote) != (path.local.ip(), path.remote.ip()) {
            // One end is elsewhere, if only to its NAT: the pinned route follows.
            let called = self.calls_from_anywhere().then_some(path.local.ip());
            let source = self.config.local.or(called);
            let mut look = self.host.look();
            let found = self.find_way_from(&mut look, source, path.remote.ip());
            let (found, way) = found.await?;
            via = found;
            self.path_mtu.take_link(way.mtu);
        }
        let like = |outer: &Outer| outer.wire.is_like(path, via, encapsulation);
        if self.outer.as_ref().is_none_or(like) {
            return Ok(());
        }
        let wire = Arc::new(self.make_wire(path, via, encapsulation)?);
        let Some(outer) = &mut self.outer else {
            return Ok(());
        };
        outer.link.rewire(Arc::clone(&wire));
        outer.wire = wire;
        self.follow_path_mtu().await;
        Ok(())
    }

    /// One that may call from anywhere is there: only from here on it takes workers and a wire.
    async fn meet(
        &mut self,
        path: OuterPath,
        encapsulation: Encapsulation,
    ) -> Result<(), ReachError> {
        let (local, remote) = (path.local.ip(), path.remote.ip());
        let mut look = self.host.look();
        let found = self.find_way_from(&mut look, Some(local), remote);
        let (via, way) = found.await?;
        self.path_mtu.take_link(way.mtu);
        self.start_link(path, via, encapsulation).await?;
        self.look_for_obstacles(local, remote, way.link_name);
        Ok(())
    }

    /// Lets go of the wire and the workers of one that may call from anywhere, when it is not there.
    pub(super) async fn let_go_idle(&mut self) {
        let carries = !self.outbound.is_empty() || !self.retiring.is_empty();
        if !self.calls_from_anywhere() || self.outer.is_none() || carries {
            return;
        }
        self.unlink();
        self.path_mtu = PathMtu::default();
        self.obstacles.clear();
        if let Err(problem) = self.host.unpin_all().await {
            error!("{}: {problem}", self.name());
        }
    }

    /// Looks beside the loop for what on the host stands in the way; see [`Self::name_obstacles`].
    fn look_for_obstacles(&self, local: IpAddr, remote: IpAddr, underlay: String) {
        let (peer, sender) = (self.id, self.channels.obstacles.clone());
        let here = self.tunnels.iter();
        let here = here.filter(|tunnel| tunnel.device().netns().is_none());
        let (devices, routes): (Vec<_>, Vec<_>) = here
            .map(|tunnel| (tunnel.device().name().to_owned(), &tunnel.config().routes))
            .unzip();
        let routes: Vec<_> = routes.into_iter().flatten().copied().collect();
        let outer = obstacles::Outer {
            local,
            remote,
            underlay,
            initiates: self.config.initiate,
            encapsulation: self.config.encapsulation,
        };
        tokio::spawn(async move {
            let found = obstacles::find(&routes, &devices, &outer).await;
            // The loop is gone: nobody waits for the answer.
            let _ = sender.send(Obstacles { peer, found }).await;
        });
    }

    /// Says what on the host stands in the way, unless that was said.
    pub(in crate::daemon) fn name_obstacles(&mut self, found: Vec<String>) {
        for obstacle in found.iter().filter(|one| !self.obstacles.contains(one)) {
            warn!("{}: {obstacle}", self.name());
        }
        self.obstacles = found;
    }

    /// What on the host stood in the way when it was last looked for.
    pub(in crate::daemon) fn obstacles(&self) -> &[String] {
        &self.obstacles
    }

    /// Whether the way to the peer may be another where a route to `prefix` has changed.
    pub(in crate::daemon) fn heeds(&self, prefix: Prefix) -> bool {
        let mut remote = self.addresses().into_iter().map(|(_, remote)| remote);
        self.locate_at.is_some() || remote.any(|remote| prefix.contains(remote))
    }

    /// The host's addresses, links or routes have changed: packets follow the way that there is by this
    /// `look`.
    pub(in crate::daemon) async fn follow(&mut self, look: &mut Look, now: Instant) -> Reaction {
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
        let (via, way) = match self.find_way(look, remote).await {
            Ok(found) => found,
            Err(problem) => {
                self.strand(&problem);
                return Reaction::None;
            }
        };
        self.name_covering_routes(look, remote, &way).await;
        if way.source != local {
            info!(
                "{}: our address is {} instead of {local}",
                self.name(),
                way.source
            );
            self.stranded = None;
            return Reaction::Relocate { local: way.source };
        }
        if self.via() != via {
            info!(
                "{}: {} is another device of that name",
                self.name(),
                way.link_name
            );
            self.stranded = None;
            return Reaction::Move;
        }
        let back = self.stranded.take().is_some();
        if back {
            info!(
                "{}: there is a way to {remote} again, by {}",
                self.name(),
                way.link_name
            );
        }
        // What was learned of a way into the tunnel is void.
        if self.path_mtu.is_of_another_link(way.mtu) || back {
            self.path_mtu.take_link(way.mtu);
            self.probe_anew(now).await;
        }
        Reaction::None
    }

    /// The way to the peer is not known. Said, and tried again.
    pub(in crate::daemon) fn not_reached(
        &mut self,
        problem: &ReachError,
        now: Instant,
    ) -> Reaction {
        self.trouble = Some(Trouble {
            problem: problem.to_string(),
            advice: problem.advice(),
        });
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

    /// Each device's MTU is what path, wire and cipher leave, within the bounds of
    /// [`device_mtu`].
    pub(super) async fn follow_path_mtu(&mut self) {
        let Some(outer) = &self.outer else {
            return;
        };
        let (overhead, path_mtu) = (outer.wire.overhead(), self.known_path_mtu());
        for tunnel in &mut self.tunnels {
            let envelope = tunnel.envelope(&self.config, self.cipher, overhead);
            let whole = envelope.passenger_mtu(path_mtu);
            let mtu = device_mtu(tunnel.config(), whole);
            outer.link.set_mtu(tunnel.id(), mtu, whole);
            tunnel.set_mtu(mtu, path_mtu).await;
        }
    }
}
