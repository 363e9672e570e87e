//! What the workers tell the daemon.
//!
//! Notes are rare: each is given once per SA, when something has changed, or at a limited rate, and
//! never per packet.

use std::io;

use secure_gre_gre as gre;
use secure_gre_gre::probe::Probe;

use super::{SaId, TunnelId};
use crate::net::outer::Path;

/// News from a worker.
#[derive(Debug)]
pub enum Note {
    /// The outbound SA has passed a soft limit: time for a rekey.
    SoftLimit {
        /// Which pair.
        sa: SaId,
    },
    /// The outbound SA may protect nothing more: packets are dropped until another takes over.
    Exhausted {
        /// Which pair.
        sa: SaId,
    },
    /// The inbound SA has its first authentic packet, so the peer has the pair
    /// (RFC 7296 §2.8).
    FirstInbound {
        /// Which pair.
        sa: SaId,
    },
    /// An authentic packet of an inbound SA, newer than all before it, came from elsewhere than the
    /// wire leads to (RFC 7296 §2.23). At a limited rate.
    Elsewhere {
        /// To where and from where.
        path: Path,
    },
    /// The peer asks by a GRE keepalive. At a limited rate.
    KeepaliveRequest {
        /// In which tunnel.
        tunnel: TunnelId,
        /// What under a header of ESP is the answer.
        answer: gre::keepalive::Packet,
    },
    /// The peer has answered a GRE keepalive of ours. At a limited rate.
    KeepaliveAnswer {
        /// In which tunnel.
        tunnel: TunnelId,
    },
    /// The tunnel's device is gone. Nothing of it passes until it has another one.
    DeviceGone {
        /// Which tunnel's.
        tunnel: TunnelId,
        /// What the kernel said.
        error: io::Error,
    },
    /// The peer asks, or answers, by a probe. At a limited rate.
    Probe(Probe),
    /// The peer has answered an echo request of ours. At a limited rate.
    EchoAnswer {
        /// Which one.
        sequence: u16,
        /// Of the request, in octets.
        size: u16,
    },
    /// The kernel does not cut messages on this wire: each packet costs a passage through its stack.
    SegmentationLost,
    /// A thread has ended, and its direction carries nothing until the link is started again.
    WorkerFailed {
        /// Which direction.
        direction: Direction,
        /// Why.
        error: WorkerError,
    },
}

/// What a thread of a link carries, seen from this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the devices to the wire.
    Outbound,
    /// From the wire to the devices.
    Inbound,
    /// Both, which one thread carries.
    Both,
}

/// Why a worker could not go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The socket is unusable.
    #[error("the ESP socket does not work any more: {0}")]
    Wire(#[source] io::Error),
    /// The kernel refuses to tell when there is work.
    #[error("can't wait for packets: {0}")]
    Wait(#[source] io::Error),
    /// A defect of ours.
    #[error("a packet worker panicked: this is a bug, please report it")]
    Panicked,
}
