//! Callers from an address that is no peer's, while there are peers who may call from anywhere: on
//! whose terms they are met, and what is told of those who turn out to be nobody that we know. Who they
//! are is found in `sa::auth`, by the [`roster`](crate::roster).

use std::sync::Arc;
use std::time::Instant;

use super::Endpoint;
use super::peer::Intent;
use crate::config::{PeerConfig, PeerId, Remote, UdpEncapsulation};
use crate::error::Failure;
use crate::event::{Event, Output, Path};

/// Who calls, as far as the address tells, and on what terms it is met.
pub(super) struct Met {
    /// `None`: a stranger.
    pub(super) owner: Option<PeerId>,
    pub(super) terms: Arc<PeerConfig>,
    /// When ESP is to travel in UDP.
    pub(super) wanted: UdpEncapsulation,
}

impl Endpoint {
    /// Puts the peer on the roster, or takes it off, as it may call from anywhere or not.
    pub(super) fn enrol(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(id) else {
            return;
        };
        if peer.remote == Remote::Anywhere && peer.intent != Intent::Leave {
            self.outside.roster.enter(&peer.config);
        } else {
            self.outside.roster.strike(&peer.config);
        }
    }

    /// Whether a call from there is answered at all.
    pub(super) fn is_answered(&self, path: Path) -> bool {
        !self.outside.roster.is_empty() || self.peers.at(path.remote.ip()).is_some()
    }

    /// Whoever calls from there; `None`: somebody who is not answered.
    pub(super) fn meet(&mut self, path: Path) -> Option<Met> {
        if let Some(id) = self.peers.at(path.remote.ip()) {
            let known = self.peers.get(id)?;
            return Some(Met {
                owner: Some(id),
                terms: Arc::clone(&known.config),
                wanted: known.encapsulation,
            });
        }
        let terms = self.outside.roster.terms(self.outside.rng.as_mut())?;
        Some(Met {
            owner: None,
            wanted: terms.encapsulation,
            terms,
        })
    }

    /// An attempt was refused; of a peer, or of a stranger.
    pub(super) fn tell_refusal_of(
        &mut self,
        now: Instant,
        owner: Option<PeerId>,
        path: Path,
        failure: Failure,
    ) {
        match owner {
            Some(peer) => self.tell_refusal(now, peer, failure),
            None if self.stranger_refusals.may_tell(now) => {
                let event = Event::StrangerRefused { path, failure };
                self.outside.output.push_back(Output::Event(event));
            }
            None => {}
        }
    }
}
