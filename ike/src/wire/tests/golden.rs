//! Messages of strongSwan 5.9.8, and SK payloads that it accepts.

use serde_json::Value;

use super::*;
use crate::algorithm::{Aead, Cbc, Cipher, Integrity};
use crate::crypto::cipher::{OpeningCipher, SealingCipher};
use crate::identity::Identity;
use crate::secret::Secret;
use crate::tests::{hex, vectors};

const HANDSHAKES: &str = include_str!("../../../tests/vectors/ike-key-derivation.json");
const ENCRYPTED: &str = include_str!("../../../tests/vectors/ike-sk-skf.json");

fn secret(field: &Value) -> Secret {
    Secret::new(hex(field))
}

fn display(header: &Header, payloads: &[Payload]) -> String {
    display::Message { header, payloads }.to_string()
}

#[test]
fn ike_sa_init_is_encoded_as_it_was() {
    for case in vectors(HANDSHAKES) {
        for field in ["sa_init_request", "sa_init_response"] {
            let octets = hex(&case[field]);
            let datagram = Datagram::parse(&octets).unwrap();
            assert!(!datagram.is_encrypted());
            assert_eq!(
                datagram.header.initiator.to_string(),
                case["spi_i"].as_str().unwrap()
            );
            let payloads = datagram.clear_payloads().unwrap();
            assert_eq!(encode(&datagram.header, &payloads), octets, "{field}");
        }
    }
}

#[test]
fn ike_sa_init_reads_well() {
    let case = &vectors(HANDSHAKES)[1];
    let expected = [
        "IKE_SA_INIT request 0: SA(1: AES_GCM_16-256 PRF_HMAC_SHA2_256 CURVE_25519) KE(31, 32) \
         No(32) N(NAT_DETECTION_SOURCE_IP, 20) N(NAT_DETECTION_DESTINATION_IP, 20) \
         N(IKEV2_FRAGMENTATION_SUPPORTED)",
        "IKE_SA_INIT response 0: SA(1: AES_GCM_16-256 PRF_HMAC_SHA2_256 CURVE_25519) KE(31, 32) \
         No(32) N(NAT_DETECTION_SOURCE_IP, 20) N(NAT_DETECTION_DESTINATION_IP, 20) \
         N(IKEV2_FRAGMENTATION_SUPPORTED) N(CHILDLESS_IKEV2_SUPPORTED) N(MULTIPLE_AUTH_SUPPORTED)",
    ];
    for (field, expected) in ["sa_init_request", "sa_init_response"]
        .into_iter()
        .zip(expected)
    {
        let octets = hex(&case[field]);
        let datagram = Datagram::parse(&octets).unwrap();
        assert_eq!(
            display(&datagram.header, &datagram.clear_payloads().unwrap()),
            expected
        );
    }
}

/// Also D18: the identity's octets are the ones that AUTH signs.
#[test]
fn the_ike_auth_response_is_opened_and_sealed_again() {
    for case in vectors(HANDSHAKES) {
        let octets = hex(&case["auth_response"]);
        let datagram = Datagram::parse(&octets).unwrap();
        let key = secret(&case["keys"]["er"]);
        let opening = OpeningCipher::new(Cipher::Aead(Aead::Aes256Gcm16), &key);
        let payloads = datagram.open(&opening).unwrap();

        let [Payload::IdResponder(id), Payload::Authentication(auth), ..] = payloads.as_slice()
        else {
            panic!("{payloads:?}");
        };
        assert_eq!(id.body, hex(&case["id_r"]));
        assert_eq!(
            *id,
            Identification::new(Identity::Address([192, 0, 2, 2].into()))
        );
        assert_eq!(auth.method, AuthMethod::SHARED_KEY);
        assert_eq!(auth.data, hex(&case["auth_r"]));

        let iv = u64::from_be_bytes(octets[32..40].try_into().unwrap());
        let mut sealing =
            SealingCipher::new(Cipher::Aead(Aead::Aes256Gcm16), &key).with_next_iv(iv);
        assert_eq!(seal(&datagram.header, &payloads, &mut sealing), octets);
    }
}

