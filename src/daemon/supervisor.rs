//! The loop: datagrams, time, commands and news from the packet workers go into the endpoint; its
//! outputs are performed in their order, which is what makes "inbound SA ready" come before the
//! datagram that lets the peer use it.

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal as NixSignal;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use secure_gre_ike as ike;
use secure_gre_ike::Endpoint;
use secure_gre_ike::config::{PeerConfig, PeerId};
use secure_gre_ike::event::{Command, Event, GoneReason, Output};
use secure_gre_ike::secret::Secret;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::UpError;
use super::locate::{self, LocateError};
use super::report;
use super::tunnel::{ReachError, Reached, Reaction, Tunnel, TunnelNote};
use crate::config;
use crate::control::protocol::{PeerStatus, Refusal, Request, Response};
use crate::control::server::{Call, Server};
use crate::net::ike::{Arrival, IkeSockets, Path as OuterPath};
use crate::net::netlink::Netlink;
use crate::net::signals;

/// The longest UDP payload.
const DATAGRAM_OCTETS: usize = 65_535;

/// Control requests, and resolver's answers, that may wait for the loop.
const CALLS: usize = 16;

/// How long a peer may take to answer our DELETE before we go without its answer.
const FAREWELL: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Supervisor {
    endpoint: Endpoint,
    sockets: IkeSockets,
    tunnels: BTreeMap<PeerId, Tunnel>,
    /// Ends when `calls` is dropped.
    control: JoinHandle<()>,
    calls: mpsc::Receiver<Call>,
    notes: mpsc::UnboundedReceiver<TunnelNote>,
    located: mpsc::Receiver<Located>,
    located_sender: mpsc::Sender<Located>,
    /// Connects that wait until the endpoint's outputs are drained.
    to_locate: Vec<PeerId>,
    /// Peers to be forgotten once the outputs are drained.
    departed: Vec<PeerId>,
    /// When the endpoint wants to be called.
    deadline: Option<Instant>,
    ends: Vec<Signal>,
    /// `down`s that are answered when these peers are gone.
    farewells: Vec<Farewell>,
    /// Datagrams on the IKE ports that were no IKE messages, by the reason.
    discards: BTreeMap<&'static str, u64>,
    gave_up: Option<String>,
}

/// A caller who waits until these peers are gone.
struct Farewell {
    reply: oneshot::Sender<Response>,
    names: Vec<String>,
}

/// A resolver's answer.
struct Located {
    peer: PeerId,
    address: Result<Ipv4Addr, LocateError>,
}

impl Supervisor {
    /// Takes the ports and the runtime directory, and raises every tunnel; or leaves nothing.
    pub(super) async fn start(
        peers: Vec<config::Peer>,
        runtime_dir: &Path,
    ) -> Result<Self, UpError> {
        let os = |action| move |source| UpError::Os { action, source };
        let server = Server::bind(runtime_dir)?;
        let sockets = IkeSockets::bind()?;
        let netlink = Netlink::connect()?;
        let ends = end_signals().map_err(os("watch for signals"))?;
        let (call_sender, calls) = mpsc::channel(CALLS);
        let (note_sender, notes) = mpsc::unbounded_channel();
        let (located_sender, located) = mpsc::channel(CALLS);

        let mut tunnels: BTreeMap<PeerId, Tunnel> = BTreeMap::new();
        let mut ike_peers = Vec::new();
        let half_open = peers.first().map(|peer| peer.half_open).unwrap_or_default();
        for (id, mut peer) in (0..).map(PeerId).zip(peers) {
            let name = peer.name.clone();
            let ike_peer = ike_peer(id, &mut peer);
            match Tunnel::raise(id, peer, &netlink, runtime_dir, note_sender.clone()).await {
                Ok(tunnel) => {
                    tunnels.insert(id, tunnel);
                    ike_peers.push(ike_peer);
                }
                Err(source) => {
                    for tunnel in tunnels.into_values() {
                        tunnel.lower().await;
                    }
                    return Err(UpError::Host { name, source });
                }
            }
        }
        let config = ike::config::Config {
            peers: ike_peers,
            half_open,
        };
        let rng = StdRng::try_from_rng(&mut SysRng).map_err(io::Error::other);
        let rng = Box::new(rng.map_err(os("get random numbers"))?);
        let to_locate = tunnels.keys().copied().collect();
        Ok(Self {
            endpoint: Endpoint::new(config, rng, Instant::now()),
            sockets,
            tunnels,
            control: tokio::spawn(server.run(call_sender)),
            calls,
            notes,
            located,
            located_sender,
            to_locate,
            departed: Vec::new(),
            deadline: None,
            ends,
            farewells: Vec::new(),
            discards: BTreeMap::new(),
            gave_up: None,
        })
    }

