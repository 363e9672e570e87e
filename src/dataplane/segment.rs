//! Cutting what the device hands over into packets that are whole: segments of TCP
//! (RFC 9293 §3.8.3) and datagrams of UDP, each with lengths, numbers, flags and checksums of its
//! own, as the kernel itself cuts them for a device that cannot. A packet that needs no cutting is a
//! single piece, whose checksum is completed.
//!
//! Each octet is copied once, from where the device was read to its place in a batch.
//!
//! Not here: what is done to the packets afterwards, and the device.

use std::ops::Range;

use secure_gre_gre::Passengers;
use secure_gre_gre::checksum::{checksum, update};
use secure_gre_gre::ethernet::{HEADER_LEN, TAG_LEN};

use super::batch::{Batch, MAX_PASSENGER};
use super::headers::{
    CWR, FIN, IPV4_HEADER, IPV4_IDENTIFICATION, IPV6_HEADER, PSH, TCP_CHECKSUM, TCP_FLAGS,
    TCP_SEQUENCE, UDP_CHECKSUM, UDP_HEADER, UDP_LENGTH, finish_ipv4, finish_ipv6, put_u16,
    take_u16, tcp_header_len,
};
use crate::net::tun::{Offload, PartialChecksum, SegmentKind, Segmentation};

/// A packet of the device on its way into batches, in one buffer that is allocated once.
#[derive(Debug)]
pub struct Source {
    buffer: Box<[u8]>,
    kind: Passengers,
    cut: Option<Cut>,
}

impl Source {
    /// Of a device for passengers of this kind.
    pub fn new(kind: Passengers) -> Self {
        Self {
            buffer: vec![0; LONGEST].into_boxed_slice(),
            kind,
            cut: None,
        }
    }

    /// Where the next packet of the device goes. What was left of the last one is forgotten.
    pub fn vacant(&mut self) -> &mut [u8] {
        self.cut = None;
        &mut self.buffer
    }

    /// Takes the first `length` octets of [`vacant`](Self::vacant) as a packet.
    ///
    /// # Errors
    /// [`Unfit`] if `offload` does not fit what is there. There is nothing to take then.
    pub fn accept(&mut self, length: usize, offload: Offload) -> Result<(), Unfit> {
        let packet = self.buffer.get(..length).ok_or(Unfit)?;
        self.cut = Some(Cut::new(packet, self.kind, offload)?);
        Ok(())
    }

    /// Moves pieces into `batch`. Whether some are left, for which it has no room.
    pub fn fill(&mut self, batch: &mut Batch) -> bool {
        let Some(cut) = &mut self.cut else {
            return false;
        };
        while let Some(length) = cut.next_len() {
            let Some(place) = batch.push(length) else {
                return true;
            };
            let written = cut.write_next(&self.buffer, place);
            debug_assert!(written.is_some(), "the cut fits its packet");
        }
        self.cut = None;
        false
    }
}

/// The longest IP packet in a frame with two VLAN tags.
const LONGEST: usize = MAX_PASSENGER + HEADER_LEN + 2 * TAG_LEN;

/// What the device says of a packet, and the packet, contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit;

/// How far one packet has been cut.
#[derive(Debug)]
struct Cut {
    /// The checksum to be completed in each piece.
    checksum: Option<PartialChecksum>,
    /// Of a super-packet: what differs in each piece.
    headers: Option<Headers>,
    /// Octets of headers that each piece has.
    header_len: usize,
    /// What is left of the payload, and how much of it goes into a piece.
    payload: Range<usize>,
    size: usize,
    /// Pieces written.
    pieces: u16,
}

impl Cut {
    fn new(packet: &[u8], passengers: Passengers, offload: Offload) -> Result<Self, Unfit> {
        let Offload {
            checksum,
            segmentation,
        } = offload;
        if let Some(PartialChecksum { start, offset }) = checksum {
            let field = usize::from(start) + usize::from(offset);
            packet.get(field..field + 2).ok_or(Unfit)?;
        }
        let Some(Segmentation { kind, size, .. }) = segmentation else {
            return Ok(Self {
                checksum,
                headers: None,
                header_len: 0,
                payload: 0..packet.len(),
                size: packet.len(),
                pieces: 0,
            });
        };
        let ip = passengers.ip_offset(packet).ok_or(Unfit)?;
        let headers = checksum
            .and_then(|checksum| Headers::find(packet, ip, checksum, kind))
            .ok_or(Unfit)?;
        let header_len = headers.len(packet).ok_or(Unfit)?;
        Ok(Self {
            checksum,
            headers: Some(headers),
            header_len,
            payload: header_len..packet.len(),
            size: size.get().into(),
            pieces: 0,
        })
    }

    fn next_len(&self) -> Option<usize> {
        let left = self.payload.len();
        (left > 0 || self.pieces == 0).then(|| self.header_len + left.min(self.size))
    }

