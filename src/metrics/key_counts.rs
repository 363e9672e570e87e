//! The GRE keys that a peer sends and no tunnel has (D54, RFC 2890 §2.1): a few, each with how many
//! packets came under it, so that a person can be told what to write into the file.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many different keys are told apart. A peer that sends more of them shows in the drop counters
/// alone: it is no mistake in a file any more.
const MAX_KEYS: usize = 8;

/// Packets by the key that they came with; `None`: without a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyCounts([KeyCount; MAX_KEYS]);

/// One key, and how many packets came with it; 0 packets: a free place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyCount {
    /// The key; `None`: the packets have none.
    pub key: Option<u32>,
    /// How many.
    pub packets: u64,
}

impl KeyCounts {
    /// Counts `packets` under `key`, as long as there is a place for it.
    pub fn count(&mut self, key: Option<u32>, packets: u64) {
        let place = |place: &&mut KeyCount| place.packets == 0 || place.key == key;
        if let Some(place) = self.0.iter_mut().find(place) {
            place.key = key;
            place.packets += packets;
        }
    }

    /// The keys that came, in the order of their first packets.
    pub fn iter(&self) -> impl Iterator<Item = KeyCount> {
        self.0.into_iter().filter(|count| count.packets > 0)
    }

    /// Adds what another writer, or an earlier one, has counted.
    pub fn add(&mut self, other: &Self) {
        for KeyCount { key, packets } in other.iter() {
            self.count(key, packets);
        }
    }
}

/// The published sum of one writer's [`KeyCounts`].
#[derive(Debug, Default)]
pub(super) struct SharedKeyCounts([SharedKeyCount; MAX_KEYS]);

#[derive(Debug, Default)]
struct SharedKeyCount {
    /// 0 while the place is free; else [`tag`] of its key.
    tag: AtomicU64,
    packets: AtomicU64,
}

impl SharedKeyCounts {
    /// Adds `counts`. There is one writer.
    pub(super) fn add(&self, counts: &KeyCounts) {
        for KeyCount { key, packets } in counts.iter() {
            let place = self.0.iter().find(|place| {
                let taken = place.tag.load(Ordering::Relaxed);
                taken == 0 || taken == tag(key)
            });
            if let Some(place) = place {
                place.packets.fetch_add(packets, Ordering::Relaxed);
                place.tag.store(tag(key), Ordering::Release);
            }
        }
    }

    pub(super) fn read(&self) -> KeyCounts {
        let mut counts = KeyCounts::default();
        for place in &self.0 {
            if let Some(key) = key(place.tag.load(Ordering::Acquire)) {
                counts.count(key, place.packets.load(Ordering::Relaxed));
            }
        }
        counts
    }
}

/// A key as one number that is not 0.
const fn tag(key: Option<u32>) -> u64 {
    match key {
        None => NO_KEY,
        Some(key) => NO_KEY + 1 + key as u64,
    }
}

/// The key of a place that is not free.
fn key(tag: u64) -> Option<Option<u32>> {
    let above = tag.checked_sub(NO_KEY)?;
    Some(above.checked_sub(1).and_then(|key| u32::try_from(key).ok()))
}

const NO_KEY: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_and_bounded() {
        let shared = SharedKeyCounts::default();
        for _ in 0..2 {
            let mut batch = KeyCounts::default();
            for key in [None, Some(0), Some(u32::MAX), Some(0)] {
                batch.count(key, 1);
            }
            shared.add(&batch);
        }
        let counted = |counts: &KeyCounts| counts.iter().map(|c| (c.key, c.packets)).collect();
        let counts: Vec<_> = counted(&shared.read());
        assert_eq!(counts, [(None, 2), (Some(0), 4), (Some(u32::MAX), 2)]);

        let mut flood = shared.read();
        for key in 100..200 {
            flood.count(Some(key), 1);
        }
        assert_eq!(flood.iter().count(), MAX_KEYS);
        shared.add(&flood);
        assert_eq!(shared.read().iter().count(), MAX_KEYS);
        let mut sum = shared.read();
        sum.add(&flood);
        assert_eq!(sum.iter().next().map(|c| c.packets), Some(6));
    }
}
