//! The two halves of an exchange: our request in flight, repeated until it is answered, and the
//! peer's last request with our reply, repeated when it is (RFC 7296 §2.1).

use std::time::{Duration, Instant};

use super::outgoing::Outgoing;
use super::protection::{Incoming, Protection};
use super::{Context, Core};
use crate::error::{Drop, Failure};
use crate::event::{Deadline, Path, Timer};
use crate::limits;
use crate::wire::{Datagram, ExchangeType, Payload, Place};

/// A request of ours without its answer. The window is 1 (RFC 7296 §2.3): an SA has at most one.
pub(crate) struct Request {
    pub(crate) message_id: u32,
    pub(crate) exchange: ExchangeType,
    /// As it was sent last.
    message: Outgoing,
    /// What takes its place with the next transmission.
    next: Option<Outgoing>,
    sent: u32,
    first_sent: Instant,
    due: Instant,
}

/// What became of a request whose wait is over.
pub(crate) enum Repeat {
    /// It goes on.
    Waiting,
    /// The last wait is over too.
    Exhausted,
}

impl Request {
    /// Sends it for the first time.
    pub(crate) fn send(
        core: &Core,
        ctx: &mut Context<'_>,
        exchange: ExchangeType,
        message_id: u32,
        message: Outgoing,
    ) -> Self {
        message.transmit(ctx, core.path);
        let due = ctx.now + core.peer.retransmit.wait_after(1);
        Self {
            message_id,
            exchange,
            message,
            next: None,
            sent: 1,
            first_sent: ctx.now,
            due,
        }
    }

    /// Encrypts it, and sends it for the first time.
    pub(crate) fn send_sealed(
        core: &Core,
        ctx: &mut Context<'_>,
        protection: &mut Protection,
        exchange: ExchangeType,
        message_id: u32,
        payloads: Vec<Payload>,
    ) -> Self {
        let header = core.header(exchange, message_id, false);
        let message = protection.seal(core, ctx, &header, payloads);
        Self::send(core, ctx, exchange, message_id, message)
    }

    /// Sends it again if that is due; later ones wait longer (RFC 7296 §2.4).
    pub(crate) fn repeat(&mut self, core: &Core, ctx: &mut Context<'_>) -> Repeat {
        if ctx.now < self.due {
            return Repeat::Waiting;
        }
        let schedule = &core.peer.retransmit;
        if self.sent >= schedule.transmissions() {
            return Repeat::Exhausted;
        }
        self.transmit(core, ctx);
        Repeat::Waiting
    }

    /// As [`repeat`](Self::repeat). A message that the path may not carry goes on in smaller fragments:
    /// it says the same under the same message ID, so it does not matter which division of it the peer
    /// gets, or whether it has had the other one (RFC 7383 §2.5.2, §2.6).
    pub(crate) fn repeat_sealed(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        protection: &mut Protection,
    ) -> Repeat {
        if ctx.now >= self.due && self.sent >= limits::TRANSMISSIONS_OF_ONE_SIZE {
            self.next = protection.divide_further(core, &self.message);
        }
        self.repeat(core, ctx)
    }

    /// Puts another message in its place and sends it, counted as one more transmission.
    pub(crate) fn replace_and_send(&mut self, core: &Core, ctx: &mut Context<'_>, new: Outgoing) {
        self.next = Some(new);
        self.transmit(core, ctx);
    }

    /// Puts another message in its place, sent when the next transmission is due: a peer that answers
    /// everything with a new demand does not make us spin.
    pub(crate) fn replace(&mut self, new: Outgoing) {
        self.next = Some(new);
    }

    fn transmit(&mut self, core: &Core, ctx: &mut Context<'_>) {
        if let Some(next) = self.next.take() {
            self.message = next;
        }
        self.sent = self.sent.saturating_add(1);
        self.due = ctx.now + core.peer.retransmit.wait_after(self.sent);
        self.message.transmit(ctx, core.path);
    }

    /// Whether this is the response to it, going by the header alone.
    pub(crate) fn check_answer(&self, datagram: &Datagram<'_>) -> Result<(), Drop> {
        let header = &datagram.header;
        if !header.response {
            Err(Drop::UnexpectedExchange)
        } else if header.message_id != self.message_id || header.exchange != self.exchange {
            Err(Drop::UnexpectedResponse)
        } else {
            Ok(())
        }
    }

    /// The response to it, of which this datagram is all or the last part. Without one, as
    /// [`Protection::open`]; the request still waits.
    pub(crate) fn open_answer(
        &self,
        core: &Core,
        ctx: &mut Context<'_>,
        protection: &mut Protection,
        datagram: &Datagram<'_>,
    ) -> Result<Incoming, Option<Drop>> {
        self.check_answer(datagram)?;
        protection.open(core, ctx, datagram)
    }

    pub(crate) const fn deadline(&self) -> Deadline {
        Deadline {
            at: self.due,
            why: Timer::Retransmit,
        }
    }

    /// The octets of its first datagram as they were sent last, which is what the peer can have answered
    /// (D18): all of a request that nothing divides.
    pub(crate) fn octets(&self) -> &[u8] {
        self.message.octets()
    }

    pub(crate) fn no_answer(&self, core: &Core, now: Instant) -> Failure {
        Failure::NoAnswer {
            exchange: self.exchange,
            remote: core.path.remote,
            waited: now
                .saturating_duration_since(self.first_sent)
                .max(Duration::from_secs(1)),
        }
    }
}

/// The peer's last request and our reply to it.
pub(crate) struct Exchange {
    /// The datagram of the request, or of its first fragment.
    request: Vec<u8>,
    reply: Outgoing,
}

impl Exchange {
    pub(crate) const fn new(request: Vec<u8>, reply: Outgoing) -> Self {
        Self { request, reply }
    }

    /// Sends the reply.
    pub(crate) fn answer(&self, ctx: &mut Context<'_>, path: Path) {
        self.reply.transmit(ctx, path);
    }

    /// Repeats the reply if the datagram repeats the request, to where it came from (RFC 7296
    /// §2.11). Nothing is processed twice, nothing is decrypted for it. Of a fragmented request, the
    /// first fragment counts, once for all (D25, RFC 7383 §2.6.1).
    pub(crate) fn repeat(
        &self,
        ctx: &mut Context<'_>,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> bool {
        let again = datagram.octets() == self.request;
        if again {
            self.answer(ctx, path);
        }
        again
    }

    /// As [`repeat`](Self::repeat), also where the peer has divided the request anew. Whoever goes on
    /// in smaller fragments after it was answered has not got the answer, which then goes on in
    /// smaller ones too.
    pub(crate) fn repeat_sealed(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        protection: &mut Protection,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> bool {
        if self.repeat(ctx, path, datagram) {
            return true;
        }
        if !core.fragmentation || !self.is_divided_anew(datagram) {
            return false;
        }
        let again = protection.is_authentic_fragment(datagram);
        if again {
            if let Some(smaller) = protection.divide_further(core, &self.reply) {
                self.reply = smaller;
            }
            self.request = datagram.octets().to_vec();
            self.answer(ctx, path);
        }
        again
    }

    /// Whether this says that it is the first of more fragments than the request was.
    fn is_divided_anew(&self, datagram: &Datagram<'_>) -> bool {
        let (Ok(request), Some(place)) = (Datagram::parse(&self.request), datagram.place()) else {
            return false;
        };
        request.header == datagram.header
            && place.number() == 1
            && place.total() > request.place().map_or(1, Place::total)
    }
}

#[cfg(test)]
mod tests;
