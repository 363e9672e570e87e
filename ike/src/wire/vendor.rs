//! The Vendor ID payload (RFC 7296 §3.12). We send none: it would say who we are to anybody who
//! asks (SECURITY lesson 23).

use super::reader::Reader;

pub(super) fn parse(body: &mut Reader<'_>) -> Vec<u8> {
    body.take_rest().to_vec()
}
