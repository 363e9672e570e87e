//! Whole messages: what is received as borrowed octets, what is sent as new ones.

use super::error::{HeaderError, OpenError, WireError};
use super::header::{self, Header, Parsed};
use super::payload::{self, Chain, Payload, PayloadType, Raw};
use super::reader::Reader;
use super::sk::{self, Fragment, Place};
use super::writer::Writer;
use crate::crypto::cipher::{OpeningCipher, SealingCipher};

/// What was inside SK, or inside all the fragments of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inner {
    /// The type of the first payload.
    pub first: PayloadType,
    /// The payloads' octets.
    pub octets: Vec<u8>,
}

impl Inner {
    /// These payloads, as they are written.
    pub fn of(payloads: &[Payload]) -> Self {
        Self {
            first: payload::first(payloads),
            octets: payload::write(payloads),
        }
    }

    /// The payloads.
    pub fn parse(&self) -> Result<Vec<Payload>, WireError> {
        parse_inner(self.first, &self.octets)
    }
}

/// A received message of which only the header is read.
#[derive(Debug, Clone)]
pub struct Datagram<'a> {
    /// Its header.
    pub header: Header,
    octets: &'a [u8],
    chain: Chain<'a>,
}

impl<'a> Datagram<'a> {
    /// Reads the header; nothing else is looked at, nothing allocated.
    pub fn parse(octets: &'a [u8]) -> Result<Self, HeaderError> {
        let Parsed {
            header,
            first,
            payloads,
        } = header::parse(octets)?;
        Ok(Self {
            header,
            octets,
            chain: Chain::new(first, payloads),
        })
    }

    /// The message as it was received.
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// Whether an SK payload ends the message. What is before it is only stepped over.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted().is_some()
    }

    /// The payloads of a message in which nothing is encrypted. Nothing authenticates them.
    pub fn clear_payloads(&self) -> Result<Vec<Payload>, WireError> {
        payload::parse(self.chain.clone())
    }

    /// The payloads inside SK. The integrity check comes before any of them is looked at (D20);
    /// those in the clear before it are not returned, but have to be ones that may be skipped (D6).
    pub fn open(&self, cipher: &OpeningCipher) -> Result<Vec<Payload>, OpenError> {
        Ok(self.open_inner(cipher)?.parse()?)
    }

    /// As [`open`](Self::open), with the payloads as they were written.
    pub fn open_inner(&self, cipher: &OpeningCipher) -> Result<Inner, OpenError> {
        let encrypted = self.encrypted().ok_or(OpenError::NotEncrypted)?;
        Ok(Inner {
            first: encrypted.next,
            octets: self.open_protected(encrypted.body, cipher)?,
        })
    }

    /// The message as AUTH covers it, in the clear and in one piece, whatever its cipher and its division
    /// (D23, RFC 9242 §3.3.2): all up to the end of SK's generic header, then `inner`, with the two length
    /// fields saying so. This is the datagram that it came in, or that of its first fragment. `None`:
    /// nothing in it is encrypted.
    pub fn authenticated_octets(&self, inner: &Inner) -> Option<Vec<u8>> {
        let mut encrypted = self.encrypted().or_else(|| self.fragment())?;
        let mut octets = self
            .octets
            .strip_suffix(encrypted.body.take_rest())?
            .to_vec();
        let whole = u32::try_from(octets.len().saturating_add(inner.octets.len())).ok()?;
        let payload = inner.octets.len().saturating_add(sk::GENERIC_HEADER_OCTETS);
        let payload = u16::try_from(payload).ok()?;
        header::set_length(&mut octets, whole)?;
        let [.., next, _, high, low] = &mut octets[..] else {
            return None;
        };
        *next = inner.first.0;
        [*high, *low] = payload.to_be_bytes();
        octets.extend_from_slice(&inner.octets);
        Some(octets)
    }

    /// Where the fragment in this message belongs, if an SKF payload with possible numbers ends it
    /// (RFC 7383 §2.5). Nothing authenticates the numbers yet.
    pub fn place(&self) -> Option<Place> {
        Place::parse(&mut self.fragment()?.body)
    }

    /// The part of a message that SKF holds. As in [`open`](Self::open), the integrity check comes
    /// first.
    pub fn open_fragment(&self, cipher: &OpeningCipher) -> Result<Fragment, OpenError> {
        let mut encrypted = self.fragment().ok_or(OpenError::NotEncrypted)?;
        let place = Place::parse(&mut encrypted.body).ok_or(OpenError::NotEncrypted)?;
        Ok(Fragment {
            place,
            first: encrypted.next,
            octets: self.open_protected(encrypted.body, cipher)?,
        })
    }

    /// The plaintext of what ends the message.
    fn open_protected(
        &self,
        mut protected: Reader<'a>,
        cipher: &OpeningCipher,
    ) -> Result<Vec<u8>, OpenError> {
        let protected = protected.take_rest();
        // SK is last, so all that its ICV covers beside its body is what comes before that.
        let associated = self
            .octets
            .strip_suffix(protected)
            .ok_or(OpenError::NotEncrypted)?;
        let inner = sk::open(associated, protected, cipher)?;
        let mut in_clear = self.chain.clone().filter_map(Result::ok);
        in_clear.try_for_each(|raw| raw.supported())?;
        Ok(inner)
    }

    fn encrypted(&self) -> Option<Raw<'a>> {
        self.first_of(PayloadType::ENCRYPTED)
    }

    fn fragment(&self) -> Option<Raw<'a>> {
        self.first_of(PayloadType::ENCRYPTED_FRAGMENT)
    }

    fn first_of(&self, kind: PayloadType) -> Option<Raw<'a>> {
        self.chain
            .clone()
            .filter_map(Result::ok)
            .find(|raw| raw.kind == kind)
    }
}

/// The payloads that were inside SK, or inside all the fragments of a message (RFC 7383 §2.6):
/// their octets, and the type of the first of them.
pub fn parse_inner(first: PayloadType, octets: &[u8]) -> Result<Vec<Payload>, WireError> {
    payload::parse(Chain::new(first, Reader::new(octets)))
}

/// A message in which nothing is encrypted.
pub fn encode(header: &Header, payloads: &[Payload]) -> Vec<u8> {
    let body = payload::write(payloads);
    let mut writer = Writer::default();
    header.write(&mut writer, payload::first(payloads), body.len());
    writer.octets(&body);
    writer.into_octets()
}

/// A message whose payloads are all inside SK. Each call takes an IV of its own: a retransmission
/// repeats the octets instead (D2, RFC 7296 §2.1).
pub fn seal(header: &Header, payloads: &[Payload], cipher: &mut SealingCipher) -> Vec<u8> {
    sk::seal(header, payloads, cipher)
}

/// As [`seal`], in datagrams of at most so many octets each: one with SK where that fits, otherwise
/// as many with SKF as it takes (RFC 7383 §2.5).
pub fn seal_within(
    header: &Header,
    payloads: &[Payload],
    octets_max: usize,
    cipher: &mut SealingCipher,
) -> Vec<Vec<u8>> {
    sk::seal_within(header, payloads, octets_max, cipher)
}
