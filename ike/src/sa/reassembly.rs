//! The fragments of one message of the peer's until all of them are there (RFC 7383 §2.6). What gets
//! here is authenticated; which message IDs are taken is the SA's business.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::error::Drop;
use crate::limits;
use crate::wire::{Fragment, Header, PayloadType, Place};

/// The fragments of at most one message.
#[derive(Default)]
pub(crate) struct Reassembly(Option<Partial>);

/// A message of which fragments are missing.
struct Partial {
    header: Header,
    total: u16,
    until: Instant,
    /// By number: the datagram's length and the fragment's part of the message.
    parts: BTreeMap<u16, (usize, Vec<u8>)>,
    first: First,
}

/// What fragment 1 says beside its part.
#[derive(Default)]
struct First {
    datagram: Vec<u8>,
    payload: Option<PayloadType>,
}

/// A message all of whose fragments are there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    /// The type of the first payload.
    pub(crate) first: PayloadType,
    /// The payloads.
    pub(crate) octets: Vec<u8>,
    /// The datagram of fragment 1, by which a repetition is known (RFC 7383 §2.6.1).
    pub(crate) first_datagram: Vec<u8>,
    /// Octets of the longest datagram.
    pub(crate) longest: usize,
}

impl Reassembly {
    /// Whether such a fragment would be of use; asked before the work of authenticating it. Fragments
    /// of fewer in all are from an earlier division of the message (D25, RFC 7383 §2.6).
    pub(crate) fn wants(&self, header: &Header, place: Place) -> bool {
        let known = self.0.as_ref().filter(|known| known.header == *header);
        let news = known.is_none_or(|known| {
            place.total() > known.total
                || place.total() == known.total && !known.parts.contains_key(&place.number())
        });
        news && usize::from(place.total()) <= limits::FRAGMENTS
    }

    /// Takes an authentic fragment. Parts of another message, or of an earlier division of this one,
    /// make way for it.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        header: &Header,
        datagram: &[u8],
        fragment: Fragment,
    ) -> Result<Option<Whole>, Drop> {
        let place = fragment.place;
        if !self.wants(header, place) {
            return Err(Drop::Fragment);
        }
        let same = |known: &Partial| known.header == *header && known.total == place.total();
        let mut partial = self.0.take().filter(same).unwrap_or_else(|| Partial {
            header: *header,
            total: place.total(),
            until: now + limits::REASSEMBLY,
            parts: BTreeMap::new(),
            first: First::default(),
        });
        if place.number() == 1 {
            partial.first = First {
                datagram: datagram.to_vec(),
                payload: Some(fragment.first),
            };
        }
        let part = (datagram.len(), fragment.octets);
        partial.parts.insert(place.number(), part);
        if partial.octets() > limits::REASSEMBLED_OCTETS {
            return Err(Drop::Fragment);
        }
        if partial.parts.len() < partial.total.into() {
            self.0 = Some(partial);
            return Ok(None);
        }
        Ok(Some(partial.into_whole()))
    }

    /// Lets go of what is there: the message has come in one piece.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// Lets go of what has waited too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.0 = self.0.take().filter(|partial| now < partial.until);
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.as_ref().map(|partial| partial.until)
    }
}

impl Partial {
    fn octets(&self) -> usize {
        self.parts.values().map(|(_, octets)| octets.len()).sum()
    }

    fn into_whole(self) -> Whole {
        let longest = self.parts.values().map(|(datagram, _)| *datagram).max();
        Whole {
            first: self.first.payload.unwrap_or(PayloadType::NONE),
            octets: self
                .parts
                .into_values()
                .flat_map(|(_, part)| part)
                .collect(),
            first_datagram: self.first.datagram,
            longest: longest.unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests;
