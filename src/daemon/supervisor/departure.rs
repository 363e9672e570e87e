//! How a peer is let go of: its SAs deleted, what was done for it on the host undone, whoever waits told.

use std::time::Instant;

use secure_gre_ike::config::PeerId;
use secure_gre_ike::event::Command;
use tracing::{Instrument, info};

use super::{FAREWELL, Life, Supervisor};

/// Why a peer is served no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Departure {
    /// Someone asked for it.
    Asked,
    /// It did not come up for someone who waits for just that.
    Failed(String),
    /// `on-failure = "exit"`: nobody said that its packets may go elsewhere.
    GaveUp(String),
}

impl Departure {
    pub(super) fn problem(self) -> Option<String> {
        match self {
            Self::Asked => None,
            Self::Failed(problem) | Self::GaveUp(problem) => Some(problem),
        }
    }
}

impl Supervisor {
    /// Ctrl-C, or SIGTERM. The first one is meant for the peer that this process was started for:
    /// others belong to whoever brought them.
    pub(super) async fn on_interrupt(&mut self) {
        let own = std::mem::take(&mut self.own);
        let (own, others): (Vec<_>, Vec<_>) = self.peers.keys().partition(|id| own.contains(id));
        if !own.is_empty() && !others.is_empty() {
            for peer in own {
                self.stop(peer).await;
            }
            let names = others.iter().filter_map(|id| self.peers.get(id));
            let names: Vec<_> = names.map(|served| served.name()).collect();
            return info!(
                "still serving {}; Ctrl-C again takes that down too",
                names.join(", ")
            );
        }
        self.life = Life::Ending;
        self.stop_all().await;
    }

    pub(super) async fn stop_all(&mut self) {
        let ids: Vec<_> = self.peers.keys().copied().collect();
        for id in ids {
            self.stop(id).await;
        }
    }

    /// Deletes a peer's SAs; the rest follows when it has answered, or has had its time to.
    pub(super) async fn stop(&mut self, peer: PeerId) {
        let now = Instant::now();
        let span = self.span(peer);
        let Some(served) = self.peers.get_mut(&peer) else {
            return;
        };
        if served.part(now + FAREWELL) {
            span.in_scope(|| info!("{}: going down", served.name()));
            self.command(now, Command::Disconnect { peer }).await;
        }
    }

    /// Undoes what was done for a peer, and forgets it.
    pub(super) async fn finish(&mut self, peer: PeerId, why: Departure) {
        let Some(served) = self.peers.remove(&peer) else {
            return;
        };
        let (name, span) = (served.name().to_owned(), served.span().clone());
        let hub = served.config().hub.clone();
        self.forget(peer);
        self.bound_half_open();
        match why {
            Departure::Asked | Departure::Failed(_) => served.lower().instrument(span).await,
            Departure::GaveUp(_) => served.abandon().instrument(span).await,
        }
        let problem = why.problem();
        if self.own.contains(&peer) {
            self.gave_up.clone_from(&problem);
        }
        self.tell_gone(peer, (hub.as_deref(), &name), problem);
    }
}
