//! The CHILD_SA pairs of one IKE SA: from the installation of the inbound half to the last packet in
//! flight (RFC 7296 §2.8). For a worker slot one pair carries packets, one more may be arriving or
//! leaving. What is said to the peer about them is in `rekey` and `inform`.

use std::time::Instant;

use super::lifetime::Lifetime;
use super::{Context, Core};
use crate::event::{
    ChildDetails, ChildId, ChildKeys, ChildPhase, Deadline, EspSpi, Event, GoneReason, Timer,
    WorkerSlot,
};
use crate::limits;
use crate::proposal::EspSuite;

/// The worker that every pair belongs to until RFC 9611 gives each one its own.
const ONLY_SLOT: WorkerSlot = WorkerSlot(0);

/// A pair whose keys exist and have yet to be handed out.
pub(crate) struct Fresh {
    pub(crate) inbound: ChildKeys,
    pub(crate) outbound: ChildKeys,
}

/// A pair of which at least the inbound half is installed.
pub(crate) struct Child {
    id: ChildId,
    slot: WorkerSlot,
    suite: EspSuite,
    inbound: EspSpi,
    outbound: EspSpi,
    since: Instant,
    lifetime: Lifetime,
    /// It was sent on, so that the peer's packets may still be in flight when it goes.
    carried: bool,
    phase: Phase,
}

enum Phase {
    /// The outbound half waits for a sign that the peer has its inbound one.
    Arriving {
        outbound: ChildKeys,
        replaces: Option<ChildId>,
        until: Instant,
    },
    /// Packets leave on it.
    Current,
    /// Another has taken its place; the peer began that exchange, and has so long to delete it.
    Replaced { until: Instant },
    /// We are deleting it, or will as soon as the window allows.
    Doomed,
    /// Neither end sends on it any more.
    Draining { until: Instant },
}

impl Child {
    /// Hands the inbound half out.
    fn arrive(core: &Core, ctx: &mut Context<'_>, fresh: Fresh, replaces: Option<ChildId>) -> Self {
        let Fresh { inbound, outbound } = fresh;
        let child = Self {
            id: ctx.numbers.child(),
            slot: ONLY_SLOT,
            suite: inbound.suite,
            inbound: inbound.spi,
            outbound: outbound.spi,
            since: ctx.now,
            lifetime: Lifetime::draw(core.peer.child_lifetime, ctx),
            carried: false,
            phase: Phase::Arriving {
                outbound,
                replaces,
                until: ctx.now + limits::CONFIRM_WAIT,
            },
        };
        ctx.event(Event::ChildInbound {
            peer: core.peer.id,
            child: child.id,
            slot: child.slot,
            keys: inbound,
        });
        child
    }

    pub(crate) const fn id(&self) -> ChildId {
        self.id
    }

    pub(crate) const fn inbound(&self) -> EspSpi {
        self.inbound
    }

    pub(crate) const fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    pub(crate) const fn is_current(&self) -> bool {
        matches!(self.phase, Phase::Current)
    }

    const fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    /// Packets leave on it, or will.
    const fn is_usable(&self) -> bool {
        matches!(self.phase, Phase::Current | Phase::Arriving { .. })
    }

    fn replaces(&self, other: ChildId) -> bool {
        matches!(self.phase, Phase::Arriving { replaces, .. } if replaces == Some(other))
    }

    fn remove(self, core: &Core, ctx: &mut Context<'_>, why: GoneReason) {
        ctx.numbers.release(self.inbound);
        ctx.event(Event::ChildGone {
            peer: core.peer.id,
            child: self.id,
            why,
        });
    }
}

/// All pairs of an IKE SA.
#[derive(Default)]
pub(crate) struct Pairs {
    children: Vec<Child>,
    /// Inbound SPIs of ours for which the peer has made a pair that we refuse: nothing is installed,
    /// and the peer is told to delete them.
    refused: Vec<EspSpi>,
}

impl Pairs {
    pub(crate) fn details(&self) -> Vec<ChildDetails> {
        self.children
            .iter()
            .map(|child| self.details_of(child))
            .collect()
    }

