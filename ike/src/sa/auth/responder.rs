//! The responder of IKE_AUTH: whom it takes, and what it answers.

use std::sync::Arc;

use super::ppk::{self, Claim, Evidence};
use super::proof::{Proof, authentication};
use super::{EXCHANGE, check_identity, details, in_auth};
use crate::error::{Drop, Failure, PeerFault};
use crate::event::{Encapsulation, Event, Path};
use crate::identity::Identity;
use crate::limits;
use crate::nat::{self, Nat};
use crate::proposal;
use crate::sa::child;
use crate::sa::exchange::Exchange;
use crate::sa::init::{Agreed, InitReceived, refuse_nat};
use crate::sa::intermediate;
use crate::sa::live::Live;
use crate::sa::mobike;
use crate::sa::pairs::Pairs;
use crate::sa::payloads::Payloads;
use crate::sa::protection::{Incoming, Protection};
use crate::sa::{Closed, Context, Core, News, State, Step};
use crate::select::Pfs;
use crate::wire::{
    Datagram, ExchangeType, Header, Identification, Notify, NotifyType, Payload, WireError,
};

impl InitReceived {
    /// As the responder: takes IKE_AUTH, or IKE_INTERMEDIATE where that has to come first.
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
        let additional = self.agreed.additional();
        let (exchange, message_id) = match additional {
            Some(_) => (ExchangeType::IKE_INTERMEDIATE, intermediate::MESSAGE_ID),
            None => (ExchangeType::IKE_AUTH, self.agreed.message_id()),
        };
        if (header.exchange, header.message_id) != (exchange, message_id) {
            return self.repeat(core, ctx, path, datagram, exchange);
        }
        if !same_hosts(core.path, path) || has_not_moved(&core, path) {
            return self.dropped(core, Drop::UnknownPeer);
        }
        let incoming = match self.protection.open(&core, ctx, datagram) {
            Ok(incoming) => incoming,
            Err(dropped) => return Step::unchanged(core, State::InitReceived(self), dropped),
        };
        if let Some(kem) = additional {
            return self.answer_intermediate(core, ctx, path, kem, incoming);
        }
        let Incoming {
            datagram: request,
            payloads,
            ..
        } = incoming;
        let Self {
            agreed, protection, ..
        } = *self;
        let responder = Responder {
            agreed,
            protection,
            request,
            header: core.header(exchange, message_id, true),
            path,
        };
        match payloads {
            Ok(payloads) => responder.answer(core, ctx, &Payloads::new(payloads)),
            Err(error) => responder.reject_malformed(core, ctx, error),
        }
    }

    /// Takes what is not the next request: a repetition of IKE_INTERMEDIATE gets the same reply.
    fn repeat(
        mut self: Box<Self>,
        core: Core,
        ctx: &mut Context<'_>,
        path: Path,
        datagram: &Datagram<'_>,
        expected: ExchangeType,
    ) -> Step {
        if let Some(answered) = &mut self.answered
            && same_hosts(core.path, path)
            && answered.repeat(&core, ctx, path, datagram)
        {
            return Step::stay(core, State::InitReceived(self));
        }
        let reason = if datagram.header.exchange == expected {
            Drop::MessageId
        } else {
            Drop::UnexpectedExchange
        };
        self.dropped(core, reason)
    }

    fn dropped(self: Box<Self>, core: Core, reason: Drop) -> Step {
        Step::with(core, State::InitReceived(self), News::Dropped(reason))
    }
}

/// A responder at work on a request whose ICV was right: IKE_AUTH, or one before it that ends the attempt.
pub(in crate::sa) struct Responder {
    pub(in crate::sa) agreed: Agreed,
    pub(in crate::sa) protection: Protection,
    /// The datagram that the request came in, or that of its first fragment.
    pub(in crate::sa) request: Vec<u8>,
    /// That of the reply.
    pub(in crate::sa) header: Header,
    /// Where the request came from and was sent to; once it is authenticated, the SA's path.
    pub(in crate::sa) path: Path,
}

impl Responder {
    fn answer(mut self, mut core: Core, ctx: &mut Context<'_>, payloads: &Payloads) -> Step {
        let proof = match Proof::read(payloads, true) {
            Ok(proof) => proof,
            Err(fault) => {
                let notify = Notify::status(NotifyType::INVALID_SYNTAX);
                return self.reject(core, ctx, notify, in_auth(fault));
            }
        };
        identify(&mut core, ctx, &proof.id.identity);
        if let Err(failure) = self.authenticate(&core, &proof, &Claim::read(payloads)) {
            let notify = Notify::status(NotifyType::AUTHENTICATION_FAILED);
            return self.reject(core, ctx, notify, failure);
        }
        if let Err(failure) = self.check_terms(&core) {
            let notify = Notify::status(NotifyType::NO_PROPOSAL_CHOSEN);
            return self.reject(core, ctx, notify, failure);
        }
        // Authenticated: the path that it used is its path (RFC 7296 §2.11).
        core.path = self.path;
        self.establish(core, ctx, payloads, proof.id.identity.clone())
    }

