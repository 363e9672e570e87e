//! INFORMATIONAL (RFC 7296 §1.4): what a request of the peer's says, be it Delete or a protected error.
//! Message IDs and what becomes of the SA are `live`'s.

use super::payloads::Payloads;
use crate::event::{EspSpi, GoneReason};
use crate::wire::{Delete, Notify, NotifyType, Payload};

/// What an authenticated request says.
pub(super) enum Said {
    /// The IKE SA is over.
    Over(GoneReason),
    /// The pairs on which the peer receives with these SPIs are; often there are none.
    PairsDeleted(Vec<EspSpi>),
}

impl Said {
    pub(super) fn read(payloads: &Payloads) -> Self {
        let fatal = [
            NotifyType::AUTHENTICATION_FAILED,
            NotifyType::INVALID_SYNTAX,
        ];
        let mut deleted = Vec::new();
        for payload in payloads.iter() {
            match payload {
                Payload::Delete(Delete::Ike) => return Self::Over(GoneReason::DeletedByPeer),
                Payload::Notify(notify) if fatal.contains(&notify.kind) => {
                    return Self::Over(GoneReason::PeerFault);
                }
                Payload::Delete(Delete::Esp(spis)) => deleted.extend_from_slice(spis),
                _ => {}
            }
        }
        Self::PairsDeleted(deleted)
    }
}

/// Deletes the IKE SA, with an error if there was one.
pub(super) fn delete_ike(notify: Option<NotifyType>) -> Vec<Payload> {
    let notify = notify.map(|kind| Payload::Notify(Notify::status(kind)));
    notify
        .into_iter()
        .chain([Payload::Delete(Delete::Ike)])
        .collect()
}

/// Deletes the pairs on which we receive with these SPIs, or says that they are.
pub(super) fn delete_pairs(inbound: Vec<EspSpi>) -> Vec<Payload> {
    if inbound.is_empty() {
        Vec::new()
    } else {
        vec![Payload::Delete(Delete::Esp(inbound))]
    }
}
