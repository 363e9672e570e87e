//! How much one outbound SA may protect before it has to be replaced (D42, D48, RFC 4301 §4.4.2.1).
//!
//! Owns: the limits of the numbers (RFC 4303 §3.3.3), of the algorithm and of the caller, each with
//! its soft limit. Not here: lifetimes in time, and what follows at a limit.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sequence::Exhausted;

/// The last number without ESN: the counter must not cycle (RFC 4303 §3.3.3).
const LAST: u64 = u32::MAX as u64;
/// The last number with ESN, well before 2^64: what ends first is the key, see [`LAST_OCTET`]. At
/// ten million packets a second that lasts for nearly two hours.
const LAST_ESN: u64 = 1 << 36;
/// Octets under one key. An observer's advantage against AES-GCM and AES-CBC alike grows with the
/// square of the blocks sealed, since two equal blocks tell something: 2^43 blocks keep it below
/// 2^86 / 2^129 = 2^-43 (the bound behind RFC 8446 §5.5). ChaCha20-Poly1305 would bear more. 2^36
/// packets of 1500 octets are less than that; of longer ones there may be fewer.
const LAST_OCTET: u64 = 1 << 47;

/// What the caller allows an outbound SA. The limits of the algorithm and of the sequence numbers
/// hold in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Packets; `None`: no limit but the SA's own.
    pub packets: Option<u64>,
    /// Octets of payload; `None`: no limit but the SA's own.
    pub bytes: Option<u64>,
    /// The thousandths of every limit after which it is time for a rekey; at most 1000. Ends that
    /// draw it at random seldom rekey at the same time.
    pub soft_per_mille: u16,
}

impl Default for Limits {
    /// No limits but the SA's own, of which three quarters are the soft limit.
    fn default() -> Self {
        Self {
            packets: None,
            bytes: None,
            soft_per_mille: 750,
        }
    }
}

/// What is left to one SA. Several threads may take of it at once: what one has taken is nobody
/// else's.
#[derive(Debug)]
pub(crate) struct Budget {
    packets: Allowance,
    bytes: Allowance,
}

#[derive(Debug)]
struct Allowance {
    used: AtomicU64,
    soft: u64,
    hard: u64,
}

impl Allowance {
    fn new(own: u64, wanted: Option<u64>, soft_per_mille: u16) -> Self {
        let hard = wanted.map_or(own, |wanted| wanted.min(own));
        let soft_per_mille = u64::from(soft_per_mille.min(1000));
        // Divided first, since the product may not fit.
        let soft = hard / 1000 * soft_per_mille + hard % 1000 * soft_per_mille / 1000;
        Self {
            used: AtomicU64::new(0),
            soft,
            hard,
        }
    }

    /// Takes `wanted`: what was used before it. Or says how much is left. One atomic step, so that no
    /// two callers take the same; nothing else is ordered by it.
    fn take(&self, wanted: u64) -> Result<u64, u64> {
        let taken = |used| u64::checked_add(used, wanted).filter(|sum| *sum <= self.hard);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
        taken.map_err(|used| self.hard - used)
    }

    /// Gives back what was taken and not used.
    fn give_back(&self, taken: u64) {
        self.used.fetch_sub(taken, Ordering::Relaxed);
    }

    fn is_beyond_soft(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.soft
    }
}

impl Budget {
    pub(crate) fn new(esn: bool, limits: Limits) -> Self {
        let Limits {
            packets,
            bytes,
            soft_per_mille,
        } = limits;
        let last = if esn { LAST_ESN } else { LAST };
        Self {
            packets: Allowance::new(last, packets, soft_per_mille),
            bytes: Allowance::new(LAST_OCTET, bytes, soft_per_mille),
        }
    }

    /// Takes all of it or nothing: which packets, counted from 0, they are. Octets come first, since a
    /// number that was taken never goes back.
    pub(crate) fn spend(&self, packets: u32, bytes: u64) -> Result<Range<u64>, Exhausted> {
        let no_octets = |left| Exhausted::Bytes {
            wanted: bytes,
            left,
        };
        self.bytes.take(bytes).map_err(no_octets)?;
        let wanted = u64::from(packets);
        let first = self.packets.take(wanted).map_err(|left| {
            self.bytes.give_back(bytes);
            Exhausted::Packets {
                wanted: packets,
                left,
            }
        })?;
        Ok(first..first + wanted)
    }

    /// How many packets that were.
    pub(crate) fn packets_spent(&self) -> u64 {
        self.packets.used.load(Ordering::Relaxed)
    }

    /// Whether a soft limit is passed.
    pub(crate) fn is_beyond_soft(&self) -> bool {
        self.packets.is_beyond_soft() || self.bytes.is_beyond_soft()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Limits = Limits {
        packets: Some(10),
        bytes: Some(1000),
        soft_per_mille: 700,
    };

    /// D42
    #[test]
    fn the_callers_limits_hold_each_for_itself() {
        let budget = Budget::new(true, TEN);
        budget.spend(7, 700).unwrap();
        assert!(!budget.is_beyond_soft());
        budget.spend(1, 0).unwrap();
        assert!(budget.is_beyond_soft(), "packets");
        let refused = Exhausted::Packets { wanted: 3, left: 2 };
        assert_eq!(budget.spend(3, 0), Err(refused));

        let budget = Budget::new(true, TEN);
        budget.spend(1, 701).unwrap();
        assert!(budget.is_beyond_soft(), "octets");
        let refused = Exhausted::Bytes {
            wanted: 300,
            left: 299,
        };
        assert_eq!(budget.spend(1, 300), Err(refused));
        let second = budget.spend(1, 299).unwrap();
        assert_eq!(second, 1..2, "a refusal takes nothing");
    }

    /// D48: whatever the caller allows.
    #[test]
    fn the_algorithms_limit_holds() {
        let generous = Limits {
            packets: Some(u64::MAX),
            bytes: Some(u64::MAX),
            soft_per_mille: 2000,
        };
        let budget = Budget::new(true, generous);
        assert!(budget.spend(1, LAST_OCTET + 1).is_err());
        budget.spend(1, LAST_OCTET).unwrap();
        assert!(budget.spend(1, 1).is_err());
    }
}
