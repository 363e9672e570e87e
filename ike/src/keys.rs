//! The keys of an IKE SA and of its CHILD_SAs, and the proof of who holds the pre-shared key
//! (RFC 7296 §2.13 to §2.17, RFC 5282 §7.1, RFC 8784 §3,
//! RFC 9370 §2.2). The functions beneath are in
//! [`crypto::prf`](crate::crypto::prf).

use crate::algorithm::Prf;
use crate::proposal::{EspSuite, IkeSuite};
use crate::secret::Secret;
use crate::wire::IkeSpi;

/// The keys of an IKE SA.
#[derive(Debug)]
pub(crate) struct IkeKeys {
    /// From which the keys of CHILD_SAs are derived.
    pub(crate) sk_d: Secret,
    /// Authenticates what the initiator sends; empty for an AEAD (RFC 5282 §7.1).
    pub(crate) sk_ai: Secret,
    /// Authenticates what the responder sends; empty for an AEAD.
    pub(crate) sk_ar: Secret,
    /// Encrypts what the initiator sends; an AEAD's ends with the salt.
    pub(crate) sk_ei: Secret,
    /// Encrypts what the responder sends; an AEAD's ends with the salt.
    pub(crate) sk_er: Secret,
    /// For the initiator's AUTH.
    pub(crate) sk_pi: Secret,
    /// For the responder's AUTH.
    pub(crate) sk_pr: Secret,
}

/// The keys that a PPK goes into: those that encrypt nothing.
#[derive(Debug)]
pub(crate) struct Roots {
    sk_d: Secret,
    sk_pi: Secret,
    sk_pr: Secret,
}

impl IkeKeys {
    /// Of a first IKE SA: SKEYSEED = prf(Ni | Nr, g^ir) (RFC 7296 §2.14). `ni` and `nr` are the nonces
    /// without payload headers.
    pub(crate) fn derive(
        suite: IkeSuite,
        g_ir: &Secret,
        ni: &[u8],
        nr: &[u8],
        spi_i: IkeSpi,
        spi_r: IkeSpi,
    ) -> Self {
        let nonces = Secret::new([ni, nr].concat());
        let skeyseed = suite.prf.compute(nonces.expose(), &[g_ir.expose()]);
        Self::expand(suite, &skeyseed, (ni, nr), (spi_i, spi_r))
    }

    /// Of one that another IKE SA is rekeyed to: SKEYSEED = prf(SK_d (old), g^ir | Ni | Nr | SK(1)), with
    /// the PRF of the old one (D21, RFC 7296 §2.18); SK(1) where there was an additional key exchange (RFC
    /// 9370 §2.2.4).
    pub(crate) fn derive_from(
        (old_prf, old_sk_d): (Prf, &Secret),
        suite: IkeSuite,
        (g_ir, additional): (&Secret, Option<&Secret>),
        (ni, nr): (&[u8], &[u8]),
        spis: (IkeSpi, IkeSpi),
    ) -> Self {
        let parts = [g_ir.expose(), ni, nr, expose_any(additional)];
        let skeyseed = old_prf.compute(old_sk_d.expose(), &parts);
        Self::expand(suite, &skeyseed, (ni, nr), spis)
    }

    /// Of a first IKE SA once more, after an additional key exchange:
    /// SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr) (D23, RFC 9370 §2.2.2).
    pub(crate) fn update(
        &self,
        suite: IkeSuite,
        shared: &Secret,
        nonces: (&[u8], &[u8]),
        spis: (IkeSpi, IkeSpi),
    ) -> Self {
        Self::derive_from((suite.prf, &self.sk_d), suite, (shared, None), nonces, spis)
    }

    /// prf+(SKEYSEED, Ni | Nr | SPIi | SPIr) cut into keys (RFC 7296 §2.14).
    fn expand(
        suite: IkeSuite,
        skeyseed: &Secret,
        (ni, nr): (&[u8], &[u8]),
        (spi_i, spi_r): (IkeSpi, IkeSpi),
    ) -> Self {
        let seed = [ni, nr, &spi_i.0.to_be_bytes(), &spi_r.0.to_be_bytes()];
        let (cipher, p) = (suite.cipher, suite.prf.octets());
        let (a, e) = (
            cipher.integrity_key_octets(),
            cipher.encryption_key_octets(),
        );
        let [sk_d, sk_ai, sk_ar, sk_ei, sk_er, sk_pi, sk_pr] =
            suite
                .prf
                .expand(skeyseed.expose(), &seed, [p, a, a, e, e, p, p]);
        Self {
            sk_d,
            sk_ai,
            sk_ar,
            sk_ei,
            sk_er,
            sk_pi,
            sk_pr,
        }
    }

