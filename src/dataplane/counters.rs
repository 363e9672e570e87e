//! What a link counts: the packets of the wire until it is clear which tunnel they are for, and those of
//! each tunnel in each direction. Each of these tallies is conserved by itself
//! ([`Tally::is_conserved`]); what arrives is *delivered* to its tunnel.
//!
//! Not here: the counters themselves (`metrics`).

use crate::metrics::{Counters, Tally};

/// What a link has counted since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// What came from the wire, delivered when its tunnel was found.
    pub arrivals: Tally,
    /// By tunnel, in the order of [`TunnelId`](super::TunnelId).
    pub tunnels: Vec<TunnelCounters>,
}

/// What the two directions of a tunnel have counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TunnelCounters {
    /// From the device to the wire.
    pub outbound: Tally,
    /// From the wire, when ESP and the key were right, to the device.
    pub inbound: Tally,
}

impl LinkCounters {
    /// Adds what another link of the same tunnels has counted.
    pub fn add(&mut self, other: &Self) {
        self.arrivals.add(&other.arrivals);
        let wanted = self.tunnels.len().max(other.tunnels.len());
        self.tunnels.resize_with(wanted, TunnelCounters::default);
        for (sum, tunnel) in self.tunnels.iter_mut().zip(&other.tunnels) {
            sum.outbound.add(&tunnel.outbound);
            sum.inbound.add(&tunnel.inbound);
        }
    }

    /// How many packets have left, of all tunnels together.
    pub fn sent(&self) -> u64 {
        let tunnels = self.tunnels.iter();
        tunnels
            .map(|tunnel| tunnel.outbound.delivered.packets)
            .sum()
    }
}

/// The same as the workers publish it.
#[derive(Debug)]
pub(super) struct SharedCounters {
    pub(super) arrivals: Counters,
    pub(super) tunnels: Box<[SharedTunnelCounters]>,
}

#[derive(Debug, Default)]
pub(super) struct SharedTunnelCounters {
    pub(super) outbound: Counters,
    pub(super) inbound: Counters,
}

impl SharedCounters {
    pub(super) fn new(tunnels: usize) -> Self {
        let tunnels = (0..tunnels).map(|_| SharedTunnelCounters::default());
        Self {
            arrivals: Counters::default(),
            tunnels: tunnels.collect(),
        }
    }

    pub(super) fn read(&self) -> LinkCounters {
        let tunnels = self.tunnels.iter().map(|tunnel| TunnelCounters {
            outbound: tunnel.outbound.read(),
            inbound: tunnel.inbound.read(),
        });
        LinkCounters {
            arrivals: self.arrivals.read(),
            tunnels: tunnels.collect(),
        }
    }
}
