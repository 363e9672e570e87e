//! CREATE_CHILD_SA for the IKE SA itself (RFC 7296 §1.3.2, §2.18): its heir has keys of its own, starts
//! with message ID 0 both ways (D1), and inherits the CHILD_SA pairs as they are. Whoever began the
//! exchange deletes the old one. Its key exchanges are no weaker than the old one's: with an additional
//! one, it is made by [`follow_up`].

use std::sync::Arc;

use super::follow_up::{self, Half, Prospect};
use super::{EXCHANGE, Refusal, ask_for, lower, temporary_failure, wanted_group};
use crate::algorithm::{Group, Kem};
use crate::crypto::kex::KeyExchange;
use crate::error::{Failure, Negotiation, PeerFault};
use crate::event::{Event, IkeDetails};
use crate::keys::IkeKeys;
use crate::limits;
use crate::proposal::{self, IkeProposal, IkeSuite};
use crate::sa::init::check_nonce;
use crate::sa::live::{Duty, Live, Task};
use crate::sa::payloads::Payloads;
use crate::sa::protection::Protection;
use crate::sa::reply::{Effect, Reply};
use crate::sa::{Context, Core, IkeSa, State, Succession};
use crate::secret::Secret;
use crate::select;
use crate::wire::{self, IkeSpi, Notify, NotifyType, Payload};

/// Our request for an heir, while it is under way.
pub(crate) struct HeirRequest {
    proposals: Vec<IkeProposal>,
    spi: IkeSpi,
    nonce: Vec<u8>,
    key_exchange: Box<dyn KeyExchange>,
    groups_tried: Vec<Group>,
}

/// The heir that the peer's exchange has made while our own is under way.
pub(crate) struct Rival {
    /// Ours of the two SPIs.
    pub(crate) spi: IkeSpi,
    lower_nonce: Vec<u8>,
}

/// An heir that was made and has no duty so far, with the lower nonce of its exchange.
pub(crate) struct Heir {
    core: Core,
    live: Box<Live>,
}

/// What its exchange has agreed on.
pub(super) struct Agreed {
    suite: IkeSuite,
    g_ir: Secret,
    /// SPIs and nonces of the exchange's initiator, which is the heir's, and of the responder.
    spis: (IkeSpi, IkeSpi),
    nonces: (Vec<u8>, Vec<u8>),
    /// Whether we are that initiator.
    initiated: bool,
}

impl Agreed {
    pub(super) fn lower_nonce(&self) -> &[u8] {
        lower(&self.nonces.0, &self.nonces.1)
    }
}

/// Our additional key exchange for an heir, while it is under way.
pub(crate) struct HeirFollowUp {
    agreed: Agreed,
    half: Half,
}

impl HeirRequest {
    /// `None` where our proposals name no group; the configuration promises one.
    fn new(core: &Core, ctx: &mut Context<'_>, old: IkeSuite) -> Option<Self> {
        let proposals = proposal::no_weaker(&core.peer.ike_proposals, old);
        let group = *proposals.iter().flat_map(IkeProposal::groups).next()?;
        Some(Self {
            proposals,
            spi: fresh_spi(ctx),
            nonce: ctx.random(limits::OUR_NONCE_OCTETS),
            key_exchange: group.generate(ctx.rng),
            groups_tried: vec![group],
        })
    }

    /// `SA Nonce KE`
    fn payloads(&self) -> Vec<Payload> {
        let offer = proposal::ike_rekey_offer(&self.proposals, self.spi);
        let ke = &self.key_exchange;
        vec![
            Payload::SecurityAssociation(offer),
            Payload::Nonce(self.nonce.clone()),
            Payload::key_exchange(ke.group().transform_id(), ke.public()),
        ]
    }

    /// What the answer makes of it.
    fn check(self, payloads: &Payloads) -> Result<Agreed, PeerFault> {
        let (suite, spi) = select::verify_ike_rekey(&self.proposals, payloads.proposals()?)
            .map_err(|error| PeerFault::NotOffered(error.to_string()))?;
        if suite.group != self.key_exchange.group() || spi == IkeSpi::NONE {
            return Err(PeerFault::NotOffered(
                "another group than that of our KE, or no SPI".to_owned(),
            ));
        }
        let nonce = payloads.nonce()?.to_vec();
        check_nonce(&nonce, suite)?;
        let public = payloads.key_exchange_of(suite.group.transform_id())?;
        let g_ir = self.key_exchange.agree(public);
        Ok(Agreed {
            suite,
            g_ir: g_ir.map_err(|_| PeerFault::PublicValue)?,
            spis: (self.spi, spi),
            nonces: (self.nonce, nonce),
            initiated: true,
        })
    }
}

