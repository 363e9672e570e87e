//! The system calls that no crate wraps the way we need them; all `unsafe` of the package.
//!
//! `nix` has `sendmmsg` and `recvmmsg`, but with one set of control messages for a whole batch, where
//! each of our packets has its own TOS, and its preallocated headers are neither `Send` nor reset
//! between receptions. So the two calls are here, over plain slices.
#![allow(unsafe_code, reason = "the one file that speaks to the kernel itself")]

use std::ffi::CStr;
use std::mem;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::AddressFamily;
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};

use super::esp::Outgoing;

/// Messages per system call. Beyond some tens the call's own share is unmeasurable (the stack's work
/// per packet is what costs), and the headers of one batch must fit on a thread's stack.
pub(super) const BATCH: usize = 64;

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

sockopt_impl!(
    /// `IPV6_MTU_DISCOVER`, one of the `IPV6_PMTUDISC_…` values.
    Ipv6MtuDiscover,
    SetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_MTU_DISCOVER,
    libc::c_int
);

sockopt_impl!(
    /// `IPV6_MTU`: the path MTU of a connected socket.
    Ipv6Mtu,
    GetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_MTU,
    libc::c_int
);

nix::ioctl_readwrite_bad!(
    /// `TUNSETIFF`: makes a device, or attaches to one, and writes back its name.
    tun_set_iff,
    libc::TUNSETIFF,
    libc::ifreq
);

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

/// `sendmmsg` of the first [`BATCH`] of `messages` without waiting: how many, from the first on, the
/// kernel took, or what it said to the first. Never 0 for a batch that isn't empty.
pub(super) fn send_batch(
    socket: BorrowedFd<'_>,
    family: Family,
    messages: &[Outgoing<'_>],
) -> Result<usize, Errno> {
    // SAFETY: these are C structures of integers and pointers, for which all zero is valid.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut vectors: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
    let mut controls = [TosControl::new(family, 0); BATCH];
    let parts = headers.iter_mut().zip(&mut vectors).zip(&mut controls);
    let mut count = 0;
    for (message, ((header, vector), control)) in messages.iter().zip(parts) {
        vector.iov_base = message.esp.as_ptr().cast_mut().cast();
        vector.iov_len = message.esp.len();
        header.msg_hdr.msg_iov = &raw mut *vector;
        header.msg_hdr.msg_iovlen = 1;
        if message.tos != 0 {
            *control = TosControl::new(family, message.tos);
            header.msg_hdr.msg_control = (&raw mut *control).cast();
            header.msg_hdr.msg_controllen = size_of::<TosControl>() as _;
        }
        count += 1;
    }
    // SAFETY: the first `count` headers point at `vectors` and `controls`, which outlive the call, and
    // those at `messages`, which the kernel only reads.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT as _,
        )
    };
    Errno::result(sent)
        .map(i32::cast_unsigned)
        .map(|sent| sent as usize)
}

/// The `IP_TOS` or `IPV6_TCLASS` control message, laid out as `CMSG_FIRSTHDR` and `CMSG_DATA` lay it
/// out.
#[derive(Clone, Copy)]
#[repr(C)]
struct TosControl {
    header: libc::cmsghdr,
    tos: libc::c_int,
}

const TOS_OCTETS: u32 = libc::c_int::BITS / 8;

impl TosControl {
    fn new(family: Family, tos: u8) -> Self {
        // SAFETY: a `cmsghdr` is integers, for which zero is valid.
        let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
        // SAFETY: arithmetic on a constant; nothing is dereferenced.
        header.cmsg_len = unsafe { libc::CMSG_LEN(TOS_OCTETS) } as _;
        (header.cmsg_level, header.cmsg_type) = family.tos_control();
        Self {
            header,
            tos: libc::c_int::from(tos),
        }
    }

    /// The octet, if the kernel has filled this one in. It writes one octet for IPv4, and an integer
    /// for IPv6.
    fn read(&self, family: Family) -> Option<u8> {
        let Self { header, tos } = self;
        if (header.cmsg_level, header.cmsg_type) != family.tos_control() {
            return None;
        }
        match family {
            Family::V4 => tos.to_ne_bytes().first().copied(),
            Family::V6 => u8::try_from(*tos).ok(),
        }
    }
}

const _: () = {
    // SAFETY: arithmetic on a constant; nothing is dereferenced.
    let space = unsafe { libc::CMSG_SPACE(TOS_OCTETS) };
    assert!(
        size_of::<TosControl>() == space as usize,
        "the kernel's layout"
    );
};

/// What `recvmmsg` says of one datagram.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Arrival {
    /// Octets in the slot.
    pub(super) length: usize,
    /// The datagram was longer than the slot.
    pub(super) truncated: bool,
    /// The outer TOS octet, of a socket that asks for it.
    pub(super) tos: u8,
}

/// `recvmmsg` into the first [`BATCH`] of `slots` without waiting: how many datagrams came. Fails
/// with `EAGAIN` when there is none.
pub(super) fn receive_batch<'a>(
    socket: BorrowedFd<'_>,
    family: Family,
    slots: impl Iterator<Item = &'a mut [u8]>,
    arrivals: &mut [Arrival; BATCH],
) -> Result<usize, Errno> {
    // SAFETY: these are C structures of integers and pointers, for which all zero is valid.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut vectors: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut controls: [TosControl; BATCH] = unsafe { mem::zeroed() };
    let parts = headers.iter_mut().zip(&mut vectors).zip(&mut controls);
    let mut count = 0;
    for (slot, ((header, vector), control)) in slots.zip(parts) {
        vector.iov_base = slot.as_mut_ptr().cast();
        vector.iov_len = slot.len();
        header.msg_hdr.msg_iov = &raw mut *vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = (&raw mut *control).cast();
        header.msg_hdr.msg_controllen = size_of::<TosControl>() as _;
        count += 1;
    }
    // SAFETY: the first `count` headers point at `vectors` and `controls`, which outlive the call,
    // and the vectors at distinct slots that are mutably borrowed for longer than it.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    let received = Errno::result(received).map(i32::cast_unsigned)? as usize;
    let filled = headers.iter().zip(&controls).take(received);
    for (arrival, (header, control)) in arrivals.iter_mut().zip(filled) {
        *arrival = Arrival {
            length: header.msg_len as usize,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            tos: control.read(family).unwrap_or(0),
        };
    }
    Ok(received)
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

/// A raw socket for one IP protocol (`nix` lists no protocol 50); closed on `exec`.
pub(super) fn raw_socket(family: Family, protocol: libc::c_int) -> Result<OwnedFd, Errno> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(AddressFamily::from(family) as libc::c_int, kind, protocol) };
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
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
