//! The notation of proposals.

use super::*;
use crate::algorithm::{Aead, Cbc};

#[test]
fn what_is_read_is_written_back() {
    for text in [
        "aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp256-ecp384",
        "aes128gcm16-prfsha512-ecp384",
        "aes256-sha384-sha256-ecp256-modp2048",
        "aes128-sha1-prfsha256-modp1024",
        "aes192gcm16-chacha20poly1305-prfsha256-modp4096-modp3072-modp1536-ecp521",
        "aes256gcm16-prfsha384-x25519-ke1_mlkem768",
    ] {
        assert_eq!(IkeProposal::parse(text).unwrap().to_string(), text);
    }
    for text in [
        "aes256gcm16-aes128gcm16-x25519-ecp256-modpnone-esn-noesn",
        "aes128gcm16-noesn",
        "aes256gcm16-x25519-ke1_mlkem768-noesn",
        "aes256-aes192-aes128-sha512-sha1-modp2048-modpnone-esn-noesn",
    ] {
        let proposal = EspProposal::parse(text, EsnPolicy::Require).unwrap();
        assert_eq!(proposal.to_string(), text);
    }
}

#[test]
fn order_of_kinds_and_other_spellings_do_not_matter() {
    assert_eq!(
        IkeProposal::parse("curve25519-prfsha256-aes256gcm128").unwrap(),
        IkeProposal::parse("aes256gcm16-prfsha256-x25519").unwrap()
    );
    assert_eq!(
        IkeProposal::parse("modp2048-sha2_256-sha-aes").unwrap(),
        IkeProposal::parse("aes128-sha256-sha1-prfsha256-prfsha1-modp2048").unwrap()
    );
}

/// As in strongSwan's files.
#[test]
fn integrity_algorithms_imply_prfs_where_none_is_named() {
    let prfs = |text| IkeProposal::parse(text).unwrap().prfs().to_vec();
    assert_eq!(
        prfs("aes256-sha384-sha256-x25519"),
        [Prf::HmacSha384, Prf::HmacSha256]
    );
    assert_eq!(prfs("aes256-sha384-prfsha512-x25519"), [Prf::HmacSha512]);
}

/// RFC 8247, RFC 8221: named for a warning, and never by default.
#[test]
fn weak_algorithms_are_named_once() {
    let ike = |text| IkeProposal::parse(text).unwrap().weak();
    let esp = |text| EspProposal::parse(text, EsnPolicy::Prefer).unwrap().weak();
    assert_eq!(ike("aes256-sha1-modp1024-modp2048"), ["sha1", "modp1024"]);
    assert_eq!(ike("aes256gcm16-prfsha1-modp1536"), ["prfsha1", "modp1536"]);
    assert_eq!(ike("aes256-sha1-prfsha256-x25519"), ["sha1"]);
    assert_eq!(esp("aes128-sha1-modp1024"), ["sha1", "modp1024"]);
    assert!(
        default_ike()
            .iter()
            .all(|proposal| proposal.weak().is_empty())
    );
    let esp = default_esp(EsnPolicy::Prefer);
    assert!(esp.iter().all(|proposal| proposal.weak().is_empty()));
}

/// The reference file is the one that people read.
#[test]
fn the_defaults_are_what_the_reference_file_says() {
    let reference = include_str!("../../../docs/peer.reference.toml");
    for (defaults, read) in [
        (DEFAULT_IKE, default_ike().len()),
        (DEFAULT_ESP, default_esp(EsnPolicy::Prefer).len()),
    ] {
        let quoted = defaults.map(|text| format!("{text:?}")).join(", ");
        assert!(
            reference.contains(&format!("proposals     = [{quoted}]")),
            "{quoted}"
        );
        assert_eq!(read, defaults.len());
    }
}

#[test]
fn the_policy_for_esn_holds_where_the_text_is_silent() {
    let esn = |text, policy| EspProposal::parse(text, policy).unwrap().esn;
    assert_eq!(esn("aes256gcm16", EsnPolicy::Prefer), [Esn::Yes, Esn::No]);
    assert_eq!(esn("aes256gcm16", EsnPolicy::Require), [Esn::Yes]);
    assert_eq!(esn("aes256gcm16", EsnPolicy::Never), [Esn::No]);
    assert_eq!(esn("aes256gcm16-noesn", EsnPolicy::Require), [Esn::No]);
}

#[test]
fn pfs_is_required_by_a_group_without_modpnone() {
    let pfs_optional = |text| {
        EspProposal::parse(text, EsnPolicy::Prefer)
            .unwrap()
            .pfs_optional()
    };
    assert!(!pfs_optional("aes256gcm16-x25519"));
    assert!(pfs_optional("aes256gcm16-x25519-modpnone"));
    assert!(pfs_optional("aes256gcm16"));
}

