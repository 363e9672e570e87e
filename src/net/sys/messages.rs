//! Many datagrams per system call: `sendmmsg`, `recvmmsg`, and their control messages.
//!
//! `nix` has both calls, but with one set of control messages for a whole batch, where each of our
//! messages has its own TOS and segment size, and its preallocated headers are neither `Send` nor
//! reset between receptions.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::{mem, slice};

use arrayvec::ArrayVec;
use nix::errno::Errno;

use super::Family;
use crate::net::esp::Outgoing;

/// Packets per system call. Beyond some tens the call's own share is unmeasurable (the stack's work
/// per packet is what costs), and the headers of one batch must fit on a thread's stack; this many
/// are two super-packets of a device.
pub(in crate::net) const BATCH: usize = 128;

/// The kernel refused the first message of a batch; nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) struct Refused {
    pub(in crate::net) errno: Errno,
    /// The packets in that message.
    pub(in crate::net) packets: usize,
}

/// `sendmmsg` of the first [`BATCH`] of `packets` without waiting: how many, from the first on, the
/// kernel took; never 0 for a batch that isn't empty. `run` says how many of those that are left go
/// together as one message, at least one; if more, the kernel makes a datagram of each
/// (`UDP_SEGMENT`), all with the length and the TOS of the first, but for a shorter last one.
pub(in crate::net) fn send_messages(
    socket: BorrowedFd<'_>,
    family: Family,
    packets: &[Outgoing<'_>],
    run: impl Fn(&[Outgoing<'_>]) -> usize,
) -> Result<usize, Refused> {
    let mut rest = packets.get(..BATCH).unwrap_or(packets);
    let mut vectors = ArrayVec::<_, BATCH>::new();
    vectors.extend(rest.iter().map(|packet| libc::iovec {
        iov_base: packet.esp.as_ptr().cast_mut().cast(),
        iov_len: packet.esp.len(),
    }));
    let mut messages = ArrayVec::<_, BATCH>::new();
    while let Some(first) = rest.first() {
        let (message, later) = rest.split_at(run(rest).clamp(1, rest.len()));
        let segment = u16::try_from(first.esp.len()).unwrap_or(u16::MAX);
        let mut controls = ArrayVec::<_, CONTROLS>::new();
        controls.extend((message.len() > 1).then(|| Control::segment(segment)));
        controls.extend((first.tos != 0).then(|| Control::tos(family, first.tos)));
        messages.push((message.len(), controls));
        rest = later;
    }
    let mut headers = ArrayVec::<_, BATCH>::new();
    let mut unused = vectors.as_mut_slice();
    for (packets, controls) in &mut messages {
        let (own, others) = unused.split_at_mut(*packets);
        headers.push(header(own, controls));
        unused = others;
    }
    // SAFETY: the headers point at `vectors` and `messages`, which outlive the call, and those at
    // `packets`, which the kernel only reads.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            u32::try_from(headers.len()).unwrap_or_default(),
            libc::MSG_DONTWAIT as _,
        )
    };
    #[expect(clippy::unnecessary_cast, reason = "not with every C library")]
    let packets_in = |header: &libc::mmsghdr| header.msg_hdr.msg_iovlen as usize;
    match Errno::result(sent) {
        Ok(sent) => Ok(headers
            .iter()
            .take(sent.cast_unsigned() as usize)
            .map(packets_in)
            .sum()),
        Err(errno) => Err(Refused {
            errno,
            packets: headers.first().map_or(0, packets_in),
        }),
    }
}

/// What `recvmmsg` says of one datagram, or of several that the kernel has put together.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::net) struct Arrival {
    /// Octets in the slot.
    pub(in crate::net) length: usize,
    /// Octets of each datagram but the last, which may be shorter (`UDP_GRO`). 0: there is one only.
    pub(in crate::net) segment: usize,
    /// The datagram was longer than the slot.
    pub(in crate::net) truncated: bool,
    /// The outer TOS octet, of a socket that asks for it.
    pub(in crate::net) tos: u8,
}

