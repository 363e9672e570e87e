//! TCP MSS clamping: RFC 9293 §3.7.1, RFC 6691 §2.
//!
//! Hosts behind the tunnel then agree on segments that fit it, without path-MTU discovery. Call it
//! in both directions. The TCP checksum has to be complete, not left to offload.

use crate::checksum::update;
use crate::header::Protocol;
use crate::ip::{self, TCP, UpperLayer};

/// Lowers the MSS that the SYN or SYN-ACK in `packet` offers to what `mtu` leaves, and corrects
/// the TCP checksum. Leaves every other packet as it is: one that offers less, that has no MSS
/// option or malformed ones, or that is not TCP. Returns whether the packet was changed.
pub fn clamp(packet: &mut [u8], mtu: u16) -> bool {
    try_clamp(packet, mtu).is_some()
}

fn try_clamp(packet: &mut [u8], mtu: u16) -> Option<()> {
    // Options of IP and TCP do not count (RFC 6691 §2).
    let headers = if ip::protocol(packet)? == Protocol::IPV4 {
        20 + 20
    } else {
        40 + 20
    };
    let limit = mtu.checked_sub(headers)?;
    let UpperLayer {
        protocol: TCP,
        range,
    } = ip::upper_layer(packet)?
    else {
        return None;
    };
    let segment = packet.get_mut(range)?;

    let (header, after_header) = segment.split_first_chunk_mut::<20>()?;
    let [.., data_offset, flags, _, _, c0, c1, _, _] = header;
    if *flags & SYN == 0 {
        return None;
    }
    let options_len = (usize::from(*data_offset >> 4) * 4).checked_sub(20)?;
    let options = after_header.get_mut(..options_len)?;
    let (value, value_offset) = find_mss(options)?;
    let offered = u16::from_be_bytes(*value);
    if offered <= limit {
        return None;
    }
    *value = limit.to_be_bytes();
    // The TCP header before the options is of even length, so that theirs are the offsets' parity.
    let in_sum = |word: u16| {
        if value_offset % 2 == 1 {
            word.swap_bytes()
        } else {
            word
        }
    };
    let checksum = u16::from_be_bytes([*c0, *c1]);
    [*c0, *c1] = update(checksum, in_sum(offered), in_sum(limit)).to_be_bytes();
    Some(())
}

/// The value of the first MSS option and its offset. `None` where there is none, or an option
/// before it is malformed (RFC 9293 §3.1).
fn find_mss(options: &mut [u8]) -> Option<(&mut [u8; 2], usize)> {
    let mut rest = options;
    let mut offset = 0;
    loop {
        let len = match rest {
            [END, ..] | [] => return None,
            [NO_OPERATION, ..] => 1,
            [MAXIMUM_SEGMENT_SIZE, 4, ..] => {
                let (value, _) = rest.get_mut(2..)?.split_first_chunk_mut::<2>()?;
                return Some((value, offset + 2));
            }
            [MAXIMUM_SEGMENT_SIZE, ..] | [_] | [_, 0 | 1, ..] => return None,
            [_, len, ..] => usize::from(*len),
        };
        rest = rest.split_at_mut_checked(len)?.1;
        offset += len;
    }
}

const SYN: u8 = 0x02;
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

#[cfg(test)]
mod tests;
