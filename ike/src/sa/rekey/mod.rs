//! CREATE_CHILD_SA, both roles (RFC 7296 §1.3): rekeying a CHILD_SA pair ([`pair`]) and the IKE SA
//! ([`heir`]), and what a peer hears that asks for it at the wrong moment (RFC 7296 §2.25). With an
//! additional key exchange, IKE_FOLLOWUP_KE follows ([`follow_up`]).
//!
//! # Both ends at once
//! Each answers the other as if nothing were the matter, and remembers what the other's exchange has
//! made as the [`Rival`] of its own. Who has both knows the four nonces: the exchange with the lowest
//! of them was in vain, and whoever began it deletes what it made (RFC 7296 §2.8.1, §2.8.2). If our
//! own fails, or the peer ends the old SA before we have our answer, the rival takes its place.

mod follow_up;
mod heir;
mod pair;

use super::live::{Duty, Live, Task};
use super::payloads::Payloads;
use super::reply::Reply;
use super::{Context, Core};
use crate::algorithm::Group;
use crate::error::PeerFault;
use crate::event::{ChildId, EspSpi};
use crate::limits;
use crate::wire::{ExchangeType, Notify, NotifyType, Proposal, ProtocolId};

pub(super) use self::follow_up::Awaited;
pub(super) use self::heir::{Heir, HeirFollowUp, HeirRequest, Rival};
pub(super) use self::pair::{PairFollowUp, PairRequest};
pub(super) use super::child::Refusal;

const EXCHANGE: ExchangeType = ExchangeType::CREATE_CHILD_SA;

/// What a peer's request asks for.
enum Wish<'a> {
    /// A successor of this IKE SA.
    Heir,
    /// A successor of the pair that this notification names.
    Successor(&'a Notify),
    /// One more pair.
    Another,
}

impl<'a> Wish<'a> {
    fn read(payloads: &'a Payloads) -> Result<Self, PeerFault> {
        let for_ike = |proposal: &Proposal| proposal.protocol == ProtocolId::IKE;
        if payloads.proposals()?.iter().any(for_ike) {
            return Ok(Self::Heir);
        }
        let rekeyed = payloads.notify(NotifyType::REKEY_SA);
        Ok(rekeyed.map_or(Self::Another, Self::Successor))
    }
}

impl Live {
    pub(super) fn answer_create(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        payloads: &Payloads,
    ) -> Reply {
        // An SA that is replaced, or may be redundant, makes nothing new (D36, RFC 7296 §2.25.2).
        if self.duty != Duty::Serve {
            return Reply::refusal(temporary_failure());
        }
        // Whoever asks for something else has given up what it has not followed up.
        self.forget_awaited(ctx);
        let reply = match Wish::read(payloads) {
            Ok(Wish::Heir) => self.answer_heir(core, ctx, payloads),
            Ok(Wish::Successor(rekeyed)) => self
                .pair_to_rekey(core, ctx, rekeyed)
                .and_then(|id| self.answer_pair(core, ctx, payloads, Some(id))),
            Ok(Wish::Another) => self
                .check_room()
                .and_then(|()| self.answer_pair(core, ctx, payloads, None)),
            Err(fault) => Err(Refusal::fault(EXCHANGE, fault)),
        };
        reply.unwrap_or_else(Reply::refusal)
    }

    /// Whether our own request to rekey the IKE SA is under way.
    fn makes_heir(&self) -> bool {
        let task = self.window.task();
        matches!(task, Some(Task::Heir(_) | Task::HeirFollowUp(_)))
    }

    /// The pair that a request to rekey is about, which the peer names by what it receives on (D31).
    fn pair_to_rekey(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        rekeyed: &Notify,
    ) -> Result<ChildId, Refusal> {
        // D36: the pairs are about to move.
        if self.makes_heir() {
            return Err(temporary_failure());
        }
        let spi = <[u8; 4]>::try_from(rekeyed.spi.as_slice()).map(u32::from_be_bytes);
        let named = spi
            .ok()
            .filter(|_| rekeyed.protocol == ProtocolId::ESP)
            .and_then(|spi| self.pairs.by_outbound(EspSpi(spi)));
        let Some(id) = named.map(|child| child.id()) else {
            return Err(Refusal::quiet(Notify {
                kind: NotifyType::CHILD_SA_NOT_FOUND,
                data: Vec::new(),
                ..rekeyed.clone()
            }));
        };
        // Whoever rekeys a pair has it.
        self.pairs.confirm(core, ctx, id);
        // Not one that we are about to delete, or that the peer has rekeyed before: a slot has one pair
        // (RFC 7296 §2.25.1).
        if self.pairs.needs_rekey(id) && !self.pairs.is_full() {
            Ok(id)
        } else {
            Err(temporary_failure())
        }
    }

    /// Whether a pair may be made that replaces none: a slot has one, and who wants to replace it has
    /// to say so. Without one, because both ends have lost it, another is as good as a new IKE SA.
    fn check_room(&self) -> Result<(), Refusal> {
        let task = self.window.task();
        let makes_pair = matches!(task, Some(Task::Pair(_) | Task::PairFollowUp(_)));
        if self.makes_heir() || makes_pair {
            Err(temporary_failure())
        } else if self.pairs.is_usable() {
            let notify = Notify::status(NotifyType::NO_ADDITIONAL_SAS);
            Err(Refusal::quiet(notify))
        } else {
            Ok(())
        }
    }
}

/// D37: the peer asks again in a while.
const fn temporary_failure() -> Refusal {
    Refusal::quiet(Notify::status(NotifyType::TEMPORARY_FAILURE))
}

/// The group of our KE payload is another one than `group`.
fn ask_for(group: Group) -> Refusal {
    let number = group.transform_id().to_be_bytes().to_vec();
    Refusal::quiet(Notify::with_data(NotifyType::INVALID_KE_PAYLOAD, number))
}

/// The group that an INVALID_KE_PAYLOAD asks for, if we offered it and have not tried it (D8).
fn wanted_group(
    notify: &Notify,
    tried: &[Group],
    mut offered: impl Iterator<Item = Group>,
) -> Result<Group, PeerFault> {
    let number = <[u8; 2]>::try_from(notify.data.as_slice())
        .map(u16::from_be_bytes)
        .unwrap_or_default();
    Group::from_transform_id(number)
        .filter(|group| !tried.contains(group) && offered.any(|offered| offered == *group))
        .ok_or(PeerFault::UselessGroup(number))
}

/// D11, RFC 7296 §2.10, for a nonce that only feeds a KDF whose key both ends have.
fn checked_nonce(payloads: &Payloads) -> Result<&[u8], PeerFault> {
    let nonce = payloads.nonce()?;
    if limits::NONCE_OCTETS_RANGE.contains(&nonce.len()) {
        Ok(nonce)
    } else {
        Err(PeerFault::Nonce(nonce.len()))
    }
}

/// The lower nonce of an exchange, octet by octet (RFC 7296 §2.8.1).
fn lower<'a>(one: &'a [u8], other: &'a [u8]) -> &'a [u8] {
    one.min(other)
}
