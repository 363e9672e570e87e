//! Key exchange against the RFCs' numbers, and against bad public values.

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

use super::*;
use crate::tests::{Fixed, hex, vectors};

fn key(group: Group) -> Box<dyn KeyExchange> {
    group.generate(&mut StdRng::seed_from_u64(1))
}

/// RFC 7748 §5.2 and small-order points (D11; RFC 8031 §5).
#[test]
fn curve25519_vectors() {
    let vectors = vectors(include_str!("../../../tests/vectors/dh-x25519.json"));
    assert_eq!(vectors.len(), 10);
    for case in vectors {
        let peer = hex(&case["u"]);
        if case["shared"] == Value::Null {
            let refused = key(Group::Curve25519).agree(&peer);
            assert_eq!(
                refused,
                Err(KexError::SmallOrder(Group::Curve25519)),
                "{case}"
            );
        } else {
            let ours = Group::Curve25519.generate(&mut Fixed(hex(&case["scalar"])));
            assert_eq!(
                ours.agree(&peer).unwrap().expose(),
                hex(&case["shared"]),
                "{case}"
            );
        }
    }
}

#[test]
fn both_ends_agree() {
    for &group in Group::ALL {
        let (a, b) = (group.generate(&mut StdRng::seed_from_u64(1)), key(group));
        let (to_a, to_b) = (b.public().to_vec(), a.public().to_vec());
        assert_eq!(to_a.len(), group.public_octets());
        assert_eq!(a.group(), group);
        assert_eq!(a.agree(&to_a), b.agree(&to_b), "{group}");
    }
}

/// RFC 7748 §6.1, RFC 5903 §7: g^ir is one coordinate alone. With the base point as the peer's
/// public value, the shared point is our own public value.
#[test]
fn shared_secret_with_the_base_point_is_our_public_value() {
    let ecp256 = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                  4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    let ecp384 = "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b98\
                  59f741e082542a385502f25dbf55296c3a545e3872760ab7\
                  3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147c\
                  e9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f";
    let curve25519 = format!("09{}", "00".repeat(31));
    let ecp521 = "00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe7\
                  5928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66\
                  011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef4\
                  2640c550b9013fad0761353c7086a272c24088be94769fd16650";
    for (group, base_point, shared_octets) in [
        (Group::Ecp521, ecp521, 66),
        (Group::Ecp256, ecp256, 32),
        (Group::Ecp384, ecp384, 48),
        (Group::Curve25519, &curve25519, 32),
    ] {
        let ours = key(group);
        let public = ours.public().to_vec();
        let shared = ours.agree(&hex(&base_point.into())).unwrap();
        assert_eq!(shared.expose(), &public[..shared_octets], "{group}");
    }
}

/// D11, RFC 6989 §2.3, with the points of RFC 5903 §8: those are on the curve, their neighbours
/// and the origin are not.
#[test]
fn ecp_points_are_checked() {
    let vectors = vectors(include_str!("../../../tests/vectors/dh-ecp.json"));
    let mut seen = 0;
    for case in vectors {
        let id = case["ikev2_id"].as_u64().unwrap().try_into().unwrap();
        let Some(group) = Group::from_transform_id(id) else {
            continue;
        };
        seen += 1;
        if group == Group::Ecp521 {
            let shared = |private: &str, public: &str| {
                let ours = group.generate(&mut Fixed(hex(&case[private])));
                ours.agree(&hex(&case[public])).unwrap()
            };
            assert_eq!(shared("i", "ke_r").expose(), hex(&case["shared"]));
            assert_eq!(shared("r", "ke_i").expose(), hex(&case["shared"]));
        }
        for public in ["ke_i", "ke_r"].map(|side| hex(&case[side])) {
            assert!(key(group).agree(&public).is_ok(), "{group}");
            let mut neighbour = public.clone();
            *neighbour.last_mut().unwrap() ^= 1;
            for bad in [neighbour, vec![0; public.len()], vec![0xff; public.len()]] {
                assert_eq!(key(group).agree(&bad), Err(KexError::NotOnCurve(group)));
            }
        }
    }
    assert_eq!(seen, 3);
}

/// SECURITY lesson 2: a public value of another length goes no further.
#[test]
fn public_values_of_a_wrong_length() {
    for &group in Group::ALL {
        let right = group.public_octets();
        for actual in [0, 1, 31, right - 1, right + 1, 2 * right, 65_000] {
            let refused = Err(KexError::Length { group, actual });
            assert_eq!(group.check_public(&vec![9; actual]), refused);
            assert_eq!(
                key(group).agree(&vec![9; actual]),
                refused.map(|()| unreachable!())
            );
        }
        assert_eq!(group.check_public(&vec![9; right]), Ok(()));
    }
}

/// RFC 3526 §3 by two other implementations; one secret begins with a zero octet, which stays
/// (RFC 7296 §2.14).
#[test]
fn modp_2048_vectors() {
    let vectors = vectors(include_str!("../../../tests/vectors/dh-modp2048.json"));
    assert_eq!(vectors.len(), 5);
    let mut leading_zeros = 0;
    for case in vectors {
        let key = |exponent: &str| Group::Modp2048.generate(&mut Fixed(hex(&case[exponent])));
        let (initiator, responder) = (key("x"), key("y"));
        assert_eq!(initiator.public(), hex(&case["ke_i"]));
        assert_eq!(responder.public(), hex(&case["ke_r"]));
        let shared = initiator.agree(responder.public()).unwrap();
        assert_eq!(shared.expose(), hex(&case["shared"]));
        leading_zeros += usize::from(shared.expose()[0] == 0);
    }
    assert_eq!(leading_zeros, 1);
}

/// D11, RFC 6989 §2.1: 1 < y < p - 1.
#[test]
fn modp_public_values_are_checked() {
    for group in [
        Group::Modp1024,
        Group::Modp1536,
        Group::Modp2048,
        Group::Modp3072,
        Group::Modp4096,
    ] {
        let octets = group.public_octets();
        let number = |low: u8| {
            let mut value = vec![0; octets];
            value[octets - 1] = low;
            value
        };
        // All of the primes end in 64 ones, and have no borrow to pass on.
        let prime = modp::tests::prime(group);
        let below_prime = |below: u8| {
            let mut value = prime.clone();
            value[octets - 1] -= below;
            value
        };
        let mut above_prime = prime.clone();
        above_prime[octets - 9] += 1;
        for bad in [
            number(0),
            number(1),
            below_prime(1),
            below_prime(0),
            above_prime,
            vec![0xff; octets],
        ] {
            assert_eq!(key(group).agree(&bad), Err(KexError::OutOfRange(group)));
        }
        let ours = key(group);
        let public = ours.public().to_vec();
        assert_eq!(
            ours.agree(&number(2)).unwrap().expose(),
            public,
            "2 to our exponent"
        );
        assert!(key(group).agree(&below_prime(2)).is_ok());
    }
}
