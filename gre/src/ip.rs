//! What a tunnel has to know of a passenger's IP header: RFC 791 §3.1, RFC 8200 §3 and §4.
//!
//! Not here: options and extension headers beyond skipping them, reassembly, routing.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use crate::destination::DESTINATION_OPTIONS;
use crate::error::Drop;
use crate::header::Protocol;

/// What the version nibble says; `None` where it is neither 4 nor 6.
pub(crate) fn protocol(packet: &[u8]) -> Option<Protocol> {
    match packet.first()? >> 4 {
        4 => Some(Protocol::IPV4),
        6 => Some(Protocol::IPV6),
        _ => None,
    }
}

/// The packet's own length in octets: 20 or 40 at least, and no more than there is of it.
pub(crate) fn total_len(packet: &[u8]) -> Result<usize, Drop> {
    let total_len = match protocol(packet) {
        Some(Protocol::IPV4) => Ipv4::parse(packet)?.total_len,
        Some(Protocol::IPV6) => Ipv6::parse(packet)?.total_len,
        _ => return Err(Drop::PassengerVersion),
    };
    if total_len > packet.len() {
        Err(Drop::PassengerTruncated)
    } else {
        Ok(total_len)
    }
}

/// The fields of an IPv4 header that matter here. Its lengths agree with each other; the packet
/// may still end before them.
pub(crate) struct Ipv4 {
    pub(crate) header_len: usize,
    pub(crate) total_len: usize,
    pub(crate) dont_fragment: bool,
    pub(crate) more_fragments: bool,
    /// In units of 8 octets.
    pub(crate) fragment_offset: u16,
    pub(crate) ttl: u8,
    pub(crate) protocol: u8,
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
}

impl Ipv4 {
    pub(crate) const HEADER_LEN: usize = 20;

    pub(crate) fn parse(packet: &[u8]) -> Result<Self, Drop> {
        let &[
            version_ihl,
            _,
            l0,
            l1,
            _,
            _,
            f0,
            f1,
            ttl,
            protocol,
            _,
            _,
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
        ] = packet
            .first_chunk::<{ Self::HEADER_LEN }>()
            .ok_or(Drop::PassengerTruncated)?;
        let header_len = usize::from(version_ihl & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([l0, l1]));
        if header_len < Self::HEADER_LEN || total_len < header_len {
            return Err(Drop::PassengerHeader);
        }
        let fragment = u16::from_be_bytes([f0, f1]);
        Ok(Self {
            header_len,
            total_len,
            dont_fragment: fragment & 0x4000 != 0,
            more_fragments: fragment & 0x2000 != 0,
            fragment_offset: fragment & 0x1fff,
            ttl,
            protocol,
            source: Ipv4Addr::new(s0, s1, s2, s3),
            destination: Ipv4Addr::new(d0, d1, d2, d3),
        })
    }
}

/// The fields of an IPv6 header that matter here. The packet may end before `total_len`.
pub(crate) struct Ipv6 {
    /// The fixed header and what it says follows. Jumbograms (RFC 2675) are larger than a tunnel
    /// carries, so that a payload length of 0 means none.
    pub(crate) total_len: usize,
    pub(crate) next_header: u8,
    pub(crate) hop_limit: u8,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
}

impl Ipv6 {
    pub(crate) const HEADER_LEN: usize = 40;

    pub(crate) fn parse(packet: &[u8]) -> Result<Self, Drop> {
        let header = packet
            .first_chunk::<{ Self::HEADER_LEN }>()
            .ok_or(Drop::PassengerTruncated)?;
        let (&[_, _, _, _, l0, l1, next_header, hop_limit], addresses) = header
            .split_first_chunk::<8>()
            .ok_or(Drop::PassengerTruncated)?;
        let (source, destination) = addresses
            .split_first_chunk::<16>()
            .ok_or(Drop::PassengerTruncated)?;
        let destination = destination
            .first_chunk::<16>()
            .ok_or(Drop::PassengerTruncated)?;
        Ok(Self {
            total_len: Self::HEADER_LEN + usize::from(u16::from_be_bytes([l0, l1])),
            next_header,
            hop_limit,
            source: Ipv6Addr::from(*source),
            destination: Ipv6Addr::from(*destination),
        })
    }
}

/// The upper-layer protocol of a packet and where its header starts.
pub(crate) struct UpperLayer {
    pub(crate) protocol: u8,
    /// From the upper-layer header to the end of the IP packet, or of what there is of it.
    pub(crate) range: Range<usize>,
}

/// Finds the upper-layer header. `None` for malformed packets, for fragments other than the
/// first, which have none, and behind more than [`EXTENSION_HEADERS_MAX`] extension headers.
pub(crate) fn upper_layer(packet: &[u8]) -> Option<UpperLayer> {
    if protocol(packet)? == Protocol::IPV6 {
        return upper_layer_v6(packet);
    }
    let ip = Ipv4::parse(packet).ok()?;
    let end = ip.total_len.min(packet.len());
    (ip.fragment_offset == 0 && ip.header_len <= end).then_some(UpperLayer {
        protocol: ip.protocol,
        range: ip.header_len..end,
    })
}

fn upper_layer_v6(packet: &[u8]) -> Option<UpperLayer> {
    let ip = Ipv6::parse(packet).ok()?;
    let end = ip.total_len.min(packet.len());
    let (mut protocol, mut start) = (ip.next_header, Ipv6::HEADER_LEN);
    for _ in 0..=EXTENSION_HEADERS_MAX {
        let header = packet.get(start..end)?;
        let len = match (protocol, header) {
            (HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS, [_, len, ..]) => 8 + 8 * usize::from(*len),
            (AUTHENTICATION, [_, len, ..]) => 8 + 4 * usize::from(*len),
            (FRAGMENT, [_, _, o0, o1, ..]) if u16::from_be_bytes([*o0, *o1]) & 0xfff8 == 0 => 8,
            (HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | AUTHENTICATION | FRAGMENT, _) => {
                return None;
            }
            _ => {
                return Some(UpperLayer {
                    protocol,
                    range: start..end,
                });
            }
        };
        protocol = *header.first()?;
        start += len;
    }
    None
}

/// TCP's protocol number.
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
/// ICMP's protocol number.
pub(crate) const ICMP: u8 = 1;
/// ICMPv6's protocol number.
pub(crate) const ICMPV6: u8 = 58;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
/// Counts its length in 32-bit words, minus 2 (RFC 4302 §2.2).
const AUTHENTICATION: u8 = 51;
/// RFC 8200 §4.1 knows an order in which at most seven stand; a packet with more is not worth
/// more time than that.
const EXTENSION_HEADERS_MAX: usize = 7;

#[cfg(test)]
mod tests;
