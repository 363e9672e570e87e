//! Why a run did not reach its goal, told so that a failed test explains itself: [`Stuck`].

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// What ended the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The time was over.
    Limit,
    /// No frame under way and no deadline: nothing would ever happen again.
    Idle,
    /// The node of this address wants a timeout at once, again and again.
    Spinning(IpAddr),
    /// More steps than any sensible run takes: frames breed.
    Steps,
}

/// What one node was waiting for.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// The node's addresses.
    pub addresses: Vec<IpAddr>,
    /// Its deadline, counted from the beginning of the simulation, and the reason for it.
    pub deadline: Option<(Duration, String)>,
}

/// A run that did not reach its goal. `Debug` prints the same report as `Display`, for `unwrap`.
#[derive(Clone, PartialEq, Eq)]
pub struct Stuck {
    /// What ended the run.
    pub reason: Reason,
    /// Replays it.
    pub seed: u64,
    /// Since the simulation began.
    pub at: Duration,
    /// Frames under way.
    pub in_flight: usize,
    /// Every node, in the order of their joining.
    pub nodes: Vec<NodeReport>,
}

impl std::error::Error for Stuck {}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reason,
            seed,
            at,
            in_flight,
            nodes,
        } = self;
        write!(
            f,
            "stuck: {reason:?} at {at:?}, {in_flight} frames under way, seed {seed}"
        )?;
        for NodeReport {
            addresses,
            deadline,
        } in nodes
        {
            match deadline {
                Some((due, why)) => write!(f, "\n  {addresses:?} waits until {due:?}: {why}")?,
                None => write!(f, "\n  {addresses:?} waits for nothing")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
