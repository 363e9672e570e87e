//! The outer side's vocabulary: between which addresses packets travel, how ESP is wrapped on the
//! way, and how UDP port 4500 is shared between IKE, ESP and keepalives (RFC 3948 §2).

use std::net::SocketAddr;
use std::num::NonZeroU32;

/// RFC 7296 §2.23: the port that IKE shares with ESP in UDP.
pub const NAT_TRAVERSAL_PORT: u16 = 4500;

/// RFC 3948 §2.2: zeros where an ESP packet has its SPI, which is never 0.
pub(super) const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// RFC 3948 §2.3.
pub(super) const NAT_KEEPALIVE: [u8; 1] = [0xff];

/// The outer addresses and ports of a datagram. Native ESP has no ports; it ignores those here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
}

/// What outer packets are bound to besides their addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Via {
    /// Index of the network device that they use; `None`: the routes decide.
    pub link: Option<NonZeroU32>,
    /// Their firewall mark, which rules of policy routing may ask for.
    pub mark: Option<NonZeroU32>,
}

impl Via {
    /// Whether a route by the device with this index is one for such packets; one that refuses has
    /// no device, and is for all.
    pub(super) fn admits(self, link: Option<u32>) -> bool {
        match (self.link, link) {
            (Some(only), Some(link)) => only.get() == link,
            _ => true,
        }
    }

    /// As the kernel writes it: 0 for none.
    pub(super) fn link_index(self) -> u32 {
        self.link.map_or(0, NonZeroU32::get)
    }
}

/// How ESP packets are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// Not at all: IP protocol 50.
    None,
    /// In UDP (RFC 3948).
    Udp {
        /// Whether a NAT on our side has to be kept from forgetting us (RFC 3948 §4).
        keepalives: bool,
    },
}

/// What a datagram on port 4500 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnSharedPort<'b> {
    /// An IKE message, without its marker.
    Ike(&'b [u8]),
    /// An ESP packet, by all appearances.
    Esp,
    /// One octet 0xFF: to be ignored.
    Keepalive,
    /// Too short to be any of these.
    Runt,
}

/// Tells by the first four octets.
pub(super) fn on_shared_port(datagram: &[u8]) -> OnSharedPort<'_> {
    match datagram.split_first_chunk() {
        Some((&NON_ESP_MARKER, message)) => OnSharedPort::Ike(message),
        // An SPI alone is no ESP packet either (D49).
        Some((_, [])) => OnSharedPort::Runt,
        Some(_) => OnSharedPort::Esp,
        None if datagram == NAT_KEEPALIVE => OnSharedPort::Keepalive,
        None => OnSharedPort::Runt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D49, RFC 3948 §2.
    #[test]
    fn what_shares_the_port_is_told_apart() {
        for (datagram, expected) in [
            (&b"\0\0\0\0IKE"[..], OnSharedPort::Ike(b"IKE")),
            (b"\0\0\0\0", OnSharedPort::Ike(b"")),
            (b"\0\0\0\x01ESP", OnSharedPort::Esp),
            (b"\xff\0\0\0\0", OnSharedPort::Esp),
            (b"\xff", OnSharedPort::Keepalive),
            (b"\xff\xff", OnSharedPort::Runt),
            (b"\0\0\0\x01", OnSharedPort::Runt),
            (b"\0\0\0", OnSharedPort::Runt),
            (b"", OnSharedPort::Runt),
        ] {
            assert_eq!(on_shared_port(datagram), expected, "{datagram:02x?}");
        }
    }
}