    /// Runs until no tunnel is left.
    pub(super) async fn run(&mut self) -> Result<(), UpError> {
        let mut buffer = vec![0; DATAGRAM_OCTETS];
        self.drain().await;
        while !self.tunnels.is_empty() {
            let next = self.next_alarm();
            tokio::select! {
                biased;
                () = any(&mut self.ends) => self.stop_all().await,
                Some(note) = self.notes.recv() => self.on_note(note).await,
                Some(located) = self.located.recv() => self.on_located(located).await,
                Some(call) = self.calls.recv() => self.on_call(call).await,
                () = sleep_until(next) => self.on_alarm().await,
                // Last: a flood of datagrams holds up nothing else.
                arrival = self.sockets.receive(&mut buffer) => self.on_arrival(arrival).await,
            }
        }
        self.calls.close();
        drop(std::mem::take(&mut self.farewells));
        // Its callers read their answers to the end.
        let _ = (&mut self.control).await;
        match self.gave_up.take() {
            Some(name) => Err(UpError::GaveUp { name }),
            None => Ok(()),
        }
    }
}

/// What the world asks for.
impl Supervisor {
    async fn on_arrival(&mut self, arrival: io::Result<Arrival<'_>>) {
        match arrival {
            // IKE at another address of ours than packets go by would set up an SA that carries none.
            Ok(Arrival::Message { path, .. }) if self.is_astray(path) => {}
            Ok(Arrival::Message { path, bytes }) => {
                self.endpoint
                    .handle_datagram(Instant::now(), ike_path(path), bytes);
                self.drain().await;
            }
            Ok(Arrival::Discarded(why)) => *self.discards.entry(why.name()).or_default() += 1,
            Err(error) => warn!("can't receive on the IKE ports: {error}"),
        }
    }

    fn is_astray(&self, path: OuterPath) -> bool {
        let mut ways = self.tunnels.values().filter_map(Tunnel::addresses);
        ways.any(|(local, remote)| path.remote.ip() == remote && path.local.ip() != local)
    }

    async fn on_alarm(&mut self) {
        let now = Instant::now();
        self.endpoint.handle_timeout(now);
        self.drain().await;
        let mut overdue = Vec::new();
        for (id, tunnel) in &mut self.tunnels {
            tunnel.retire_due(now);
            tunnel.repair_due(now).await;
            if tunnel.locate_due(now) {
                self.to_locate.push(*id);
            }
            if tunnel.farewell_due(now) {
                overdue.push(*id);
            }
        }
        for id in overdue {
            self.finish(id).await;
        }
        self.locate_peers();
    }

    async fn on_note(&mut self, TunnelNote { peer, note }: TunnelNote) {
        let Some(tunnel) = self.tunnels.get_mut(&peer) else {
            return;
        };
        let reaction = tunnel.on_note(note, Instant::now()).await;
        self.react(peer, reaction).await;
    }

