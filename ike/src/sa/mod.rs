//! One IKE SA: what it shares over its life ([`Core`]), the state that it is in ([`State`]), and
//! what a message or an alarm makes of it ([`Step`]).
//!
//! Each state is a struct that the step leaving it consumes, so a field exists only where it has a
//! value, and a half-open SA has no method for CREATE_CHILD_SA or INFORMATIONAL (SECURITY lesson
//! 1). The exchange in flight is data beside the state ([`exchange::Request`], window 1).
//!
//! One file or folder per exchange, both roles: [`init`] IKE_SA_INIT, [`intermediate`] IKE_INTERMEDIATE,
//! [`auth`] IKE_AUTH, [`rekey`] CREATE_CHILD_SA, [`inform`] INFORMATIONAL; [`live`] is the established SA
//! that carries the last two, and [`ending`] its end; [`window`] counts their messages, [`reply`] answers
//! the peer's, [`child`] negotiates a CHILD_SA pair, [`pairs`] is what becomes of it and [`lifetime`] how
//! long. How an SA's addresses change is in [`rebinding`] and [`mobike`]. How messages are encrypted and
//! divided is in [`protection`], with [`outgoing`] and [`reassembly`] for the two directions of fragments;
//! [`payloads`] finds what a message has to have. Which SA of a peer's stays is not decided here but in
//! `endpoint`.

pub(crate) mod auth;
pub(crate) mod child;
mod ending;
pub(crate) mod exchange;
mod inform;
pub(crate) mod init;
mod intermediate;
mod lifetime;
pub(crate) mod live;
mod mobike;
mod outgoing;
pub(crate) mod pairs;
pub(crate) mod payloads;
mod protection;
mod reassembly;
mod rebinding;
mod rekey;
mod reply;
mod step;
mod window;

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use rand_core::CryptoRng;

use crate::config::{PeerConfig, PeerId, RemoteId, UdpEncapsulation};
use crate::error::Drop;
use crate::event::{
    ChildId, Deadline, Encapsulation, EspSpi, Event, GoneReason, Output, Path, Timer, Trace,
    Transmit, UdpCause,
};
use crate::identity::Identity;
use crate::nat::Nat;
use crate::roster::Roster;
use crate::wire::display::Message;
use crate::wire::{Datagram, ExchangeType, Header, IkeSpi, Payload};

use auth::AuthSent;
use exchange::Exchange;
use init::{InitReceived, InitSent};
use intermediate::IntermediateSent;
use live::{Duty, Live};
use step::Verdict;

pub(crate) use self::step::{News, Step, Succession};

/// The outside of an SA while it takes a step.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    /// No other SA with this peer stands or is being set up by it (D39, RFC 7296 §2.4).
    pub(crate) alone: bool,
    /// Who may call from anywhere.
    pub(crate) roster: &'a Roster,
    pub(crate) rng: &'a mut (dyn CryptoRng + Send),
    pub(crate) numbers: &'a mut Numbers,
    pub(crate) output: &'a mut VecDeque<Output>,
    /// Whether messages are told in words.
    pub(crate) trace: bool,
}

impl Context<'_> {
    pub(crate) fn transmit(&mut self, path: Path, payload: Vec<u8>) {
        if self.trace {
            self.tell_clear(path, true, &payload);
        }
        self.output
            .push_back(Output::Transmit(Transmit { path, payload }));
    }

    /// A message of which nothing is encrypted; others are told where their payloads are at hand.
    pub(crate) fn tell_clear(&mut self, path: Path, sent: bool, octets: &[u8]) {
        let Ok(datagram) = Datagram::parse(octets) else {
            return;
        };
        if let Ok(payloads) = datagram.clear_payloads()
            && !datagram.is_encrypted()
        {
            self.tell(path, sent, &datagram.header, &payloads);
        }
    }

    pub(crate) fn tell(&mut self, path: Path, sent: bool, header: &Header, payloads: &[Payload]) {
        if self.trace {
            let message = Message { header, payloads }.to_string();
            self.output.push_back(Output::Trace(Trace {
                path,
                sent,
                message,
            }));
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
    }

    /// `length` fresh random octets.
    pub(crate) fn random(&mut self, length: usize) -> Vec<u8> {
        let mut octets = vec![0; length];
        self.rng.fill_bytes(&mut octets);
        octets
    }
}