#[test]
fn the_ike_auth_response_reads_well() {
    let case = &vectors(HANDSHAKES)[0];
    let octets = hex(&case["auth_response"]);
    let datagram = Datagram::parse(&octets).unwrap();
    let opening = OpeningCipher::new(
        Cipher::Aead(Aead::Aes256Gcm16),
        &secret(&case["keys"]["er"]),
    );
    let expected = "IKE_AUTH response 1: IDr(192.0.2.2) AUTH(shared key, 32) \
                    N(USE_TRANSPORT_MODE) SA(1: ESP c8e19318 AES_GCM_16-256 NO_EXT_SEQ) \
                    TSi(192.0.2.1[47]) TSr(192.0.2.2[47])";
    assert_eq!(
        display(&datagram.header, &datagram.open(&opening).unwrap()),
        expected
    );
}

/// The cipher of a case and its key in one direction, `i` or `r`.
fn sealed_with(case: &Value, sender: &str) -> (Cipher, Secret) {
    let key = |kind: &str| secret(&case["keys"][format!("{kind}{sender}")]);
    match case["cipher"].as_str() {
        Some("gcm") => (Cipher::Aead(Aead::Aes256Gcm16), key("e")),
        Some("cbc") => {
            let cipher = Cipher::CbcHmac(Cbc::Aes256, Integrity::HmacSha256);
            (cipher, Secret::concat(&key("e"), &key("a")))
        }
        other => panic!("{other:?}"),
    }
}

/// D20, RFC 5282 §5.1, RFC 7296 §3.14.
#[test]
fn sk() {
    let cases = vectors(ENCRYPTED);
    assert_eq!(cases.len(), 2);
    for case in &cases {
        let octets = hex(&case["sk_message"]);
        let (cipher, key) = sealed_with(case, "i");
        let opening = OpeningCipher::new(cipher, &key);
        let datagram = Datagram::parse(&octets).unwrap();
        assert!(datagram.is_encrypted());
        let payloads = datagram.open(&opening).unwrap();
        assert_eq!(payload::write(&payloads), hex(&case["inner"]));

        // As many octets, whatever the IV is; with a counter's, all of them are known.
        let iv = u64::from_be_bytes(octets[32..40].try_into().unwrap());
        let mut sealing = SealingCipher::new(cipher, &key).with_next_iv(iv);
        let again = seal(&datagram.header, &payloads, &mut sealing);
        assert_eq!(again.len(), octets.len());
        assert_eq!(
            Datagram::parse(&again).unwrap().open(&opening),
            Ok(payloads)
        );
        assert_eq!(again == octets, case["cipher"] == "gcm");

        let (cipher, other) = sealed_with(case, "r");
        let other_way = OpeningCipher::new(cipher, &other);
        assert_eq!(datagram.open(&other_way), Err(OpenError::Icv));
    }
}

/// D24, RFC 7383 §2.5: SKF covers its numbers, and only the first fragment names the first payload.
#[test]
fn skf() {
    for case in vectors(ENCRYPTED) {
        let (cipher, key) = sealed_with(&case, "i");
        let opening = OpeningCipher::new(cipher, &key);
        let messages = case["skf_messages"].as_array().unwrap();
        let mut inner = Vec::new();
        for (octets, number) in messages.iter().map(hex).zip(1..) {
            let datagram = Datagram::parse(&octets).unwrap();
            assert_eq!(datagram.place(), Place::new(number, 2));
            assert_eq!(datagram.open(&opening), Err(OpenError::NotEncrypted));
            let fragment = datagram.open_fragment(&opening).unwrap();
            assert_eq!(Some(fragment.place), datagram.place());
            let first = if number == 1 {
                PayloadType::ID_INITIATOR
            } else {
                PayloadType::NONE
            };
            assert_eq!(fragment.first, first);
            inner.extend(fragment.octets);
            for bit in 28 * 8..octets.len() * 8 {
                let mut forged = octets.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                let opened = Datagram::parse(&forged).unwrap().open_fragment(&opening);
                assert!(opened.is_err(), "bit {bit} of fragment {number}");
            }
        }
        assert_eq!(inner, hex(&case["inner"]));
        assert!(parse_inner(PayloadType::ID_INITIATOR, &inner).is_ok());
    }
}

