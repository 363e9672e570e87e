//! Key encapsulation against another implementation's numbers, and against bad public values.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::tests::{Fixed, hex, vectors};

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// FIPS 203 §7: the key pair of a seed, and the secret inside a ciphertext.
#[test]
fn ml_kem_768_vectors() {
    let vectors = vectors(include_str!("../../../tests/vectors/ml-kem-768.json"));
    assert_eq!(vectors.len(), 1);
    for case in vectors {
        let key = Kem::MlKem768.generate(&mut Fixed(hex(&case["seed_d_z"])));
        assert_eq!(key.public(), hex(&case["ek"]));
        let secret = key.decapsulate(&hex(&case["ct"])).unwrap();
        assert_eq!(secret.expose(), hex(&case["shared"]));
    }
}

#[test]
fn both_ends_have_the_same_secret_and_lengths_are_the_tables() {
    for &kem in Kem::ALL {
        let key = kem.generate(&mut rng(1));
        assert_eq!(key.kem(), kem);
        assert_eq!(key.public().len(), kem.public_octets());
        let answer = kem.encapsulate(&mut rng(2), key.public()).unwrap();
        assert_eq!(answer.ciphertext.len(), kem.ciphertext_octets());
        assert_eq!(answer.secret.expose().len(), 32);
        assert_eq!(key.decapsulate(&answer.ciphertext).unwrap(), answer.secret);
    }
}

/// Everything comes from the randomness that is passed in.
#[test]
fn the_same_seed_gives_the_same_octets() {
    for &kem in Kem::ALL {
        let run = |seed| {
            let mut rng = rng(seed);
            let key = kem.generate(&mut rng);
            let answer = kem.encapsulate(&mut rng, key.public()).unwrap();
            (key.public().to_vec(), answer.ciphertext)
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}

/// D11, draft-ietf-ipsecme-ikev2-mlkem §2.4: the checks of FIPS 203 §7.2 and §7.3.
#[test]
fn unusable_public_values_are_refused() {
    let kem = Kem::MlKem768;
    let good = kem.generate(&mut rng(1)).public().to_vec();
    for actual in [0, 1, good.len() - 1, good.len() + 1] {
        let public = vec![0; actual];
        let error = KemError::Length { kem, actual };
        assert_eq!(kem.encapsulate(&mut rng(2), &public).unwrap_err(), error);
    }
    for actual in [
        0,
        kem.ciphertext_octets() - 1,
        kem.ciphertext_octets() + 1,
        good.len(),
    ] {
        let refused = kem.generate(&mut rng(1)).decapsulate(&vec![0; actual]);
        assert_eq!(refused, Err(KemError::Length { kem, actual }));
    }
    // The first coefficient is 4095, more than q.
    let mut unreduced = good;
    unreduced.splice(0..2, [0xff, 0xff]);
    let refused = kem.encapsulate(&mut rng(2), &unreduced).unwrap_err();
    assert_eq!(refused, KemError::Key(kem));
}

/// FIPS 203 §6.3: implicit rejection.
#[test]
fn a_forged_ciphertext_leads_to_a_secret_of_nobody_elses() {
    let kem = Kem::MlKem768;
    let answer = kem
        .encapsulate(&mut rng(2), kem.generate(&mut rng(1)).public())
        .unwrap();
    let mut forged = answer.ciphertext.clone();
    forged[0] ^= 1;
    let secret = kem.generate(&mut rng(1)).decapsulate(&forged).unwrap();
    assert_ne!(secret, answer.secret);
}
