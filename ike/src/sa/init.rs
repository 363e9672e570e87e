//! IKE_SA_INIT, both roles (RFC 7296 §1.2, §2.6, §2.7): proposals, public values, nonces, NAT
//! detection, COOKIE and INVALID_KE_PAYLOAD. Nothing here is authenticated: a response that is of no
//! use is remembered as a suspicion, while a genuine one may still come (RFC 7296 §2.21.1).

use std::time::Instant;

use super::auth::AuthSent;
use super::exchange::{Exchange, Repeat, Request};
use super::outgoing::Outgoing;
use super::payloads::Payloads;
use super::protection::Protection;
use super::{Context, Core, IkeSa, News, State, Step};
use crate::algorithm::Group;
use crate::config::{PeerConfig, UdpEncapsulation};
use crate::crypto::kex::KeyExchange;
use crate::error::{Drop, Failure, Negotiation, PeerFault};
use crate::event::{Deadline, Encapsulation, Path, Timer};
use crate::keys::IkeKeys;
use crate::limits;
use crate::nat::{self, Nat};
use crate::proposal::{self, IkeProposal, IkeSuite};
use crate::secret::Secret;
use crate::select;
use crate::wire::{
    self, Datagram, ExchangeType, Header, IkeSpi, KeyExchange as KePayload, Notify, NotifyType,
    Payload, WireError,
};

const EXCHANGE: ExchangeType = ExchangeType::IKE_SA_INIT;

/// What both ends know after IKE_SA_INIT.
pub(crate) struct Agreed {
    pub(crate) suite: IkeSuite,
    pub(crate) keys: IkeKeys,
    pub(crate) initiator_nonce: Vec<u8>,
    pub(crate) responder_nonce: Vec<u8>,
    /// Our message of the exchange as it was sent last: the octets that our AUTH signs.
    pub(crate) our_message: Vec<u8>,
    /// The peer's, which its AUTH signs: one, or two that differ in a cookie.
    pub(crate) peer_messages: Vec<Vec<u8>>,
}

impl Agreed {
    /// The protection of the messages that follow.
    pub(crate) fn protection(&self, initiated: bool) -> Protection {
        let (ours, peers) = self.keys.directions(initiated);
        Protection::new(self.suite.cipher, &ours, &peers)
    }

    /// The lower of the two nonces: decides which of two crossing SAs stays (RFC 7296 §2.8.1).
    pub(crate) fn lowest_nonce(&self) -> Vec<u8> {
        self.initiator_nonce
            .clone()
            .min(self.responder_nonce.clone())
    }
}

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
            let group = self.key_exchange.group();
            group
                .check_public(&ke.data)
                .map_err(|_| PeerFault::PublicValue)?;
            let nonce = payloads.nonce()?.to_vec();
            check_nonce(&nonce, suite)?;
            let nat = nat_of(header, core.path, payloads);
            Ok(Answer {
                suite,
                public: ke.data.clone(),
                nonce,
                nat,
                fragmentation: takes_fragments(core, payloads),
            })
        };
        let answer = check().map_err(|fault| Failure::Fault {
            exchange: EXCHANGE,
            fault,
        })?;
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
        core.nat = answer.nat;
        core.fragmentation = answer.fragmentation;
        if core.encapsulation() != Encapsulation::None {
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
        };
        AuthSent::start(core, ctx, agreed)
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
    nat: Nat,
    fragmentation: bool,
}

/// We are the responder and wait for IKE_AUTH.
pub(crate) struct InitReceived {
    pub(crate) agreed: Agreed,
    pub(crate) protection: Protection,
    /// The peer's IKE_SA_INIT and our reply.
    pub(crate) last: Exchange,
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
        let (chosen, suite) = select_suite(&core.peer, &request)?;
        check_nonce(request.nonce, suite).map_err(Refusal::fault)?;
        let nat = nat_of(&datagram.header, core.path, payloads);
        refuse_nat(&core, nat).map_err(Refusal::no_proposal)?;
        core.nat = nat;
        core.fragmentation = takes_fragments(&core, payloads);

        // Before the first costly step (SECURITY lesson 2).
        suite
            .group
            .check_public(&request.ke.data)
            .map_err(|_| Refusal::fault(PeerFault::PublicValue))?;
        let key_exchange = suite.group.generate(ctx.rng);
        let public = key_exchange.public().to_vec();
        let shared = key_exchange
            .agree(&request.ke.data)
            .map_err(|_| Refusal::fault(PeerFault::PublicValue))?;
        let nonce = ctx.random(limits::OUR_NONCE_OCTETS);
        core.responder_spi = our_spi;
        let mut reply = vec![
            Payload::SecurityAssociation(vec![chosen]),
            Payload::KeyExchange(KePayload {
                group: suite.group.transform_id(),
                data: public,
            }),
            Payload::Nonce(nonce.clone()),
        ];
        if payloads
            .notify(NotifyType::NAT_DETECTION_SOURCE_IP)
            .is_some()
        {
            reply.extend(nat_payloads(&core));
        }
        if core.fragmentation {
            reply.push(fragmentation_supported());
        }
        let reply = wire::encode(&core.header(ExchangeType::IKE_SA_INIT, 0, true), &reply);
        ctx.transmit(core.path, reply.clone());

