//! A peer's SAs: handed to the packet workers, and what their coming and going does to the routes.

use std::ops::RangeInclusive;
use std::time::Instant;

use secure_gre_esp as esp;
use secure_gre_ike::event::{ChildId, ChildKeys, EspSpi, GoneReason};
use secure_gre_ike::limits::DRAIN;
use tracing::{debug, error, info, warn};

use super::silence::Beginning;
use super::{Outer, Peer, Reaction, RekeyTrial, Tunnel};
use crate::daemon::install;
use crate::dataplane::SaId;

/// The thousandths of a limit after which a pair is rekeyed, from and to: about three quarters (D42),
/// chosen at random so that both ends seldom do it at once.
const SOFT_PER_MILLE: RangeInclusive<u16> = 700..=800;

impl Peer {
    /// The peer is about to hear of this inbound SPI.
    pub(in crate::daemon) fn expect(&self, spi: EspSpi) {
        if let (Some(outer), Ok(spi)) = (&self.outer, install::spi(spi)) {
            outer.link.expect_inbound(spi);
        }
    }

    /// Nothing has become of it.
    pub(in crate::daemon) fn expect_no_more(&self, spi: EspSpi) {
        if let (Some(outer), Ok(spi)) = (&self.outer, install::spi(spi)) {
            outer.link.expect_inbound_no_more(spi);
        }
    }

    /// Whether there is somebody to open the packets of this SA.
    #[must_use]
    pub(in crate::daemon) fn install_inbound(&mut self, child: ChildId, keys: &ChildKeys) -> bool {
        let Some(outer) = &mut self.outer else {
            return false;
        };
        match install::inbound(keys, self.config.replay_window_packets) {
            Ok(sa) => {
                let fresh = std::mem::take(&mut self.begun_anew);
                outer.inbound.push((child, sa.spi()));
                outer.link.install_inbound(SaId(child.0), sa, fresh);
                true
            }
            Err(problem) => {
                error!("{}: inbound SA not installed: {problem}", self.name());
                false
            }
        }
    }

    /// Whether there is somebody to seal packets with this SA.
    #[must_use]
    pub(in crate::daemon) async fn install_outbound(
        &mut self,
        child: ChildId,
        keys: &ChildKeys,
    ) -> bool {
        let Some(outer) = &mut self.outer else {
            return false;
        };
        let limits = esp::Limits {
            packets: self.config.child_packets,
            bytes: self.config.child_bytes,
            soft_per_mille: rand::random_range(SOFT_PER_MILLE),
        };
        match install::outbound(keys, limits) {
            Ok(sa) => {
                let sa = outer.link.install_outbound(SaId(child.0), sa);
                outer.outbound.push((child, sa));
            }
            Err(problem) => {
                error!("{}: outbound SA not installed: {problem}", self.name());
                return false;
            }
        }
        self.outbound.push(child);
        self.cipher = Some(keys.suite.cipher);
        self.follow_path_mtu().await;
        self.advised = None;
        self.trouble = None;
        self.tried.clear();
        self.stands_in_udp();
        if self.outbound.len() == 1 {
            self.begun = Some(Beginning::new(&self.counters()));
            self.carries(keys).await;
        } else {
            debug!("{}: packets leave on the new pair", self.name());
        }
        true
    }

    /// A pair has reached a soft limit, or a hard one: then nothing leaves until it has a successor.
    pub(super) fn used_up(&mut self, child: ChildId, exhausted: bool) -> Reaction {
        if exhausted {
            warn!(
                "{}: an SA has reached a limit, so that packets are dropped until it is rekeyed",
                self.name()
            );
            self.exhausted = Some(child);
        } else {
            info!("{}: an SA is near a limit: rekeying it", self.name());
        }
        Reaction::Rekey(child)
    }

