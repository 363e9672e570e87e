//! GRE keepalives of one tunnel: asking the peer while SAs stand, and what follows from silence and
//! from answers. The state is [`Prober`]'s.

use std::time::Instant;

use secure_gre_gre::keepalive::{self, Due, Ends, Packet, Prober};
use tracing::{error, info, warn};

use super::Peer;
use crate::control::protocol::Keepalive;
use crate::dataplane::outbound::Own;
use crate::net::outer::Path as OuterPath;
use crate::net::prefix::Prefix;

impl Peer {
    /// By which addresses a keepalive on `path` may name us and the peer.
    pub(super) fn keepalive_ends(&self, path: OuterPath) -> Ends {
        let tunnel = &self.config.tunnel;
        let ours = tunnel.addresses.iter().map(Prefix::addr);
        let theirs = tunnel.peer_address;
        Ends {
            ours: ours.chain([path.local.ip()]).collect(),
            theirs: theirs.into_iter().chain([path.remote.ip()]).collect(),
        }
    }

    /// The first pair stands: the peer is taken for alive, and asked.
    pub(super) fn begin_to_ask(&mut self, now: Instant) {
        let interval = self.config.tunnel.keepalive;
        self.prober = interval.map(|interval| Prober::new(interval, now));
    }

    /// Whether packets go through, as far as anybody knows.
    pub(super) fn is_usable(&self) -> bool {
        !self.outbound.is_empty() && self.prober.as_ref().is_none_or(Prober::is_alive)
    }

    /// What `status` shows; `None`: the peer is not asked.
    pub(in crate::daemon) fn keepalive(&self) -> Option<Keepalive> {
        let prober = self.prober.as_ref()?;
        Some(match prober.is_alive() {
            true => Keepalive::Alive,
            false => Keepalive::Dead,
        })
    }

    /// Asks the peer, when it is time to.
    pub(in crate::daemon) async fn ask_due(&mut self, now: Instant) {
        let due = match &mut self.prober {
            Some(prober) => prober.poll(now),
            None => return,
        };
        if due == Due::Nothing {
            return;
        }
        let key = self.config.tunnel.gre.key;
        let request = self
            .addresses()
            .and_then(|(local, remote)| keepalive::request(local, remote, key));
        if let (Some(outer), Some(request)) = (&self.link, request) {
            outer.link.send(Own::Passenger(request));
        }
        if due == Due::Dead {
            warn!(
                "{}: the peer does not answer GRE keepalives: routes are unreachable",
                self.name()
            );
            self.close().await;
        }
    }

    /// The peer asks.
    pub(super) fn answer(&self, answer: Packet) {
        if let Some(outer) = &self.link {
            outer.link.send(Own::Gre(answer));
        }
    }

    /// The peer has answered.
    pub(super) async fn on_answer(&mut self) {
        if self.prober.as_mut().is_some_and(Prober::answered) {
            info!("{}: the peer answers GRE keepalives again", self.name());
            self.open().await;
        }
    }

    /// Routes lead into the tunnel.
    pub(super) async fn open(&mut self) {
        if let Err(problem) = self.host.open().await {
            error!("{}: the routes are not all usable: {problem}", self.name());
        }
        self.tell_hooks(true);
    }

    /// They don't any more.
    pub(super) async fn close(&mut self) {
        if let Err(problem) = self.host.close().await {
            error!("{}: the routes are not all closed: {problem}", self.name());
        }
        self.tell_hooks(false);
    }
}
