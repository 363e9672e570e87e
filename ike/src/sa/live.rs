//! An SA whose two ends are authenticated ([`Live`]): what it is for ([`Duty`]), what it asks for next
//! ([`Task`]), and what follows from requests and responses. What the exchanges say is in `inform` and
//! `rekey`, their message IDs are in `window`, its CHILD_SAs in `pairs`; how it ends is in `ending`.

use std::time::Instant;

use super::exchange::{Exchange, Repeat};
use super::inform;
use super::lifetime::Lifetime;
use super::mobike::{self, Broken, Mobility};
use super::pairs::{Expired, Pairs};
use super::payloads::Payloads;
use super::protection::{Incoming, Protection};
use super::rekey::{Awaited, HeirFollowUp, HeirRequest, PairFollowUp, PairRequest, Rival};
use super::reply::{Effect, Reply};
use super::window::Window;
use super::{Context, Core, News, State, Step};
use crate::event::{ChildId, Deadline, EspSpi, Event, GoneReason, IkeDetails, Path, Timer};
use crate::secret::Secret;
use crate::wire::{Datagram, ExchangeType, Header, IkeSpi, NotifyType, Payload, WireError};

/// An authenticated IKE SA and the CHILD_SAs under it.
pub(crate) struct Live {
    pub(super) window: Window,
    pub(super) details: IkeDetails,
    /// From which the keys of its CHILD_SAs and of its successor are made.
    pub(super) sk_d: Secret,
    /// The lowest nonce of the exchange that made it: decides between SAs that both ends began
    /// (RFC 7296 §2.8.1, §2.8.2).
    lowest_nonce: Vec<u8>,
    pub(super) lifetime: Lifetime,
    pub(super) duty: Duty,
    pub(super) pairs: Pairs,
    /// The successor that an exchange of the peer's has made while our own is under way.
    pub(super) rival: Option<Rival>,
    /// What the peer has agreed on and has to follow up. Meanwhile we ask for nothing that concerns it.
    pub(super) awaited: Option<Awaited>,
    /// A pair is wanted in place of one that the peer has lost.
    pub(super) wants_pair: bool,
    wants_check: bool,
    pub(super) mobility: Mobility,
    /// When the peer has last proven that it is there.
    heard: Instant,
}

/// What an authenticated IKE SA is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// It has the pairs.
    Serve,
    /// It was made by the peer while our own request to rekey the same IKE SA is under way: it takes
    /// the pairs over or is redundant, as the nonces say (RFC 7296 §2.8.2).
    StandBy,
    /// It has a successor or is redundant; the peer has to delete it, and has so long.
    Retire { until: Instant },
    /// We delete it as soon as the window allows, with an error if there was one.
    Close { notify: Option<NotifyType> },
}

/// What a request of ours is for.
pub(super) enum Task {
    /// An empty INFORMATIONAL: does the peer still have this SA (RFC 7296 §2.4)?
    CheckLiveness,
    /// Delete the pairs with these inbound SPIs.
    DeletePairs(Vec<EspSpi>),
    /// Delete the IKE SA.
    DeleteIke,
    /// Make a pair.
    Pair(Box<PairRequest>),
    /// The additional key exchange for it.
    PairFollowUp(Box<PairFollowUp>),
    /// Make a successor of the IKE SA.
    Heir(Box<HeirRequest>),
    /// The additional key exchange for it.
    HeirFollowUp(Box<HeirFollowUp>),
    /// Say that an address has changed, or see whether the peer's has.
    Move(Box<mobike::Request>),
    /// Something that is not wanted any more.
    Forgotten,
}

impl Live {
    /// An SA without pairs that serves.
    pub(crate) fn new(
        core: &Core,
        ctx: &mut Context<'_>,
        protection: Protection,
        details: IkeDetails,
        sk_d: Secret,
        lowest_nonce: Vec<u8>,
    ) -> Self {
        Self {
            window: Window::new(protection),
            details,
            sk_d,
            lowest_nonce,
            lifetime: Lifetime::draw(core.peer.ike_lifetime, ctx),
            duty: Duty::Serve,
            pairs: Pairs::default(),
            rival: None,
            awaited: None,
            wants_pair: false,
            wants_check: false,
            mobility: Mobility::default(),
            heard: ctx.now,
        }
    }

    /// Our requests up to this message ID are answered.
    pub(crate) const fn after_own_requests(mut self, last_id: u32) -> Self {
        self.window.after_own_requests(last_id);
        self
    }

