//! The responder of IKE_SA_INIT: what it answers, or why it refuses. Cookies and repetitions are
//! `endpoint::admit`'s.

use std::time::Instant;

use super::{
    Agreed, EXCHANGE, check_nonce, derive, faster_in_udp, fragmentation_supported,
    intermediate_supported, nat_of, nat_payloads, refuse_nat, takes_fragments, takes_intermediate,
};
use crate::config::PeerConfig;
use crate::error::{Failure, Negotiation, PeerFault};
use crate::event::Path;
use crate::limits;
use crate::proposal::{self, IkeProposal, IkeSuite};
use crate::sa::auth::{Progress, ppk};
use crate::sa::exchange::Exchange;
use crate::sa::intermediate::Answered;
use crate::sa::outgoing::Outgoing;
use crate::sa::payloads::Payloads;
use crate::sa::protection::Protection;
use crate::sa::{Context, Core, IkeSa, State};
use crate::select;
use crate::wire::{
    self, Datagram, ExchangeType, IkeSpi, KeyExchange as KePayload, Notify, NotifyType, Payload,
    WireError,
};

/// We are the responder and wait for IKE_AUTH.
pub(crate) struct InitReceived {
    pub(crate) agreed: Agreed,
    pub(crate) protection: Protection,
    /// The peer's IKE_SA_INIT and our reply.
    pub(crate) last: Exchange,
    /// The IKE_INTERMEDIATE exchange, once it is over.
    pub(crate) answered: Option<Answered>,
    /// Half-open state does not wait for ever.
    pub(crate) expires: Instant,
}

/// A request that leads to no SA, and what to answer.
pub(crate) struct Refusal {
    pub(crate) notify: Option<Notify>,
    /// Boxed: it is many times the size of what is answered otherwise.
    pub(crate) failure: Option<Box<Failure>>,
}

impl Refusal {
    fn fault(fault: PeerFault) -> Self {
        let failure = Failure::Fault {
            exchange: EXCHANGE,
            fault,
        };
        Self {
            notify: Some(Notify::status(NotifyType::INVALID_SYNTAX)),
            failure: Some(Box::new(failure)),
        }
    }

    fn no_proposal(failure: Failure) -> Self {
        let notify = Notify::status(NotifyType::NO_PROPOSAL_CHOSEN);
        Self {
            notify: Some(notify),
            failure: Some(Box::new(failure)),
        }
    }

    /// D6: the answer names the payload type.
    pub(crate) fn wire(error: WireError) -> Self {
        let failure = Failure::Fault {
            exchange: EXCHANGE,
            fault: PeerFault::Malformed(error),
        };
        Self {
            notify: Some(Notify::for_wire_error(&error)),
            failure: Some(Box::new(failure)),
        }
    }
}

impl InitReceived {
    /// Repeats the reply if the request differs from the first one in its cookie alone. The caller has
    /// found the cookie to be a good one, so nobody else than the first one's sender has sent this.
    pub(crate) fn repeat_with_cookie(
        &mut self,
        ctx: &mut Context<'_>,
        path: Path,
        datagram: &Datagram<'_>,
        payloads: &Payloads,
    ) -> bool {
        let first = self.agreed.peer_messages.first();
        let known = first.and_then(|first| Datagram::parse(first).ok()?.clear_payloads().ok());
        let same = known.is_some_and(|known| Payloads::new(known).equal_but_for_cookies(payloads));
        if same {
            self.agreed.peer_messages.truncate(1);
            self.agreed.peer_messages.push(datagram.octets().to_vec());
            self.last.answer(ctx, path);
        }
        same
    }

