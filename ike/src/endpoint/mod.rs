//! The [`Endpoint`]: finds the SA of a datagram, keeps half-open state behind cookies and under its
//! limits, weighs a peer's SAs against each other, and calls again when a wanted one is gone. How a
//! single SA negotiates is in `sa`.

mod admit;
mod half_open;
mod heirs;
mod peer;
mod peers;
mod sas;
mod settle;
mod snapshot;
mod strangers;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use rand_core::{CryptoRng, Rng};

use self::half_open::{Caller, HalfOpen};
use self::peer::{Intent, RefusalNews};
use self::peers::Peers;
use self::sas::Sas;
use crate::config::{Config, HalfOpenLimits, PeerConfig, PeerId, Remote};
use crate::cookie::CookieJar;
use crate::error::Drop;
use crate::event::{
    ChildId, Command, CommandError, Deadline, Event, GoneReason, Output, Path, PeerSnapshot, Timer,
};
use crate::roster::Roster;
use crate::sa::init::{self, InitSent};
use crate::sa::live::Live;
use crate::sa::{Context, Core, IkeSa, News, Numbers, State, Step};
use crate::wire::{Datagram, HeaderError, IkeSpi, Notify, NotifyType};

/// All IKE SAs of one host. See the crate's documentation for how it is driven.
pub struct Endpoint {
    peers: Peers,
    cookies: CookieJar,
    sas: Sas,
    half_open: HalfOpen,
    outside: Outside,
    drops: BTreeMap<Drop, u64>,
    stranger_refusals: RefusalNews,
}

/// What a step of an SA reads from and writes to.
struct Outside {
    roster: Roster,
    rng: Box<dyn CryptoRng + Send>,
    numbers: Numbers,
    output: VecDeque<Output>,
    trace: bool,
}

impl Outside {
    fn context(&mut self, now: Instant, alone: bool) -> Context<'_> {
        let Self {
            roster,
            rng,
            numbers,
            output,
            trace,
        } = self;
        Context {
            now,
            alone,
            roster,
            rng: rng.as_mut(),
            numbers,
            output,
            trace: *trace,
        }
    }
}

impl Endpoint {
    /// An endpoint without SAs. The same configuration, seed of `rng` and inputs give the same
    /// outputs (but for P-256 and P-384, whose private keys aws-lc-rs draws by itself).
    pub fn new(config: Config, mut rng: Box<dyn CryptoRng + Send>, now: Instant) -> Self {
        let cookies = CookieJar::new(rng.as_mut(), now);
        let mut endpoint = Self {
            peers: Peers::default(),
            cookies,
            sas: Sas::default(),
            half_open: HalfOpen::new(config.half_open),
            outside: Outside {
                roster: Roster::default(),
                rng,
                numbers: Numbers::default(),
                output: VecDeque::new(),
                trace: false,
            },
            drops: BTreeMap::new(),
            stranger_refusals: RefusalNews::default(),
        };
        for peer in config.peers {
            endpoint.serve(peer);
        }
        endpoint
    }

    /// Whether every message that is understood or sent is also told in words, as
    /// [`Output::Trace`]; at first it is not. A repetition of an encrypted one is not told again.
    pub fn set_trace(&mut self, trace: bool) {
        self.outside.trace = trace;
    }

    /// Takes a datagram from the network. Whatever its bytes are, the answer is outputs and at most
    /// one counted [`Drop`].
    pub fn handle_datagram(&mut self, now: Instant, path: Path, bytes: &[u8]) {
        self.assert_drained();
        let datagram = match Datagram::parse(bytes) {
            Ok(datagram) => datagram,
            Err(HeaderError::MajorVersion { header, .. }) => {
                // D5: answered with our highest version; a response or a stranger never is.
                if !header.response && self.is_answered(path) {
                    let reply = init::stateless_reply(
                        &header,
                        Notify::status(NotifyType::INVALID_MAJOR_VERSION),
                    );
                    self.outside.context(now, false).transmit(path, reply);
                }
                return self.count(Drop::MajorVersion);
            }
            Err(_) => return self.count(Drop::Header),
        };
        let header = &datagram.header;
        let our_spi = if header.from_initiator {
            header.responder
        } else {
            header.initiator
        };
        self.trace_received(now, path, our_spi, bytes);
        if our_spi == IkeSpi::NONE {
            return match self.on_initial_request(now, path, &datagram) {
                Ok(()) => {}
                Err(reason) => self.count(reason),
            };
        }
        if self.sas.contains(our_spi) {
            self.step(now, our_spi, |sa, ctx| sa.on_message(ctx, path, &datagram));
        } else {
            self.count(Drop::UnknownSpi);
        }
    }

