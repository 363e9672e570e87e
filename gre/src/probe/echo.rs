//! Echo requests (RFC 792, RFC 4443 §4.1) from us to the peer's address inside the tunnel: the probes
//! that every peer that answers ping knows.
//!
//! An answer is known by addresses and identifier, and says itself how long the request was; what is not
//! known so is a passenger, for people ping too.

use std::net::IpAddr;

use crate::checksum::checksum;
use crate::header::Protocol;
use crate::ip::{self, Ipv4, Ipv6};

/// The ends of a tunnel as its own probes are known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Ours, inside the tunnel.
    ours: IpAddr,
    /// The peer's, of the same IP version.
    theirs: IpAddr,
    /// Chosen at random, so that nobody's ping is mistaken for one.
    identifier: u16,
}

impl Echo {
    /// `None` for addresses of different IP versions.
    pub const fn new(ours: IpAddr, theirs: IpAddr, identifier: u16) -> Option<Self> {
        match (ours, theirs) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => Some(Self {
                ours,
                theirs,
                identifier,
            }),
            _ => None,
        }
    }

    /// Fills `packet` with an echo request that is as long as it, DF set. `None` if it is too short or
    /// too long for one.
    pub fn write_request(&self, sequence: u16, packet: &mut [u8]) -> Option<()> {
        let len = u16::try_from(packet.len()).ok()?;
        packet.fill(0);
        let (request, header_len) = match self.ours {
            IpAddr::V4(_) => (ECHO_V4.request, Ipv4::HEADER_LEN),
            IpAddr::V6(_) => (ECHO_V6.request, Ipv6::HEADER_LEN),
        };
        let (header, message) = packet.split_at_mut_checked(header_len)?;
        let (start, _) = message.split_first_chunk_mut::<{ ICMP_HEADER + SIZE }>()?;
        let ([i0, i1], [s0, s1]) = (self.identifier.to_be_bytes(), sequence.to_be_bytes());
        let [l0, l1] = len.to_be_bytes();
        *start = [request, 0, 0, 0, i0, i1, s0, s1, l0, l1];
        let message_len = len.checked_sub(u16::try_from(header_len).ok()?)?;
        let sum = self.checksum(message_len, message);
        message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
        self.write_header(len, message_len, header)
    }

    fn write_header(&self, len: u16, message_len: u16, header: &mut [u8]) -> Option<()> {
        match (self.ours, self.theirs) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let [l0, l1] = len.to_be_bytes();
                let start = [
                    0x45,
                    0,
                    l0,
                    l1,
                    0,
                    0,
                    DONT_FRAGMENT,
                    0,
                    HOPS,
                    ECHO_V4.protocol,
                ];
                let (source, destination) = (source.octets(), destination.octets());
                let sum = checksum(&[&start, &source, &destination]).to_be_bytes();
                fill(header, &[&start, &sum, &source, &destination])
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let [l0, l1] = message_len.to_be_bytes();
                let start = [0x60, 0, 0, 0, l0, l1, ECHO_V6.protocol, HOPS];
                fill(header, &[&start, &source.octets(), &destination.octets()])
            }
            _ => None,
        }
    }

    /// Over the message, and over IPv6's pseudo-header (RFC 4443 §2.3).
    fn checksum(&self, message_len: u16, message: &[u8]) -> u16 {
        match (self.ours, self.theirs) {
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let [l0, l1] = message_len.to_be_bytes();
                let pseudo = [0, 0, l0, l1, 0, 0, 0, ECHO_V6.protocol];
                checksum(&[&ours.octets(), &theirs.octets(), &pseudo, message])
            }
            _ => checksum(&[message]),
        }
    }

    /// The sequence number and the length of the request that `passenger`, an IP packet out of the
    /// tunnel, answers; `None`: it is no answer to one of ours.
    pub fn answered(&self, passenger: &[u8]) -> Option<(u16, u16)> {
        // Passengers are seldom ICMP, and each of them is looked at here.
        if !matches!(
            passenger,
            [0x45, _, _, _, _, _, _, _, _, 1, ..] | [_, _, _, _, _, _, 58, ..]
        ) {
            return None;
        }
        let (kind, source, destination) = if ip::protocol(passenger)? == Protocol::IPV4 {
            let ip = Ipv4::parse(passenger).ok()?;
            (ECHO_V4, ip.source.into(), ip.destination.into())
        } else {
            let ip = Ipv6::parse(passenger).ok()?;
            (ECHO_V6, ip.source.into(), ip.destination.into())
        };
        if (source, destination) != (self.theirs, self.ours) {
            return None;
        }
        let upper = ip::upper_layer(passenger).filter(|upper| upper.protocol == kind.protocol)?;
        let (&[message, 0, _, _, i0, i1, s0, s1, l0, l1], _) = passenger
            .get(upper.range)?
            .split_first_chunk::<{ ICMP_HEADER + SIZE }>()?
        else {
            return None;
        };
        let is_ours = message == kind.reply && u16::from_be_bytes([i0, i1]) == self.identifier;
        is_ours.then_some((u16::from_be_bytes([s0, s1]), u16::from_be_bytes([l0, l1])))
    }
}

