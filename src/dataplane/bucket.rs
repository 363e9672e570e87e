//! A token bucket: how often something may be done that others ask for.

use std::time::{Duration, Instant};

/// Holds `burst` tokens at most, and gets another one each `interval`.
#[derive(Debug)]
pub(super) struct Bucket {
    burst: u32,
    interval: Duration,
    tokens: u32,
    /// When the last token came in.
    refilled: Option<Instant>,
}

impl Bucket {
    /// A full one.
    pub(super) const fn new(burst: u32, interval: Duration) -> Self {
        Self {
            burst,
            interval,
            tokens: burst,
            refilled: None,
        }
    }

    /// Whether there is a token at `now`.
    pub(super) fn has_token(&mut self, now: Instant) -> bool {
        let since = *self.refilled.get_or_insert(now);
        let due = now.saturating_duration_since(since).as_nanos() / self.interval.as_nanos();
        if let Ok(due @ 1..) = u32::try_from(due.min(self.burst.into())) {
            self.tokens = self.tokens.saturating_add(due).min(self.burst);
            self.refilled = Some(now);
        }
        self.tokens > 0
    }

    /// Takes a token, if there is one at `now`.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let has_token = self.has_token(now);
        self.tokens = self.tokens.saturating_sub(1);
        has_token
    }
}
