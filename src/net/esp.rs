//! The outer side of the packet path: ESP packets (RFC 4303) to and from one peer.
//!
//! One [`Wire`] is one socket that is bound to our outer address and connected to the peer's, so the
//! kernel finds the route, writes the outer headers and keeps other sources out (but for what
//! arrives while the wire is being laid: it is the SA that authenticates). There are four kinds, IP
//! protocol 50 or UDP (RFC 3948) over IPv4 or IPv6, and they differ in `kind` alone. What is inside
//! an ESP packet is none of this file's business.
//!
//! A wire in UDP takes all that the peer's port sends to our port 4500, IKE messages too: the kernel
//! prefers the connected socket to that of [`ike`](super::ike). They come out of
//! [`ReceiveBatch::messages`], for the caller to hand on.

mod batch;
mod kind;
mod refusal;
mod run;

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrStorage, bind, connect, recv};

use self::kind::{Kind, bind_via, enlarge_buffers};
use self::refusal::{AfterRefusal, is_network_error};
use super::outer::{Encapsulation, NAT_KEEPALIVE, Path, Via};
use super::sys::{self, Refused};

pub use self::batch::{Incoming, ReceiveBatch, ReceiveOutcome};
pub use self::kind::Overhead;

/// RFC 3948 §4: how long a wire may be idle before a NAT may forget us.
const NAT_KEEPALIVE_EVERY: Duration = Duration::from_secs(20);

/// A socket that carries ESP between two outer addresses. Sending and receiving may happen on
/// different threads; nothing here waits, [`poll`](super::poll) does.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    kind: Kind,
    path: Path,
    via: Via,
    /// The TTL of packets that say nothing else.
    ttl: NonZeroU8,
    /// What the socket writes into outer headers. Who sends holds it: at once with others whose packets
    /// want the same, else alone.
    current: RwLock<OuterFields>,
    /// Whether the kernel makes several datagrams of one message.
    segmentation: AtomicBool,
}

/// What a socket option, rather than a control message, says of the outer header: cheap where it
/// seldom changes, and for DF there is no other way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OuterFields {
    ttl: NonZeroU8,
    may_fragment: bool,
}

impl Wire {
    /// Lays a wire. Outer packets go `via` a device or with a mark, carry `ttl`, and are not
    /// fragmented, but for those that say otherwise. With `offload`, those in UDP pass the kernel many
    /// at a time, where it can.
    ///
    /// # Errors
    /// [`WireError`], which says what to do about it.
    pub fn new(
        path: Path,
        via: Via,
        encapsulation: Encapsulation,
        ttl: NonZeroU8,
        offload: bool,
    ) -> Result<Self, WireError> {
        let kind = Kind::new(path, encapsulation)?;
        let socket = kind.open()?;
        let fields = OuterFields {
            ttl,
            may_fragment: false,
        };
        kind.configure(&socket)
            .and_then(|()| kind.set_fields(&socket, fields))
            .map_err(|errno| WireError::os("set up a socket", errno))?;
        let segmentation = offload && kind.enable_offloads(&socket);
        bind_via(&socket, via)?;
        enlarge_buffers(&socket);
        let wire = Self {
            socket,
            kind,
            path: kind.without_ports(path),
            via,
            ttl,
            current: RwLock::new(fields),
            segmentation: AtomicBool::new(segmentation),
        };
        wire.bind()?;
        wire.connect().map_err(|errno| match errno {
            Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EACCES => WireError::NoRoute {
                remote: path.remote.ip(),
            },
            errno => WireError::os("connect to the peer", errno),
        })?;
        wire.discard_strangers();
        Ok(wire)
    }

    /// The addresses of both ends; the ports are 0 where ESP is not in UDP.
    pub const fn path(&self) -> Path {
        self.path
    }

    /// What its packets are bound to.
    pub const fn via(&self) -> Via {
        self.via
    }

    /// Whether a new wire on this path would be the same.
    pub fn is_like(&self, path: Path, via: Via, encapsulation: Encapsulation) -> bool {
        self.kind.encapsulation == encapsulation
            && self.path == self.kind.without_ports(path)
            && self.via == via
    }