    async fn on_call(&mut self, call: Call) {
        let Call { request, reply } = call;
        let (Request::Status { name } | Request::Down { name }) = &request;
        let ids = match self.named(name.as_deref()) {
            Ok(ids) => ids,
            Err(refusal) => return answer(reply, Response::Refused(refusal)),
        };
        match request {
            Request::Status { .. } => answer(
                reply,
                Response::Status {
                    peers: self.report(&ids),
                    drops: self.drops(),
                },
            ),
            Request::Down { .. } => {
                let names = ids.iter().filter_map(|id| self.tunnels.get(id));
                let names = names.map(|tunnel| tunnel.name().to_owned()).collect();
                self.farewells.push(Farewell { reply, names });
                for id in ids {
                    self.stop(id).await;
                }
            }
        }
    }

    async fn on_located(&mut self, Located { peer, address }: Located) {
        let Some(tunnel) = self
            .tunnels
            .get_mut(&peer)
            .filter(|tunnel| !tunnel.is_parting())
        else {
            return;
        };
        let now = Instant::now();
        let reached = match address {
            Ok(remote) => tunnel.reach(remote).await.map(|reached| (reached, remote)),
            Err(problem) => Err(ReachError::Locate(problem)),
        };
        let (local, remote) = match reached {
            Ok((Reached::From(local), remote)) => (local, remote),
            Ok((Reached::Elsewhere, _)) => return self.react(peer, Reaction::Renew).await,
            Err(problem) => {
                let reaction = tunnel.not_reached(&problem, now);
                return self.react(peer, reaction).await;
            }
        };
        let addresses = vec![remote.into()];
        self.command(now, Command::Locate { peer, addresses }).await;
        let Some(tunnel) = self.tunnels.get(&peer) else {
            return;
        };
        if tunnel.initiates() {
            let path = ike_path(locate::ike_path(local.into(), remote.into()));
            self.command(now, Command::Connect { peer, path }).await;
        } else {
            tunnel.say_waiting();
        }
    }

    async fn stop_all(&mut self) {
        let ids: Vec<_> = self.tunnels.keys().copied().collect();
        for id in ids {
            self.stop(id).await;
        }
    }

    /// Deletes a peer's SAs; the rest follows when it has answered, or has had its time to.
    async fn stop(&mut self, peer: PeerId) {
        let now = Instant::now();
        let Some(tunnel) = self.tunnels.get_mut(&peer) else {
            return;
        };
        if tunnel.part(now + FAREWELL) {
            info!("{}: going down", tunnel.name());
            self.command(now, Command::Disconnect { peer }).await;
        }
    }

    /// Undoes what was done for a peer, and forgets it.
    async fn finish(&mut self, peer: PeerId) {
        if let Some(tunnel) = self.tunnels.remove(&peer) {
            if self.gave_up.as_deref() == Some(tunnel.name()) {
                tunnel.abandon().await;
            } else {
                tunnel.lower().await;
            }
        }
        let gone = |farewell: &Farewell| {
            !self
                .tunnels
                .values()
                .any(|tunnel| farewell.names.iter().any(|n| n == tunnel.name()))
        };
        let (done, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.farewells)
            .into_iter()
            .partition(gone);
        self.farewells = waiting;
        for Farewell { reply, names } in done {
            answer(reply, Response::Down { names });
        }
    }

    async fn react(&mut self, peer: PeerId, reaction: Reaction) {
        match reaction {
            Reaction::None => {}
            // The SAs can carry nothing more: new ones follow when these are deleted.
            Reaction::Renew => {
                self.command(Instant::now(), Command::Disconnect { peer })
                    .await;
            }
            Reaction::GiveUp => {
                self.gave_up = self
                    .tunnels
                    .get(&peer)
                    .map(|tunnel| tunnel.name().to_owned());
                self.finish(peer).await;
            }
        }
    }

