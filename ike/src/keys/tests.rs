//! Keys and AUTH values of live handshakes with strongSwan, whose own log agrees with them.

use serde_json::Value;

use super::*;
use crate::algorithm::{Aead, Cbc, Cipher, Group, Integrity, Kem};
use crate::tests::{hex, vectors};

fn handshakes() -> Vec<Value> {
    let handshakes = vectors(include_str!("../../tests/vectors/ike-key-derivation.json"));
    assert_eq!(handshakes.len(), 2);
    handshakes
}

const AES_256_GCM: Cipher = Cipher::Aead(Aead::Aes256Gcm16);

fn suite(case: &Value) -> IkeSuite {
    let group = case["group"].as_u64().unwrap().try_into().unwrap();
    IkeSuite {
        cipher: AES_256_GCM,
        prf: Prf::HmacSha256,
        group: Group::from_transform_id(group).unwrap(),
        additional: None,
    }
}

fn secret(field: &Value) -> Secret {
    Secret::new(hex(field))
}

fn spi(field: &Value) -> IkeSpi {
    IkeSpi(u64::from_be_bytes(hex(field).try_into().unwrap()))
}

fn keys(case: &Value) -> IkeKeys {
    let (ni, nr) = (hex(&case["ni"]), hex(&case["nr"]));
    let g_ir = secret(&case["g_ir"]);
    IkeKeys::derive(
        suite(case),
        &g_ir,
        &ni,
        &nr,
        spi(&case["spi_i"]),
        spi(&case["spi_r"]),
    )
}

/// D17, RFC 7296 §2.14, RFC 5282 §7.1.
#[test]
fn keys_of_the_ike_sa() {
    for case in handshakes() {
        let ours = keys(&case);
        let theirs = &case["keys"];
        assert_eq!(ours.sk_d, secret(&theirs["d"]));
        assert_eq!(ours.sk_ei, secret(&theirs["ei"]));
        assert_eq!(ours.sk_er, secret(&theirs["er"]));
        assert_eq!(ours.sk_pi, secret(&theirs["pi"]));
        assert_eq!(ours.sk_pr, secret(&theirs["pr"]));
    }
}

/// D18, RFC 7296 §2.15, both directions.
#[test]
fn auth_values() {
    for case in handshakes() {
        let keys = keys(&case);
        let psk = Secret::new(case["psk"].as_str().unwrap().as_bytes().to_vec());
        for (message, nonce, sk_p, id, auth) in [
            ("sa_init_request", "nr", &keys.sk_pi, "id_i", "auth_i"),
            ("sa_init_response", "ni", &keys.sk_pr, "id_r", "auth_r"),
        ] {
            let [message, nonce, id] = [message, nonce, id].map(|field| hex(&case[field]));
            let value = |psk, message: &[u8], nonce: &[u8], id: &[u8]| {
                auth_value(Prf::HmacSha256, psk, message, nonce, sk_p, id, &[])
            };
            let auth = secret(&case[auth]);
            assert_eq!(value(&psk, &message, &nonce, &id), auth);

            let wrong_psk = Secret::new(b"lab-psk-0123456789abcdeg".to_vec());
            assert_ne!(value(&wrong_psk, &message, &nonce, &id), auth);
            assert_ne!(value(&psk, &message[1..], &nonce, &id), auth);
            assert_ne!(value(&psk, &message, &nonce[1..], &id), auth);
            assert_ne!(
                value(&psk, &message, &nonce, &id[4..]),
                auth,
                "ID type left out"
            );
        }
    }
}

/// SECURITY lesson 10: AUTH has exactly the PRF's length.
#[test]
fn a_prefix_of_an_auth_value_is_not_equal_to_it() {
    let auth = auth_value(
        Prf::HmacSha256,
        &Secret::new(vec![1]),
        &[2],
        &[3],
        &Secret::new(vec![4]),
        &[5],
        &[],
    );
    assert_eq!(auth.expose().len(), 32);
    for octets in 0..32 {
        assert_ne!(auth, Secret::new(auth.expose()[..octets].to_vec()));
    }
    assert_ne!(auth, Secret::new([auth.expose(), &[0]].concat()));
}

/// D22, RFC 7296 §2.17.
#[test]
fn keys_of_the_first_child() {
    for case in handshakes() {
        let suite = EspSuite {
            cipher: AES_256_GCM,
            esn: false,
        };
        let sk_d = secret(&case["keys"]["d"]);
        let (ni, nr) = (hex(&case["ni"]), hex(&case["nr"]));
        let keymat = child_keymat(suite, Prf::HmacSha256, &sk_d, (None, None), &ni, &nr);
        assert_eq!(
            keymat,
            (
                secret(&case["child"]["i_to_r"]),
                secret(&case["child"]["r_to_i"])
            )
        );
    }
}

