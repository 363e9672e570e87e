//! Ethernet frames as passengers: where their IP packet begins (IEEE 802.3 §3.2, 802.1Q §9.5), and what
//! NVGRE asks of them (RFC 7637 §3.2): no VLAN tag, and a FlowID for each flow.
//!
//! Not here: what is done to the IP packet inside, bridging, ARP.

use crate::flow::Flow;
use crate::header::Protocol;
use crate::ip;

/// Octets of a frame's header without tags: two addresses and a type.
pub const HEADER_LEN: usize = 14;

/// Octets of one VLAN tag.
pub const TAG_LEN: usize = 4;

/// What precedes the type, or the first tag.
const ADDRESSES_LEN: usize = 12;

/// Types that begin a tag: a customer's, and a provider's around it (IEEE 802.1Q §9.5).
const CUSTOMER_TAG: u16 = 0x8100;
const PROVIDER_TAG: u16 = 0x88a8;

/// What passengers are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Passengers {
    /// IP packets, of a TUN device.
    #[default]
    Ip,
    /// Ethernet frames, of a TAP device: protocol type 0x6558.
    Ethernet,
}

impl Passengers {
    /// Octets of a passenger before what its device's MTU counts, VLAN tags included.
    pub fn link_header_len(self, passenger: &[u8]) -> usize {
        match self {
            Self::Ip => 0,
            Self::Ethernet => header(passenger).0,
        }
    }

    /// Where a passenger's IP packet begins; `None`: it carries none.
    pub fn ip_offset(self, passenger: &[u8]) -> Option<usize> {
        match self {
            Self::Ip => Some(0),
            Self::Ethernet => {
                let (len, ethertype) = header(passenger);
                let carried = ip::protocol(passenger.get(len..)?)?;
                (ethertype == Some(carried)).then_some(len)
            }
        }
    }

    /// The passenger's IP packet; empty where it carries none.
    pub fn ip_packet(self, passenger: &mut [u8]) -> &mut [u8] {
        let offset = self.ip_offset(passenger).unwrap_or(passenger.len());
        passenger.get_mut(offset..).unwrap_or_default()
    }
}

/// Octets up to what the frame carries, and the type of that; `None` where the frame ends before.
fn header(frame: &[u8]) -> (usize, Option<Protocol>) {
    let mut len = HEADER_LEN;
    loop {
        match ethertype(frame, len) {
            Some(CUSTOMER_TAG | PROVIDER_TAG) => len += TAG_LEN,
            ethertype => return (len, ethertype.map(Protocol)),
        }
    }
}

/// The type that ends a header of `len` octets.
fn ethertype(frame: &[u8], len: usize) -> Option<u16> {
    let octets = frame.get(len - 2..len)?;
    octets.try_into().ok().map(u16::from_be_bytes)
}

/// Whether it has a VLAN tag.
pub(crate) fn is_tagged(frame: &[u8]) -> bool {
    header(frame).0 > HEADER_LEN
}

/// Takes the VLAN tags from a frame, by moving the addresses over them. How many octets it begins
/// later.
pub(crate) fn remove_tags(frame: &mut [u8]) -> usize {
    let removed = header(frame).0 - HEADER_LEN;
    if removed > 0 && frame.len() >= ADDRESSES_LEN + removed {
        frame.copy_within(..ADDRESSES_LEN, removed);
        return removed;
    }
    0
}

/// A number that is the same for all frames of a flow, and seldom that of another (RFC 7637 §3.2).
pub(crate) fn flow_id(frame: &[u8]) -> u8 {
    let Flow {
        addresses,
        protocol,
        ports,
    } = Flow::of(Passengers::Ethernet, frame);
    fold(ports, fold(addresses, 0) ^ protocol)
}

