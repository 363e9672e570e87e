//! The loop: datagrams, time, commands and news from the packet workers go into the endpoint; its
//! outputs are performed in their order ([`events`]), which is what makes "inbound SA ready" come
//! before the datagram that lets the peer use it. [`calls`] is what comes over the control socket,
//! [`rekey`] one of these; [`reach`] is how a peer is found, [`departure`] how it is let go of; [`ends`]
//! are the signals that end the loop; [`changes`] are those of the host; [`spokes`] are files with several
//! peers, [`clashes`] what no two peers can both have.

mod calls;
mod changes;
mod clashes;
mod departure;
mod ends;
mod events;
mod reach;
mod rekey;
mod spokes;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use secure_gre_esp::peek_spi;
use secure_gre_ike as ike;
use secure_gre_ike::Endpoint;
use secure_gre_ike::config::{HalfOpenLimits, PeerConfig, PeerId, Remote, UdpEncapsulation};
use secure_gre_ike::event::{ChildId, Command};
use secure_gre_ike::secret::Secret;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{Instrument, Level, Span, enabled, warn};

use self::calls::{Farewell, Sponsor};
use self::changes::{REPAIR_EVERY, heed};
use self::departure::Departure;
use self::ends::EndSignals;
use self::events::ike_path;
use self::reach::Located;
use self::rekey::AwaitedRekey;
use super::hooks::Hooks;
use super::journal::Records;
use super::peer::{Channels, Obstacles, Peer, PeerNote, Reaction};
use super::{AddError, UpError};
use crate::config;
use crate::control::server::{Call, Server};
use crate::dataplane::Message;
use crate::net::ike::{Arrival, Discard, IkeSockets};
use crate::net::netlink::{Netlink, Watch};
use crate::net::news::{News, NewsSockets};
use crate::net::outer::Path as OuterPath;
use crate::telemetry::{self, Listeners, peer_span};

/// The longest UDP payload.
const DATAGRAM_OCTETS: usize = 65_535;

/// Control requests, and answers of those who look beside the loop, that may wait for it.
const CALLS: usize = 16;

/// IKE messages of wires in UDP that may wait for the loop. Each is a few hundred octets; more than
/// that is a flood, and retransmission deals with what is lost in it.
const MESSAGES: usize = 64;

/// How long a peer may take to answer our DELETE before we go without its answer.
const FAREWELL: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Supervisor {
    endpoint: Endpoint,
    sockets: IkeSockets,
    netlink: Netlink,
    /// What all peers leave if this process is killed.
    records: Records,
    watch: Watch,
    life: Life,
    listeners: Listeners,
    peers: BTreeMap<PeerId, Peer>,
    last_id: u32,
    /// The peers that this process was started for.
    own: BTreeSet<PeerId>,
    /// Ends when `calls` is dropped.
    control: JoinHandle<()>,
    calls: mpsc::Receiver<Call>,
    notes: mpsc::UnboundedReceiver<PeerNote>,
    messages: mpsc::Receiver<Message>,
    channels: Channels,
    obstacles: mpsc::Receiver<Obstacles>,
    located: mpsc::Receiver<Located>,
    located_sender: mpsc::Sender<Located>,
    /// Peers whose [`Sponsor`] is gone.
    hang_ups: mpsc::Receiver<PeerId>,
    hang_up_sender: mpsc::Sender<PeerId>,
    /// Connects that wait until the endpoint's outputs are drained.
    to_locate: Vec<PeerId>,
    /// Peers whose SAs have nobody to carry their packets, or may carry none.
    broken: Vec<PeerId>,
    /// Pairs that are to be rekeyed on trial once the outputs are drained.
    on_trial: Vec<ChildId>,
    /// Peers whose SAs are to be as their files have them once the outputs are drained.
    not_in_udp: Vec<PeerId>,
    /// Peers to be forgotten once the outputs are drained.
    departed: Vec<(PeerId, Departure)>,
    /// When it is looked whether the host has what all peers have put there.
    repair_at: Instant,
    /// When the endpoint wants to be called.
    deadline: Option<Instant>,
    ends: EndSignals,
    /// `down`s that are answered when these peers are gone.
    farewells: Vec<Farewell>,
    /// Callers whose rekeys are under way.
    awaited: Vec<AwaitedRekey>,
    sponsors: BTreeMap<PeerId, Sponsor>,
    /// What routers say.
    news: NewsSockets,
    /// Datagrams on the IKE ports that were no IKE messages, and news of paths that are not believed, by
    /// the reason.
    discards: BTreeMap<&'static str, u64>,
    /// Why our own peer was given up.
    gave_up: Option<String>,
    /// Those that run the peers' hooks.
    hook_tasks: JoinSet<()>,
}

