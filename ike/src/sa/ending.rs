//! How an SA ends ([`Live`]): by a DELETE of ours (RFC 7296 §1.4.1), by the peer's, without an answer, or
//! at once; and who has its pairs after it.

use super::live::{Duty, Live, Task};
use super::{Closed, Context, Core, IkeSa, News, State, Step, Succession};
use crate::event::GoneReason;
use crate::limits;
use crate::wire::NotifyType;

impl Live {
    /// Takes the CHILD_SAs down at once and the IKE SA by a DELETE exchange. Of one that does not
    /// serve, nobody hears.
    pub(crate) fn close(
        mut self: Box<Self>,
        core: Core,
        ctx: &mut Context<'_>,
        why: GoneReason,
    ) -> Step {
        let served = self.serves();
        self.pairs.clear(&core, ctx, why);
        self.send_delete(&core, ctx, None);
        Step {
            news: served.then_some(News::Down(why)),
            ..self.stay(core)
        }
    }

    /// Sends a DELETE of the IKE SA as soon as the window allows.
    pub(crate) fn send_delete(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        notify: Option<NotifyType>,
    ) {
        if matches!(self.duty, Duty::Close { .. }) {
            return;
        }
        self.duty = Duty::Close { notify };
        // A pair that is being made goes with the IKE SA; a successor has to be deleted by itself.
        if let Some(task @ (Task::Pair(_) | Task::PairFollowUp(_))) = self.window.task_mut() {
            let task = std::mem::replace(task, Task::Forgotten);
            self.let_go_of(core, ctx, &task);
        }
        self.send_next(core, ctx);
    }

    /// It is needless; the peer has to delete it.
    pub(crate) fn retire(&mut self, ctx: &Context<'_>) {
        let until = ctx.now + limits::DELETE_WAIT;
        self.duty = Duty::Retire { until };
    }

    /// Takes everything down without a word to a peer that has nothing of it.
    pub(crate) fn forget(
        self: Box<Self>,
        core: &Core,
        ctx: &mut Context<'_>,
        why: GoneReason,
    ) -> Step {
        let served = self.serves();
        self.take_down(core, ctx, why);
        Step::end(served.then_some(News::Down(why)))
    }

    /// The peer does not answer. A successor that it has made in the meantime may still stand.
    pub(super) fn give_up(mut self: Box<Self>, core: &Core, ctx: &mut Context<'_>) -> Step {
        match self.bequeath() {
            Some(succession) => Step {
                succession: Some(succession),
                ..self.vanish(core, ctx)
            },
            None if self.serves() => self.forget(core, ctx, GoneReason::NoAnswer),
            None => self.vanish(core, ctx),
        }
    }

    /// As [`forget`](Self::forget), of an SA whose end is no news.
    pub(super) fn vanish(self: Box<Self>, core: &Core, ctx: &mut Context<'_>) -> Step {
        self.take_down(core, ctx, GoneReason::Abandoned);
        Step::end(None)
    }

    /// The peer has ended it: over, but for repeating the last reply (D2). A successor that the peer
    /// has made in the meantime has the pairs from here on (RFC 7296 §2.8.2).
    pub(super) fn end(
        mut self: Box<Self>,
        core: Core,
        ctx: &mut Context<'_>,
        why: GoneReason,
    ) -> Step {
        let succession = self.bequeath();
        let bereft = self.serves() && succession.is_none();
        let last = self.window.take_last();
        let until = ctx.now + limits::CLOSED;
        self.take_down(&core, ctx, why);
        Step {
            sa: last.map(|last| IkeSa {
                core,
                state: State::Closed(Closed { last, until }),
            }),
            news: bereft.then_some(News::Down(why)),
            succession,
        }
    }

    /// Leaves the pairs to the successor that the peer has made, if there is one.
    pub(super) fn bequeath(&mut self) -> Option<Succession> {
        let rival = self.rival.take()?;
        Some(Succession::inherited_by(
            rival.spi,
            std::mem::take(&mut self.pairs),
        ))
    }

    fn take_down(mut self: Box<Self>, core: &Core, ctx: &mut Context<'_>, why: GoneReason) {
        if let Some(task) = self.window.abandon() {
            self.let_go_of(core, ctx, &task);
        }
        self.forget_awaited(ctx);
        self.pairs.clear(core, ctx, why);
    }

    /// Nothing becomes of this task.
    pub(super) fn let_go_of(&self, core: &Core, ctx: &mut Context<'_>, task: &Task) {
        match task {
            Task::Pair(request) => request.withdraw(core, ctx),
            Task::PairFollowUp(follow_up) => follow_up.withdraw(core, ctx),
            _ => {}
        }
    }
}
