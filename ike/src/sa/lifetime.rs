//! When an SA is rekeyed and when it has to be over (D42, RFC 7296 §2.8). Lifetimes are each end's own
//! business: nothing of them is negotiated.

use std::time::{Duration, Instant};

use rand_core::CryptoRng;

use super::Context;
use crate::limits;

/// The two alarms of an SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// When it is rekeyed; `None`: another attempt would come too late.
    pub(crate) rekey_at: Option<Instant>,
    /// When it is deleted if that has not succeeded.
    pub(crate) ends_at: Instant,
}

impl Lifetime {
    /// Of an SA that begins here and lives so long.
    pub(crate) fn draw(lifetime: Duration, ctx: &mut Context<'_>) -> Self {
        let share = between(limits::REKEY_RANGE, ctx.rng);
        Self {
            rekey_at: Some(ctx.now + lifetime.mul_f64(share)),
            ends_at: ctx.now + lifetime,
        }
    }

    /// After TEMPORARY_FAILURE: soon, while there is time (D37, RFC 7296 §2.25).
    pub(crate) fn retry_soon(&self, ctx: &mut Context<'_>) -> Option<Instant> {
        self.retry(ctx, limits::TEMPORARY_WAIT)
    }

    /// After a refusal, which only a person can turn into something else.
    pub(crate) fn retry_later(&self, ctx: &mut Context<'_>) -> Option<Instant> {
        self.retry(ctx, limits::REFUSED_WAIT)
    }

    /// A quarter of what is left, within bounds, less up to half of it by chance: two ends that
    /// refuse each other do not meet again.
    fn retry(&self, ctx: &mut Context<'_>, (least, most): (Duration, Duration)) -> Option<Instant> {
        let left = self.ends_at.saturating_duration_since(ctx.now);
        let wait = (left / 4)
            .clamp(least, most)
            .mul_f64(between((0.5, 1.0), ctx.rng));
        (wait < left).then(|| ctx.now + wait)
    }
}

fn between((from, to): (f64, f64), rng: &mut (dyn CryptoRng + Send)) -> f64 {
    from + (to - from) * f64::from(rng.next_u32()) / f64::from(u32::MAX)
}
