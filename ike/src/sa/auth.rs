//! IKE_AUTH with a pre-shared key, both roles (RFC 7296 §1.2, §2.15, §2.16): identities, AUTH, and
//! the first CHILD_SA. Here an SA becomes authenticated; nothing is installed before.

use subtle::{Choice, ConstantTimeEq};

use super::child::{self, Agreement, Material};
use super::exchange::{Exchange, Repeat, Request};
use super::init::{Agreed, InitReceived};
use super::live::Live;
use super::pairs::{Fresh, Pairs};
use super::payloads::Payloads;
use super::protection::{Incoming, Protection, Unopened};
use super::{Closed, Context, Core, News, State, Step};
use crate::error::{Drop, Failure, PeerFault};
use crate::event::{Encapsulation, EspSpi, Event, IkeDetails, Path};
use crate::identity::Identity;
use crate::keys;
use crate::limits;
use crate::nat;
use crate::proposal;
use crate::secret::Secret;
use crate::select::Pfs;
use crate::wire::{
    AuthMethod, Authentication, Datagram, ExchangeType, Identification, Notify, NotifyType,
    Payload, WireError,
};

const EXCHANGE: ExchangeType = ExchangeType::IKE_AUTH;
/// IKE_AUTH follows IKE_SA_INIT's 0 (D1, RFC 7296 §2.2).
const MESSAGE_ID: u32 = 1;

/// We are the initiator and wait for the response.
pub(crate) struct AuthSent {
    agreed: Agreed,
    protection: Protection,
    local_id: Identity,
    inbound: EspSpi,
    pub(crate) request: Request,
}

