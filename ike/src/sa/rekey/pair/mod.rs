//! CREATE_CHILD_SA for a CHILD_SA pair: a successor of one that stands (RFC 7296 §1.3.3, §2.8), or one
//! in place of a pair that the peer has lost.

mod additional;

pub(crate) use self::additional::PairFollowUp;
use super::follow_up;
use super::{EXCHANGE, Refusal, ask_for, checked_nonce, lower, temporary_failure, wanted_group};
use crate::algorithm::Group;
use crate::crypto::kex::KeyExchange;
use crate::error::{Failure, PeerFault};
use crate::event::{ChildId, EspSpi, Event};
use crate::limits;
use crate::proposal::{self, EspProposal};
use crate::sa::child::{self, Agreement, Material};
use crate::sa::live::{Live, Task};
use crate::sa::payloads::Payloads;
use crate::sa::reply::{Effect, Reply};
use crate::sa::{Context, Core};
use crate::secret::Secret;
use crate::select::Pfs;
use crate::wire::{self, Notify, NotifyType, Payload, ProtocolId};

/// Our request for a pair, while it is under way.
pub(crate) struct PairRequest {
    /// `None`: a pair in place of one that is gone.
    replaces: Option<ChildId>,
    inbound: EspSpi,
    nonce: Vec<u8>,
    /// What we offer; without groups in a second attempt at a peer that refuses a key exchange.
    proposals: Vec<EspProposal>,
    key_exchange: Option<Box<dyn KeyExchange>>,
    groups_tried: Vec<Group>,
    /// The pair that the peer's own exchange has made meanwhile for the same purpose.
    rival: Option<Rival>,
}

/// A pair of the peer's making, with the lower nonce of its exchange.
struct Rival {
    child: ChildId,
    lower_nonce: Vec<u8>,
}

/// What an answer that we can use has to add to our request.
struct Answer {
    agreement: Agreement,
    g_ir: Option<Secret>,
    nonce: Vec<u8>,
}

/// What the peer's exchange has agreed on for a pair.
pub(super) struct Prospect {
    pub(super) replaces: Option<ChildId>,
    agreement: Agreement,
    g_ir: Option<Secret>,
    peers_nonce: Vec<u8>,
    nonce: Vec<u8>,
}

impl Prospect {
    pub(super) fn lower_nonce(&self) -> &[u8] {
        lower(&self.peers_nonce, &self.nonce)
    }

    /// Nothing becomes of it.
    pub(super) fn release(&self, ctx: &mut Context<'_>) {
        ctx.numbers.release(self.agreement.inbound);
    }
}

impl PairRequest {
    /// Begins with the IKE SA's own group if we offer it: the peer is known to have that, and not every
    /// peer answers another one with INVALID_KE_PAYLOAD (libreswan 4.10: INVALID_SYNTAX).
    fn new(core: &Core, ctx: &mut Context<'_>, of_ike: Group, replaces: Option<ChildId>) -> Self {
        let proposals = core.peer.esp_proposals.clone();
        let mut groups = proposals.iter().flat_map(EspProposal::groups).copied();
        let known = groups.clone().find(|group| *group == of_ike);
        let group = known.or_else(|| groups.next());
        Self {
            replaces,
            inbound: child::reserve(core, ctx),
            nonce: ctx.random(limits::OUR_NONCE_OCTETS),
            key_exchange: group.map(|group| group.generate(ctx.rng)),
            groups_tried: group.into_iter().collect(),
            proposals,
            rival: None,
        }
    }

    /// With another group; everything else stays.
    fn with_group(mut self, ctx: &mut Context<'_>, group: Group) -> Self {
        self.groups_tried.push(group);
        self.key_exchange = Some(group.generate(ctx.rng));
        self
    }

    /// Our proposals without a key exchange, as far as they allow that: peers that know none refuse a
    /// proposal with one, whatever else is in it (PAINS 8).
    fn proposals_without_group(&self) -> Vec<EspProposal> {
        let with = self.key_exchange.iter().flat_map(|_| &self.proposals);
        with.filter_map(EspProposal::without_groups).collect()
    }

