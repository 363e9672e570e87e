//! The UDP sockets of IKE (RFC 7296 §2, §2.11, §2.23; RFC 3948): ports 500 and 4500, for all of our
//! addresses at once. What the datagrams say is the `ike` crate's; when to send them, the daemon's.
//!
//! A socket is bound to the wildcard address, so that addresses may come and go, and every datagram
//! carries the address on our side (`IP_PKTINFO`): an answer leaves from the one that was called. On
//! port 4500 the non-ESP marker is added and stripped here; what a peer with a wire of its own there
//! sends ([`esp`](super::esp)) does not get here.

use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrStorage, bind,
    recvmsg, sendmsg, setsockopt, socket, sockopt,
};
use tokio::io::Interest;

use super::outer::{NAT_TRAVERSAL_PORT, NON_ESP_MARKER, OnSharedPort, Path, Via, on_shared_port};
use super::sys::Family;

/// RFC 7296 §2.
pub const IKE_PORT: u16 = 500;

/// The sockets: two ports of each IP version.
#[derive(Debug)]
pub struct IkeSockets {
    /// Never empty.
    sockets: Vec<Socket>,
    /// Which of them is asked first, so that a flood on one does not starve the others.
    turn: AtomicUsize,
}

impl IkeSockets {
    /// Takes the ports for this process alone, of IPv6 where the host has it. Must be called within
    /// a tokio runtime with I/O.
    pub fn bind() -> Result<Self, BindError> {
        let mut sockets = Vec::new();
        for family in [Family::V4, Family::V6] {
            for port in [IKE_PORT, NAT_TRAVERSAL_PORT] {
                sockets.extend(Socket::bind(family, port)?);
            }
        }
        Ok(Self {
            sockets,
            turn: AtomicUsize::new(0),
        })
    }

    /// Waits for one datagram on any of them. `buffer` should hold 65535 octets. A future that is
    /// dropped before it is ready has taken no datagram.
    pub async fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Arrival<'b>> {
        let (socket, datagram) = loop {
            let socket = self.readable().await?;
            match socket
                .udp
                .try_io(Interest::READABLE, || socket.receive(buffer))
            {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                datagram => break (socket, datagram?),
            }
        };
        Ok(socket.classify(datagram, buffer))
    }

    async fn readable(&self) -> io::Result<&Socket> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.sockets.len().max(1);
        let (later, first) = self.sockets.split_at(turn);
        poll_fn(|context| {
            for socket in first.iter().chain(later) {
                if let Poll::Ready(ready) = socket.udp.poll_recv_ready(context) {
                    return Poll::Ready(ready.map(|()| socket));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Sends one IKE message from `path.local` (an unspecified address lets the kernel choose) to
    /// `path.remote`, `via` the device or with the mark that is given. An error concerns this message
    /// only: retransmission (RFC 7296 §2.1) deals with it. DF is left to the kernel, which fragments a
    /// message that is longer than a known path MTU.
    pub async fn send(&self, path: &Path, via: Via, message: &[u8]) -> Result<(), SendError> {
        let families = (Family::of(path.local.ip()), Family::of(path.remote.ip()));
        let socket = self
            .sockets
            .iter()
            .find(|socket| {
                socket.port == path.local.port() && (socket.family, socket.family) == families
            })
            .ok_or(SendError::NoSocket { path: *path })?;
        let sent = socket
            .udp
            .async_io(Interest::WRITABLE, || socket.send(path, via, message));
        sent.await.map_err(|source| SendError::Os {
            path: *path,
            source,
        })
    }
}

/// One datagram, by what is to be done with it.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<'b> {
    /// An IKE message, without the non-ESP marker.
    Message {
        /// Where it came in.
        path: Path,
        /// From the IKE header on.
        bytes: &'b [u8],
    },
    /// On port 4500 without the non-ESP marker (RFC 3948 §2.2): an ESP packet from where no wire leads.
    Esp {
        /// Where it came in.
        path: Path,
        /// From the SPI on.
        bytes: &'b [u8],
    },
    /// Nothing for anybody; to be counted.
    Discarded(Discard),
}

/// Why a datagram is no IKE message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Discard {
    /// One octet 0xFF on port 4500 (RFC 3948 §2.3).
    NatKeepalive,
    /// On port 4500, too short to be told apart from ESP, and no keepalive.
    Runt,
    /// An ESP packet in UDP of which nobody wants to know.
    EspInUdp,
    /// Longer than the buffer.
    Truncated,
    /// Sent to a broadcast or multicast address, from which nothing can be answered.
    NotUnicast,
}

impl Discard {
    /// The counter's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NatKeepalive => "nat_keepalive",
            Self::Runt => "udp_runt",
            Self::EspInUdp => "udp_esp",
            Self::Truncated => "udp_truncated",
            Self::NotUnicast => "udp_not_unicast",
        }
    }
}

