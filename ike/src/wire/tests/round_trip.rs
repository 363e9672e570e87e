//! What is written is read again, and nothing that is read can make the codec panic.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::algorithm::{Aead, Cipher};
use crate::crypto::cipher::{OpeningCipher, SealingCipher};
use crate::identity::Identity;
use crate::secret::Secret;

fn octets(range: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), range)
}

prop_compose! {
    fn any_header()(
        initiator in any::<u64>(), responder in any::<u64>(), exchange in any::<u8>(),
        from_initiator in any::<bool>(), response in any::<bool>(), message_id in any::<u32>(),
    ) -> Header {
        Header {
            initiator: IkeSpi(initiator),
            responder: IkeSpi(responder),
            exchange: ExchangeType(exchange),
            from_initiator,
            response,
            message_id,
        }
    }
}

prop_compose! {
    fn transform()(
        kind in any::<u8>(), id in any::<u16>(), key_bits in any::<Option<u16>>(),
    ) -> Transform {
        Transform { key_bits, ..Transform::new(TransformType(kind), id) }
    }
}

prop_compose! {
    fn proposal()(
        number in any::<u8>(), protocol in any::<u8>(), spi in octets(0..=8),
        transforms in vec(transform(), 1..6),
    ) -> Proposal {
        Proposal { number, protocol: ProtocolId(protocol), spi, transforms }
    }
}

prop_compose! {
    fn selector()(
        ip_protocol in any::<u8>(), start_port in any::<u16>(), end_port in any::<u16>(),
        (one, other) in prop_oneof![
            any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
            any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
        ],
    ) -> TrafficSelector {
        TrafficSelector { ip_protocol, start_port, end_port, start: one.min(other), end: one.max(other) }
    }
}

fn identification() -> impl Strategy<Value = Identification> {
    let identity = prop_oneof![
        any::<IpAddr>().prop_map(Identity::Address),
        "[a-z]{1,9}(\\.[a-z]{1,9}){0,3}".prop_map(Identity::Fqdn),
        "[a-zé]{1,9}@[a-z]{1,9}".prop_map(Identity::Email),
        octets(1..=64).prop_map(Identity::KeyId),
        octets(1..=64).prop_map(|data| Identity::Other { kind: 9, data }),
    ];
    identity.prop_map(Identification::new)
}

fn notify() -> impl Strategy<Value = Notify> {
    (any::<u8>(), octets(0..=8), any::<u16>(), octets(0..=64)).prop_map(
        |(protocol, spi, kind, data)| Notify {
            protocol: ProtocolId(protocol),
            spi,
            kind: NotifyType(kind),
            data,
        },
    )
}

fn delete() -> impl Strategy<Value = Delete> {
    prop_oneof![
        Just(Delete::Ike),
        vec(any::<u32>().prop_map(EspSpi), 0..5).prop_map(Delete::Esp),
        vec(octets(4..=4), 0..5).prop_map(|spis| Delete::Other {
            protocol: ProtocolId::AH,
            spis
        }),
    ]
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let attribute = (0..0x8000_u16, octets(0..=20))
        .prop_map(|(kind, value)| ConfigurationAttribute { kind, value });
    (any::<u8>(), vec(attribute, 0..5))
        .prop_map(|(kind, attributes)| Configuration { kind, attributes })
}

fn eap() -> impl Strategy<Value = Vec<u8>> {
    octets(4..=64).prop_map(|mut message| {
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        message[2..4].copy_from_slice(&length);
        message
    })
}

fn any_payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        vec(proposal(), 1..4).prop_map(Payload::SecurityAssociation),
        (any::<u16>(), octets(0..=100))
            .prop_map(|(group, data)| Payload::KeyExchange(KeyExchange { group, data })),
        identification().prop_map(Payload::IdInitiator),
        identification().prop_map(Payload::IdResponder),
        (any::<u8>(), octets(0..=64))
            .prop_map(|(encoding, data)| Payload::Certificate(Certificate { encoding, data })),
        (any::<u8>(), octets(0..=64)).prop_map(|(encoding, authorities)| {
            Payload::CertificateRequest(CertificateRequest {
                encoding,
                authorities,
            })
        }),
        (any::<u8>(), octets(0..=64)).prop_map(|(method, data)| {
            Payload::Authentication(Authentication {
                method: AuthMethod(method),
                data,
            })
        }),
        octets(16..=256).prop_map(Payload::Nonce),
        notify().prop_map(Payload::Notify),
        delete().prop_map(Payload::Delete),
        octets(0..=32).prop_map(Payload::VendorId),
        vec(selector(), 1..5).prop_map(Payload::TsInitiator),
        vec(selector(), 1..5).prop_map(Payload::TsResponder),
        configuration().prop_map(Payload::Configuration),
        eap().prop_map(Payload::Eap),
    ]
}

