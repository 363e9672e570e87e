//! What encrypts and authenticates a packet, behind one face.
//!
//! Owns: which kind of cipher an SA has, and what a packet is known by. Not here: where sequence
//! numbers come from (`sequence`), the packet's layout (`header`, `trailer`).

use std::fmt;

use crate::aead::SaltedKey;
use crate::cbc::CbcHmac;
use crate::keys::Spi;
use crate::suite::Suite;

/// The keys of one SA.
pub(crate) enum Cipher {
    Aead(SaltedKey),
    /// Boxed for its size.
    CbcHmac(Box<CbcHmac>),
}

/// What the ICV covers beside the packet's body.
#[derive(Clone, Copy)]
pub(crate) struct PacketId {
    pub(crate) spi: Spi,
    /// All 64 bits, of which the high half is nothing without ESN.
    pub(crate) seq: u64,
    pub(crate) esn: bool,
}

impl PacketId {
    /// SPI and the low half of the sequence number, as they begin the packet (RFC 4303 §2).
    pub(crate) const fn header(self) -> [u8; 8] {
        let [s0, s1, s2, s3] = self.spi.to_be_bytes();
        let [_, _, _, _, l0, l1, l2, l3] = self.seq.to_be_bytes();
        [s0, s1, s2, s3, l0, l1, l2, l3]
    }

    /// The high half of the sequence number, which is not sent (RFC 4303 §2.2.1).
    pub(crate) const fn high(self) -> Option<[u8; 4]> {
        let [h0, h1, h2, h3, _, _, _, _] = self.seq.to_be_bytes();
        if self.esn {
            Some([h0, h1, h2, h3])
        } else {
            None
        }
    }
}

impl Cipher {
    /// `None` if `material` has not the length that the suite takes.
    pub(crate) fn new(suite: Suite, material: &[u8]) -> Option<Self> {
        match suite {
            Suite::AesCbc(key, hmac) => CbcHmac::new(key, hmac, material)
                .map(Box::new)
                .map(Self::CbcHmac),
            aead => SaltedKey::new(aead.aead()?, material).map(Self::Aead),
        }
    }

    /// Seals in place: `body` is room for the IV, the plaintext, and room for the ICV. `None` if the
    /// plaintext is of a length that the cipher cannot take.
    pub(crate) fn seal(&self, packet: PacketId, body: &mut [u8]) -> Option<()> {
        match self {
            Self::Aead(key) => key.seal(packet, body),
            Self::CbcHmac(keys) => keys.seal(packet, body),
        }
    }

    /// Checks the ICV of IV, ciphertext and ICV, and decrypts in place; `None` if it is wrong, and
    /// then `body` holds nothing worth reading.
    pub(crate) fn open<'b>(&self, packet: PacketId, body: &'b mut [u8]) -> Option<&'b mut [u8]> {
        match self {
            Self::Aead(key) => key.open(packet, body),
            Self::CbcHmac(keys) => keys.open(packet, body),
        }
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(..)")
    }
}
