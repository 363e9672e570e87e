//! Bodies of payloads that break a rule, or barely do not. Names say the rule.

use hex_literal::hex;

use super::*;
use crate::identity::{Identity, MAX_IDENTITY_OCTETS};
use crate::limits;

const SA: PayloadType = PayloadType::SECURITY_ASSOCIATION;

/// Whether a body is read.
type Verdict = Result<(), WireError>;

#[test]
fn each_payload_keeps_its_rules() {
    use PayloadType as P;
    use WireError as E;
    #[rustfmt::skip]
    const CASES: &[(&str, PayloadType, &[u8], Verdict)] = &[
        ("SA without a proposal", P::SECURITY_ASSOCIATION, &[], Err(E::EmptyProposal)),
        ("KE without its group", P::KEY_EXCHANGE, &hex!("001f00"), Err(E::Truncated)),
        ("KE without a value is the group's to judge", P::KEY_EXCHANGE, &hex!("001f0000"), Ok(())),
        ("CERT without encoding", P::CERTIFICATE, &[], Err(E::Truncated)),
        ("CERTREQ without encoding", P::CERTIFICATE_REQUEST, &[], Err(E::Truncated)),
        ("AUTH without reserved", P::AUTHENTICATION, &hex!("020000"), Err(E::Truncated)),
        ("nonce of 15", P::NONCE, &[0; 15], Err(E::Nonce(15))),
        ("nonce of 16", P::NONCE, &[0; 16], Ok(())),
        ("nonce of 256", P::NONCE, &[0; 256], Ok(())),
        ("nonce of 257", P::NONCE, &[0; 257], Err(E::Nonce(257))),
        ("nonce of none", P::NONCE, &[], Err(E::Nonce(0))),
        ("N without type", P::NOTIFY, &hex!("000040"), Err(E::Truncated)),
        ("N with SPI beyond the end", P::NOTIFY, &hex!("03044009 aabbcc"), Err(E::Truncated)),
        ("N with SPI", P::NOTIFY, &hex!("03044009 aabbccdd"), Ok(())),
        ("D of IKE", P::DELETE, &hex!("01000000"), Ok(())),
        ("D of IKE that counts itself", P::DELETE, &hex!("01000001"), Ok(())),
        ("D of IKE with an SPI", P::DELETE, &hex!("01080001 0102030405060708"), Err(E::DeleteSpis)),
        ("D of IKE with octets left", P::DELETE, &hex!("01000000 00"), Err(E::TrailingOctets)),
        ("D of ESP", P::DELETE, &hex!("03040002 00000001 00000002"), Ok(())),
        ("D of ESP, 8-octet SPI", P::DELETE, &hex!("03080001 0102030405060708"), Err(E::DeleteSpis)),
        ("D of ESP, SPI without octets", P::DELETE, &hex!("03000001"), Err(E::DeleteSpis)),
        ("D of ESP, one SPI less", P::DELETE, &hex!("03040002 00000001"), Err(E::Truncated)),
        ("D of ESP, one SPI more", P::DELETE, &hex!("03040000 00000001"), Err(E::TrailingOctets)),
        ("D of AH", P::DELETE, &hex!("02040001 00000001"), Ok(())),
        ("D of AH, many of no octets", P::DELETE, &hex!("0200ffff"), Err(E::TooMany)),
        ("D of AH, SPI of no octets", P::DELETE, &hex!("02000001"), Err(E::DeleteSpis)),
        ("D of AH, none", P::DELETE, &hex!("02000000"), Ok(())),
        ("CP with nothing", P::CONFIGURATION, &hex!("01000000"), Ok(())),
        ("CP with a cut attribute", P::CONFIGURATION, &hex!("01000000 0001"), Err(E::Truncated)),
        ("CP, value too long", P::CONFIGURATION, &hex!("01000000 00010005 c0000201"), Err(E::Truncated)),
        ("EAP without header", P::EAP, &hex!("010100"), Err(E::Eap)),
        ("EAP too long for its length", P::EAP, &hex!("01010004 01"), Err(E::Eap)),
        ("EAP too short for its length", P::EAP, &hex!("01010006 01"), Err(E::Eap)),
        ("EAP", P::EAP, &hex!("01010005 01"), Ok(())),
        ("SK in the clear", P::ENCRYPTED, &hex!("00000000"), Err(E::MisplacedEncrypted)),
    ];
    for (name, kind, body, expected) in CASES {
        assert_eq!(single(*kind, body).map(|_| ()), *expected, "{name}");
    }
}