    /// `[N(REKEY_SA)] N(USE_TRANSPORT_MODE) SA Nonce [KE] TSi TSr`; `replaced` is what we receive on in
    /// the pair that is rekeyed (D31).
    fn payloads(&self, core: &Core, replaced: Option<EspSpi>) -> Vec<Payload> {
        let offer = proposal::esp_offer_with_groups(&self.proposals, self.inbound);
        let ke = self.key_exchange.as_deref();
        let ke = ke.map(|ke| Payload::key_exchange(ke.group().transform_id(), ke.public()));
        let rekeyed = replaced.map(|spi| {
            Payload::Notify(Notify {
                protocol: ProtocolId::ESP,
                spi: spi.0.to_be_bytes().to_vec(),
                kind: NotifyType::REKEY_SA,
                data: Vec::new(),
            })
        });
        let pair = with_nonce(child::offer(core, offer), self.nonce.clone(), ke);
        rekeyed.into_iter().chain(pair).collect()
    }

    /// The exchange ends without the pair.
    pub(crate) fn withdraw(&self, core: &Core, ctx: &mut Context<'_>) {
        child::withdraw(core, ctx, self.inbound);
    }

    fn check(&mut self, core: &Core, payloads: &Payloads) -> Result<Answer, Failure> {
        let key_exchange = self.key_exchange.take();
        let ours = key_exchange.as_ref().map(|ke| ke.group());
        let pfs = Pfs::Possible(ours.map(Group::transform_id));
        let offer = (&self.proposals[..], pfs);
        let agreement = child::check_answer(core, EXCHANGE, offer, self.inbound, payloads)?;
        let check = || {
            let nonce = checked_nonce(payloads)?.to_vec();
            let g_ir = match (agreement.group, key_exchange) {
                (None, _) => None,
                (Some(group), Some(key_exchange)) if group == key_exchange.group() => {
                    let public = payloads.key_exchange_of(group.transform_id())?;
                    let agreed = key_exchange.agree(public);
                    Some(agreed.map_err(|_| PeerFault::PublicValue)?)
                }
                _ => {
                    let other = "another group than that of our KE".to_owned();
                    return Err(PeerFault::NotOffered(other));
                }
            };
            Ok(Answer {
                agreement,
                g_ir,
                nonce,
            })
        };
        check().map_err(|fault| Failure::Fault {
            exchange: EXCHANGE,
            fault,
        })
    }
}

impl Live {
    /// A request for a successor of this pair, or for a first one.
    pub(in crate::sa) fn ask_for_pair(
        &self,
        core: &Core,
        ctx: &mut Context<'_>,
        replaces: Option<ChildId>,
    ) -> (Task, Vec<Payload>) {
        let request = PairRequest::new(core, ctx, self.agreed().suite.group, replaces);
        let payloads = request.payloads(core, self.inbound_of(replaces));
        (Task::Pair(Box::new(request)), payloads)
    }

    fn inbound_of(&self, id: Option<ChildId>) -> Option<EspSpi> {
        let child = self.pairs.get(id?)?;
        Some(child.inbound())
    }

    pub(in crate::sa) fn on_pair_answer(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        mut request: PairRequest,
        payloads: &Payloads,
    ) {
        if let Some(notify) = payloads.error() {
            return self.on_pair_refused(core, ctx, request, notify);
        }
        match request.check(core, payloads) {
            Ok(answer) => match answer.agreement.additional {
                Some(kem) => self.follow_pair_up(core, ctx, request, answer, kem, payloads),
                None => self.settle_pair(core, ctx, request, &answer, None),
            },
            Err(failure) => self.refuse_pair(core, ctx, &request, failure),
        }
    }

    /// The peer has made a pair: it is told to delete it, and its packets are not ours.
    fn refuse_pair(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        request: &PairRequest,
        failure: Failure,
    ) {
        ctx.event(Event::ChildOfferWithdrawn {
            peer: core.peer.id,
            spi: request.inbound,
        });
        self.pairs.refuse(request.inbound);
        self.pair_failed(core, ctx, request.replaces, failure);
    }