    fn named(&self, name: Option<&str>) -> Result<Vec<PeerId>, Refusal> {
        let Some(name) = name else {
            return Ok(self.tunnels.keys().copied().collect());
        };
        let ids: Vec<_> = self
            .tunnels
            .iter()
            .filter(|(_, tunnel)| tunnel.name() == name)
            .map(|(id, _)| *id)
            .collect();
        if ids.is_empty() {
            let known = self
                .tunnels
                .values()
                .map(|tunnel| tunnel.name().to_owned())
                .collect();
            return Err(Refusal::UnknownPeer {
                name: name.to_owned(),
                known,
            });
        }
        Ok(ids)
    }
}

/// What the endpoint asks for.
impl Supervisor {
    async fn command(&mut self, now: Instant, command: Command) {
        // The ids are those that the endpoint was made with.
        if let Err(error) = self.endpoint.handle_command(now, command) {
            warn!("{error}");
        }
        self.drain().await;
    }

    /// Performs the endpoint's outputs, in order, until it is idle.
    async fn drain(&mut self) {
        loop {
            match self.endpoint.poll_output() {
                Output::Transmit(transmit) => {
                    let path = outer_path(transmit.path);
                    // Lost like any datagram: retransmission deals with it.
                    if let Err(error) = self.sockets.send(&path, &transmit.payload).await {
                        warn!("{error}");
                    }
                }
                Output::Event(event) => self.on_event(event).await,
                Output::Idle(deadline) => {
                    self.deadline = deadline.map(|deadline| deadline.at);
                    break;
                }
            }
        }
        self.locate_peers();
        for peer in std::mem::take(&mut self.departed) {
            self.finish(peer).await;
        }
    }

    async fn on_event(&mut self, event: Event) {
        let peer = event.peer();
        let Some(tunnel) = self.tunnels.get_mut(&peer) else {
            return;
        };
        let name = tunnel.name().to_owned();
        match event {
            Event::Connecting { path, .. } => {
                info!(
                    "{name}: calling {} from {}",
                    path.remote.ip(),
                    path.local.ip()
                );
            }
            Event::IkeUp { details, .. } => {
                let role = if details.initiated {
                    "we called"
                } else {
                    "the peer called"
                };
                info!(
                    "{name}: IKE SA up with {} ({}), {role}, as {}",
                    details.remote_id, details.suite, details.local_id
                );
            }
            Event::ChildInbound { child, keys, .. } => tunnel.install_inbound(child, &keys),
            Event::ChildOutbound { child, keys, .. } => {
                tunnel.install_outbound(child, &keys).await;
            }
            Event::ChildGone { child, why, .. } => tunnel.remove(child, why, Instant::now()).await,
            Event::IkeDown { why, last, .. } => say_down(&name, why, last && !tunnel.is_parting()),
            Event::AttemptFailed {
                failure, retry_in, ..
            } => {
                tunnel.attempt_failed(failure, retry_in);
                if retry_in.is_none() {
                    self.gave_up = Some(name);
                    self.departed.push(peer);
                }
            }
            Event::Refused { failure, .. } => {
                tunnel.attempt_refused(&failure, Instant::now());
            }
            Event::Reconnect { .. } => self.to_locate.push(peer),
            Event::Disconnected { .. } if tunnel.is_parting() => self.departed.push(peer),
            // A worker has failed: not before its time.
            Event::Disconnected { .. } if tunnel.waits_to_be_located() => {}
            // Renewed: the old SAs are gone.
            Event::Disconnected { .. } => self.to_locate.push(peer),
        }
    }

    /// Looks the peers up that are to be called, beside the loop: a resolver may take seconds.
    fn locate_peers(&mut self) {
        for peer in std::mem::take(&mut self.to_locate) {
            let Some(tunnel) = self.tunnels.get_mut(&peer) else {
                continue;
            };
            let (address, sender) = (tunnel.address(), self.located_sender.clone());
            tokio::spawn(async move {
                let address = locate::resolve(address).await;
                // The loop is gone: nobody waits for the answer.
                let _ = sender.send(Located { peer, address }).await;
            });
        }
    }

