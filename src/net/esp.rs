//! The outer side of the packet path: ESP packets (RFC 4303) to and from one peer.
//!
//! One [`Wire`] is one socket that is bound to our outer address and connected to the peer's, so the
//! kernel finds the route, writes the outer header and keeps other sources out (but for what arrives
//! while the wire is being laid: it is the SA that authenticates). How the packets travel is the
//! constructor's choice: native ESP (IP protocol 50) over IPv4. What is inside an ESP packet is none
//! of this file's business.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{SockaddrIn, bind, connect, getsockopt, setsockopt, sockopt};

use super::sys;

/// The most packets that one call takes from the kernel.
pub const MAX_BATCH: usize = sys::BATCH;

/// A socket that carries ESP between two outer addresses. Sending and receiving may happen on
/// different threads; nothing here waits, [`poll`](super::poll) does.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    remote: SocketAddrV4,
}

impl Wire {
    /// Native ESP over IPv4: a raw socket of IP protocol 50. Outer packets carry `ttl` and DF.
    pub fn native_v4(local: Ipv4Addr, remote: Ipv4Addr, ttl: u8) -> Result<Self, WireError> {
        let socket = sys::raw_socket(libc::IPPROTO_ESP).map_err(|errno| match errno {
            Errno::EPERM | Errno::EACCES => WireError::NotPermitted,
            errno => WireError::os("make a raw socket", errno),
        })?;
        // No IP_RECVERR: without it the kernel keeps the path MTU and reports EMSGSIZE all the same,
        // while an error queue would have to be emptied before poll(2) rests again.
        setsockopt(&socket, sys::Ipv4MtuDiscover, &libc::IP_PMTUDISC_DO)
            .map_err(|errno| WireError::os("set DF", errno))?;
        setsockopt(&socket, sockopt::Ipv4Ttl, &ttl.into())
            .map_err(|errno| WireError::os("set the TTL", errno))?;
        enlarge_buffers(&socket);
        bind(
            socket.as_raw_fd(),
            &SockaddrIn::from(SocketAddrV4::new(local, 0)),
        )
        .map_err(|errno| match errno {
            Errno::EADDRNOTAVAIL => WireError::NotOurAddress {
                local: local.into(),
            },
            errno => WireError::os("bind to the local address", errno),
        })?;
        let wire = Self {
            socket,
            remote: SocketAddrV4::new(remote, 0),
        };
        wire.connect().map_err(|errno| match errno {
            Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EACCES => WireError::NoRoute {
                remote: remote.into(),
            },
            errno => WireError::os("connect to the peer", errno),
        })?;
        Ok(wire)
    }

    /// Octets that the outer headers put before an ESP packet.
    pub fn overhead(&self) -> usize {
        IPV4_HEADER
    }

    /// The largest outer packet, headers included, that reaches the peer as far as the kernel knows:
    /// the link's MTU, or less after an ICMP "fragmentation needed" (RFC 1191).
    pub fn path_mtu(&self) -> io::Result<usize> {
        // A socket answers from the route that it was connected on; this looks it up afresh.
        self.connect()?;
        let mtu = getsockopt(&self.socket, sockopt::IpMtu)?;
        Ok(usize::try_from(mtu).unwrap_or(0))
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
            self.send_batch(batch, &mut outcome)?;
        }
    }

    /// Takes up to [`MAX_BATCH`] packets, as many as there are and `batch` has slots for. An ICMP error
    /// comes alone, so 0 packets does not mean that none is left: that is for `poll` to say.
    pub fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<ReceiveOutcome> {
        let mut outcome = ReceiveOutcome::default();
        let mut arrivals = [sys::Arrival::default(); sys::BATCH];
        let received = match sys::receive_batch(self.socket.as_fd(), batch.slots(), &mut arrivals) {
            Ok(received) => received,
            Err(Errno::EAGAIN) => 0,
            Err(errno) if is_network_error(errno) => {
                outcome.network_errors += 1;
                0
            }
            Err(errno) => return Err(errno.into()),
        };
        batch.fill(arrivals.iter().take(received), &mut outcome);
        Ok(outcome)
    }

    fn connect(&self) -> Result<(), Errno> {
        connect(self.socket.as_raw_fd(), &SockaddrIn::from(self.remote))
    }

    fn send_batch(&self, mut batch: &[Outgoing<'_>], outcome: &mut SendOutcome) -> io::Result<()> {
        while let [_, rest @ ..] = batch {
            match sys::send_batch(self.socket.as_fd(), batch) {
                Ok(sent) => {
                    outcome.sent += sent;
                    batch = batch.get(sent..).unwrap_or_default();
                }
                Err(errno) => {
                    *outcome.refusal(errno).ok_or(errno)? += 1;
                    batch = rest;
                }
            }
        }
        Ok(())
    }
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
}

/// What became of a batch; each packet is in exactly one of the fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendOutcome {
    /// Given to the kernel.
    pub sent: usize,
    /// Longer than [`Wire::path_mtu`] allows.
    pub too_big: usize,
    /// No route to the peer, its link is down, or our outer address is gone.
    pub unreachable: usize,
    /// Refused by a local firewall.
    pub blocked: usize,
    /// The socket's buffer is full, or memory is short.
    pub no_room: usize,
}

