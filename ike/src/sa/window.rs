//! The message IDs of both directions of an authenticated IKE SA, and the windows of size 1 behind
//! them (D3, RFC 7296 §2.2, §2.3): our request in flight, and the peer's last one with our reply.
//! What the messages say is not looked at here.

use super::exchange::{Exchange, Repeat, Request};
use super::live::Task;
use super::payloads::Payloads;
use super::protection::{Incoming, Protection};
use super::{Context, Core};
use crate::error::Drop;
use crate::event::{Deadline, Path};
use crate::limits;
use crate::wire::{Datagram, ExchangeType, Header, Payload, WireError};

/// Both directions of an IKE SA.
pub(super) struct Window {
    protection: Protection,
    /// The message ID of our next request.
    next_id: u32,
    /// Our request in flight and what it is for.
    request: Option<(Task, Request)>,
    /// The message ID of the peer's next request.
    expected_id: u32,
    /// The peer's last request and our reply.
    last: Option<Exchange>,
}

impl Window {
    /// Of an SA on which nothing was said so far (D1).
    pub(super) const fn new(protection: Protection) -> Self {
        Self {
            protection,
            next_id: 0,
            request: None,
            expected_id: 0,
            last: None,
        }
    }

    /// Our requests up to this message ID are answered.
    pub(super) const fn after_own_requests(&mut self, last_id: u32) {
        self.next_id = last_id.wrapping_add(1);
    }

    /// The peer's requests up to this message ID are answered, the last one by `last`.
    pub(super) fn after_peer_requests(&mut self, last_id: u32, last: Exchange) {
        self.expected_id = last_id.wrapping_add(1);
        self.last = Some(last);
    }

    /// What our request in flight is for.
    pub(super) fn task(&self) -> Option<&Task> {
        self.request.as_ref().map(|(task, _)| task)
    }

    pub(super) fn task_mut(&mut self) -> Option<&mut Task> {
        self.request.as_mut().map(|(task, _)| task)
    }

    /// Whether the message IDs of a direction come to their end, before which the IKE SA has to be
    /// rekeyed.
    pub(super) fn is_worn(&self) -> bool {
        self.next_id.max(self.expected_id) >= limits::MESSAGE_ID
    }

    /// Sends a request; none is in flight.
    pub(super) fn send(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        task: Task,
        payloads: Vec<Payload>,
    ) {
        let exchange = task.exchange();
        let (protection, id) = (&mut self.protection, self.next_id);
        let request = Request::send_sealed(core, ctx, protection, exchange, id, payloads);
        self.next_id = self.next_id.wrapping_add(1);
        self.request = Some((task, request));
    }

    /// Repeats the request in flight, if that is due.
    pub(super) fn repeat(&mut self, core: &Core, ctx: &mut Context<'_>) -> Repeat {
        self.protection.expire(ctx.now);
        match &mut self.request {
            Some((_, request)) => request.repeat_sealed(core, ctx, &mut self.protection),
            None => Repeat::Waiting,
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let repetition = self.request.as_ref().map(|(_, request)| request.deadline());
        repetition
            .into_iter()
            .chain(self.protection.deadline())
            .min()
    }

    /// The task that this response completes, and what it says, if that parses. An error is a
    /// datagram to drop, or a fragment that is kept (`None`).
    pub(super) fn take_response(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        datagram: &Datagram<'_>,
    ) -> Result<(Task, Result<Payloads, WireError>), Option<Drop>> {
        let Some((task, request)) = self.request.take() else {
            return Err(Some(Drop::UnexpectedResponse));
        };
        match request.open_answer(core, ctx, &mut self.protection, datagram) {
            Ok(incoming) => Ok((task, incoming.payloads.map(Payloads::new))),
            Err(dropped) => {
                self.request = Some((task, request));
                Err(dropped)
            }
        }
    }

    /// A request that is to be answered, once: a repetition gets the same reply and a fragment is kept
    /// for the others (`None`), anything outside the window gets none (D2, D3).
    pub(super) fn take_request(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Result<Incoming, Option<Drop>> {
        if datagram.header.message_id != self.expected_id {
            let repeated = self.last.as_mut().is_some_and(|last| {
                last.repeat_sealed(core, ctx, &mut self.protection, path, datagram)
            });
            return Err(if repeated {
                None
            } else {
                Some(Drop::MessageId)
            });
        }
        self.protection.open(core, ctx, datagram)
    }

    /// Answers the request that came with this header, in this datagram.
    pub(super) fn reply(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        path: Path,
        (header, datagram): (&Header, Vec<u8>),
        payloads: Vec<Payload>,
    ) {
        let header = core.header(header.exchange, header.message_id, true);
        let reply = self.protection.seal(core, ctx, &header, payloads);
        let last = Exchange::new(datagram, reply);
        last.answer(ctx, path);
        self.last = Some(last);
        self.expected_id = self.expected_id.wrapping_add(1);
    }

    /// What the request in flight was for, which gets no answer any more.
    pub(super) fn abandon(&mut self) -> Option<Task> {
        self.request.take().map(|(task, _)| task)
    }

    /// The last reply, for whoever repeats it after the end of the SA (D2).
    pub(super) const fn take_last(&mut self) -> Option<Exchange> {
        self.last.take()
    }
}

impl Task {
    const fn exchange(&self) -> ExchangeType {
        match self {
            Self::Pair(_) | Self::Heir(_) => ExchangeType::CREATE_CHILD_SA,
            Self::PairFollowUp(_) | Self::HeirFollowUp(_) => ExchangeType::IKE_FOLLOWUP_KE,
            Self::CheckLiveness
            | Self::DeletePairs(_)
            | Self::DeleteIke
            | Self::Move(_)
            | Self::Forgotten => ExchangeType::INFORMATIONAL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::{Aead, Cipher};
    use crate::secret::Secret;

    /// RFC 7296 §2.2: message IDs do not wrap; long before that, another IKE SA takes over.
    #[test]
    fn message_ids_wear_out() {
        let key = Secret::new(vec![
            0;
            Cipher::Aead(Aead::Aes256Gcm16).key_material_octets()
        ]);
        let mut window = Window::new(Protection::new(Cipher::Aead(Aead::Aes256Gcm16), &key, &key));
        assert!(!window.is_worn());
        window.after_own_requests(limits::MESSAGE_ID - 2);
        assert!(!window.is_worn());
        window.after_own_requests(limits::MESSAGE_ID - 1);
        assert!(window.is_worn());
    }
}
