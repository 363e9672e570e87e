//! The payloads of one message, looked up by what they are: order does not matter (RFC 7296 §2.5),
//! what an exchange needs is there exactly once, or it is a named fault of the peer's.

use crate::error::PeerFault;
use crate::wire::{
    Authentication, Identification, KeyExchange, Notify, NotifyType, Payload, Proposal,
    TrafficSelector,
};

/// A message's payloads.
pub(crate) struct Payloads(Vec<Payload>);

/// The only payload of a kind.
macro_rules! single {
    ($name:ident, $variant:ident, $kind:ty, $label:literal) => {
        pub(crate) fn $name(&self) -> Result<&$kind, PeerFault> {
            let mut found = self.0.iter().filter_map(|payload| match payload {
                Payload::$variant(content) => Some(content),
                _ => None,
            });
            let first = found.next().ok_or(PeerFault::Missing($label))?;
            match found.next() {
                None => Ok(first),
                Some(_) => Err(PeerFault::Repeated($label)),
            }
        }
    };
}

impl Payloads {
    pub(crate) const fn new(payloads: Vec<Payload>) -> Self {
        Self(payloads)
    }

    single!(proposals, SecurityAssociation, [Proposal], "SA");
    single!(key_exchange, KeyExchange, KeyExchange, "KE");
    single!(nonce, Nonce, [u8], "Nonce");
    single!(initiator_id, IdInitiator, Identification, "IDi");
    single!(responder_id, IdResponder, Identification, "IDr");
    single!(authentication, Authentication, Authentication, "AUTH");
    single!(initiator_selectors, TsInitiator, [TrafficSelector], "TSi");
    single!(responder_selectors, TsResponder, [TrafficSelector], "TSr");

    /// The KE payload of an exchange that may do without.
    pub(crate) fn key_exchange_if_any(&self) -> Result<Option<&KeyExchange>, PeerFault> {
        match self.key_exchange() {
            Ok(ke) => Ok(Some(ke)),
            Err(PeerFault::Missing(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The peer's public value, which has to be of this method (D11, RFC 7296 §3.4).
    pub(crate) fn key_exchange_of(&self, method: u16) -> Result<&[u8], PeerFault> {
        let ke = self.key_exchange()?;
        if ke.group == method {
            Ok(&ke.data)
        } else {
            Err(PeerFault::NotOffered(
                "another group than that of our KE".to_owned(),
            ))
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Payload> {
        self.0.iter()
    }

    pub(crate) fn notifies(&self) -> impl Iterator<Item = &Notify> {
        self.0.iter().filter_map(|payload| match payload {
            Payload::Notify(notify) => Some(notify),
            _ => None,
        })
    }

    pub(crate) fn vendor_ids(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter_map(|payload| match payload {
            Payload::VendorId(id) => Some(id.as_slice()),
            _ => None,
        })
    }

    /// The first notification of this type.
    pub(crate) fn notify(&self, kind: NotifyType) -> Option<&Notify> {
        self.notifies().find(|notify| notify.kind == kind)
    }

    /// Whether both say the same to all but who asked for a cookie (RFC 7296 §2.6).
    pub(crate) fn equal_but_for_cookies(&self, other: &Self) -> bool {
        let is_cookie = |payload: &Payload| matches!(payload, Payload::Notify(notify) if notify.kind == NotifyType::COOKIE);
        let rest = |payloads: &Self| {
            let rest = payloads.0.iter().filter(|payload| !is_cookie(payload));
            rest.cloned().collect::<Vec<_>>()
        };
        rest(self) == rest(other)
    }

    /// The first error; status types that we do not know are none of our business (D5, RFC 7296
    /// §3.10.1).
    pub(crate) fn error(&self) -> Option<&Notify> {
        self.notifies().find(|notify| notify.kind.is_error())
    }
}
