//! CREATE_CHILD_SA with a peer that says what a test wants it to say (RFC 7296 §1.3, §2.8, §2.25).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod answering;
mod asking;
#[path = "../support/mod.rs"]
mod support;

use secure_gre_ike::event::EspSpi;
use secure_gre_ike::wire::{ExchangeType, NotifyType, Payload, Proposal, TransformType};
use support::Setup;
use support::bench::Bench;
use support::puppet::{Session, header_of, up_as_responder};

const CREATE: ExchangeType = ExchangeType::CREATE_CHILD_SA;
const INFORMATIONAL: ExchangeType = ExchangeType::INFORMATIONAL;
/// What the puppet receives on in a second pair.
const SECOND: EspSpi = EspSpi(0xc0ff_ee01);

fn setup(esp: &'static str) -> Setup {
    Setup {
        esp: vec![esp],
        ..Setup::default()
    }
}

/// An endpoint that has called the puppet.
fn up(esp: &'static str) -> (Bench, Session) {
    let mut bench = Bench::new(&setup(esp));
    let session = up_as_responder(&mut bench, 1);
    bench.take_log();
    (bench, session)
}

/// The endpoint's next request, in words that can be compared.
fn said(session: &Session, request: &[u8]) -> (u32, Vec<Payload>) {
    (header_of(request).message_id, session.open(request))
}

fn notifies(payloads: &[Payload]) -> Vec<NotifyType> {
    let notifies = payloads.iter().filter_map(|payload| match payload {
        Payload::Notify(notify) => Some(notify.kind),
        _ => None,
    });
    notifies.collect()
}

fn offered(payloads: &[Payload]) -> &Proposal {
    let offered = payloads.iter().find_map(|payload| match payload {
        Payload::SecurityAssociation(proposals) => Some(&proposals[0]),
        _ => None,
    });
    offered.unwrap()
}

fn groups(payloads: &[Payload]) -> Vec<u16> {
    let transforms = offered(payloads).transforms.iter();
    transforms
        .filter(|transform| transform.kind == TransformType::KE)
        .map(|transform| transform.id)
        .collect()
}

fn group_of_ke(payloads: &[Payload]) -> Option<u16> {
    payloads.iter().find_map(|payload| match payload {
        Payload::KeyExchange(ke) => Some(ke.group),
        _ => None,
    })
}

fn spi_of(payloads: &[Payload]) -> EspSpi {
    let spi = offered(payloads).spi[..].try_into().unwrap();
    EspSpi(u32::from_be_bytes(spi))
}
