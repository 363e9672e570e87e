//! The initiator of IKE_SA_INIT: what it asks, and what it makes of the answers. A response that is of
//! no use is remembered as a suspicion, while a genuine one may still come (RFC 7296 §2.21.1).

use std::time::Instant;

use super::{
    Agreed, EXCHANGE, check_nonce, derive, faster_in_udp, fragmentation_supported,
    intermediate_supported, likes_udp, nat_of, nat_payloads, refuse_nat, takes_fragments,
    takes_intermediate,
};
use crate::algorithm::Group;
use crate::crypto::kex::KeyExchange;
use crate::error::{Drop, Failure, Negotiation, PeerFault};
use crate::event::{Deadline, Encapsulation, Timer};
use crate::limits;
use crate::nat::{self, Nat};
use crate::proposal::{self, IkeProposal, IkeSuite};
use crate::sa::auth::{AuthSent, Progress, ppk};
use crate::sa::exchange::{Repeat, Request};
use crate::sa::intermediate::IntermediateSent;
use crate::sa::outgoing::Outgoing;
use crate::sa::payloads::Payloads;
use crate::sa::{Context, Core, News, State, Step};
use crate::select;
use crate::wire::{self, Datagram, ExchangeType, Header, IkeSpi, Notify, NotifyType, Payload};

/// We are the initiator and wait for the response.
pub(crate) struct InitSent {
    nonce: Vec<u8>,
    key_exchange: Box<dyn KeyExchange>,
    groups_tried: Vec<Group>,
    /// Returned first in every request once it was asked for (D9, D10).
    cookie: Option<Vec<u8>>,
    request: Request,
    /// The first useless answer, and how long a better one may take.
    suspicion: Option<(Failure, Instant)>,
}

impl InitSent {
    /// Begins an attempt with the public value of the group that we like best.
    pub(crate) fn start(core: Core, ctx: &mut Context<'_>) -> Step {
        let proposals = core.peer.ike_proposals.iter();
        let Some(group) = proposals.flat_map(IkeProposal::groups).next().copied() else {
            // The configuration promises a proposal, and a proposal has a group.
            return Step::end(None);
        };
        let nonce = ctx.random(limits::OUR_NONCE_OCTETS);
        let key_exchange = group.generate(ctx.rng);
        let message = Outgoing::single(request(&core, &nonce, key_exchange.as_ref(), None));
        let request = Request::send(&core, ctx, ExchangeType::IKE_SA_INIT, 0, message);
        let state = Self {
            nonce,
            key_exchange,
            groups_tried: vec![group],
            cookie: None,
            request,
            suspicion: None,
        };
        Step::stay(core, State::InitSent(Box::new(state)))
    }

    pub(crate) fn on_message(
        self: Box<Self>,
        core: Core,
        ctx: &mut Context<'_>,
        datagram: &Datagram<'_>,
    ) -> Step {
        if let Err(reason) = self.request.check_answer(datagram) {
            return self.dropped(core, reason);
        }
        let Ok(payloads) = datagram.clear_payloads().map(Payloads::new) else {
            return self.dropped(core, Drop::Malformed);
        };
        if let Some(notify) = payloads.notify(NotifyType::COOKIE) {
            return self.on_cookie(core, ctx, &notify.data);
        }
        if let Some(notify) = payloads.notify(NotifyType::INVALID_KE_PAYLOAD) {
            return self.on_invalid_group(core, ctx, &notify.data);
        }
        if let Some(notify) = payloads.error() {
            let failure = if notify.kind == NotifyType::NO_PROPOSAL_CHOSEN {
                let offered = proposal::list(&core.peer.ike_proposals);
                Failure::NoProposalChosen {
                    what: Negotiation::Ike,
                    offered,
                }
            } else {
                Failure::Notified {
                    exchange: EXCHANGE,
                    notify: notify.kind,
                }
            };
            return self.suspect(core, ctx, failure);
        }
        // Only an error leaves it 0 (D7): an SA has two SPIs.
        if datagram.header.responder == IkeSpi::NONE {
            return self.dropped(core, Drop::Malformed);
        }
        match self.check(&core, &datagram.header, &payloads) {
            Ok(answer) => self.accept(core, ctx, datagram, answer),
            Err(failure) => self.suspect(core, ctx, failure),
        }
    }