/// Numbers that are unique for the life of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    last_child: u64,
    inbound_spis: BTreeSet<EspSpi>,
}

impl Numbers {
    pub(crate) fn child(&mut self) -> ChildId {
        self.last_child = self.last_child.wrapping_add(1);
        ChildId(self.last_child)
    }

    /// An inbound ESP SPI that no live SA has; never 0 to 255 (RFC 4303 §2.1).
    pub(crate) fn esp_spi(&mut self, rng: &mut (dyn CryptoRng + Send)) -> EspSpi {
        loop {
            let spi = EspSpi(rng.next_u32());
            if !spi.is_reserved() && self.inbound_spis.insert(spi) {
                return spi;
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inbound_spis.is_empty()
    }

    pub(crate) fn release(&mut self, spi: EspSpi) {
        self.inbound_spis.remove(&spi);
    }
}

/// What an IKE SA keeps through all its states.
pub(crate) struct Core {
    /// With whom it is; `None`: with a stranger, who has yet to say who it is.
    pub(crate) owner: Option<PeerId>,
    /// On what terms: the owner's, or those for strangers.
    pub(crate) peer: Arc<PeerConfig>,
    pub(crate) initiator_spi: IkeSpi,
    pub(crate) responder_spi: IkeSpi,
    /// Whether we are the original initiator.
    pub(crate) initiated: bool,
    pub(crate) path: Path,
    /// When ESP is to travel in UDP.
    pub(crate) wanted: UdpEncapsulation,
    /// What is known of NATs on the path.
    pub(crate) nat: Nat,
    /// How ESP travels under it. IKE_SA_INIT decides whether that is in UDP, for good.
    pub(crate) encapsulation: Encapsulation,
    /// Why that is UDP, if it is.
    pub(crate) udp_cause: Option<UdpCause>,
    /// Our part when an address changes, if both ends go on then.
    pub(crate) mobike: Option<mobike::Role>,
    /// Both ends take fragments (RFC 7383 §2.3).
    pub(crate) fragmentation: bool,
    /// When our first IKE_SA_INIT request left, or the peer's arrived.
    pub(crate) begun: Instant,
}

impl Core {
    /// Of an SA on which nothing was said so far: the peer's, with a stranger.
    pub(crate) fn new(
        peer: Arc<PeerConfig>,
        initiator_spi: IkeSpi,
        path: Path,
        wanted: UdpEncapsulation,
        begun: Instant,
    ) -> Self {
        Self {
            owner: None,
            peer,
            initiator_spi,
            responder_spi: IkeSpi::NONE,
            initiated: false,
            path,
            wanted,
            nat: Nat::default(),
            encapsulation: Encapsulation::None,
            udp_cause: None,
            mobike: None,
            fragmentation: false,
            begun,
        }
    }

    /// Whether a message with these SPIs belongs here. An initiator learns the responder's SPI from
    /// the first answer.
    fn matches(&self, header: &Header) -> bool {
        header.from_initiator != self.initiated
            && header.initiator == self.initiator_spi
            && (self.responder_spi == IkeSpi::NONE || header.responder == self.responder_spi)
    }

    pub(crate) const fn header(
        &self,
        exchange: ExchangeType,
        message_id: u32,
        response: bool,
    ) -> Header {
        Header {
            initiator: self.initiator_spi,
            responder: self.responder_spi,
            exchange,
            from_initiator: self.initiated,
            response,
            message_id,
        }
    }

    /// Ours of the two SPIs.
    pub(crate) const fn our_spi(&self) -> IkeSpi {
        if self.initiated {
            self.initiator_spi
        } else {
            self.responder_spi
        }
    }

    /// What IKE_SA_INIT has shown of NATs on the path.
    pub(crate) const fn found_nat(&mut self, nat: Nat) {
        self.nat = nat;
        self.encapsulation = nat.encapsulation(self.wanted);
        self.udp_cause = nat.udp_cause(self.wanted);
    }

    /// Who we say we are.
    pub(crate) fn local_id(&self) -> Identity {
        match &self.peer.local_id {
            Some(id) => id.clone(),
            None => Identity::Address(self.path.local.ip()),
        }
    }

    /// Who the peer has to be; `None`: whoever holds the key.
    pub(crate) fn expected_id(&self) -> Option<Identity> {
        match &self.peer.remote_id {
            RemoteId::Address => Some(Identity::Address(self.path.remote.ip())),
            RemoteId::Is(id) => Some(id.clone()),
            RemoteId::Any => None,
        }
    }
}

/// Where an IKE SA stands.
pub(crate) enum State {
    /// Our IKE_SA_INIT request waits for its answer.
    InitSent(Box<InitSent>),
    /// Our IKE_INTERMEDIATE request waits for its answer.
    IntermediateSent(Box<IntermediateSent>),
    /// Our IKE_AUTH request waits for its answer.
    AuthSent(Box<AuthSent>),
    /// We answered IKE_SA_INIT; the peer has proven nothing.
    InitReceived(Box<InitReceived>),
    /// Both ends are who they say; what it is for is its [`Duty`](live::Duty).
    Established(Box<Live>),
    /// Over; the last reply is repeated while its request may be (RFC 7296 §2.1).
    Closed(Closed),
}

/// See [`State::Closed`].
pub(crate) struct Closed {
    pub(crate) last: Exchange,
    pub(crate) until: Instant,
}

/// An IKE SA.
pub(crate) struct IkeSa {
    pub(crate) core: Core,
    pub(crate) state: State,
}

impl IkeSa {
    /// Takes a message whose SPIs led here.
    pub(crate) fn on_message(
        self,
        ctx: &mut Context<'_>,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Step {
        let Self { core, state } = self;
        if !core.matches(&datagram.header) {
            return Step::with(core, state, News::Dropped(Drop::UnknownSpi));
        }
        match state {
            State::InitSent(state) => state.on_message(core, ctx, datagram),
            State::IntermediateSent(state) => state.on_message(core, ctx, datagram),
            State::AuthSent(state) => state.on_message(core, ctx, datagram),
            State::InitReceived(state) => state.on_message(core, ctx, path, datagram),
            State::Established(live) => live.on_message(core, ctx, path, datagram),
            State::Closed(state) => state.on_message(core, ctx, path, datagram),
        }
    }

    /// Does what is due.
    pub(crate) fn on_timeout(self, ctx: &mut Context<'_>) -> Step {
        let Self { core, state } = self;
        match state {
            State::InitSent(state) => state.on_timeout(core, ctx),
            State::IntermediateSent(state) => state.on_timeout(core, ctx),
            State::AuthSent(state) => state.on_timeout(core, ctx),
            State::Established(live) => live.on_timeout(core, ctx),
            // Neither has an alarm but the one that ends it.
            State::InitReceived(_) | State::Closed(_) => Step::end(None),
        }
    }

    /// An SA that was made to succeed another hears what it is for.
    pub(crate) fn judge(self, ctx: &mut Context<'_>, verdict: Verdict) -> Step {
        let Self { core, mut state } = self;
        match (&mut state, verdict) {
            (State::Established(live), Verdict::Inherits(pairs)) => {
                live.inherit(&core, ctx, pairs);
                live.send_next(&core, ctx);
            }
            (State::Established(live), Verdict::Redundant) => live.retire(ctx),
            (_, Verdict::Inherits(mut pairs)) => pairs.clear(&core, ctx, GoneReason::Abandoned),
            (_, Verdict::Redundant) => {}
        }
        Step::stay(core, state)
    }

    /// Lets an established SA do something beside its exchanges.
    pub(crate) fn with_live(
        self,
        ctx: &mut Context<'_>,
        act: impl FnOnce(&mut Live, &Core, &mut Context<'_>),
    ) -> Step {
        let Self { core, mut state } = self;
        if let State::Established(live) = &mut state {
            act(live, &core, ctx);
        }
        Step::stay(core, state)
    }

    /// A fresh authentic ESP packet of the peer's came on `path`.
    pub(crate) fn follow(self, ctx: &mut Context<'_>, path: Path) -> Step {
        let Self {
            mut core,
            mut state,
        } = self;
        if let State::Established(live) = &mut state {
            live.follow(&mut core, ctx, path);
        }
        Step::stay(core, state)
    }

    /// We are at this address from here on: goes on from there, or ends without a word where that is not
    /// agreed on.
    pub(crate) fn relocate(self, ctx: &mut Context<'_>, local: IpAddr) -> Step {
        let Self {
            mut core,
            mut state,
        } = self;
        if let State::Established(live) = &mut state
            && live.relocate(&mut core, ctx, local)
        {
            return Step::stay(core, state);
        }
        Self { core, state }.abandon(ctx)
    }

    /// Ends an established SA with a DELETE; any other state is left as it is.
    pub(crate) fn close(self, ctx: &mut Context<'_>, why: GoneReason) -> Step {
        let Self { core, state } = self;
        match state {
            State::Established(live) => live.close(core, ctx, why),
            other => Step::stay(core, other),
        }
    }

    /// Ends without a word to the peer, in any state.
    pub(crate) fn abandon(self, ctx: &mut Context<'_>) -> Step {
        let Self { core, state } = self;
        match state {
            State::AuthSent(state) => state.abandon(&core, ctx),
            State::Established(live) => live.forget(&core, ctx, GoneReason::Abandoned),
            // They hold no number of a CHILD_SA.
            State::InitSent(_)
            | State::IntermediateSent(_)
            | State::InitReceived(_)
            | State::Closed(_) => Step::end(None),
        }
    }

    /// When it wants to be called again.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        match &self.state {
            State::InitSent(state) => Some(state.deadline()),
            State::IntermediateSent(state) => Some(state.request.deadline()),
            State::AuthSent(state) => Some(state.request.deadline()),
            State::InitReceived(state) => Some(Deadline {
                at: state.expires,
                why: Timer::HalfOpen,
            }),
            State::Established(live) => live.deadline(&self.core),
            State::Closed(state) => Some(Deadline {
                at: state.until,
                why: Timer::Closed,
            }),
        }
    }

    /// The peer has proven by other means that it is there.
    pub(crate) fn hear(self, ctx: &mut Context<'_>) -> Step {
        let now = ctx.now;
        self.with_live(ctx, |live, _, _| live.hear(now))
    }

    /// The SA, if its ends are authenticated and it has the pairs.
    pub(crate) fn serving(&self) -> Option<&Live> {
        self.live().filter(|live| live.serves())
    }

    pub(crate) const fn live(&self) -> Option<&Live> {
        match &self.state {
            State::Established(live) => Some(live),
            _ => None,
        }
    }

    /// Whether it only waits for its own end.
    pub(crate) fn is_ending(&self) -> bool {
        match &self.state {
            State::Established(live) => {
                matches!(live.duty(), Duty::Retire { .. } | Duty::Close { .. })
            }
            State::Closed(_) => true,
            State::InitSent(_)
            | State::IntermediateSent(_)
            | State::AuthSent(_)
            | State::InitReceived(_) => false,
        }
    }

    /// Whether it is being set up by us.
    pub(crate) const fn is_calling(&self) -> bool {
        matches!(
            self.state,
            State::InitSent(_) | State::IntermediateSent(_) | State::AuthSent(_)
        )
    }
}

impl Closed {
    fn on_message(
        self,
        core: Core,
        ctx: &mut Context<'_>,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Step {
        if self.last.repeat(ctx, path, datagram) {
            Step::stay(core, State::Closed(self))
        } else {
            Step::with(core, State::Closed(self), News::Dropped(Drop::MessageId))
        }
    }
}
