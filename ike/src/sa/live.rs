//! An SA whose two ends are authenticated ([`Live`]): the message IDs and windows of both directions
//! (RFC 7296 §2.2, §2.3), its CHILD_SAs, and how it ends. What the exchanges say is in `inform` and
//! `child`.

use std::collections::VecDeque;

use super::child::Child;
use super::exchange::{Exchange, Repeat, Request};
use super::inform::{Effect, Reply, Task};
use super::payloads::Payloads;
use super::protection::{Protection, Unopened};
use super::{Closed, Context, Core, News, State, Step};
use crate::error::Drop;
use crate::event::{Deadline, GoneReason, IkeDetails, Path};
use crate::limits;
use crate::wire::{Datagram, ExchangeType, NotifyType, WireError};

/// An authenticated IKE SA and the CHILD_SAs under it.
pub(crate) struct Live {
    protection: Protection,
    details: IkeDetails,
    /// The lowest nonce of its IKE_SA_INIT: decides between crossing SAs (RFC 7296 §2.8.1).
    lowest_nonce: Vec<u8>,
    children: Vec<Child>,
    /// The message ID of our next request.
    next_id: u32,
    /// Our request in flight (window 1, D3) and what it is for.
    request: Option<(Task, Request)>,
    /// Requests that wait for that one's answer.
    queue: VecDeque<Task>,
    /// The message ID of the peer's next request.
    expected_id: u32,
    /// The peer's last request and our reply.
    last: Option<Exchange>,
}

impl Live {
    pub(crate) const fn new(
        protection: Protection,
        details: IkeDetails,
        lowest_nonce: Vec<u8>,
    ) -> Self {
        Self {
            protection,
            details,
            lowest_nonce,
            children: Vec::new(),
            next_id: 0,
            request: None,
            queue: VecDeque::new(),
            expected_id: 0,
            last: None,
        }
    }

    /// Our requests up to this message ID are answered.
    pub(crate) const fn after_own_requests(mut self, last_id: u32) -> Self {
        self.next_id = last_id.wrapping_add(1);
        self
    }

    /// The peer's requests up to this message ID are answered, the last one by `last`.
    pub(crate) fn after_peer_requests(mut self, last_id: u32, last: Exchange) -> Self {
        self.expected_id = last_id.wrapping_add(1);
        self.last = Some(last);
        self
    }

    pub(crate) fn with_child(mut self, child: Child) -> Self {
        self.children.push(child);
        self
    }

    pub(crate) const fn details(&self) -> &IkeDetails {
        &self.details
    }

    pub(crate) fn children(&self) -> &[Child] {
        &self.children
    }

    pub(crate) fn lowest_nonce(&self) -> &[u8] {
        &self.lowest_nonce
    }

    pub(crate) fn on_message(
        mut self: Box<Self>,
        core: Core,
        ctx: &mut Context<'_>,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Step {
        if datagram.header.response {
            return match self.take_response(&core, ctx, datagram) {
                Err(None) => Step::stay(core, State::Established(self)),
                Err(Some(reason)) => self.dropped(core, reason),
                Ok(Err(_malformed)) => self.fail(core, ctx),
                Ok(Ok(Task::Probe)) => {
                    self.send_next(&core, ctx);
                    Step::with(core, State::Established(self), News::Alive)
                }
                Ok(Ok(Task::Delete { .. })) => Step::end(None),
            };
        }
        match self.take_request(&core, ctx, path, datagram) {
            Err(None) => Step::stay(core, State::Established(self)),
            Err(Some(reason)) => self.dropped(core, reason),
            Ok(Effect::None) => Step::stay(core, State::Established(self)),
            Ok(Effect::Ended(why)) => self.end(core, ctx, why),
            Ok(Effect::ChildrenDeleted(outbound)) => {
                self.remove_children(&core, ctx, GoneReason::DeletedByPeer, |child| {
                    outbound.contains(&child.outbound())
                });
                if self.children.is_empty() {
                    self.close(core, ctx, GoneReason::Childless)
                } else {
                    Step::stay(core, State::Established(self))
                }
            }
        }
    }

    /// Our DELETE is on its way: requests are still answered, nothing else happens.
    pub(crate) fn on_message_while_closing(
        mut self: Box<Self>,
        core: Core,
        ctx: &mut Context<'_>,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Step {
        if datagram.header.response {
            return match self.take_response(&core, ctx, datagram) {
                Err(None) => Step::stay(core, State::Closing(self)),
                Err(Some(reason)) => Step::with(core, State::Closing(self), News::Dropped(reason)),
                Ok(Ok(Task::Probe)) => {
                    self.send_next(&core, ctx);
                    Step::stay(core, State::Closing(self))
                }
                Ok(_) => Step::end(None),
            };
        }
        match self.take_request(&core, ctx, path, datagram) {
            Err(Some(reason)) => Step::with(core, State::Closing(self), News::Dropped(reason)),
            // The two DELETEs crossed (RFC 7296 §1.4.1); the peer may still want our reply again.
            Ok(Effect::Ended(_)) => Step::stay_closed(core, ctx, self.last),
            _ => Step::stay(core, State::Closing(self)),
        }
    }

    pub(crate) fn on_timeout(mut self: Box<Self>, core: Core, ctx: &mut Context<'_>) -> Step {
        match self.repeat_request(&core, ctx) {
            Repeat::Waiting => Step::stay(core, State::Established(self)),
            Repeat::Exhausted => self.forget(&core, ctx, GoneReason::NoAnswer),
        }
    }

