//! The checks, one file each: what is done, when it counts as shown, and the finding in words.

pub(super) mod link;
pub(super) mod mtu;
pub(super) mod multicast;
pub(super) mod negotiation;
pub(super) mod ping;
pub(super) mod throughput;

use std::time::Duration;

/// An answer through the tunnel takes less than a millisecond; what takes this long is lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