#[test]
fn faults_point_at_the_token_and_say_what_to_do() {
    let ike = |text| IkeProposal::parse(text).unwrap_err();
    let esp = |text| EspProposal::parse(text, EsnPolicy::Prefer).unwrap_err();
    let choices = "choose from aes256gcm16, aes128gcm16, chacha20poly1305, aes192gcm16, aes256, \
                   aes192, aes128, sha512, sha384, sha256, prfsha384, prfsha256, prfsha512, \
                   x25519, ecp256, ecp384, ecp521, modp4096, modp3072, modp2048, ke1_mlkem768";
    let cases = [
        (
            ike("aes256gcm16-prfsha265-x25519"),
            (
                12..21,
                "unknown algorithm `prfsha265`",
                "did you mean `prfsha256`?",
            ),
        ),
        (
            ike("AES256GCM16-prfsha256-x25519"),
            (
                0..11,
                "unknown algorithm `AES256GCM16`",
                "did you mean `aes256gcm16`?",
            ),
        ),
        (
            ike("aes256gcm16-rot13"),
            (12..17, "unknown algorithm `rot13`", choices),
        ),
        (
            ike("camellia256-sha256-x25519"),
            (0..11, "`camellia256` is not in this version", choices),
        ),
        (
            ike("3des-prfsha256-x25519"),
            (
                0..4,
                "`3des` is too weak and not supported in any version",
                choices,
            ),
        ),
        (
            ike("aes256gcm16-x25519"),
            (
                0..18,
                "`aes256gcm16-x25519` has no PRF",
                "AES-GCM proposals for IKE name their PRF: add `prfsha256`",
            ),
        ),
        (
            ike("aes256gcm16-prfsha256"),
            (
                0..21,
                "`aes256gcm16-prfsha256` has no group for the key exchange",
                "add `x25519` or `ecp256`",
            ),
        ),
        (
            ike("prfsha256-x25519"),
            (
                0..16,
                "`prfsha256-x25519` has no cipher",
                "add `aes256gcm16`",
            ),
        ),
        (
            ike("aes256-x25519"),
            (
                0..13,
                "`aes256-x25519` has no integrity algorithm",
                "AES-CBC does not authenticate: add `sha256`",
            ),
        ),
        (
            esp("aes256gcm16-aes256-sha256"),
            (
                12..18,
                "`aes256` does not go into one proposal with the ciphers before it",
                "make a proposal of its own of it: AEADs in one, AES-CBC with its integrity \
                 algorithms in another",
            ),
        ),
        (
            ike("aes256gcm16-sha256-x25519"),
            (
                12..18,
                "`sha256` is beside an AEAD and an integrity algorithm, which exclude each other",
                "an AEAD authenticates by itself, but for a PRF write for example `prfsha256`",
            ),
        ),
        (
            esp("sha256-aes256gcm16"),
            (
                7..18,
                "`aes256gcm16` is beside an AEAD and an integrity algorithm, which exclude each \
                 other",
                "an AEAD authenticates by itself: remove the integrity algorithm",
            ),
        ),
        (
            ike("aes256gcm16-esn"),
            (
                12..15,
                "`esn` has no place in a proposal for IKE",
                "remove it",
            ),
        ),
        (
            esp("aes256gcm16-prfsha256"),
            (
                12..21,
                "`prfsha256` has no place in a proposal for ESP",
                "remove it",
            ),
        ),
        (
            esp("aes256gcm16-modpnone-modpnone"),
            (
                21..29,
                "`modpnone` names an algorithm a second time",
                "remove it",
            ),
        ),
        (
            ike("aes256gcm16-x25519-curve25519"),
            (
                19..29,
                "`curve25519` names an algorithm a second time",
                "remove it",
            ),
        ),
        (
            esp("aes256gcm16-ke1_mlkem768"),
            (
                0..24,
                "`aes256gcm16-ke1_mlkem768` has an additional key exchange, but could go without the \
                 first one",
                "add `x25519`, and leave `modpnone` to a proposal of its own",
            ),
        ),
        (
            esp("aes256gcm16-x25519-modpnone-ke1_mlkem768"),
            (
                0..40,
                "`aes256gcm16-x25519-modpnone-ke1_mlkem768` has an additional key exchange, but could \
                 go without the first one",
                "add `x25519`, and leave `modpnone` to a proposal of its own",
            ),
        ),
        (
            ike("aes256gcm16-prfsha256-ke1_mlkem768"),
            (
                0..34,
                "`aes256gcm16-prfsha256-ke1_mlkem768` has no group for the key exchange",
                "add `x25519` or `ecp256`",
            ),
        ),
        (
            ike("aes256gcm16--x25519"),
            (12..12, "an algorithm is missing here", choices),
        ),
        (ike(""), (0..0, "an algorithm is missing here", choices)),
        (
            esp("x25519"),
            (0..6, "`x25519` has no cipher", "add `aes256gcm16`"),
        ),
    ];
    for (error, (range, message, help)) in cases {
        assert_eq!(error.range, range, "{error}");
        assert_eq!(error.to_string(), message);
        assert_eq!(error.help(), help, "{error}");
    }
}

#[test]
fn suites_are_written_like_proposals() {
    let ike = IkeSuite {
        cipher: Cipher::Aead(Aead::Aes256Gcm16),
        prf: Prf::HmacSha256,
        group: Group::Curve25519,
        additional: None,
    };
    assert_eq!(ike.to_string(), "aes256gcm16-prfsha256-x25519");
    let additional = Some(Kem::MlKem768);
    let hybrid = IkeSuite { additional, ..ike };
    assert_eq!(
        hybrid.to_string(),
        "aes256gcm16-prfsha256-x25519-ke1_mlkem768"
    );
    let cipher = Cipher::CbcHmac(Cbc::Aes128, Integrity::HmacSha256);
    let cbc = IkeSuite { cipher, ..ike };
    assert_eq!(cbc.to_string(), "aes128-sha256-x25519");
    let prf = Prf::HmacSha512;
    assert_eq!(
        IkeSuite { prf, ..cbc }.to_string(),
        "aes128-sha256-prfsha512-x25519"
    );
    let esp = EspSuite {
        cipher: Cipher::Aead(Aead::ChaCha20Poly1305),
        esn: false,
    };
    assert_eq!(esp.to_string(), "chacha20poly1305");
    assert_eq!(
        EspSuite { cipher, esn: true }.to_string(),
        "aes128-sha256-esn"
    );
}
