//! The highest rate of datagrams that a tunnel carries at no more than 1 % loss.

use super::datagrams::{Outcome, offer};
use crate::bench::report::Settings;
use crate::bench::scene::Scene;

/// Loss that counts as carried.
const TOLERATED: f64 = 0.01;

/// The first rate that is tried, per second.
const FIRST: f64 = 20_000.0;

/// Below this rate, per second, nothing is searched.
const LOWEST: f64 = 100.0;

/// A source that reaches less of a rate than this is at its own limit.
const REACHED: f64 = 0.9;

/// Datagrams of `size` octets that arrive per second.
pub(in crate::bench) fn highest_rate(
    scene: &Scene,
    size: usize,
    settings: Settings,
) -> anyhow::Result<f64> {
    let probe = |rate| offer(scene, size, rate, settings.probe());
    highest(probe, settings.resolution())?
        .ok_or_else(|| anyhow::anyhow!("more than 1 % is lost even at {LOWEST} packets/s"))
}

/// A source at its limit that delivers no more than this factor beyond the best will not get further.
const PROGRESS: f64 = 1.05;

impl Outcome {
    fn delivered(&self) -> f64 {
        self.received / self.seconds
    }

    fn offered(&self) -> f64 {
        self.sent / self.seconds
    }

    /// Whether the source could not do more.
    fn falls_short_of(&self, rate: f64) -> bool {
        self.offered() < rate * REACHED
    }

    fn is_carried(&self) -> bool {
        self.sent > 0.0 && self.delivered() >= self.offered() * (1.0 - TOLERATED)
    }
}

/// Doubles the rate until it is not carried, then closes in until two rates differ by no more than
/// the factor `resolution`. The best delivered rate of those carried is the answer.
fn highest(
    mut probe: impl FnMut(f64) -> anyhow::Result<Outcome>,
    resolution: f64,
) -> anyhow::Result<Option<f64>> {
    let mut best: Option<f64> = None;
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut rate = FIRST;
    while rate >= LOWEST && low * resolution < high {
        let mut outcome = probe(rate)?;
        if !outcome.is_carried() || outcome.falls_short_of(rate) {
            // One hiccup of the machine is neither the tunnel's nor the source's.
            outcome = probe(rate)?;
        }
        if outcome.is_carried() {
            let known = best.unwrap_or(0.0);
            best = Some(known.max(outcome.delivered()));
            if outcome.falls_short_of(rate) && outcome.delivered() < known * PROGRESS {
                break;
            }
            low = rate;
        } else {
            high = rate;
        }
        rate = match (low > 0.0, high.is_finite()) {
            (_, false) => low * 2.0,
            (false, true) => high / 2.0,
            (true, true) => (low * high).sqrt(),
        };
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source and a tunnel that carries `limit` per second and drops the rest.
    fn tunnel(limit: f64, source: f64) -> impl FnMut(f64) -> anyhow::Result<Outcome> {
        move |rate: f64| {
            let sent = rate.min(source);
            Ok(Outcome {
                sent,
                received: sent.min(limit),
                seconds: 1.0,
            })
        }
    }

    #[test]
    fn the_limit_is_found_from_below_and_above() {
        for limit in [200.0, 19_000.0, 25_000.0, 640_000.0] {
            let found = highest(tunnel(limit, f64::INFINITY), 1.02)
                .unwrap()
                .unwrap();
            assert!(found <= limit && found > limit * 0.97, "{limit}: {found}");
        }
    }

    #[test]
    fn a_slow_source_ends_the_search() {
        let found = highest(tunnel(f64::INFINITY, 50_000.0), 1.02).unwrap();
        assert_eq!(found, Some(50_000.0));
    }

    #[test]
    fn a_tunnel_that_carries_nothing_has_no_rate() {
        assert_eq!(highest(tunnel(0.0, f64::INFINITY), 1.02).unwrap(), None);
    }

    #[test]
    fn one_hiccup_is_forgiven() {
        let mut carry = tunnel(30_000.0, f64::INFINITY);
        let mut first = true;
        let found = highest(
            |rate| {
                let limited = if std::mem::take(&mut first) { 0.0 } else { 1.0 };
                let mut outcome = carry(rate)?;
                outcome.received *= limited;
                Ok(outcome)
            },
            1.02,
        );
        assert!(found.unwrap().unwrap() > 29_000.0);
    }
}