    /// The new pair stands at both ends. Packets leave on it, unless both ends have made one and ours
    /// was in vain (D34, RFC 7296 §2.8.1).
    fn settle_pair(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        request: PairRequest,
        answer: &Answer,
        additional: Option<&Secret>,
    ) {
        let material = Material {
            prf: self.agreed().suite.prf,
            sk_d: &self.sk_d,
            g_ir: answer.g_ir.as_ref(),
            additional,
            initiator_nonce: &request.nonce,
            responder_nonce: &answer.nonce,
            initiated: true,
        };
        let fresh = material.derive(answer.agreement);
        let new = self.pairs.arrive(core, ctx, fresh, None);
        let lower_nonce = lower(&request.nonce, &answer.nonce);
        let rival = request.rival;
        let rival = rival.filter(|rival| self.pairs.is_usable_pair(rival.child));
        if rival
            .as_ref()
            .is_some_and(|rival| lower_nonce < &rival.lower_nonce[..])
        {
            // The peer deletes the old one.
            return self.pairs.doom(new);
        }
        self.pairs.confirm(core, ctx, new);
        if let Some(old) = request.replaces {
            self.pairs.doom(old);
        }
        if let Some(rival) = rival {
            self.pairs.leave_to_peer(ctx, rival.child);
        }
    }

    fn on_pair_refused(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        request: PairRequest,
        notify: &Notify,
    ) {
        let replaces = request.replaces;
        let proposals = request.proposals.iter();
        let failure = match notify.kind {
            NotifyType::INVALID_KE_PAYLOAD => {
                let offered = proposals.flat_map(EspProposal::groups).copied();
                match wanted_group(notify, &request.groups_tried, offered) {
                    Ok(group) => {
                        let request = request.with_group(ctx, group);
                        return self.ask_again(core, ctx, request);
                    }
                    Err(fault) => Failure::Fault {
                        exchange: EXCHANGE,
                        fault,
                    },
                }
            }
            NotifyType::NO_PROPOSAL_CHOSEN => {
                let proposals = request.proposals_without_group();
                if !proposals.is_empty() {
                    let request = PairRequest {
                        proposals,
                        key_exchange: None,
                        ..request
                    };
                    return self.ask_again(core, ctx, request);
                }
                Failure::RekeyRefused {
                    offered: proposal::list(&core.peer.esp_proposals),
                    group: request.groups_tried.first().copied(),
                }
            }
            NotifyType::TEMPORARY_FAILURE => {
                request.withdraw(core, ctx);
                return self.retry_pair_soon(ctx, replaces);
            }
            NotifyType::CHILD_SA_NOT_FOUND => {
                request.withdraw(core, ctx);
                return self.replace_lost(core, ctx, replaces);
            }
            notify => Failure::Notified {
                exchange: EXCHANGE,
                notify,
            },
        };
        request.withdraw(core, ctx);
        self.pair_failed(core, ctx, replaces, failure);
    }

    /// The same, otherwise. Not where the pair is replaced by now, or the IKE SA about to end.
    fn ask_again(&mut self, core: &Core, ctx: &mut Context<'_>, request: PairRequest) {
        if !self.wants(&request) {
            return request.withdraw(core, ctx);
        }
        let payloads = request.payloads(core, self.inbound_of(request.replaces));
        self.window
            .send(core, ctx, Task::Pair(Box::new(request)), payloads);
    }

    /// Whether a pair that we have asked for is still of use.
    fn wants(&self, request: &PairRequest) -> bool {
        let wanted = request
            .replaces
            .is_none_or(|id| self.pairs.needs_rekey(id) || request.rival.is_some());
        wanted && self.serves()
    }

    fn retry_pair_soon(&mut self, ctx: &mut Context<'_>, id: Option<ChildId>) {
        if let Some(child) = id.and_then(|id| self.pairs.get(id)) {
            let (id, at) = (child.id(), child.lifetime().retry_soon(ctx));
            self.pairs.set_rekey(id, at);
        }
    }

    /// D37: the peer does not have the pair, so another is made from scratch; unless it has replaced
    /// it itself.
    fn replace_lost(&mut self, core: &Core, ctx: &mut Context<'_>, id: Option<ChildId>) {
        if let Some(id) = id.filter(|id| self.pairs.needs_rekey(*id)) {
            self.pairs.forget(core, ctx, id);
            self.wants_pair = true;
        }
    }

    /// A rekey of ours that failed takes nothing from one of the peer's that did not (PAINS 4).
    fn pair_failed(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        id: Option<ChildId>,
        failure: Failure,
    ) {
        let Some(child) = id.and_then(|id| self.pairs.get(id)) else {
            return;
        };
        let (id, at) = (child.id(), child.lifetime().retry_later(ctx));
        if self.pairs.needs_rekey(id) {
            self.pairs.set_rekey(id, at);
            ctx.event(Event::RekeyFailed {
                peer: core.peer.id,
                child: Some(id),
                failure,
                retry_in: at.map(|at| at.saturating_duration_since(ctx.now)),
            });
        }
    }