    /// D9: the cookie comes back as the first payload, everything else unchanged. A second,
    /// different cookie is honest too (a peer that has just booted, D10), but is not hurried after.
    fn on_cookie(mut self: Box<Self>, core: Core, ctx: &mut Context<'_>, cookie: &[u8]) -> Step {
        if cookie.is_empty() || cookie.len() > limits::COOKIE_OCTETS {
            return self.dropped(core, Drop::Malformed);
        }
        let first = self.cookie.is_none();
        self.cookie = Some(cookie.to_vec());
        self.ask_again(&core, ctx, first);
        Step::stay(core, State::InitSent(self))
    }

    /// D8: only a group that we offered, each at most once; the same list, SPI and nonce.
    fn on_invalid_group(
        mut self: Box<Self>,
        core: Core,
        ctx: &mut Context<'_>,
        data: &[u8],
    ) -> Step {
        let Ok(number) = <[u8; 2]>::try_from(data).map(u16::from_be_bytes) else {
            return self.dropped(core, Drop::Malformed);
        };
        let offered = |group: &Group| {
            core.peer
                .ike_proposals
                .iter()
                .any(|proposal| proposal.groups().contains(group))
        };
        match Group::from_transform_id(number).filter(offered) {
            Some(group) if !self.groups_tried.contains(&group) => {
                self.groups_tried.push(group);
                self.key_exchange = group.generate(ctx.rng);
                self.ask_again(&core, ctx, true);
                Step::stay(core, State::InitSent(self))
            }
            // A duplicate of the answer that made us change the group.
            Some(group) if group == self.key_exchange.group() => {
                self.dropped(core, Drop::UnexpectedResponse)
            }
            _ => {
                let fault = PeerFault::UselessGroup(number);
                self.suspect(
                    core,
                    ctx,
                    Failure::Fault {
                        exchange: EXCHANGE,
                        fault,
                    },
                )
            }
        }
    }

    fn ask_again(&mut self, core: &Core, ctx: &mut Context<'_>, at_once: bool) {
        let cookie = self.cookie.as_deref();
        let message = request(core, &self.nonce, self.key_exchange.as_ref(), cookie);
        let message = Outgoing::single(message);
        if at_once {
            self.request.replace_and_send(core, ctx, message);
        } else {
            self.request.replace(message);
        }
    }

    /// Whether the response could be the one that we want.
    fn check(&self, core: &Core, header: &Header, payloads: &Payloads) -> Result<Answer, Failure> {
        let check = || {
            let suite = select::verify_ike(&core.peer.ike_proposals, payloads.proposals()?)
                .map_err(|error| PeerFault::NotOffered(error.to_string()))?;
            let ke = payloads.key_exchange()?;
            if suite.group != self.key_exchange.group() || ke.group != suite.group.transform_id() {
                return Err(PeerFault::NotOffered(
                    "another group than that of our KE".to_owned(),
                ));
            }
            if suite.additional.is_some() && !takes_intermediate(payloads) {
                return Err(PeerFault::Missing("N(INTERMEDIATE_EXCHANGE_SUPPORTED)"));
            }
            let group = self.key_exchange.group();
            group
                .check_public(&ke.data)
                .map_err(|_| PeerFault::PublicValue)?;
            let nonce = payloads.nonce()?.to_vec();
            check_nonce(&nonce, suite)?;
            let nat = nat_of(header, core, payloads);
            Ok(Answer {
                suite,
                public: ke.data.clone(),
                nonce,
                ppk: ppk::progress(core.peer.ppk.as_ref(), payloads),
                nat,
                fragmentation: takes_fragments(core, payloads),
            })
        };
        let answer = check().map_err(|fault| Failure::Fault {
            exchange: EXCHANGE,
            fault,
        })?;
        ppk::check_answer(core.peer.ppk.as_ref(), answer.ppk)?;
        refuse_nat(core, answer.nat)?;
        Ok(answer)
    }