    /// Messages in clear of a peer; whatever strangers send is counted only.
    fn trace_received(&mut self, now: Instant, path: Path, our_spi: IkeSpi, bytes: &[u8]) {
        let known = self.sas.contains(our_spi) || our_spi == IkeSpi::NONE && self.is_answered(path);
        if self.outside.trace && known {
            let mut ctx = self.outside.context(now, false);
            ctx.tell_clear(path, false, bytes);
        }
    }

    /// Does what is due. Early, late and needless calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.assert_drained();
        for spi in self.sas.due(now) {
            self.step(now, spi, IkeSa::on_timeout);
        }
        while let Some(peer) = self.peers.take_due(now) {
            self.outside
                .output
                .push_back(Output::Event(Event::Reconnect { peer }));
        }
    }

    /// Does what the caller wants.
    pub fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), CommandError> {
        self.assert_drained();
        match command {
            Command::Connect { peer, path } => self.connect(now, peer, path),
            Command::Locate { peer: id, remote } => {
                let peer = self.peers.get_mut(id);
                let peer = peer.ok_or(CommandError::UnknownPeer(id))?;
                if peer.intent == Intent::Leave {
                    peer.intent = Intent::Answer;
                }
                self.peers.locate(id, remote);
                self.enrol(id);
                Ok(())
            }
            Command::Disconnect { peer } => self.disconnect(now, peer),
            Command::Abandon { peer } => {
                self.check_known(peer)?;
                self.abandon(now, peer);
                Ok(())
            }
            Command::RekeyChild { child } => {
                self.with_child(now, child, |live, core, ctx| {
                    live.rekey_pair(core, ctx, child);
                });
                Ok(())
            }
            Command::ChildConfirmed { child } => {
                self.with_child(now, child, |live, core, ctx| live.confirm(core, ctx, child));
                Ok(())
            }
            Command::RekeyIke { peer } => {
                self.check_known(peer)?;
                for (spi, _) in self.established(peer) {
                    self.with_live(now, spi, |live, core, ctx| live.rekey(core, ctx));
                }
                Ok(())
            }
            Command::SeenAt { peer, path } => {
                self.check_known(peer)?;
                for spi in self.spis_of(peer) {
                    self.step(now, spi, |sa, ctx| sa.follow(ctx, path));
                }
                Ok(())
            }
            Command::Relocate { peer, local } => {
                self.check_known(peer)?;
                for spi in self.spis_of(peer) {
                    self.step(now, spi, |sa, ctx| sa.relocate(ctx, local));
                }
                Ok(())
            }
            Command::CheckLiveness { peer } => {
                self.check_known(peer)?;
                for (spi, _) in self.established(peer) {
                    self.with_live(now, spi, |live, core, ctx| live.check_liveness(core, ctx));
                }
                Ok(())
            }
            Command::ForceUdp { peer: id, force } => {
                let peer = self.peers.get_mut(id);
                peer.ok_or(CommandError::UnknownPeer(id))?.force_udp(force);
                Ok(())
            }
            Command::Heard { peer } => {
                self.check_known(peer)?;
                for spi in self.spis_of(peer) {
                    self.step(now, spi, IkeSa::hear);
                }
                Ok(())
            }
        }
    }

    /// Serves one more peer.
    pub fn add_peer(&mut self, config: PeerConfig) -> Result<(), CommandError> {
        self.assert_drained();
        let id = config.id;
        let added = self.serve(config);
        added.then_some(()).ok_or(CommandError::DuplicatePeer(id))
    }

    fn serve(&mut self, config: PeerConfig) -> bool {
        let id = config.id;
        let added = self.peers.add(config);
        self.enrol(id);
        added
    }

    /// Forgets a peer and, without a word to it, whatever SAs are left with it; a farewell is
    /// [`Command::Disconnect`]'s, before this. Its id is free again.
    pub fn remove_peer(&mut self, now: Instant, id: PeerId) -> Result<(), CommandError> {
        self.assert_drained();
        let removed = self.peers.remove(id);
        let removed = removed.ok_or(CommandError::UnknownPeer(id))?;
        self.outside.roster.strike(&removed.config);
        self.abandon(now, id);
        Ok(())
    }

    /// Bounds unauthenticated state anew; what is there already is left to expire.
    pub fn set_half_open_limits(&mut self, limits: HalfOpenLimits) {
        self.half_open.limits = limits;
    }

    /// The next output; [`Output::Idle`] when there is none. Every `handle_…` is followed by calls
    /// of this until it is idle.
    pub fn poll_output(&mut self) -> Output {
        match self.outside.output.pop_front() {
            Some(output) => output,
            None => Output::Idle(self.deadline()),
        }
    }

    /// What `status` shows: peers in the order of their ids.
    pub fn snapshot(&self) -> Vec<PeerSnapshot> {
        self.peers
            .ids()
            .filter_map(|id| self.peer_snapshot(id))
            .collect()
    }

    /// When anything authenticated came from the peer last, while an IKE SA is up.
    pub fn heard(&self, peer: PeerId) -> Option<Instant> {
        let serving = self.sas_of(peer).filter_map(|(_, sa)| sa.serving());
        serving.map(Live::heard).max()
    }

    /// Whether all that serves the peer goes on when our address changes ([`Command::Relocate`]).
    pub fn may_relocate(&self, peer: PeerId) -> bool {
        let serving = self.sas_of(peer).filter(|(_, sa)| sa.serving().is_some());
        let mut mobile = serving.map(|(_, sa)| sa.core.mobike.is_some()).peekable();
        mobile.peek().is_some() && mobile.all(|mobile| mobile)
    }

    /// Datagrams that changed nothing, by reason.
    pub fn drops(&self) -> impl Iterator<Item = (Drop, u64)> {
        Drop::ALL
            .iter()
            .map(|reason| (*reason, self.drops.get(reason).copied().unwrap_or(0)))
    }

    /// Whether no SA is left in any state, half-open and closing ones included, nor any number of
    /// one.
    pub fn is_idle(&self) -> bool {
        self.sas.is_empty() && self.half_open.len() == 0 && self.outside.numbers.is_empty()
    }

    /// How many callers have been answered and have not proven anything yet.
    pub fn half_open(&self) -> usize {
        self.half_open.len()
    }

    fn deadline(&self) -> Option<Deadline> {
        let next_call = self.peers.next_call().map(|at| Deadline {
            at,
            why: Timer::Reconnect,
        });
        self.sas.deadline().into_iter().chain(next_call).min()
    }

    fn connect(&mut self, now: Instant, id: PeerId, path: Path) -> Result<(), CommandError> {
        let peer = self.peers.get_mut(id);
        let peer = peer.ok_or(CommandError::UnknownPeer(id))?;
        if peer.remote == Remote::Anywhere {
            return Err(CommandError::CalledFromAnywhere(id));
        }
        peer.intent = Intent::Keep;
        let (config, wanted) = (Arc::clone(&peer.config), peer.encapsulation);
        self.peers.call_at(id, None);
        let under_way = |sa: &IkeSa| !sa.is_ending() && !matches!(sa.state, State::InitReceived(_));
        if self.sas_of(id).any(|(_, sa)| under_way(sa)) {
            return Ok(());
        }
        let spi = self.unused_spi();
        let mut ctx = self.outside.context(now, true);
        ctx.event(Event::Connecting { peer: id, path });
        let core = Core {
            owner: Some(id),
            initiated: true,
            ..Core::new(config, spi, path, wanted, now)
        };
        let step = InitSent::start(core, &mut ctx);
        self.apply(now, (Some(id), path), spi, step);
        Ok(())
    }

    fn disconnect(&mut self, now: Instant, id: PeerId) -> Result<(), CommandError> {
        let peer = self.peers.get_mut(id);
        let peer = peer.ok_or(CommandError::UnknownPeer(id))?;
        peer.intent = Intent::Leave;
        peer.disconnect_told = false;
        self.peers.call_at(id, None);
        self.enrol(id);
        for spi in self.spis_of(id) {
            self.step(now, spi, |sa, ctx| match sa.state {
                // Half-open at best at the other end, where they expire.
                State::InitSent(_) | State::IntermediateSent(_) | State::InitReceived(_) => {
                    Step::end(None)
                }
                _ => sa.close(ctx, GoneReason::Disconnected),
            });
        }
        self.tell_disconnected(id);
        Ok(())
    }

    fn abandon(&mut self, now: Instant, id: PeerId) {
        for spi in self.spis_of(id) {
            self.step(now, spi, IkeSa::abandon);
        }
    }

    /// Takes an SA out, lets it step, and puts back what is left of it.
    fn step(
        &mut self,
        now: Instant,
        our_spi: IkeSpi,
        step: impl FnOnce(IkeSa, &mut Context<'_>) -> Step,
    ) {
        let Some(sa) = self.sas.take(our_spi) else {
            return;
        };
        let (owner, path) = (sa.core.owner, sa.core.path);
        let caller = Caller::new(sa.core.path.remote, sa.core.initiator_spi);
        // D39: not even one that is being set up by the peer, which would not survive it.
        let alone = !self
            .sas
            .of(owner)
            .any(|(_, other)| !other.is_calling() && !other.is_ending());
        let step = step(sa, &mut self.outside.context(now, alone));
        let still_half_open = step
            .sa
            .as_ref()
            .is_some_and(|sa| matches!(sa.state, State::InitReceived(_)));
        if !still_half_open {
            self.half_open.remove(&caller, our_spi);
        }
        self.apply(now, (owner, path), our_spi, step);
    }

    /// `before` is whose the SA was, and its path; its step may have made somebody of a stranger.
    fn apply(&mut self, now: Instant, before: (Option<PeerId>, Path), our_spi: IkeSpi, step: Step) {
        let core = step.sa.as_ref().map(|sa| &sa.core);
        let (owner, path) = core.map_or(before, |core| (core.owner, core.path));
        if let Some(sa) = step.sa {
            self.sas.put(sa);
            self.bound_ended(now, owner);
        }
        if let Some(succession) = step.succession {
            self.succeed(now, succession);
        }
        match (step.news, owner) {
            (None, _) => {}
            (Some(News::Dropped(reason)), _) => self.count(reason),
            (Some(News::Refused(failure)), _) => self.tell_refusal_of(now, owner, path, failure),
            (Some(News::Established { initial_contact }), Some(peer)) => {
                self.on_established(now, peer, our_spi, initial_contact);
            }
            (Some(News::Failed(failure)), Some(peer)) => self.on_failed(now, peer, failure),
            (Some(News::Down(why)), Some(peer)) => self.on_down(now, peer, why),
            (Some(News::Alive), Some(peer)) => self.on_alive(now, peer, our_spi),
            // Nothing of a stranger's stands, and none is called.
            (Some(_), None) => {}
        }
        if let Some(peer) = owner {
            self.mind_heirs(now, peer);
            self.tell_disconnected(peer);
        }
    }

    fn check_known(&self, peer: PeerId) -> Result<(), CommandError> {
        let known = self.peers.contains(peer);
        known.then_some(()).ok_or(CommandError::UnknownPeer(peer))
    }

    fn with_live(
        &mut self,
        now: Instant,
        spi: IkeSpi,
        act: impl FnOnce(&mut Live, &Core, &mut Context<'_>),
    ) {
        self.step(now, spi, |sa, ctx| sa.with_live(ctx, act));
    }

    /// The SA that has this pair does something with it.
    fn with_child(
        &mut self,
        now: Instant,
        child: ChildId,
        act: impl FnOnce(&mut Live, &Core, &mut Context<'_>),
    ) {
        let serves = |spi: &IkeSpi| self.sas.get(*spi).is_some_and(|sa| sa.serving().is_some());
        if let Some(spi) = self.sas.with_child(child).filter(serves) {
            self.with_live(now, spi, act);
        }
    }

    fn sas_of(&self, peer: PeerId) -> impl Iterator<Item = (IkeSpi, &IkeSa)> {
        self.sas.of(Some(peer))
    }

    fn spis_of(&self, peer: PeerId) -> Vec<IkeSpi> {
        self.sas_of(peer).map(|(spi, _)| spi).collect()
    }

    /// The peer's established SAs and since when they are, oldest first.
    fn established(&self, peer: PeerId) -> Vec<(IkeSpi, Instant)> {
        let live = self
            .sas_of(peer)
            .filter_map(|(spi, sa)| Some((spi, sa.serving()?.agreed().since)));
        let mut live: Vec<_> = live.collect();
        live.sort_by_key(|(_, since)| *since);
        live
    }

    fn unused_spi(&mut self) -> IkeSpi {
        loop {
            let spi = IkeSpi(self.outside.rng.next_u64());
            if spi != IkeSpi::NONE && !self.sas.contains(spi) {
                return spi;
            }
        }
    }

    fn count(&mut self, reason: Drop) {
        let counter = self.drops.entry(reason).or_default();
        *counter = counter.saturating_add(1);
    }

    /// The contract: one mutation, then drain.
    fn assert_drained(&self) {
        debug_assert!(
            self.outside.output.is_empty(),
            "poll_output was not drained to Idle"
        );
    }
}
