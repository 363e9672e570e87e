//! The [`Endpoint`]: finds the SA of a datagram, keeps half-open state behind cookies and under its
//! limits, weighs a peer's SAs against each other, and calls again when a wanted one is gone. How a
//! single SA negotiates is in `sa`.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rand_core::{CryptoRng, Rng};

use crate::config::{Config, HalfOpenLimits, OnFailure, PeerId};
use crate::cookie::CookieJar;
use crate::error::{Drop, Failure};
use crate::event::{
    Command, CommandError, Deadline, Event, GoneReason, Output, Path, PeerSnapshot, PeerState,
    Timer,
};
use crate::limits;
use crate::peer::{Intent, Peer};
use crate::retransmit::reconnect_wait;
use crate::sa::child::Child;
use crate::sa::init::{self, InitReceived, InitSent};
use crate::sa::payloads::Payloads;
use crate::sa::{Context, Core, IkeSa, News, Numbers, State, Step};
use crate::wire::{Datagram, ExchangeType, HeaderError, IkeSpi, Notify, NotifyType};

/// All IKE SAs of one host. See the crate's documentation for how it is driven.
pub struct Endpoint {
    peers: BTreeMap<PeerId, Peer>,
    half_open_limits: HalfOpenLimits,
    cookies: CookieJar,
    /// By our SPI.
    sas: BTreeMap<IkeSpi, IkeSa>,
    /// Our SPIs of SAs that wait for IKE_AUTH, by the initiator's SPI and address.
    half_open: BTreeMap<(IkeSpi, SocketAddr), IkeSpi>,
    outside: Outside,
    drops: BTreeMap<Drop, u64>,
}

/// What a step of an SA reads from and writes to.
struct Outside {
    rng: Box<dyn CryptoRng + Send>,
    numbers: Numbers,
    output: VecDeque<Output>,
}

impl Outside {
    fn context(&mut self, now: Instant, alone: bool) -> Context<'_> {
        let Self {
            rng,
            numbers,
            output,
        } = self;
        Context {
            now,
            alone,
            rng: rng.as_mut(),
            numbers,
            output,
        }
    }
}

impl Endpoint {
    /// An endpoint without SAs. The same configuration, seed of `rng` and inputs give the same
    /// outputs (but for P-256 and P-384, whose private keys `ring` draws by itself).
    pub fn new(config: Config, mut rng: Box<dyn CryptoRng + Send>, now: Instant) -> Self {
        let cookies = CookieJar::new(rng.as_mut(), now);
        let peers = config
            .peers
            .into_iter()
            .map(|peer| (peer.id, Peer::new(Arc::new(peer))));
        Self {
            peers: peers.collect(),
            half_open_limits: config.half_open,
            cookies,
            sas: BTreeMap::new(),
            half_open: BTreeMap::new(),
            outside: Outside {
                rng,
                numbers: Numbers::default(),
                output: VecDeque::new(),
            },
            drops: BTreeMap::new(),
        }
    }

