//! Which flow a passenger is of: what has to stay in order, shares fairly with others, and has one
//! FlowID (RFC 7637 §3.2).
//!
//! Not here: what is made of it; who hashes a [`Flow`] chooses how.

use std::ops::Range;

use crate::ethernet::{HEADER_LEN, Passengers};
use crate::header::Protocol;
use crate::ip::{self, Ipv4, Ipv6};

/// Addresses, protocol and ports. All fragments between two addresses are one flow, as only the first of
/// them has ports; so are packets with IPv6 extension headers. A frame without an IP packet is of the
/// flow of its own addresses and type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow<'p> {
    pub(crate) addresses: &'p [u8],
    pub(crate) protocol: u8,
    pub(crate) ports: &'p [u8],
}

impl<'p> Flow<'p> {
    /// Of a passenger of this kind, whatever it looks like.
    pub fn of(kind: Passengers, passenger: &'p [u8]) -> Self {
        let inner = kind.ip_offset(passenger);
        let ip = inner.and_then(|offset| Self::of_ip(passenger.get(offset..)?));
        ip.unwrap_or_else(|| {
            let header = passenger.get(..HEADER_LEN).unwrap_or_default();
            Self::without_ports(header)
        })
    }

    fn of_ip(packet: &'p [u8]) -> Option<Self> {
        let (addresses, transport) = if ip::protocol(packet)? == Protocol::IPV4 {
            let header = Ipv4::parse(packet).ok()?;
            let is_whole = !header.more_fragments && header.fragment_offset == 0;
            let start = is_whole.then_some(header.header_len);
            (ADDRESSES_V4, start.map(|start| (header.protocol, start)))
        } else {
            let header = Ipv6::parse(packet).ok()?;
            (ADDRESSES_V6, Some((header.next_header, Ipv6::HEADER_LEN)))
        };
        let addresses = packet.get(addresses)?;
        let with_ports = transport.and_then(|(protocol, start)| {
            let ports = packet.get(start..start + PORTS_LEN)?;
            matches!(protocol, ip::TCP | ip::UDP).then_some(Self {
                addresses,
                protocol,
                ports,
            })
        });
        Some(with_ports.unwrap_or_else(|| Self::without_ports(addresses)))
    }

    const fn without_ports(addresses: &'p [u8]) -> Self {
        Self {
            addresses,
            protocol: 0,
            ports: &[],
        }
    }
}

const ADDRESSES_V4: Range<usize> = 12..20;
const ADDRESSES_V6: Range<usize> = 8..40;
/// Of TCP and of UDP, at their headers' start (RFC 9293 §3.1, RFC 768).
const PORTS_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ipv4(fragment: u16, protocol: u8, port: u8) -> Vec<u8> {
        let mut packet = vec![0; 40];
        (packet[0], packet[3], packet[9], packet[21]) = (0x45, 40, protocol, port);
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet
    }

    fn of(packet: &[u8]) -> Flow<'_> {
        Flow::of(Passengers::Ip, packet)
    }

    #[test]
    fn ports_tell_flows_apart_and_nothing_else_of_them() {
        for protocol in [ip::TCP, ip::UDP] {
            let first = ipv4(0x4000, protocol, 7);
            let mut second = first.clone();
            (second[1], second[5], second[8], second[39]) = (9, 9, 9, 9);
            assert_eq!(of(&first), of(&second));
            assert_ne!(of(&first), of(&ipv4(0x4000, protocol, 8)));
        }
        assert_eq!(of(&ipv4(0, ip::ICMP, 7)), of(&ipv4(0, ip::ICMP, 8)));
    }

    /// Also those far into their datagram, and the last one.
    #[test]
    fn fragments_stay_together() {
        let first = ipv4(0x2000, ip::UDP, 7);
        for fragment in [0x2040, 0x2001, 0x0040, 0x0001, 0x1fff] {
            let other = ipv4(fragment, ip::UDP, 9);
            assert_eq!(of(&first), of(&other), "{fragment:#06x}");
        }
        assert_ne!(of(&first), of(&ipv4(0, ip::UDP, 7)));
    }

    #[test]
    fn ports_are_found_behind_ipv4_options_and_in_frames() {
        let plain = ipv4(0, ip::TCP, 7);
        let mut with_options = plain.clone();
        (with_options[0], with_options[3]) = (0x46, 44);
        with_options.splice(20..20, [1; 4]);
        assert_eq!(of(&plain), of(&with_options));

        let header = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        let frame = [&header[..], &[8, 0], &plain].concat();
        let in_vlan = [&header[..], &[0x81, 0, 0, 100, 8, 0], &plain].concat();
        for frame in [&frame, &in_vlan] {
            assert_eq!(Flow::of(Passengers::Ethernet, frame), of(&plain));
        }
        let arp = [&header[..], &[8, 6], &[0; 28]].concat();
        assert_eq!(
            Flow::of(Passengers::Ethernet, &arp).addresses,
            &arp[..HEADER_LEN]
        );
    }

    proptest! {
        #[test]
        fn any_octets_are_of_a_flow(octets: Vec<u8>) {
            for kind in [Passengers::Ip, Passengers::Ethernet] {
                let flow = Flow::of(kind, &octets);
                prop_assert!(flow.ports.is_empty() || flow.ports.len() == PORTS_LEN);
            }
        }
    }
}