    /// The next instant at which anything is due.
    fn next_alarm(&self) -> Option<Instant> {
        let tunnels = self.tunnels.values().filter_map(Tunnel::next_alarm);
        tunnels.chain(self.deadline).min()
    }

    /// Datagrams that changed nothing, by the reason.
    fn drops(&self) -> BTreeMap<String, u64> {
        let drops = self.endpoint.drops();
        let drops = drops.map(|(reason, count)| (reason.name(), count));
        let discards = self.discards.iter().map(|(name, count)| (*name, *count));
        let all = drops.chain(discards).filter(|(_, count)| *count > 0);
        all.map(|(name, count)| (name.to_owned(), count)).collect()
    }

    fn report(&self, ids: &[PeerId]) -> Vec<PeerStatus> {
        let now = Instant::now();
        let snapshots = self.endpoint.snapshot().into_iter();
        let wanted = snapshots.filter(|snapshot| ids.contains(&snapshot.peer));
        wanted
            .filter_map(|snapshot| {
                let tunnel = self.tunnels.get(&snapshot.peer)?;
                Some(report::peer(now, &snapshot, tunnel))
            })
            .collect()
    }
}

/// `idle`: the tunnel waits for the next one.
fn say_down(name: &str, why: GoneReason, idle: bool) {
    let reason = match why {
        GoneReason::DeletedByPeer => "the peer deleted it",
        GoneReason::Disconnected => "we deleted it",
        GoneReason::NoAnswer => "the peer does not answer",
        GoneReason::Replaced => "the peer set up a new one",
        GoneReason::Redundant => "both ends had called; the other one stays",
        GoneReason::PeerFault => "the peer broke the protocol",
        GoneReason::Childless => "the peer deleted its only CHILD_SA",
        GoneReason::Abandoned => "its path is gone",
    };
    let left = if idle {
        "; the tunnel carries nothing until the next one is up"
    } else {
        ""
    };
    info!("{name}: IKE SA down: {reason}{left}");
}

/// What asks a program to end: Ctrl-C, SIGTERM, and SIGHUP when the terminal is closed, unless it
/// was started with `nohup`.
fn end_signals() -> io::Result<Vec<Signal>> {
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    if !signals::is_ignored(NixSignal::SIGHUP)? {
        kinds.push(SignalKind::hangup());
    }
    kinds.into_iter().map(signal).collect()
}

async fn any(signals: &mut [Signal]) {
    poll_fn(|context| {
        let mut polls = signals.iter_mut().map(|signal| signal.poll_recv(context));
        if polls.any(|poll| poll.is_ready()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

fn answer(reply: oneshot::Sender<Response>, response: Response) {
    // A caller who has hung up wants no answer.
    let _ = reply.send(response);
}

/// The endpoint's part of a peer's configuration; it takes the key.
fn ike_peer(id: PeerId, peer: &mut config::Peer) -> PeerConfig {
    PeerConfig {
        id,
        // Nobody is answered before there is something to carry the packets: see `on_located`.
        remote: Vec::new(),
        local_id: peer.local_id.clone(),
        remote_id: peer.remote_id.clone(),
        psk: std::mem::replace(&mut peer.psk, Secret::new(Vec::new())),
        ike_proposals: peer.ike_proposals.clone(),
        esp_proposals: peer.esp_proposals.clone(),
        retransmit: peer.retransmit,
        on_failure: peer.on_failure,
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => pending().await,
    }
}

/// `net` and `ike` know nothing of each other, so each has its word for the same four numbers.
fn ike_path(path: OuterPath) -> ike::event::Path {
    ike::event::Path {
        local: path.local,
        remote: path.remote,
    }
}

fn outer_path(path: ike::event::Path) -> OuterPath {
    OuterPath {
        local: path.local,
        remote: path.remote,
    }
}