/// RFC 7634 appendix B, with the SK payload's body as it stands there.
#[test]
fn sk_with_chacha20_poly1305() {
    let cases = vectors(include_str!("../../../tests/vectors/chacha20poly1305.json"));
    let case = cases.iter().find(|case| case["what"] != "ESP").unwrap();
    let key = Secret::concat(&secret(&case["key"]), &secret(&case["salt"]));
    let cipher = Cipher::Aead(Aead::ChaCha20Poly1305);
    let [associated, plaintext, sealed, iv] =
        ["aad", "plaintext_with_padding", "ciphertext_and_icv", "iv"]
            .map(|field| hex(&case[field]));
    let iv = u64::from_be_bytes(iv.try_into().unwrap());
    let mut message = associated.clone();
    SealingCipher::new(cipher, &key)
        .with_next_iv(iv)
        .seal(&mut message, plaintext.clone());
    let body = message.split_off(associated.len());
    assert_eq!(body, [&iv.to_be_bytes()[..], &sealed].concat());
    let opened = OpeningCipher::new(cipher, &key).open(&associated, &body);
    assert_eq!(opened, Ok(plaintext));
}

/// RFC 7383 §2.5: as the vector's author divides, octet for octet. Its IVs are no counter's.
#[test]
fn messages_are_divided_as_in_the_vector() {
    let case = &vectors(ENCRYPTED)[0];
    let key = secret(&case["keys"]["ei"]);
    let opening = OpeningCipher::new(Cipher::Aead(Aead::Aes256Gcm16), &key);
    let whole = hex(&case["sk_message"]);
    let whole = Datagram::parse(&whole).unwrap();
    let payloads = whole.open(&opening).unwrap();
    let expected: Vec<_> = case["skf_messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(hex)
        .collect();

    let mut sealing = SealingCipher::new(Cipher::Aead(Aead::Aes256Gcm16), &key);
    let fragments = seal_within(&whole.header, &payloads, expected[0].len(), &mut sealing);
    assert_eq!(fragments.len(), expected.len());
    for (fragment, expected) in fragments.iter().zip(&expected) {
        // Headers and numbers, then the plaintext.
        assert_eq!(fragment[..36], expected[..36]);
        let open = |octets| Datagram::parse(octets).unwrap().open_fragment(&opening);
        assert_eq!(open(fragment), open(expected));
    }

    let mut sealing = SealingCipher::new(Cipher::Aead(Aead::Aes256Gcm16), &key);
    let one = seal_within(&whole.header, &payloads, whole.octets().len(), &mut sealing);
    let [one] = one.as_slice() else {
        panic!("divided without need");
    };
    assert_eq!(Datagram::parse(one).unwrap().open(&opening), Ok(payloads));
}

#[test]
fn deletes_notifies_and_ranges_read_well() {
    let selector = |start: [u8; 4], end: [u8; 4], ports: (u16, u16)| TrafficSelector {
        ip_protocol: 6,
        start_port: ports.0,
        end_port: ports.1,
        start: start.into(),
        end: end.into(),
    };
    let rekey = Notify {
        protocol: ProtocolId::ESP,
        spi: vec![0xc0, 0, 0, 1],
        ..Notify::status(NotifyType::REKEY_SA)
    };
    let spoilt = Transform {
        unknown_attribute: true,
        ..Transform::with_key_bits(TransformType::ENCR, 99, 128)
    };
    let proposal = Proposal {
        number: 2,
        protocol: ProtocolId::IKE,
        spi: vec![],
        transforms: vec![spoilt, Transform::new(TransformType(6), 36)],
    };
    let cases = [
        (Payload::Delete(Delete::Ike), "D(IKE)"),
        (
            Payload::Delete(Delete::Esp(vec![EspSpi(0xc000_0001), EspSpi(1)])),
            "D(ESP c0000001 00000001)",
        ),
        (Payload::Notify(rekey), "N(REKEY_SA, ESP c0000001)"),
        (
            Payload::Notify(Notify::status(NotifyType(40_000))),
            "N(notify type 40000)",
        ),
        (
            Payload::SecurityAssociation(vec![proposal]),
            "SA(2: ENCR 99-128? KE1_ML_KEM_768)",
        ),
        (Payload::VendorId(vec![1; 20]), "V(20)"),
        (
            Payload::TsInitiator(vec![
                selector([10, 0, 0, 0], [10, 0, 0, 255], (80, 81)),
                selector([10, 1, 0, 1], [10, 1, 0, 1], (0, 65_535)),
            ]),
            "TSi(10.0.0.0-10.0.0.255[6/80-81], 10.1.0.1[6])",
        ),
    ];
    for (payload, expected) in cases {
        assert_eq!(payload.to_string(), expected);
    }
}
