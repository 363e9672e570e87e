//! What `status` shows of a peer.

use super::Endpoint;
use super::peer::Intent;
use crate::config::PeerId;
use crate::event::{PeerSnapshot, PeerState};
use crate::sa::State;
use crate::sa::child::Child;
use crate::wire::IkeSpi;

impl Endpoint {
    pub(super) fn peer_snapshot(&self, id: PeerId) -> Option<PeerSnapshot> {
        let peer = self.peers.get(&id)?;
        let established = self.established(id);
        let details = |spi: &IkeSpi| {
            let live = self.sas.get(spi)?.live()?;
            Some((
                live.details().clone(),
                live.children().iter().map(Child::details).collect(),
            ))
        };
        let any = |test: fn(&State) -> bool| self.sas_of(id).any(|(_, sa)| test(&sa.state));
        let state = if !established.is_empty() {
            PeerState::Established
        } else if any(|state| matches!(state, State::InitSent(_) | State::AuthSent(_))) {
            PeerState::Connecting
        } else if any(|state| matches!(state, State::Closing(_))) {
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
            last_failure: peer.last_failure.clone().filter(|_| established.is_empty()),
        })
    }
}