        let agreed = Agreed {
            suite,
            keys: derive(&core, suite, &shared, request.nonce, &nonce),
            initiator_nonce: request.nonce.to_vec(),
            responder_nonce: nonce,
            our_message: reply.clone(),
            peer_messages: vec![datagram.octets().to_vec()],
        };
        let last = Exchange::new(datagram.octets().to_vec(), Outgoing::single(reply));
        let state = Self {
            protection: agreed.protection(false),
            agreed,
            last,
            expires: ctx.now + limits::HALF_OPEN,
        };
        Ok(IkeSa {
            core,
            state: State::InitReceived(Box::new(state)),
        })
    }
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
/// or NO_PROPOSAL_CHOSEN.
fn select_suite(
    peer: &PeerConfig,
    offer: &Offer<'_>,
) -> Result<(wire::Proposal, IkeSuite), Refusal> {
    let ours: &[IkeProposal] = &peer.ike_proposals;
    let Some((chosen, suite)) = select::choose_ike(ours, offer.proposals, offer.ke.group) else {
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

/// `[N(COOKIE)] SA KE Nonce N(NAT_DETECTION_SOURCE_IP) N(NAT_DETECTION_DESTINATION_IP)
/// [N(IKEV2_FRAGMENTATION_SUPPORTED)]`
fn request(core: &Core, nonce: &[u8], kex: &dyn KeyExchange, cookie: Option<&[u8]>) -> Vec<u8> {
    let mut payloads = Vec::new();
    payloads.extend(
        cookie
            .map(|cookie| Payload::Notify(Notify::with_data(NotifyType::COOKIE, cookie.to_vec()))),
    );
    payloads.extend([
        Payload::SecurityAssociation(proposal::ike_offer(&core.peer.ike_proposals)),
        Payload::KeyExchange(KePayload {
            group: kex.group().transform_id(),
            data: kex.public().to_vec(),
        }),
        Payload::Nonce(nonce.to_vec()),
    ]);
    payloads.extend(nat_payloads(core));
    if core.peer.fragmentation {
        payloads.push(fragmentation_supported());
    }
    wire::encode(&core.header(ExchangeType::IKE_SA_INIT, 0, false), &payloads)
}

fn nat_payloads(core: &Core) -> [Payload; 2] {
    let (spi_i, spi_r, Path { local, remote }) =
        (core.initiator_spi, core.responder_spi, core.path);
    let source = nat::source_hash(spi_i, spi_r, local, core.peer.encapsulation);
    let destination = nat::detection_hash(spi_i, spi_r, remote);
    [
        (NotifyType::NAT_DETECTION_SOURCE_IP, source),
        (NotifyType::NAT_DETECTION_DESTINATION_IP, destination),
    ]
    .map(|(kind, hash)| Payload::Notify(Notify::with_data(kind, hash.to_vec())))
}

fn fragmentation_supported() -> Payload {
    Payload::Notify(Notify::status(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED))
}

/// Whether both ends do (D24, RFC 7383 §2.3).
fn takes_fragments(core: &Core, payloads: &Payloads) -> bool {
    let offered = payloads.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
    core.peer.fragmentation && offered.is_some()
}

/// What the peer's NAT_DETECTION notifies say of the path: hashes over the SPIs in the header of
/// its own message (D12, RFC 7296 §2.23).
fn nat_of(header: &Header, path: Path, payloads: &Payloads) -> Nat {
    nat::detect(
        header.initiator,
        header.responder,
        path.local,
        path.remote,
        payloads.notifies(),
    )
}

/// No SA across a NAT where UDP is forbidden: its packets would not arrive.
fn refuse_nat(core: &Core, Nat { ours, theirs }: Nat) -> Result<(), Failure> {
    if core.peer.encapsulation == UdpEncapsulation::Never && (ours || theirs) {
        let path = core.path;
        return Err(Failure::Nat { ours, theirs, path });
    }
    Ok(())
}

/// D11, RFC 7296 §2.10: 16 to 256 octets, and at least half the key size of the PRF.
pub(crate) fn check_nonce(nonce: &[u8], suite: IkeSuite) -> Result<(), PeerFault> {
    let least = suite.prf.nonce_octets_min();
    if (least..=256).contains(&nonce.len()) {
        Ok(())
    } else {
        Err(PeerFault::Nonce(nonce.len()))
    }
}

fn derive(core: &Core, suite: IkeSuite, shared: &Secret, ni: &[u8], nr: &[u8]) -> IkeKeys {
    IkeKeys::derive(
        suite,
        shared,
        ni,
        nr,
        core.initiator_spi,
        core.responder_spi,
    )
}

/// A responder's reply outside of any SA: the responder SPI stays 0 (D7).
pub(crate) fn stateless_reply(request: &Header, notify: Notify) -> Vec<u8> {
    let header = Header {
        response: true,
        from_initiator: false,
        responder: IkeSpi::NONE,
        ..*request
    };
    wire::encode(&header, &[Payload::Notify(notify)])
}
