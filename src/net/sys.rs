//! The system calls that no crate wraps the way we need them; all `unsafe` of the package.
//!
//! `sendmmsg` and `recvmmsg` have a file of their own, `sys/messages.rs`.
#![allow(unsafe_code, reason = "the one room that speaks to the kernel itself")]

use std::ffi::CStr;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::{io, mem};

use nix::errno::Errno;
use nix::sys::socket::AddressFamily;
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

mod messages;

pub(super) use self::messages::{Arrival, BATCH, Refused, receive_batch, send_messages};

sockopt_impl!(
    /// `IP_MTU_DISCOVER`, one of the `IP_PMTUDISC_…` values.
    Ipv4MtuDiscover,
    SetOnly,
    libc::IPPROTO_IP,
    libc::IP_MTU_DISCOVER,
    libc::c_int
);

sockopt_impl!(
    /// `SO_BINDTOIFINDEX`: the index of the only device that a socket uses.
    BindToLink,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_BINDTOIFINDEX,
    libc::c_int
);

sockopt_impl!(
    /// `SO_ATTACH_FILTER`: a classic BPF program that says what a socket gets.
    AttachFilter,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_ATTACH_FILTER,
    libc::sock_fprog
);

sockopt_impl!(
    /// `PACKET_STATISTICS` of a packet socket: what its filter has let pass and what found no room.
    /// The kernel begins to count anew at each reading.
    PacketStatistics,
    GetOnly,
    libc::SOL_PACKET,
    libc::PACKET_STATISTICS,
    libc::tpacket_stats
);

#[cfg(test)]
sockopt_impl!(
    /// `SO_NO_CHECK`: datagrams without a checksum, which the kernel does not cut.
    NoChecksum,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_NO_CHECK,
    libc::c_int
);

sockopt_impl!(
    /// `IPV6_MTU_DISCOVER`, one of the `IPV6_PMTUDISC_…` values.
    Ipv6MtuDiscover,
    SetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_MTU_DISCOVER,
    libc::c_int
);

/// Of `linux/icmp.h` and `linux/icmpv6.h`.
const ICMP_FILTER: libc::c_int = 1;
const ICMPV6_FILTER: libc::c_int = 1;

sockopt_impl!(
    /// `ICMP_FILTER` (icmp(7), raw(7)): a bit for each type of message that a raw socket is not to get.
    IcmpFilter,
    SetOnly,
    libc::SOL_RAW,
    ICMP_FILTER,
    u32
);

sockopt_impl!(
    /// `ICMPV6_FILTER` (RFC 3542 §3.2): the same for ICMPv6.
    Icmpv6Filter,
    SetOnly,
    libc::SOL_ICMPV6,
    ICMPV6_FILTER,
    [u32; 8]
);

nix::ioctl_readwrite_bad!(
    /// `TUNSETIFF`: makes a device, or attaches to one, and writes back its name.
    tun_set_iff,
    libc::TUNSETIFF,
    libc::ifreq
);

nix::ioctl_write_int_bad!(
    /// `TUNSETOFFLOAD`: the `TUN_F_…` flags of what the reader of a device takes over.
    tun_set_offload,
    libc::TUNSETOFFLOAD
);

/// `TUNSETOFFLOAD` on a queue; fails with `EINVAL` where the kernel does not know one of the flags.
pub(super) fn set_tun_offload(file: BorrowedFd<'_>, flags: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: no pointers are passed.
    unsafe { tun_set_offload(file.as_raw_fd(), flags.cast_signed()) }.map(drop)
}

/// `TUNSETIFF` on a fresh descriptor of `/dev/net/tun`; returns the name that the device got. `name`
/// is shorter than `IFNAMSIZ` octets.
pub(super) fn attach_tun(
    file: BorrowedFd<'_>,
    name: &str,
    flags: libc::c_int,
) -> Result<String, Errno> {
    // SAFETY: an `ifreq` is integers and a union of integers, addresses and pointers, for all of
    // which zero is valid.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(room)) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let [low, high, ..] = flags.to_le_bytes();
    request.ifr_ifru.ifru_flags = i16::from_le_bytes([low, high]);
    // SAFETY: the kernel reads and writes one `ifreq`, which is ours and outlives the call.
    unsafe { tun_set_iff(file.as_raw_fd(), &raw mut request) }?;
    let name = request
        .ifr_name
        .map(|octet| u8::from_ne_bytes(octet.to_ne_bytes()));
    let name = CStr::from_bytes_until_nul(&name).map_err(|_| Errno::ENAMETOOLONG)?;
    Ok(name.to_string_lossy().into_owned())
}

/// The IP version of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Level and type of the control message that carries the outer TOS octet.
    const fn tos_control(self) -> (libc::c_int, libc::c_int) {
        match self {
            Self::V4 => (libc::IPPROTO_IP, libc::IP_TOS),
            Self::V6 => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
        }
    }
}

impl From<Family> for AddressFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::Inet,
            Family::V6 => Self::Inet6,
        }
    }
}

/// A socket for one IP protocol, where `nix` does not list it: `SOCK_RAW` with 50, for example; closed
/// on `exec`.
pub(super) fn socket(
    family: Family,
    kind: libc::c_int,
    protocol: libc::c_int,
) -> Result<OwnedFd, Errno> {
    let kind = kind | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(AddressFamily::from(family) as libc::c_int, kind, protocol) };
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets the runtime of this thread say when there is something to read.
pub(super) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is one descriptor, which stays open and the same until it is dropped.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    Ok(watched?)
}

/// Lets a fresh packet socket hear the device with index `link`, frames of every protocol.
#[expect(
    clippy::cast_possible_truncation,
    reason = "constants and a size that fit"
)]
pub(super) fn bind_packet_socket(socket: BorrowedFd<'_>, link: libc::c_int) -> Result<(), Errno> {
    // SAFETY: a `sockaddr_ll` is integers, for which zero is valid.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = link;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` octets of an address that is ours and outlives the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    Errno::result(bound).map(drop)
}

/// Gives a socket a filter. The kernel copies it.
pub(super) fn attach_filter(
    socket: BorrowedFd<'_>,
    filter: &[libc::sock_filter],
) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: filter.len().try_into().map_err(|_| Errno::EINVAL)?,
        filter: filter.as_ptr().cast_mut(),
    };
    nix::sys::socket::setsockopt(&socket, AttachFilter, &program)
}
