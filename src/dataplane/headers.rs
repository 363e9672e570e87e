//! Where the fields of a passenger's headers are that cutting and joining look at and change:
//! RFC 791 §3.1, RFC 8200 §3, RFC 9293 §3.1, RFC 768.
//!
//! Not here: which packets are cut or joined.

use secure_gre_gre::checksum::checksum;

/// Without options.
pub(super) const IPV4_HEADER: usize = 20;
pub(super) const IPV4_IDENTIFICATION: usize = 4;
/// Without extension headers.
pub(super) const IPV6_HEADER: usize = 40;

/// Without options.
pub(super) const TCP_HEADER: usize = 20;
pub(super) const TCP_SEQUENCE: usize = 4;
pub(super) const TCP_DATA_OFFSET: usize = 12;
pub(super) const TCP_FLAGS: usize = 13;
pub(super) const TCP_CHECKSUM: usize = 16;
pub(super) const FIN: u8 = 0x01;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
/// RFC 3168 §6.1.2.
pub(super) const CWR: u8 = 0x80;

pub(super) const UDP_HEADER: usize = 8;
pub(super) const UDP_LENGTH: usize = 4;
pub(super) const UDP_CHECKSUM: usize = 6;

/// Protocol numbers.
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// The field of `N` octets at `at`.
pub(super) fn take<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..)?.first_chunk().copied()
}

/// The field of two octets at `at`.
pub(super) fn take_u16(octets: &[u8], at: usize) -> Option<u16> {
    take(octets, at).map(u16::from_be_bytes)
}

/// Writes a field of two octets.
pub(super) fn put_u16(octets: &mut [u8], at: usize, value: u16) -> Option<()> {
    *octets.get_mut(at..)?.first_chunk_mut()? = value.to_be_bytes();
    Some(())
}

/// Octets of a TCP header with its options.
pub(super) fn tcp_header_len(header: &[u8]) -> Option<usize> {
    let len = usize::from(header.get(TCP_DATA_OFFSET)? >> 4) * 4;
    (TCP_HEADER..=header.len()).contains(&len).then_some(len)
}

/// Writes the length of an IPv4 packet that has `behind` octets behind its `header`, and the
/// header's checksum.
pub(super) fn finish_ipv4(header: &mut [u8], behind: u16) -> Option<()> {
    let len = u16::try_from(header.len()).ok()?;
    put_u16(header, 2, len.checked_add(behind)?)?;
    put_u16(header, 10, 0)?;
    let sum = checksum(&[header]);
    put_u16(header, 10, sum)
}

/// Writes the payload length of an IPv6 packet that has `behind` octets behind its `headers`, of
/// which those that are extensions count as payload.
pub(super) fn finish_ipv6(headers: &mut [u8], behind: u16) -> Option<()> {
    let extensions = u16::try_from(headers.len().checked_sub(IPV6_HEADER)?).ok()?;
    put_u16(headers, 4, extensions.checked_add(behind)?)
}
