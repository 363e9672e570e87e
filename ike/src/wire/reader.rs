//! A cursor over received octets that cannot leave them: a length prefix yields a reader of its own
//! for what it bounds, so no length from the wire is ever subtracted from another (SECURITY lesson 4).

use super::WireError;

/// What is left to read of a message, a payload or a substructure.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// Two octets of the parser's own, then a 16-bit length that counts from the first of them: the
/// shape of the generic payload header, of proposals, transforms and traffic selectors (RFC 7296
/// §3.2, §3.3.1, §3.3.2, §3.13.1).
pub(super) struct Substructure<'a> {
    pub(super) first: u8,
    pub(super) second: u8,
    pub(super) body: Reader<'a>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, octets: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(octets)
            .ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Everything that is left, which may be nothing.
    pub(super) const fn take_rest(&mut self) -> &'a [u8] {
        let taken = self.rest;
        self.rest = &[];
        taken
    }

    /// As [`take_rest`](Self::take_rest), owned, unless it is longer than `limit` octets.
    pub(super) fn take_rest_within(&mut self, limit: usize) -> Result<Vec<u8>, WireError> {
        let taken = self.take_rest();
        if taken.len() > limit {
            Err(WireError::TooLong)
        } else {
            Ok(taken.to_vec())
        }
    }

    pub(super) fn array<const OCTETS: usize>(&mut self) -> Result<[u8; OCTETS], WireError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A reader of the next octets alone.
    pub(super) fn sub(&mut self, octets: usize) -> Result<Self, WireError> {
        self.take(octets).map(Self::new)
    }

    /// A length below its own four octets is as wrong as one beyond the end.
    pub(super) fn substructure(&mut self) -> Result<Substructure<'a>, WireError> {
        let [_, _, high, low] = self.clone().array()?;
        let mut whole = self.sub(u16::from_be_bytes([high, low]).into())?;
        let [first, second, _, _] = whole.array()?;
        Ok(Substructure {
            first,
            second,
            body: whole,
        })
    }

    /// Whatever holds more than its counts say is malformed.
    pub(super) const fn finish(&self) -> Result<(), WireError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(WireError::TrailingOctets)
        }
    }
}
