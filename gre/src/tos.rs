//! DSCP and ECN across the tunnel: RFC 2983 §4 and RFC 6040 §4. ESP in transport mode does nothing
//! about them, so that the tunnel must.
//!
//! Not here: reading and writing the outer header.

use crate::checksum;
use crate::error::Drop;
use crate::header::Protocol;
use crate::ip;

/// Where the outer DSCP comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The passenger's: the uniform model (RFC 2983 §3.1).
    Inherit,
    /// The upper six bits of this TOS octet, for every packet: the pipe model (RFC 2983 §3.1).
    Fixed(u8),
}

/// The outer IPv4 TOS or IPv6 traffic class for a passenger: its DSCP by `policy`, its ECN field
/// always the passenger's (RFC 6040 §4.1, normal mode).
pub fn outer_tos(policy: Policy, passenger: &[u8]) -> u8 {
    let inner = inner_tos(passenger).unwrap_or(0);
    let dscp = match policy {
        Policy::Inherit => inner,
        Policy::Fixed(tos) => tos,
    };
    dscp & !ECN | inner & ECN
}

/// Carries the congestion signal of the outer header over to the passenger, as RFC 6040 §4.2's
/// table has it. The passenger's DSCP stays; an IPv4 header checksum is corrected.
///
/// # Errors
/// [`Drop::EcnCongestion`]: congestion experienced, and the passenger's transport does not know
/// ECN, so that only a loss tells it.
pub fn merge_ecn(outer_tos: u8, passenger: &mut [u8]) -> Result<(), Drop> {
    let Some(inner) = inner_tos(passenger) else {
        return Ok(());
    };
    let merged = match (inner & ECN, outer_tos & ECN) {
        (NOT_ECT, CE) => return Err(Drop::EcnCongestion),
        (ECT_0 | ECT_1, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        (unchanged, _) => unchanged,
    };
    if merged != inner & ECN {
        set_tos(passenger, inner & !ECN | merged);
    }
    Ok(())
}

/// `None` where the passenger is too short to have one, or not IP.
fn inner_tos(passenger: &[u8]) -> Option<u8> {
    match (ip::protocol(passenger)?, passenger) {
        (Protocol::IPV4, [_, tos, ..]) => Some(*tos),
        (Protocol::IPV6, [high, low, ..]) => Some(high << 4 | low >> 4),
        _ => None,
    }
}

fn set_tos(passenger: &mut [u8], tos: u8) {
    match (ip::protocol(passenger), passenger) {
        (Some(Protocol::IPV4), [ihl, old, _, _, _, _, _, _, _, _, c0, c1, ..]) => {
            let updated = checksum::update(
                u16::from_be_bytes([*c0, *c1]),
                u16::from_be_bytes([*ihl, *old]),
                u16::from_be_bytes([*ihl, tos]),
            );
            *old = tos;
            [*c0, *c1] = updated.to_be_bytes();
        }
        (Some(Protocol::IPV6), [high, low, ..]) => {
            *high = *high & 0xf0 | tos >> 4;
            *low = *low & 0x0f | tos << 4;
        }
        _ => {}
    }
}

/// The ECN field and its values (RFC 3168 §5).
const ECN: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

#[cfg(test)]
mod tests;
