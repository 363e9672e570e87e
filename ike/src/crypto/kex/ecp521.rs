//! Diffie-Hellman over NIST P-521 (RFC 5903 §3.3), from the randomness that is passed in.

use p521::PublicKey;
use p521::ecdh::EphemeralSecret;
use p521::elliptic_curve::Generate;
use p521::elliptic_curve::sec1::ToSec1Point;
use rand_core::CryptoRng;

use super::{KexError, KeyExchange, UNCOMPRESSED};
use crate::algorithm::Group;
use crate::secret::Secret;

pub(crate) fn ecp521(rng: &mut dyn CryptoRng) -> Box<dyn KeyExchange> {
    let private = EphemeralSecret::generate_from_rng(rng);
    let point = private.public_key().to_sec1_point(false);
    let public = point.as_bytes().iter().copied().skip(1).collect();
    Box::new(Ecp521 { private, public })
}

struct Ecp521 {
    private: EphemeralSecret,
    public: Vec<u8>,
}

impl KeyExchange for Ecp521 {
    fn group(&self) -> Group {
        Group::Ecp521
    }

    fn public(&self) -> &[u8] {
        &self.public
    }

    fn agree(self: Box<Self>, peer_public: &[u8]) -> Result<Secret, KexError> {
        let group = self.group();
        group.check_public(peer_public)?;
        let point = [&[UNCOMPRESSED], peer_public].concat();
        let peer = PublicKey::from_sec1_bytes(&point).map_err(|_| KexError::NotOnCurve(group))?;
        // RFC 5903 §7: the x coordinate alone.
        let shared = self.private.diffie_hellman(&peer);
        Ok(Secret::new(shared.raw_secret_bytes().to_vec()))
    }
}
