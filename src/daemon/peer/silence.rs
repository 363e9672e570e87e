//! ESP that gets no answer where IKE does: clouds, and firewalls that know UDP only, drop IP protocol 50
//! (PAINS 22). It is named; with `encapsulation = "auto"`, once the peer has shown by IKE that it is
//! there, the next SA puts ESP into UDP. The SA that stands never changes its encapsulation, and
//! there is one such attempt in a peer's life, so that nothing flaps.

use std::time::{Duration, Instant};

use secure_gre_ike::config::UdpEncapsulation;
use tracing::warn;

use super::{Peer, Reaction};
use crate::dataplane::LinkCounters;

/// How many ESP packets, and how long after the first pair, have to have gone unanswered before that
/// is remarkable: a peer may have nothing to send.
const UNANSWERED_PACKETS: u64 = 10;
const UNANSWERED_FOR: Duration = Duration::from_secs(10);

/// What had been counted when the first pair came to stand.
pub(super) struct Beginning {
    at: Instant,
    sent: u64,
    authentic: u64,
    said: bool,
}

impl Beginning {
    pub(super) fn new(counters: &LinkCounters) -> Self {
        Self {
            at: Instant::now(),
            sent: counters.sent(),
            authentic: counters.arrivals.authentic,
            said: false,
        }
    }
}

/// Whether the next SAs put ESP into UDP because nothing came back without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Fallback {
    /// There was no reason to.
    #[default]
    None,
    /// The peer was asked by IKE whether it is there.
    Asked(Instant),
    /// They do. `stood`: at least one of them has come to stand.
    InUdp { stood: bool },
    /// They did, and none came to stand.
    InVain,
}

/// What went without an answer.
struct Unanswered {
    packets: u64,
    waited: Duration,
}

impl Peer {
    /// Whether UDP is tried by itself. Not for one that may call from anywhere: IKE_SA_INIT, which decides
    /// on UDP, is over before it has said who it is.
    fn falls_back(&self) -> bool {
        self.config.encapsulation == UdpEncapsulation::Auto && !self.calls_from_anywhere()
    }

    /// What is to be done about ESP without an answer. `heard`: when IKE last heard of the peer.
    pub(super) fn fall_back(&mut self, now: Instant, heard: Option<Instant>) -> Reaction {
        if !self.falls_back() || self.is_parting() {
            return Reaction::None;
        }
        let Some(Unanswered { packets, waited }) = self.unanswered(now) else {
            return Reaction::None;
        };
        match self.fallback {
            Fallback::None => {
                self.fallback = Fallback::Asked(now);
                Reaction::CheckLiveness
            }
            Fallback::Asked(at) if heard.is_some_and(|heard| heard > at) => {
                self.fallback = Fallback::InUdp { stood: false };
                let renew = self.initiates();
                let follows = if renew {
                    "a new IKE SA is set up that puts ESP into UDP"
                } else {
                    "the next IKE SA that the peer sets up will put ESP into UDP"
                };
                warn!(
                    "{}: IKE works, but of ESP {packets} packets were sent and none was received for {} \
                     s, as if IP protocol 50 were dropped on the way: {follows}; to have that from the \
                     start, set peer.encapsulation = \"always\"",
                    self.name(),
                    waited.as_secs()
                );
                Reaction::InUdp { renew }
            }
            Fallback::Asked(_) | Fallback::InUdp { .. } | Fallback::InVain => Reaction::None,
        }
    }

    /// A pair stands.
    pub(super) fn stands_in_udp(&mut self) {
        if let Fallback::InUdp { stood } = &mut self.fallback {
            *stood = true;
        }
    }

    /// An attempt has failed. `true`: it was to put ESP into UDP after ESP without had got no answer,
    /// and UDP does not get through either, so that SAs are as the file has them again.
    #[must_use]
    pub(in crate::daemon) fn ends_fallback(&mut self) -> bool {
        let ends = self.fallback == (Fallback::InUdp { stood: false });
        if ends {
            self.fallback = Fallback::InVain;
            warn!(
                "{}: ESP in UDP could not be set up either; it is not tried again",
                self.name()
            );
        }
        ends
    }

    /// What `status` has to say of ESP without an answer.
    pub(in crate::daemon) fn silence(&self, now: Instant) -> Option<String> {
        self.unanswered(now).as_ref().map(describe)
    }

    /// Says once that ESP leaves and none comes, if that is so and nothing follows from it by itself.
    pub(super) fn name_silence(&mut self, now: Instant) {
        let named = !self.falls_back();
        let Some(unanswered) = self.unanswered(now).filter(|_| named) else {
            return;
        };
        let begun = self.begun.as_mut();
        if begun.is_some_and(|begun| !std::mem::replace(&mut begun.said, true)) {
            warn!("{}: {}", self.name(), describe(&unanswered));
        }
    }

    /// What a firewall that knows IKE, but not protocol 50, makes of a tunnel. Where ESP travels in
    /// UDP, IKE goes the same way, and its silence is noticed.
    fn unanswered(&self, now: Instant) -> Option<Unanswered> {
        let begun = self.begun.as_ref().filter(|_| !self.outbound.is_empty())?;
        let native = self.outer.as_ref()?.wire.overhead().udp == 0;
        let waited = now.saturating_duration_since(begun.at);
        let counters = self.counters();
        let packets = counters.sent().saturating_sub(begun.sent);
        let silent = counters.arrivals.authentic == begun.authentic;
        let remarkable =
            native && silent && packets >= UNANSWERED_PACKETS && waited >= UNANSWERED_FOR;
        remarkable.then_some(Unanswered { packets, waited })
    }
}

fn describe(Unanswered { packets, waited }: &Unanswered) -> String {
    format!(
        "peer.encapsulation: IKE works, but of ESP {packets} packets were sent and none was received for \
         {} s: a firewall on the way may drop IP protocol 50; to mend it: let it pass that, or set \
         peer.encapsulation = \"always\" (strongSwan: encap = yes), which needs UDP port 4500 only",
        waited.as_secs()
    )
}