/// When the loop is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// With the last tunnel; but while there has been none, not before this.
    LastTunnel { patience_until: Instant },
    /// When told.
    Service,
    /// It was told: when all tunnels are gone.
    Ending,
}

impl Supervisor {
    /// Takes the ports and the runtime directory; or leaves nothing.
    pub(super) fn start(
        runtime_dir: &Path,
        life: Life,
        listeners: Listeners,
    ) -> Result<Self, UpError> {
        let os = |action| move |source| UpError::Os { action, source };
        let server = Server::bind(runtime_dir)?;
        let sockets = IkeSockets::bind()?;
        let netlink = Netlink::connect()?;
        let rng = StdRng::try_from_rng(&mut SysRng).map_err(io::Error::other);
        let rng = Box::new(rng.map_err(os("get random numbers"))?);
        let nobody = ike::config::Config {
            peers: Vec::new(),
            half_open: HalfOpenLimits::default(),
        };
        let (call_sender, calls) = mpsc::channel(CALLS);
        let (note_sender, notes) = mpsc::unbounded_channel();
        let (message_sender, messages) = mpsc::channel(MESSAGES);
        let (obstacle_sender, obstacles) = mpsc::channel(CALLS);
        let channels = Channels {
            notes: note_sender,
            messages: message_sender,
            obstacles: obstacle_sender,
        };
        let (located_sender, located) = mpsc::channel(CALLS);
        let (hang_up_sender, hang_ups) = mpsc::channel(CALLS);
        let mut endpoint = Endpoint::new(nobody, rng, Instant::now());
        endpoint.set_trace(enabled!(target: telemetry::MESSAGES, Level::TRACE));
        Ok(Self {
            endpoint,
            sockets,
            netlink,
            records: Records::load(runtime_dir)?,
            watch: Netlink::watch()?,
            life,
            listeners,
            peers: BTreeMap::new(),
            last_id: 0,
            own: BTreeSet::new(),
            control: tokio::spawn(server.run(call_sender)),
            calls,
            notes,
            messages,
            channels,
            obstacles,
            located,
            located_sender,
            hang_ups,
            hang_up_sender,
            to_locate: Vec::new(),
            broken: Vec::new(),
            on_trial: Vec::new(),
            not_in_udp: Vec::new(),
            departed: Vec::new(),
            repair_at: Instant::now() + REPAIR_EVERY,
            deadline: None,
            ends: EndSignals::watch().map_err(os("watch for signals"))?,
            farewells: Vec::new(),
            awaited: Vec::new(),
            sponsors: BTreeMap::new(),
            news: NewsSockets::open().map_err(os("listen to ICMP"))?,
            discards: BTreeMap::new(),
            gave_up: None,
            hook_tasks: JoinSet::new(),
        })
    }

    /// Serves one more peer: puts its tunnels on the host and sets out to find it. With `test_rekey`
    /// its first pair is rekeyed at once.
    pub(super) async fn add(
        &mut self,
        mut peer: config::Peer,
        test_rekey: bool,
    ) -> Result<PeerId, AddError> {
        self.check_clashes(&peer)?;
        self.last_id += 1;
        let id = PeerId(self.last_id);
        let (name, span) = (peer.name.clone(), peer_span(&peer.name));
        let ike_peer = ike_peer(id, &mut peer);
        let tasks = &mut self.hook_tasks;
        let hooks = peer.tunnels.iter().map(|_| Hooks::of(&peer, tasks));
        let hooks = hooks.collect();
        let raised = Peer::raise(
            id,
            peer,
            &self.netlink,
            &self.records,
            self.channels.clone(),
            hooks,
        );
        let mut served = raised
            .instrument(span.clone())
            .await
            .map_err(|source| AddError::Host { name, source })?;
        if test_rekey {
            served.plan_rekey_trial();
        }
        if let Err(error) = self.endpoint.add_peer(ike_peer) {
            warn!("{error}");
        }
        self.peers.insert(id, served);
        span.in_scope(|| self.say_shared(id));
        self.bound_half_open();
        self.to_locate.push(id);
        if let Life::LastTunnel { patience_until } = &mut self.life {
            *patience_until = Instant::now();
        }
        Ok(id)
    }

    /// Half-open state is the endpoint's as a whole: the narrowest bounds of all files hold.
    fn bound_half_open(&mut self) {
        let limits = self.peers.values().map(|served| served.config().half_open);
        let narrowest = limits.reduce(|a, b| HalfOpenLimits {
            cookies_from: a.cookies_from.min(b.cookies_from),
            limit: a.limit.min(b.limit),
        });
        self.endpoint
            .set_half_open_limits(narrowest.unwrap_or_default());
    }

