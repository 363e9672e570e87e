//! The CHILD_SA pair: transport-mode ESP for protocol 47 between the two endpoints (RFC 7296 §1.2,
//! §1.3.1, §2.9, §2.17), as it is offered, answered and checked inside IKE_AUTH.

use std::net::IpAddr;
use std::time::Instant;

use super::exchange::Exchange;
use super::lifetime::Lifetime;
use super::payloads::Payloads;
use super::{Context, Core};
use crate::error::{Failure, Negotiation, PeerFault};
use crate::event::{
    ChildDetails, ChildId, ChildKeys, ChildPhase, EspSpi, Event, GoneReason, Path, WorkerSlot,
};
use crate::keys;
use crate::proposal::{self, EspSuite};
use crate::sa::init::Agreed;
use crate::select;
use crate::ts;
use crate::wire::{self, ExchangeType, Notify, NotifyType, Payload, ProtocolId, TrafficSelector};

/// The worker that every pair belongs to until RFC 9611 gives each one its own.
const ONLY_SLOT: WorkerSlot = WorkerSlot(0);

/// A pair that stands.
pub(crate) struct Child {
    id: ChildId,
    suite: EspSuite,
    inbound: EspSpi,
    outbound: EspSpi,
    since: Instant,
    lifetime: Lifetime,
}

/// What both ends agreed on for a pair.
#[derive(Clone, Copy)]
pub(crate) struct Agreement {
    suite: EspSuite,
    inbound: EspSpi,
    outbound: EspSpi,
}

/// A pair whose keys exist and have yet to be handed out.
pub(crate) struct Fresh {
    child: Child,
    inbound: ChildKeys,
    outbound: ChildKeys,
}

