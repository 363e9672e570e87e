//! Packets of a flow, whole and correct, for the tests of cutting and joining.

use std::num::NonZeroU16;

use secure_gre_gre::checksum::checksum;

use crate::net::tun::{Offload, PartialChecksum, SegmentKind, Segmentation};

/// How the packets of a flow look.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    pub(super) is_v4: bool,
    pub(super) is_tcp: bool,
    pub(super) tos: u8,
    pub(super) flags: u8,
    pub(super) df: bool,
    pub(super) identification: u16,
    pub(super) ip_options: Vec<u8>,
    pub(super) tcp_options: Vec<u8>,
    pub(super) source_port: u16,
    pub(super) sequence: u32,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            is_v4: true,
            is_tcp: true,
            tos: 0,
            flags: ACK,
            df: true,
            identification: 7,
            ip_options: Vec::new(),
            tcp_options: Vec::new(),
            source_port: 50_000,
            sequence: 1000,
        }
    }
}

pub(super) const FIN: u8 = 0x01;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
pub(super) const URG: u8 = 0x20;
pub(super) const ECE: u8 = 0x40;
pub(super) const CWR: u8 = 0x80;

/// Timestamps, as every Linux sends them.
pub(super) const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8];

impl Flow {
    pub(super) fn udp() -> Self {
        Self {
            is_tcp: false,
            ..Self::default()
        }
    }

    pub(super) fn v6(self) -> Self {
        Self {
            is_v4: false,
            ..self
        }
    }

    fn ip_len(&self) -> usize {
        if self.is_v4 {
            20 + self.ip_options.len()
        } else {
            40
        }
    }

    pub(super) fn headers_len(&self) -> usize {
        let transport = if self.is_tcp {
            20 + self.tcp_options.len()
        } else {
            8
        };
        self.ip_len() + transport
    }

    /// The whole packet with this payload.
    pub(super) fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let mut packet = self.unfinished(payload);
        let ip = self.ip_len();
        let field = ip + if self.is_tcp { 16 } else { 6 };
        let sum = match checksum(&[&packet[ip..]]) {
            0 => 0xffff,
            sum => sum,
        };
        packet[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// The super-packet with this payload as the kernel hands it over, and what it says of it.
    pub(super) fn super_packet(&self, payload: &[u8], size: u16) -> (Vec<u8>, Offload) {
        let kind = match (self.is_tcp, self.is_v4) {
            (false, _) => SegmentKind::Udp,
            (true, true) => SegmentKind::TcpV4,
            (true, false) => SegmentKind::TcpV6,
        };
        let mut offload = self.partial();
        offload.segmentation = Some(Segmentation {
            kind,
            size: NonZeroU16::new(size).unwrap(),
            header_len: self.headers_len().try_into().unwrap(),
        });
        (self.unfinished(payload), offload)
    }

    /// Says of [`unfinished`](Self::unfinished) that its checksum is to be completed.
    pub(super) fn partial(&self) -> Offload {
        Offload {
            checksum: Some(PartialChecksum {
                start: self.ip_len().try_into().unwrap(),
                offset: if self.is_tcp { 16 } else { 6 },
            }),
            segmentation: None,
        }
    }

    /// With the sum of the pseudo-header where the checksum is to be.
    pub(super) fn unfinished(&self, payload: &[u8]) -> Vec<u8> {
        let protocol = if self.is_tcp { 6 } else { 17 };
        let transport = self.headers_len() - self.ip_len() + payload.len();
        let mut packet = self.ip_header(protocol, transport);
        let addresses = if self.is_v4 { 12..20 } else { 8..40 };
        let [.., l0, l1] = transport.to_be_bytes();
        let sum = !checksum(&[&packet[addresses], &[0, protocol, l0, l1]]);
        packet.extend(self.source_port.to_be_bytes());
        packet.extend(5201_u16.to_be_bytes());
        if self.is_tcp {
            packet.extend(self.sequence.to_be_bytes());
            packet.extend([0, 0, 0, 5]);
            let words = u8::try_from(5 + self.tcp_options.len() / 4).unwrap();
            packet.extend([words << 4, self.flags, 0x01, 0xf5]);
            packet.extend(sum.to_be_bytes());
            packet.extend([0, 0]);
            packet.extend(&self.tcp_options);
        } else {
            packet.extend([l0, l1]);
            packet.extend(sum.to_be_bytes());
        }
        packet.extend(payload);
        packet
    }

    fn ip_header(&self, protocol: u8, transport: usize) -> Vec<u8> {
        let [.., l0, l1] = (self.ip_len() + transport).to_be_bytes();
        if !self.is_v4 {
            let [.., l0, l1] = transport.to_be_bytes();
            let mut header = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 9, l0, l1];
            header.extend([protocol, 64]);
            for address in ["fd00:1::2", "fd00:2::2"] {
                let address: std::net::Ipv6Addr = address.parse().unwrap();
                header.extend(address.octets());
            }
            return header;
        }
        let words = u8::try_from(5 + self.ip_options.len() / 4).unwrap();
        let [i0, i1] = self.identification.to_be_bytes();
        let df = if self.df { 0x40 } else { 0 };
        let mut header = vec![0x40 | words, self.tos, l0, l1, i0, i1, df, 0, 64, protocol];
        header.extend([0, 0, 10, 1, 0, 2, 10, 2, 0, 2]);
        header.extend(&self.ip_options);
        let sum = checksum(&[&header]).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
        header
    }

    /// The packets that carry `payload`, cut by the book, as a naive model of all that is here.
    pub(super) fn pieces(&self, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
        let count = payload.len().div_ceil(size);
        let one = |(number, part): (usize, &[u8])| {
            let mut flow = self.clone();
            flow.identification = flow.identification.wrapping_add(number.try_into().unwrap());
            let before = u32::try_from(number * size).unwrap();
            flow.sequence = flow.sequence.wrapping_add(before);
            if number > 0 {
                flow.flags &= !CWR;
            }
            if number + 1 < count {
                flow.flags &= !(FIN | PSH);
            }
            flow.packet(part)
        };
        payload.chunks(size).enumerate().map(one).collect()
    }

    /// `super_packet` is that of `packet`s; those that follow `payload` octets later.
    pub(super) fn advance(&mut self, pieces: usize, payload: usize) {
        let pieces = u16::try_from(pieces).unwrap();
        self.identification = self.identification.wrapping_add(pieces);
        let payload = u32::try_from(payload).unwrap();
        self.sequence = self.sequence.wrapping_add(payload);
    }
}

/// Octets that differ from their neighbours.
pub(super) fn payload(len: usize) -> Vec<u8> {
    (0..len)
        .map(|octet| u8::try_from(octet * 7 % 251).unwrap())
        .collect()
}
