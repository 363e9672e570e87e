//! Whether the outer packet may be fragmented on its way: RFC 2003 §3.1, RFC 4459 §3.
//!
//! An outer packet that is fragmented costs its receiver reassembly before anything is
//! authenticated, and a lost fragment costs the whole; one that may not be is lost where the path is
//! narrower than the device's MTU, until the path's MTU is known. Hence DF by default.
//!
//! Not here: telling the passenger's sender what fits ([`icmp`](crate::icmp)).

use crate::header::Protocol;
use crate::ip::{self, Ipv4};

/// Where the outer DF bit comes from. Outer IPv6 has none: there the sender alone may fragment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// Set: path MTU discovery finds out what fits, and passengers that exceed it are answered or cut
    /// before they are encapsulated (RFC 4459 §3.2, §3.4).
    #[default]
    Set,
    /// The passenger's; IPv6 passengers have it set (RFC 2003 §3.1).
    Copy,
    /// Clear: outer packets that exceed the path are fragmented (RFC 4459 §3.1).
    Clear,
}

impl Policy {
    /// Whether the outer packet of this passenger may be fragmented.
    pub fn may_fragment(self, passenger: &[u8]) -> bool {
        match self {
            Self::Set => false,
            Self::Clear => true,
            Self::Copy => {
                ip::protocol(passenger) == Some(Protocol::IPV4)
                    && Ipv4::parse(passenger).is_ok_and(|ip| !ip.dont_fragment)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn the_outer_bit_by_policy_and_passenger() {
        let with_df = hex!("45000014 00004000 40110000 0a000001 0a000002");
        let without = hex!("45000014 00000000 40110000 0a000001 0a000002");
        let mut ipv6 = [0; 40];
        ipv6[0] = 0x60;
        let passengers: [&[u8]; 4] = [&with_df, &without, &ipv6, &[]];
        let by = |policy: Policy| passengers.map(|passenger| policy.may_fragment(passenger));
        assert_eq!(by(Policy::Set), [false; 4]);
        assert_eq!(by(Policy::Copy), [false, true, false, false]);
        assert_eq!(by(Policy::Clear), [true; 4]);
    }
}
