//! What follows from the news of one SA for a peer's others, and for whether it is called again.

use std::time::{Duration, Instant};

use rand_core::Rng;

use super::Endpoint;
use super::peer::Intent;
use crate::config::{OnFailure, PeerId};
use crate::error::Failure;
use crate::event::{Event, GoneReason, Output};
use crate::limits;
use crate::retransmit::reconnect_wait;
use crate::sa::{IkeSa, State, Step};
use crate::wire::IkeSpi;

impl Endpoint {
    pub(super) fn on_established(
        &mut self,
        now: Instant,
        id: PeerId,
        spi: IkeSpi,
        initial_contact: bool,
    ) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        peer.succeeded();
        let unwanted = peer.intent == Intent::Leave;
        self.peers.call_at(id, None);
        if unwanted {
            return self.step(now, spi, |sa, ctx| sa.close(ctx, GoneReason::Disconnected));
        }
        if initial_contact {
            self.replace_older(now, id, spi);
        }
        // An attempt that the peer has not authenticated is not needed any more; the peer's half of
        // it is half-open and expires.
        for other in self.spis_of(id) {
            self.step(now, other, |sa, _| match sa.state {
                State::InitSent(_) | State::IntermediateSent(_) => Step::end(None),
                _ => Step::stay(sa.core, sa.state),
            });
        }
        self.weigh(now, id);
        self.evict(now, id);
    }

    /// INITIAL_CONTACT (D39): whoever sent it has no other SA with us; one with another identity may.
    /// SAs that were being set up when this one began are none of those that it has forgotten.
    fn replace_older(&mut self, now: Instant, peer: PeerId, newcomer: IkeSpi) {
        let identities = |spi: &IkeSpi| {
            let details = self.sas.get(*spi)?.serving()?.agreed();
            Some((details.local_id.clone(), details.remote_id.clone()))
        };
        let Some(begun) = self.sas.get(newcomer).map(|sa| sa.core.begun) else {
            return;
        };
        let who = identities(&newcomer);
        let forgotten: Vec<_> = self
            .established(peer)
            .into_iter()
            .filter(|(spi, since)| *spi != newcomer && *since < begun && identities(spi) == who)
            .collect();
        for (spi, _) in forgotten {
            self.forget(now, spi, GoneReason::Replaced);
        }
    }

    /// More than one SA stands: each has to show that the peer still has it. One of which it lost its
    /// half (a reboot in the middle of a handshake) gets no answer and is forgotten; what follows
    /// from an answer is in [`on_alive`](Self::on_alive).
    fn weigh(&mut self, now: Instant, peer: PeerId) {
        let established = self.established(peer);
        if established.len() < 2 {
            return;
        }
        for (spi, _) in established {
            self.with_live(now, spi, |live, core, ctx| live.check_liveness(core, ctx));
        }
    }

    /// Two ends that initiated at once have two IKE SAs. Both reach the same verdict alone: the one
    /// whose exchange holds the lowest nonce goes, taken down by its initiator (the rule of RFC 7296
    /// §2.8.1). That waits for an answer on another, because a foreign peer may hold by another rule
    /// and have taken that one down.
    pub(super) fn on_alive(&mut self, now: Instant, peer: PeerId, alive: IkeSpi) {
        let redundant = self
            .sas_of(peer)
            .filter_map(|(spi, sa)| Some((sa.serving()?.lowest_nonce(), spi, sa.core.initiated)))
            .min()
            .filter(|(_, spi, ours)| *ours && *spi != alive)
            .map(|(_, spi, _)| spi);
        if let Some(redundant) = redundant {
            self.step(now, redundant, |sa, ctx| {
                sa.close(ctx, GoneReason::Redundant)
            });
            self.weigh(now, peer);
        }
    }

    /// SAs that a peer sets up one after the other, without ever deleting one, are bounded.
    fn evict(&mut self, now: Instant, peer: PeerId) {
        let established = self.established(peer);
        let surplus = established.len().saturating_sub(limits::SAS_PER_PEER);
        for (spi, _) in established.into_iter().take(surplus) {
            self.step(now, spi, |sa, ctx| sa.close(ctx, GoneReason::Replaced));
        }
    }

    /// So are those that have ended and only wait for a repetition.
    pub(super) fn bound_ended(&mut self, now: Instant, owner: Option<PeerId>) {
        let mut ended: Vec<_> = self
            .sas
            .of(owner)
            .filter(|(_, sa)| sa.is_ending())
            .map(|(spi, sa)| (sa.core.begun, spi))
            .collect();
        ended.sort();
        let surplus = ended.len().saturating_sub(limits::ENDED_SAS_PER_PEER);
        for (_, spi) in ended.into_iter().take(surplus) {
            self.step(now, spi, IkeSa::abandon);
        }
    }

    /// Takes an SA down without a word to the peer, which has none of it.
    fn forget(&mut self, now: Instant, spi: IkeSpi, why: GoneReason) {
        self.step(now, spi, |sa, ctx| match sa.state {
            State::Established(live) => live.forget(&sa.core, ctx, why),
            state => Step::stay(sa.core, state),
        });
    }

    pub(super) fn on_failed(&mut self, now: Instant, id: PeerId, failure: Failure) {
        let stands = !self.established(id).is_empty();
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        // Crossing attempts: the other one has made it.
        if stands || peer.intent != Intent::Keep {
            return;
        }
        peer.failures = peer.failures.saturating_add(1);
        peer.last_failure = Some(failure.clone());
        let retry_in = match peer.config.on_failure {
            OnFailure::Retry => Some(reconnect_wait(peer.failures, self.outside.rng.next_u32())),
            OnFailure::Exit => {
                peer.intent = Intent::Answer;
                None
            }
        };
        self.peers.call_at(id, retry_in.map(|wait| now + wait));
        let event = Event::AttemptFailed {
            peer: id,
            failure,
            retry_in,
        };
        self.outside.output.push_back(Output::Event(event));
    }

    pub(super) fn on_down(&mut self, now: Instant, id: PeerId, why: GoneReason) {
        let last = self.established(id).is_empty();
        let event = Event::IkeDown {
            peer: id,
            why,
            last,
        };
        self.outside.output.push_back(Output::Event(event));
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if last && peer.intent == Intent::Keep {
            // A lifetime has no fault that a pause would mend.
            let wait = match why {
                GoneReason::Expired => Duration::ZERO,
                _ => reconnect_wait(1, self.outside.rng.next_u32()),
            };
            self.peers.call_at(id, Some(now + wait));
        }
        // The one that has gone may have hidden the verdict on the others: an SA of which the peer
        // lost its half is in no nonce comparison of the peer's.
        self.weigh(now, id);
    }

    pub(super) fn tell_refusal(&mut self, now: Instant, id: PeerId, failure: Failure) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if peer.refusals.may_tell(now) {
            peer.last_failure = Some(failure.clone());
            let event = Event::Refused { peer: id, failure };
            self.outside.output.push_back(Output::Event(event));
        }
    }

    /// Once after a disconnect: when nothing of the peer's is left that needs an exchange.
    pub(super) fn tell_disconnected(&mut self, id: PeerId) {
        let busy = self
            .sas_of(id)
            .any(|(_, sa)| !matches!(sa.state, State::Closed(_)));
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if peer.intent == Intent::Leave && !busy && !peer.disconnect_told {
            peer.disconnect_told = true;
            self.outside
                .output
                .push_back(Output::Event(Event::Disconnected { peer: id }));
        }
    }
}
