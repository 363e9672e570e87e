//! Probes: packets of our own that measure the way to a peer that runs this program too. Their wire
//! form is `docs/PROBES.md`.
//!
//! A probe travels as the payload of a dummy packet of ESP (next header 59, RFC 4303 §2.6), which every
//! receiver discards, so that a peer that does not know it is not disturbed, and which no key of GRE
//! tells apart, so that it speaks for all tunnels under the SA.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |                        "sgre" (0x73677265)                    |
//! |    Version    |      Kind     |              Size             |
//! |                           Sequence                            |
//! |                   zeros, up to Size octets                  ...
//! ```
//!
//! [`echo`] is what other peers are asked by. [`liveness`] says when to ask and what follows from
//! silence, [`search`] looks for the largest packet that the path takes. Not here: clocks, sending, how
//! often answers are given.

pub mod echo;
pub mod liveness;
pub mod search;

/// Asked, or answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To be answered.
    Request,
    /// An answer: the request with this kind and nothing behind its header.
    Answer,
}

/// The header of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Asked, or answered.
    pub kind: Kind,
    /// Of the request, header included, in octets; the answer repeats it.
    pub size: u16,
    /// As the asking end counts; the answer repeats it.
    pub sequence: u32,
}

impl Probe {
    /// Of the header, in octets; no probe is shorter.
    pub const HEADER_LEN: u16 = 12;

    /// Whether the peer lives: a request of nothing but its header. The number is one of
    /// [`liveness::NUMBERS`].
    pub const fn beat(number: u32) -> Self {
        Self {
            kind: Kind::Request,
            size: Self::HEADER_LEN,
            sequence: number,
        }
    }

    /// Reads the payload of a dummy packet. `None`: anything else, a version to come, or a request
    /// that is not as long as it says.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (&[m0, m1, m2, m3, version, kind, s0, s1, n0, n1, n2, n3], _) =
            payload.split_first_chunk()?;
        let kind = match kind {
            REQUEST => Kind::Request,
            ANSWER => Kind::Answer,
            _ => return None,
        };
        let size = u16::from_be_bytes([s0, s1]);
        let is_whole = kind == Kind::Answer || usize::from(size) == payload.len();
        if [m0, m1, m2, m3] != MAGIC || version != VERSION || !is_whole {
            return None;
        }
        Some(Self {
            kind,
            size,
            sequence: u32::from_be_bytes([n0, n1, n2, n3]),
        })
    }

    /// The header's octets.
    pub fn header(&self) -> [u8; Self::HEADER_LEN as usize] {
        let [m0, m1, m2, m3] = MAGIC;
        let kind = match self.kind {
            Kind::Request => REQUEST,
            Kind::Answer => ANSWER,
        };
        let [s0, s1] = self.size.to_be_bytes();
        let [n0, n1, n2, n3] = self.sequence.to_be_bytes();
        [m0, m1, m2, m3, VERSION, kind, s0, s1, n0, n1, n2, n3]
    }

    /// What answers a request.
    pub const fn answer(self) -> Self {
        Self {
            kind: Kind::Answer,
            ..self
        }
    }

    /// The octets on the wire.
    pub fn wire_len(&self) -> usize {
        usize::from(match self.kind {
            Kind::Request => self.size.max(Self::HEADER_LEN),
            Kind::Answer => Self::HEADER_LEN,
        })
    }
}

const MAGIC: [u8; 4] = *b"sgre";
const VERSION: u8 = 1;
const REQUEST: u8 = 0;
const ANSWER: u8 = 1;

#[cfg(test)]
mod tests {
    use hex_literal::hex;
    use proptest::prelude::*;

    use super::*;

    const REQUEST_OF_16: Probe = Probe {
        kind: Kind::Request,
        size: 16,
        sequence: 0x0102_0304,
    };

    /// The example of `docs/PROBES.md`.
    #[test]
    fn the_wire_form() {
        let header = hex!("73677265 01 00 0010 01020304");
        assert_eq!(REQUEST_OF_16.header(), header);
        assert_eq!(REQUEST_OF_16.wire_len(), 16);
        let whole = [&header[..], &[0; 4]].concat();
        assert_eq!(Probe::parse(&whole), Some(REQUEST_OF_16));
        let answer = REQUEST_OF_16.answer();
        assert_eq!(answer.header(), hex!("73677265 01 01 0010 01020304"));
        assert_eq!(answer.wire_len(), 12);
        assert_eq!(Probe::parse(&answer.header()), Some(answer));
    }

    #[test]
    fn what_is_no_probe() {
        let whole = [&REQUEST_OF_16.header()[..], &[0; 4]].concat();
        let changed = |at: usize, to: u8| {
            let mut octets = whole.clone();
            octets[at] = to;
            Probe::parse(&octets)
        };
        assert_eq!(changed(0, b'S'), None, "another magic");
        assert_eq!(changed(4, 2), None, "a version to come");
        assert_eq!(changed(5, 2), None, "a kind to come");
        assert_eq!(changed(7, 17), None, "cut on its way");
        for len in 0..whole.len() {
            assert_eq!(Probe::parse(&whole[..len]), None, "{len} octets");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_dummy_carries_is_read(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(probe) = Probe::parse(&payload) {
                prop_assert_eq!(&probe.header()[..], &payload[..12]);
            }
        }
    }
}
