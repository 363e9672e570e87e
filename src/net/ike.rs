//! The UDP sockets of IKE (RFC 7296 §2, §2.11, §2.23; RFC 3948): ports 500 and 4500, for all of our
//! addresses at once. What the datagrams say is the `ike` crate's; when to send them, the daemon's.
//!
//! A socket is bound to the wildcard address, so that addresses may come and go, and every datagram
//! carries the address on our side (`IP_PKTINFO`): an answer leaves from the one that was called. On
//! port 4500 the non-ESP marker is added and stripped here.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn,
    bind, recvmsg, sendmsg, setsockopt, socket, sockopt,
};
use tokio::io::Interest;

/// RFC 7296 §2.
pub const IKE_PORT: u16 = 500;
/// RFC 7296 §2.23: shared with ESP in UDP.
pub const NAT_TRAVERSAL_PORT: u16 = 4500;

/// The outer addresses and ports of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
}

/// Both sockets.
#[derive(Debug)]
pub struct IkeSockets {
    v4_500: Socket,
    v4_4500: Socket,
}

impl IkeSockets {
    /// Takes both ports for this process alone. Must be called within a tokio runtime with I/O.
    pub fn bind() -> Result<Self, BindError> {
        Ok(Self {
            v4_500: Socket::bind(IKE_PORT)?,
            v4_4500: Socket::bind(NAT_TRAVERSAL_PORT)?,
        })
    }

    /// Waits for one datagram on either port. `buffer` should hold 65535 octets. A future that is
    /// dropped before it is ready has taken no datagram.
    pub async fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Arrival<'b>> {
        let (socket, datagram) = loop {
            let (socket, ready) = tokio::select! {
                ready = self.v4_500.udp.readable() => (&self.v4_500, ready),
                ready = self.v4_4500.udp.readable() => (&self.v4_4500, ready),
            };
            ready?;
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

    /// Sends one IKE message from `path.local` (an unspecified address lets the kernel choose) to
    /// `path.remote`. An error concerns this message only: retransmission (RFC 7296 §2.1) deals with
    /// it. DF is left to the kernel, which fragments a message that is longer than a known path MTU.
    pub async fn send(&self, path: &Path, message: &[u8]) -> Result<(), SendError> {
        let no_socket = || SendError::NoSocket { path: *path };
        let (SocketAddr::V4(local), SocketAddr::V4(remote)) = (path.local, path.remote) else {
            return Err(no_socket());
        };
        let socket = [&self.v4_500, &self.v4_4500]
            .into_iter()
            .find(|socket| socket.port == local.port())
            .ok_or_else(no_socket)?;
        let sent = socket
            .udp
            .async_io(Interest::WRITABLE, || socket.send(local, remote, message));
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
    /// Nothing for IKE; to be counted.
    Discarded(Discard),
}

/// Why a datagram is no IKE message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Discard {
    /// One octet 0xFF on port 4500 (RFC 3948 §2.3).
    NatKeepalive,
    /// On port 4500, too short to be told apart from ESP, and no keepalive.
    Runt,
    /// On port 4500 without the non-ESP marker (RFC 3948 §2.2): an ESP packet.
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
    port: u16,
}

/// A datagram in the caller's buffer.
#[derive(Debug)]
struct Datagram {
    length: usize,
    truncated: bool,
    /// `None`: not sent to an address of ours alone.
    path: Option<Path>,
}

impl Socket {
    fn bind(port: u16) -> Result<Self, BindError> {
        let os = |source| BindError::Os { port, source };
        let fd = udp_socket().map_err(|errno| os(errno.into()))?;
        let wildcard = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        bind(fd.as_raw_fd(), &SockaddrIn::from(wildcard)).map_err(|errno| match errno {
            Errno::EADDRINUSE => BindError::PortInUse { port },
            Errno::EACCES | Errno::EPERM => BindError::NotPermitted { port },
            errno => os(errno.into()),
        })?;
        let udp = tokio::net::UdpSocket::from_std(UdpSocket::from(fd)).map_err(os)?;
        Ok(Self { udp, port })
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        let mut slices = [IoSliceMut::new(buffer)];
        let mut control = nix::cmsg_space!(libc::in_pktinfo);
        let message = recvmsg::<SockaddrIn>(
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
                    local: SocketAddrV4::new(local, self.port).into(),
                    remote: SocketAddrV4::from(remote).into(),
                })
            }),
        })
    }

    fn classify<'b>(&self, datagram: Datagram, buffer: &'b [u8]) -> Arrival<'b> {
        let bytes = buffer.get(..datagram.length).unwrap_or_default();
        let bytes = match self.port {
            NAT_TRAVERSAL_PORT => strip_marker(bytes),
            _ => Ok(bytes),
        };
        match (datagram, bytes) {
            (
                Datagram {
                    truncated: true, ..
                },
                _,
            ) => Arrival::Discarded(Discard::Truncated),
            (Datagram { path: None, .. }, _) => Arrival::Discarded(Discard::NotUnicast),
            (_, Err(discard)) => Arrival::Discarded(discard),
            (
                Datagram {
                    path: Some(path), ..
                },
                Ok(bytes),
            ) => Arrival::Message { path, bytes },
        }
    }

    fn send(&self, local: SocketAddrV4, remote: SocketAddrV4, message: &[u8]) -> io::Result<()> {
        let marker: &[u8] = if self.port == NAT_TRAVERSAL_PORT {
            &NON_ESP_MARKER
        } else {
            &[]
        };
        let source = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr {
                s_addr: u32::from_ne_bytes(local.ip().octets()),
            },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        sendmsg(
            self.udp.as_raw_fd(),
            &[IoSlice::new(marker), IoSlice::new(message)],
            &[ControlMessage::Ipv4PacketInfo(&source)],
            MsgFlags::empty(),
            Some(&SockaddrIn::from(remote)),
        )?;
        Ok(())
    }
}

fn udp_socket() -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?;
    Ok(fd)
}

/// The datagram's destination, if that is the address the kernel would answer from: for broadcast
/// and multicast the two differ.
fn unicast_destination(control: &ControlMessageOwned) -> Option<Ipv4Addr> {
    let ControlMessageOwned::Ipv4PacketInfo(info) = control else {
        return None;
    };
    let unicast = info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
    unicast.then(|| Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()))
}

fn strip_marker(bytes: &[u8]) -> Result<&[u8], Discard> {
    match bytes.split_first_chunk() {
        Some((&NON_ESP_MARKER, message)) => Ok(message),
        Some(_) => Err(Discard::EspInUdp),
        None if bytes == NAT_KEEPALIVE => Err(Discard::NatKeepalive),
        None => Err(Discard::Runt),
    }
}

/// RFC 3948 §2.2: zeros where an ESP packet has its SPI, which is never 0.
const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// RFC 3948 §2.3.
const NAT_KEEPALIVE: [u8; 1] = [0xff];

#[cfg(test)]
mod tests;