/// FNV-1a of 32 bits, folded into 8.
fn fold(octets: &[u8], seed: u8) -> u8 {
    let mix = |hash: u32, octet: &u8| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193);
    let hash = octets.iter().fold(u32::from(seed) ^ 0x811c_9dc5, mix);
    let [a, b, c, d] = hash.to_be_bytes();
    a ^ b ^ c ^ d
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hex_literal::hex;
    use proptest::prelude::*;

    use super::*;

    const ADDRESSES: [u8; 12] = hex!("020000000001 020000000002");
    const UDP4: [u8; 28] = hex!("4500001c 00004000 40110000 0a000001 0a000002 0035 0036 0008 0000");

    fn frame(tags: &[u8], ethertype: u16, payload: &[u8]) -> Vec<u8> {
        [&ADDRESSES, tags, &ethertype.to_be_bytes(), payload].concat()
    }

    #[test]
    fn where_the_ip_packet_begins() {
        let (one, two) = (&hex!("8100 0064")[..], &hex!("88a8 0007 8100 0064")[..]);
        for (name, frame, header_len, offset) in [
            ("IPv4", frame(&[], 0x0800, &UDP4), 14, Some(14)),
            ("in a VLAN", frame(one, 0x0800, &UDP4), 18, Some(18)),
            ("in two", frame(two, 0x0800, &UDP4), 22, Some(22)),
            ("IPv6", frame(&[], 0x86dd, &[0x60; 40]), 14, Some(14)),
            ("ARP", frame(&[], 0x0806, &[0; 28]), 14, None),
            (
                "MPLS that looks like IPv4",
                frame(&[], 0x8847, &UDP4),
                14,
                None,
            ),
            ("another version", frame(&[], 0x0800, &[0x60; 40]), 14, None),
            ("nothing behind the type", frame(&[], 0x0800, &[]), 14, None),
            (
                "nothing behind the tag",
                frame(one, 0x0800, &[])[..16].to_vec(),
                18,
                None,
            ),
            ("addresses alone", ADDRESSES.to_vec(), 14, None),
        ] {
            assert_eq!(
                Passengers::Ethernet.link_header_len(&frame),
                header_len,
                "{name}"
            );
            assert_eq!(Passengers::Ethernet.ip_offset(&frame), offset, "{name}");
        }
        assert_eq!(Passengers::Ip.ip_offset(&UDP4), Some(0));
        assert_eq!(Passengers::Ip.link_header_len(&UDP4), 0);
    }

    /// RFC 7637 §3.2
    #[test]
    fn tags_are_removed() {
        let untagged = frame(&[], 0x0800, &UDP4);
        for tags in [&[][..], &hex!("8100 0064"), &hex!("88a8 0007 8100 0064")] {
            let mut tagged = frame(tags, 0x0800, &UDP4);
            assert_eq!(is_tagged(&tagged), !tags.is_empty());
            let removed = remove_tags(&mut tagged);
            assert_eq!(removed, tags.len());
            assert_eq!(tagged[removed..], untagged);
        }
    }

    /// RFC 7637 §3.2
    #[test]
    fn a_flow_keeps_its_id_and_others_have_others() {
        let with_port = |port: u8| {
            let mut packet = UDP4;
            packet[21] = port;
            frame(&[], 0x0800, &packet)
        };
        let mut longer = with_port(7);
        longer.extend([1, 2, 3]);
        assert_eq!(flow_id(&with_port(7)), flow_id(&longer));
        let ids: BTreeSet<_> = (0..64).map(|port| flow_id(&with_port(port))).collect();
        assert!(ids.len() > 40, "{} of 64", ids.len());
    }

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic(mut octets: Vec<u8>, tagged in any::<bool>()) {
            if let [_, _, _, _, _, _, _, _, _, _, _, _, first, second, ..] = &mut octets[..]
                && tagged
            {
                (*first, *second) = (0x81, 0);
            }
            for kind in [Passengers::Ip, Passengers::Ethernet] {
                kind.link_header_len(&octets);
                kind.ip_packet(&mut octets);
            }
            flow_id(&octets);
            let removed = remove_tags(&mut octets);
            prop_assert!(removed <= octets.len());
        }
    }
}