    /// SK_d, SK_pi and SK_pr with a PPK in them: prf+(PPK, SK_d), and the same of the others (RFC 8784 §3).
    pub(crate) fn mix(&self, prf: Prf, ppk: &Secret) -> Roots {
        let mix = |sk: &Secret| {
            let [mixed] = prf.expand(ppk.expose(), &[sk.expose()], [prf.octets()]);
            mixed
        };
        Roots {
            sk_d: mix(&self.sk_d),
            sk_pi: mix(&self.sk_pi),
            sk_pr: mix(&self.sk_pr),
        }
    }

    /// Puts these in place of those that are there, which are returned.
    pub(crate) fn replace_roots(&mut self, roots: Roots) -> Roots {
        Roots {
            sk_d: std::mem::replace(&mut self.sk_d, roots.sk_d),
            sk_pi: std::mem::replace(&mut self.sk_pi, roots.sk_pi),
            sk_pr: std::mem::replace(&mut self.sk_pr, roots.sk_pr),
        }
    }

    /// The key material of what we send, then of what the peer sends: SK_e, then SK_a.
    /// `initiated`: we are the SA's initiator.
    pub(crate) fn directions(&self, initiated: bool) -> (Secret, Secret) {
        let from_initiator = Secret::concat(&self.sk_ei, &self.sk_ai);
        let from_responder = Secret::concat(&self.sk_er, &self.sk_ar);
        if initiated {
            (from_initiator, from_responder)
        } else {
            (from_responder, from_initiator)
        }
    }
}

/// RFC 7296 §2.15: 17 octets of ASCII without a NUL.
const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// The AUTH payload's data for a pre-shared key (RFC 7296 §2.15):
/// prf(prf(PSK, "Key Pad for IKEv2"), first message | the other side's nonce | prf(SK_p, ID') | IntAuth).
///
/// All of it is the signer's: `first_message` is what it sent last as its IKE_SA_INIT message, from
/// the header on; `sk_p` is its SK_pi or SK_pr; `id_body` is its ID payload without the generic
/// header, so from the ID type on. Only `peer_nonce` is the verifier's. `int_auth` is both sides', and
/// empty where there was no IKE_INTERMEDIATE exchange (D23, RFC 9242 §3.3.2). Comparing two of these is
/// constant-time, and false where the lengths differ.
pub(crate) fn auth_value(
    prf: Prf,
    psk: &Secret,
    first_message: &[u8],
    peer_nonce: &[u8],
    sk_p: &Secret,
    id_body: &[u8],
    int_auth: &[u8],
) -> Secret {
    let key = prf.compute(psk.expose(), &[KEY_PAD]);
    let maced_id = prf.compute(sk_p.expose(), &[id_body]);
    prf.compute(
        key.expose(),
        &[first_message, peer_nonce, maced_id.expose(), int_auth],
    )
}

/// KEYMAT = prf+(SK_d, [g^ir |] Ni | Nr [| SK(1)]) (RFC 7296 §2.17, RFC 9370 §2.2.4): first the key
/// material of what the initiator sends, then of what the responder sends. Initiator is who began the
/// exchange that makes the pair, whoever began the IKE SA.
///
/// `g_ir` is there where that exchange had KE payloads; in IKE_AUTH there is none, and the nonces
/// are IKE_SA_INIT's. SK(1), `additional`, is there where an additional key exchange followed.
pub(crate) fn child_keymat(
    suite: EspSuite,
    prf: Prf,
    sk_d: &Secret,
    (g_ir, additional): (Option<&Secret>, Option<&Secret>),
    ni: &[u8],
    nr: &[u8],
) -> (Secret, Secret) {
    let seed = [expose_any(g_ir), ni, nr, expose_any(additional)];
    let octets = suite.cipher.key_material_octets();
    let [from_initiator, from_responder] = prf.expand(sk_d.expose(), &seed, [octets, octets]);
    (from_initiator, from_responder)
}

/// A secret that not every exchange has; without it, nothing stands in its place.
fn expose_any(secret: Option<&Secret>) -> &[u8] {
    secret.map_or(&[], Secret::expose)
}

#[cfg(test)]
mod tests;
