//! The mirror image of the reader: lengths are written once what they count is there.

/// A message, or a chain of payloads, that grows at its end.
#[derive(Debug, Default)]
pub(super) struct Writer {
    octets: Vec<u8>,
}

impl Writer {
    pub(super) fn into_octets(self) -> Vec<u8> {
        self.octets
    }

    pub(super) fn octets(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.octets.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.octets(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.octets(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.octets(&value.to_be_bytes());
    }

    /// Reserved octets are sent as zero (D5).
    pub(super) fn reserved<const OCTETS: usize>(&mut self) {
        self.octets(&[0; OCTETS]);
    }

    /// The number of elements that follow. We write no more of anything than `limits` lets a peer
    /// send, so the maximum stands for a mistake of ours, which a debug build points at.
    pub(super) fn count_u8(&mut self, count: usize) {
        debug_assert!(
            u8::try_from(count).is_ok(),
            "{count} elements do not fit an octet"
        );
        self.u8(u8::try_from(count).unwrap_or(u8::MAX));
    }

    /// As [`count_u8`](Self::count_u8), of 16 bits.
    pub(super) fn count_u16(&mut self, count: usize) {
        debug_assert!(
            u16::try_from(count).is_ok(),
            "{count} elements do not fit two octets"
        );
        self.u16(u16::try_from(count).unwrap_or(u16::MAX));
    }

    /// As [`count_u8`](Self::count_u8), of 32 bits.
    pub(super) fn count_u32(&mut self, count: usize) {
        debug_assert!(
            u32::try_from(count).is_ok(),
            "{count} octets do not fit four octets"
        );
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// See [`Substructure`](super::reader::Substructure).
    pub(super) fn substructure(&mut self, first: u8, second: u8, body: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        body(&mut inner);
        self.u8(first);
        self.u8(second);
        self.count_u16(SUBSTRUCTURE_HEADER_OCTETS + inner.octets.len());
        self.octets(&inner.octets);
    }
}

/// Octets before the body of a substructure.
const SUBSTRUCTURE_HEADER_OCTETS: usize = 4;