    /// Runs until its [`Life`] is over.
    pub(super) async fn run(&mut self) -> Result<(), UpError> {
        let mut buffer = vec![0; DATAGRAM_OCTETS];
        self.drain().await;
        while !self.is_over() {
            let next = self.next_alarm();
            tokio::select! {
                biased;
                () = self.ends.any() => self.on_interrupt().await,
                Some(note) = self.notes.recv() => self.on_note(note).await,
                Some(located) = self.located.recv() => self.on_located(located).await,
                Some(obstacles) = self.obstacles.recv() => self.on_obstacles(obstacles),
                Some(call) = self.calls.recv() => self.on_call(call).await,
                () = self.watch.changed(|route| heed(&self.peers, route)) => self.on_change().await,
                Some(peer) = self.hang_ups.recv() => self.on_hang_up(peer).await,
                () = sleep_until(next) => self.on_alarm().await,
                news = self.news.receive() => self.on_news(news).await,
                // Last: a flood of datagrams holds up nothing else.
                Some(message) = self.messages.recv() => {
                    self.on_datagram(message.path, &message.bytes).await;
                }
                arrival = self.sockets.receive(&mut buffer) => self.on_arrival(arrival).await,
            }
        }
        self.calls.close();
        self.farewells.clear();
        self.awaited.clear();
        // Its callers read their answers to the end.
        let _ = (&mut self.control).await;
        // Each has its time, and no more.
        while self.hook_tasks.join_next().await.is_some() {}
        match self.gave_up.take() {
            Some(problem) => Err(UpError::GaveUp(problem)),
            None => Ok(()),
        }
    }

    fn is_over(&self) -> bool {
        self.peers.is_empty()
            && match self.life {
                Life::LastTunnel { patience_until } => patience_until <= Instant::now(),
                Life::Service => false,
                Life::Ending => true,
            }
    }
}

/// What the world asks for.
impl Supervisor {
    async fn on_arrival(&mut self, arrival: io::Result<Arrival<'_>>) {
        match arrival {
            // IKE at another address of ours than packets go by would set up an SA that carries none.
            Ok(Arrival::Message { path, .. }) if self.is_astray(path) => {
                *self.discards.entry("ike_other_address").or_default() += 1;
            }
            Ok(Arrival::Message { path, bytes }) => self.on_datagram(path, bytes).await,
            Ok(Arrival::Esp { path, bytes }) => self.on_stray(path, bytes),
            Ok(Arrival::Discarded(why)) => *self.discards.entry(why.name()).or_default() += 1,
            Err(error) => warn!("can't receive on the IKE ports: {error}"),
        }
    }

    /// ESP from where no wire leads to: whoever has its SA finds out what it is.
    fn on_stray(&mut self, path: OuterPath, esp: &[u8]) {
        let mut peers = self.peers.values();
        let taken =
            peek_spi(esp).is_some_and(|spi| peers.any(|served| served.take_stray(spi, path, esp)));
        if !taken {
            *self.discards.entry(Discard::EspInUdp.name()).or_default() += 1;
        }
    }

    /// A router says that a packet was too big for it.
    async fn on_news(&mut self, news: News) {
        let mut peers = self.peers.values_mut();
        match peers.find(|served| served.may_have_sent(&news)) {
            Some(served) => {
                let span = served.span().clone();
                let taken = served.take_news(news, Instant::now());
                taken.instrument(span).await;
            }
            None => *self.discards.entry("path_news_not_ours").or_default() += 1,
        }
    }

    fn is_astray(&self, path: OuterPath) -> bool {
        let located = self
            .peers
            .values()
            .filter(|served| !served.calls_from_anywhere());
        let mut ways = located.filter_map(Peer::addresses);
        ways.any(|(local, remote)| path.remote.ip() == remote && path.local.ip() != local)
    }

    async fn on_datagram(&mut self, path: OuterPath, bytes: &[u8]) {
        self.endpoint
            .handle_datagram(Instant::now(), ike_path(path), bytes);
        self.drain().await;
    }

    async fn on_alarm(&mut self) {
        let now = Instant::now();
        self.endpoint.handle_timeout(now);
        self.drain().await;
        let mut overdue = Vec::new();
        let mut heard = Vec::new();
        let mut reactions = Vec::new();
        let look = self.look_due(now);
        for (id, served) in &mut self.peers {
            let span = served.span().clone();
            let done = served.do_due(now, look.as_ref(), self.endpoint.heard(*id));
            reactions.push((*id, done.instrument(span).await));
            if served.heard_since(now) {
                heard.push(*id);
            }
            if served.locate_due(now) {
                self.to_locate.push(*id);
            }
            if served.farewell_due(now) {
                overdue.push(*id);
            }
        }
        for peer in heard {
            self.command(now, Command::Heard { peer }).await;
        }
        for (peer, reaction) in reactions {
            self.react(peer, reaction).await;
        }
        for id in overdue {
            self.finish(id, Departure::Asked).await;
        }
        self.locate_peers();
    }

