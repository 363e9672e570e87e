//! What an endpoint remembers of a peer between SAs: whether it is wanted, how often calling it has
//! failed, when to call again.

use std::sync::Arc;
use std::time::Instant;

use crate::config::{PeerConfig, Remote, UdpEncapsulation};
use crate::error::Failure;
use crate::limits;

/// What the caller wants of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// Answer it; do not call.
    Answer,
    /// Have an SA with it, and call again whenever that is gone.
    Keep,
    /// Have none, and take none.
    Leave,
}

/// A peer of the configuration.
pub(super) struct Peer {
    pub(super) config: Arc<PeerConfig>,
    /// From where it may call; [`Peers::locate`](super::peers::Peers::locate) changes it.
    pub(super) remote: Remote,
    pub(super) intent: Intent,
    /// When ESP under its next SA travels in UDP.
    pub(super) encapsulation: UdpEncapsulation,
    /// Failed attempts since the last SA.
    pub(super) failures: u32,
    /// When it is to be called; [`Peers::call_at`](super::peers::Peers::call_at) changes it.
    pub(super) call_at: Option<Instant>,
    pub(super) last_failure: Option<Failure>,
    /// [`Event::Disconnected`](crate::event::Event::Disconnected) was given since the last
    /// disconnect.
    pub(super) disconnect_told: bool,
    pub(super) refusals: RefusalNews,
}

impl Peer {
    pub(super) fn new(config: Arc<PeerConfig>) -> Self {
        Self {
            encapsulation: config.encapsulation,
            config,
            remote: Remote::At(Vec::new()),
            intent: Intent::Answer,
            failures: 0,
            call_at: None,
            last_failure: None,
            disconnect_told: false,
            refusals: RefusalNews::default(),
        }
    }

    /// Its next SAs put ESP into UDP in any case, or as the configuration has it.
    pub(super) fn force_udp(&mut self, force: bool) {
        self.encapsulation = if force {
            UdpEncapsulation::Always
        } else {
            self.config.encapsulation
        };
    }

    /// An SA stands.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.last_failure = None;
    }
}

/// Refusals of others' attempts: anybody can cause one, so it is enough to tell one once in a while.
#[derive(Default)]
pub(super) struct RefusalNews {
    told_at: Option<Instant>,
}

impl RefusalNews {
    /// Whether it is time for another.
    pub(super) fn may_tell(&mut self, now: Instant) -> bool {
        let told_at = self.told_at;
        let silent =
            told_at.is_some_and(|told| now.saturating_duration_since(told) < limits::REFUSAL_NEWS);
        if !silent {
            self.told_at = Some(now);
        }
        !silent
    }
}
