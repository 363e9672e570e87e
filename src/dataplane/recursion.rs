//! The link's own outer packets that come out of its device, because a route leads to the peer through
//! the tunnel: around them again, they would come back longer, and again (RFC 2784 §7, PAINS 15).
//!
//! Not here: which route that is (`net::netlink`).

use std::net::IpAddr;

use super::headers::{IPV4_HEADER, IPV6_HEADER, UDP, take, take_u16};
use crate::net::ike::IKE_PORT;
use crate::net::outer::{NAT_TRAVERSAL_PORT, Path};

/// Protocol number of ESP.
const ESP: u8 = 50;

/// Between which addresses the link's packets travel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    local: IpAddr,
    remote: IpAddr,
}

impl Ends {
    pub(super) fn of(path: Path) -> Self {
        Self {
            local: path.local.ip(),
            remote: path.remote.ip(),
        }
    }

    /// Whether `passenger` is ESP, ESP in UDP or IKE that was meant to go around the tunnel. The
    /// kernel writes neither options nor extension headers into those.
    pub(super) fn sent(self, passenger: &[u8]) -> bool {
        self.carried(passenger).unwrap_or(false)
    }

    fn carried(self, passenger: &[u8]) -> Option<bool> {
        let (protocol, header) = match (self.local, self.remote, passenger.first()? >> 4) {
            (IpAddr::V4(local), IpAddr::V4(remote), 4) => {
                if take(passenger, 16)? != remote.octets() || take(passenger, 12)? != local.octets()
                {
                    return None;
                }
                (*passenger.get(9)?, IPV4_HEADER)
            }
            (IpAddr::V6(local), IpAddr::V6(remote), 6) => {
                if take(passenger, 24)? != remote.octets() || take(passenger, 8)? != local.octets()
                {
                    return None;
                }
                (*passenger.get(6)?, IPV6_HEADER)
            }
            _ => return None,
        };
        Some(match protocol {
            ESP => true,
            UDP => [IKE_PORT, NAT_TRAVERSAL_PORT].contains(&take_u16(passenger, header)?),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAT_T: [u8; 2] = NAT_TRAVERSAL_PORT.to_be_bytes();
    const IKE: [u8; 2] = IKE_PORT.to_be_bytes();

    fn packet(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut packet = vec![0; 12];
                (packet[0], packet[9]) = (0x45, protocol);
                packet.extend(source.octets());
                packet.extend(destination.octets());
                packet
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut packet = vec![0; 8];
                (packet[0], packet[6]) = (0x60, protocol);
                packet.extend(source.octets());
                packet.extend(destination.octets());
                packet
            }
            _ => unreachable!("one family"),
        };
        packet.extend(payload);
        packet
    }

    /// PAINS 15.
    #[test]
    fn what_the_link_sends_is_known_from_what_others_send() {
        let ends = [
            ("192.0.2.1", "192.0.2.2", "192.0.2.3"),
            ("2001:db8::1", "2001:db8::2", "2001:db8::3"),
        ];
        for (local, remote, other) in ends {
            let [local, remote, other] = [local, remote, other].map(|text| text.parse().unwrap());
            let ends = Ends { local, remote };
            for (protocol, payload, own) in [
                (ESP, &[][..], true),
                (UDP, &IKE, true),
                (UDP, &NAT_T, true),
                (UDP, &[0, 53], false),
                // Cut off.
                (UDP, &[17], false),
                (6, &IKE, false),
                (1, &[8, 0], false),
            ] {
                let sent = |from, to| ends.sent(&packet(from, to, protocol, payload));
                assert_eq!(sent(local, remote), own, "{protocol} {payload:?}");
                assert!(!sent(remote, local) && !sent(local, other) && !sent(other, remote));
            }
            let whole = packet(local, remote, ESP, &[]);
            for length in 0..whole.len() {
                assert!(!ends.sent(&whole[..length]), "{length} octets");
            }
        }
    }
}
