//! The Nonce payload (RFC 7296 §3.9).

use super::error::WireError;
use super::reader::Reader;
use crate::limits;

/// D11, RFC 7296 §2.10. That the nonce suits the PRF is for whoever knows the PRF.
pub(super) fn parse(body: &mut Reader<'_>) -> Result<Vec<u8>, WireError> {
    let nonce = body.take_rest();
    if limits::NONCE_OCTETS_RANGE.contains(&nonce.len()) {
        Ok(nonce.to_vec())
    } else {
        Err(WireError::Nonce(nonce.len()))
    }
}
