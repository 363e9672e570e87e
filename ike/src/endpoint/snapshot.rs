//! What `status` shows of a peer.

use super::Endpoint;
use super::peer::Intent;
use crate::config::PeerId;
use crate::event::{PeerSnapshot, PeerState};
use crate::sa::IkeSa;
use crate::wire::IkeSpi;

impl Endpoint {
    pub(super) fn peer_snapshot(&self, id: PeerId) -> Option<PeerSnapshot> {
        let peer = self.peers.get(id)?;
        let established = self.established(id);
        let details = |spi: &IkeSpi| {
            let live = self.sas.get(*spi)?.serving()?;
            Some((live.details(), live.pairs().details()))
        };
        let any = |test: fn(&IkeSa) -> bool| self.sas_of(id).any(|(_, sa)| test(sa));
        let closes = |sa: &IkeSa| sa.live().is_some_and(|live| !live.serves());
        let state = if !established.is_empty() {
            PeerState::Established
        } else if any(IkeSa::is_calling) {
            PeerState::Connecting
        } else if any(closes) {
            PeerState::Closing
        } else if peer.intent == Intent::Keep {
            PeerState::Waiting
        } else {
            PeerState::Idle
        };
        Some(PeerSnapshot {
            peer: id,
            state,
            established: established
                .iter()
                .filter_map(|(spi, _)| details(spi))
                .collect(),
            heard: self.heard(id),
            last_failure: peer.last_failure.clone().filter(|_| established.is_empty()),
        })
    }
}
