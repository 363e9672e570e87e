//! When a request is sent again (RFC 7296 §2.1, §2.4) and when a lost peer is called again: pure
//! functions of the attempt's number.

use std::time::Duration;

use crate::config::Retransmit;
use crate::limits;

impl Retransmit {
    /// How long to wait after transmission number `sent` (1 for the first) before the next one, or
    /// before giving up after the last one.
    pub fn wait_after(&self, sent: u32) -> Duration {
        let growth = self
            .factor
            .max(1.0)
            .powi(i32::try_from(sent.saturating_sub(1)).unwrap_or(0));
        Duration::try_from_secs_f64(self.first.as_secs_f64() * growth)
            .unwrap_or(limits::RETRANSMIT_WAIT)
            .min(limits::RETRANSMIT_WAIT)
    }

    /// Transmissions in all.
    pub const fn transmissions(&self) -> u32 {
        self.tries.saturating_add(1)
    }

    /// From the first transmission to giving up.
    pub fn total(&self) -> Duration {
        (1..=self.transmissions())
            .map(|sent| self.wait_after(sent))
            .sum()
    }
}

/// The pause before the attempt that follows `failures` failed ones: 1 s doubled each time up to
/// [`limits::RECONNECT_WAIT`], then up to a quarter less, so that a thousand peers of a rebooted
/// hub do not all call in the same instant. `entropy` chooses how much less.
pub(crate) fn reconnect_wait(failures: u32, entropy: u32) -> Duration {
    let doubled = Duration::from_secs(1u64 << failures.saturating_sub(1).min(5));
    let wait = doubled.min(limits::RECONNECT_WAIT);
    wait - wait.mul_f64(0.25 * f64::from(entropy) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_schedule_gives_up_after_about_a_minute() {
        let total = Retransmit::default().total();
        assert!((50..80).contains(&total.as_secs()), "{total:?}");
    }

    #[test]
    fn waits_never_shrink_and_are_bounded() {
        let schedule = Retransmit {
            factor: 10.0,
            ..Retransmit::default()
        };
        for sent in 1..100 {
            assert!(schedule.wait_after(sent) <= schedule.wait_after(sent + 1));
            assert!(schedule.wait_after(sent) <= limits::RETRANSMIT_WAIT);
        }
    }

    #[test]
    fn reconnecting_backs_off_to_half_a_minute_with_jitter() {
        assert_eq!(reconnect_wait(1, 0), Duration::from_secs(1));
        assert_eq!(reconnect_wait(3, 0), Duration::from_secs(4));
        assert_eq!(reconnect_wait(1000, 0), limits::RECONNECT_WAIT);
        assert_eq!(
            reconnect_wait(1000, u32::MAX),
            limits::RECONNECT_WAIT.mul_f64(0.75)
        );
    }
}