    fn accept(
        self: Box<Self>,
        mut core: Core,
        ctx: &mut Context<'_>,
        datagram: &Datagram<'_>,
        answer: Answer,
    ) -> Step {
        // The private key is spent: whoever forges a weak value could as well forge one of its own,
        // and no genuine answer would help then either.
        let Ok(shared) = self.key_exchange.agree(&answer.public) else {
            let fault = PeerFault::PublicValue;
            return Step::end(Some(News::Failed(Failure::Fault {
                exchange: EXCHANGE,
                fault,
            })));
        };
        core.responder_spi = datagram.header.responder;
        core.found_nat(answer.nat);
        core.fragmentation = answer.fragmentation;
        if core.encapsulation != Encapsulation::None {
            core.path = nat::traversal_path(core.path);
        }
        let keys = derive(&core, answer.suite, &shared, &self.nonce, &answer.nonce);
        let agreed = Agreed {
            suite: answer.suite,
            keys,
            initiator_nonce: self.nonce,
            responder_nonce: answer.nonce,
            our_message: self.request.octets().to_vec(),
            peer_messages: vec![datagram.octets().to_vec()],
            int_auth: None,
            ppk: answer.ppk,
        };
        match agreed.additional() {
            Some(kem) => IntermediateSent::start(core, ctx, agreed, kem),
            None => {
                let protection = agreed.protection(true);
                AuthSent::start(core, ctx, agreed, protection)
            }
        }
    }

    /// Remembers why an answer was of no use; the attempt fails with it unless a better one comes
    /// (D14).
    fn suspect(mut self: Box<Self>, core: Core, ctx: &Context<'_>, failure: Failure) -> Step {
        if self.suspicion.is_some() {
            return self.dropped(core, Drop::UnexpectedResponse);
        }
        self.suspicion = Some((failure, ctx.now + limits::REFUSAL_WAIT));
        Step::stay(core, State::InitSent(self))
    }

    pub(crate) fn on_timeout(mut self: Box<Self>, core: Core, ctx: &mut Context<'_>) -> Step {
        if let Some((failure, _)) = self.suspicion.take_if(|(_, at)| *at <= ctx.now) {
            return Step::end(Some(News::Failed(failure)));
        }
        match self.request.repeat(&core, ctx) {
            Repeat::Waiting => Step::stay(core, State::InitSent(self)),
            Repeat::Exhausted => {
                let failure = match self.suspicion {
                    Some((failure, _)) => failure,
                    None => self.request.no_answer(&core, ctx.now),
                };
                Step::end(Some(News::Failed(failure)))
            }
        }
    }

    pub(crate) fn deadline(&self) -> Deadline {
        let refusal = self.suspicion.as_ref().map(|(_, at)| Deadline {
            at: *at,
            why: Timer::Refusal,
        });
        let repeat = self.request.deadline();
        refusal.map_or(repeat, |refusal| refusal.min(repeat))
    }

    fn dropped(self: Box<Self>, core: Core, reason: Drop) -> Step {
        Step::with(core, State::InitSent(self), News::Dropped(reason))
    }
}

/// The parts of a response that an initiator can use.
struct Answer {
    suite: IkeSuite,
    public: Vec<u8>,
    nonce: Vec<u8>,
    ppk: Progress,
    nat: Nat,
    fragmentation: bool,
}

/// `[N(COOKIE)] SA KE Nonce N(NAT_DETECTION_SOURCE_IP) N(NAT_DETECTION_DESTINATION_IP)
/// [N(IKEV2_FRAGMENTATION_SUPPORTED)] [N(INTERMEDIATE_EXCHANGE_SUPPORTED)] [N(USE_PPK)] [V]`
fn request(core: &Core, nonce: &[u8], kex: &dyn KeyExchange, cookie: Option<&[u8]>) -> Vec<u8> {
    let mut payloads = Vec::new();
    payloads.extend(
        cookie
            .map(|cookie| Payload::Notify(Notify::with_data(NotifyType::COOKIE, cookie.to_vec()))),
    );
    payloads.extend([
        Payload::SecurityAssociation(proposal::ike_offer(&core.peer.ike_proposals)),
        Payload::key_exchange(kex.group().transform_id(), kex.public()),
        Payload::Nonce(nonce.to_vec()),
    ]);
    payloads.extend(nat_payloads(core, core.path));
    if core.peer.fragmentation {
        payloads.push(fragmentation_supported());
    }
    let mut proposals = core.peer.ike_proposals.iter();
    if proposals.any(|proposal| !proposal.additional().is_empty()) {
        payloads.push(intermediate_supported());
    }
    payloads.extend(core.peer.ppk.as_ref().map(|_| ppk::offer()));
    if likes_udp(core) {
        payloads.push(faster_in_udp());
    }
    wire::encode(&core.header(ExchangeType::IKE_SA_INIT, 0, false), &payloads)
}
