//! Negotiating a CHILD_SA pair: transport-mode ESP for protocol 47 between the two endpoints (RFC 7296
//! §1.2, §1.3, §1.3.1, §2.9, §2.17), as it is offered, answered and checked inside IKE_AUTH and
//! CREATE_CHILD_SA. What becomes of it afterwards is in `pairs`.

use std::net::IpAddr;

use super::pairs::Fresh;
use super::payloads::Payloads;
use super::{Context, Core};
use crate::algorithm::{Group, Kem, Prf};
use crate::error::{Failure, Negotiation, PeerFault};
use crate::event::{ChildKeys, EspSpi, Event, Path};
use crate::keys;
use crate::proposal::{self, EspProposal, EspSuite};
use crate::secret::Secret;
use crate::select::{self, EspChoice, OfIke, Pfs};
use crate::ts;
use crate::wire::{self, ExchangeType, Notify, NotifyType, Payload, Proposal, TrafficSelector};

/// What both ends agreed on for a pair.
#[derive(Clone, Copy)]
pub(crate) struct Agreement {
    pub(crate) suite: EspSuite,
    pub(crate) inbound: EspSpi,
    pub(crate) outbound: EspSpi,
    /// The group of the exchange's own key exchange (PFS).
    pub(crate) group: Option<Group>,
    /// The additional key exchange that has to follow before there are keys (RFC 9370 §2.2.4).
    pub(crate) additional: Option<Kem>,
}

/// Why a CHILD_SA was not made: the notification for the peer, and the cause for a person; none where
/// the peer only has to ask otherwise.
pub(crate) struct Refusal {
    pub(crate) notify: Notify,
    /// Boxed: it is many times the size of what is answered otherwise.
    pub(crate) failure: Option<Box<Failure>>,
}

impl Refusal {
    pub(crate) fn new(notify: NotifyType, failure: Failure) -> Self {
        Self {
            notify: Notify::status(notify),
            failure: Some(Box::new(failure)),
        }
    }

    pub(crate) const fn quiet(notify: Notify) -> Self {
        Self {
            notify,
            failure: None,
        }
    }

    pub(crate) fn fault(exchange: ExchangeType, fault: PeerFault) -> Self {
        Self::new(
            NotifyType::INVALID_SYNTAX,
            Failure::Fault { exchange, fault },
        )
    }
}

/// Takes a number for an inbound SA that is about to be offered.
pub(crate) fn reserve(core: &Core, ctx: &mut Context<'_>) -> EspSpi {
    let spi = ctx.numbers.esp_spi(ctx.rng);
    ctx.event(Event::ChildOffered {
        peer: core.peer.id,
        spi,
    });
    spi
}

/// Nothing has become of that offer.
pub(crate) fn withdraw(core: &Core, ctx: &mut Context<'_>, spi: EspSpi) {
    ctx.numbers.release(spi);
    ctx.event(Event::ChildOfferWithdrawn {
        peer: core.peer.id,
        spi,
    });
}

/// `N(USE_TRANSPORT_MODE) SA TSi TSr`, as an initiator sends them (D26).
pub(crate) fn offer(core: &Core, proposals: Vec<Proposal>) -> [Payload; 4] {
    [
        Payload::Notify(Notify::status(NotifyType::USE_TRANSPORT_MODE)),
        Payload::SecurityAssociation(proposals),
        Payload::TsInitiator(vec![ts::gre(core.path.local.ip())]),
        Payload::TsResponder(vec![ts::gre(core.path.remote.ip())]),
    ]
}

/// The initiator's check of the answer to an offer of these proposals: a subset of the offer, or no SA
/// at all (D26, D27).
pub(crate) fn check_answer(
    core: &Core,
    exchange: ExchangeType,
    (proposals, pfs): (&[EspProposal], Pfs),
    inbound: EspSpi,
    payloads: &Payloads,
) -> Result<Agreement, Failure> {
    if let Some(notify) = payloads.error() {
        return Err(match notify.kind {
            NotifyType::NO_PROPOSAL_CHOSEN => Failure::NoProposalChosen {
                what: Negotiation::Esp,
                offered: proposal::list(proposals),
            },
            NotifyType::TS_UNACCEPTABLE => Failure::SelectorsRefused {
                translated: core.nat.ours || core.nat.theirs,
            },
            notify => Failure::Notified { exchange, notify },
        });
    }
    if payloads.notify(NotifyType::USE_TRANSPORT_MODE).is_none() {
        return Err(Failure::TunnelMode);
    }
    let check = || {
        let EspChoice {
            suite,
            outbound,
            group,
            additional,
        } = select::verify_esp(proposals, payloads.proposals()?, pfs)
            .map_err(|error| PeerFault::NotOffered(error.to_string()))?;
        check_selectors(core, payloads)?;
        Ok(Agreement {
            suite,
            inbound,
            outbound: usable(outbound)?,
            group,
            additional,
        })
    };
    check().map_err(|fault| Failure::Fault { exchange, fault })
}

