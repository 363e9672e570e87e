//! What an authenticated request of the peer's is answered with, and what else it does ([`Reply`]):
//! INFORMATIONAL here (RFC 7296 §1.4), CREATE_CHILD_SA and IKE_FOLLOWUP_KE in `rekey`.

use super::inform::{self, Said};
use super::live::{Live, Task};
use super::payloads::Payloads;
use super::rekey::{Heir, Refusal};
use super::{Context, Core};
use crate::error::Failure;
use crate::event::{ChildId, GoneReason};
use crate::wire::{ExchangeType, Notify, NotifyType, Payload, WireError};

/// The reply to an authenticated request, and what else it does.
pub(super) struct Reply {
    pub(super) payloads: Vec<Payload>,
    pub(super) effect: Effect,
}

/// See [`Reply`].
pub(super) enum Effect {
    None,
    /// The peer's wish was refused, for a reason that a person may want to hear.
    Refused(Box<Failure>),
    /// A pair was made that carries packets at once.
    Made(ChildId),
    /// A successor of this SA was made.
    Heir(Box<Heir>),
    /// This SA is gone once the reply has left.
    Over(GoneReason),
}

impl Reply {
    pub(super) const fn only(payloads: Vec<Payload>) -> Self {
        Self {
            payloads,
            effect: Effect::None,
        }
    }

    pub(super) fn refusal(Refusal { notify, failure }: Refusal) -> Self {
        Self {
            payloads: vec![Payload::Notify(notify)],
            effect: failure.map_or(Effect::None, Effect::Refused),
        }
    }

    /// D6: an unknown critical payload costs the exchange, a syntax error the SA (RFC 7296 §2.21.3).
    pub(super) fn to_malformed(error: &WireError) -> Self {
        let payloads = vec![Payload::Notify(Notify::for_wire_error(error))];
        let effect = match error {
            WireError::UnsupportedCritical(_) => Effect::None,
            _ => Effect::Over(GoneReason::PeerFault),
        };
        Self { payloads, effect }
    }
}

impl Live {
    /// The reply to a request that parses.
    pub(super) fn answer(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        exchange: ExchangeType,
        payloads: &Payloads,
    ) -> Reply {
        match exchange {
            ExchangeType::INFORMATIONAL => self.answer_informational(core, ctx, payloads),
            ExchangeType::CREATE_CHILD_SA => self.answer_create(core, ctx, payloads),
            ExchangeType::IKE_FOLLOWUP_KE => self.answer_follow_up(core, ctx, payloads),
            // Authenticated, in order, and meaningless: the SA is not worth losing over it.
            _ => Reply::only(vec![Payload::Notify(Notify::status(
                NotifyType::INVALID_SYNTAX,
            ))]),
        }
    }

    fn answer_informational(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        payloads: &Payloads,
    ) -> Reply {
        match Said::read(payloads) {
            // D32: the reply to what ends the IKE SA is empty.
            Said::Over(why) => Reply {
                payloads: Vec::new(),
                effect: Effect::Over(why),
            },
            Said::PairsDeleted(outbound) => {
                let in_flight = match self.window.task() {
                    Some(Task::DeletePairs(inbound)) => &inbound[..],
                    _ => &[],
                };
                let inbound = self.pairs.delete_for_peer(core, ctx, &outbound, in_flight);
                Reply::only(inform::delete_pairs(inbound))
            }
        }
    }
}
