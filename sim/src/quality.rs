//! How well the network carries: [`Quality`].

use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

/// What happens to every frame on its way, in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality {
    /// The least time from sender to receiver.
    pub delay: Duration,
    /// Up to so much is added to the delay of each frame; frames may overtake each other by it.
    pub jitter: Duration,
    /// How many of a thousand frames are lost.
    pub loss_per_mille: u16,
    /// How many of a thousand arrive twice.
    pub duplicate_per_mille: u16,
    /// How many of a thousand are held back for four times the longest delay, so
    /// that what was sent after them arrives first.
    pub reorder_per_mille: u16,
    /// How many of a thousand arrive with one bit inverted.
    pub corrupt_per_mille: u16,
    /// Frames of more octets are lost, as on a path that carries no IP fragments.
    pub octets_max: usize,
}

impl Quality {
    /// Ten milliseconds, in order, nothing lost.
    pub const PERFECT: Self = Self {
        delay: Duration::from_millis(10),
        jitter: Duration::ZERO,
        loss_per_mille: 0,
        duplicate_per_mille: 0,
        reorder_per_mille: 0,
        corrupt_per_mille: 0,
        octets_max: usize::MAX,
    };

    /// A poor mobile link.
    pub const LOSSY: Self = Self {
        delay: Duration::from_millis(40),
        jitter: Duration::from_millis(20),
        loss_per_mille: 100,
        duplicate_per_mille: 10,
        reorder_per_mille: 20,
        corrupt_per_mille: 0,
        octets_max: usize::MAX,
    };

    /// Worse than any real link in every respect; a good protocol still gets through.
    pub const HOSTILE: Self = Self {
        delay: Duration::from_millis(100),
        jitter: Duration::from_millis(300),
        loss_per_mille: 250,
        duplicate_per_mille: 250,
        reorder_per_mille: 250,
        corrupt_per_mille: 100,
        octets_max: usize::MAX,
    };

    /// The copies that arrive, each after its delay: none where the frame is lost.
    pub(crate) fn carry(&self, dice: &mut ChaCha8Rng, bytes: &[u8]) -> Vec<(Duration, Vec<u8>)> {
        if bytes.len() > self.octets_max || roll(dice, self.loss_per_mille) {
            return Vec::new();
        }
        let copies = if roll(dice, self.duplicate_per_mille) {
            2
        } else {
            1
        };
        (0..copies)
            .map(|_| (self.delay(dice), self.corrupt(dice, bytes)))
            .collect()
    }

    fn delay(&self, dice: &mut ChaCha8Rng) -> Duration {
        let delay = self.delay + dice.random_range(Duration::ZERO..=self.jitter);
        if roll(dice, self.reorder_per_mille) {
            delay + (self.delay + self.jitter) * REORDER_DELAYS
        } else {
            delay
        }
    }

    fn corrupt(&self, dice: &mut ChaCha8Rng, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        if !bytes.is_empty() && roll(dice, self.corrupt_per_mille) {
            let position = dice.random_range(0..bytes.len());
            let bit = dice.random_range(0..8);
            if let Some(octet) = bytes.get_mut(position) {
                *octet ^= 1 << bit;
            }
        }
        bytes
    }
}

fn roll(dice: &mut ChaCha8Rng, per_mille: u16) -> bool {
    dice.random_range(0..1000) < per_mille
}

/// Long enough for an answer, and the answer to that, to overtake.
const REORDER_DELAYS: u32 = 4;
