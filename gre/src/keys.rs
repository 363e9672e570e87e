//! Which of a peer's tunnels a packet is for, by the key in its header: RFC 2890 §2.1.
//!
//! Not here: what the tunnel then does with the packet ([`tunnel`](crate::tunnel)).

use crate::error::Drop;

/// The keys of all tunnels toward one peer. No key is as good as any to tell one of them by, and
/// is not key 0.
#[derive(Debug, Clone)]
pub struct Keys {
    /// In the order of the keys, so that among many tunnels one is found by halving. Each with its
    /// tunnel's place.
    sorted: Box<[(Option<u32>, usize)]>,
}

impl Keys {
    /// The keys of tunnels, in the tunnels' order. Of tunnels with the same key, none but the first
    /// receives anything.
    pub fn new(keys: impl IntoIterator<Item = Option<u32>>) -> Self {
        let places = keys.into_iter().enumerate();
        let mut sorted: Vec<_> = places.map(|(place, key)| (key, place)).collect();
        sorted.sort_unstable();
        sorted.dedup_by_key(|(key, _)| *key);
        Self {
            sorted: sorted.into_boxed_slice(),
        }
    }

    /// The place of the tunnel that packets with `key` are for.
    ///
    /// # Errors
    /// No tunnel has it: [`Drop::KeyMissing`] for packets without a key, [`Drop::KeyUnexpected`] where
    /// the tunnels have none, else [`Drop::KeyUnknown`].
    pub fn find(&self, key: Option<u32>) -> Result<usize, Drop> {
        let found = self.sorted.binary_search_by_key(&key, |(key, _)| *key);
        let entry = found.ok().and_then(|found| self.sorted.get(found));
        match (entry, key) {
            (Some((_, place)), _) => Ok(*place),
            (None, None) => Err(Drop::KeyMissing),
            (None, Some(_)) if self.sorted.iter().all(|(key, _)| key.is_none()) => {
                Err(Drop::KeyUnexpected)
            }
            (None, Some(_)) => Err(Drop::KeyUnknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D54, RFC 2890 §2.1: key 0 is not "no key".
    #[test]
    fn a_key_leads_to_its_tunnel_and_no_other() {
        const MANY: &[Option<u32>] = &[Some(9), None, Some(0), Some(u32::MAX)];
        for (keys, key, expected) in [
            (&[None][..], None, Ok(0)),
            (&[None], Some(0), Err(Drop::KeyUnexpected)),
            (&[None], Some(7), Err(Drop::KeyUnexpected)),
            (&[Some(0)], Some(0), Ok(0)),
            (&[Some(0)], None, Err(Drop::KeyMissing)),
            (&[Some(0)], Some(1), Err(Drop::KeyUnknown)),
            (MANY, Some(9), Ok(0)),
            (MANY, None, Ok(1)),
            (MANY, Some(0), Ok(2)),
            (MANY, Some(u32::MAX), Ok(3)),
            (MANY, Some(1001), Err(Drop::KeyUnknown)),
            (&[Some(5), Some(5)], Some(5), Ok(0)),
        ] {
            let found = Keys::new(keys.iter().copied()).find(key);
            assert_eq!(found, expected, "{key:?} among {keys:?}");
        }
    }
}