    fn write_next(&mut self, packet: &[u8], out: &mut [u8]) -> Option<()> {
        let Range { start, end } = self.payload;
        let next = end.min(start + self.size);
        let (to_headers, to_payload) = out.split_at_mut_checked(self.header_len)?;
        to_headers.copy_from_slice(packet.get(..self.header_len)?);
        to_payload.copy_from_slice(packet.get(start..next)?);
        if let Some(headers) = &self.headers {
            let piece = Piece {
                number: self.pieces,
                offset: (start - self.header_len).try_into().ok()?,
                is_last: next == end,
            };
            headers.amend(out, &piece)?;
        }
        if let Some(checksum) = self.checksum {
            complete(out, checksum)?;
        }
        self.payload.start = next;
        self.pieces = self.pieces.wrapping_add(1);
        Some(())
    }
}

/// One piece of a super-packet.
struct Piece {
    number: u16,
    /// Octets of payload before it.
    offset: u32,
    is_last: bool,
}

/// Where a super-packet's headers are, and of what kind.
#[derive(Debug, Clone, Copy)]
struct Headers {
    ip: usize,
    is_v4: bool,
    transport: usize,
    is_tcp: bool,
    /// The transport header and what follows, as the pseudo-header's sum in the super-packet has it.
    transport_len: u16,
}

impl Headers {
    fn find(
        packet: &[u8],
        ip: usize,
        checksum: PartialChecksum,
        kind: SegmentKind,
    ) -> Option<Self> {
        let transport = usize::from(checksum.start);
        let is_v4 = match (packet.get(ip)? >> 4, kind) {
            (4, SegmentKind::TcpV4 | SegmentKind::Udp) => true,
            (6, SegmentKind::TcpV6 | SegmentKind::Udp) => false,
            _ => return None,
        };
        let ip_header = if is_v4 { IPV4_HEADER } else { IPV6_HEADER };
        let transport_len = packet.len().checked_sub(transport)?.try_into().ok()?;
        let headers = Self {
            ip,
            is_v4,
            transport,
            is_tcp: kind != SegmentKind::Udp,
            transport_len,
        };
        let at = usize::from(checksum.offset);
        let fits = ip + ip_header <= transport && headers.checksum() == at;
        fits.then_some(headers)
    }

    /// Where the checksum is, from the transport header on.
    const fn checksum(&self) -> usize {
        if self.is_tcp {
            TCP_CHECKSUM
        } else {
            UDP_CHECKSUM
        }
    }

    /// Octets up to the payload. `None` if there are not so many.
    fn len(&self, packet: &[u8]) -> Option<usize> {
        let transport = if self.is_tcp {
            tcp_header_len(packet.get(self.transport..)?)?
        } else {
            UDP_HEADER
        };
        let len = self.transport + transport;
        (len <= packet.len()).then_some(len)
    }

    /// Makes the headers those of `piece`, with the sum of its pseudo-header where the checksum is
    /// to be.
    fn amend(&self, out: &mut [u8], piece: &Piece) -> Option<()> {
        let (network, transport) = out.split_at_mut_checked(self.transport)?;
        let transport_len = u16::try_from(transport.len()).ok()?;
        let ip = network.get_mut(self.ip..)?;
        if self.is_v4 {
            // RFC 6864 §4: each its own.
            let identification = take_u16(ip, IPV4_IDENTIFICATION)?;
            let own = identification.wrapping_add(piece.number);
            put_u16(ip, IPV4_IDENTIFICATION, own)?;
            finish_ipv4(ip, transport_len)?;
        } else {
            finish_ipv6(ip, transport_len)?;
        }
        if self.is_tcp {
            amend_tcp(transport, piece)?;
        } else {
            put_u16(transport, UDP_LENGTH, transport_len)?;
        }
        let field = self.checksum();
        let sum = take_u16(transport, field)?;
        let own = !update(!sum, self.transport_len, transport_len);
        put_u16(transport, field, own)
    }
}

/// The sequence number; CWR on the first piece alone (RFC 3168 §6.1.2), FIN and PSH on the last.
fn amend_tcp(header: &mut [u8], piece: &Piece) -> Option<()> {
    let sequence = header.get_mut(TCP_SEQUENCE..)?.first_chunk_mut()?;
    *sequence = u32::from_be_bytes(*sequence)
        .wrapping_add(piece.offset)
        .to_be_bytes();
    let flags = header.get_mut(TCP_FLAGS)?;
    if piece.number > 0 {
        *flags &= !CWR;
    }
    if !piece.is_last {
        *flags &= !(FIN | PSH);
    }
    Some(())
}

/// Makes a sum of the pseudo-header the checksum of everything from `start` on.
fn complete(packet: &mut [u8], PartialChecksum { start, offset }: PartialChecksum) -> Option<()> {
    let transport = packet.get_mut(start.into()..)?;
    // RFC 768: a checksum of 0 says that there is none; 0xffff sums up to the same.
    let sum = match checksum(&[transport]) {
        0 => 0xffff,
        sum => sum,
    };
    put_u16(transport, offset.into(), sum)
}

#[cfg(test)]
pub(super) mod tests;
