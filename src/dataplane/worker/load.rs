//! How much of its time a thread is awake.
//!
//! Not here: clocks; what follows ([`super::relief`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// See the module.
pub(super) struct Load {
    /// Long enough that one batch is little of it.
    interval: Duration,
    /// When the present interval began.
    since: Instant,
    /// How much of it was slept away.
    slept: Duration,
    /// Of the last interval, in percent.
    last: Arc<AtomicU32>,
}

impl Load {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            since: now,
            slept: Duration::ZERO,
            last: Arc::default(),
        }
    }

    /// Where others can read how much it was in the last interval, in percent.
    pub(super) fn shown(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.last)
    }

    /// An interval begins with `percent` as if in the last.
    pub(super) fn restart(&mut self, now: Instant, percent: u32) {
        (self.since, self.slept) = (now, Duration::ZERO);
        self.last.store(percent, Ordering::Relaxed);
    }

    /// It has slept.
    pub(super) fn slept(&mut self, since: Instant, woken: Instant) {
        self.slept += woken - since;
        self.awake(woken);
    }

    /// It is awake.
    pub(super) fn awake(&mut self, now: Instant) {
        let passed = now - self.since;
        if passed >= self.interval {
            let slept = self.slept.as_micros() * 100 / passed.as_micros();
            let slept = u32::try_from(slept).unwrap_or(100).min(100);
            self.restart(now, 100 - slept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_slept_away_is_load() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut load = Load::new(Duration::from_millis(5), start);
        let shown = load.shown();
        let last = || shown.load(Ordering::Relaxed);
        load.slept(at(0), at(4));
        assert_eq!(last(), 0, "the interval is not over");
        load.awake(at(6));
        assert_eq!(last(), 100 - 66);
        load.slept(at(6), at(1006));
        assert_eq!(last(), 0);
        load.awake(at(1011));
        assert_eq!(last(), 100);
    }
}