    /// It has that to ask in place of another.
    pub(super) const fn after_moves(mut self, mobility: Mobility) -> Self {
        self.mobility = mobility;
        self
    }

    /// The peer's requests up to this message ID are answered, the last one by `last`.
    pub(crate) fn after_peer_requests(mut self, last_id: u32, last: Exchange) -> Self {
        self.window.after_peer_requests(last_id, last);
        self
    }

    /// It has these pairs from here on.
    pub(crate) fn take_over(&mut self, pairs: Pairs) {
        self.pairs = pairs;
        self.duty = Duty::Serve;
    }

    /// It has the pairs of the IKE SA that it was made to succeed.
    pub(crate) fn inherit(&mut self, core: &Core, ctx: &mut Context<'_>, pairs: Pairs) {
        self.take_over(pairs);
        ctx.event(Event::IkeRekeyed {
            peer: core.peer.id,
            details: self.details(),
        });
        self.send_next(core, ctx);
    }

    /// When anything authenticated came from the peer last (D40).
    pub(crate) const fn heard(&self) -> Instant {
        self.heard
    }

    pub(crate) fn details(&self) -> IkeDetails {
        IkeDetails {
            rekey_at: self.lifetime.rekey_at.unwrap_or(self.lifetime.ends_at),
            ..self.details.clone()
        }
    }

    pub(crate) const fn agreed(&self) -> &IkeDetails {
        &self.details
    }

    pub(crate) const fn pairs(&self) -> &Pairs {
        &self.pairs
    }

    pub(crate) const fn duty(&self) -> Duty {
        self.duty
    }

    pub(crate) fn lowest_nonce(&self) -> &[u8] {
        &self.lowest_nonce
    }

    pub(crate) fn serves(&self) -> bool {
        self.duty == Duty::Serve
    }

    /// The peer has proven by other means that it is there.
    pub(crate) const fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The SA that waits for our own request to rekey this one.
    pub(crate) fn rival(&self) -> Option<IkeSpi> {
        self.rival.as_ref().map(|rival| rival.spi)
    }

    /// That one has ended.
    pub(crate) fn forget_rival(&mut self) {
        self.rival = None;
    }

    pub(crate) fn on_message(
        mut self: Box<Self>,
        mut core: Core,
        ctx: &mut Context<'_>,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Step {
        if datagram.header.response {
            match self.window.take_response(&core, ctx, datagram) {
                Err(dropped) => Step::unchanged(core, State::Established(self), dropped),
                Ok((task, payloads)) => {
                    self.follow(&mut core, ctx, path);
                    self.on_response(core, ctx, task, payloads)
                }
            }
        } else {
            match self.window.take_request(&core, ctx, path, datagram) {
                Err(dropped) => Step::unchanged(core, State::Established(self), dropped),
                Ok(incoming) => {
                    self.follow(&mut core, ctx, path);
                    self.on_request(core, ctx, path, &datagram.header, incoming)
                }
            }
        }
    }

    fn on_response(
        mut self: Box<Self>,
        mut core: Core,
        ctx: &mut Context<'_>,
        task: Task,
        payloads: Result<Payloads, WireError>,
    ) -> Step {
        self.heard = ctx.now;
        let Ok(payloads) = payloads else {
            // Authenticated, and does not parse: the two ends disagree on the protocol.
            self.let_go_of(&core, ctx, &task);
            return match self.duty {
                Duty::Close { .. } => self.vanish(&core, ctx),
                _ => self.close(core, ctx, GoneReason::PeerFault),
            };
        };
        let succession = match task {
            Task::DeleteIke => return self.vanish(&core, ctx),
            Task::CheckLiveness | Task::Forgotten => None,
            Task::Move(request) => {
                if let Err(Broken) = self.on_move_answer(&mut core, ctx, *request, &payloads) {
                    return self.close(core, ctx, GoneReason::PeerFault);
                }
                None
            }
            Task::DeletePairs(inbound) => {
                self.pairs.deleted(&core, ctx, &inbound);
                None
            }
            Task::Pair(request) => {
                self.on_pair_answer(&core, ctx, *request, &payloads);
                None
            }
            Task::PairFollowUp(follow_up) => {
                self.on_pair_follow_up(&core, ctx, *follow_up, &payloads);
                None
            }
            Task::Heir(request) => match self.on_heir_answer(&core, ctx, *request, &payloads) {
                Ok(succession) => succession,
                Err(_fault) => return self.close(core, ctx, GoneReason::PeerFault),
            },
            Task::HeirFollowUp(follow_up) => {
                match self.on_heir_follow_up(&core, ctx, *follow_up, &payloads) {
                    Ok(succession) => succession,
                    Err(_fault) => return self.close(core, ctx, GoneReason::PeerFault),
                }
            }
        };
        if self.is_childless() {
            return self.close(core, ctx, GoneReason::Childless);
        }
        self.send_next(&core, ctx);
        Step {
            news: self.serves().then_some(News::Alive),
            succession,
            ..self.stay(core)
        }
    }