    async fn on_note(&mut self, PeerNote { peer, note }: PeerNote) {
        let span = self.span(peer);
        let Some(served) = self.peers.get_mut(&peer) else {
            return;
        };
        let noted = served.on_note(note, Instant::now());
        let reaction = noted.instrument(span).await;
        self.react(peer, reaction).await;
    }

    fn on_obstacles(&mut self, Obstacles { peer, found }: Obstacles) {
        let span = self.span(peer);
        if let Some(served) = self.peers.get_mut(&peer) {
            span.in_scope(|| served.name_obstacles(found));
        }
    }

    async fn react(&mut self, peer: PeerId, reaction: Reaction) {
        match reaction {
            Reaction::None => {}
            Reaction::Repair => self.repair_at_once(),
            // The SAs can carry nothing more: new ones follow when these are deleted.
            Reaction::Renew => {
                self.command(Instant::now(), Command::Disconnect { peer })
                    .await;
            }
            Reaction::Rekey(child) => {
                self.command(Instant::now(), Command::RekeyChild { child })
                    .await;
            }
            Reaction::Confirm(child) => {
                self.command(Instant::now(), Command::ChildConfirmed { child })
                    .await;
            }
            Reaction::CheckLiveness => {
                self.command(Instant::now(), Command::CheckLiveness { peer })
                    .await;
            }
            Reaction::InUdp { renew } => {
                let force = Command::ForceUdp { peer, force: true };
                self.command(Instant::now(), force).await;
                if renew {
                    self.command(Instant::now(), Command::Disconnect { peer })
                        .await;
                }
            }
            Reaction::SeenAt(path) => {
                let path = ike_path(path);
                self.command(Instant::now(), Command::SeenAt { peer, path })
                    .await;
            }
            Reaction::Relocate { local } if self.endpoint.may_relocate(peer) => {
                self.command(Instant::now(), Command::Relocate { peer, local })
                    .await;
            }
            Reaction::Relocate { .. } | Reaction::Move => {
                self.command(Instant::now(), Command::Abandon { peer })
                    .await;
                self.to_locate.push(peer);
                self.locate_peers();
            }
            Reaction::GiveUp => {
                let served = self.peers.get(&peer);
                if let Some(why) = served.map(|served| events::gave_up(served.name())) {
                    self.finish(peer, why).await;
                }
            }
        }
    }

    /// Where messages about the peer belong.
    fn span(&self, peer: PeerId) -> Span {
        let served = self.peers.get(&peer);
        served.map_or_else(Span::none, |served| served.span().clone())
    }

    /// The next instant at which anything is due.
    fn next_alarm(&self) -> Option<Instant> {
        let alarms = self.peers.values().filter_map(Peer::next_alarm);
        let patience = match self.life {
            Life::LastTunnel { patience_until } if self.peers.is_empty() => Some(patience_until),
            _ => None,
        };
        let repair_at = Some(self.repair_at).filter(|_| !self.peers.is_empty());
        let alarms = alarms.chain(repair_at);
        alarms.chain(self.deadline).chain(patience).min()
    }
}

/// The endpoint's part of a peer's configuration; it takes the keys.
fn ike_peer(id: PeerId, peer: &mut config::Peer) -> PeerConfig {
    PeerConfig {
        id,
        // Nobody is answered before there is something to carry the packets: see [`reach`].
        remote: Remote::At(Vec::new()),
        local_id: peer.local_id.clone(),
        remote_id: peer.remote_id.clone(),
        psk: std::mem::replace(&mut peer.psk, Secret::new(Vec::new())),
        ppk: peer.ppk.take(),
        ike_proposals: peer.ike_proposals.clone(),
        esp_proposals: peer.esp_proposals.clone(),
        retransmit: peer.retransmit,
        on_failure: peer.on_failure,
        encapsulation: match peer.encapsulation {
            // Without offloads UDP is no faster than IP protocol 50.
            UdpEncapsulation::Auto if peer.tunnels.iter().any(|tunnel| tunnel.offload) => {
                UdpEncapsulation::Faster
            }
            chosen => chosen,
        },
        fragmentation: peer.fragmentation,
        ike_lifetime: peer.ike_lifetime,
        child_lifetime: peer.child_lifetime,
        dpd: peer.dpd,
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => pending().await,
    }
}
