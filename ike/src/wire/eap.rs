//! The EAP payload (RFC 7296 §3.16). No EAP is implemented; the message is carried as it is.

use super::error::WireError;
use super::reader::Reader;

/// Code, identifier and a length that has to be the payload's.
pub(super) fn parse(body: &mut Reader<'_>) -> Result<Vec<u8>, WireError> {
    let message = body.take_rest();
    let [_, _, high, low] = *message.first_chunk().ok_or(WireError::Eap)?;
    if usize::from(u16::from_be_bytes([high, low])) == message.len() {
        Ok(message.to_vec())
    } else {
        Err(WireError::Eap)
    }
}