    fn on_request(
        mut self: Box<Self>,
        mut core: Core,
        ctx: &mut Context<'_>,
        path: Path,
        header: &Header,
        incoming: Incoming,
    ) -> Step {
        self.heard = ctx.now;
        let Reply { payloads, effect } = match incoming.payloads {
            Err(error) => Reply::to_malformed(&error),
            Ok(payloads) => {
                let payloads = Payloads::new(payloads);
                let moved = match header.exchange {
                    ExchangeType::INFORMATIONAL => {
                        self.on_move_request(&mut core, ctx, path, &payloads)
                    }
                    _ => Vec::new(),
                };
                let mut reply = self.answer(&core, ctx, header.exchange, &payloads);
                reply.payloads.extend(moved);
                reply
            }
        };
        let request = (header, incoming.datagram);
        self.window.reply(&core, ctx, path, request, payloads);
        self.on_effect(core, ctx, effect)
    }

    fn on_effect(mut self: Box<Self>, core: Core, ctx: &mut Context<'_>, effect: Effect) -> Step {
        let mut news = None;
        let mut succession = None;
        match effect {
            Effect::None => {}
            Effect::Refused(failure) => news = Some(News::Refused(*failure)),
            Effect::Made(child) => self.pairs.confirm(&core, ctx, child),
            Effect::Heir(heir) => succession = Some(self.hand_over(ctx, *heir)),
            Effect::Over(why) => return self.end(core, ctx, why),
        }
        if self.is_childless() {
            return self.close(core, ctx, GoneReason::Childless);
        }
        self.send_next(&core, ctx);
        Step {
            news,
            succession,
            ..self.stay(core)
        }
    }

    /// Nothing is left that this SA is for.
    fn is_childless(&self) -> bool {
        let task = self.window.task();
        let ours = matches!(task, Some(Task::Pair(_) | Task::PairFollowUp(_)));
        let theirs = self.awaited.as_ref().is_some_and(Awaited::is_pair);
        let making = self.wants_pair || ours || theirs;
        self.serves() && !self.pairs.is_usable() && !making
    }

    pub(crate) fn on_timeout(mut self: Box<Self>, core: Core, ctx: &mut Context<'_>) -> Step {
        if matches!(self.duty, Duty::Retire { until } if until <= ctx.now) {
            self.duty = Duty::Close { notify: None };
        }
        if self
            .awaited
            .as_ref()
            .is_some_and(|awaited| awaited.until <= ctx.now)
        {
            self.forget_awaited(ctx);
        }
        if matches!(self.window.repeat(&core, ctx), Repeat::Exhausted) {
            return self.give_up(&core, ctx);
        }
        if self.serves() {
            let pairs = self.pairs.on_timeout(&core, ctx);
            if matches!(pairs, Err(Expired)) || self.lifetime.ends_at <= ctx.now {
                return self.close(core, ctx, GoneReason::Expired);
            }
        }
        self.send_next(&core, ctx);
        self.stay(core)
    }

    pub(crate) fn deadline(&self, core: &Core) -> Option<Deadline> {
        let at = |at, why| Some(Deadline { at, why });
        let on_duty = match self.duty {
            Duty::Serve => [
                at(self.lifetime.ends_at, Timer::Lifetime),
                self.pairs.deadline(),
                self.next_request_deadline(core),
            ],
            Duty::Retire { until } => [at(until, Timer::Lifetime), None, None],
            Duty::StandBy | Duty::Close { .. } => [None; 3],
        };
        let on_duty = on_duty.into_iter().flatten();
        let awaited = self.awaited.as_ref();
        let awaited = awaited.and_then(|awaited| at(awaited.until, Timer::FollowUp));
        let on_duty = on_duty.chain(awaited);
        on_duty.chain(self.window.deadline()).min()
    }

