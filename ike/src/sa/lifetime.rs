//! When an SA is rekeyed and when it has to be over (D42, RFC 7296 §2.8). Lifetimes are each end's own
//! business: nothing of them is negotiated.

use std::time::{Duration, Instant};

use super::Context;
use crate::limits;

/// The two alarms of an SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// When it is rekeyed.
    pub(crate) rekey_at: Instant,
    /// When it is deleted if that has not succeeded.
    pub(crate) ends_at: Instant,
}

impl Lifetime {
    /// Of an SA that begins here and lives so long.
    pub(crate) fn draw(lifetime: Duration, ctx: &mut Context<'_>) -> Self {
        let (from, to) = limits::REKEY_RANGE;
        let chance = f64::from(ctx.rng.next_u32()) / f64::from(u32::MAX);
        Self {
            rekey_at: ctx.now + lifetime.mul_f64(from + (to - from) * chance),
            ends_at: ctx.now + lifetime,
        }
    }
}