    /// Answers a request. Cookies and repetitions were dealt with before: this is the first step
    /// that costs anything.
    pub(crate) fn answer(
        mut core: Core,
        ctx: &mut Context<'_>,
        our_spi: IkeSpi,
        datagram: &Datagram<'_>,
        payloads: &Payloads,
    ) -> Result<IkeSa, Refusal> {
        let request = Offer::read(payloads).map_err(Refusal::fault)?;
        let (chosen, suite) = select_suite(&core.peer, &request, takes_intermediate(payloads))?;
        check_nonce(request.nonce, suite).map_err(Refusal::fault)?;
        let nat = nat_of(&datagram.header, &core, payloads);
        refuse_nat(&core, nat).map_err(Refusal::no_proposal)?;
        core.found_nat(nat);
        core.fragmentation = takes_fragments(&core, payloads);

        // Before the first costly step (SECURITY lesson 2).
        suite
            .group
            .check_public(&request.ke.data)
            .map_err(|_| Refusal::fault(PeerFault::PublicValue))?;
        let key_exchange = suite.group.generate(ctx.rng);
        let our_ke = Payload::key_exchange(request.ke.group, key_exchange.public());
        let shared = key_exchange
            .agree(&request.ke.data)
            .map_err(|_| Refusal::fault(PeerFault::PublicValue))?;
        let nonce = ctx.random(limits::OUR_NONCE_OCTETS);
        core.responder_spi = our_spi;
        let ppk = ppk::progress(core.peer.ppk.as_ref(), payloads);
        let mut reply = vec![
            Payload::SecurityAssociation(vec![chosen]),
            our_ke,
            Payload::Nonce(nonce.clone()),
        ];
        reply.extend(agreed_notifies(&core, suite, ppk, payloads));
        let reply = wire::encode(&core.header(ExchangeType::IKE_SA_INIT, 0, true), &reply);
        ctx.transmit(core.path, reply.clone());

        let agreed = Agreed {
            suite,
            keys: derive(&core, suite, &shared, request.nonce, &nonce),
            initiator_nonce: request.nonce.to_vec(),
            responder_nonce: nonce,
            our_message: reply.clone(),
            peer_messages: vec![datagram.octets().to_vec()],
            int_auth: None,
            ppk,
        };
        let last = Exchange::new(datagram.octets().to_vec(), Outgoing::single(reply));
        let state = Self {
            protection: agreed.protection(false),
            agreed,
            last,
            answered: None,
            expires: ctx.now + limits::HALF_OPEN,
        };
        Ok(IkeSa {
            core,
            state: State::InitReceived(Box::new(state)),
        })
    }
}

/// What the reply says besides, each where the initiator has said it too:
/// `[N(NAT_DETECTION_SOURCE_IP) N(NAT_DETECTION_DESTINATION_IP)] [N(IKEV2_FRAGMENTATION_SUPPORTED)]
/// [N(INTERMEDIATE_EXCHANGE_SUPPORTED)] [N(USE_PPK)] [V]`
fn agreed_notifies(
    core: &Core,
    suite: IkeSuite,
    ppk: Progress,
    payloads: &Payloads,
) -> Vec<Payload> {
    let mut said = Vec::new();
    let nat_detection = payloads.notify(NotifyType::NAT_DETECTION_SOURCE_IP);
    if nat_detection.is_some() {
        said.extend(nat_payloads(core, core.path));
    }
    if core.fragmentation {
        said.push(fragmentation_supported());
    }
    if suite.additional.is_some() {
        said.push(intermediate_supported());
    }
    if ppk == Progress::Offered {
        said.push(ppk::offer());
    }
    if core.nat.both_faster {
        said.push(faster_in_udp());
    }
    said
}

/// What an initiator sent that a responder needs.
struct Offer<'a> {
    proposals: &'a [wire::Proposal],
    ke: &'a KePayload,
    nonce: &'a [u8],
}

impl<'a> Offer<'a> {
    fn read(payloads: &'a Payloads) -> Result<Self, PeerFault> {
        Ok(Self {
            proposals: payloads.proposals()?,
            ke: payloads.key_exchange()?,
            nonce: payloads.nonce()?,
        })
    }
}

/// A proposal that suits both, with the group of the peer's public value; else INVALID_KE_PAYLOAD
/// or NO_PROPOSAL_CHOSEN. Whoever does not take IKE_INTERMEDIATE can have no additional key exchange.
fn select_suite(
    peer: &PeerConfig,
    offer: &Offer<'_>,
    intermediate: bool,
) -> Result<(wire::Proposal, IkeSuite), Refusal> {
    let ours: &[IkeProposal] = &peer.ike_proposals;
    let usable = ours.iter();
    let usable = usable.filter(|ours| intermediate || ours.additional().is_empty());
    let usable: Vec<_> = usable.cloned().collect();
    let Some((chosen, suite)) = select::choose_ike(&usable, offer.proposals, offer.ke.group) else {
        return Err(Refusal::no_proposal(Failure::NothingAcceptable {
            what: Negotiation::Ike,
            offered: wire::display::proposals(offer.proposals),
            ours: proposal::list(ours),
        }));
    };
    if suite.group.transform_id() != offer.ke.group {
        let wanted = suite.group.transform_id().to_be_bytes().to_vec();
        let notify = Notify::with_data(NotifyType::INVALID_KE_PAYLOAD, wanted);
        return Err(Refusal {
            notify: Some(notify),
            failure: None,
        });
    }
    Ok((chosen, suite))
}