    /// A rekey has failed. `false`: of a pair that cannot send any more, so that its IKE SA is of no
    /// use.
    #[must_use]
    pub(in crate::daemon) fn can_do_without_rekey(&mut self, child: Option<ChildId>) -> bool {
        child.is_none() || self.exhausted.take_if(|id| Some(*id) == child).is_none()
    }

    /// The first pair is to be rekeyed at once.
    pub(in crate::daemon) fn plan_rekey_trial(&mut self) {
        self.rekey_trial = RekeyTrial::Planned;
    }

    /// A pair stands: whether it is the one to be rekeyed.
    pub(in crate::daemon) fn begins_rekey_trial(&mut self) -> bool {
        let begins = self.rekey_trial == RekeyTrial::Planned;
        if begins {
            self.rekey_trial = RekeyTrial::Running;
        }
        begins
    }

    /// A rekey has come to its end: whether it was the one on trial.
    pub(in crate::daemon) fn ends_rekey_trial(&mut self) -> bool {
        let ends = self.rekey_trial == RekeyTrial::Running;
        if ends {
            self.rekey_trial = RekeyTrial::None;
        }
        ends
    }

    /// The first pair stands: routes lead into the tunnels.
    async fn carries(&mut self, keys: &ChildKeys) {
        let now = Instant::now();
        for tunnel in &mut self.tunnels {
            tunnel.begin_to_ask(now);
        }
        self.begin_to_probe(now);
        self.open().await;
        let each: Vec<_> = self.tunnels.iter().map(Tunnel::described).collect();
        info!(
            "{}: tunnel up on {}: ESP {} in transport mode{}, {}",
            self.name(),
            self.devices_named(),
            keys.suite,
            self.in_udp(),
            each.join("; "),
        );
    }

    fn devices_named(&self) -> String {
        let names = self.tunnels.iter().map(|tunnel| tunnel.device().name());
        names.collect::<Vec<_>>().join(", ")
    }

    /// What there is to say of the wire.
    fn in_udp(&self) -> &'static str {
        match &self.outer {
            Some(outer) if outer.wire.overhead().udp > 0 => ", in UDP",
            _ => "",
        }
    }

    /// A pair is gone: nothing is sent on it any more; what the peer has sent is still taken for a
    /// while, unless we are leaving.
    pub(in crate::daemon) async fn remove(
        &mut self,
        child: ChildId,
        why: GoneReason,
        now: Instant,
    ) {
        // Without a link, the pair went with its workers.
        if let Some(outer) = &mut self.outer {
            outer.remove_outbound(child);
            // What was in flight on a pair with a successor has had its time.
            if matches!(why, GoneReason::Disconnected | GoneReason::Rekeyed) {
                outer.remove_inbound(child);
            } else {
                self.retiring.insert(child, now + DRAIN);
            }
        }
        let carried = !self.outbound.is_empty();
        self.outbound.retain(|id| *id != child);
        self.exhausted.take_if(|id| *id == child);
        if carried && self.outbound.is_empty() {
            self.tunnels.iter_mut().for_each(Tunnel::stop_asking);
            self.probing = None;
            self.close().await;
            info!("{}: tunnel down: its routes are withdrawn", self.name());
        }
    }

    /// Lets go of inbound SAs whose time is over.
    pub(super) fn retire_due(&mut self, now: Instant) {
        let due: Vec<_> = self
            .retiring
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(child, _)| *child)
            .collect();
        for child in due {
            self.retiring.remove(&child);
            if let Some(outer) = &mut self.outer {
                outer.remove_inbound(child);
            }
        }
    }
}

impl Outer {
    fn remove_inbound(&mut self, child: ChildId) {
        self.inbound.retain(|(id, _)| *id != child);
        self.link.remove_inbound(SaId(child.0));
    }

    fn remove_outbound(&mut self, child: ChildId) {
        self.outbound.retain(|(id, _)| *id != child);
        self.link.remove_outbound(SaId(child.0));
    }
}