impl Heir {
    fn new(
        old: &Live,
        core: &Core,
        ctx: &mut Context<'_>,
        agreed: &Agreed,
        additional: Option<&Secret>,
    ) -> Self {
        let (suite, (initiator_spi, responder_spi)) = (agreed.suite, agreed.spis);
        let keys = IkeKeys::derive_from(
            (old.agreed().suite.prf, &old.sk_d),
            suite,
            (&agreed.g_ir, additional),
            (&agreed.nonces.0, &agreed.nonces.1),
            agreed.spis,
        );
        let core = Core {
            owner: core.owner,
            peer: Arc::clone(&core.peer),
            initiator_spi,
            responder_spi,
            initiated: agreed.initiated,
            path: core.path,
            wanted: core.wanted,
            nat: core.nat,
            encapsulation: core.encapsulation,
            udp_cause: core.udp_cause,
            mobike: core.mobike,
            fragmentation: core.fragmentation,
            begun: ctx.now,
        };
        let details = IkeDetails {
            spi_initiator: initiator_spi.0,
            spi_responder: responder_spi.0,
            initiated: agreed.initiated,
            suite,
            since: ctx.now,
            ..old.agreed().clone()
        };
        let (ours, peers) = keys.directions(agreed.initiated);
        let protection = Protection::new(suite.cipher, &ours, &peers);
        let lower_nonce = agreed.lower_nonce().to_vec();
        let live = Live::new(&core, ctx, protection, details, keys.sk_d, lower_nonce);
        Self {
            core,
            live: Box::new(live.after_moves(old.mobility_of_heir())),
        }
    }

    /// Takes the pairs of the old one over.
    fn inherit(&mut self, ctx: &mut Context<'_>, old: &mut Live) {
        self.live
            .inherit(&self.core, ctx, std::mem::take(&mut old.pairs));
    }

    fn into_sa(self) -> Box<IkeSa> {
        let Self { core, live } = self;
        let state = State::Established(live);
        Box::new(IkeSa { core, state })
    }
}

impl Live {
    /// A request for an heir.
    pub(in crate::sa) fn ask_for_heir(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
    ) -> Option<(Task, Vec<Payload>)> {
        let request = HeirRequest::new(core, ctx, self.agreed().suite)?;
        let payloads = request.payloads();
        Some((Task::Heir(Box::new(request)), payloads))
    }

    /// What becomes of our request. An error: the peer has made an heir that we cannot use, and has
    /// moved the pairs there.
    pub(in crate::sa) fn on_heir_answer(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        request: HeirRequest,
        payloads: &Payloads,
    ) -> Result<Option<Succession>, PeerFault> {
        if let Some(notify) = payloads.error() {
            return Ok(self.on_heir_refused(core, ctx, request, notify));
        }
        match request.check(payloads) {
            Ok(agreed) => match agreed.suite.additional {
                Some(kem) => Ok(self.follow_heir_up(core, ctx, agreed, kem, payloads)),
                None => {
                    let heir = Heir::new(self, core, ctx, &agreed, None);
                    Ok(Some(self.settle_heir(core, ctx, heir)))
                }
            },
            Err(fault) => self.retire_for_rival(ctx).map(Some).ok_or(fault),
        }
    }

    /// Goes on with the additional key exchange, unless ours was in vain: then there is nothing to
    /// undo yet (RFC 9370 §2.2.4).
    fn follow_heir_up(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        agreed: Agreed,
        kem: Kem,
        payloads: &Payloads,
    ) -> Option<Succession> {
        if !self.serves() {
            return None;
        }
        let ours = agreed.lower_nonce();
        let rival = self.rival.as_ref();
        if rival.is_some_and(|rival| ours < &rival.lower_nonce[..]) {
            return self.retire_for_rival(ctx);
        }
        if !self.outlives_awaited_heir(ctx, ours) {
            return None;
        }
        match Half::new(ctx, kem, payloads) {
            Ok((half, payloads)) => {
                let task = Task::HeirFollowUp(Box::new(HeirFollowUp { agreed, half }));
                self.window.send(core, ctx, task, payloads);
                None
            }
            Err(fault) => {
                let exchange = EXCHANGE;
                self.heir_failed(core, ctx, Failure::Fault { exchange, fault })
            }
        }
    }

