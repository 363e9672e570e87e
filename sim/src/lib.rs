#![forbid(unsafe_code)]
//! A virtual network with a virtual clock, seeded, for tests of sans-IO code.
//!
//! A [`Sim`] owns [`Node`]s, carries their [`Frame`]s with a [`Quality`], and jumps its clock to
//! whatever happens next: an arrival or a node's deadline. Hours of two peers' life take
//! milliseconds, and the same seed and the same nodes give the same [`Trace`].
//!
//! ```
//! # use std::time::{Duration, Instant};
//! # use secure_gre_sim::{Frame, Node, Quality, Sim};
//! # struct Silent;
//! # impl Node for Silent {
//! #     fn receive(&mut self, _: Instant, _: Frame) {}
//! #     fn timeout(&mut self, _: Instant) {}
//! #     fn poll(&mut self, _: Instant) -> Vec<Frame> { Vec::new() }
//! #     fn deadline(&self) -> Option<(Instant, String)> { None }
//! # }
//! # let (left, right) = (Silent, Silent);
//! let mut sim = Sim::new(7);
//! sim.add(["192.0.2.1".parse().unwrap()], left);
//! sim.add(["192.0.2.2".parse().unwrap()], right);
//! sim.set_quality(Quality::LOSSY);
//! sim.run_for(Duration::from_secs(3600)).unwrap();
//! ```
//!
//! Not here: what the frames mean, sockets, address translation, links with a rate or an MTU.

mod network;
mod quality;
mod stuck;
mod trace;

use std::net::SocketAddr;
use std::time::Instant;

pub use network::{Sim, Verdict};
pub use quality::Quality;
pub use stuck::{NodeReport, Reason, Stuck};
pub use trace::{Entry, Fate, Trace};

/// What travels: a datagram and its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The sender's address and port, as its node gave it.
    pub source: SocketAddr,
    /// The network delivers by its address; the node sees to the port.
    pub destination: SocketAddr,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// Something on the network. After each `receive` and `timeout`, and where a run begins, the
/// network calls [`poll`](Self::poll) and then [`deadline`](Self::deadline).
pub trait Node {
    /// A frame has arrived.
    fn receive(&mut self, now: Instant, frame: Frame);
    /// The deadline has come.
    fn timeout(&mut self, now: Instant);
    /// Everything that is to be sent at this moment, in order.
    fn poll(&mut self, now: Instant) -> Vec<Frame>;
    /// When to call [`timeout`](Self::timeout), and why: a person reads the reason in a
    /// [`Stuck`]. A time in the past means at once.
    fn deadline(&self) -> Option<(Instant, String)>;
}

/// Nodes of several types in one network.
impl<N: Node + ?Sized> Node for Box<N> {
    fn receive(&mut self, now: Instant, frame: Frame) {
        (**self).receive(now, frame);
    }

    fn timeout(&mut self, now: Instant) {
        (**self).timeout(now);
    }

    fn poll(&mut self, now: Instant) -> Vec<Frame> {
        (**self).poll(now)
    }

    fn deadline(&self) -> Option<(Instant, String)> {
        (**self).deadline()
    }
}

#[cfg(test)]
mod tests;
