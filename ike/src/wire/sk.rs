//! The Encrypted payload, SK (RFC 7296 §3.14, RFC 5282): what is around the cipher. The body is
//! IV, ciphertext and ICV; the plaintext is payloads, padding and Pad Length.

use super::error::{OpenError, WireError};
use super::header::Header;
use super::payload::{self, Payload, PayloadType};
use super::writer::Writer;
use crate::crypto::cipher::{OpeningCipher, SealingCipher};

/// Octets of the generic payload header.
const GENERIC_HEADER_OCTETS: usize = 4;
/// An AEAD needs no padding, but its length is always there (D20).
const PAD_LENGTH: [u8; 1] = [0];

/// A message whose payloads are all inside SK. Lengths are final before anything is computed over
/// them (D20).
pub(super) fn seal(header: &Header, payloads: &[Payload], cipher: &mut SealingCipher) -> Vec<u8> {
    let mut plaintext = payload::write(payloads);
    plaintext.extend_from_slice(&PAD_LENGTH);
    let payload_octets = GENERIC_HEADER_OCTETS + cipher.sealed_octets(plaintext.len());

    let mut writer = Writer::default();
    header.write(&mut writer, PayloadType::ENCRYPTED, payload_octets);
    writer.u8(payload::first(payloads).0);
    writer.reserved::<1>();
    writer.count_u16(payload_octets);
    let mut message = writer.into_octets();
    cipher.seal(&mut message, plaintext);
    message
}

/// The payloads' octets. `protected` is the body of SK, `associated` all that comes before it in
/// the message, payloads in the clear included (RFC 5282 §5.1).
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