    /// What becomes of our additional key exchange. An error as in
    /// [`on_heir_answer`](Self::on_heir_answer).
    pub(in crate::sa) fn on_heir_follow_up(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        HeirFollowUp { agreed, half }: HeirFollowUp,
        payloads: &Payloads,
    ) -> Result<Option<Succession>, PeerFault> {
        if let Some(notify) = payloads.error() {
            return Ok(match notify.kind {
                _ if !self.serves() => None,
                // The peer has waited too long: once more from the start (RFC 9370 §2.2.4).
                NotifyType::STATE_NOT_FOUND => self.try_heir_again(ctx),
                notify => {
                    let exchange = follow_up::EXCHANGE;
                    self.heir_failed(core, ctx, Failure::Notified { exchange, notify })
                }
            });
        }
        match half.finish(payloads) {
            Ok(secret) => {
                let heir = Heir::new(self, core, ctx, &agreed, Some(&secret));
                Ok(Some(self.settle_heir(core, ctx, heir)))
            }
            Err(fault) => self.retire_for_rival(ctx).map(Some).ok_or(fault),
        }
    }

    /// An heir of the peer's takes over, or we ask again in a moment.
    fn try_heir_again(&mut self, ctx: &mut Context<'_>) -> Option<Succession> {
        if self.rival.is_some() {
            return self.retire_for_rival(ctx);
        }
        self.lifetime.rekey_at = self.lifetime.retry_soon(ctx);
        None
    }

    /// An heir of the peer's takes over, or we ask again much later.
    fn heir_failed(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        failure: Failure,
    ) -> Option<Succession> {
        if self.rival.is_some() {
            return self.retire_for_rival(ctx);
        }
        let at = self.lifetime.retry_later(ctx);
        self.lifetime.rekey_at = at;
        ctx.event(Event::RekeyFailed {
            peer: core.peer.id,
            child: None,
            failure,
            retry_in: at.map(|at| at.saturating_duration_since(ctx.now)),
        });
        None
    }

    /// Which of the heirs there are takes over (D35, RFC 7296 §2.8.2).
    fn settle_heir(&mut self, core: &Core, ctx: &mut Context<'_>, mut heir: Heir) -> Succession {
        let in_vain = |rival: &Rival| heir.live.lowest_nonce() < &rival.lower_nonce[..];
        if !self.serves() {
            // This SA is about to be deleted, and its heir with it.
            heir.live.send_delete(&heir.core, ctx, None);
            return Succession::of(heir.into_sa());
        }
        if self.rival.as_ref().is_some_and(in_vain) {
            heir.live.send_delete(&heir.core, ctx, None);
            let by_rival = self.retire_for_rival(ctx);
            return Succession {
                born: Some(heir.into_sa()),
                rival: by_rival.and_then(|succession| succession.rival),
            };
        }
        heir.inherit(ctx, self);
        let redundant = self.rival.take().map(|rival| rival.spi);
        self.send_delete(core, ctx, None);
        Succession::of_instead(heir.into_sa(), redundant)
    }

    /// The rival takes over; the peer, who has made it, deletes this one.
    fn retire_for_rival(&mut self, ctx: &Context<'_>) -> Option<Succession> {
        let succession = self.bequeath()?;
        self.retire(ctx);
        Some(succession)
    }

    fn on_heir_refused(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        mut request: HeirRequest,
        notify: &Notify,
    ) -> Option<Succession> {
        if !self.serves() {
            return None;
        }
        if self.rival.is_some() && notify.kind != NotifyType::INVALID_KE_PAYLOAD {
            return self.retire_for_rival(ctx);
        }
        let failure = match notify.kind {
            NotifyType::INVALID_KE_PAYLOAD => {
                let offered = request.proposals.iter().flat_map(IkeProposal::groups);
                match wanted_group(notify, &request.groups_tried, offered.copied()) {
                    Ok(group) => {
                        request.groups_tried.push(group);
                        request.key_exchange = group.generate(ctx.rng);
                        let payloads = request.payloads();
                        self.window
                            .send(core, ctx, Task::Heir(Box::new(request)), payloads);
                        return None;
                    }
                    Err(fault) => Failure::Fault {
                        exchange: EXCHANGE,
                        fault,
                    },
                }
            }
            NotifyType::TEMPORARY_FAILURE => return self.try_heir_again(ctx),
            NotifyType::NO_PROPOSAL_CHOSEN => Failure::NoProposalChosen {
                what: Negotiation::Ike,
                offered: proposal::list(&request.proposals),
            },
            notify => Failure::Notified {
                exchange: EXCHANGE,
                notify,
            },
        };
        self.heir_failed(core, ctx, failure)
    }

