//! What the four kinds of wires do not have in common: sockets, options, headers.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::socket::{SockFlag, SockType, getsockopt, setsockopt, socket, sockopt};

use super::batch::Content;
use super::{OuterFields, WireError};
use crate::net::outer::{Encapsulation, OnSharedPort, Path, Via, on_shared_port};
use crate::net::sys::{self, Family};

/// The outer headers of a wire's packets, in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overhead {
    /// The IP header.
    pub ip: usize,
    /// The UDP header, or 0.
    pub udp: usize,
}

impl Overhead {
    /// The most that any wire's packets have.
    pub const MAX: Self = Self {
        ip: IPV6_HEADER,
        udp: UDP_HEADER,
    };

    /// Of packets over IPv6 or IPv4, in UDP or not.
    pub const fn of(ipv6: bool, udp: bool) -> Self {
        Self {
            ip: if ipv6 { IPV6_HEADER } else { IPV4_HEADER },
            udp: if udp { UDP_HEADER } else { 0 },
        }
    }
}

/// What the four kinds of wires do not have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) family: Family,
    pub(super) encapsulation: Encapsulation,
}

impl Kind {
    pub(super) fn new(path: Path, encapsulation: Encapsulation) -> Result<Self, WireError> {
        let (local, remote) = (path.local.ip(), path.remote.ip());
        let family = Family::of(local);
        if family != Family::of(remote) {
            return Err(WireError::TwoFamilies { local, remote });
        }
        Ok(Self {
            family,
            encapsulation,
        })
    }

    pub(super) fn open(self) -> Result<OwnedFd, WireError> {
        match self.encapsulation {
            Encapsulation::None => sys::socket(self.family, libc::SOCK_RAW, libc::IPPROTO_ESP),
            Encapsulation::Udp { .. } => self.open_udp(),
        }
        .map_err(|errno| match errno {
            Errno::EPERM | Errno::EACCES => WireError::NotPermitted,
            errno => WireError::os("open a socket", errno),
        })
    }

