//! What an ICMP message says, and what it quotes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::echo::checksum;
use crate::net::outer::Path;

/// "Destination unreachable" (RFC 792), of whose codes one is "fragmentation needed".
pub(super) const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
/// "Packet too big" (RFC 4443 §3.2).
pub(super) const TOO_BIG: u8 = 2;

/// No link has less: what every host takes in one piece (RFC 791), and the least MTU of IPv6, below
/// which nothing may be believed (RFC 8201 §4). What RFC 1191 §5 calls 0 is no MTU either.
const LEAST_IPV4: u16 = 576;
const LEAST_IPV6: u16 = 1280;

/// A router could not forward an ESP packet of this host, as it says. Anybody may say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// How the packet travelled; without ports where it was not in UDP.
    pub path: Path,
    /// The packet's first octets: SPI and sequence number (RFC 4303 §2).
    pub esp: [u8; 8],
    /// The largest packet that the router can forward, in octets: 576 or more over IPv4, 1280 or more
    /// over IPv6.
    pub mtu: u16,
}

impl News {
    /// Of an IPv4 packet with an ICMP message. `None`: it says something else, or quotes too little: a
    /// quote of 8 octets, as RFC 792 has it, shows no SPI of a packet in UDP (RFC 1812 §4.3.2.3 asks for
    /// more).
    pub(super) fn of_icmp(packet: &[u8]) -> Option<Self> {
        let (_, message) = ipv4(packet)?;
        let (head, quoted) = message.split_first_chunk::<8>()?;
        let [UNREACHABLE, FRAGMENTATION_NEEDED, _, _, _, _, high, low] = *head else {
            return None;
        };
        let mtu = u16::from_be_bytes([high, low]);
        // Raw sockets get messages before the kernel sums them.
        if mtu < LEAST_IPV4 || checksum(message) != 0 {
            return None;
        }
        let (header, payload) = ipv4(quoted)?;
        let [_, _, _, _, _, _, f0, f1, _, protocol, _, _, addresses @ ..] = *header;
        let [s0, s1, s2, s3, d0, d1, d2, d3] = addresses;
        let is_later_fragment = u16::from_be_bytes([f0, f1]) & 0x1fff != 0;
        let between = [Ipv4Addr::new(s0, s1, s2, s3), Ipv4Addr::new(d0, d1, d2, d3)];
        let between = between.map(IpAddr::V4);
        (!is_later_fragment)
            .then(|| Self::of_quote(protocol, payload, between, mtu))
            .flatten()
    }

    /// Of an ICMPv6 message.
    pub(super) fn of_icmpv6(message: &[u8]) -> Option<Self> {
        let (head, quoted) = message.split_first_chunk::<8>()?;
        let [TOO_BIG, _, _, _, mtu @ ..] = *head else {
            return None;
        };
        // Of a jumbogram it would be no news.
        let mtu = u16::try_from(u32::from_be_bytes(mtu)).ok()?;
        if mtu < LEAST_IPV6 {
            return None;
        }
        let (header, payload) = quoted.split_first_chunk::<40>()?;
        let [first, _, _, _, _, _, next, ..] = *header;
        let (source, destination) = header.get(8..)?.split_first_chunk::<16>()?;
        let between = [*source, *destination.first_chunk::<16>()?];
        let between = between.map(|address| IpAddr::V6(Ipv6Addr::from(address)));
        (first >> 4 == 6)
            .then(|| Self::of_quote(next, payload, between, mtu))
            .flatten()
    }

    /// From behind the quoted IP header.
    fn of_quote(
        protocol: u8,
        payload: &[u8],
        [source, destination]: [IpAddr; 2],
        mtu: u16,
    ) -> Option<Self> {
        let (ports, esp) = match protocol {
            ESP => ([0, 0], payload),
            UDP => {
                let (header, esp) = payload.split_first_chunk::<8>()?;
                let [s0, s1, d0, d1, ..] = *header;
                ([[s0, s1], [d0, d1]].map(u16::from_be_bytes), esp)
            }
            _ => return None,
        };
        let [local, remote] = ports;
        Some(Self {
            path: Path {
                local: SocketAddr::new(source, local),
                remote: SocketAddr::new(destination, remote),
            },
            esp: *esp.first_chunk()?,
            mtu,
        })
    }
}

/// An IPv4 packet's header without its options, and what follows them (RFC 791 §3.1).
fn ipv4(packet: &[u8]) -> Option<(&[u8; 20], &[u8])> {
    let header = packet.first_chunk::<20>()?;
    let length = usize::from(header[0] & 0x0f) * 4;
    let payload = packet.get(length..)?;
    (header[0] >> 4 == 4 && length >= header.len()).then_some((header, payload))
}

const UDP: u8 = 17;
const ESP: u8 = 50;

#[cfg(test)]
mod tests;
