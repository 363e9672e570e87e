//! Which of a peer's tunnels a packet is for, by the key in its header: RFC 2890 §2.1, RFC 7637 §3.2.
//!
//! Not here: what the tunnel then does with the packet ([`tunnel`](crate::tunnel)).

use std::fmt;

use crate::error::Drop;

/// What tells a tunnel's packets from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// All 32 bits (RFC 2890 §2.1); 0 is a key.
    Whole(u32),
    /// NVGRE (RFC 7637 §3.2): the upper 24 bits, whatever the others are.
    Subnet {
        /// The Virtual Subnet ID.
        vsid: Vsid,
        /// What leaves in the other 8.
        flow_id: FlowId,
    },
}

/// A Virtual Subnet ID (RFC 7637 §3.2), of 24 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vsid(u32);

impl Vsid {
    /// The greatest.
    pub const MAX: u32 = 0x00ff_ffff;

    /// `None` for more than 24 bits.
    pub const fn new(vsid: u32) -> Option<Self> {
        if vsid <= Self::MAX {
            Some(Self(vsid))
        } else {
            None
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The FlowID of what leaves (RFC 7637 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowId {
    /// One for each flow inside, from its hash.
    Auto,
    /// Always this one.
    Fixed(u8),
}

impl Key {
    /// The first and the last key in headers that it means.
    const fn range(self) -> (u32, u32) {
        match self {
            Self::Whole(key) => (key, key),
            Self::Subnet { vsid, .. } => (vsid.0 << 8, vsid.0 << 8 | 0xff),
        }
    }

    /// Whether a packet may have both.
    pub const fn overlaps(self, other: Self) -> bool {
        let ((first, last), (from, to)) = (self.range(), other.range());
        first <= to && from <= last
    }
}

/// As people write it.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(key) => key.fmt(f),
            Self::Subnet { vsid, .. } => write!(f, "vsid {}", vsid.0),
        }
    }
}

/// The keys of all tunnels toward one peer. No key is as good as any to tell one of them by, and
/// is not key 0.
#[derive(Debug, Clone)]
pub struct Keys {
    /// In the order of the keys, so that among many tunnels one is found by halving.
    sorted: Box<[Entry]>,
    /// The place of the tunnel without a key.
    keyless: Option<usize>,
}

/// The keys in headers that lead to one tunnel.
#[derive(Debug, Clone, Copy)]
struct Entry {
    first: u32,
    last: u32,
    place: usize,
}

impl Keys {
    /// The keys of tunnels, in the tunnels' order. Of tunnels whose keys overlap, one receives what is
    /// for both.
    pub fn new(keys: impl IntoIterator<Item = Option<Key>>) -> Self {
        let (mut sorted, mut keyless) = (Vec::new(), None);
        for (place, key) in keys.into_iter().enumerate() {
            if let Some((first, last)) = key.map(Key::range) {
                sorted.push(Entry { first, last, place });
            } else {
                keyless.get_or_insert(place);
            }
        }
        sorted.sort_by_key(|entry| entry.first);
        Self {
            sorted: sorted.into_boxed_slice(),
            keyless,
        }
    }

    /// The place of the tunnel that packets with `key` are for.
    ///
    /// # Errors
    /// No tunnel has it: [`Drop::KeyMissing`] for packets without a key, [`Drop::KeyUnexpected`] where
    /// the tunnels have none, else [`Drop::KeyUnknown`].
    pub fn find(&self, key: Option<u32>) -> Result<usize, Drop> {
        let Some(key) = key else {
            return self.keyless.ok_or(Drop::KeyMissing);
        };
        let after = self.sorted.partition_point(|entry| entry.first <= key);
        let entry = after.checked_sub(1).and_then(|at| self.sorted.get(at));
        match entry.filter(|entry| key <= entry.last) {
            Some(entry) => Ok(entry.place),
            None if self.sorted.is_empty() => Err(Drop::KeyUnexpected),
            None => Err(Drop::KeyUnknown),
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
        ] {
            let found = Keys::new(keys.iter().map(|key| key.map(Key::Whole))).find(key);
            assert_eq!(found, expected, "{key:?} among {keys:?}");
        }
    }

    /// RFC 7637 §3.2: by VSID alone.
    #[test]
    fn a_subnet_is_found_whatever_the_flow() {
        let subnet = |vsid| Key::Subnet {
            vsid: Vsid::new(vsid).unwrap(),
            flow_id: FlowId::Auto,
        };
        let whole = Key::Whole(0x0013_8a00);
        let keys = Keys::new([Some(subnet(0x1389)), Some(whole), Some(subnet(Vsid::MAX))]);
        for (key, expected) in [
            (0x0013_8900, Ok(0)),
            (0x0013_89ff, Ok(0)),
            (0x0013_8a00, Ok(1)),
            (0x0013_8a01, Err(Drop::KeyUnknown)),
            (0x0013_88ff, Err(Drop::KeyUnknown)),
            (u32::MAX, Ok(2)),
        ] {
            assert_eq!(keys.find(Some(key)), expected, "{key:#010x}");
        }
        assert!(!subnet(0x1389).overlaps(whole));
        assert!(subnet(0x138a).overlaps(whole) && whole.overlaps(subnet(0x138a)));
        assert_eq!(Vsid::new(Vsid::MAX + 1), None);
    }
}