impl SendOutcome {
    /// The field for a packet that the kernel refused while the socket stays good.
    fn refusal(&mut self, errno: Errno) -> Option<&mut usize> {
        match errno {
            Errno::EMSGSIZE => Some(&mut self.too_big),
            // EACCES is a "prohibit" route; EINVAL a "blackhole", or our address has gone.
            Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::ENETDOWN
            | Errno::EACCES
            | Errno::EINVAL => Some(&mut self.unreachable),
            Errno::EPERM => Some(&mut self.blocked),
            Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => Some(&mut self.no_room),
            _ => None,
        }
    }
}

/// What [`Wire::receive`] did; the packets themselves are in the batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReceiveOutcome {
    /// In the batch.
    pub packets: usize,
    /// Longer than a slot, so not in the batch.
    pub truncated: usize,
    /// Without a whole outer header, so not in the batch.
    pub malformed: usize,
    /// ICMP errors that came back for packets that we sent.
    pub network_errors: usize,
}

/// Slots for received packets, allocated once.
#[derive(Debug)]
pub struct ReceiveBatch {
    buffer: Box<[u8]>,
    slot_size: NonZeroUsize,
    /// For each slot that the last reception filled.
    found: Vec<Option<Found>>,
}

#[derive(Debug, Clone)]
struct Found {
    esp: Range<usize>,
    tos: u8,
    source: SocketAddr,
}

impl ReceiveBatch {
    /// `slots` (at most [`MAX_BATCH`] are of use) of `slot_size` octets each: the longest outer packet
    /// to be received, header included.
    pub fn new(slots: NonZeroUsize, slot_size: NonZeroUsize) -> Self {
        let slots = slots.get().min(MAX_BATCH);
        Self {
            buffer: vec![0; slots * slot_size.get()].into_boxed_slice(),
            slot_size,
            found: Vec::with_capacity(slots),
        }
    }

    /// What the last [`Wire::receive`] brought, in the order of arrival.
    pub fn packets(&mut self) -> impl Iterator<Item = Incoming<'_>> {
        let slots = self.buffer.chunks_exact_mut(self.slot_size.get());
        slots.zip(&self.found).filter_map(|(buffer, found)| {
            let Found { esp, tos, source } = found.clone()?;
            Some(Incoming {
                buffer,
                esp,
                tos,
                source,
            })
        })
    }

    fn slots(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.buffer.chunks_exact_mut(self.slot_size.get())
    }

    fn fill<'a>(
        &mut self,
        arrivals: impl Iterator<Item = &'a sys::Arrival>,
        outcome: &mut ReceiveOutcome,
    ) {
        self.found.clear();
        let slots = self.buffer.chunks_exact(self.slot_size.get());
        for (slot, arrival) in slots.zip(arrivals) {
            let found = strip_ipv4(slot.get(..arrival.length).unwrap_or_default())
                .filter(|_| !arrival.truncated);
            match &found {
                Some(_) => outcome.packets += 1,
                None if arrival.truncated => outcome.truncated += 1,
                None => outcome.malformed += 1,
            }
            self.found.push(found);
        }
    }
}

/// One received packet in its slot.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// The slot; what lies around [`esp`](Self::esp) is free to be overwritten.
    pub buffer: &'a mut [u8],
    /// Where in `buffer` the ESP packet is, from its SPI to its ICV.
    pub esp: Range<usize>,
    /// The outer TOS octet (DSCP and ECN).
    pub tos: u8,
    /// The outer source; port 0, as native ESP has none.
    pub source: SocketAddr,
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

/// What the kernel makes of ICMP errors (`icmp_err_convert` and its callers). It leaves them on the
/// connected socket, and the next reception reports and clears them.
fn is_network_error(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::EHOSTDOWN
            | Errno::ENONET
            | Errno::ECONNREFUSED
            | Errno::ENOPROTOOPT
            | Errno::EOPNOTSUPP
            | Errno::EMSGSIZE
            | Errno::EPROTO
    )
}

/// Where the ESP packet lies behind the IPv4 header that a raw socket delivers with it.
fn strip_ipv4(packet: &[u8]) -> Option<Found> {
    let (header, _) = packet.split_first_chunk::<IPV4_HEADER>()?;
    let [version_and_length, tos, ..] = *header;
    let [.., s0, s1, s2, s3, _, _, _, _] = *header;
    let header_length = usize::from(version_and_length & 0x0f) * 4;
    if version_and_length >> 4 != 4 || !(IPV4_HEADER..=packet.len()).contains(&header_length) {
        return None;
    }
    let source = SocketAddrV4::new(Ipv4Addr::new(s0, s1, s2, s3), 0);
    Some(Found {
        esp: header_length..packet.len(),
        tos,
        source: source.into(),
    })
}

/// The FORCE variants pass the system's limit and need CAP_NET_ADMIN. Any size works, so a refusal
/// costs speed and nothing else.
fn enlarge_buffers(socket: &OwnedFd) {
    let _ = setsockopt(socket, sockopt::RcvBufForce, &SOCKET_BUFFER)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &SOCKET_BUFFER));
    let _ = setsockopt(socket, sockopt::SndBufForce, &SOCKET_BUFFER)
        .or_else(|_| setsockopt(socket, sockopt::SndBuf, &SOCKET_BUFFER));
}

/// An IPv4 header without options.
const IPV4_HEADER: usize = 20;

/// Octets asked for in each direction: bridges about 50 ms of a 1 Gbit/s link, where the kernel's
/// default of 200 kB drops while the worker is off the CPU (wireguard-go uses the same).
const SOCKET_BUFFER: usize = 7 << 20;

#[cfg(test)]
mod tests;
