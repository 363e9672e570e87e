//! IKE_SA_INIT requests from the network: nothing is kept before it has to be, and never more than
//! the limits allow (RFC 7296 §2.6).

use std::time::Instant;

use super::Endpoint;
use super::half_open::Caller;
use super::strangers::Met;
use crate::config::PeerId;
use crate::error::Drop;
use crate::event::Path;
use crate::limits;
use crate::sa::init::{self, InitReceived};
use crate::sa::payloads::Payloads;
use crate::sa::{Core, State, Step};
use crate::wire::{Datagram, ExchangeType, IkeSpi, Notify, NotifyType};

impl Endpoint {
    /// An IKE_SA_INIT request that no SA of ours has seen: nothing is kept before the cookie, if one
    /// is asked for, is right (D9).
    pub(super) fn on_initial_request(
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
        if header.initiator == IkeSpi::NONE || datagram.octets().len() > limits::INIT_OCTETS {
            return Err(Drop::Header);
        }
        let caller = Caller::new(path.remote, header.initiator);
        if let Some(spi) = self.half_open.get(&caller) {
            return self.repeat_init_reply(now, spi, path, datagram);
        }
        let Met {
            owner,
            terms,
            wanted,
        } = self.meet(path).ok_or(Drop::UnknownPeer)?;
        // Our own request, sent back to us: its AUTH would be ours too.
        if self
            .sas
            .get(header.initiator)
            .is_some_and(|sa| sa.core.initiated)
        {
            return Err(Drop::Refused);
        }
        let payloads = match datagram.clear_payloads() {
            Ok(payloads) => Payloads::new(payloads),
            Err(error) => {
                let refusal = init::Refusal::wire(error);
                return self.refuse_init(now, path, owner, datagram, refusal);
            }
        };
        self.check_cookie(now, path, datagram, &payloads)?;

        let responder_spi = self.unused_spi();
        let core = Core {
            owner,
            ..Core::new(terms, header.initiator, path, wanted, now)
        };
        let mut ctx = self.outside.context(now, false);
        match InitReceived::answer(core, &mut ctx, responder_spi, datagram, &payloads) {
            Ok(sa) => {
                if let Some(spi) = self.half_open.in_the_way_of(path.remote.ip()) {
                    self.step(now, spi, |_, _| Step::end(None));
                }
                self.half_open.insert(caller, responder_spi);
                self.sas.put(sa);
                Ok(())
            }
            Err(refusal) => self.refuse_init(now, path, owner, datagram, refusal),
        }
    }

    /// Answers a request again. One that differs from the first in a good cookie alone is a repetition
    /// too: its sender was asked for the cookie before or after the first one was answered, as the load
    /// rose and fell, and will sign whichever it sent last (D18).
    fn repeat_init_reply(
        &mut self,
        now: Instant,
        spi: IkeSpi,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Result<(), Drop> {
        let mut ctx = self.outside.context(now, false);
        match self.sas.get(spi).map(|sa| &sa.state) {
            Some(State::InitReceived(state)) if state.last.repeat(&mut ctx, path, datagram) => {
                return Ok(());
            }
            _ => {}
        }
        let payloads = datagram.clear_payloads().map_err(|_| Drop::MessageId)?;
        let payloads = Payloads::new(payloads);
        if !self.has_cookie(now, path, datagram, &payloads) {
            return Err(Drop::MessageId);
        }
        let mut sa = self.sas.take(spi).ok_or(Drop::MessageId)?;
        let mut ctx = self.outside.context(now, false);
        let repeated = match &mut sa.state {
            State::InitReceived(state) => {
                state.repeat_with_cookie(&mut ctx, path, datagram, &payloads)
            }
            _ => false,
        };
        self.sas.put(sa);
        repeated.then_some(()).ok_or(Drop::MessageId)
    }

    /// Asks for a cookie where one is wanted and is not there (D9).
    fn check_cookie(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &Datagram<'_>,
        payloads: &Payloads,
    ) -> Result<(), Drop> {
        if !self.half_open.asks_for_cookie(path.remote.ip()) {
            return Ok(());
        }
        let nonce = payloads.nonce().map_err(|_| Drop::Malformed)?;
        if self.has_cookie(now, path, datagram, payloads) {
            return Ok(());
        }
        let (remote, spi) = (path.remote.ip(), datagram.header.initiator);
        let cookie = self.cookies.issue(nonce, remote, spi);
        let notify = Notify::with_data(NotifyType::COOKIE, cookie);
        let reply = init::stateless_reply(&datagram.header, notify);
        self.outside.context(now, false).transmit(path, reply);
        Err(Drop::Cookie)
    }

    /// Whether the request brings a cookie that we have issued to its sender.
    fn has_cookie(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &Datagram<'_>,
        payloads: &Payloads,
    ) -> bool {
        self.cookies.roll(self.outside.rng.as_mut(), now);
        let (Ok(nonce), Some(returned)) = (payloads.nonce(), payloads.notify(NotifyType::COOKIE))
        else {
            return false;
        };
        let (remote, spi) = (path.remote.ip(), datagram.header.initiator);
        self.cookies.verify(&returned.data, nonce, remote, spi)
    }

    fn refuse_init(
        &mut self,
        now: Instant,
        path: Path,
        owner: Option<PeerId>,
        datagram: &Datagram<'_>,
        refusal: init::Refusal,
    ) -> Result<(), Drop> {
        if let Some(notify) = refusal.notify {
            let reply = init::stateless_reply(&datagram.header, notify);
            self.outside.context(now, false).transmit(path, reply);
        }
        if let Some(failure) = refusal.failure {
            self.tell_refusal_of(now, owner, path, *failure);
        }
        Err(Drop::Refused)
    }
}
