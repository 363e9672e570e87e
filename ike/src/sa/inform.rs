//! INFORMATIONAL both ways (RFC 7296 §1.4): what our requests say and what the peer's lead to, with
//! liveness checks, Delete and the protected errors. Message IDs and what becomes of the SA are
//! `live`'s.

use super::child::{self, Child};
use super::payloads::Payloads;
use crate::event::{EspSpi, GoneReason};
use crate::wire::{Delete, ExchangeType, Notify, NotifyType, Payload, WireError};

/// What a request of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// An empty INFORMATIONAL: does the peer still have this SA (RFC 7296 §2.4)?
    Probe,
    /// Delete the IKE SA, with an error if there was one.
    Delete { notify: Option<NotifyType> },
}

impl Task {
    /// What the request says.
    pub(super) fn payloads(self) -> Vec<Payload> {
        match self {
            Self::Probe => Vec::new(),
            Self::Delete { notify } => {
                let notify = notify.map(|kind| Payload::Notify(Notify::status(kind)));
                notify
                    .into_iter()
                    .chain([Payload::Delete(Delete::Ike)])
                    .collect()
            }
        }
    }
}

/// What an authenticated request of the peer's leads to.
pub(super) struct Reply {
    pub(super) payloads: Vec<Payload>,
    pub(super) effect: Effect,
}

/// What else it does.
pub(super) enum Effect {
    None,
    /// The pairs with these outbound SPIs are gone.
    ChildrenDeleted(Vec<EspSpi>),
    /// The IKE SA is gone once the reply has left.
    Ended(GoneReason),
}

impl Reply {
    /// To a request that parses, of an SA with these pairs.
    pub(super) fn to(exchange: ExchangeType, payloads: &Payloads, children: &[Child]) -> Self {
        match exchange {
            ExchangeType::INFORMATIONAL => Self::to_informational(payloads, children),
            ExchangeType::CREATE_CHILD_SA => Self::only(child::refuse_another()),
            // Authenticated, in order, and meaningless: the SA is not worth losing over it.
            _ => Self::only(vec![Payload::Notify(Notify::status(
                NotifyType::INVALID_SYNTAX,
            ))]),
        }
    }

    /// D6: an unknown critical payload costs the exchange, a syntax error the SA (RFC 7296 §2.21.3).
    pub(super) fn to_malformed(error: &WireError) -> Self {
        let payloads = vec![Payload::Notify(Notify::for_wire_error(error))];
        match error {
            WireError::UnsupportedCritical(_) => Self::only(payloads),
            _ => Self {
                payloads,
                effect: Effect::Ended(GoneReason::PeerFault),
            },
        }
    }

    const fn only(payloads: Vec<Payload>) -> Self {
        Self {
            payloads,
            effect: Effect::None,
        }
    }

    /// D32: the reply to what ends the IKE SA is empty.
    const fn ended(why: GoneReason) -> Self {
        Self {
            payloads: Vec::new(),
            effect: Effect::Ended(why),
        }
    }

    fn to_informational(payloads: &Payloads, children: &[Child]) -> Self {
        let fatal = [
            NotifyType::AUTHENTICATION_FAILED,
            NotifyType::INVALID_SYNTAX,
        ];
        let mut deleted = Vec::new();
        for payload in payloads.iter() {
            match payload {
                Payload::Delete(Delete::Ike) => return Self::ended(GoneReason::DeletedByPeer),
                Payload::Notify(notify) if fatal.contains(&notify.kind) => {
                    return Self::ended(GoneReason::PeerFault);
                }
                Payload::Delete(Delete::Esp(spis)) => deleted.extend_from_slice(spis),
                _ => {}
            }
        }
        Self::to_child_delete(&deleted, children)
    }

    /// D32: the peer names what it receives on; our reply names the other directions, which are
    /// those that we receive on. Pairs that we do not have are not mentioned.
    fn to_child_delete(deleted: &[EspSpi], children: &[Child]) -> Self {
        let gone = || {
            children
                .iter()
                .filter(|child| deleted.contains(&child.outbound()))
        };
        let inbound: Vec<_> = gone().map(Child::inbound).collect();
        if inbound.is_empty() {
            return Self::only(Vec::new());
        }
        Self {
            payloads: vec![child::delete(inbound)],
            effect: Effect::ChildrenDeleted(gone().map(Child::outbound).collect()),
        }
    }
}