    /// When there is something to ask, once the window is free.
    fn next_request_deadline(&self, core: &Core) -> Option<Deadline> {
        if self.window.task().is_some() {
            return None;
        }
        let deadline = |at: Option<Instant>, why| at.map(|at| Deadline { at, why });
        let rekey = [self.lifetime.rekey_at, self.pairs.rekey_deadline()];
        let rekey = rekey.into_iter().flatten().min();
        let rekey = rekey.filter(|_| self.awaited.is_none());
        [
            deadline(rekey, Timer::Rekey),
            deadline(self.check_at(core), Timer::Liveness),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When the peer has to be asked for a sign of life (D40, RFC 7296 §2.4).
    fn check_at(&self, core: &Core) -> Option<Instant> {
        core.peer.dpd.map(|silence| self.heard + silence)
    }

    /// Asks whether the peer still has this SA; the answer to a request in flight says it too.
    pub(crate) fn check_liveness(&mut self, core: &Core, ctx: &mut Context<'_>) {
        if self.window.task().is_none() {
            self.wants_check = true;
            self.send_next(core, ctx);
        }
    }

    /// Rekeys the IKE SA as soon as the window allows.
    pub(crate) fn rekey(&mut self, core: &Core, ctx: &mut Context<'_>) {
        self.lifetime.rekey_at = Some(ctx.now);
        self.send_next(core, ctx);
    }

    /// Rekeys a pair as soon as the window allows.
    pub(crate) fn rekey_pair(&mut self, core: &Core, ctx: &mut Context<'_>, id: ChildId) {
        self.pairs.set_rekey(id, Some(ctx.now));
        self.send_next(core, ctx);
    }

    /// The peer has shown that it has the pair.
    pub(crate) fn confirm(&mut self, core: &Core, ctx: &mut Context<'_>, id: ChildId) {
        self.pairs.confirm(core, ctx, id);
    }

    /// Sends what is to be asked next, if the window is free.
    pub(super) fn send_next(&mut self, core: &Core, ctx: &mut Context<'_>) {
        if self.window.task().is_none()
            && let Some((task, payloads)) = self.next_task(core, ctx)
        {
            self.window.send(core, ctx, task, payloads);
        }
    }

    /// The most urgent thing to ask at this moment.
    fn next_task(&mut self, core: &Core, ctx: &mut Context<'_>) -> Option<(Task, Vec<Payload>)> {
        match self.duty {
            Duty::StandBy => return None,
            // Perhaps the peer waits for our half of the successor: it does so where we were, and knows
            // no other SA under which it can hear that we have moved.
            Duty::Retire { .. } => return self.next_move(core, ctx),
            Duty::Close { notify } => return Some((Task::DeleteIke, inform::delete_ike(notify))),
            Duty::Serve => {}
        }
        if let Some(request) = self.next_move(core, ctx) {
            return Some(request);
        }
        if self.awaited.is_none()
            && let Some(change) = self.next_change(core, ctx)
        {
            return Some(change);
        }
        let silent = self.check_at(core).is_some_and(|at| at <= ctx.now);
        let check = std::mem::take(&mut self.wants_check) || silent;
        check.then(|| (Task::CheckLiveness, Vec::new()))
    }

    /// The most urgent change of what there is.
    fn next_change(&mut self, core: &Core, ctx: &mut Context<'_>) -> Option<(Task, Vec<Payload>)> {
        let to_delete = self.pairs.to_delete();
        if !to_delete.is_empty() {
            let payloads = inform::delete_pairs(to_delete.clone());
            return Some((Task::DeletePairs(to_delete), payloads));
        }
        if std::mem::take(&mut self.wants_check) {
            return Some((Task::CheckLiveness, Vec::new()));
        }
        if self.window.is_worn() || self.lifetime.rekey_at.is_some_and(|at| at <= ctx.now) {
            return self.ask_for_heir(core, ctx);
        }
        if std::mem::take(&mut self.wants_pair) {
            return Some(self.ask_for_pair(core, ctx, None));
        }
        let id = self.pairs.rekey_due(ctx.now)?;
        Some(self.ask_for_pair(core, ctx, Some(id)))
    }

    pub(super) fn stay(self: Box<Self>, core: Core) -> Step {
        Step::stay(core, State::Established(self))
    }
}