    /// As the responder: makes an heir. What it is for is decided once the reply has left.
    pub(super) fn answer_heir(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        payloads: &Payloads,
    ) -> Result<Reply, Refusal> {
        // D36, RFC 7296 §2.25.2: nothing may be under way that concerns a pair. One rival is enough.
        let busy = matches!(
            self.window.task(),
            Some(Task::Pair(_) | Task::DeletePairs(_))
        );
        if busy || self.follows_up() || self.rival.is_some() {
            return Err(temporary_failure());
        }
        let fault = |fault| Refusal::fault(EXCHANGE, fault);
        let offered = payloads.proposals().map_err(fault)?;
        let ke = payloads.key_exchange().map_err(fault)?;
        let peers_nonce = payloads.nonce().map_err(fault)?;
        let ours = proposal::no_weaker(&core.peer.ike_proposals, self.agreed().suite);
        let spi = fresh_spi(ctx);
        let chosen = select::choose_ike_rekey(&ours, offered, ke.group, spi);
        let Some((chosen, suite, peers_spi)) = chosen else {
            let failure = Failure::NothingAcceptable {
                what: Negotiation::Ike,
                offered: wire::display::proposals(offered),
                ours: proposal::list(&ours),
            };
            return Err(Refusal::new(NotifyType::NO_PROPOSAL_CHOSEN, failure));
        };
        if suite.group.transform_id() != ke.group {
            return Err(ask_for(suite.group));
        }
        check_nonce(peers_nonce, suite).map_err(fault)?;
        let key_exchange = suite.group.generate(ctx.rng);
        let our_ke = Payload::key_exchange(ke.group, key_exchange.public());
        let g_ir = key_exchange
            .agree(&ke.data)
            .map_err(|_| fault(PeerFault::PublicValue))?;
        let nonce = ctx.random(limits::OUR_NONCE_OCTETS);
        let agreed = Agreed {
            suite,
            g_ir,
            spis: (peers_spi, spi),
            nonces: (peers_nonce.to_vec(), nonce.clone()),
            initiated: false,
        };
        let mut payloads = vec![
            Payload::SecurityAssociation(vec![chosen]),
            Payload::Nonce(nonce),
            our_ke,
        ];
        let effect = match suite.additional {
            Some(kem) => {
                let what = Prospect::Heir(Box::new(agreed));
                payloads.push(self.await_follow_up(ctx, kem, what));
                Effect::None
            }
            None => Effect::Heir(Box::new(Heir::new(self, core, ctx, &agreed, None))),
        };
        Ok(Reply { payloads, effect })
    }

    /// As the responder of the additional key exchange: makes the heir that was agreed on before.
    pub(super) fn make_heir(
        &self,
        core: &Core,
        ctx: &mut Context<'_>,
        agreed: &Agreed,
        additional: &Secret,
    ) -> Effect {
        let heir = Heir::new(self, core, ctx, agreed, Some(additional));
        Effect::Heir(Box::new(heir))
    }

    /// Our reply, which gives the peer its half of the heir, has left.
    pub(in crate::sa) fn hand_over(&mut self, ctx: &mut Context<'_>, mut heir: Heir) -> Succession {
        if self.makes_heir() {
            self.rival = Some(Rival {
                spi: heir.core.our_spi(),
                lower_nonce: heir.live.lowest_nonce().to_vec(),
            });
            heir.live.duty = Duty::StandBy;
        } else {
            heir.inherit(ctx, self);
            self.retire(ctx);
        }
        Succession::of(heir.into_sa())
    }
}

/// An SPI of ours: with 64 random bits, none that another SA has.
fn fresh_spi(ctx: &mut Context<'_>) -> IkeSpi {
    loop {
        let spi = IkeSpi(ctx.rng.next_u64());
        if spi != IkeSpi::NONE {
            return spi;
        }
    }
}