/// Why the ports can't be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another IKE daemon runs here.
    #[error(
        "UDP port {port} is in use: \"ss -lunp 'sport = :{port}'\" shows by whom, commonly another IKE \
         daemon such as strongSwan (charon) or Libreswan (pluto), or another secure-gre; stop it"
    )]
    PortInUse {
        /// 500 or 4500.
        port: u16,
    },
    /// A low port without the privilege.
    #[error("not permitted to use UDP port {port}: run as root or with CAP_NET_BIND_SERVICE")]
    NotPermitted {
        /// 500 or 4500.
        port: u16,
    },
    /// Anything else.
    #[error("can't open UDP port {port}: {source}")]
    Os {
        /// 500 or 4500.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why one message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The local side of the path is none of the sockets, or the families differ.
    #[error("no IKE socket sends from {} to {}", .path.local, .path.remote)]
    NoSocket {
        /// The path asked for.
        path: Path,
    },
    /// The kernel refused it.
    #[error("can't send from {} to {}: {source}", .path.local, .path.remote)]
    Os {
        /// The path asked for.
        path: Path,
        /// What the kernel said.
        source: io::Error,
    },
}

#[derive(Debug)]
struct Socket {
    udp: tokio::net::UdpSocket,
    family: Family,
    port: u16,
    /// The mark that the next message would get; locked while one is sent.
    mark: Mutex<Option<NonZeroU32>>,
}

/// A datagram in the caller's buffer.
#[derive(Debug, Clone, Copy)]
struct Datagram {
    length: usize,
    truncated: bool,
    /// `None`: not sent to an address of ours alone.
    path: Option<Path>,
}

impl Socket {
    /// `None`: the host has no IP of this version.
    fn bind(family: Family, port: u16) -> Result<Option<Self>, BindError> {
        let os = |source| BindError::Os { port, source };
        let fd = match udp_socket(family) {
            Err(Errno::EAFNOSUPPORT) if family == Family::V6 => return Ok(None),
            fd => fd.map_err(|errno| os(errno.into()))?,
        };
        let wildcard = match family {
            Family::V4 => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            Family::V6 => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        };
        bind(fd.as_raw_fd(), &SockaddrStorage::from(wildcard)).map_err(|errno| match errno {
            Errno::EADDRINUSE => BindError::PortInUse { port },
            Errno::EACCES | Errno::EPERM => BindError::NotPermitted { port },
            errno => os(errno.into()),
        })?;
        if port == NAT_TRAVERSAL_PORT {
            // For the wires of peers whose ESP is in UDP. Set now, when another daemon's hold on the
            // port has been seen; it lets in nobody who does not share our user.
            setsockopt(&fd, sockopt::ReusePort, &true).map_err(|errno| os(errno.into()))?;
        }
        let udp = tokio::net::UdpSocket::from_std(UdpSocket::from(fd)).map_err(os)?;
        Ok(Some(Self {
            udp,
            family,
            port,
            mark: Mutex::new(None),
        }))
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        let mut slices = [IoSliceMut::new(buffer)];
        let mut control = nix::cmsg_space!(libc::in6_pktinfo);
        let message = recvmsg::<SockaddrStorage>(
            self.udp.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::empty(),
        )?;
        Ok(Datagram {
            length: message.bytes,
            truncated: message.flags.contains(MsgFlags::MSG_TRUNC),
            path: message.address.and_then(|remote| {
                let local = message
                    .cmsgs()
                    .ok()?
                    .find_map(|control| unicast_destination(&control))?;
                Some(Path {
                    local: SocketAddr::new(local, self.port),
                    remote: socket_addr(&remote)?,
                })
            }),
        })
    }

