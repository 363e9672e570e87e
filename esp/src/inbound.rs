//! The receiving half of a CHILD_SA (RFC 4303 §3.4).
//!
//! Owns: the order of the checks. A packet passes [`InboundSa::candidate`] (replay window),
//! [`InboundSa::open`] (ICV, then trailer) and [`InboundSa::commit`] (replay window again, which
//! only then moves), and each step consumes what the step before made.
//!
//! Not here: the lookup of the SA, policy checks of the payload, and resynchronisation after the
//! loss of 2^32 packets in a row (RFC 4303 Appendix A3): such an SA has to be replaced.

use crate::cipher::{Cipher, PacketId};
use crate::error::Drop;
use crate::header::Header;
use crate::keys::{Keys, SaId, Spi};
use crate::replay::Window;
use crate::suite::HEADER_LEN;
use crate::trailer;

/// An inbound SA: opens ESP packets in place.
///
/// The payload cannot be had without the replay check:
///
/// ```compile_fail,E0308
/// # use secure_gre_esp::{Candidate, InboundSa};
/// fn without_opening(sa: &mut InboundSa, candidate: Candidate) {
///     let _ = sa.commit(candidate);
/// }
/// ```
/// ```compile_fail,E0616
/// # use secure_gre_esp::{Candidate, InboundSa};
/// fn without_commit(sa: &InboundSa, candidate: Candidate, packet: &mut [u8]) {
///     let _ = sa.open(candidate, packet).map(|opened| opened.bytes);
/// }
/// ```
/// ```compile_fail,E0382
/// # use secure_gre_esp::{InboundSa, Opened};
/// fn twice(sa: &mut InboundSa, opened: Opened<'_>) {
///     let _ = sa.commit(opened);
///     let _ = sa.commit(opened);
/// }
/// ```
#[derive(Debug)]
pub struct InboundSa {
    spi: Spi,
    esn: bool,
    cipher: Cipher,
    packet_len_min: usize,
    id: SaId,
    window: Window,
}

/// A packet that is not a replay as far as its unauthenticated header tells.
#[derive(Debug)]
#[must_use = "a candidate has not been authenticated"]
pub struct Candidate {
    sa: SaId,
    /// All 64 bits with ESN.
    seq: u64,
}

/// An authentic packet that may still be a replay. Its octets are out of reach.
#[derive(Debug)]
#[must_use = "only committing the packet protects against its replay"]
pub struct Opened<'b> {
    sa: SaId,
    seq: u64,
    next_header: u8,
    bytes: &'b mut [u8],
}

/// What an authentic packet carried, seen for the first time.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Payload<'b> {
    /// The protocol of the payload's first header. The caller drops a dummy packet, which is
    /// [`NO_NEXT_HEADER`](crate::NO_NEXT_HEADER).
    pub next_header: u8,
    /// The payload, without padding. It may be empty.
    pub bytes: &'b mut [u8],
    /// Whether no packet with a higher sequence number has been accepted. Only such a packet may
    /// change the peer's address (RFC 7296 §2.23).
    pub newest: bool,
}

impl InboundSa {
    /// The SA has received nothing. `window_packets` is rounded up to a multiple of 64 and held
    /// between [`MIN_WINDOW_PACKETS`](crate::MIN_WINDOW_PACKETS) and
    /// [`MAX_WINDOW_PACKETS`](crate::MAX_WINDOW_PACKETS).
    #[must_use]
    pub fn new(keys: Keys, window_packets: u32) -> Self {
        let Keys {
            spi,
            esn,
            suite,
            cipher,
            id,
        } = keys;
        Self {
            spi,
            esn,
            cipher,
            packet_len_min: suite.overhead().packet_len_min(),
            id,
            window: Window::new(window_packets),
        }
    }

    /// The SPI, chosen by us.
    #[must_use]
    pub const fn spi(&self) -> Spi {
        self.spi
    }

    /// Looks at the header of an ESP packet, which is all of `packet`: infers the high half of the
    /// sequence number with ESN, and checks the replay window before the ICV costs anything
    /// (RFC 4303 §3.4.3).
    ///
    /// # Errors
    /// [`Drop::Truncated`], [`Drop::UnknownSpi`], [`Drop::ReplayOld`], [`Drop::ReplayDuplicate`].
    pub fn candidate(&self, packet: &[u8]) -> Result<Candidate, Drop> {
        let header = Header::read(packet, self.packet_len_min)?;
        if header.spi != self.spi {
            return Err(Drop::UnknownSpi);
        }
        let seq = if self.esn {
            self.window.infer(header.seq_low).ok_or(Drop::ReplayOld)?
        } else {
            u64::from(header.seq_low)
        };
        self.window.check(seq)?;
        Ok(Candidate { sa: self.id, seq })
    }

    /// Checks the ICV, decrypts in place, and checks the trailer. `packet` is the one the
    /// candidate was made of: the ICV covers the candidate's sequence number, so any other packet
    /// fails. After an error `packet` holds nothing worth reading.
    ///
    /// # Errors
    /// [`Drop::Truncated`], [`Drop::UnknownSpi`], [`Drop::Icv`], [`Drop::Padding`].
    #[expect(clippy::needless_pass_by_value, reason = "a candidate is opened once")]
    pub fn open<'b>(&self, candidate: Candidate, packet: &'b mut [u8]) -> Result<Opened<'b>, Drop> {
        let Candidate { sa, seq } = candidate;
        if sa != self.id {
            return Err(Drop::UnknownSpi);
        }
        if packet.len() < self.packet_len_min {
            return Err(Drop::Truncated);
        }
        let body = packet.get_mut(HEADER_LEN..).ok_or(Drop::Truncated)?;
        let id = PacketId {
            spi: self.spi,
            seq,
            esn: self.esn,
        };
        let plaintext = self.cipher.open(id, body).ok_or(Drop::Icv)?;
        let (bytes, next_header) = trailer::strip(plaintext)?;
        Ok(Opened {
            sa,
            seq,
            next_header,
            bytes,
        })
    }

    /// Checks the replay window again, for another packet with this number may have been committed
    /// since the candidate was made, then advances it and hands out the payload.
    ///
    /// # Errors
    /// [`Drop::ReplayOld`], [`Drop::ReplayDuplicate`], and [`Drop::UnknownSpi`] if another SA
    /// opened the packet.
    pub fn commit<'b>(&mut self, opened: Opened<'b>) -> Result<Payload<'b>, Drop> {
        let Opened {
            sa,
            seq,
            next_header,
            bytes,
        } = opened;
        if sa != self.id {
            return Err(Drop::UnknownSpi);
        }
        let newest = self.window.accept(seq)?;
        Ok(Payload {
            next_header,
            bytes,
            newest,
        })
    }

    /// As if the packet with sequence number `seq` had been accepted, and none before it.
    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, seq: u64) {
        self.window.skip_to(seq);
    }
}

#[cfg(test)]
mod tests;
