//! What a peer does by itself when its time has come, and when that is: looking whether the host still has
//! what was put there, making devices anew, asking the peer, being located, leaving.
//!
//! Not here: what each of these does in its own room ([`super::probing`], [`super::silence`], [`super::tunnel`]).

use std::time::{Duration, Instant};

use tracing::warn;

use super::{LOCATE_AGAIN, LOCATE_AGAIN_MAX, Peer, Reaction, Tunnel};
use crate::dataplane::outbound::Own;
use crate::net::netlink::Look;

/// How often it is looked whether the peer's packets have come in: as fine as liveness checks go.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

/// Signs of life in ESP packets are looked for now and then, not packet by packet.
pub(super) struct Pulse {
    listen_at: Instant,
    /// How many there were.
    authentic: u64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            listen_at: Instant::now(),
            authentic: 0,
        }
    }
}

impl Peer {
    /// Others may have taken something from the host: what could not be put back is tried again.
    pub(in crate::daemon) fn repair_at_once(&mut self) {
        self.repair_from = None;
    }

    /// Does everything that is due. `look`: it is time to look whether the host has what was put there.
    /// `heard`: when IKE last heard of the peer.
    pub(in crate::daemon) async fn do_due(
        &mut self,
        now: Instant,
        look: Option<&Look>,
        heard: Option<Instant>,
    ) -> Reaction {
        self.retire_due(now);
        self.let_go_idle().await;
        if let Some(look) = look {
            self.repair(now, look).await;
        }
        self.remake_due(now).await;
        self.ask_due(now).await;
        self.forget_old_news(now).await;
        self.probe_due(now).await;
        self.fall_back(now, heard)
    }

    /// Puts back on the host what others have taken from it.
    async fn repair(&mut self, now: Instant, look: &Look) {
        if self.repair_from.is_some_and(|from| now < from) || self.is_parting() {
            return;
        }
        self.name_silence(now);
        let stands = !self.outbound.is_empty();
        let mut repaired = Vec::new();
        let mut outcome = self.host.repair(look, &mut repaired).await;
        for tunnel in &mut self.tunnels {
            let of_tunnel = tunnel.repair(look, stands, &mut repaired).await;
            outcome = outcome.and(of_tunnel);
        }
        if !repaired.is_empty() {
            warn!(
                "{}: someone had removed {}; put back",
                self.config.name,
                repaired.join(", ")
            );
        }
        if let Err(problem) = outcome {
            self.repair_from = Some(now + LOCATE_AGAIN_MAX);
            warn!("{}: {problem}", self.config.name);
        }
    }

    /// Makes the devices anew that are gone, when it is time to.
    async fn remake_due(&mut self, now: Instant) {
        let (stands, addresses) = (!self.outbound.is_empty(), self.addresses());
        for tunnel in &mut self.tunnels {
            let Some(queues) = tunnel.remake_due(now).await else {
                continue;
            };
            if let Some(outer) = &self.outer {
                outer.link.attach(tunnel.id(), &queues);
            }
            if stands {
                tunnel.open(addresses).await;
            }
        }
    }

    /// Asks the peer in each tunnel where it is time to.
    async fn ask_due(&mut self, now: Instant) {
        let addresses = self.addresses();
        for tunnel in &mut self.tunnels {
            let request = tunnel.ask_due(now, addresses).await;
            if let Some((outer, request)) = self.outer.as_ref().zip(request) {
                outer.link.send(tunnel.id(), Own::Passenger(request));
            }
        }
    }

    /// Whether anybody wants to know of signs of life.
    const fn listens(&self) -> bool {
        self.config.dpd.is_some() && !self.outbound.is_empty()
    }

    /// Whether authentic packets have come since the last time it was looked for them, if it is time
    /// to look.
    pub(in crate::daemon) fn heard_since(&mut self, now: Instant) -> bool {
        if !self.listens() || now < self.pulse.listen_at {
            return false;
        }
        self.pulse.listen_at = now + LISTEN_EVERY;
        let authentic = self.counters().arrivals.authentic;
        std::mem::replace(&mut self.pulse.authentic, authentic) != authentic
    }

    /// To be located again, but not at once.
    pub(in crate::daemon) fn rest(&mut self, now: Instant) {
        self.locate_at = Some(now + LOCATE_AGAIN);
    }

    /// Whether it is to be located again in a while, so not at once.
    pub(in crate::daemon) const fn waits_to_be_located(&self) -> bool {
        self.locate_at.is_some()
    }

    pub(in crate::daemon) fn locate_due(&mut self, now: Instant) -> bool {
        self.locate_at.take_if(|at| *at <= now).is_some()
    }

    pub(in crate::daemon) fn farewell_due(&self, now: Instant) -> bool {
        self.farewell_at.is_some_and(|at| at <= now)
    }

    pub(in crate::daemon) fn next_alarm(&self) -> Option<Instant> {
        let listen_at = self.listens().then_some(self.pulse.listen_at);
        let alarms = [self.locate_at, self.farewell_at, listen_at];
        alarms
            .into_iter()
            .flatten()
            .chain(self.tunnels.iter().filter_map(Tunnel::next_alarm))
            .chain(self.next_probe())
            .chain(self.path_mtu.old_at())
            .chain(self.retiring.values().copied())
            .min()
    }
}