    pub(crate) fn repeat_request(&mut self, core: &Core, ctx: &mut Context<'_>) -> Repeat {
        self.protection.expire(ctx.now);
        match &mut self.request {
            Some((_, request)) => request.repeat_sealed(core, ctx, &mut self.protection),
            None => Repeat::Waiting,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let repetition = self.request.as_ref().map(|(_, request)| request.deadline());
        repetition
            .into_iter()
            .chain(self.protection.deadline())
            .min()
    }

    /// Takes the CHILD_SAs down at once and the IKE SA by a DELETE exchange.
    pub(crate) fn close(
        mut self: Box<Self>,
        core: Core,
        ctx: &mut Context<'_>,
        why: GoneReason,
    ) -> Step {
        self.remove_children(&core, ctx, why, |_| true);
        self.send_delete(&core, ctx, None);
        Step::with(core, State::Closing(self), News::Down(why))
    }

    /// Takes everything down without a word to a peer that has nothing of it.
    pub(crate) fn forget(
        mut self: Box<Self>,
        core: &Core,
        ctx: &mut Context<'_>,
        why: GoneReason,
    ) -> Step {
        self.remove_children(core, ctx, why, |_| true);
        Step::end(Some(News::Down(why)))
    }

    /// Sends a DELETE of the IKE SA as soon as the window allows.
    pub(crate) fn send_delete(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        notify: Option<NotifyType>,
    ) {
        self.queue.clear();
        self.begin(core, ctx, Task::Delete { notify });
    }

    /// Asks whether the peer still has this SA.
    pub(crate) fn probe(&mut self, core: &Core, ctx: &mut Context<'_>) {
        if self.request.is_none() {
            self.begin(core, ctx, Task::Probe);
        }
    }

    fn begin(&mut self, core: &Core, ctx: &mut Context<'_>, task: Task) {
        self.queue.push_back(task);
        self.send_next(core, ctx);
    }

    fn send_next(&mut self, core: &Core, ctx: &mut Context<'_>) {
        if self.request.is_some() {
            return;
        }
        let Some(task) = self.queue.pop_front() else {
            return;
        };
        let exchange = ExchangeType::INFORMATIONAL;
        let header = core.header(exchange, self.next_id, false);
        let message = self.protection.seal(core, ctx, &header, task.payloads());
        let request = Request::send(core, ctx, exchange, self.next_id, message);
        self.next_id = self.next_id.wrapping_add(1);
        self.request = Some((task, request));
    }

    /// The task that this response completes. The outer error is a datagram to drop, or a fragment
    /// that is kept (`None`), the inner one an authenticated response that does not parse.
    fn take_response(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        datagram: &Datagram<'_>,
    ) -> Result<Result<Task, WireError>, Option<Drop>> {
        let Some((task, request)) = self.request.take() else {
            return Err(Some(Drop::UnexpectedResponse));
        };
        if let Err(reason) = request.check_answer(datagram) {
            self.request = Some((task, request));
            return Err(Some(reason));
        }
        match self.protection.open(core, ctx, datagram) {
            Ok(incoming) => Ok(incoming.payloads.map(|_| task)),
            Err(unopened) => {
                self.request = Some((task, request));
                Err(unopened.drop())
            }
        }
    }

    /// Answers a request, once: a repetition gets the same reply and a fragment is kept for the others
    /// (`Err(None)`), anything outside the window gets none (D2, D3).
    fn take_request(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Result<Effect, Option<Drop>> {
        let header = &datagram.header;
        if header.message_id != self.expected_id {
            let repeated = self.last.as_mut().is_some_and(|last| {
                last.repeat_sealed(core, ctx, &mut self.protection, path, datagram)
            });
            return Err(if repeated {
                None
            } else {
                Some(Drop::MessageId)
            });
        }
        let incoming = self.protection.open(core, ctx, datagram);
        let incoming = incoming.map_err(Unopened::drop)?;
        let Reply { payloads, effect } = match incoming.payloads {
            Err(error) => Reply::to_malformed(&error),
            Ok(payloads) => Reply::to(header.exchange, &Payloads::new(payloads), &self.children),
        };
        let header = core.header(header.exchange, header.message_id, true);
        let reply = self.protection.seal(core, ctx, &header, payloads);
        let last = Exchange::new(incoming.datagram, reply);
        last.answer(ctx, path);
        self.last = Some(last);
        self.expected_id = self.expected_id.wrapping_add(1);
        Ok(effect)
    }

    /// Over, but for repeating the last reply.
    fn end(mut self: Box<Self>, core: Core, ctx: &mut Context<'_>, why: GoneReason) -> Step {
        self.remove_children(&core, ctx, why, |_| true);
        let step = Step::stay_closed(core, ctx, self.last);
        Step {
            news: Some(News::Down(why)),
            ..step
        }
    }

    /// An authenticated response that does not parse: the two ends disagree on the protocol.
    fn fail(self: Box<Self>, core: Core, ctx: &mut Context<'_>) -> Step {
        self.close(core, ctx, GoneReason::PeerFault)
    }

    fn remove_children(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        why: GoneReason,
        which: impl Fn(&Child) -> bool,
    ) {
        let (gone, kept) = std::mem::take(&mut self.children)
            .into_iter()
            .partition(which);
        self.children = kept;
        let gone: Vec<Child> = gone;
        for child in gone {
            child.remove(core, ctx, why);
        }
    }

    fn dropped(self: Box<Self>, core: Core, reason: Drop) -> Step {
        Step::with(core, State::Established(self), News::Dropped(reason))
    }
}

impl Step {
    /// Over; what is left of the SA repeats its last reply for a while (D2).
    fn stay_closed(core: Core, ctx: &Context<'_>, last: Option<Exchange>) -> Self {
        match last {
            Some(last) => {
                let closed = Closed {
                    last,
                    until: ctx.now + limits::CLOSED,
                };
                Self::stay(core, State::Closed(closed))
            }
            None => Self::end(None),
        }
    }
}
