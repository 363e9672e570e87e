//! What happened on the wire: [`Trace`].

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

use crate::Frame;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// On its way.
    Sent,
    /// On its way, though no node sent it.
    Injected,
    /// The tap took it.
    Tapped,
    /// Its sender and its destination are partitioned.
    Partitioned,
    /// No node has its destination address.
    Unrouted,
    /// Chance lost it.
    Lost,
    /// A node received it.
    Delivered,
}

/// One event of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Since the simulation began.
    pub at: Duration,
    /// The frame's source.
    pub source: SocketAddr,
    /// The frame's destination.
    pub destination: SocketAddr,
    /// The payload's length in octets.
    pub len: usize,
    /// Tells payloads apart; comparable within one build only.
    pub digest: u64,
    /// What happened.
    pub fate: Fate,
}

/// Everything that happened to frames, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Trace {
    entries: Vec<Entry>,
}

impl Trace {
    /// The events, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many events had this fate.
    pub fn count(&self, fate: Fate) -> usize {
        self.entries
            .iter()
            .filter(|entry| entry.fate == fate)
            .count()
    }

    /// Equal for equal traces: the same seed has to give the same hash.
    pub fn hash(&self) -> u64 {
        digest(self)
    }

    pub(crate) fn record(&mut self, at: Duration, frame: &Frame, fate: Fate) {
        self.entries.push(Entry {
            at,
            source: frame.source,
            destination: frame.destination,
            len: frame.bytes.len(),
            digest: digest(&frame.bytes),
            fate,
        });
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries
            .iter()
            .try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            source,
            destination,
            len,
            digest,
            fate,
        } = self;
        let seconds = at.as_secs_f64();
        write!(
            f,
            "{seconds:12.6} {source} > {destination} {len} octets {digest:016x} {fate:?}"
        )
    }
}

/// Unlike `RandomState`, this hasher starts from the same keys every time.
fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
