//! The initiator of IKE_AUTH: what it claims, and what it makes of the answer.

use super::ppk::Taken;
use super::proof::{Proof, authentication};
use super::{EXCHANGE, check_identity, details, in_auth};
use crate::error::{Failure, PeerFault};
use crate::event::{EspSpi, Event};
use crate::identity::Identity;
use crate::proposal;
use crate::sa::child;
use crate::sa::exchange::{Repeat, Request};
use crate::sa::init::Agreed;
use crate::sa::live::Live;
use crate::sa::mobike;
use crate::sa::pairs::Pairs;
use crate::sa::payloads::Payloads;
use crate::sa::protection::Protection;
use crate::sa::{Context, Core, News, State, Step};
use crate::select::Pfs;
use crate::wire::{Datagram, Identification, Notify, NotifyType, Payload};

/// We are the initiator and wait for the response.
pub(crate) struct AuthSent {
    agreed: Agreed,
    protection: Protection,
    local_id: Identity,
    inbound: EspSpi,
    /// Our PPK is in the keys, which the peer may not want.
    ppk: Option<Taken>,
    pub(crate) request: Request,
}

impl AuthSent {
    /// Sends `IDi [N(INITIAL_CONTACT)] [IDr] AUTH [N(PPK_IDENTITY)] [N(NO_PPK_AUTH)]
    /// N(USE_TRANSPORT_MODE) SA TSi TSr`.
    pub(crate) fn start(
        core: Core,
        ctx: &mut Context<'_>,
        mut agreed: Agreed,
        mut protection: Protection,
    ) -> Step {
        let local_id = core.local_id();
        let id = Identification::new(local_id.clone());
        let inbound = child::reserve(&core, ctx);

        let mut payloads = vec![Payload::IdInitiator(id.clone())];
        if ctx.alone {
            payloads.push(Payload::Notify(Notify::status(NotifyType::INITIAL_CONTACT)));
        }
        payloads.extend(
            core.expected_id()
                .map(|id| Payload::IdResponder(Identification::new(id))),
        );
        let sign = |agreed: &Agreed| agreed.sign(&core.peer.psk, true, &id);
        let (ppk, ppk_payloads) = agreed.take_ppk(&core, sign).unzip();
        payloads.push(authentication(&sign(&agreed)));
        payloads.extend(ppk_payloads.into_iter().flatten());
        let offer = proposal::esp_offer(&core.peer.esp_proposals, inbound);
        payloads.extend(child::offer(&core, offer));
        payloads.extend(mobike::supported(&core));

        let message_id = agreed.message_id();
        let request =
            Request::send_sealed(&core, ctx, &mut protection, EXCHANGE, message_id, payloads);
        let state = Self {
            agreed,
            protection,
            local_id,
            inbound,
            ppk,
            request,
        };
        Step::stay(core, State::AuthSent(Box::new(state)))
    }

    pub(crate) fn on_message(
        mut self: Box<Self>,
        core: Core,
        ctx: &mut Context<'_>,
        datagram: &Datagram<'_>,
    ) -> Step {
        let Self {
            request,
            protection,
            ..
        } = &mut *self;
        let incoming = match request.open_answer(&core, ctx, protection, datagram) {
            Ok(incoming) => incoming,
            // Nothing without the right ICV ends a half-open SA (RFC 7296 §2.21.2).
            Err(dropped) => return Step::unchanged(core, State::AuthSent(self), dropped),
        };
        let payloads = match incoming.payloads {
            Ok(payloads) => Payloads::new(payloads),
            Err(error) => {
                let failure = in_auth(PeerFault::Malformed(error));
                return self.give_up(core, ctx, Some(NotifyType::INVALID_SYNTAX), failure);
            }
        };
        match self.authenticate(&core, &payloads) {
            Ok(remote_id) => self.establish(core, ctx, &payloads, remote_id),
            Err((None, failure)) => {
                child::withdraw(&core, ctx, self.inbound);
                Step::end(Some(News::Failed(failure)))
            }
            Err((notify, failure)) => self.give_up(core, ctx, notify, failure),
        }
    }

