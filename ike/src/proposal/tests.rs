//! The notation of proposals.

use super::*;

#[test]
fn what_is_read_is_written_back() {
    for text in [
        "aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp256-ecp384",
        "aes128gcm16-prfsha512-ecp384",
    ] {
        assert_eq!(IkeProposal::parse(text).unwrap().to_string(), text);
    }
    for text in [
        "aes256gcm16-aes128gcm16-x25519-ecp256-modpnone-esn-noesn",
        "aes128gcm16-noesn",
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
}

#[test]
fn the_defaults_are_what_the_reference_file_says_as_far_as_it_is_built() {
    let ike = "aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp256-ecp384";
    assert_eq!(default_ike(), [IkeProposal::parse(ike).unwrap()]);
    for policy in [EsnPolicy::Prefer, EsnPolicy::Require, EsnPolicy::Never] {
        let esp = "aes256gcm16-aes128gcm16-x25519-ecp256-modpnone";
        assert_eq!(
            default_esp(policy),
            [EspProposal::parse(esp, policy).unwrap()]
        );
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
    let choices = "choose from aes256gcm16, aes128gcm16, prfsha384, prfsha256, prfsha512, x25519, \
                   ecp256, ecp384";
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
            ike("aes256-sha256-x25519"),
            (0..6, "`aes256` is not in this version", choices),
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
        encryption: Encryption::Aes256Gcm16,
        prf: Prf::HmacSha256,
        group: Group::Curve25519,
    };
    assert_eq!(ike.to_string(), "aes256gcm16-prfsha256-x25519");
    let esp = EspSuite {
        encryption: Encryption::Aes128Gcm16,
        esn: false,
    };
    assert_eq!(esp.to_string(), "aes128gcm16");
    assert_eq!(EspSuite { esn: true, ..esp }.to_string(), "aes128gcm16-esn");
}