fn ciphers(cipher: Cipher) -> (SealingCipher, OpeningCipher) {
    let key = Secret::new(vec![0x42; cipher.key_material_octets()]);
    (
        SealingCipher::new(cipher, &key),
        OpeningCipher::new(cipher, &key),
    )
}

/// All that may be asked of octets from anywhere.
fn digest(octets: &[u8]) {
    let Ok(datagram) = Datagram::parse(octets) else {
        return;
    };
    let (_, opening) = ciphers(Cipher::Aead(Aead::Aes256Gcm16));
    assert!(!matches!(
        datagram.open(&opening),
        Ok(_) | Err(OpenError::Malformed(_))
    ));
    if let Ok(payloads) = datagram.clear_payloads() {
        let _ = display::Message {
            header: &datagram.header,
            payloads: &payloads,
        }
        .to_string();
        // What was read is written without a complaint, and read again as the same.
        let again = encode(&datagram.header, &payloads);
        let unspoilt = payloads.iter().all(|payload| !is_normalised(payload));
        assert!(!unspoilt || clear(&again) == Ok(payloads));
    }
}

/// Selectors and attributes that we do not know are not written again.
fn is_normalised(payload: &Payload) -> bool {
    match payload {
        Payload::SecurityAssociation(proposals) => proposals
            .iter()
            .flat_map(|p| &p.transforms)
            .any(|t| t.unknown_attribute),
        Payload::TsInitiator(selectors) | Payload::TsResponder(selectors) => selectors.is_empty(),
        _ => false,
    }
}

/// One damage to a message.
#[derive(Debug, Clone)]
enum Damage {
    Change(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => any::<(Index, u8)>().prop_map(|(at, to)| Damage::Change(at, to)),
        1 => any::<(Index, u8)>().prop_map(|(at, octet)| Damage::Insert(at, octet)),
        1 => any::<Index>().prop_map(Damage::Remove),
        1 => any::<Index>().prop_map(Damage::Cut),
    ]
}

impl Damage {
    fn inflict(&self, message: &mut Vec<u8>) {
        let length = message.len();
        match *self {
            _ if length == 0 => {}
            Self::Change(at, to) => message[at.index(length)] = to,
            Self::Insert(at, octet) => message.insert(at.index(length), octet),
            Self::Remove(at) => drop(message.remove(at.index(length))),
            Self::Cut(at) => message.truncate(at.index(length)),
        }
    }
}

proptest! {
    #[test]
    fn messages_in_the_clear(header in any_header(), payloads in vec(any_payload(), 0..8)) {
        let octets = encode(&header, &payloads);
        let datagram = Datagram::parse(&octets).unwrap();
        prop_assert_eq!(datagram.header, header);
        prop_assert!(!datagram.is_encrypted());
        prop_assert_eq!(datagram.clear_payloads(), Ok(payloads));
    }

    #[test]
    fn encrypted_messages(
        header in any_header(),
        payloads in vec(any_payload(), 0..8),
        cipher in prop::sample::select(Cipher::all().collect::<Vec<_>>()),
    ) {
        let (mut sealing, opening) = ciphers(cipher);
        let octets = seal(&header, &payloads, &mut sealing);
        let datagram = Datagram::parse(&octets).unwrap();
        prop_assert_eq!(datagram.header, header);
        prop_assert!(datagram.is_encrypted());
        prop_assert_eq!(datagram.open(&opening), Ok(payloads));
    }

    #[test]
    fn any_octets_after_a_header(first in 33..49_u8, octets in octets(0..=200)) {
        let mut message = encode(&header(), &[]);
        message[16] = first;
        message.extend_from_slice(&octets);
        fix_length(&mut message);
        digest(&message);
        digest(&octets);
    }

    #[test]
    fn any_body_of_any_payload(kind in any::<u8>(), body in octets(0..=200)) {
        digest(&message(&[(PayloadType(kind), 0, &body)]));
    }

    #[test]
    fn damaged_messages(
        payloads in vec(any_payload(), 0..8),
        damages in vec(damage(), 1..4),
    ) {
        let mut octets = encode(&header(), &payloads);
        let mut inside = payload::write(&payloads);
        for damage in &damages {
            damage.inflict(&mut octets);
            damage.inflict(&mut inside);
        }
        if octets.len() >= 28 {
            fix_length(&mut octets);
        }
        digest(&octets);
        // The same behind an ICV that is right.
        let (mut sealing, opening) = ciphers(Cipher::Aead(Aead::Aes256Gcm16));
        let first = payload::first(&payloads);
        inside.push(0);
        let body = vec![0; sealing.sealed_octets(inside.len())];
        let mut sealed = message(&[(PayloadType::ENCRYPTED, 0, &body)]);
        sealed.truncate(32);
        sealed[28] = first.0;
        sealing.seal(&mut sealed, inside);
        let opened = Datagram::parse(&sealed).unwrap().open(&opening);
        prop_assert!(matches!(opened, Ok(_) | Err(OpenError::Malformed(_))));
    }
}
