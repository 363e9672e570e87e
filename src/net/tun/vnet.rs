//! The header before each packet of a device: what has been left undone in it, in the layout of
//! virtio (VIRTIO 1.2 §5.1.6, the legacy form without `num_buffers`, in the host's byte order).
//!
//! Not here: doing it, which is the packet path's.

use std::num::NonZeroU16;

/// What is left to do in a packet, by whoever takes it over. The default is nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offload {
    /// The checksum of its transport header is to be completed.
    pub checksum: Option<PartialChecksum>,
    /// It is to be cut; the checksum then is that of each segment.
    pub segmentation: Option<Segmentation>,
}

/// A checksum field that holds the sum of the pseudo-header alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Where the sum starts: at the transport header, in octets from the start of the packet.
    pub start: u16,
    /// Where the field is, from there.
    pub offset: u16,
}

/// How a super-packet is to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segmentation {
    /// What its segments are.
    pub kind: SegmentKind,
    /// Payload of each segment but the last, in octets.
    pub size: NonZeroU16,
    /// Octets of the headers that each segment has. From the kernel it is a hint.
    pub header_len: u16,
}

/// Of what protocol a super-packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP over either: each segment is a datagram.
    Udp,
}

impl Offload {
    /// Octets of the header.
    pub(super) const HEADER_LEN: usize = 10;

    /// What the kernel says. It asks for no segmentation that the device did not agree to, so that a
    /// kind of another name counts as none.
    pub(super) fn from_bytes(header: [u8; Self::HEADER_LEN]) -> Self {
        let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1] = header;
        let kind = match gso_type & !GSO_ECN {
            GSO_TCPV4 => Some(SegmentKind::TcpV4),
            GSO_TCPV6 => Some(SegmentKind::TcpV6),
            GSO_UDP_L4 => Some(SegmentKind::Udp),
            _ => None,
        };
        let size = NonZeroU16::new(u16::from_ne_bytes([g0, g1]));
        Self {
            checksum: (flags & NEEDS_CSUM != 0).then(|| PartialChecksum {
                start: u16::from_ne_bytes([s0, s1]),
                offset: u16::from_ne_bytes([o0, o1]),
            }),
            segmentation: kind.zip(size).map(|(kind, size)| Segmentation {
                kind,
                size,
                header_len: u16::from_ne_bytes([h0, h1]),
            }),
        }
    }

    pub(super) fn to_bytes(self) -> [u8; Self::HEADER_LEN] {
        let flags = if self.checksum.is_some() {
            NEEDS_CSUM
        } else {
            0
        };
        let (start, offset) = self
            .checksum
            .map_or((0, 0), |checksum| (checksum.start, checksum.offset));
        let (gso_type, header_len, size) = match self.segmentation {
            None => (0, 0, 0),
            Some(Segmentation {
                kind,
                size,
                header_len,
            }) => {
                let gso_type = match kind {
                    SegmentKind::TcpV4 => GSO_TCPV4,
                    SegmentKind::TcpV6 => GSO_TCPV6,
                    SegmentKind::Udp => GSO_UDP_L4,
                };
                (gso_type, header_len, size.get())
            }
        };
        let [h0, h1] = header_len.to_ne_bytes();
        let [g0, g1] = size.to_ne_bytes();
        let [s0, s1] = start.to_ne_bytes();
        let [o0, o1] = offset.to_ne_bytes();
        [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1]
    }
}

const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// The TCP segments' CWR flag is to be on the first alone (RFC 3168 §6.1.2), which the flag in the
/// packet says as well.
const GSO_ECN: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let checksum = Some(PartialChecksum {
            start: 40,
            offset: 16,
        });
        for (offload, gso_type) in [
            (Offload::default(), 0),
            (
                Offload {
                    checksum,
                    segmentation: None,
                },
                0,
            ),
            (segmented(SegmentKind::TcpV4), 1),
            (segmented(SegmentKind::TcpV6), 4),
            (segmented(SegmentKind::Udp), 5),
        ] {
            let bytes = offload.to_bytes();
            assert_eq!(bytes[0], u8::from(offload.checksum.is_some()));
            assert_eq!(bytes[1], gso_type);
            assert_eq!(Offload::from_bytes(bytes), offload);
        }
    }

    #[test]
    fn the_ecn_bit_is_no_kind_of_its_own() {
        let mut bytes = segmented(SegmentKind::TcpV6).to_bytes();
        bytes[1] |= 0x80;
        assert_eq!(Offload::from_bytes(bytes), segmented(SegmentKind::TcpV6));
    }

    #[test]
    fn what_nobody_asked_for_is_not_cut() {
        let mut bytes = segmented(SegmentKind::Udp).to_bytes();
        bytes[1] = 3; // the old UDP fragmentation
        assert_eq!(Offload::from_bytes(bytes).segmentation, None);
        bytes[1] = 1;
        bytes[4..6].fill(0);
        assert_eq!(Offload::from_bytes(bytes).segmentation, None, "no size");
    }

    fn segmented(kind: SegmentKind) -> Offload {
        Offload {
            checksum: Some(PartialChecksum {
                start: 20,
                offset: 6,
            }),
            segmentation: Some(Segmentation {
                kind,
                size: NonZeroU16::new(1348).unwrap(),
                header_len: 52,
            }),
        }
    }
}