    /// Takes a datagram from the network. Whatever its bytes are, the answer is outputs and at most
    /// one counted [`Drop`].
    pub fn handle_datagram(&mut self, now: Instant, path: Path, bytes: &[u8]) {
        self.assert_drained();
        let datagram = match Datagram::parse(bytes) {
            Ok(datagram) => datagram,
            Err(HeaderError::MajorVersion { header, .. }) => {
                // D5: answered with our highest version; a response never is.
                if !header.response {
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
        if our_spi == IkeSpi::NONE {
            return match self.on_initial_request(now, path, &datagram) {
                Ok(()) => {}
                Err(reason) => self.count(reason),
            };
        }
        if self.sas.contains_key(&our_spi) {
            self.step(now, our_spi, |sa, ctx| sa.on_message(ctx, path, &datagram));
        } else {
            self.count(Drop::UnknownSpi);
        }
    }

    /// Does what is due. Early, late and needless calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.assert_drained();
        let is_due = |sa: &IkeSa| sa.deadline().is_some_and(|deadline| deadline.at <= now);
        let due: Vec<_> = self
            .sas
            .iter()
            .filter(|(_, sa)| is_due(sa))
            .map(|(spi, _)| *spi)
            .collect();
        for spi in due {
            self.step(now, spi, IkeSa::on_timeout);
        }
        for (id, peer) in &mut self.peers {
            if peer.reconnect_at.take_if(|at| *at <= now).is_some() {
                self.outside
                    .output
                    .push_back(Output::Event(Event::Reconnect { peer: *id }));
            }
        }
    }

    /// Does what the caller wants.
    pub fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), CommandError> {
        self.assert_drained();
        match command {
            Command::Connect { peer, path } => self.connect(now, peer, path),
            Command::Locate {
                peer: id,
                addresses,
            } => {
                let peer = self
                    .peers
                    .get_mut(&id)
                    .ok_or(CommandError::UnknownPeer(id))?;
                peer.addresses = addresses;
                Ok(())
            }
            Command::Disconnect { peer } => self.disconnect(now, peer),
        }
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
            .keys()
            .filter_map(|id| self.peer_snapshot(*id))
            .collect()
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
        self.sas.is_empty() && self.half_open.is_empty() && self.outside.numbers.is_empty()
    }

    fn deadline(&self) -> Option<Deadline> {
        let reconnects = self.peers.values().filter_map(|peer| peer.reconnect_at);
        let reconnects = reconnects.map(|at| Deadline {
            at,
            why: Timer::Reconnect,
        });
        self.sas
            .values()
            .filter_map(IkeSa::deadline)
            .chain(reconnects)
            .min()
    }

    fn connect(&mut self, now: Instant, id: PeerId, path: Path) -> Result<(), CommandError> {
        let peer = self
            .peers
            .get_mut(&id)
            .ok_or(CommandError::UnknownPeer(id))?;
        peer.intent = Intent::Keep;
        peer.reconnect_at = None;
        let config = Arc::clone(&peer.config);
        let under_way = |sa: &IkeSa| {
            matches!(
                sa.state,
                State::InitSent(_) | State::AuthSent(_) | State::Established(_)
            )
        };
        if self.sas_of(id).any(|(_, sa)| under_way(sa)) {
            return Ok(());
        }
        let spi = self.unused_spi();
        let mut ctx = self.outside.context(now, true);
        ctx.event(Event::Connecting { peer: id, path });
        let core = Core {
            peer: config,
            initiator_spi: spi,
            responder_spi: IkeSpi::NONE,
            initiated: true,
            path,
            begun: now,
        };
        let step = InitSent::start(core, &mut ctx);
        self.apply(now, id, spi, step);
        Ok(())
    }

    fn disconnect(&mut self, now: Instant, id: PeerId) -> Result<(), CommandError> {
        let peer = self
            .peers
            .get_mut(&id)
            .ok_or(CommandError::UnknownPeer(id))?;
        peer.intent = Intent::Leave;
        peer.reconnect_at = None;
        peer.disconnect_told = false;
        for spi in self.spis_of(id) {
            self.step(now, spi, |sa, ctx| match sa.state {
                // Nobody but us knows of these.
                State::InitSent(_) | State::InitReceived(_) => Step::end(None),
                _ => sa.close(ctx, GoneReason::Disconnected),
            });
        }
        self.tell_disconnected(id);
        Ok(())
    }

    /// An IKE_SA_INIT request that no SA of ours has seen: nothing is kept before the cookie, if one
    /// is asked for, is right (D9).
    fn on_initial_request(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Result<(), Drop> {
        let header = &datagram.header;
        // D1, D7: message ID 0 in every IKE_SA_INIT.
        if header.exchange != ExchangeType::IKE_SA_INIT || header.response || header.message_id != 0
        {
            return Err(Drop::UnknownSpi);
        }
        if header.initiator == IkeSpi::NONE {
            return Err(Drop::Header);
        }
        if let Some(spi) = self.half_open.get(&(header.initiator, path.remote)) {
            return self.repeat_init_reply(now, *spi, path, datagram);
        }
        let peer = self.peer_at(path).ok_or(Drop::UnknownPeer)?;
        // Our own request, sent back to us: its AUTH would be ours too.
        if self
            .sas
            .get(&header.initiator)
            .is_some_and(|sa| sa.core.initiated)
        {
            return Err(Drop::Refused);
        }
        let payloads = match datagram.clear_payloads() {
            Ok(payloads) => Payloads::new(payloads),
            Err(error) => {
                let refusal = init::Refusal::wire(error);
                return self.refuse_init(now, path, peer, datagram, refusal);
            }
        };
        self.check_cookie(now, path, datagram, &payloads)?;
        self.make_room(now);

        let responder_spi = self.unused_spi();
        let Some(config) = self.peers.get(&peer).map(|peer| Arc::clone(&peer.config)) else {
            return Err(Drop::UnknownPeer);
        };
        let core = Core {
            peer: config,
            initiator_spi: header.initiator,
            responder_spi: IkeSpi::NONE,
            initiated: false,
            path,
            begun: now,
        };
        let mut ctx = self.outside.context(now, false);
        match InitReceived::answer(core, &mut ctx, responder_spi, datagram, &payloads) {
            Ok(sa) => {
                self.half_open
                    .insert((header.initiator, path.remote), responder_spi);
                self.sas.insert(responder_spi, sa);
                Ok(())
            }
            Err(refusal) => self.refuse_init(now, path, peer, datagram, refusal),
        }
    }

    fn repeat_init_reply(
        &mut self,
        now: Instant,
        spi: IkeSpi,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Result<(), Drop> {
        let Some(State::InitReceived(state)) = self.sas.get(&spi).map(|sa| &sa.state) else {
            return Err(Drop::MessageId);
        };
        let mut ctx = self.outside.context(now, false);
        if state.last.repeat(&mut ctx, path, datagram) {
            Ok(())
        } else {
            Err(Drop::MessageId)
        }
    }

    /// The peer that may call from there.
    fn peer_at(&self, path: Path) -> Option<PeerId> {
        self.peers
            .iter()
            .filter(|(_, peer)| peer.intent != Intent::Leave)
            .find(|(_, peer)| peer.addresses.contains(&path.remote.ip()))
            .map(|(id, _)| *id)
    }

    fn check_cookie(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &Datagram<'_>,
        payloads: &Payloads,
    ) -> Result<(), Drop> {
        if self.half_open.len() < self.half_open_limits.cookies_from {
            return Ok(());
        }
        self.cookies.roll(self.outside.rng.as_mut(), now);
        let nonce = payloads.nonce().map_err(|_| Drop::Malformed)?;
        let (remote, spi) = (path.remote.ip(), datagram.header.initiator);
        let returned = payloads.notify(NotifyType::COOKIE);
        if returned.is_some_and(|notify| self.cookies.verify(&notify.data, nonce, remote, spi)) {
            return Ok(());
        }
        let cookie = self.cookies.issue(nonce, remote, spi);
        let notify = Notify::with_data(NotifyType::COOKIE, cookie);
        let reply = init::stateless_reply(&datagram.header, notify);
        self.outside.context(now, false).transmit(path, reply);
        Err(Drop::Cookie)
    }

    /// Under the limit there is always room for one more: the oldest half-open SA gives way.
    fn make_room(&mut self, now: Instant) {
        if self.half_open.len() < self.half_open_limits.limit.max(1) {
            return;
        }
        let oldest = self
            .half_open
            .values()
            .min_by_key(|spi| self.sas.get(spi).and_then(IkeSa::deadline));
        if let Some(spi) = oldest.copied() {
            self.step(now, spi, |_, _| Step::end(None));
        }
    }

    fn refuse_init(
        &mut self,
        now: Instant,
        path: Path,
        peer: PeerId,
        datagram: &Datagram<'_>,
        refusal: init::Refusal,
    ) -> Result<(), Drop> {
        if let Some(notify) = refusal.notify {
            let reply = init::stateless_reply(&datagram.header, notify);
            self.outside.context(now, false).transmit(path, reply);
        }
        if let Some(failure) = refusal.failure {
            self.tell_refusal(now, peer, *failure);
        }
        Err(Drop::Refused)
    }

    /// Takes an SA out, lets it step, and puts back what is left of it.
    fn step(
        &mut self,
        now: Instant,
        our_spi: IkeSpi,
        step: impl FnOnce(IkeSa, &mut Context<'_>) -> Step,
    ) {
        let Some(sa) = self.sas.remove(&our_spi) else {
            return;
        };
        let peer = sa.core.peer.id;
        let half_open_key = (sa.core.initiator_spi, sa.core.path.remote);
        // D39: not even one that is being set up by the peer, which would not survive it.
        let alone = !self.sas_of(peer).any(|(_, other)| {
            matches!(other.state, State::Established(_) | State::InitReceived(_))
        });
        let step = step(sa, &mut self.outside.context(now, alone));
        let still_half_open = step
            .sa
            .as_ref()
            .is_some_and(|sa| matches!(sa.state, State::InitReceived(_)));
        if !still_half_open && self.half_open.get(&half_open_key) == Some(&our_spi) {
            self.half_open.remove(&half_open_key);
        }
        self.apply(now, peer, our_spi, step);
    }

    fn apply(&mut self, now: Instant, peer: PeerId, our_spi: IkeSpi, step: Step) {
        if let Some(sa) = step.sa {
            self.sas.insert(our_spi, sa);
        }
        match step.news {
            None => {}
            Some(News::Dropped(reason)) => self.count(reason),
            Some(News::Established { initial_contact }) => {
                self.on_established(now, peer, our_spi, initial_contact);
            }
            Some(News::Failed(failure)) => self.on_failed(now, peer, failure),
            Some(News::Refused(failure)) => self.tell_refusal(now, peer, failure),
            Some(News::Down(why)) => self.on_down(now, peer, why),
            Some(News::Alive { redundant }) => self.on_alive(now, peer, our_spi, redundant),
        }
        self.tell_disconnected(peer);
    }

    fn on_established(&mut self, now: Instant, id: PeerId, spi: IkeSpi, initial_contact: bool) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.succeeded();
        if peer.intent == Intent::Leave {
            return self.step(now, spi, |sa, ctx| sa.close(ctx, GoneReason::Disconnected));
        }
        if initial_contact {
            self.replace_older(now, id, spi);
        }
        // An attempt that the peer has not authenticated is not needed any more; the peer's half of
        // it is half-open and expires.
        for other in self.spis_of(id) {
            self.step(now, other, |sa, _| match sa.state {
                State::InitSent(_) => Step::end(None),
                _ => Step {
                    sa: Some(sa),
                    news: None,
                },
            });
        }
        self.weigh(now, id);
        self.evict(now, id);
    }

    /// INITIAL_CONTACT (D39): the peer has no other SA with us. SAs that were being set up when this
    /// one began are none of those that it has forgotten.
    fn replace_older(&mut self, now: Instant, peer: PeerId, newcomer: IkeSpi) {
        let Some(begun) = self.sas.get(&newcomer).map(|sa| sa.core.begun) else {
            return;
        };
        for (spi, since) in self.established(peer) {
            if spi != newcomer && since < begun {
                self.forget(now, spi, GoneReason::Replaced);
            }
        }
    }

    /// Two ends that initiated at once have two IKE SAs. Both reach the same verdict alone: the one
    /// whose exchange holds the lowest nonce goes, taken down by its initiator (the rule of RFC 7296
    /// §2.8.1). First the survivor has to answer, because a foreign peer may hold by another rule
    /// and have taken that one down.
    fn weigh(&mut self, now: Instant, peer: PeerId) {
        let established = self.established(peer);
        if established.len() < 2 {
            return;
        }
        let nonce = |spi: &IkeSpi| {
            self.sas
                .get(spi)
                .and_then(IkeSa::live)
                .map(|l| l.lowest_nonce())
        };
        let lowest = established
            .iter()
            .map(|(spi, _)| *spi)
            .min_by(|a, b| nonce(a).cmp(&nonce(b)));
        let Some(redundant) = lowest else { return };
        let survivor = established
            .iter()
            .map(|(spi, _)| *spi)
            .rfind(|spi| *spi != redundant);
        let ours = self.sas.get(&redundant).is_some_and(|sa| sa.core.initiated);
        let (true, Some(survivor)) = (ours, survivor) else {
            return;
        };
        self.step(now, survivor, |mut sa, ctx| {
            if let State::Established(live) = &mut sa.state {
                live.probe(&sa.core, ctx, redundant);
            }
            Step {
                sa: Some(sa),
                news: None,
            }
        });
    }

    fn on_alive(&mut self, now: Instant, peer: PeerId, survivor: IkeSpi, redundant: IkeSpi) {
        let stands = |spi| self.sas.get(&spi).is_some_and(|sa| sa.live().is_some());
        if stands(survivor) && stands(redundant) {
            self.step(now, redundant, |sa, ctx| {
                sa.close(ctx, GoneReason::Redundant)
            });
            self.weigh(now, peer);
        }
    }

    /// SAs that a peer sets up one after the other, without ever deleting one, are bounded.
    fn evict(&mut self, now: Instant, peer: PeerId) {
        let established = self.established(peer);
        let surplus = established.len().saturating_sub(limits::SAS_PER_PEER);
        for (spi, _) in established.into_iter().take(surplus) {
            self.forget(now, spi, GoneReason::Replaced);
        }
    }

    /// Takes an SA down without a word to the peer, which has none of it.
    fn forget(&mut self, now: Instant, spi: IkeSpi, why: GoneReason) {
        self.step(now, spi, |sa, ctx| match sa.state {
            State::Established(live) => live.forget(&sa.core, ctx, why),
            state => Step::stay(sa.core, state),
        });
    }

    fn on_failed(&mut self, now: Instant, id: PeerId, failure: Failure) {
        let stands = !self.established(id).is_empty();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        // Crossing attempts: the other one has made it.
        if stands || peer.intent != Intent::Keep {
            return;
        }
        peer.failures = peer.failures.saturating_add(1);
        peer.last_failure = Some(failure.clone());
        let retry_in = match peer.config.on_failure {
            OnFailure::Retry => Some(reconnect_wait(peer.failures, self.outside.rng.next_u32())),
            OnFailure::Exit => {
                peer.intent = Intent::Answer;
                None
            }
        };
        peer.reconnect_at = retry_in.map(|wait| now + wait);
        let event = Event::AttemptFailed {
            peer: id,
            failure,
            retry_in,
        };
        self.outside.output.push_back(Output::Event(event));
    }

    fn on_down(&mut self, now: Instant, id: PeerId, why: GoneReason) {
        let last = self.established(id).is_empty();
        let event = Event::IkeDown {
            peer: id,
            why,
            last,
        };
        self.outside.output.push_back(Output::Event(event));
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if last && peer.intent == Intent::Keep {
            let wait = reconnect_wait(1, self.outside.rng.next_u32());
            peer.reconnect_at = Some(now + wait);
        }
    }

    fn tell_refusal(&mut self, now: Instant, id: PeerId, failure: Failure) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.may_tell_refusal(now) {
            peer.last_failure = Some(failure.clone());
            let event = Event::Refused { peer: id, failure };
            self.outside.output.push_back(Output::Event(event));
        }
    }

    /// Once after a disconnect: when nothing of the peer's is left that needs an exchange.
    fn tell_disconnected(&mut self, id: PeerId) {
        let busy = self
            .sas_of(id)
            .any(|(_, sa)| !matches!(sa.state, State::Closed(_)));
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.intent == Intent::Leave && !busy && !peer.disconnect_told {
            peer.disconnect_told = true;
            self.outside
                .output
                .push_back(Output::Event(Event::Disconnected { peer: id }));
        }
    }

    fn sas_of(&self, peer: PeerId) -> impl Iterator<Item = (IkeSpi, &IkeSa)> {
        let mine = move |sa: &&IkeSa| sa.core.peer.id == peer;
        self.sas
            .iter()
            .map(|(spi, sa)| (*spi, sa))
            .filter(move |(_, sa)| mine(sa))
    }

    fn spis_of(&self, peer: PeerId) -> Vec<IkeSpi> {
        self.sas_of(peer).map(|(spi, _)| spi).collect()
    }

    /// The peer's established SAs and since when they are, oldest first.
    fn established(&self, peer: PeerId) -> Vec<(IkeSpi, Instant)> {
        let live = self
            .sas_of(peer)
            .filter_map(|(spi, sa)| Some((spi, sa.live()?.details().since)));
        let mut live: Vec<_> = live.collect();
        live.sort_by_key(|(_, since)| *since);
        live
    }

    fn unused_spi(&mut self) -> IkeSpi {
        loop {
            let spi = IkeSpi(self.outside.rng.next_u64());
            if spi != IkeSpi::NONE && !self.sas.contains_key(&spi) {
                return spi;
            }
        }
    }

    fn peer_snapshot(&self, id: PeerId) -> Option<PeerSnapshot> {
        let peer = self.peers.get(&id)?;
        let established = self.established(id);
        let details = |spi: &IkeSpi| {
            let live = self.sas.get(spi)?.live()?;
            Some((
                live.details().clone(),
                live.children().iter().map(Child::details).collect(),
            ))
        };
        let any = |test: fn(&State) -> bool| self.sas_of(id).any(|(_, sa)| test(&sa.state));
        let state = if !established.is_empty() {
            PeerState::Established
        } else if any(|state| matches!(state, State::InitSent(_) | State::AuthSent(_))) {
            PeerState::Connecting
        } else if any(|state| matches!(state, State::Closing(_))) {
            PeerState::Closing
        } else if peer.intent == Intent::Keep {
            PeerState::Waiting
        } else {
            PeerState::Idle
        };
        Some(PeerSnapshot {
            peer: id,
            state,
            established: established
                .iter()
                .filter_map(|(spi, _)| details(spi))
                .collect(),
            last_failure: peer.last_failure.clone().filter(|_| established.is_empty()),
        })
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
