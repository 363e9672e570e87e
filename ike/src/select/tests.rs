//! Offers and answers that suit, and those that break a rule.

mod answers;
mod both_sides;
mod offers;

use super::*;
use crate::proposal::{
    EsnPolicy, default_esp, default_ike, esp_offer, esp_offer_with_groups, ike_offer,
};

const ENCR: TransformType = TransformType::ENCR;
const PRF: TransformType = TransformType::PRF;
const INTEG: TransformType = TransformType::INTEG;
const KE: TransformType = TransformType::KE;
const ESN: TransformType = TransformType::ESN;

const AES256: Transform = Transform::with_key_bits(ENCR, 20, 256);
const AES128: Transform = Transform::with_key_bits(ENCR, 20, 128);
const AES_CBC: Transform = Transform::with_key_bits(ENCR, 12, 256);
const SHA256: Transform = Transform::new(PRF, 5);
const SHA384: Transform = Transform::new(PRF, 6);
const X25519: Transform = Transform::new(KE, 31);
const ECP256: Transform = Transform::new(KE, 19);
const MODP2048: Transform = Transform::new(KE, 14);
const NO_INTEG: Transform = Transform::new(INTEG, 0);
const HMAC_SHA256: Transform = Transform::new(INTEG, 12);
const SHORT: Transform = Transform::new(ESN, 0);
const LONG: Transform = Transform::new(ESN, 1);

/// The peer's SPI in offers and answers for ESP; ours.
const OUTBOUND: EspSpi = EspSpi(0xc0ff_ee01);
const INBOUND: EspSpi = EspSpi(0x0102_0304);

fn ike(text: &str) -> Vec<IkeProposal> {
    text.split(',')
        .map(|text| IkeProposal::parse(text).unwrap())
        .collect()
}

fn esp(text: &str) -> Vec<EspProposal> {
    text.split(',')
        .map(|text| EspProposal::parse(text, EsnPolicy::Prefer).unwrap())
        .collect()
}

fn for_ike(number: u8, transforms: &[Transform]) -> Proposal {
    let transforms = transforms.to_vec();
    Proposal {
        number,
        protocol: ProtocolId::IKE,
        spi: vec![],
        transforms,
    }
}

fn for_esp(number: u8, transforms: &[Transform]) -> Proposal {
    let spi = OUTBOUND.0.to_be_bytes().to_vec();
    Proposal {
        number,
        protocol: ProtocolId::ESP,
        spi,
        transforms: transforms.to_vec(),
    }
}

fn with_unknown_attribute(transform: Transform) -> Transform {
    Transform {
        unknown_attribute: true,
        ..transform
    }
}

/// D15, D38: what goes out.
#[test]
fn offers() {
    let ours = ike("aes256gcm16-aes128gcm16-prfsha384-x25519-ecp256,aes128gcm16-prfsha256-ecp256");
    assert_eq!(
        ike_offer(&ours),
        [
            for_ike(1, &[AES256, AES128, SHA384, X25519, ECP256]),
            for_ike(2, &[AES128, SHA256, ECP256]),
        ]
    );
    let ours = ike("aes256-sha256-prfsha384-modp2048");
    let transforms = [AES_CBC, HMAC_SHA256, SHA384, MODP2048];
    assert_eq!(ike_offer(&ours), [for_ike(1, &transforms)]);
    let ours = esp("aes256gcm16-x25519-modpnone,aes128gcm16-noesn,aes256-sha256-esn");
    assert_eq!(
        esp_offer(&ours, OUTBOUND),
        [
            for_esp(1, &[AES256, LONG, SHORT]),
            for_esp(2, &[AES128, SHORT]),
            for_esp(3, &[AES_CBC, HMAC_SHA256, LONG]),
        ]
    );
}

/// What we call an algorithm is what a peer's proposal reads as.
#[test]
fn names_are_those_of_the_wire() {
    for encryption in Encryption::all() {
        assert_eq!(Transform::from(encryption).to_string(), encryption.name());
    }
    for &integrity in Integrity::ALL {
        assert_eq!(Transform::from(integrity).to_string(), integrity.name());
    }
    for &prf in Prf::ALL {
        assert_eq!(Transform::from(prf).to_string(), prf.name());
    }
    for &group in Group::ALL {
        assert_eq!(Transform::from(group).to_string(), group.name());
    }
    for &kem in Kem::ALL {
        assert_eq!(Transform::from(kem).to_string(), kem.name());
    }
}

#[test]
fn there_is_no_256th_proposal() {
    let ours = vec![default_ike().remove(0); 300];
    let offered = ike_offer(&ours);
    assert_eq!(offered.len(), 255);
    assert!(offered.iter().map(|proposal| proposal.number).eq(1..=255));
}