    /// Octets that the outer headers put before an ESP packet.
    pub const fn overhead(&self) -> Overhead {
        Overhead {
            ip: self.kind.ip_header(),
            udp: self.kind.udp_header(),
        }
    }

    /// How long nothing may be sent before [`keep_alive`](Self::keep_alive) is due; `None`: for ever.
    pub const fn keepalive_interval(&self) -> Option<Duration> {
        match self.kind.encapsulation {
            Encapsulation::Udp { keepalives: true } => Some(NAT_KEEPALIVE_EVERY),
            _ => None,
        }
    }

    /// Reminds a NAT on our side of us (RFC 3948 §2.3). Like any packet, it may get lost. `Err` only
    /// if the socket itself is unusable.
    pub fn keep_alive(&self) -> io::Result<()> {
        let reminder = Outgoing {
            esp: &NAT_KEEPALIVE,
            ..Outgoing::default()
        };
        self.send([reminder]).map(drop)
    }

    /// Sends ESP packets in their order. `Err` only if the socket itself is unusable; what became of
    /// the packets is in the outcome.
    pub fn send<'a>(
        &self,
        packets: impl IntoIterator<Item = Outgoing<'a>>,
    ) -> io::Result<SendOutcome> {
        let mut packets = packets.into_iter();
        let mut outcome = SendOutcome::default();
        loop {
            let mut batch = [Outgoing::default(); sys::BATCH];
            let mut filled = 0;
            for (slot, packet) in batch.iter_mut().zip(&mut packets) {
                *slot = packet;
                filled += 1;
            }
            let Some(batch @ [_, ..]) = batch.get(..filled) else {
                return Ok(outcome);
            };
            for alike in batch.chunk_by(|a, b| self.fields(a) == self.fields(b)) {
                let cut = self.segmentation.load(Ordering::Relaxed);
                let run = if cut { run::length } else { singly };
                let _held = self.hold_fields(alike)?;
                self.send_runs(alike, run, &mut outcome)?;
            }
        }
    }

    fn fields(&self, packet: &Outgoing<'_>) -> OuterFields {
        OuterFields {
            ttl: packet.ttl.unwrap_or(self.ttl),
            may_fragment: packet.may_fragment,
        }
    }

    /// Has the socket write what these packets, which are alike in that, want in their outer headers,
    /// until the guard is dropped.
    fn hold_fields(&self, alike: &[Outgoing<'_>]) -> io::Result<RwLockReadGuard<'_, OuterFields>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = alike.first().map_or(*current, |first| self.fields(first));
        if *current == wanted {
            return Ok(current);
        }
        drop(current);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if *current != wanted {
            self.kind.set_fields(&self.socket, wanted)?;
            *current = wanted;
        }
        Ok(RwLockWriteGuard::downgrade(current))
    }

    /// Takes as many packets as there are and `batch` has slots for. An ICMP error comes alone, so 0
    /// packets does not mean that none is left: that is for `poll` to say.
    pub fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<ReceiveOutcome> {
        let mut outcome = ReceiveOutcome::default();
        let (slots, arrivals) = batch.room();
        match sys::receive_batch(self.socket.as_fd(), self.kind.family, slots, arrivals) {
            Ok(()) | Err(Errno::EAGAIN) => {}
            Err(errno) if is_network_error(errno) => outcome.network_errors += 1,
            Err(errno) => return Err(errno.into()),
        }
        batch.sort(self.kind, &mut outcome);
        Ok(outcome)
    }

    fn bind(&self) -> Result<(), WireError> {
        let local = self.path.local;
        bind(self.socket.as_raw_fd(), &SockaddrStorage::from(local)).map_err(|errno| match errno {
            Errno::EADDRNOTAVAIL => WireError::NotOurAddress { local: local.ip() },
            errno => WireError::os("bind to the local address", errno),
        })
    }

    fn connect(&self) -> Result<(), Errno> {
        let remote = SockaddrStorage::from(self.path.remote);
        connect(self.socket.as_raw_fd(), &remote)
    }

    /// What came in between binding and connecting may be anybody's, an IKE message of another peer
    /// for example, which would be taken for this one's.
    fn discard_strangers(&self) {
        let mut octet = [0];
        while recv(self.socket.as_raw_fd(), &mut octet, MsgFlags::MSG_DONTWAIT).is_ok() {}
    }

    /// Sends `batch` as messages of as many packets as `run` says.
    fn send_runs(
        &self,
        mut batch: &[Outgoing<'_>],
        run: Run,
        outcome: &mut SendOutcome,
    ) -> io::Result<()> {
        while !batch.is_empty() {
            match sys::send_messages(self.socket.as_fd(), self.kind.family, batch, run) {
                Ok(sent) => {
                    outcome.sent += sent;
                    batch = batch.get(sent..).unwrap_or_default();
                }
                Err(Refused { errno, packets }) => {
                    let (message, later) = batch.split_at(packets.min(batch.len()));
                    self.refused(errno, message, outcome)?;
                    batch = later;
                }
            }
        }
        Ok(())
    }

    /// Deals with a message that the kernel refused.
    fn refused(
        &self,
        errno: Errno,
        message: &[Outgoing<'_>],
        outcome: &mut SendOutcome,
    ) -> io::Result<()> {
        match AfterRefusal::of(errno, message) {
            AfterRefusal::CutNoMore => {
                self.cut_no_more(outcome);
                self.send_runs(message, singly, outcome)
            }
            AfterRefusal::Singly => self.send_runs(message, singly, outcome),
            AfterRefusal::Doubt => {
                let before = outcome.sent;
                self.send_runs(message, singly, outcome)?;
                if outcome.sent == before + message.len() {
                    self.cut_no_more(outcome);
                }
                Ok(())
            }
            AfterRefusal::Final => {
                *outcome.refusal(errno).ok_or(errno)? += message.len();
                Ok(())
            }
        }
    }

    fn cut_no_more(&self, outcome: &mut SendOutcome) {
        outcome.segmentation_lost |= self.segmentation.swap(false, Ordering::Relaxed);
    }
}

/// How many of the next packets go to the kernel as one message.
type Run = fn(&[Outgoing<'_>]) -> usize;

fn singly(_: &[Outgoing<'_>]) -> usize {
    1
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// One ESP packet to send.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outgoing<'a> {
    /// From the SPI to the ICV.
    pub esp: &'a [u8],
    /// The outer TOS octet (DSCP and ECN).
    pub tos: u8,
    /// The outer TTL; `None`: the wire's.
    pub ttl: Option<NonZeroU8>,
    /// Whether routers, or for IPv6 this host, may fragment the outer packet.
    pub may_fragment: bool,
}

/// What became of a batch; each packet is in exactly one of the fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendOutcome {
    /// Given to the kernel.
    pub sent: usize,
    /// Longer than the link takes; or a router has said so of an earlier packet, and the kernel tells it
    /// to this one instead of sending it.
    pub too_big: usize,
    /// No route to the peer, its link is down, or our outer address is gone.
    pub unreachable: usize,
    /// Refused by a local firewall.
    pub blocked: usize,
    /// The socket's buffer is full, or memory is short.
    pub no_room: usize,
    /// The kernel cannot cut messages on this wire, as it has just said for the first time: from here
    /// on packets go singly.
    pub segmentation_lost: bool,
}

/// Why a wire can't be laid.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// CAP_NET_RAW is missing.
    #[error("not permitted to open a raw socket for ESP: run as root or with CAP_NET_RAW")]
    NotPermitted,
    /// The local address isn't ours.
    #[error("{local} is not an address of this host; correct \"local\" or add the address")]
    NotOurAddress {
        /// What was to be bound.
        local: IpAddr,
    },
    /// No packet has an address of each.
    #[error("{local} and {remote} are of different IP versions; correct \"local\" or \"address\"")]
    TwoFamilies {
        /// Our address.
        local: IpAddr,
        /// The peer's.
        remote: IpAddr,
    },
    /// There is no way to the peer.
    #[error(
        "no route to the peer {remote}; \"ip route get {remote}\" shows what the kernel thinks"
    )]
    NoRoute {
        /// The peer.
        remote: IpAddr,
    },
    /// Anything else.
    #[error("can't {action} for ESP: {source}")]
    Os {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl WireError {
    fn os(action: &'static str, errno: Errno) -> Self {
        Self::Os {
            action,
            source: errno.into(),
        }
    }
}

#[cfg(test)]
mod tests;