    /// The AUTH value is computed in any case, so that a wrong identity, or one that nobody has, takes as
    /// long as a wrong key (SECURITY §2, oracle).
    fn authenticate(
        &mut self,
        core: &Core,
        proof: &Proof<'_>,
        claim: &Claim<'_>,
    ) -> Result<(), Failure> {
        let (agreed, psk) = (&mut self.agreed, &core.peer.psk);
        let plain = claim.no_ppk_auth.map(|auth| proof.by(auth));
        let plain_holds = plain.is_some_and(|proof| proof.holds(agreed, psk, true));
        let evidence = claim.settle(core, agreed);
        let auth_holds = proof.holds(agreed, psk, true);
        proof.check_method()?;
        if core.owner.is_none() {
            return Err(Failure::UnknownIdentity {
                received: proof.id.identity.clone(),
            });
        }
        check_identity(core.expected_id(), &proof.id.identity)?;
        let (holds, without_ppk) = match evidence? {
            Evidence::Auth => (auth_holds, plain_holds),
            Evidence::NoPpkAuth => (plain_holds, false),
        };
        match self.agreed.ppk_id(core) {
            _ if holds => Ok(()),
            // The other key is the same.
            Some(id) if without_ppk => Err(Failure::PpkMismatch { id }),
            ppk => Err(Failure::PskMismatch {
                remote_id: proof.id.identity.clone(),
                ppk,
            }),
        }
    }

    /// What was agreed on in IKE_SA_INIT, maybe with a stranger, has to be what the peer's file accepts.
    fn check_terms(&self, core: &Core) -> Result<(), Failure> {
        let ours = &core.peer.ike_proposals;
        let agreed = self.agreed.suite;
        if !ours.iter().any(|proposal| proposal.allows(agreed)) {
            let ours = proposal::list(ours);
            return Err(Failure::OtherTerms { agreed, ours });
        }
        // For the sake of others on the roster the peer may have been made to see a NAT.
        let nat = core.nat;
        let in_udp = core.encapsulation != Encapsulation::None;
        let ours = nat.ours || in_udp && !nat.theirs;
        refuse_nat(core, Nat { ours, ..nat })
    }

    fn establish(
        mut self,
        mut core: Core,
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
        if self.agreed.uses_ppk() {
            reply.push(ppk::confirmation());
        }
        let details = details(&core, ctx, &self.agreed, local_id, remote_id);
        let lowest_nonce = self.agreed.lowest_nonce();
        let answer = child::answer(&core, ctx, EXCHANGE, payloads, Pfs::Impossible);
        match answer {
            Ok((child_payloads, agreement)) => {
                reply.extend(child_payloads);
                core.agree_on_mobike(payloads);
                reply.extend(mobike::supported(&core).filter(|_| core.mobike.is_some()));
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
                let live = live.after_peer_requests(self.header.message_id, last);
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
                    .after_peer_requests(self.header.message_id, last);
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
    pub(in crate::sa) fn reject(
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
        let reply = self.protection.seal(core, ctx, &self.header, payloads);
        Exchange::new(std::mem::take(&mut self.request), reply)
    }
}

/// Makes somebody of a stranger, if the roster has its identity; and of somebody who calls from the
/// address of a peer without being it.
fn identify(core: &mut Core, ctx: &Context<'_>, identity: &Identity) {
    let is_owner = core.owner.is_some() && check_identity(core.expected_id(), identity).is_ok();
    if let Some(peer) = ctx.roster.find(identity).filter(|_| !is_owner) {
        core.owner = Some(peer.id);
        core.peer = Arc::clone(peer);
        core.wanted = peer.encapsulation;
    }
}

/// No ICV covers the outer addresses; the NAT detection of IKE_SA_INIT vouched for them. A message
/// that somebody relays from elsewhere must not move the SA there. Ports may change (D4).
fn same_hosts(a: Path, b: Path) -> bool {
    a.local.ip() == b.local.ip() && a.remote.ip() == b.remote.ip()
}

/// Whether a peer has stayed on port 500 although ESP travels in UDP, for which it has to move
/// (RFC 7296 §2.23): its ESP would have nowhere to go.
fn has_not_moved(core: &Core, path: Path) -> bool {
    core.encapsulation != Encapsulation::None && !nat::is_traversal(path)
}
