//! "Too big" answers to a passenger's sender: ICMP 3/4 (RFC 1191 §4, RFC 1812 §4.3.2) and ICMPv6
//! packet too big (RFC 4443 §2.4 and §3.2, RFC 7676 §3).
//!
//! Not here: rate limits, and cutting an IPv4 passenger that may be fragmented.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::checksum::checksum;
use crate::header::Protocol;
use crate::ip::{self, ICMP, ICMPV6, Ipv4, Ipv6};

/// What to do with a passenger that exceeds the tunnel's MTU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooBig {
    /// Drop it; the first so many octets of `out` are an IP packet for its sender.
    Reply(usize),
    /// IPv4 without DF: cut the passenger into fragments and carry them (RFC 7588).
    FragmentPassenger,
    /// An IPv6 packet of at most 1280 octets, which every link has to carry: fragment the outer
    /// packet (RFC 7676 §3).
    FragmentDelivery,
    /// Drop it without a word: no answer is allowed, or there is no source for one.
    Silent,
}

/// The longest reply that [`too_big`] writes, in octets: the IPv6 minimum MTU (RFC 4443 §2.4 (c)).
pub const REPLY_MAX: usize = 1280;

/// Decides about a passenger that exceeds `mtu`, the largest one the tunnel carries, and writes
/// the answer to `out`, cut to the size of `out` or to [`REPLY_MAX`].
///
/// `source_v4` and `source_v6` become the answer's source. Where the answer goes back through the
/// TUN device, let them be the far end's tunnel addresses: Linux discards an IPv4 packet from a
/// device as martian if its source is an address of the host itself.
pub fn too_big(
    passenger: &[u8],
    mtu: u16,
    source_v4: Option<Ipv4Addr>,
    source_v6: Option<Ipv6Addr>,
    out: &mut [u8],
) -> TooBig {
    match ip::protocol(passenger) {
        Some(Protocol::IPV4) => too_big_v4(passenger, mtu, source_v4, out),
        Some(Protocol::IPV6) => too_big_v6(passenger, mtu, source_v6, out),
        _ => TooBig::Silent,
    }
}

fn too_big_v4(passenger: &[u8], mtu: u16, source: Option<Ipv4Addr>, out: &mut [u8]) -> TooBig {
    let Ok(ip) = Ipv4::parse(passenger) else {
        return TooBig::Silent;
    };
    if !ip.dont_fragment {
        return TooBig::FragmentPassenger;
    }
    let (Some(source), true) = (source, may_answer_v4(&ip, passenger)) else {
        return TooBig::Silent;
    };
    write_v4(passenger, mtu, source, ip.source, out).map_or(TooBig::Silent, TooBig::Reply)
}

fn too_big_v6(passenger: &[u8], mtu: u16, source: Option<Ipv6Addr>, out: &mut [u8]) -> TooBig {
    let Ok(ip) = Ipv6::parse(passenger) else {
        return TooBig::Silent;
    };
    if ip.total_len <= IPV6_MTU_MIN.into() {
        return TooBig::FragmentDelivery;
    }
    let (Some(source), true) = (source, may_answer_v6(&ip, passenger)) else {
        return TooBig::Silent;
    };
    // Senders ignore a smaller value (RFC 8201 §4).
    let mtu = mtu.max(IPV6_MTU_MIN);
    write_v6(passenger, mtu, source, ip.source, out).map_or(TooBig::Silent, TooBig::Reply)
}

/// RFC 1122 §3.2.2: never about an ICMP error, a multicast, a later fragment, or to a source that
/// is not a single host.
fn may_answer_v4(ip: &Ipv4, passenger: &[u8]) -> bool {
    let not_a_host = |address: Ipv4Addr| {
        address.is_multicast() || address.is_broadcast() || address.is_unspecified()
    };
    !not_a_host(ip.destination)
        && !not_a_host(ip.source)
        && !ip.source.is_loopback()
        && icmp_type(passenger, ICMP).is_some_and(|kind| {
            // Unreachable, source quench, redirect, time exceeded, parameter problem.
            !matches!(kind, Some(3 | 4 | 5 | 11 | 12))
        })
}

/// RFC 4443 §2.4 (e): never about an ICMPv6 error or redirect, or to a source that is not a single
/// host. About a multicast it may be sent (e.3).
fn may_answer_v6(ip: &Ipv6, passenger: &[u8]) -> bool {
    !ip.source.is_multicast()
        && !ip.source.is_unspecified()
        && icmp_type(passenger, ICMPV6).is_some_and(|kind| !matches!(kind, Some(0..=127 | 137)))
}