/// `recvmmsg` into the first [`BATCH`] of `slots` without waiting: what came is in `arrivals`, at least
/// one. Fails with `EAGAIN` when there is none.
pub(in crate::net) fn receive_batch<'a>(
    socket: BorrowedFd<'_>,
    family: Family,
    slots: impl Iterator<Item = &'a mut [u8]>,
    arrivals: &mut Vec<Arrival>,
) -> Result<(), Errno> {
    let mut parts = ArrayVec::<_, BATCH>::new();
    parts.extend(slots.take(BATCH).map(|slot| {
        let vector = libc::iovec {
            iov_base: slot.as_mut_ptr().cast(),
            iov_len: slot.len(),
        };
        (vector, [Control::NONE; CONTROLS])
    }));
    let mut headers = ArrayVec::<_, BATCH>::new();
    let vectors = parts.iter_mut();
    headers.extend(vectors.map(|(vector, controls)| header(slice::from_mut(vector), controls)));
    arrivals.clear();
    // SAFETY: the headers point at `parts`, which outlives the call, and those at distinct slots that
    // are mutably borrowed for longer than it.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            u32::try_from(headers.len()).unwrap_or_default(),
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    let received = Errno::result(received).map(i32::cast_unsigned)? as usize;
    let filled = headers.iter().zip(&parts).take(received);
    arrivals.extend(filled.map(|(header, (_, controls))| {
        Arrival {
            length: header.msg_len as usize,
            segment: controls.iter().find_map(Control::as_segment).unwrap_or(0),
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            tos: controls
                .iter()
                .find_map(|control| control.as_tos(family))
                .unwrap_or(0),
        }
    }));
    Ok(())
}

/// A message of these pieces. It points at them.
fn header(vectors: &mut [libc::iovec], controls: &mut [Control]) -> libc::mmsghdr {
    // SAFETY: a C structure of integers and pointers, for which all zero is valid.
    let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
    header.msg_hdr.msg_iov = vectors.as_mut_ptr();
    header.msg_hdr.msg_iovlen = vectors.len() as _;
    if !controls.is_empty() {
        header.msg_hdr.msg_control = controls.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = size_of_val(controls) as _;
    }
    header
}

/// Control messages of one message at most: the segments' length, and the TOS octet.
const CONTROLS: usize = 2;

/// A control message with up to four octets of data, laid out as `CMSG_FIRSTHDR`, `CMSG_NXTHDR` and
/// `CMSG_DATA` lay it out. All zero is none.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control {
    header: libc::cmsghdr,
    data: [u8; 4],
}

impl Control {
    const NONE: Self = Self {
        // SAFETY: a `cmsghdr` is integers, for which zero is valid.
        header: unsafe { mem::zeroed() },
        data: [0; 4],
    };

    fn new((level, kind): (libc::c_int, libc::c_int), octets: u32, data: [u8; 4]) -> Self {
        let mut header = Self::NONE.header;
        // SAFETY: arithmetic on a constant; nothing is dereferenced.
        header.cmsg_len = unsafe { libc::CMSG_LEN(octets) } as _;
        (header.cmsg_level, header.cmsg_type) = (level, kind);
        Self { header, data }
    }

    /// `IP_TOS` or `IPV6_TCLASS`.
    fn tos(family: Family, tos: u8) -> Self {
        let data = libc::c_int::from(tos).to_ne_bytes();
        Self::new(family.tos_control(), 4, data)
    }

    /// `UDP_SEGMENT`: octets of each datagram.
    fn segment(octets: u16) -> Self {
        let [first, second] = octets.to_ne_bytes();
        let kind = (libc::SOL_UDP, libc::UDP_SEGMENT);
        Self::new(kind, 2, [first, second, 0, 0])
    }

    fn is(&self, kind: (libc::c_int, libc::c_int)) -> bool {
        (self.header.cmsg_level, self.header.cmsg_type) == kind
    }

    /// The TOS octet, if the kernel has filled this one in. It writes one octet for IPv4, and an
    /// integer for IPv6.
    fn as_tos(&self, family: Family) -> Option<u8> {
        if !self.is(family.tos_control()) {
            return None;
        }
        match family {
            Family::V4 => self.data.first().copied(),
            Family::V6 => u8::try_from(libc::c_int::from_ne_bytes(self.data)).ok(),
        }
    }

    /// The octets of each datagram, if the kernel has filled this one in and says `UDP_GRO`.
    fn as_segment(&self) -> Option<usize> {
        if !self.is((libc::SOL_UDP, libc::UDP_GRO)) {
            return None;
        }
        usize::try_from(libc::c_int::from_ne_bytes(self.data)).ok()
    }
}

const _: () = {
    // SAFETY: arithmetic on a constant; nothing is dereferenced.
    let space = unsafe { libc::CMSG_SPACE(4) };
    assert!(
        size_of::<Control>() == space as usize,
        "the kernel's layout"
    );
    // SAFETY: arithmetic on a constant; nothing is dereferenced.
    let data = unsafe { libc::CMSG_LEN(0) };
    assert!(
        mem::offset_of!(Control, data) == data as usize,
        "the kernel's layout"
    );
};
