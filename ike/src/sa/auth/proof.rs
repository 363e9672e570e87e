//! AUTH values: ours, and whether the peer's was made with our key (RFC 7296 §2.15). Whose identity
//! is taken is the roles' business.

use subtle::{Choice, ConstantTimeEq};

use crate::error::{Failure, PeerFault};
use crate::keys;
use crate::sa::init::Agreed;
use crate::sa::payloads::Payloads;
use crate::secret::Secret;
use crate::wire::{AuthMethod, Authentication, Identification, Payload};

/// The peer's claim and what it proves it with.
pub(super) struct Proof<'a> {
    pub(super) id: &'a Identification,
    method: AuthMethod,
    data: &'a [u8],
}

impl<'a> Proof<'a> {
    pub(super) fn read(payloads: &'a Payloads, of_initiator: bool) -> Result<Self, PeerFault> {
        let id = if of_initiator {
            payloads.initiator_id()
        } else {
            payloads.responder_id()
        }?;
        let authentication = payloads.authentication()?;
        Ok(Self {
            id,
            method: authentication.method,
            data: &authentication.data,
        })
    }

    /// The same claim, proven by this (RFC 8784 §5.1: by the same method).
    pub(super) const fn by(&self, data: &'a [u8]) -> Self {
        Self { data, ..*self }
    }

    pub(super) fn check_method(&self) -> Result<(), Failure> {
        match self.method {
            AuthMethod::SHARED_KEY => Ok(()),
            AuthMethod(method) => Err(Failure::AuthenticationMethod { method }),
        }
    }

    /// Whether the AUTH value was made with our key; compared in constant time, and only as a
    /// whole (SECURITY lesson 10).
    pub(super) fn holds(&self, agreed: &Agreed, psk: &Secret, by_initiator: bool) -> bool {
        let expected = agreed.expect(psk, by_initiator, self.id);
        let matches = expected.map(|value| value.expose().ct_eq(self.data));
        matches.fold(Choice::from(0), |any, one| any | one).into()
    }
}

impl Agreed {
    /// Our AUTH value.
    pub(super) fn sign(&self, psk: &Secret, initiated: bool, id: &Identification) -> Secret {
        self.auth_value(psk, initiated, &self.our_message, id)
    }

    /// The AUTH values of which the peer has to send one.
    fn expect(
        &self,
        psk: &Secret,
        by_initiator: bool,
        id: &Identification,
    ) -> impl Iterator<Item = Secret> {
        let messages = self.peer_messages.iter();
        messages.map(move |message| self.auth_value(psk, by_initiator, message, id))
    }

    /// D18, RFC 7296 §2.15: the signer's first message, the other's nonce, the signer's identity; and what
    /// was said between that message and this one (RFC 9242 §3.3.2).
    fn auth_value(
        &self,
        psk: &Secret,
        by_initiator: bool,
        message: &[u8],
        id: &Identification,
    ) -> Secret {
        let (nonce, sk_p) = if by_initiator {
            (&self.responder_nonce, &self.keys.sk_pi)
        } else {
            (&self.initiator_nonce, &self.keys.sk_pr)
        };
        let int_auth = self.int_auth.as_ref();
        let int_auth = int_auth.map(|int_auth| int_auth.octets(self.message_id()));
        let int_auth = int_auth.unwrap_or_default();
        keys::auth_value(
            self.suite.prf,
            psk,
            message,
            nonce,
            sk_p,
            &id.body,
            &int_auth,
        )
    }
}

pub(super) fn authentication(value: &Secret) -> Payload {
    let method = AuthMethod::SHARED_KEY;
    Payload::Authentication(Authentication {
        method,
        data: value.expose().to_vec(),
    })
}