    fn open_udp(self) -> Result<OwnedFd, Errno> {
        let socket = socket(
            self.family.into(),
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        // Beside IKE's socket, and those of other peers.
        setsockopt(&socket, sockopt::ReusePort, &true)?;
        Ok(socket)
    }

    /// The TOS of what arrives. No IP_RECVERR: an error queue would have to be emptied before poll(2)
    /// rests again; what routers say of packets comes by [`news`](crate::net::news). UDP checksums are the kernel's default, real ones (D49).
    pub(super) fn configure(self, socket: &OwnedFd) -> Result<(), Errno> {
        match self.family {
            Family::V4 => setsockopt(socket, sockopt::IpRecvTos, &true),
            Family::V6 => setsockopt(socket, sockopt::Ipv6RecvTClass, &true),
        }
    }

    /// TTL and DF of what is sent. Packets that may be fragmented leave IPv4's DF clear, whatever is
    /// known of the path; over IPv6 this host cuts them to the path's MTU. Others need only fit the link:
    /// what the kernel has learned of the path, it has from anybody who knows both addresses (D50).
    pub(super) fn set_fields(self, socket: &OwnedFd, fields: OuterFields) -> Result<(), Errno> {
        let OuterFields { ttl, may_fragment } = fields;
        let ttl = libc::c_int::from(ttl.get());
        match self.family {
            Family::V4 => {
                let discover = match may_fragment {
                    true => libc::IP_PMTUDISC_DONT,
                    false => libc::IP_PMTUDISC_PROBE,
                };
                setsockopt(socket, sys::Ipv4MtuDiscover, &discover)?;
                setsockopt(socket, sockopt::Ipv4Ttl, &ttl)
            }
            Family::V6 => {
                let discover = match may_fragment {
                    true => libc::IPV6_PMTUDISC_WANT,
                    false => libc::IPV6_PMTUDISC_PROBE,
                };
                setsockopt(socket, sys::Ipv6MtuDiscover, &discover)?;
                setsockopt(socket, sockopt::Ipv6Ttl, &ttl)
            }
        }
    }

    /// Lets datagrams pass many at a time, and says whether they can be sent so. The kernel does it
    /// for UDP alone, receiving since Linux 5.0 and sending since 4.18.
    pub(super) fn enable_offloads(self, socket: &OwnedFd) -> bool {
        match self.encapsulation {
            Encapsulation::None => false,
            Encapsulation::Udp { .. } => {
                // Without it they come singly.
                let _ = setsockopt(socket, sockopt::UdpGroSegment, &true);
                getsockopt(socket, sockopt::UdpGsoSegment).is_ok()
            }
        }
    }

    /// Native ESP has no ports.
    pub(super) fn without_ports(self, path: Path) -> Path {
        match self.encapsulation {
            Encapsulation::None => Path {
                local: SocketAddr::new(path.local.ip(), 0),
                remote: SocketAddr::new(path.remote.ip(), 0),
            },
            Encapsulation::Udp { .. } => path,
        }
    }

    pub(super) const fn ip_header(self) -> usize {
        match self.family {
            Family::V4 => IPV4_HEADER,
            Family::V6 => IPV6_HEADER,
        }
    }

    pub(super) const fn udp_header(self) -> usize {
        match self.encapsulation {
            Encapsulation::None => 0,
            Encapsulation::Udp { .. } => UDP_HEADER,
        }
    }

    /// What the kernel has delivered. Of the outer headers it leaves only the IPv4 header, and that
    /// only on a raw socket.
    pub(super) fn classify(self, datagram: &[u8]) -> Content {
        let whole = 0..datagram.len();
        match (self.encapsulation, self.family) {
            (Encapsulation::None, Family::V6) => Content::Esp(whole),
            (Encapsulation::None, Family::V4) => match ipv4_header_length(datagram) {
                Some(header) => Content::Esp(header..whole.end),
                None => Content::Malformed,
            },
            (Encapsulation::Udp { .. }, _) => match on_shared_port(datagram) {
                OnSharedPort::Esp => Content::Esp(whole),
                OnSharedPort::Ike(message) => Content::Ike(whole.end - message.len()..whole.end),
                OnSharedPort::Keepalive => Content::Keepalive,
                OnSharedPort::Runt => Content::Malformed,
            },
        }
    }
}

/// The length of the IPv4 header that a raw socket delivers with each packet.
pub(super) fn ipv4_header_length(packet: &[u8]) -> Option<usize> {
    let [version_and_length, ..] = *packet.first_chunk::<IPV4_HEADER>()?;
    let length = usize::from(version_and_length & 0x0f) * 4;
    let is_whole = (IPV4_HEADER..=packet.len()).contains(&length);
    (version_and_length >> 4 == 4 && is_whole).then_some(length)
}

/// Before the socket's addresses are bound, so that the route is looked up like this from the start.
pub(super) fn bind_via(socket: &OwnedFd, via: Via) -> Result<(), WireError> {
    if via.link.is_some() {
        let link = via.link_index().cast_signed();
        setsockopt(socket, sys::BindToLink, &link)
            .map_err(|errno| WireError::os("bind to the device of peer.interface", errno))?;
    }
    if let Some(mark) = via.mark {
        setsockopt(socket, sockopt::Mark, &mark.get())
            .map_err(|errno| WireError::os("set the mark of peer.fwmark", errno))?;
    }
    Ok(())
}

/// The FORCE variants pass the system's limit and need CAP_NET_ADMIN. Any size works, so a refusal
/// costs speed and nothing else.
pub(super) fn enlarge_buffers(socket: &OwnedFd) {
    let _ = setsockopt(socket, sockopt::RcvBufForce, &SOCKET_BUFFER)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &SOCKET_BUFFER));
    let _ = setsockopt(socket, sockopt::SndBufForce, &SOCKET_BUFFER)
        .or_else(|_| setsockopt(socket, sockopt::SndBuf, &SOCKET_BUFFER));
}

/// An IPv4 header without options.
const IPV4_HEADER: usize = 20;
/// RFC 8200 §3.
const IPV6_HEADER: usize = 40;
/// RFC 768.
const UDP_HEADER: usize = 8;

/// Octets asked for in each direction: bridges about 50 ms of a 1 Gbit/s link, where the kernel's
/// default of 200 kB drops while the worker is off the CPU (wireguard-go uses the same).
const SOCKET_BUFFER: usize = 7 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_headers_are_measured() {
        let mut packet = vec![0; 40];
        for (first, length) in [
            (0x45, Some(20)),
            (0x46, Some(24)),
            (0x4a, Some(40)),
            (0x4b, None),
            (0x44, None),
            (0x65, None),
            (0x00, None),
        ] {
            packet[0] = first;
            assert_eq!(ipv4_header_length(&packet), length, "{first:#x}");
        }
        packet[0] = 0x45;
        for length in 0..20 {
            assert_eq!(ipv4_header_length(&packet[..length]), None, "{length}");
        }
    }
}
