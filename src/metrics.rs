//! What is counted: packets and octets that got through, and every packet that did not, under
//! exactly one name.
//!
//! Each worker counts into a plain [`Tally`] of its own and publishes that once per batch into
//! [`Counters`], where others may publish too, and which anyone reads at any time. The law of
//! conservation is [`Tally::is_conserved`]: received = delivered + consumed + Σ drops.
//!
//! Not here: how the numbers are shown.

mod key_counts;

use std::sync::atomic::{AtomicU64, Ordering};

use secure_gre_esp as esp;
use secure_gre_gre as gre;

use self::key_counts::SharedKeyCounts;

pub use self::key_counts::{KeyCount, KeyCounts};

macro_rules! link_drops {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a packet did not get through although ESP and GRE have nothing against it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum LinkDrop {
            $($(#[$doc])* $variant,)*
        }

        impl LinkDrop {
            /// Every reason: `LinkDrop::ALL[reason as usize] == reason`.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The counter's name, in snake case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

link_drops! {
    /// Outbound: the device wants of the packet what does not fit it.
    TunMalformed = "tun_malformed",
    /// Outbound: no SA is up, and nothing leaves without one.
    NoSa = "no_sa",
    /// Outbound: an outer packet of this very tunnel, which a route has led back into its device.
    Recursion = "recursion",
    /// Outbound: more than the tunnel's limit lets out, and than its queues hold.
    OverLimit = "over_limit",
    /// Outbound: the passenger exceeds the tunnel's MTU.
    TooBig = "too_big",
    /// Outbound: the SA may protect nothing more: a limit of its sequence numbers (RFC 4303 §3.3.3),
    /// of its algorithm or of its lifetime.
    Exhausted = "exhausted",
    /// Outbound: ESP could not take the packet.
    NotSealed = "not_sealed",
    /// Outbound: the path's MTU is smaller than the outer packet.
    WireTooBig = "wire_too_big",
    /// Outbound: there is no way to the peer.
    WireUnreachable = "wire_unreachable",
    /// Outbound: refused by a local firewall.
    WireBlocked = "wire_blocked",
    /// Outbound: the socket's buffer was full.
    WireFull = "wire_full",
    /// Outbound: the socket became unusable before the packet's turn.
    WireFailed = "wire_failed",
    /// Inbound: longer than the buffer for it.
    WireTruncated = "wire_truncated",
    /// Inbound: no whole outer header, or too short for ESP in UDP (RFC 3948 §2).
    WireMalformed = "wire_malformed",
    /// Inbound: an IKE message between ESP packets in UDP, while too many waited for the daemon.
    IkeBacklog = "ike_backlog",
    /// Inbound: authentic, but neither GRE nor a dummy.
    NotGre = "not_gre",
    /// Inbound: for an SA that was still on its way, with too many before it.
    HeldFull = "held_full",
    /// Inbound: for an SA that took too long on its way.
    HeldTooLong = "held_too_long",
    /// Inbound: for an SA that did not come.
    HeldInVain = "held_in_vain",
    /// Inbound: from elsewhere than the peer was last seen, with too many before it.
    StrayFlood = "stray_flood",
    /// Inbound: the device is down, gone, or did not want the packet.
    TunRefused = "tun_refused",
}

/// Why a packet did not get through. Every reason has one counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Drop {
    /// ESP refused it.
    Esp(esp::Drop),
    /// GRE refused it, or what GRE owes the passenger.
    Gre(gre::Drop),
    /// Neither of them.
    Link(LinkDrop),
}

impl Drop {
    const COUNT: usize = esp::Drop::ALL.len() + gre::Drop::ALL.len() + LinkDrop::ALL.len();

    /// Every reason, in the order of the counters.
    pub fn all() -> impl Iterator<Item = Self> {
        let esp = esp::Drop::ALL.into_iter().map(Self::Esp);
        let gre = gre::Drop::ALL.iter().copied().map(Self::Gre);
        let link = LinkDrop::ALL.iter().copied().map(Self::Link);
        esp.chain(gre).chain(link)
    }

    /// Its place in [`Drop::all`].
    const fn index(self) -> usize {
        match self {
            Self::Esp(reason) => reason as usize,
            Self::Gre(reason) => esp::Drop::ALL.len() + reason as usize,
            Self::Link(reason) => esp::Drop::ALL.len() + gre::Drop::ALL.len() + reason as usize,
        }
    }

    /// The counter's name: unique, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Esp(reason) => reason.name(),
            Self::Gre(reason) => reason.name(),
            Self::Link(reason) => reason.name(),
        }
    }
}

impl From<esp::Drop> for Drop {
    fn from(reason: esp::Drop) -> Self {
        Self::Esp(reason)
    }
}

impl From<gre::Drop> for Drop {
    fn from(reason: gre::Drop) -> Self {
        Self::Gre(reason)
    }
}

impl From<LinkDrop> for Drop {
    fn from(reason: LinkDrop) -> Self {
        Self::Link(reason)
    }
}

/// Packets and their octets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Passenger packets.
    pub packets: u64,
    /// Octets of the passengers.
    pub bytes: u64,
}

