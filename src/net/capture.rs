//! What goes over a link, counted by kind.
//!
//! Two packet sockets share the work, each with a filter in the kernel: one gets the ESP packets, of
//! which the kernel's count is all we want, so that no rate makes it miss one; the other gets every
//! other frame, and what those are is looked up one by one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, getsockopt, recv, socket};
use serde::Serialize;

use super::ike::IKE_PORT;
use super::sys;

/// A capture on one Ethernet device, in both directions. It needs no thread.
#[derive(Debug)]
pub struct Capture {
    esp: OwnedFd,
    others: OwnedFd,
}

/// Frames on a link, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Frames {
    /// ESP: IPv4 with protocol 50.
    pub esp: u64,
    /// IKE: unfragmented UDP over IPv4, port 500 to port 500.
    pub ike: u64,
    /// ARP: which link address has an IPv4 address.
    pub arp: u64,
    /// The same for IPv6, and who is on the link: ICMPv6 types 130 to 137 and 143 (RFC 4861, RFC 2710,
    /// RFC 3810), which every host sends on its own.
    pub neighbour_discovery: u64,
    /// Everything else.
    pub in_clear: u64,
    /// Frames other than ESP for which there was no room, so that nobody knows what they were.
    pub missed: u64,
}

impl Capture {
    /// Begins to count on the device with index `link`. Needs `CAP_NET_RAW`.
    pub fn start(link: u32) -> io::Result<Self> {
        let link = link.try_into().map_err(|_| Errno::ENODEV)?;
        Ok(Self {
            esp: listen(link, &filter(COUNT_ONLY, NOTHING))?,
            others: listen(link, &filter(NOTHING, HEADERS))?,
        })
    }

    /// What was seen since the start.
    pub fn stop(self) -> io::Result<Frames> {
        let mut frames = Frames {
            esp: seen(&self.esp)?.0,
            missed: seen(&self.others)?.1,
            ..Frames::default()
        };
        let mut buffer = [0; HEADERS as usize];
        loop {
            match recv(self.others.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => frames.count(buffer.get(..length).unwrap_or_default()),
                Err(Errno::EAGAIN) => return Ok(frames),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Frames {
    fn count(&mut self, frame: &[u8]) {
        let count = match Kind::of(frame) {
            Some(Kind::Ike) => &mut self.ike,
            Some(Kind::Arp) => &mut self.arp,
            Some(Kind::NeighbourDiscovery) => &mut self.neighbour_discovery,
            None => &mut self.in_clear,
        };
        *count = count.saturating_add(1);
    }
}

fn listen(link: i32, filter: &[libc::sock_filter]) -> Result<OwnedFd, Errno> {
    // Of no protocol, it hears nothing before the filter is there.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
    sys::attach_filter(socket.as_fd(), filter)?;
    sys::bind_packet_socket(socket.as_fd(), link)?;
    Ok(socket)
}

/// How many frames the filter let pass, those without room included, and how many had no room.
fn seen(socket: &impl AsFd) -> io::Result<(u64, u64)> {
    let statistics = getsockopt(socket, sys::PacketStatistics)?;
    Ok((statistics.tp_packets.into(), statistics.tp_drops.into()))
}

/// What may be on the link beside ESP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ike,
    Arp,
    NeighbourDiscovery,
}

impl Kind {
    /// `None`: a passenger in clear, for all we know.
    fn of(frame: &[u8]) -> Option<Self> {
        let (header, packet) = frame.split_first_chunk::<ETHERNET_OCTETS>()?;
        let [.., high, low] = *header;
        match u16::from_be_bytes([high, low]) {
            ARP => Some(Self::Arp),
            IPV4 => is_ike(packet)?.then_some(Self::Ike),
            IPV6 => is_neighbour_discovery(packet)?.then_some(Self::NeighbourDiscovery),
            _ => None,
        }
    }
}

/// `None` where the packet is too short to tell.
fn is_ike(packet: &[u8]) -> Option<bool> {
    let header_octets = usize::from(packet.first()? & 0xf) * 4;
    let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
    let ports = packet.get(header_octets..)?.first_chunk::<4>()?;
    let ike = IKE_PORT.to_be_bytes();
    let ike = [ike, ike].concat();
    Some(fragment == 0 && *packet.get(9)? == UDP && *ports.as_slice() == *ike)
}

/// As above.
fn is_neighbour_discovery(packet: &[u8]) -> Option<bool> {
    let (header, rest) = packet.split_first_chunk::<IPV6_OCTETS>()?;
    let (next, body) = match *header.get(6)? {
        // RFC 2710 §3: with a router alert before it.
        HOP_BY_HOP => {
            let options_octets = (usize::from(*rest.get(1)?) + 1) * 8;
            (*rest.first()?, rest.get(options_octets..)?)
        }
        next => (next, rest),
    };
    Some(next == ICMPV6 && matches!(*body.first()?, 130..=137 | 143))
}

/// A classic BPF program that lets this many octets of each ESP packet pass, and of each other frame.
const fn filter(of_esp: u32, of_others: u32) -> [libc::sock_filter; 6] {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_ABS;
    const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    [
        step(LOAD | libc::BPF_H, 0, 0, 12),
        step(JUMP_IF_EQUAL, 0, 3, IPV4 as u32),
        step(LOAD | libc::BPF_B, 0, 0, 14 + 9),
        step(JUMP_IF_EQUAL, 0, 1, ESP as u32),
        step(RETURN, 0, 0, of_esp),
        step(RETURN, 0, 0, of_others),
    ]
}

#[expect(clippy::cast_possible_truncation, reason = "all codes are below 256")]
const fn step(code: u32, skip_if: u8, skip_unless: u8, operand: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: skip_if,
        jf: skip_unless,
        k: operand,
    }
}

const NOTHING: u32 = 0;
/// An octet, for the kernel counts what passes with one at least.
const COUNT_ONLY: u32 = 1;
/// More than the headers that are looked at, options included.
const HEADERS: u32 = 160;

const ETHERNET_OCTETS: usize = 14;
const IPV6_OCTETS: usize = 40;
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const HOP_BY_HOP: u8 = 0;
const UDP: u8 = 17;
const ESP: u8 = 50;
const ICMPV6: u8 = 58;

#[cfg(test)]
mod tests;