fn check_selectors(core: &Core, payloads: &Payloads) -> Result<(), PeerFault> {
    let is_ours = |answer: &[TrafficSelector], address: IpAddr, translated: bool| {
        ts::is_gre(answer, address) || (translated && ts::is_gre_behind_nat(answer))
    };
    let Path { local, remote } = core.path;
    let ours = is_ours(
        payloads.initiator_selectors()?,
        local.ip(),
        core.may_be_elsewhere(core.nat.ours),
    );
    let peers = is_ours(
        payloads.responder_selectors()?,
        remote.ip(),
        core.may_be_elsewhere(core.nat.theirs),
    );
    if ours && peers {
        Ok(())
    } else {
        Err(PeerFault::Selectors)
    }
}

/// What the peer offers for one end, as it is here: narrowed to GRE of that host.
fn narrow(
    offered: &[TrafficSelector],
    address: IpAddr,
    translated: bool,
) -> Option<TrafficSelector> {
    if translated {
        let substituted: Vec<_> = ts::substitute(offered, address).collect();
        ts::narrow(&substituted, address)
    } else {
        ts::narrow(offered, address)
    }
}

fn usable(spi: EspSpi) -> Result<EspSpi, PeerFault> {
    if spi.is_reserved() {
        Err(PeerFault::ReservedSpi)
    } else {
        Ok(spi)
    }
}

/// The responder's answer: `N(USE_TRANSPORT_MODE) SA TSi TSr`, selectors narrowed to protocol 47
/// between the two addresses, never wider than asked (D27); behind a NAT, between the addresses that
/// we see (D29).
pub(crate) fn answer(
    core: &Core,
    ctx: &mut Context<'_>,
    exchange: ExchangeType,
    payloads: &Payloads,
    pfs: Pfs,
) -> Result<([Payload; 4], Agreement), Refusal> {
    let fault = |fault| Refusal::fault(exchange, fault);
    let offered = payloads.proposals().map_err(fault)?;
    let initiator_ts = payloads.initiator_selectors().map_err(fault)?;
    let responder_ts = payloads.responder_selectors().map_err(fault)?;
    if payloads.notify(NotifyType::USE_TRANSPORT_MODE).is_none() {
        let notify = NotifyType::NO_PROPOSAL_CHOSEN;
        return Err(Refusal::new(notify, Failure::TunnelMode));
    }
    let (Some(initiator_ts), Some(responder_ts)) = (
        narrow(
            initiator_ts,
            core.path.remote.ip(),
            core.may_be_elsewhere(core.nat.theirs),
        ),
        narrow(
            responder_ts,
            core.path.local.ip(),
            core.may_be_elsewhere(core.nat.ours),
        ),
    ) else {
        let offered = wire::display::selectors(initiator_ts, responder_ts);
        let failure = Failure::SelectorsUnacceptable { offered };
        return Err(Refusal::new(NotifyType::TS_UNACCEPTABLE, failure));
    };
    let inbound = ctx.numbers.esp_spi(ctx.rng);
    let of_ike = OfIke::new(&core.peer.ike_proposals);
    let chosen = select::choose_esp(&core.peer.esp_proposals, offered, inbound, pfs, &of_ike);
    let Some((chosen, choice)) = chosen else {
        ctx.numbers.release(inbound);
        let failure = Failure::NothingAcceptable {
            what: Negotiation::Esp,
            offered: wire::display::proposals(offered),
            ours: proposal::list(&core.peer.esp_proposals),
        };
        return Err(Refusal::new(NotifyType::NO_PROPOSAL_CHOSEN, failure));
    };
    let reply = [
        Payload::Notify(Notify::status(NotifyType::USE_TRANSPORT_MODE)),
        Payload::SecurityAssociation(vec![chosen]),
        Payload::TsInitiator(vec![initiator_ts]),
        Payload::TsResponder(vec![responder_ts]),
    ];
    let EspChoice {
        suite,
        outbound,
        group,
        additional,
    } = choice;
    Ok((
        reply,
        Agreement {
            suite,
            inbound,
            outbound,
            group,
            additional,
        },
    ))
}

/// What a pair's keys are made of (RFC 7296 §2.17).
pub(crate) struct Material<'a> {
    /// Of the IKE SA.
    pub(crate) prf: Prf,
    pub(crate) sk_d: &'a Secret,
    /// The shared secret of the exchange's own key exchange.
    pub(crate) g_ir: Option<&'a Secret>,
    /// That of the additional key exchange after it (RFC 9370 §2.2.4).
    pub(crate) additional: Option<&'a Secret>,
    pub(crate) initiator_nonce: &'a [u8],
    pub(crate) responder_nonce: &'a [u8],
    /// Whether we began the exchange that makes the pair, whoever began the IKE SA (D22).
    pub(crate) initiated: bool,
}

impl Material<'_> {
    /// Both directions' keys.
    pub(crate) fn derive(&self, agreement: Agreement) -> Fresh {
        let Agreement {
            suite,
            inbound,
            outbound,
            ..
        } = agreement;
        let (forward, backward) = keys::child_keymat(
            suite,
            self.prf,
            self.sk_d,
            (self.g_ir, self.additional),
            self.initiator_nonce,
            self.responder_nonce,
        );
        let (ours, peers) = if self.initiated {
            (forward, backward)
        } else {
            (backward, forward)
        };
        Fresh {
            inbound: ChildKeys {
                spi: inbound,
                suite,
                key_material: peers,
            },
            outbound: ChildKeys {
                spi: outbound,
                suite,
                key_material: ours,
            },
        }
    }
}
