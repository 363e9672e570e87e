//! The Vendor ID payload (RFC 7296 §3.12). Ours says one thing: that this end would rather have ESP
//! in UDP. Between two who say so an IKE SA may also move (RFC 4555; `sa::mobike`). A caller says it to
//! whom it calls, an answerer only to those who said it first, and it tells no version (SECURITY lesson
//! 23). AUTH covers it, like all of IKE_SA_INIT.

use super::reader::Reader;

/// The first half of SHA-256 over "secure-gre: ESP in UDP is faster".
pub(crate) const FASTER_IN_UDP: [u8; 16] = [
    0x3e, 0xdb, 0x55, 0x66, 0xfd, 0x1c, 0x1f, 0x86, 0xe2, 0x96, 0x3c, 0x61, 0xda, 0x9e, 0x39, 0xca,
];

pub(super) fn parse(body: &mut Reader<'_>) -> Vec<u8> {
    body.take_rest().to_vec()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest;

    #[test]
    fn the_octets_are_what_they_are_said_to_be() {
        let hash = digest::digest(&digest::SHA256, b"secure-gre: ESP in UDP is faster");
        assert_eq!(hash.as_ref()[..16], super::FASTER_IN_UDP);
    }
}