/// RFC 7296 §3.3: the length of every level is consistent with the ones inside.
#[test]
fn proposals_and_transforms_are_nested_exactly() {
    use WireError as E;
    #[rustfmt::skip]
    const CASES: &[(&str, &[u8], Verdict)] = &[
        ("good", &hex!("0000001401010001 0000000c 01000014 800e0100"), Ok(())),
        ("reserved octets set", &hex!("00ff001401010001 00ff000c 01ff0014 800e0100"), Ok(())),
        ("proposal header cut", &hex!("000000"), Err(E::Truncated)),
        ("proposal length 3", &hex!("00000003"), Err(E::Truncated)),
        ("proposal length 4", &hex!("00000004"), Err(E::Truncated)),
        ("proposal beyond the payload", &hex!("0000001501010001 0000000c 01000014 800e0100"), Err(E::Truncated)),
        ("proposal ends inside its transform", &hex!("0200001301010001 0000000c 01000014 800e0100"), Err(E::Truncated)),
        ("transform beyond the proposal", &hex!("0000001401010001 0000000d 01000014 800e0100"), Err(E::Truncated)),
        ("transform length 3", &hex!("0000001401010001 00000003 01000014 800e0100"), Err(E::Truncated)),
        ("transform without ID", &hex!("0000000e01010001 00000006 0100"), Err(E::Truncated)),
        ("transform ends inside its attribute", &hex!("0000001401010001 0000000a 01000014 800e0100"), Err(E::Truncated)),
        ("octets after the transforms", &hex!("0000001601010001 0000000c 01000014 800e0100 0000"), Err(E::TrailingOctets)),
        ("fewer transforms than counted", &hex!("0000001401010002 0300000c 01000014 800e0100"), Err(E::Truncated)),
        ("no transform", &hex!("0000000801010000"), Err(E::EmptyProposal)),
        ("SPI beyond the proposal", &hex!("0000001401010d01 0000000c 01000014 800e0100"), Err(E::Truncated)),
        ("only proposal says more", &hex!("0200001401010001 0000000c 01000014 800e0100"), Err(E::LastSubstructure)),
        ("only transform says more", &hex!("0000001401010001 0300000c 01000014 800e0100"), Err(E::LastSubstructure)),
        ("more than the last", &hex!("0000001001010001 00000008 05000000 0000001002010001 00000008 05000000"), Err(E::LastSubstructure)),
        ("two proposals", &hex!("0200001001010001 00000008 05000000 0000001002010001 00000008 05000000"), Ok(())),
        ("long attribute beyond the transform", &hex!("0000001401010001 0000000c 01000014 00630001"), Err(E::Truncated)),
    ];
    for (name, body, expected) in CASES {
        assert_eq!(single(SA, body).map(|_| ()), *expected, "{name}");
    }
}

/// D16, RFC 7296 §3.3.6: the transform is spoilt, the message is not.
#[test]
fn an_unknown_attribute_spoils_its_transform_alone() {
    const CASES: &[(&str, &[u8], Option<u16>, bool)] = &[
        ("none", &[], None, false),
        ("Key Length", &hex!("800e0100"), Some(256), false),
        ("unknown short", &hex!("80630001"), None, true),
        ("unknown long", &hex!("00630003 010203"), None, true),
        ("unknown long and empty", &hex!("00630000"), None, true),
        (
            "unknown before Key Length",
            &hex!("80630001 800e0080"),
            Some(128),
            true,
        ),
        (
            "Key Length twice",
            &hex!("800e0080 800e0100"),
            Some(128),
            true,
        ),
        (
            "Key Length of the long form",
            &hex!("000e0002 0100"),
            None,
            true,
        ),
    ];
    for (name, attributes, key_bits, unknown_attribute) in CASES {
        let octets = u8::try_from(8 + attributes.len()).unwrap();
        let first = [&[3, 0, 0, octets, 1, 0, 0, 20], *attributes].concat();
        let second = hex!("00000008 05000000");
        let length = u8::try_from(8 + first.len() + second.len()).unwrap();
        let body = [&[0, 0, 0, length, 1, 3, 0, 2], first.as_slice(), &second].concat();
        let Ok(Payload::SecurityAssociation(proposals)) = single(SA, &body) else {
            panic!("{name}: {:?}", single(SA, &body));
        };
        let spoilt = Transform {
            key_bits: *key_bits,
            unknown_attribute: *unknown_attribute,
            ..Transform::new(TransformType::ENCR, 20)
        };
        let sound = Transform::new(TransformType::ESN, 0);
        assert_eq!(proposals[0].transforms, [spoilt, sound], "{name}");
    }
}

/// D5, RFC 7296 §3.15.1.
#[test]
fn the_reserved_bit_of_a_configuration_attribute_is_ignored() {
    let body = hex!("01ffffff 8001 0004 c0000201");
    let attributes = vec![ConfigurationAttribute {
        kind: 1,
        value: vec![192, 0, 2, 1],
    }];
    let expected = Payload::Configuration(Configuration {
        kind: 1,
        attributes,
    });
    assert_eq!(single(PayloadType::CONFIGURATION, &body), Ok(expected));
}

