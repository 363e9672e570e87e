//! The additional key exchange for a pair, as the initiator: IKE_FOLLOWUP_KE after CREATE_CHILD_SA (RFC
//! 9370 §2.2.4).

use super::{Answer, PairRequest};
use crate::algorithm::Kem;
use crate::error::Failure;
use crate::event::ChildId;
use crate::sa::live::{Live, Task};
use crate::sa::payloads::Payloads;
use crate::sa::rekey::follow_up::{self, Half};
use crate::sa::rekey::{EXCHANGE, lower};
use crate::sa::{Context, Core};
use crate::wire::NotifyType;

/// Our additional key exchange for a pair, while it is under way.
pub(crate) struct PairFollowUp {
    request: PairRequest,
    answer: Answer,
    half: Half,
}

impl PairFollowUp {
    /// The exchange ends without the pair.
    pub(crate) fn withdraw(&self, core: &Core, ctx: &mut Context<'_>) {
        self.request.withdraw(core, ctx);
    }

    /// Whether it is for a successor of this pair.
    pub(super) fn is_for(&self, replaces: Option<ChildId>) -> bool {
        self.request.replaces == replaces
    }
}

impl Live {
    /// Goes on with the additional key exchange, unless ours was in vain: then there is nothing to
    /// delete yet (RFC 9370 §2.2.4).
    pub(super) fn follow_pair_up(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        request: PairRequest,
        answer: Answer,
        kem: Kem,
        payloads: &Payloads,
    ) {
        let ours = lower(&request.nonce, &answer.nonce);
        let rival = request.rival.as_ref();
        let rival = rival.filter(|rival| self.pairs.is_usable_pair(rival.child));
        let in_vain = rival.is_some_and(|rival| ours < &rival.lower_nonce[..])
            || !self.outlives_awaited_pair(ctx, request.replaces, ours);
        if in_vain || !self.wants(&request) {
            return request.withdraw(core, ctx);
        }
        match Half::new(ctx, kem, payloads) {
            Ok((half, payloads)) => {
                let follow_up = PairFollowUp {
                    request,
                    answer,
                    half,
                };
                let task = Task::PairFollowUp(Box::new(follow_up));
                self.window.send(core, ctx, task, payloads);
            }
            Err(fault) => {
                let exchange = EXCHANGE;
                request.withdraw(core, ctx);
                let failure = Failure::Fault { exchange, fault };
                self.pair_failed(core, ctx, request.replaces, failure);
            }
        }
    }

    /// What becomes of our additional key exchange.
    pub(in crate::sa) fn on_pair_follow_up(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        follow_up: PairFollowUp,
        payloads: &Payloads,
    ) {
        let PairFollowUp {
            request,
            answer,
            half,
        } = follow_up;
        let exchange = follow_up::EXCHANGE;
        if let Some(notify) = payloads.error() {
            request.withdraw(core, ctx);
            return match notify.kind {
                // The peer has waited too long: once more from the start (RFC 9370 §2.2.4).
                NotifyType::STATE_NOT_FOUND => self.retry_pair_soon(ctx, request.replaces),
                notify => {
                    let failure = Failure::Notified { exchange, notify };
                    self.pair_failed(core, ctx, request.replaces, failure);
                }
            };
        }
        match half.finish(payloads) {
            Ok(secret) => self.settle_pair(core, ctx, request, &answer, Some(&secret)),
            Err(fault) => {
                self.refuse_pair(core, ctx, &request, Failure::Fault { exchange, fault });
            }
        }
    }
}
