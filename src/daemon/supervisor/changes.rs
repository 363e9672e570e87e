//! What others change on the host: outer packets follow the ways that there are, and what was taken of
//! ours is put back. All peers go by one look at the host: each takes long where there are many routes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use secure_gre_ike::config::PeerId;
use tracing::Instrument;

use super::Supervisor;
use crate::daemon::peer::Peer;
use crate::net::netlink::Look;
use crate::net::prefix::Prefix;

/// How often it is made sure that nobody has taken from the host what we put there.
pub(super) const REPAIR_EVERY: Duration = Duration::from_secs(2);

/// Whether any peer wants to know of a change of the routes to this prefix.
pub(super) fn heed(peers: &BTreeMap<PeerId, Peer>, prefix: Prefix) -> bool {
    peers.values().any(|served| served.heeds(prefix))
}

impl Supervisor {
    /// The host's addresses, links or routes have changed.
    pub(super) async fn on_change(&mut self) {
        let now = Instant::now();
        let addresses = self.peers.values().filter_map(Peer::addresses);
        let mut look = Look::toward(&self.netlink, addresses.map(|(_, remote)| remote));
        let ids: Vec<_> = self.peers.keys().copied().collect();
        for id in ids {
            let span = self.span(id);
            if let Some(served) = self.peers.get_mut(&id) {
                let reaction = served.follow(&mut look, now).instrument(span).await;
                self.react(id, reaction).await;
            }
        }
        self.watch.followed(now.elapsed());
    }

    /// A look at the host, if it is time to see whether it has what was put there.
    pub(super) fn look_due(&mut self, now: Instant) -> Option<Look> {
        if now < self.repair_at {
            return None;
        }
        self.repair_at = now + REPAIR_EVERY;
        Some(Look::at(&self.netlink))
    }

    /// Others may have taken something from the host: all look at once.
    pub(super) fn repair_at_once(&mut self) {
        self.repair_at = Instant::now();
        self.peers.values_mut().for_each(Peer::repair_at_once);
    }
}