/// The ICMP type of a packet of this protocol, `Some(None)` for another protocol. `None` where it
/// cannot be known that this is no ICMP error.
fn icmp_type(passenger: &[u8], icmp: u8) -> Option<Option<u8>> {
    let upper = ip::upper_layer(passenger)?;
    match upper.protocol == icmp {
        true => passenger.get(upper.range)?.first().map(|kind| Some(*kind)),
        false => Some(None),
    }
}

fn write_v4(
    passenger: &[u8],
    mtu: u16,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    out: &mut [u8],
) -> Option<usize> {
    let (ip, icmp, quoted) = lay_out::<{ Ipv4::HEADER_LEN }>(passenger, REPLY_MAX_V4, out)?;
    let total_len = u16::try_from(ip.len() + icmp.len() + quoted.len()).ok()?;

    let [m0, m1] = mtu.to_be_bytes();
    *icmp = [3, 4, 0, 0, 0, 0, m0, m1];
    let [c0, c1] = checksum(&[icmp, quoted]).to_be_bytes();
    *icmp = [3, 4, c0, c1, 0, 0, m0, m1];

    let [l0, l1] = total_len.to_be_bytes();
    let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (source.octets(), destination.octets());
    let mut header = [
        0x45,
        TOS,
        l0,
        l1,
        0,
        0,
        DONT_FRAGMENT,
        0,
        HOPS,
        ICMP,
        0,
        0,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
    ];
    let sum = checksum(&[&header]).to_be_bytes();
    [header[10], header[11]] = sum;
    *ip = header;
    Some(total_len.into())
}

fn write_v6(
    passenger: &[u8],
    mtu: u16,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
) -> Option<usize> {
    let (ip, icmp, quoted) = lay_out::<{ Ipv6::HEADER_LEN }>(passenger, REPLY_MAX, out)?;
    let payload_len = u16::try_from(icmp.len() + quoted.len()).ok()?;
    let [l0, l1] = payload_len.to_be_bytes();
    let (source, destination) = (source.octets(), destination.octets());

    let [m0, m1] = mtu.to_be_bytes();
    *icmp = [2, 0, 0, 0, 0, 0, m0, m1];
    // The pseudo-header of RFC 8200 §8.1.
    let pseudo = [0, 0, l0, l1, 0, 0, 0, ICMPV6];
    let [c0, c1] = checksum(&[&source, &destination, &pseudo, icmp, quoted]).to_be_bytes();
    *icmp = [2, 0, c0, c1, 0, 0, m0, m1];

    let (fixed, addresses) = ip.split_first_chunk_mut::<8>()?;
    *fixed = [0x60 | TOS >> 4, TOS << 4, 0, 0, l0, l1, ICMPV6, HOPS];
    let (to_source, to_destination) = addresses.split_first_chunk_mut::<16>()?;
    *to_source = source;
    *to_destination.first_chunk_mut()? = destination;
    Some(Ipv6::HEADER_LEN + usize::from(payload_len))
}

/// Splits `out` into an IP header, an ICMP header and as much of the passenger as fits `max`,
/// which it copies.
fn lay_out<'o, const IP: usize>(
    passenger: &[u8],
    max: usize,
    out: &'o mut [u8],
) -> Option<(&'o mut [u8; IP], &'o mut [u8; 8], &'o [u8])> {
    let len = max.min(out.len());
    let (ip, rest) = out.get_mut(..len)?.split_first_chunk_mut()?;
    let (icmp, rest) = rest.split_first_chunk_mut()?;
    let quoted_len = rest.len().min(passenger.len());
    let quoted = rest.get_mut(..quoted_len)?;
    quoted.copy_from_slice(passenger.get(..quoted_len)?);
    Some((ip, icmp, quoted))
}

const IPV6_MTU_MIN: u16 = 1280;
/// RFC 1812 §4.3.2.3: as much of the packet as keeps the answer within what every host takes.
const REPLY_MAX_V4: usize = 576;
/// Internetwork control (RFC 1812 §4.3.2.5).
const TOS: u8 = 0xc0;
/// DF in the upper octet of the fragment field: the identification 0 needs it (RFC 6864 §4.1).
const DONT_FRAGMENT: u8 = 0x40;
const HOPS: u8 = 64;

#[cfg(test)]
mod tests;