/// D5, RFC 7296 §3.10.1.
#[test]
fn notify_types_below_16384_are_errors() {
    assert!(NotifyType(16_383).is_error());
    assert!(!NotifyType::INITIAL_CONTACT.is_error());
}

/// D43, RFC 4303 §2.1.
#[test]
fn esp_spis_to_255_are_reserved() {
    assert!(EspSpi(0).is_reserved());
    assert!(EspSpi(255).is_reserved());
    assert!(!EspSpi(256).is_reserved());
}

#[test]
fn identities_are_read_by_their_type() {
    type Read = Result<Identity, WireError>;
    let fqdn = |name: &str| Ok(Identity::Fqdn(name.to_owned()));
    let email = |address: &str| Ok(Identity::Email(address.to_owned()));
    let other = |kind, data: &[u8]| {
        Ok(Identity::Other {
            kind,
            data: data.to_vec(),
        })
    };
    let address = |text: &str| Ok(Identity::Address(text.parse().unwrap()));
    let cases: &[(&str, u8, &[u8], Read)] = &[
        (
            "SECURITY lesson 6: empty",
            2,
            b"",
            Err(WireError::EmptyIdentity),
        ),
        (
            "empty of unknown type",
            99,
            b"",
            Err(WireError::EmptyIdentity),
        ),
        ("IPv4", 1, &[192, 0, 2, 1], address("192.0.2.1")),
        (
            "IPv4 of 3",
            1,
            &[192, 0, 2],
            Err(WireError::IdentityAddress),
        ),
        (
            "IPv4 of 5",
            1,
            &[192, 0, 2, 1, 0],
            Err(WireError::IdentityAddress),
        ),
        (
            "IPv6",
            5,
            &hex!("20010db8000000000000000000000001"),
            address("2001:db8::1"),
        ),
        (
            "IPv6 of 4",
            5,
            &[192, 0, 2, 1],
            Err(WireError::IdentityAddress),
        ),
        ("FQDN", 2, b"gw.example", fqdn("gw.example")),
        (
            "D19: FQDN with a trailing dot",
            2,
            b"gw.example.",
            other(2, b"gw.example."),
        ),
        (
            "D19: FQDN with a trailing NUL",
            2,
            b"gw.example\0",
            other(2, b"gw.example\0"),
        ),
        (
            "D19: FQDN with a NUL inside",
            2,
            b"gw\0.example",
            other(2, b"gw\0.example"),
        ),
        (
            "FQDN that is no UTF-8",
            2,
            &[0xc3, 0x28],
            other(2, &[0xc3, 0x28]),
        ),
        ("e-mail", 3, b"ike@gw.example", email("ike@gw.example")),
        (
            "e-mail with a newline",
            3,
            b"ike@gw\n",
            other(3, b"ike@gw\n"),
        ),
        ("e-mail that is no UTF-8", 3, &[0xff], other(3, &[0xff])),
        ("KEY_ID", 11, &[0, 1], Ok(Identity::KeyId(vec![0, 1]))),
        ("DER_ASN1_DN", 9, &[0x30, 0], other(9, &[0x30, 0])),
    ];
    for (name, kind, data, expected) in cases {
        // The reserved octets are ignored and kept: AUTH covers them (D18).
        let body = [&[*kind, 1, 2, 3], *data].concat();
        let expected = expected.clone().map(|identity| {
            Payload::IdInitiator(Identification {
                identity,
                body: body.clone(),
            })
        });
        assert_eq!(single(PayloadType::ID_INITIATOR, &body), expected, "{name}");
    }
    let header_only = single(PayloadType::ID_RESPONDER, &[2, 0, 0]);
    assert_eq!(header_only, Err(WireError::Truncated));
}