/// RFC 7296 §2.17: a fresh g^ir comes before the nonces.
#[test]
fn a_fresh_key_exchange_comes_first_in_the_seed() {
    let suite = EspSuite {
        cipher: Cipher::Aead(Aead::Aes128Gcm16),
        esn: true,
    };
    let (sk_d, g_ir) = (Secret::new(vec![1; 48]), Secret::new(vec![2; 32]));
    let keymat = child_keymat(
        suite,
        Prf::HmacSha384,
        &sk_d,
        (Some(&g_ir), None),
        &[3; 32],
        &[4; 32],
    );
    let seed = [[2; 32], [3; 32], [4; 32]].concat();
    let [from_initiator, from_responder] = Prf::HmacSha384.expand(&[1; 48], &[&seed], [20, 20]);
    assert_eq!(keymat, (from_initiator, from_responder));
}

/// D17, RFC 7296 §2.14: SK_d, SK_ai, SK_ar, SK_ei, SK_er, SK_pi, SK_pr in this order, each as long as
/// the tables say; an AEAD's SK_a is empty (RFC 5282 §7.1).
#[test]
fn order_and_sizes_of_every_suite() {
    for cipher in Cipher::all() {
        for &prf in Prf::ALL {
            let suite = IkeSuite {
                cipher,
                prf,
                group: Group::Curve25519,
                additional: None,
            };
            let (i, r) = (IkeSpi(1), IkeSpi(2));
            let g_ir = Secret::new(vec![7; 32]);
            let keys = IkeKeys::derive(suite, &g_ir, &[8; 32], &[9; 32], i, r);
            let in_order = in_order(&keys);
            let (p, a, e) = (
                prf.octets(),
                cipher.integrity_key_octets(),
                cipher.encryption_key_octets(),
            );
            assert_eq!(in_order.map(<[u8]>::len), [p, a, a, e, e, p, p]);

            let skeyseed = prf.compute(&[[8; 32], [9; 32]].concat(), &[&[7; 32]]);
            let seed = [
                &[8; 32][..],
                &[9; 32],
                &1u64.to_be_bytes(),
                &2u64.to_be_bytes(),
            ];
            let [stream] = prf.expand(skeyseed.expose(), &seed, [3 * p + 2 * a + 2 * e]);
            assert_eq!(in_order.concat(), stream.expose());

            let ours = Secret::concat(&keys.sk_ei, &keys.sk_ai);
            let theirs = Secret::concat(&keys.sk_er, &keys.sk_ar);
            let both = (ours, theirs);
            assert_eq!(keys.directions(true), both);
            assert_eq!(keys.directions(false), (both.1, both.0));
        }
    }
}

/// RFC 7296 §2.17: per direction the encryption key, then the integrity key.
#[test]
fn keys_of_a_child_with_an_integrity_algorithm() {
    let suite = EspSuite {
        cipher: Cipher::CbcHmac(Cbc::Aes128, Integrity::HmacSha256),
        esn: true,
    };
    let sk_d = Secret::new(vec![1; 32]);
    let keymat = child_keymat(
        suite,
        Prf::HmacSha256,
        &sk_d,
        (None, None),
        &[3; 32],
        &[4; 32],
    );
    let seed = [[3; 32], [4; 32]].concat();
    let [whole] = Prf::HmacSha256.expand(&[1; 32], &[&seed], [2 * (16 + 32)]);
    assert_eq!(Secret::concat(&keymat.0, &keymat.1), whole);
    assert_eq!(keymat.0.expose().len(), 48);
}

/// The suite of the tests below, whose PRF is computed with aws-lc-rs alone.
const HYBRID: IkeSuite = IkeSuite {
    cipher: AES_256_GCM,
    prf: Prf::HmacSha384,
    group: Group::Curve25519,
    additional: Some(Kem::MlKem768),
};

/// prf of RFC 7296 §2.13, once more.
fn hmac_sha384(key: &[u8], data: &[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA384, key);
    aws_lc_rs::hmac::sign(&key, data).as_ref().to_vec()
}

/// prf+ of RFC 7296 §2.13, once more.
fn prf_plus(key: &[u8], seed: &[u8], octets: usize) -> Vec<u8> {
    let (mut block, mut stream) = (Vec::new(), Vec::new());
    for number in 1_u8.. {
        block = hmac_sha384(key, &[&block[..], seed, &[number]].concat());
        stream.extend_from_slice(&block);
        if stream.len() >= octets {
            break;
        }
    }
    stream.truncate(octets);
    stream
}

/// As prf+ gives them (RFC 7296 §2.14).
fn in_order(keys: &IkeKeys) -> [&[u8]; 7] {
    [
        &keys.sk_d,
        &keys.sk_ai,
        &keys.sk_ar,
        &keys.sk_ei,
        &keys.sk_er,
        &keys.sk_pi,
        &keys.sk_pr,
    ]
    .map(Secret::expose)
}

