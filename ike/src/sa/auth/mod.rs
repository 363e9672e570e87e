//! IKE_AUTH with a pre-shared key (RFC 7296 §1.2, §2.15, §2.16): identities, AUTH, and the first
//! CHILD_SA; what both roles have in common. [`initiator`] asks, [`responder`] answers, [`proof`] makes
//! and checks AUTH values, [`ppk`] has its say in the keys. Here an SA becomes authenticated; nothing is
//! installed before.

mod initiator;
pub(in crate::sa) mod ppk;
mod proof;
mod responder;

use super::child::{Agreement, Material};
use super::init::Agreed;
use super::intermediate;
use super::pairs::Fresh;
use super::{Context, Core};
use crate::error::{Failure, PeerFault};
use crate::event::IkeDetails;
use crate::identity::Identity;
use crate::wire::ExchangeType;

pub(crate) use self::initiator::AuthSent;
pub(crate) use self::ppk::Progress;
pub(super) use self::responder::Responder;

const EXCHANGE: ExchangeType = ExchangeType::IKE_AUTH;

impl Agreed {
    /// IKE_AUTH follows IKE_SA_INIT's 0 (D1, RFC 7296 §2.2), or IKE_INTERMEDIATE's.
    fn message_id(&self) -> u32 {
        match self.int_auth {
            None => 1,
            Some(_) => intermediate::MESSAGE_ID + 1,
        }
    }

    /// The keys of the pair inside IKE_AUTH: its nonces are IKE_SA_INIT's (RFC 7296 §2.17).
    fn pair(&self, agreement: Agreement, initiated: bool) -> Fresh {
        Material {
            prf: self.suite.prf,
            sk_d: &self.keys.sk_d,
            g_ir: None,
            additional: None,
            initiator_nonce: &self.initiator_nonce,
            responder_nonce: &self.responder_nonce,
            initiated,
        }
        .derive(agreement)
    }
}

fn in_auth(fault: PeerFault) -> Failure {
    Failure::Fault {
        exchange: EXCHANGE,
        fault,
    }
}

fn check_identity(expected: Option<Identity>, received: &Identity) -> Result<(), Failure> {
    match expected {
        Some(expected) if expected != *received => Err(Failure::IdentityMismatch {
            expected,
            received: received.clone(),
        }),
        _ => Ok(()),
    }
}

fn details(
    core: &Core,
    ctx: &Context<'_>,
    agreed: &Agreed,
    local_id: Identity,
    remote_id: Identity,
) -> IkeDetails {
    IkeDetails {
        path: core.path,
        spi_initiator: core.initiator_spi.0,
        spi_responder: core.responder_spi.0,
        initiated: core.initiated,
        suite: agreed.suite,
        ppk: agreed.uses_ppk(),
        local_id,
        remote_id,
        encapsulation: core.encapsulation,
        udp_cause: core.udp_cause,
        since: ctx.now,
        rekey_at: ctx.now,
    }
}
