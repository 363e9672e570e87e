//! The IKE SAs of an endpoint and the ways to find them: by our SPI, by peer, by pair, by what is due
//! next. An SA that takes a step is out of here while it does, so that every index is of what is true.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::config::PeerId;
use crate::event::{ChildId, Deadline};
use crate::sa::IkeSa;
use crate::sa::live::Live;
use crate::wire::IkeSpi;

/// See the module.
#[derive(Default)]
pub(super) struct Sas {
    /// By our SPI.
    by_spi: BTreeMap<IkeSpi, IkeSa>,
    /// Strangers' under `None`.
    by_owner: BTreeSet<(Option<PeerId>, IkeSpi)>,
    by_child: BTreeMap<ChildId, IkeSpi>,
    by_deadline: BTreeSet<(Deadline, IkeSpi)>,
}

impl Sas {
    /// Puts one in that is not here.
    pub(super) fn put(&mut self, sa: IkeSa) {
        let spi = sa.core.our_spi();
        self.by_owner.insert((sa.core.owner, spi));
        self.by_child
            .extend(children(&sa).map(|child| (child, spi)));
        self.by_deadline
            .extend(sa.deadline().map(|deadline| (deadline, spi)));
        self.by_spi.insert(spi, sa);
    }

    /// Takes one out.
    pub(super) fn take(&mut self, spi: IkeSpi) -> Option<IkeSa> {
        let sa = self.by_spi.remove(&spi)?;
        self.by_owner.remove(&(sa.core.owner, spi));
        for child in children(&sa) {
            self.by_child.remove(&child);
        }
        if let Some(deadline) = sa.deadline() {
            self.by_deadline.remove(&(deadline, spi));
        }
        Some(sa)
    }

    pub(super) fn get(&self, spi: IkeSpi) -> Option<&IkeSa> {
        self.by_spi.get(&spi)
    }

    pub(super) fn contains(&self, spi: IkeSpi) -> bool {
        self.by_spi.contains_key(&spi)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_spi.is_empty()
    }

    /// Those with this peer, or with strangers, by their SPIs.
    pub(super) fn of(&self, owner: Option<PeerId>) -> impl Iterator<Item = (IkeSpi, &IkeSa)> {
        let bounds = (owner, IkeSpi(0))..=(owner, IkeSpi(u64::MAX));
        let spis = self.by_owner.range(bounds).map(|(_, spi)| *spi);
        spis.filter_map(|spi| Some((spi, self.get(spi)?)))
    }

    /// The one that has this pair.
    pub(super) fn with_child(&self, child: ChildId) -> Option<IkeSpi> {
        self.by_child.get(&child).copied()
    }

    /// What is due next.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// Those for which something is due, in the order of that.
    pub(super) fn due(&self, now: Instant) -> Vec<IkeSpi> {
        let due = self.by_deadline.iter();
        let due = due.take_while(|(deadline, _)| deadline.at <= now);
        due.map(|(_, spi)| *spi).collect()
    }
}

fn children(sa: &IkeSa) -> impl Iterator<Item = ChildId> {
    sa.live()
        .into_iter()
        .flat_map(|live| Live::pairs(live).ids())
}