    /// As the responder: makes a pair, which replaces this one.
    pub(super) fn answer_pair(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        payloads: &Payloads,
        replaces: Option<ChildId>,
    ) -> Result<Reply, Refusal> {
        let fault = |fault| Refusal::fault(EXCHANGE, fault);
        let task = self.window.task();
        if matches!(task, Some(Task::PairFollowUp(ours)) if ours.is_for(replaces)) {
            return Err(temporary_failure());
        }
        let peers_nonce = checked_nonce(payloads).map_err(fault)?;
        let ke = payloads.key_exchange_if_any().map_err(fault)?;
        let pfs = Pfs::Possible(ke.map(|ke| ke.group));
        let (pair, agreement) = child::answer(core, ctx, EXCHANGE, payloads, pfs)?;
        let (ke, g_ir) = match key_exchange(ctx, agreement.group, ke) {
            Ok(Some((ke, g_ir))) => (Some(ke), Some(g_ir)),
            Ok(None) => (None, None),
            Err(refusal) => {
                ctx.numbers.release(agreement.inbound);
                return Err(refusal);
            }
        };
        let nonce = ctx.random(limits::OUR_NONCE_OCTETS);
        let prospect = Prospect {
            replaces,
            agreement,
            g_ir,
            peers_nonce: peers_nonce.to_vec(),
            nonce: nonce.clone(),
        };
        let mut payloads = with_nonce(pair, nonce, ke);
        let effect = match agreement.additional {
            Some(kem) => {
                let what = follow_up::Prospect::Pair(Box::new(prospect));
                payloads.push(self.await_follow_up(ctx, kem, what));
                Effect::None
            }
            None => self.make_pair(core, ctx, &prospect, None),
        };
        Ok(Reply { payloads, effect })
    }

    /// As the responder: makes the pair that was agreed on.
    pub(super) fn make_pair(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        prospect: &Prospect,
        additional: Option<&Secret>,
    ) -> Effect {
        let material = Material {
            prf: self.agreed().suite.prf,
            sk_d: &self.sk_d,
            g_ir: prospect.g_ir.as_ref(),
            additional,
            initiator_nonce: &prospect.peers_nonce,
            responder_nonce: &prospect.nonce,
            initiated: false,
        };
        let fresh = material.derive(prospect.agreement);
        let replaces = prospect.replaces;
        let child = self.pairs.arrive(core, ctx, fresh, replaces);
        self.note_rival(replaces, child, prospect.lower_nonce().to_vec());
        // Where no other pair carries packets, there is nothing to wait for.
        replaces.map_or(Effect::Made(child), |_| Effect::None)
    }

    /// Our own request to rekey the same pair, if there is one, has a rival.
    fn note_rival(&mut self, replaces: Option<ChildId>, child: ChildId, lower_nonce: Vec<u8>) {
        if let Some(Task::Pair(request)) = self.window.task_mut()
            && request.replaces == replaces
        {
            request.rival = Some(Rival { child, lower_nonce });
        }
    }
}

/// As the responder: our KE payload and the shared secret, where a group was chosen.
fn key_exchange(
    ctx: &mut Context<'_>,
    group: Option<Group>,
    peers: Option<&wire::KeyExchange>,
) -> Result<Option<(Payload, Secret)>, Refusal> {
    let Some(group) = group else {
        return Ok(None);
    };
    let peers = peers.filter(|ke| ke.group == group.transform_id());
    let peers = peers.ok_or_else(|| ask_for(group))?;
    let ours = group.generate(ctx.rng);
    let payload = Payload::key_exchange(peers.group, ours.public());
    let secret = ours.agree(&peers.data);
    let secret = secret.map_err(|_| Refusal::fault(EXCHANGE, PeerFault::PublicValue))?;
    Ok(Some((payload, secret)))
}

/// `N(USE_TRANSPORT_MODE) SA Nonce [KE] TSi TSr`
fn with_nonce(pair: [Payload; 4], nonce: Vec<u8>, ke: Option<Payload>) -> Vec<Payload> {
    let [mode, sa, initiator_ts, responder_ts] = pair;
    [mode, sa, Payload::Nonce(nonce)]
        .into_iter()
        .chain(ke)
        .chain([initiator_ts, responder_ts])
        .collect()
}