    fn classify<'b>(&self, datagram: Datagram, buffer: &'b [u8]) -> Arrival<'b> {
        let bytes = buffer.get(..datagram.length).unwrap_or_default();
        let content = match self.port {
            NAT_TRAVERSAL_PORT => on_shared_port(bytes),
            _ => OnSharedPort::Ike(bytes),
        };
        let path = match datagram {
            Datagram {
                truncated: true, ..
            } => Err(Discard::Truncated),
            Datagram { path, .. } => path.ok_or(Discard::NotUnicast),
        };
        match (path, content) {
            (Err(discard), _) => Arrival::Discarded(discard),
            (Ok(path), OnSharedPort::Ike(bytes)) => Arrival::Message { path, bytes },
            (Ok(path), OnSharedPort::Esp) => Arrival::Esp { path, bytes },
            (Ok(_), OnSharedPort::Keepalive) => Arrival::Discarded(Discard::NatKeepalive),
            (Ok(_), OnSharedPort::Runt) => Arrival::Discarded(Discard::Runt),
        }
    }

    fn send(&self, path: &Path, via: Via, message: &[u8]) -> io::Result<()> {
        // A mark in a control message would do without the lock, but `nix` has none.
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if *mark != via.mark {
            let number = via.mark.map_or(0, NonZeroU32::get);
            setsockopt(&self.udp, sockopt::Mark, &number)?;
            *mark = via.mark;
        }
        let marker: &[u8] = if self.port == NAT_TRAVERSAL_PORT {
            &NON_ESP_MARKER
        } else {
            &[]
        };
        let parts = [IoSlice::new(marker), IoSlice::new(message)];
        let send = |source| {
            sendmsg(
                self.udp.as_raw_fd(),
                &parts,
                &[source],
                MsgFlags::empty(),
                Some(&SockaddrStorage::from(path.remote)),
            )
        };
        match path.local.ip() {
            IpAddr::V4(local) => send(ControlMessage::Ipv4PacketInfo(&libc::in_pktinfo {
                ipi_ifindex: via.link_index().cast_signed(),
                ipi_spec_dst: libc::in_addr {
                    s_addr: u32::from_ne_bytes(local.octets()),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            })),
            IpAddr::V6(local) => send(ControlMessage::Ipv6PacketInfo(&libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr {
                    s6_addr: local.octets(),
                },
                ipi6_ifindex: via.link_index(),
            })),
        }?;
        Ok(())
    }
}

fn udp_socket(family: Family) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family.into(), SockType::Datagram, flags, None)?;
    match family {
        Family::V4 => setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?,
        Family::V6 => {
            setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
            setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
    }
    Ok(fd)
}

/// The datagram's destination, if that is the address the kernel would answer from: for broadcast
/// and multicast the two differ.
fn unicast_destination(control: &ControlMessageOwned) -> Option<IpAddr> {
    match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let unicast = info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
            unicast.then(|| Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into())
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            (!address.is_multicast()).then_some(address.into())
        }
        _ => None,
    }
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| Some(SocketAddr::V6((*address.as_sockaddr_in6()?).into())))
}

#[cfg(test)]
mod tests;
