//! IKE SAs that come from rekeying others (RFC 7296 §2.8.2): the old one decides which heir has its
//! pairs; here the heirs hear of it.

use std::time::Instant;

use super::Endpoint;
use crate::config::PeerId;
use crate::event::GoneReason;
use crate::sa::live::{Duty, Live};
use crate::sa::{IkeSa, Succession};
use crate::wire::IkeSpi;

impl Endpoint {
    pub(super) fn succeed(&mut self, now: Instant, succession: Succession) {
        let Succession { born, rival } = succession;
        if let Some(born) = born {
            self.sas.put(*born);
        }
        if let Some((spi, verdict)) = rival {
            self.step(now, spi, |sa, ctx| sa.judge(ctx, verdict));
        }
    }

    /// An heir that waits for a verdict and the SA that will give it know of each other, or neither
    /// goes on: the heir of what we have ended ends too, and what has lost its heir expects none.
    pub(super) fn mind_heirs(&mut self, now: Instant, peer: PeerId) {
        let waits = |sa: &IkeSa| sa.live().is_some_and(|live| live.duty() == Duty::StandBy);
        let waiting: Vec<_> = self
            .sas_of(peer)
            .filter_map(|(spi, sa)| waits(sa).then_some(spi))
            .collect();
        let expecting: Vec<(IkeSpi, IkeSpi)> = self
            .sas_of(peer)
            .filter_map(|(spi, sa)| Some((spi, sa.serving()?.rival()?)))
            .collect();
        for (spi, heir) in &expecting {
            if !waiting.contains(heir) {
                self.with_live(now, *spi, |live, _, _| Live::forget_rival(live));
            }
        }
        for heir in waiting {
            if !expecting.iter().any(|(_, expected)| *expected == heir) {
                self.step(now, heir, |sa, ctx| sa.close(ctx, GoneReason::Redundant));
            }
        }
    }
}
