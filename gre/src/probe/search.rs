//! The largest packet that a path takes, found by asking (RFC 4821, RFC 8899): for paths that eat what
//! is too big for them without a word.
//!
//! A round sends one packet of the size in question, the candidate, and two smaller ones. Where a
//! smaller one is answered and the candidate is not, round after round, the candidate is too big: at
//! once packets get as small as what was answered, and then the limit is looked for between the two.
//! Where nothing is answered, nothing follows: the peer does not answer, or cannot be reached at all.
//!
//! Sizes are those of outer packets, headers included. Not here: what a probe is (one of
//! [`probe`](super), or an echo request), sending, and what the limit means to a device.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Sizes that accompany a candidate: what IPv6 asks of every link (RFC 8200 §5), and what IPv4 asks of
/// every host (RFC 791).
const COMPANIONS: [u16; 2] = [1280, 576];

/// So many rounds without the candidate show that it is too big, rather than lost by chance.
const ROUNDS: u8 = 3;

/// The longest that an answer is waited for where none has come.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// How long the candidate's answer may come after a smaller one's: at least this, and half a round
/// trip.
const GRACE: Duration = Duration::from_millis(30);

/// How often it is made sure that the path still takes what it took: black holes open while a tunnel
/// stands, when a route changes.
const VERIFY_EVERY: Duration = Duration::from_secs(5);

/// How long a peer that answers nothing is left alone.
const REST: Duration = Duration::from_secs(30);

/// When a limit is old (RFC 8899 §5.1.1, PMTU_RAISE_TIMER).
const RAISE_AFTER: Duration = Duration::from_secs(600);

/// What is not worth another round, in octets: a block of the ciphers.
const CLOSE_ENOUGH: u16 = 16;

/// Packets that are to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// What answers are known by.
    pub number: u32,
    /// Largest first; 0: none.
    sizes: [u16; 1 + COMPANIONS.len()],
}

impl Round {
    fn of(number: u32, candidate: u16) -> Self {
        let [large, small] = COMPANIONS.map(|size| if size < candidate { size } else { 0 });
        Self {
            number,
            sizes: [candidate, large, small],
        }
    }

    /// Of the packets, largest first.
    pub fn sizes(&self) -> impl Iterator<Item = u16> {
        self.sizes.into_iter().filter(|&size| size > 0)
    }
}

/// A round under way.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Instant,
    /// The largest size that was answered; 0: none.
    answered: u16,
}

/// See the module.
#[derive(Debug)]
pub struct Search {
    /// What the link takes.
    ceiling: u16,
    /// The largest size that is taken to pass.
    passes: u16,
    /// The smallest size that is known not to.
    too_big: Option<u16>,
    candidate: u16,
    asked: Option<Asked>,
    round: u32,
    /// Rounds in which something was answered, but not the candidate.
    missed: u8,
    /// The largest size answered in those.
    answered: u16,
    /// Rounds in which nothing was.
    silent: u8,
    due: Instant,
    raise_at: Option<Instant>,
}

impl Search {
    /// A path of which nothing is known but what its link takes; the first round is due at once.
    pub const fn new(ceiling: u16, now: Instant) -> Self {
        Self {
            ceiling,
            passes: ceiling,
            too_big: None,
            candidate: ceiling,
            asked: None,
            round: 0,
            missed: 0,
            answered: 0,
            silent: 0,
            due: now,
            raise_at: None,
        }
    }

    /// The largest outer packet that is taken to pass, in octets.
    pub const fn passes(&self) -> u16 {
        self.passes
    }

    /// Whether that is less than the link takes.
    pub const fn is_limited(&self) -> bool {
        self.passes < self.ceiling
    }

    /// When [`poll`](Self::poll) has something to do.
    pub const fn next(&self) -> Instant {
        self.due
    }

    /// The link, or its path, takes another size than before, as far as the host knows.
    pub fn retarget(&mut self, ceiling: u16, now: Instant) {
        if ceiling != self.ceiling {
            *self = Self {
                round: self.round,
                ..Self::new(ceiling, now)
            };
        }
    }

    /// What is to be sent at `now`. Afterwards [`passes`](Self::passes) may be less than before.
    pub fn poll(&mut self, now: Instant) -> Option<Round> {
        if now < self.due {
            return None;
        }
        if let Some(asked) = self.asked.take()
            && self.conclude(asked, now).is_break()
        {
            return None;
        }
        if self.raise_at.is_some_and(|at| at <= now) {
            self.raise_at = None;
            self.too_big = None;
            self.ask_about(self.ceiling);
        }
        Some(self.begin(now))
    }

    /// The packet of this size of this round has been answered. Afterwards [`passes`](Self::passes)
    /// may be more than before.
    pub fn answered(&mut self, round: u32, size: u16, now: Instant) {
        let Some(asked) = &mut self.asked else {
            return;
        };
        if round != self.round || !Round::of(round, self.candidate).sizes().any(|s| s == size) {
            return;
        }
        self.silent = 0;
        if size == self.candidate {
            self.asked = None;
            self.passes = size;
            self.go_on(now);
            return;
        }
        let round_trip = now.saturating_duration_since(asked.at);
        asked.answered = asked.answered.max(size);
        self.due = self.due.min(now + GRACE.max(round_trip / 2));
    }

    fn begin(&mut self, now: Instant) -> Round {
        self.round = self.round.wrapping_add(1);
        self.asked = Some(Asked {
            at: now,
            answered: 0,
        });
        self.due = now + ANSWER_TIME;
        Round::of(self.round, self.candidate)
    }

    /// A round has ended without its candidate. `Break`: there is none to begin now.
    fn conclude(&mut self, asked: Asked, now: Instant) -> ControlFlow<()> {
        if asked.answered == 0 {
            self.silent = self.silent.saturating_add(1);
            if self.silent < ROUNDS {
                return ControlFlow::Continue(());
            }
            self.ask_about(self.passes);
            self.due = now + REST;
            return ControlFlow::Break(());
        }
        self.missed = self.missed.saturating_add(1);
        self.answered = self.answered.max(asked.answered);
        if self.missed < ROUNDS {
            return ControlFlow::Continue(());
        }
        self.too_big = Some(self.candidate);
        if self.candidate <= self.passes {
            self.passes = self.answered;
        }
        self.go_on(now);
        match now < self.due {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Something about the candidate is known: the next one, or a rest.
    fn go_on(&mut self, now: Instant) {
        let too_big = self.too_big.filter(|&size| size > self.passes);
        match too_big {
            Some(too_big) if too_big - self.passes > CLOSE_ENOUGH => {
                self.ask_about(u16::midpoint(self.passes, too_big));
                self.due = now;
            }
            _ => {
                if self.is_limited() {
                    self.raise_at.get_or_insert(now + RAISE_AFTER);
                }
                self.ask_about(self.passes);
                self.due = now + VERIFY_EVERY;
            }
        }
    }

    const fn ask_about(&mut self, candidate: u16) {
        self.candidate = candidate;
        self.missed = 0;
        self.answered = 0;
        self.silent = 0;
    }
}

#[cfg(test)]
mod tests;
