//! The outer TTL or hop limit: RFC 2784 §3.1, and what routing protocols make of it (PAINS 13).
//!
//! Not here: the passenger's own TTL, which the kernel behind the device decrements.

use std::num::NonZeroU8;

use crate::header::Protocol;
use crate::ip::{self, Ipv4, Ipv6};

/// Where the outer TTL comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// This one, for every packet.
    Fixed(NonZeroU8),
    /// The passenger's, unless it is not meant to count the routers in between: multicasts and TTL 1
    /// say "no further than this link", and the tunnel is that link.
    Inherit,
}

impl Policy {
    /// What RFC 1700 recommends for whoever has no reason to choose.
    pub const DEFAULT: NonZeroU8 = NonZeroU8::new(64).expect("not 0");

    /// The TTL of packets that inherit none.
    pub const fn own(self) -> NonZeroU8 {
        match self {
            Self::Fixed(ttl) => ttl,
            Self::Inherit => Self::DEFAULT,
        }
    }

    /// The TTL of the packet that carries `passenger`.
    pub fn outer(self, passenger: &[u8]) -> NonZeroU8 {
        match self {
            Self::Fixed(ttl) => ttl,
            Self::Inherit => passengers(passenger).unwrap_or(self.own()),
        }
    }
}

/// The passenger's TTL, if it counts more than the tunnel.
fn passengers(passenger: &[u8]) -> Option<NonZeroU8> {
    let (ttl, multicast) = if ip::protocol(passenger)? == Protocol::IPV4 {
        let ip = Ipv4::parse(passenger).ok()?;
        let to = ip.destination;
        (ip.ttl, to.is_multicast() || to.is_broadcast())
    } else {
        let ip = Ipv6::parse(passenger).ok()?;
        (ip.hop_limit, ip.destination.is_multicast())
    };
    NonZeroU8::new(ttl).filter(|ttl| ttl.get() > 1 && !multicast)
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;
    use proptest::prelude::*;

    use super::*;

    /// PAINS 13: OSPF's and PIM's hellos cross the routers between the ends.
    #[test]
    fn what_is_inherited_and_from_whom() {
        let ipv4 = |ttl: u8, to: [u8; 4]| {
            let mut packet = hex!("45000014 00000000 00590000 0a000001 00000000");
            packet[8] = ttl;
            packet[16..].copy_from_slice(&to);
            packet.to_vec()
        };
        let ipv6 = |hops: u8, to: u8| {
            let mut packet = vec![0; 40];
            packet[0] = 0x60;
            (packet[6], packet[7], packet[24]) = (59, hops, to);
            packet
        };
        for (name, passenger, inherited) in [
            ("a unicast", ipv4(17, [10, 0, 0, 2]), Some(17)),
            ("a unicast of IPv6", ipv6(255, 0x20), Some(255)),
            ("OSPF's hello", ipv4(1, [224, 0, 0, 5]), None),
            ("a multicast that is routed", ipv4(32, [239, 1, 1, 1]), None),
            ("a broadcast", ipv4(64, [255; 4]), None),
            ("BGP to a neighbour", ipv4(1, [10, 0, 0, 2]), None),
            ("TTL 0", ipv4(0, [10, 0, 0, 2]), None),
            ("a multicast of IPv6", ipv6(255, 0xff), None),
            ("hop limit 1", ipv6(1, 0x20), None),
            ("no packet", vec![0x45], None),
        ] {
            let outer = Policy::Inherit.outer(&passenger).get();
            assert_eq!(outer, inherited.unwrap_or(64), "{name}");
        }
        let fixed = Policy::Fixed(NonZeroU8::MAX);
        assert_eq!(fixed.outer(&ipv4(17, [10, 0, 0, 2])), NonZeroU8::MAX);
    }

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic(passenger: Vec<u8>) {
            let _ = Policy::Inherit.outer(&passenger);
        }
    }
}