/// Writes these, one behind the other.
fn fill(place: &mut [u8], parts: &[&[u8]]) -> Option<()> {
    let mut rest = place;
    for part in parts {
        let (to, after) = rest.split_at_mut_checked(part.len())?;
        to.copy_from_slice(part);
        rest = after;
    }
    Some(())
}

/// What echo is to an IP version.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    protocol: u8,
    request: u8,
    reply: u8,
}

const ECHO_V4: Numbers = Numbers {
    protocol: 1,
    request: 8,
    reply: 0,
};
const ECHO_V6: Numbers = Numbers {
    protocol: 58,
    request: 128,
    reply: 129,
};
const ICMP_HEADER: usize = 8;
/// Behind it the request's length, which a peer with a smaller MTU may answer in fragments.
const SIZE: usize = 2;
const HOPS: u8 = 64;
/// In the first octet of IPv4's flags and fragment offset.
const DONT_FRAGMENT: u8 = 0x40;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(ipv6: bool) -> Echo {
        let [ours, theirs] = match ipv6 {
            false => ["10.255.0.1", "10.255.0.2"],
            true => ["fd00:255::1", "fd00:255::2"],
        }
        .map(|text| text.parse().unwrap());
        Echo::new(ours, theirs, 0x1234).unwrap()
    }

    fn request(echo: &Echo, sequence: u16, len: usize) -> Vec<u8> {
        let mut packet = vec![0xff; len];
        echo.write_request(sequence, &mut packet).unwrap();
        packet
    }

    /// What the peer's kernel makes of it: addresses exchanged, the type changed, the rest as it came.
    fn reply(request: &[u8], ipv6: bool) -> Vec<u8> {
        let mut packet = request.to_vec();
        let (addresses, message) = if ipv6 { (8..40, 40) } else { (12..20, 20) };
        packet[addresses.clone()].rotate_left(addresses.len() / 2);
        packet[message] = if ipv6 { 129 } else { 0 };
        packet
    }

    #[test]
    fn the_wire_form() {
        let packet = request(&ends(false), 7, 32);
        assert_eq!(packet[..10], [0x45, 0, 0, 32, 0, 0, 0x40, 0, 64, 1]);
        assert_eq!(checksum(&[&packet[..20]]), 0, "of the header");
        assert_eq!(checksum(&[&packet[20..]]), 0, "of the message");
        assert_eq!((packet[20], &packet[24..28]), (8, &[0x12, 0x34, 0, 7][..]));
        let packet = request(&ends(true), 7, 52);
        assert_eq!(packet[..8], [0x60, 0, 0, 0, 0, 12, 58, 64]);
        let pseudo = [0, 0, 0, 12, 0, 0, 0, 58];
        assert_eq!(checksum(&[&packet[8..40], &pseudo, &packet[40..]]), 0);
        let mut short = [0; 29];
        assert_eq!(ends(false).write_request(1, &mut short), None);
        let two = ["10.0.0.1", "fd00::1"].map(|text| text.parse().unwrap());
        assert_eq!(Echo::new(two[0], two[1], 1), None);
    }

    #[test]
    fn an_answer_is_known_and_nothing_else() {
        for ipv6 in [false, true] {
            let echo = ends(ipv6);
            let asked = request(&echo, 513, 1400);
            let answer = reply(&asked, ipv6);
            assert_eq!(echo.answered(&answer), Some((513, 1400)));
            if !ipv6 {
                let mut fragment = answer[..1300].to_vec();
                fragment[2..4].copy_from_slice(&1300_u16.to_be_bytes());
                fragment[6] = 0x20;
                assert_eq!(
                    echo.answered(&fragment),
                    Some((513, 1400)),
                    "of the request"
                );
            }
            assert_eq!(echo.answered(&asked), None, "our own request");
            let other = Echo {
                identifier: 0x4321,
                ..echo
            };
            assert_eq!(other.answered(&answer), None, "somebody's ping");
            let third = Echo {
                theirs: echo.ours,
                ..echo
            };
            assert_eq!(third.answered(&answer), None, "from another address");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read(passenger in prop::collection::vec(any::<u8>(), 0..80)) {
            for ipv6 in [false, true] {
                let _ = ends(ipv6).answered(&passenger);
            }
        }
    }
}