const OCTETS: usize = 3 * 48 + 2 * 36;

/// D23, RFC 9370 §2.2.2: SKEYSEED(1) = prf(SK_d(0), SK(1) | Ni | Nr), and all keys of it anew.
#[test]
fn an_additional_key_exchange_renews_every_key() {
    let (ni, nr) = (&[8; 32][..], &[9; 32][..]);
    let spis = (IkeSpi(1), IkeSpi(2));
    let spi_octets = [1_u64.to_be_bytes(), 2_u64.to_be_bytes()].concat();
    let g_ir = Secret::new(vec![7; 32]);
    let first = IkeKeys::derive(HYBRID, &g_ir, ni, nr, spis.0, spis.1);
    let second = first.update(HYBRID, &Secret::new(vec![6; 32]), (ni, nr), spis);

    let seed = [ni, nr, &spi_octets].concat();
    let skeyseed_0 = hmac_sha384(&[ni, nr].concat(), &[7; 32]);
    let keys_0 = prf_plus(&skeyseed_0, &seed, OCTETS);
    assert_eq!(in_order(&first).concat(), keys_0);
    let skeyseed_1 = hmac_sha384(&keys_0[..48], &[&[6; 32], ni, nr].concat());
    assert_eq!(
        in_order(&second).concat(),
        prf_plus(&skeyseed_1, &seed, OCTETS)
    );
}

/// RFC 9370 §2.2.4: SKEYSEED = prf(SK_d, SK(0) | Ni | Nr | SK(1)).
#[test]
fn a_rekey_mixes_both_secrets_around_the_nonces() {
    let (ni, nr) = (&[8; 32][..], &[9; 32][..]);
    let spis = (IkeSpi(3), IkeSpi(4));
    let (sk_d, sk_0, sk_1) = ([5; 48], [7; 32], [6; 32]);
    let secrets = [&sk_d[..], &sk_0, &sk_1].map(|octets| Secret::new(octets.to_vec()));
    let [old, first, second] = &secrets;
    let shared = (first, Some(second));
    let keys = IkeKeys::derive_from((Prf::HmacSha384, old), HYBRID, shared, (ni, nr), spis);

    let skeyseed = hmac_sha384(&sk_d, &[&sk_0, ni, nr, &sk_1].concat());
    let spi_octets = [3_u64.to_be_bytes(), 4_u64.to_be_bytes()].concat();
    let seed = [ni, nr, &spi_octets].concat();
    assert_eq!(in_order(&keys).concat(), prf_plus(&skeyseed, &seed, OCTETS));
}

/// RFC 9370 §2.2.4: KEYMAT = prf+(SK_d, SK(0) | Ni | Nr | SK(1)).
#[test]
fn a_pair_mixes_both_secrets_around_the_nonces() {
    let suite = EspSuite {
        cipher: AES_256_GCM,
        esn: true,
    };
    let secret = |octet| Secret::new(vec![octet; 32]);
    let (sk_d, g_ir, additional) = (Secret::new(vec![5; 48]), secret(7), secret(6));
    let shared = (Some(&g_ir), Some(&additional));
    let keymat = child_keymat(suite, Prf::HmacSha384, &sk_d, shared, &[8; 32], &[9; 32]);
    let seed = [[7; 32], [8; 32], [9; 32], [6; 32]].concat();
    let both = Secret::concat(&keymat.0, &keymat.1);
    assert_eq!(both.expose(), prf_plus(&[5; 48], &seed, 2 * 36));
}

/// RFC 8784 §3: SK_d = prf+(PPK, SK_d'), and the same of SK_pi and SK_pr; nothing else changes.
#[test]
fn a_ppk_goes_into_three_keys() {
    let g_ir = Secret::new(vec![7; 32]);
    let spis = (IkeSpi(1), IkeSpi(2));
    let derive = || IkeKeys::derive(HYBRID, &g_ir, &[8; 32], &[9; 32], spis.0, spis.1);
    let (plain, mut keys) = (derive(), derive());
    let ppk = Secret::new(b"a key that is thirty-two octets!".to_vec());
    let before = keys.replace_roots(keys.mix(Prf::HmacSha384, &ppk));
    for (mixed, plain) in [
        (&keys.sk_d, &plain.sk_d),
        (&keys.sk_pi, &plain.sk_pi),
        (&keys.sk_pr, &plain.sk_pr),
    ] {
        assert_eq!(mixed.expose(), prf_plus(ppk.expose(), plain.expose(), 48));
    }
    assert_eq!(keys.directions(true), plain.directions(true));
    keys.replace_roots(before);
    assert_eq!(in_order(&keys).concat(), in_order(&plain).concat());
}