/// Why a CHILD_SA was not made: the notification for the peer, and the cause for a person.
pub(crate) struct Refusal {
    pub(crate) notify: NotifyType,
    pub(crate) failure: Failure,
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

/// `N(USE_TRANSPORT_MODE) SA TSi TSr`, as an initiator sends them.
pub(crate) fn offer(core: &Core, inbound: EspSpi) -> [Payload; 4] {
    [
        Payload::Notify(Notify::status(NotifyType::USE_TRANSPORT_MODE)),
        Payload::SecurityAssociation(proposal::esp_offer(&core.peer.esp_proposals, inbound)),
        Payload::TsInitiator(vec![ts::gre(core.path.local.ip())]),
        Payload::TsResponder(vec![ts::gre(core.path.remote.ip())]),
    ]
}

/// The initiator's check of the answer: a subset of the offer, or no SA at all (D26, D27).
pub(crate) fn check_answer(
    core: &Core,
    inbound: EspSpi,
    payloads: &Payloads,
) -> Result<Agreement, Failure> {
    if let Some(notify) = payloads.error() {
        return Err(match notify.kind {
            NotifyType::NO_PROPOSAL_CHOSEN => Failure::NoProposalChosen {
                what: Negotiation::Esp,
                offered: proposal::list(&core.peer.esp_proposals),
            },
            NotifyType::TS_UNACCEPTABLE => Failure::SelectorsRefused,
            notify => Failure::Notified {
                exchange: ExchangeType::IKE_AUTH,
                notify,
            },
        });
    }
    if payloads.notify(NotifyType::USE_TRANSPORT_MODE).is_none() {
        return Err(Failure::TunnelMode);
    }
    let check = || {
        let (suite, outbound) = select::verify_esp(&core.peer.esp_proposals, payloads.proposals()?)
            .map_err(|error| PeerFault::NotOffered(error.to_string()))?;
        check_selectors(core, payloads)?;
        Ok(Agreement {
            suite,
            inbound,
            outbound: usable(outbound)?,
        })
    };
    check().map_err(|fault| Failure::Fault {
        exchange: ExchangeType::IKE_AUTH,
        fault,
    })
}

fn check_selectors(core: &Core, payloads: &Payloads) -> Result<(), PeerFault> {
    let is_ours = |answer: &[TrafficSelector], address: IpAddr, translated: bool| {
        ts::is_gre(answer, address) || (translated && ts::is_gre_behind_nat(answer))
    };
    let (Path { local, remote }, nat) = (core.path, core.nat);
    let ours = is_ours(payloads.initiator_selectors()?, local.ip(), nat.ours);
    let peers = is_ours(payloads.responder_selectors()?, remote.ip(), nat.theirs);
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
    payloads: &Payloads,
) -> Result<([Payload; 4], Agreement), Refusal> {
    let fault = |fault| Refusal {
        notify: NotifyType::INVALID_SYNTAX,
        failure: Failure::Fault {
            exchange: ExchangeType::IKE_AUTH,
            fault,
        },
    };
    let offered = payloads.proposals().map_err(fault)?;
    let initiator_ts = payloads.initiator_selectors().map_err(fault)?;
    let responder_ts = payloads.responder_selectors().map_err(fault)?;
    if payloads.notify(NotifyType::USE_TRANSPORT_MODE).is_none() {
        let notify = NotifyType::NO_PROPOSAL_CHOSEN;
        return Err(Refusal {
            notify,
            failure: Failure::TunnelMode,
        });
    }
    let (Some(initiator_ts), Some(responder_ts)) = (
        narrow(initiator_ts, core.path.remote.ip(), core.nat.theirs),
        narrow(responder_ts, core.path.local.ip(), core.nat.ours),
    ) else {
        let offered = wire::display::selectors(initiator_ts, responder_ts);
        let failure = Failure::SelectorsUnacceptable { offered };
        return Err(Refusal {
            notify: NotifyType::TS_UNACCEPTABLE,
            failure,
        });
    };
    let inbound = ctx.numbers.esp_spi(ctx.rng);
    let chosen = select::choose_esp(&core.peer.esp_proposals, offered, inbound);
    let Some((chosen, suite, outbound)) = chosen else {
        ctx.numbers.release(inbound);
        return Err(Refusal {
            notify: NotifyType::NO_PROPOSAL_CHOSEN,
            failure: Failure::NothingAcceptable {
                what: Negotiation::Esp,
                offered: wire::display::proposals(offered),
                ours: proposal::list(&core.peer.esp_proposals),
            },
        });
    };
    let reply = [
        Payload::Notify(Notify::status(NotifyType::USE_TRANSPORT_MODE)),
        Payload::SecurityAssociation(vec![chosen]),
        Payload::TsInitiator(vec![initiator_ts]),
        Payload::TsResponder(vec![responder_ts]),
    ];
    Ok((
        reply,
        Agreement {
            suite,
            inbound,
            outbound,
        },
    ))
}

impl Fresh {
    /// Derives both directions' keys for the pair inside IKE_AUTH (RFC 7296 §2.17): the exchange's
    /// initiator is the IKE SA's.
    pub(crate) fn derive(
        core: &Core,
        ctx: &mut Context<'_>,
        agreed: &Agreed,
        agreement: Agreement,
    ) -> Self {
        let Agreement {
            suite,
            inbound,
            outbound,
        } = agreement;
        let (forward, backward) = keys::child_keymat(
            suite,
            agreed.suite.prf,
            &agreed.keys.sk_d,
            None,
            &agreed.initiator_nonce,
            &agreed.responder_nonce,
        );
        let (ours, peers) = if core.initiated {
            (forward, backward)
        } else {
            (backward, forward)
        };
        Self {
            child: Child {
                id: ctx.numbers.child(),
                suite,
                inbound,
                outbound,
                since: ctx.now,
                lifetime: Lifetime::draw(core.peer.child_lifetime, ctx),
            },
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

    /// Hands both directions out. A responder's reply goes between them: the peer may send as soon
    /// as it has the reply, and can receive only then.
    pub(crate) fn install(
        self,
        core: &Core,
        ctx: &mut Context<'_>,
        reply: Option<(&Exchange, Path)>,
    ) -> Child {
        let Self {
            child,
            inbound,
            outbound,
        } = self;
        let (peer, id, slot) = (core.peer.id, child.id, ONLY_SLOT);
        ctx.event(Event::ChildInbound {
            peer,
            child: id,
            slot,
            keys: inbound,
        });
        if let Some((exchange, path)) = reply {
            exchange.answer(ctx, path);
        }
        ctx.event(Event::ChildOutbound {
            peer,
            child: id,
            slot,
            keys: outbound,
        });
        child
    }
}

impl Child {
    pub(crate) const fn inbound(&self) -> EspSpi {
        self.inbound
    }

    pub(crate) const fn outbound(&self) -> EspSpi {
        self.outbound
    }

    pub(crate) const fn details(&self) -> ChildDetails {
        let Self {
            id,
            suite,
            inbound,
            outbound,
            since,
            lifetime,
        } = *self;
        ChildDetails {
            child: id,
            suite,
            inbound,
            outbound,
            since,
            phase: ChildPhase::Current,
            rekey_at: Some(lifetime.rekey_at),
        }
    }

    /// Takes the pair down.
    pub(crate) fn remove(self, core: &Core, ctx: &mut Context<'_>, why: GoneReason) {
        ctx.numbers.release(self.inbound);
        ctx.event(Event::ChildGone {
            peer: core.peer.id,
            child: self.id,
            why,
        });
    }
}

/// The Delete payload for these inbound SPIs of ours.
pub(crate) fn delete(spis: Vec<EspSpi>) -> Payload {
    Payload::Delete(wire::Delete::Esp(spis))
}

/// CREATE_CHILD_SA is answered as by a minimal implementation (RFC 7296 §4): no further SA, and no
/// rekeying; the peer sets up a new IKE SA when its lifetime is over.
pub(crate) fn refuse_another() -> Vec<Payload> {
    vec![Payload::Notify(Notify {
        protocol: ProtocolId::NONE,
        spi: Vec::new(),
        kind: NotifyType::NO_ADDITIONAL_SAS,
        data: Vec::new(),
    })]
}
