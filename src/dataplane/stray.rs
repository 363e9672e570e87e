//! ESP in UDP that came from elsewhere than the wire leads to: first signs of a NAT that has forgotten
//! the peer (RFC 7296 §2.23). The daemon finds them on the socket that it shares with the wires, and
//! hands them to the link that has the SA. They are opened like any other; whether they move the
//! wire is the daemon's to decide, once they have turned out to be fresh and authentic.

use std::time::{Duration, Instant};

use super::bucket::Bucket;
use crate::net::outer::Path;

/// How many may be opened at once, and how often one more: what arrives while the wire is laid anew,
/// at a rate at which the TCP connections inside survive. Who knows an SPI can make us check so many
/// ICVs, and no more.
const BURST: u32 = 256;
const INTERVAL: Duration = Duration::from_millis(1);

/// One such packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// To where and from where it came.
    pub path: Path,
    /// From the SPI to the ICV.
    pub esp: Box<[u8]>,
}

/// Those that wait to be opened.
#[derive(Debug)]
pub(super) struct Strays {
    waiting: Vec<Stray>,
    bucket: Bucket,
}

impl Default for Strays {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            bucket: Bucket::new(BURST, INTERVAL),
        }
    }
}

impl Strays {
    /// Keeps one until it is opened; `false`: they come too fast, and it is lost.
    pub(super) fn push(&mut self, stray: Stray, now: Instant) -> bool {
        let has_room = self.bucket.take(now);
        if has_room {
            self.waiting.push(stray);
        }
        has_room
    }

    pub(super) fn take(&mut self) -> Vec<Stray> {
        std::mem::take(&mut self.waiting)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
