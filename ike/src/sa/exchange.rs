//! The two halves of an exchange: our request in flight, repeated until it is answered, and the
//! peer's last request with our reply, repeated when it is (RFC 7296 §2.1). Both are kept as bytes,
//! so a repetition is bit-identical by construction.

use std::time::{Duration, Instant};

use super::{Context, Core};
use crate::error::{Drop, Failure};
use crate::event::{Deadline, Path, Timer};
use crate::wire::{Datagram, ExchangeType};

/// A request of ours without its answer. The window is 1 (RFC 7296 §2.3): an SA has at most one.
pub(crate) struct Request {
    pub(crate) message_id: u32,
    pub(crate) exchange: ExchangeType,
    /// As it was sent last.
    datagram: Vec<u8>,
    /// What takes its place with the next transmission.
    next: Option<Vec<u8>>,
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
        datagram: Vec<u8>,
    ) -> Self {
        ctx.transmit(core.path, datagram.clone());
        let due = ctx.now + core.peer.retransmit.wait_after(1);
        Self {
            message_id,
            exchange,
            datagram,
            next: None,
            sent: 1,
            first_sent: ctx.now,
            due,
        }
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

    /// Puts other bytes in its place and sends them, counted as one more transmission.
    pub(crate) fn replace_and_send(&mut self, core: &Core, ctx: &mut Context<'_>, new: Vec<u8>) {
        self.next = Some(new);
        self.transmit(core, ctx);
    }

    /// Puts other bytes in its place, sent when the next transmission is due: a peer that answers
    /// everything with a new demand does not make us spin.
    pub(crate) fn replace(&mut self, new: Vec<u8>) {
        self.next = Some(new);
    }

    fn transmit(&mut self, core: &Core, ctx: &mut Context<'_>) {
        if let Some(next) = self.next.take() {
            self.datagram = next;
        }
        self.sent = self.sent.saturating_add(1);
        self.due = ctx.now + core.peer.retransmit.wait_after(self.sent);
        ctx.transmit(core.path, self.datagram.clone());
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

    pub(crate) const fn deadline(&self) -> Deadline {
        Deadline {
            at: self.due,
            why: Timer::Retransmit,
        }
    }

    /// The bytes as they were sent last, which is what the peer can have answered (D18).
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.datagram
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
    pub(crate) request: Vec<u8>,
    pub(crate) reply: Vec<u8>,
}

impl Exchange {
    /// Repeats the reply if the datagram repeats the request, to where it came from (RFC 7296
    /// §2.11). Nothing is processed twice, nothing is decrypted for it.
    pub(crate) fn repeat(
        &self,
        ctx: &mut Context<'_>,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> bool {
        let again = datagram.octets() == self.request;
        if again {
            ctx.transmit(path, self.reply.clone());
        }
        again
    }
}
