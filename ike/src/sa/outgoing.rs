//! A message of ours as it goes out: one datagram, or the fragments of one (RFC 7383 §2.5). It is
//! kept as octets, so a repetition is bit-identical by construction (D2), together with what smaller
//! fragments could be made of where the path may not carry these (RFC 7383 §2.5.2).

use super::Context;
use crate::event::Path;
use crate::wire::{Header, Payload};

/// A message of ours.
pub(crate) struct Outgoing {
    datagrams: Vec<Vec<u8>>,
    /// Only where it can be divided into more fragments than there are.
    divisible: Option<(Header, Vec<Payload>)>,
}

impl Outgoing {
    /// In one datagram, whatever its size.
    pub(crate) fn single(datagram: Vec<u8>) -> Self {
        Self {
            datagrams: vec![datagram],
            divisible: None,
        }
    }

    /// In several, or in one that could be several.
    pub(super) const fn divided(
        datagrams: Vec<Vec<u8>>,
        divisible: Option<(Header, Vec<Payload>)>,
    ) -> Self {
        Self {
            datagrams,
            divisible,
        }
    }

    pub(super) const fn divisible(&self) -> Option<&(Header, Vec<Payload>)> {
        self.divisible.as_ref()
    }

    /// How many datagrams it is.
    pub(super) const fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// The octets of the first datagram: of all of a message that nothing divides.
    pub(crate) fn octets(&self) -> &[u8] {
        self.datagrams.first().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn transmit(&self, ctx: &mut Context<'_>, path: Path) {
        for datagram in &self.datagrams {
            ctx.transmit(path, datagram.clone());
        }
    }
}
