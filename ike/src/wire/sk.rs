//! The Encrypted payload, SK (RFC 7296 §3.14), and its piecewise form, SKF (RFC 7383
//! §2.5): what is around the cipher. The body is IV, ciphertext and ICV, in SKF after the numbers of
//! the fragment; the plaintext is payloads or a part of them, padding and Pad Length.

use super::error::{OpenError, WireError};
use super::header::{HEADER_OCTETS, Header};
use super::payload::{self, Payload, PayloadType};
use super::reader::Reader;
use super::writer::Writer;
use crate::crypto::cipher::{OpeningCipher, SealingCipher};

/// Octets of the generic payload header.
pub(super) const GENERIC_HEADER_OCTETS: usize = 4;
/// Octets of Fragment Number and Total Fragments.
const PLACE_OCTETS: usize = 4;

/// Where a fragment belongs in its message (RFC 7383 §2.5): 1 ≤ number ≤ total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Fragment Number, counted from 1.
    number: u16,
    /// Total Fragments.
    total: u16,
}

impl Place {
    /// `None` for numbers that no fragment has (D25, RFC 7383 §2.6).
    pub fn new(number: u16, total: u16) -> Option<Self> {
        (1..=total)
            .contains(&number)
            .then_some(Self { number, total })
    }

    /// Which fragment it is, counted from 1.
    pub const fn number(self) -> u16 {
        self.number
    }

    /// Into how many the message was divided.
    pub const fn total(self) -> u16 {
        self.total
    }

    pub(super) fn parse(body: &mut Reader<'_>) -> Option<Self> {
        Self::new(body.u16().ok()?, body.u16().ok()?)
    }
}

/// An authentic part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Where it belongs.
    pub place: Place,
    /// The type of the message's first payload; means something in fragment 1 alone (D24).
    pub first: PayloadType,
    /// Its part of the payloads' octets.
    pub octets: Vec<u8>,
}

/// See [`wire::seal`](super::seal).
pub(super) fn seal(header: &Header, payloads: &[Payload], cipher: &mut SealingCipher) -> Vec<u8> {
    let (first, plaintext) = (payload::first(payloads), payload::write(payloads));
    seal_part(header, first, None, plaintext, cipher)
}

/// See [`wire::seal_within`](super::seal_within).
pub(super) fn seal_within(
    header: &Header,
    payloads: &[Payload],
    octets_max: usize,
    cipher: &mut SealingCipher,
) -> Vec<Vec<u8>> {
    let (first, plaintext) = (payload::first(payloads), payload::write(payloads));
    if message_octets(plaintext.len(), 0, cipher) <= octets_max {
        return vec![seal_part(header, first, None, plaintext, cipher)];
    }
    let fits = |octets: &usize| message_octets(*octets, PLACE_OCTETS, cipher) <= octets_max;
    let part_octets = (1..octets_max).rev().find(fits).unwrap_or(1);
    let parts = plaintext.chunks(part_octets);
    // A message is at most 65,535 octets long.
    let total = u16::try_from(parts.len()).unwrap_or(u16::MAX);
    parts
        .zip(1..=total)
        .map(|(part, number)| {
            // D24: only the first says what the first payload is.
            let first = if number == 1 {
                first
            } else {
                PayloadType::NONE
            };
            let place = Place { number, total };
            seal_part(header, first, Some(place), part.to_vec(), cipher)
        })
        .collect()
}

/// Octets of a message with an SK or SKF payload of so much plaintext, to which padding and Pad
/// Length are added.
fn message_octets(plaintext: usize, place: usize, cipher: &SealingCipher) -> usize {
    let sealed = cipher.sealed_octets(plaintext + cipher.padding_octets(plaintext) + 1);
    HEADER_OCTETS + GENERIC_HEADER_OCTETS + place + sealed
}

/// A message with SK, or with SKF where it has a place. Lengths are final before anything is
/// computed over them (D20).
fn seal_part(
    header: &Header,
    first: PayloadType,
    place: Option<Place>,
    mut plaintext: Vec<u8>,
    cipher: &mut SealingCipher,
) -> Vec<u8> {
    let (kind, place_octets) = match place {
        None => (PayloadType::ENCRYPTED, 0),
        Some(_) => (PayloadType::ENCRYPTED_FRAGMENT, PLACE_OCTETS),
    };
    let payload_octets = message_octets(plaintext.len(), place_octets, cipher) - HEADER_OCTETS;
    pad(&mut plaintext, cipher);

    let mut writer = Writer::default();
    header.write(&mut writer, kind, payload_octets);
    writer.u8(first.0);
    writer.reserved::<1>();
    writer.count_u16(payload_octets);
    if let Some(Place { number, total }) = place {
        writer.u16(number);
        writer.u16(total);
    }
    let mut message = writer.into_octets();
    cipher.seal(&mut message, plaintext);
    message
}

/// Appends padding, whose content is the sender's choice, and Pad Length, which is there without
/// padding too (D20).
fn pad(plaintext: &mut Vec<u8>, cipher: &SealingCipher) {
    let padding = cipher.padding_octets(plaintext.len());
    plaintext.resize(plaintext.len() + padding, 0);
    // Less than a block.
    plaintext.push(u8::try_from(padding).unwrap_or_default());
}

/// The payloads' octets, or a fragment's part of them. `protected` is IV, ciphertext and ICV,
/// `associated` all that comes before it in the message, payloads in the clear included (RFC 5282
/// §5.1).
pub(super) fn open(
    associated: &[u8],
    protected: &[u8],
    cipher: &OpeningCipher,
) -> Result<Vec<u8>, OpenError> {
    let mut plaintext = cipher
        .open(associated, protected)
        .map_err(|_| OpenError::Icv)?;
    let padding = plaintext.pop().ok_or(WireError::Padding)?;
    // D20: the content of the padding is the sender's choice.
    let payloads = plaintext.len().checked_sub(padding.into());
    plaintext.truncate(payloads.ok_or(WireError::Padding)?);
    Ok(plaintext)
}