    /// Who the peer has proven to be. The notification in an error is what it has to hear; none
    /// where it refused us and holds no SA.
    fn authenticate(
        &mut self,
        core: &Core,
        payloads: &Payloads,
    ) -> Result<Identity, (Option<NotifyType>, Failure)> {
        if let (Err(PeerFault::Missing(_)), Some(notify)) =
            (payloads.authentication(), payloads.error())
        {
            return Err((None, self.refused(core, notify.kind)));
        }
        if let Some(ppk) = self.ppk.take() {
            let settled = ppk.settle(core, &mut self.agreed, payloads);
            settled.map_err(|failure| (Some(NotifyType::AUTHENTICATION_FAILED), failure))?;
        }
        let proof = Proof::read(payloads, false)
            .map_err(|fault| (Some(NotifyType::INVALID_SYNTAX), in_auth(fault)))?;
        let verify = || {
            proof.check_method()?;
            check_identity(core.expected_id(), &proof.id.identity)?;
            if proof.holds(&self.agreed, &core.peer.psk, false) {
                Ok(proof.id.identity.clone())
            } else {
                Err(Failure::PskMismatch {
                    remote_id: proof.id.identity.clone(),
                    ppk: self.agreed.ppk_id(core),
                })
            }
        };
        verify().map_err(|failure| (Some(NotifyType::AUTHENTICATION_FAILED), failure))
    }

    fn refused(&self, core: &Core, notify: NotifyType) -> Failure {
        if notify == NotifyType::AUTHENTICATION_FAILED {
            let (local_id, remote_id) = (self.local_id.clone(), core.expected_id());
            Failure::AuthenticationRefused {
                local_id,
                remote_id,
                ppk: self.agreed.ppk_id(core),
            }
        } else {
            Failure::Notified {
                exchange: EXCHANGE,
                notify,
            }
        }
    }

    fn establish(
        self: Box<Self>,
        mut core: Core,
        ctx: &mut Context<'_>,
        payloads: &Payloads,
        remote_id: Identity,
    ) -> Step {
        let offer = (&core.peer.esp_proposals[..], Pfs::Impossible);
        let answer = child::check_answer(&core, EXCHANGE, offer, self.inbound, payloads);
        let agreement = match answer {
            Ok(agreement) => agreement,
            // D30: the IKE SA stands without its CHILD_SA, and is of no use to us.
            Err(failure) => return self.give_up(core, ctx, None, failure),
        };
        let fresh = self.agreed.pair(agreement, true);
        core.agree_on_mobike(payloads);
        let details = details(&core, ctx, &self.agreed, self.local_id, remote_id);
        let lowest_nonce = self.agreed.lowest_nonce();
        let sk_d = self.agreed.keys.sk_d;
        let mut live = Live::new(&core, ctx, self.protection, details, sk_d, lowest_nonce)
            .after_own_requests(self.request.message_id);
        ctx.event(Event::IkeUp {
            peer: core.peer.id,
            details: live.details(),
        });
        let mut pairs = Pairs::default();
        let child = pairs.arrive(&core, ctx, fresh, None);
        pairs.confirm(&core, ctx, child);
        live.take_over(pairs);
        let initial_contact = payloads.notify(NotifyType::INITIAL_CONTACT).is_some();
        let news = News::Established { initial_contact };
        Step::with(core, State::Established(Box::new(live)), news)
    }

    /// Ends an IKE SA that the peer takes for established: tells it so (RFC 7296 §2.21.2).
    fn give_up(
        self: Box<Self>,
        core: Core,
        ctx: &mut Context<'_>,
        notify: Option<NotifyType>,
        failure: Failure,
    ) -> Step {
        child::withdraw(&core, ctx, self.inbound);
        let remote_id = core.expected_id().unwrap_or_else(|| core.local_id());
        let details = details(&core, ctx, &self.agreed, self.local_id, remote_id);
        let lowest_nonce = self.agreed.lowest_nonce();
        let sk_d = self.agreed.keys.sk_d;
        let mut live = Live::new(&core, ctx, self.protection, details, sk_d, lowest_nonce)
            .after_own_requests(self.request.message_id);
        live.send_delete(&core, ctx, notify);
        Step::with(
            core,
            State::Established(Box::new(live)),
            News::Failed(failure),
        )
    }

    pub(crate) fn on_timeout(mut self: Box<Self>, core: Core, ctx: &mut Context<'_>) -> Step {
        let Self {
            request,
            protection,
            ..
        } = &mut *self;
        match request.repeat_sealed(&core, ctx, protection) {
            Repeat::Waiting => Step::stay(core, State::AuthSent(self)),
            Repeat::Exhausted => {
                child::withdraw(&core, ctx, self.inbound);
                Step::end(Some(News::Failed(self.request.no_answer(&core, ctx.now))))
            }
        }
    }

    /// Ends without a word to the peer.
    pub(crate) fn abandon(self: Box<Self>, core: &Core, ctx: &mut Context<'_>) -> Step {
        child::withdraw(core, ctx, self.inbound);
        Step::end(None)
    }
}