    fn details_of(&self, child: &Child) -> ChildDetails {
        let replaced = self.has_successor(child.id);
        ChildDetails {
            child: child.id,
            suite: child.suite,
            inbound: child.inbound,
            outbound: child.outbound,
            since: child.since,
            phase: match child.phase {
                Phase::Arriving { .. } => ChildPhase::Arriving,
                Phase::Current => ChildPhase::Current,
                Phase::Replaced { .. } | Phase::Doomed | Phase::Draining { .. } => {
                    ChildPhase::Draining
                }
            },
            rekey_at: (child.is_usable() && !replaced)
                .then(|| child.lifetime.rekey_at.unwrap_or(child.lifetime.ends_at)),
        }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = ChildId> {
        self.children.iter().map(Child::id)
    }

    pub(crate) fn get(&self, id: ChildId) -> Option<&Child> {
        self.children.iter().find(|child| child.id == id)
    }

    fn get_mut(&mut self, id: ChildId) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.id == id)
    }

    /// The pair whose packets go out with this SPI, which is how the peer names it.
    pub(crate) fn by_outbound(&self, spi: EspSpi) -> Option<&Child> {
        self.children.iter().find(|child| child.outbound == spi)
    }

    /// Whether there are as many as one IKE SA may have.
    pub(crate) const fn is_full(&self) -> bool {
        self.children.len() >= limits::PAIRS
    }

    /// Whether this pair carries packets, or soon.
    pub(crate) fn is_usable_pair(&self, id: ChildId) -> bool {
        self.get(id).is_some_and(Child::is_usable)
    }

    /// Whether packets can be sent, or soon.
    pub(crate) fn is_usable(&self) -> bool {
        self.children.iter().any(Child::is_usable)
    }

    /// Whether an exchange of the peer's has replaced this pair already.
    pub(crate) fn has_successor(&self, id: ChildId) -> bool {
        self.children.iter().any(|child| child.replaces(id))
    }

    /// Whether the pair is one to rekey: it carries packets, and nothing has replaced it.
    pub(crate) fn needs_rekey(&self, id: ChildId) -> bool {
        self.get(id).is_some_and(Child::is_current) && !self.has_successor(id)
    }

    /// Installs the inbound half; [`confirm`](Self::confirm) follows when the peer has its own.
    pub(crate) fn arrive(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        fresh: Fresh,
        replaces: Option<ChildId>,
    ) -> ChildId {
        let child = Child::arrive(core, ctx, fresh, replaces);
        let id = child.id;
        self.children.push(child);
        id
    }

    /// The peer has the pair: packets leave on it from here on. Another one that has carried those of
    /// its slot waits for its deletion, by the peer if it is not ours to do.
    pub(crate) fn confirm(&mut self, core: &Core, ctx: &mut Context<'_>, id: ChildId) {
        let Some(child) = self.get_mut(id) else {
            return;
        };
        if !matches!(child.phase, Phase::Arriving { .. }) {
            return;
        }
        child.carried = true;
        let slot = child.slot;
        let phase = std::mem::replace(&mut child.phase, Phase::Current);
        if let Phase::Arriving { outbound, .. } = phase {
            ctx.event(Event::ChildOutbound {
                peer: core.peer.id,
                child: id,
                slot,
                keys: outbound,
            });
        }
        let others = self
            .children
            .iter()
            .filter(|other| other.is_current() && other.slot == slot && other.id != id);
        for other in others.map(Child::id).collect::<Vec<_>>() {
            self.leave_to_peer(ctx, other);
        }
    }

    /// The peer has to delete this pair, since it began the exchange that makes it needless; it has
    /// so long.
    pub(crate) fn leave_to_peer(&mut self, ctx: &Context<'_>, id: ChildId) {
        if let Some(child) = self.get_mut(id)
            && child.is_usable()
        {
            child.phase = Phase::Replaced {
                until: ctx.now + limits::DELETE_WAIT,
            };
        }
    }

    /// We delete this pair as soon as the window allows.
    pub(crate) fn doom(&mut self, id: ChildId) {
        if let Some(child) = self.get_mut(id)
            && !child.is_draining()
        {
            child.phase = Phase::Doomed;
        }
    }

    /// The peer has made a pair with this inbound SPI of ours, and we want none of it.
    pub(crate) fn refuse(&mut self, spi: EspSpi) {
        self.refused.push(spi);
    }

    /// Inbound SPIs of what we have to delete.
    pub(crate) fn to_delete(&self) -> Vec<EspSpi> {
        let doomed = self
            .children
            .iter()
            .filter(|child| matches!(child.phase, Phase::Doomed))
            .map(Child::inbound);
        doomed.chain(self.refused.iter().copied()).collect()
    }

    /// The peer has answered our Delete of these inbound SPIs.
    pub(crate) fn deleted(&mut self, core: &Core, ctx: &mut Context<'_>, inbound: &[EspSpi]) {
        for spi in inbound {
            let gone = self
                .children
                .iter()
                .find(|child| child.inbound == *spi && matches!(child.phase, Phase::Doomed));
            if let Some(id) = gone.map(Child::id) {
                self.retire(core, ctx, id);
            }
            if self.refused.contains(spi) {
                self.refused.retain(|refused| refused != spi);
                ctx.numbers.release(*spi);
            }
        }
    }

    /// The peer deletes what it receives on; the answer names the other directions, which are those
    /// that we receive on (D32, RFC 7296 §1.4.1). Pairs that we do not have are not mentioned, nor
    /// those of which our own Delete is on its way (`in_flight`).
    pub(crate) fn delete_for_peer(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        outbound: &[EspSpi],
        in_flight: &[EspSpi],
    ) -> Vec<EspSpi> {
        let mut named = Vec::new();
        for spi in outbound {
            let Some(child) = self.by_outbound(*spi).filter(|child| !child.is_draining()) else {
                continue;
            };
            if !in_flight.contains(&child.inbound) {
                named.push(child.inbound);
            }
            self.retire(core, ctx, child.id);
        }
        named
    }

    /// Neither end sends on this pair any more. What is in flight on it is still taken while another
    /// pair carries on; of those that drain in a slot, only the latest is kept.
    fn retire(&mut self, core: &Core, ctx: &mut Context<'_>, id: ChildId) {
        let successor = self.children.iter().find(|child| child.replaces(id));
        if let Some(successor) = successor.map(Child::id) {
            // Its deletion is the sign that the peer has the new one.
            self.confirm(core, ctx, successor);
        }
        let Some(child) = self.get_mut(id) else {
            return;
        };
        let (slot, carried) = (child.slot, child.carried);
        child.phase = Phase::Draining {
            until: ctx.now + limits::DRAIN,
        };
        if !self.is_usable() {
            self.remove(core, ctx, GoneReason::DeletedByPeer, |child| {
                child.is_draining()
            });
        } else if carried {
            self.remove(core, ctx, GoneReason::Rekeyed, |child| {
                child.is_draining() && child.slot == slot && child.id != id
            });
        } else {
            self.remove(core, ctx, GoneReason::Redundant, |child| child.id == id);
        }
    }

    /// What the peer does not have is of no use.
    pub(crate) fn forget(&mut self, core: &Core, ctx: &mut Context<'_>, id: ChildId) {
        self.remove(core, ctx, GoneReason::DeletedByPeer, |child| child.id == id);
    }

    /// Takes everything down.
    pub(crate) fn clear(&mut self, core: &Core, ctx: &mut Context<'_>, why: GoneReason) {
        // Draining ones first: with an older pair left, it would carry the packets.
        self.remove(core, ctx, why, Child::is_draining);
        self.remove(core, ctx, why, |_| true);
        for spi in std::mem::take(&mut self.refused) {
            ctx.numbers.release(spi);
        }
    }

    fn remove(
        &mut self,
        core: &Core,
        ctx: &mut Context<'_>,
        why: GoneReason,
        which: impl Fn(&Child) -> bool,
    ) {
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.children)
            .into_iter()
            .partition(which);
        self.children = kept;
        for child in gone {
            child.remove(core, ctx, why);
        }
    }

    /// A pair that has to be rekeyed at this moment.
    pub(crate) fn rekey_due(&self, now: Instant) -> Option<ChildId> {
        self.children
            .iter()
            .filter(|child| child.lifetime.rekey_at.is_some_and(|at| at <= now))
            .map(Child::id)
            .find(|id| self.needs_rekey(*id))
    }

    /// Rekeys the pair at that time; `None`: not again.
    pub(crate) fn set_rekey(&mut self, id: ChildId, at: Option<Instant>) {
        if let Some(child) = self.get_mut(id) {
            child.lifetime.rekey_at = at;
        }
    }

    /// Does what is due. `Err`: a pair has outlived its time without a successor.
    pub(crate) fn on_timeout(&mut self, core: &Core, ctx: &mut Context<'_>) -> Result<(), Expired> {
        let now = ctx.now;
        let arrived = self
            .children
            .iter()
            .filter(|child| matches!(child.phase, Phase::Arriving { until, .. } if until <= now));
        for id in arrived.map(Child::id).collect::<Vec<_>>() {
            self.confirm(core, ctx, id);
        }
        for child in &mut self.children {
            if matches!(child.phase, Phase::Replaced { until } if until <= now) {
                child.phase = Phase::Doomed;
            }
        }
        self.remove(
            core,
            ctx,
            GoneReason::Rekeyed,
            |child| matches!(child.phase, Phase::Draining { until } if until <= now),
        );
        let expired = |child: &Child| {
            child.is_current() && child.lifetime.ends_at <= now && !self.has_successor(child.id)
        };
        if self.children.iter().any(expired) {
            Err(Expired)
        } else {
            Ok(())
        }
    }

    /// The alarms that do not wait for the window.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let deadline = |child: &Child| {
            let (at, why) = match child.phase {
                Phase::Arriving { until, .. } => (until, Timer::Confirm),
                Phase::Current if self.has_successor(child.id) => return None,
                Phase::Current => (child.lifetime.ends_at, Timer::Lifetime),
                Phase::Replaced { until } => (until, Timer::Confirm),
                Phase::Doomed => return None,
                Phase::Draining { until } => (until, Timer::Drain),
            };
            Some(Deadline { at, why })
        };
        self.children.iter().filter_map(deadline).min()
    }

    /// When a pair is to be rekeyed, which takes an exchange.
    pub(crate) fn rekey_deadline(&self) -> Option<Instant> {
        self.children
            .iter()
            .filter(|child| self.needs_rekey(child.id))
            .filter_map(|child| child.lifetime.rekey_at)
            .min()
    }
}

/// A pair that could not be rekeyed has reached the end of its lifetime.
pub(crate) struct Expired;
