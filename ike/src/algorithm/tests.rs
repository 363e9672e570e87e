//! The tables against the implementations, and lookups.

use super::*;
use crate::secret::Secret;

#[test]
fn tables_agree_with_the_implementations() {
    for &aead in Aead::ALL {
        assert_eq!(Aead::ICV_OCTETS, aead.algorithm().tag_len(), "{aead}");
        if let Some(bits) = aead.key_bits() {
            assert_eq!(aead.key_octets() * 8, usize::from(bits), "{aead}");
        }
    }
    for &cbc in Cbc::ALL {
        for octets in [16, 24, 32] {
            let fits = cbc.constructor()(&vec![0; octets]).is_some();
            assert_eq!(fits, octets == cbc.key_octets(), "{cbc} {octets}");
        }
    }
    for &prf in Prf::ALL {
        let digest = prf.hmac().digest_algorithm().output_len();
        assert_eq!(prf.octets(), digest, "{prf}");
    }
}

/// D48, RFC 4868 §2.1, RFC 2404 §2: as long as their names say.
#[test]
fn icvs_are_as_long_as_their_names_say() {
    for &integrity in Integrity::ALL {
        let bits = format!("_{}", integrity.icv_octets() * 8);
        assert!(integrity.name().ends_with(&bits), "{integrity}");
    }
}

/// RFC 7296 §2.17 and §2.14: what one direction takes.
#[test]
fn key_material_of_every_cipher() {
    let sizes = |cipher: Cipher| {
        let keys = (
            cipher.encryption_key_octets(),
            cipher.integrity_key_octets(),
        );
        (cipher.to_string(), keys)
    };
    let sizes: Vec<_> = Cipher::all().map(sizes).collect();
    let sizes: Vec<_> = sizes
        .iter()
        .map(|(text, keys)| (text.as_str(), *keys))
        .collect();
    assert_eq!(
        sizes,
        [
            ("aes256gcm16", (36, 0)),
            ("aes128gcm16", (20, 0)),
            ("chacha20poly1305", (36, 0)),
            ("aes192gcm16", (28, 0)),
            ("aes256-sha512", (32, 64)),
            ("aes256-sha384", (32, 48)),
            ("aes256-sha256", (32, 32)),
            ("aes256-sha1", (32, 20)),
            ("aes192-sha512", (24, 64)),
            ("aes192-sha384", (24, 48)),
            ("aes192-sha256", (24, 32)),
            ("aes192-sha1", (24, 20)),
            ("aes128-sha512", (16, 64)),
            ("aes128-sha384", (16, 48)),
            ("aes128-sha256", (16, 32)),
            ("aes128-sha1", (16, 20)),
        ]
    );
}

#[test]
fn every_keyword_names_its_row_and_nothing_else() {
    for encryption in Encryption::all() {
        assert_eq!(
            Encryption::from_keyword(encryption.keyword()),
            Some(encryption)
        );
        let (id, bits) = (encryption.transform_id(), encryption.key_bits());
        assert_eq!(Encryption::from_transform(id, bits), Some(encryption));
    }
    for &integrity in Integrity::ALL {
        assert_eq!(
            Integrity::from_keyword(integrity.keyword()),
            Some(integrity)
        );
        let id = integrity.transform_id();
        assert_eq!(Integrity::from_transform_id(id), Some(integrity));
    }
    for &prf in Prf::ALL {
        assert_eq!(Prf::from_keyword(prf.keyword()), Some(prf));
        assert_eq!(Prf::from_transform_id(prf.transform_id()), Some(prf));
    }
    for &group in Group::ALL {
        assert_eq!(Group::from_keyword(group.keyword()), Some(group));
        assert_eq!(Group::from_transform_id(group.transform_id()), Some(group));
    }
    assert_eq!(Group::from_keyword("curve25519"), Some(Group::Curve25519));
    assert_eq!(
        Encryption::from_keyword("aes"),
        Some(Encryption::Cbc(Cbc::Aes128))
    );
}

/// D15, RFC 7296 §3.3.5: AES has no default key length, ChaCha20 no other (RFC 7634 §4).
#[test]
fn key_lengths_are_there_where_they_have_to_be() {
    for id in [12, 20] {
        assert_eq!(Encryption::from_transform(id, None), None);
        assert_eq!(Encryption::from_transform(id, Some(160)), None);
    }
    assert_eq!(Encryption::from_transform(28, Some(256)), None);
}

/// SECURITY lesson 3: a group from the wire is a number until the table knows it.
#[test]
fn unknown_groups_stay_unknown() {
    let known = [2, 5, 14, 15, 16, 19, 20, 21, 31];
    for id in (0..=u16::MAX).filter(|id| !known.contains(id)) {
        assert_eq!(Group::from_transform_id(id), None, "group {id}");
    }
}

/// RFC 8247 §2.4, RFC 8221 §6: no more than these, whatever is added.
#[test]
fn the_weak_ones_are_known() {
    let integrities = Integrity::ALL.iter().filter(|i| i.is_weak());
    let prfs = Prf::ALL.iter().filter(|p| p.is_weak());
    let groups = Group::ALL.iter().filter(|g| g.is_weak());
    assert!(integrities.eq(&[Integrity::HmacSha1]));
    assert!(prfs.eq(&[Prf::HmacSha1]));
    assert!(groups.eq(&[Group::Modp1536, Group::Modp1024]));
    assert!(
        Group::ALL
            .iter()
            .all(|g| g.is_weak() == (g.strength_bits() < 112))
    );
}

/// The integrity algorithm is the PRF, cut.
#[test]
fn integrity_and_prf_are_the_same_hmac() {
    for &integrity in Integrity::ALL {
        let prf = integrity.prf();
        assert_eq!(integrity.key_octets(), prf.octets());
        assert!(
            integrity
                .keyword()
                .ends_with(prf.keyword().trim_start_matches("prf"))
        );
        let mac: Secret = prf.compute(&[1], &[b"octets"]);
        assert!(mac.expose().len() >= integrity.icv_octets());
    }
}