/// What happened to the packets of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Packets that arrived, from the device or from the wire.
    pub received: u64,
    /// Passengers that went on to the other side.
    pub delivered: Traffic,
    /// Packets that have done their work here: ESP's dummies (RFC 4303 §2.6), NAT keepalives (RFC 3948
    /// §2.3), GRE keepalives, probes and their answers, and the IKE messages that came between ESP
    /// packets in UDP.
    pub consumed: u64,
    /// Packets of the peer that ESP has authenticated and not seen before, whatever became of them.
    pub authentic: u64,
    /// Of the packets dropped, those with a GRE key that no tunnel has.
    pub strange_keys: KeyCounts,
    drops: [u64; Drop::COUNT],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            received: 0,
            delivered: Traffic::default(),
            consumed: 0,
            authentic: 0,
            strange_keys: KeyCounts::default(),
            drops: [0; Drop::COUNT],
        }
    }
}

impl Tally {
    /// Counts a passenger of `bytes` octets as delivered.
    pub const fn deliver(&mut self, bytes: usize) {
        self.delivered.packets += 1;
        self.delivered.bytes += bytes as u64;
    }

    /// Counts `packets` as dropped.
    pub fn drop(&mut self, reason: impl Into<Drop>, packets: usize) {
        if let Some(counter) = self.drops.get_mut(reason.into().index()) {
            *counter += packets as u64;
        }
    }

    /// How many packets were dropped for `reason`.
    pub fn dropped(&self, reason: impl Into<Drop>) -> u64 {
        self.drops.get(reason.into().index()).copied().unwrap_or(0)
    }

    /// Adds what another writer, or an earlier one, has counted.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.delivered.packets += other.delivered.packets;
        self.delivered.bytes += other.delivered.bytes;
        self.consumed += other.consumed;
        self.strange_keys.add(&other.strange_keys);
        self.authentic += other.authentic;
        for (sum, packets) in self.drops.iter_mut().zip(other.drops) {
            *sum += packets;
        }
    }

    /// The reasons that have occurred, with how many packets each has cost.
    pub fn drops(&self) -> impl Iterator<Item = (Drop, u64)> {
        Drop::all()
            .zip(self.drops)
            .filter(|(_, packets)| *packets > 0)
    }

    /// Whether every packet received is accounted for, once.
    pub fn is_conserved(&self) -> bool {
        self.received == self.delivered.packets + self.consumed + self.drops.iter().sum::<u64>()
    }
}

/// The published sum of tallies, on lines of the cache that no other sum is on.
#[derive(Debug)]
#[repr(align(64))]
pub struct Counters {
    received: AtomicU64,
    delivered_packets: AtomicU64,
    delivered_bytes: AtomicU64,
    consumed: AtomicU64,
    authentic: AtomicU64,
    strange_keys: SharedKeyCounts,
    drops: [AtomicU64; Drop::COUNT],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            received: AtomicU64::new(0),
            delivered_packets: AtomicU64::new(0),
            delivered_bytes: AtomicU64::new(0),
            consumed: AtomicU64::new(0),
            strange_keys: SharedKeyCounts::default(),
            authentic: AtomicU64::new(0),
            drops: [const { AtomicU64::new(0) }; Drop::COUNT],
        }
    }
}

impl Counters {
    /// Adds `tally` and sets it back to zero.
    pub fn publish(&self, tally: &mut Tally) {
        let Tally {
            received,
            delivered: Traffic { packets, bytes },
            consumed,
            authentic,
            strange_keys,
            drops,
        } = std::mem::take(tally);
        self.strange_keys.add(&strange_keys);
        let scalars = [
            (&self.received, received),
            (&self.delivered_packets, packets),
            (&self.delivered_bytes, bytes),
            (&self.consumed, consumed),
            (&self.authentic, authentic),
        ];
        for (counter, count) in scalars.into_iter().chain(self.drops.iter().zip(drops)) {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// The counts so far. The writer may be in the middle of publishing, so that the law of
    /// conservation can be off by the batch under way.
    pub fn read(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally {
            received: read(&self.received),
            delivered: Traffic {
                packets: read(&self.delivered_packets),
                bytes: read(&self.delivered_bytes),
            },
            consumed: read(&self.consumed),
            strange_keys: self.strange_keys.read(),
            authentic: read(&self.authentic),
            drops: self.drops.each_ref().map(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_counter_and_a_name_of_its_own() {
        let mut tally = Tally::default();
        for reason in Drop::all() {
            tally.drop(reason, 1);
        }
        assert_eq!(tally.drops, [1; Drop::COUNT]);
        for (place, reason) in Drop::all().enumerate() {
            assert_eq!(reason.index(), place, "{}", reason.name());
        }
        let names: BTreeSet<_> = Drop::all().map(Drop::name).collect();
        assert_eq!(names.len(), Drop::COUNT);
    }

    #[test]
    fn publishing_adds_up_and_empties_the_tally() {
        let counters = Counters::default();
        let mut tally = Tally::default();
        for _ in 0..2 {
            tally.received = 4;
            tally.consumed = 1;
            tally.deliver(100);
            tally.drop(LinkDrop::NoSa, 2);
            assert!(tally.is_conserved());
            counters.publish(&mut tally);
            assert_eq!(tally, Tally::default());
        }
        let sum = counters.read();
        assert!(sum.is_conserved());
        assert_eq!(sum.received, 8);
        let delivered = Traffic {
            packets: 2,
            bytes: 200,
        };
        assert_eq!(sum.delivered, delivered);
        assert_eq!(
            sum.drops().collect::<Vec<_>>(),
            [(LinkDrop::NoSa.into(), 4)]
        );
    }
}