/// SECURITY lesson 16: a selector's length is its family's.
#[test]
fn traffic_selectors_have_the_size_of_their_family() {
    use WireError as E;
    #[rustfmt::skip]
    const CASES: &[(&str, &[u8], Result<usize, WireError>)] = &[
        ("none", &hex!("00000000"), Err(E::NoTrafficSelector)),
        ("reserved set", &hex!("01ffffff 072f0010 0000ffff c0000201 c0000201"), Ok(1)),
        ("IPv4 of 15", &hex!("01000000 072f000f 0000ffff c0000201 c00002"), Err(E::Truncated)),
        ("IPv4 of 17", &hex!("01000000 072f0011 0000ffff c0000201 c0000201 00"), Err(E::TrailingOctets)),
        ("IPv4 of the size of IPv6", &hex!("01000000 072f0028 0000ffff c0000201 c0000201 000000000000000000000000000000000000000000000000"), Err(E::TrailingOctets)),
        ("IPv6 of the size of IPv4", &hex!("01000000 082f0010 0000ffff c0000201 c0000201"), Err(E::Truncated)),
        ("length 0", &hex!("01000000 072f0000 0000ffff c0000201 c0000201"), Err(E::Truncated)),
        ("beyond the payload", &hex!("01000000 072f0011 0000ffff c0000201 c0000201"), Err(E::Truncated)),
        ("fewer than counted", &hex!("02000000 072f0010 0000ffff c0000201 c0000201"), Err(E::Truncated)),
        ("more than counted", &hex!("01000000 072f0010 0000ffff c0000201 c0000201 00"), Err(E::TrailingOctets)),
        ("ends before it starts", &hex!("01000000 072f0010 0000ffff c0000202 c0000201"), Err(E::TrafficSelectorRange)),
        ("OPAQUE ports", &hex!("01000000 072f0010 ffff0000 c0000201 c0000201"), Ok(1)),
        ("unknown type alone", &hex!("01000000 09000008 01020304"), Ok(0)),
        ("unknown type before a known one", &hex!("02000000 09000004 072f0010 0000ffff c0000201 c0000201"), Ok(1)),
    ];
    for (name, body, expected) in CASES {
        let found = single(PayloadType::TS_INITIATOR, body).map(|payload| match payload {
            Payload::TsInitiator(selectors) => selectors.len(),
            other => panic!("{other}"),
        });
        assert_eq!(found, *expected, "{name}");
    }
}

/// Every bound of `limits`: the last that passes and the first that does not.
#[test]
fn every_limit_is_reached() {
    use PayloadType as P;
    use WireError as E;
    let repeated = |head: &[u8], element: &[u8], times: usize| {
        let mut body = head.to_vec();
        (0..times).for_each(|_| body.extend_from_slice(element));
        body
    };
    let octets = |head: &[u8], octets| repeated(head, &[1], octets);
    let counted = |head: &[u8], at: usize, element: &[u8], times: usize| {
        let mut body = repeated(head, element, times);
        body[at] = u8::try_from(times).unwrap();
        body
    };
    let check = |kind, limit: usize, body: &dyn Fn(usize) -> Vec<u8>, error| {
        assert!(single(kind, &body(limit)).is_ok(), "{kind} with {limit}");
        assert_eq!(
            single(kind, &body(limit + 1)),
            Err(error),
            "{kind} with more than {limit}"
        );
    };
    check(
        P::KEY_EXCHANGE,
        limits::KEY_EXCHANGE_OCTETS,
        &|n| octets(&[0, 31, 0, 0], n),
        E::TooLong,
    );
    check(
        P::AUTHENTICATION,
        limits::AUTHENTICATION_OCTETS,
        &|n| octets(&[2, 0, 0, 0], n),
        E::TooLong,
    );
    check(
        P::NOTIFY,
        limits::NOTIFY_OCTETS,
        &|n| octets(&[0, 0, 0x40, 0], n),
        E::TooLong,
    );
    check(
        P::ID_INITIATOR,
        MAX_IDENTITY_OCTETS,
        &|n| octets(&[11, 0, 0, 0], n),
        E::TooLong,
    );
    let spis = |n: usize| {
        let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
        repeated(&[3, 4, high, low], &[0, 0, 1, 0], n)
    };
    check(P::DELETE, limits::DELETE_SPIS, &spis, E::TooMany);
    let selector = hex!("072f0010 0000ffff c0000201 c0000201");
    check(
        P::TS_RESPONDER,
        limits::TRAFFIC_SELECTORS,
        &|n| counted(&[0; 4], 0, &selector, n),
        E::TooMany,
    );
    let attributes = |n| repeated(&[1, 0, 0, 0], &[0, 1, 0, 0], n);
    check(
        P::CONFIGURATION,
        limits::CONFIGURATION_ATTRIBUTES,
        &attributes,
        E::TooMany,
    );
    let proposals = |n: usize| {
        let mut body = repeated(&[], &hex!("0200001001010001 00000008 05000000"), n);
        body[(n - 1) * 16] = 0;
        body
    };
    check(SA, limits::PROPOSALS, &proposals, E::TooMany);
    let transforms = |n: usize| {
        let mut body = counted(&hex!("0000000001010000"), 7, &hex!("03000008 05000000"), n);
        body[n * 8] = 0;
        let [high, low] = u16::try_from(body.len()).unwrap().to_be_bytes();
        body[2..4].copy_from_slice(&[high, low]);
        body
    };
    check(SA, limits::TRANSFORMS, &transforms, E::TooMany);
}