impl AuthSent {
    /// Sends `IDi [N(INITIAL_CONTACT)] [IDr] AUTH N(USE_TRANSPORT_MODE) SA TSi TSr`.
    pub(crate) fn start(core: Core, ctx: &mut Context<'_>, agreed: Agreed) -> Step {
        let mut protection = agreed.protection(true);
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
        payloads.push(authentication(&agreed.sign(&core.peer.psk, true, &id)));
        let offer = proposal::esp_offer(&core.peer.esp_proposals, inbound);
        payloads.extend(child::offer(&core, offer));

        let header = core.header(ExchangeType::IKE_AUTH, MESSAGE_ID, false);
        let message = protection.seal(&core, ctx, &header, payloads);
        let request = Request::send(&core, ctx, ExchangeType::IKE_AUTH, MESSAGE_ID, message);
        let state = Self {
            agreed,
            protection,
            local_id,
            inbound,
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
        if let Err(reason) = self.request.check_answer(datagram) {
            return self.dropped(core, reason);
        }
        let incoming = match self.protection.open(&core, ctx, datagram) {
            Ok(incoming) => incoming,
            // Nothing without the right ICV ends a half-open SA (RFC 7296 §2.21.2).
            Err(Unopened::Useless(reason)) => return self.dropped(core, reason),
            Err(Unopened::Incomplete) => return Step::stay(core, State::AuthSent(self)),
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
        &self,
        core: &Core,
        payloads: &Payloads,
    ) -> Result<Identity, (Option<NotifyType>, Failure)> {
        if let (Err(PeerFault::Missing(_)), Some(notify)) =
            (payloads.authentication(), payloads.error())
        {
            return Err((None, self.refused(core, notify.kind)));
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
        core: Core,
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
        let details = details(&core, ctx, &self.agreed, self.local_id, remote_id);
        let lowest_nonce = self.agreed.lowest_nonce();
        let sk_d = self.agreed.keys.sk_d;
        let mut live = Live::new(&core, ctx, self.protection, details, sk_d, lowest_nonce)
            .after_own_requests(MESSAGE_ID);
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
            .after_own_requests(MESSAGE_ID);
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

    fn dropped(self: Box<Self>, core: Core, reason: Drop) -> Step {
        Step::with(core, State::AuthSent(self), News::Dropped(reason))
    }
}

impl InitReceived {
    /// As the responder: takes IKE_AUTH.
    pub(crate) fn on_message(
        mut self: Box<Self>,
        core: Core,
        ctx: &mut Context<'_>,
        path: Path,
        datagram: &Datagram<'_>,
    ) -> Step {
        let header = &datagram.header;
        if header.response {
            return self.dropped(core, Drop::UnexpectedResponse);
        }
        if header.exchange != ExchangeType::IKE_AUTH {
            return self.dropped(core, Drop::UnexpectedExchange);
        }
        if header.message_id != MESSAGE_ID {
            return self.dropped(core, Drop::MessageId);
        }
        if !same_hosts(core.path, path) || has_not_moved(&core, path) {
            return self.dropped(core, Drop::UnknownPeer);
        }
        let Incoming {
            datagram: request,
            payloads,
        } = match self.protection.open(&core, ctx, datagram) {
            Ok(incoming) => incoming,
            Err(Unopened::Useless(reason)) => return self.dropped(core, reason),
            Err(Unopened::Incomplete) => return Step::stay(core, State::InitReceived(self)),
        };
        let Self {
            agreed, protection, ..
        } = *self;
        let responder = Responder {
            agreed,
            protection,
            request,
            path,
        };
        match payloads {
            Ok(payloads) => responder.answer(core, ctx, &Payloads::new(payloads)),
            Err(error) => responder.reject_malformed(core, ctx, error),
        }
    }

    fn dropped(self: Box<Self>, core: Core, reason: Drop) -> Step {
        Step::with(core, State::InitReceived(self), News::Dropped(reason))
    }
}

/// A responder at work on an IKE_AUTH request whose ICV was right.
struct Responder {
    agreed: Agreed,
    protection: Protection,
    /// The datagram that the request came in, or that of its first fragment.
    request: Vec<u8>,
    /// Where the request came from and was sent to; from here on the SA's path.
    path: Path,
}

impl Responder {
    fn answer(self, mut core: Core, ctx: &mut Context<'_>, payloads: &Payloads) -> Step {
        let proof = match Proof::read(payloads, true) {
            Ok(proof) => proof,
            Err(fault) => {
                let notify = Notify::status(NotifyType::INVALID_SYNTAX);
                return self.reject(core, ctx, notify, in_auth(fault));
            }
        };
        if let Err(failure) = self.authenticate(&core, &proof) {
            let notify = Notify::status(NotifyType::AUTHENTICATION_FAILED);
            return self.reject(core, ctx, notify, failure);
        }
        // Authenticated: the path that it used is its path (RFC 7296 §2.11).
        core.path = self.path;
        self.establish(core, ctx, payloads, proof.id.identity.clone())
    }

    /// The AUTH value is computed in any case, so that a wrong identity takes as long as a wrong
    /// key (SECURITY §2, oracle).
    fn authenticate(&self, core: &Core, proof: &Proof<'_>) -> Result<(), Failure> {
        let holds = proof.holds(&self.agreed, &core.peer.psk, true);
        proof.check_method()?;
        check_identity(core.expected_id(), &proof.id.identity)?;
        if holds {
            Ok(())
        } else {
            Err(Failure::PskMismatch {
                remote_id: proof.id.identity.clone(),
            })
        }
    }

    fn establish(
        mut self,
        core: Core,
        ctx: &mut Context<'_>,
        payloads: &Payloads,
        remote_id: Identity,
    ) -> Step {
        let local_id = core.local_id();
        let id = Identification::new(local_id.clone());
        let mut reply = vec![
            Payload::IdResponder(id.clone()),
            authentication(&self.agreed.sign(&core.peer.psk, false, &id)),
        ];
        let details = details(&core, ctx, &self.agreed, local_id, remote_id);
        let lowest_nonce = self.agreed.lowest_nonce();
        let answer = child::answer(&core, ctx, EXCHANGE, payloads, Pfs::Impossible);
        match answer {
            Ok((child_payloads, agreement)) => {
                reply.extend(child_payloads);
                let last = self.seal_reply(&core, ctx, reply);
                let fresh = self.agreed.pair(agreement, false);
                let sk_d = self.agreed.keys.sk_d;
                let mut live = Live::new(&core, ctx, self.protection, details, sk_d, lowest_nonce);
                ctx.event(Event::IkeUp {
                    peer: core.peer.id,
                    details: live.details(),
                });
                // The peer may send as soon as it has the reply, and can receive only then.
                let mut pairs = Pairs::default();
                let child = pairs.arrive(&core, ctx, fresh, None);
                last.answer(ctx, self.path);
                pairs.confirm(&core, ctx, child);
                live.take_over(pairs);
                let live = live.after_peer_requests(MESSAGE_ID, last);
                let initial_contact = payloads.notify(NotifyType::INITIAL_CONTACT).is_some();
                let news = News::Established { initial_contact };
                Step::with(core, State::Established(Box::new(live)), news)
            }
            Err(refusal) => {
                // D30: the peer has an IKE SA without a CHILD_SA; of no use, so it is deleted.
                reply.push(Payload::Notify(refusal.notify));
                let last = self.seal_reply(&core, ctx, reply);
                last.answer(ctx, self.path);
                let sk_d = self.agreed.keys.sk_d;
                let mut live = Live::new(&core, ctx, self.protection, details, sk_d, lowest_nonce)
                    .after_peer_requests(MESSAGE_ID, last);
                live.send_delete(&core, ctx, None);
                let state = State::Established(Box::new(live));
                Step {
                    news: refusal.failure.map(|failure| News::Refused(*failure)),
                    ..Step::stay(core, state)
                }
            }
        }
    }

    fn reject_malformed(self, core: Core, ctx: &mut Context<'_>, error: WireError) -> Step {
        let notify = Notify::for_wire_error(&error);
        self.reject(core, ctx, notify, in_auth(PeerFault::Malformed(error)))
    }

    /// Answers with an error and forgets all but that answer.
    fn reject(
        mut self,
        core: Core,
        ctx: &mut Context<'_>,
        notify: Notify,
        failure: Failure,
    ) -> Step {
        let last = self.seal_reply(&core, ctx, vec![Payload::Notify(notify)]);
        last.answer(ctx, self.path);
        let closed = Closed {
            last,
            until: ctx.now + limits::CLOSED,
        };
        Step::with(core, State::Closed(closed), News::Refused(failure))
    }

    fn seal_reply(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        payloads: Vec<Payload>,
    ) -> Exchange {
        let header = core.header(ExchangeType::IKE_AUTH, MESSAGE_ID, true);
        let reply = self.protection.seal(core, ctx, &header, payloads);
        Exchange::new(std::mem::take(&mut self.request), reply)
    }
}

/// The peer's claim and what it proves it with.
struct Proof<'a> {
    id: &'a Identification,
    authentication: &'a Authentication,
}

impl<'a> Proof<'a> {
    fn read(payloads: &'a Payloads, of_initiator: bool) -> Result<Self, PeerFault> {
        let id = if of_initiator {
            payloads.initiator_id()
        } else {
            payloads.responder_id()
        };
        Ok(Self {
            id: id?,
            authentication: payloads.authentication()?,
        })
    }

    fn check_method(&self) -> Result<(), Failure> {
        match self.authentication.method {
            AuthMethod::SHARED_KEY => Ok(()),
            AuthMethod(method) => Err(Failure::AuthenticationMethod { method }),
        }
    }

    /// Whether the AUTH value was made with our key; compared in constant time, and only as a
    /// whole (SECURITY lesson 10).
    fn holds(&self, agreed: &Agreed, psk: &Secret, by_initiator: bool) -> bool {
        let expected = agreed.expect(psk, by_initiator, self.id);
        let matches = expected.map(|value| value.expose().ct_eq(&self.authentication.data));
        matches.fold(Choice::from(0), |any, one| any | one).into()
    }
}

impl Agreed {
    /// The keys of the pair inside IKE_AUTH: its nonces are IKE_SA_INIT's (RFC 7296 §2.17).
    fn pair(&self, agreement: Agreement, initiated: bool) -> Fresh {
        Material {
            prf: self.suite.prf,
            sk_d: &self.keys.sk_d,
            g_ir: None,
            initiator_nonce: &self.initiator_nonce,
            responder_nonce: &self.responder_nonce,
            initiated,
        }
        .derive(agreement)
    }

    /// Our AUTH value.
    fn sign(&self, psk: &Secret, initiated: bool, id: &Identification) -> Secret {
        self.auth_value(psk, initiated, &self.our_message, id)
    }

    /// The AUTH values of which the peer has to send one.
    fn expect(
        &self,
        psk: &Secret,
        by_initiator: bool,
        id: &Identification,
    ) -> impl Iterator<Item = Secret> {
        let messages = self.peer_messages.iter();
        messages.map(move |message| self.auth_value(psk, by_initiator, message, id))
    }

    /// D18, RFC 7296 §2.15: the signer's first message, the other's nonce, the signer's identity.
    fn auth_value(
        &self,
        psk: &Secret,
        by_initiator: bool,
        message: &[u8],
        id: &Identification,
    ) -> Secret {
        let (nonce, sk_p) = if by_initiator {
            (&self.responder_nonce, &self.keys.sk_pi)
        } else {
            (&self.initiator_nonce, &self.keys.sk_pr)
        };
        keys::auth_value(self.suite.prf, psk, message, nonce, sk_p, &id.body)
    }
}

fn authentication(value: &Secret) -> Payload {
    let method = AuthMethod::SHARED_KEY;
    Payload::Authentication(Authentication {
        method,
        data: value.expose().to_vec(),
    })
}

/// No ICV covers the outer addresses; the NAT detection of IKE_SA_INIT vouched for them. A message
/// that somebody relays from elsewhere must not move the SA there. Ports may change (D4).
fn same_hosts(a: Path, b: Path) -> bool {
    a.local.ip() == b.local.ip() && a.remote.ip() == b.remote.ip()
}

/// Whether a peer has stayed on port 500 although ESP travels in UDP, for which it has to move
/// (RFC 7296 §2.23): its ESP would have nowhere to go.
fn has_not_moved(core: &Core, path: Path) -> bool {
    core.encapsulation() != Encapsulation::None && !nat::is_traversal(path)
}

fn in_auth(fault: PeerFault) -> Failure {
    Failure::Fault {
        exchange: EXCHANGE,
        fault,
    }
}

fn check_identity(expected: Option<Identity>, received: &Identity) -> Result<(), Failure> {
    match expected {
        Some(expected) if expected != *received => Err(Failure::IdentityMismatch {
            expected,
            received: received.clone(),
        }),
        _ => Ok(()),
    }
}

fn details(
    core: &Core,
    ctx: &Context<'_>,
    agreed: &Agreed,
    local_id: Identity,
    remote_id: Identity,
) -> IkeDetails {
    IkeDetails {
        path: core.path,
        spi_initiator: core.initiator_spi.0,
        spi_responder: core.responder_spi.0,
        initiated: core.initiated,
        suite: agreed.suite,
        local_id,
        remote_id,
        encapsulation: core.encapsulation(),
        since: ctx.now,
        rekey_at: ctx.now,
    }
}
