//! What a responder makes of an offer (RFC 7296 §2.7): which proposals are acceptable, and which of them
//! is chosen.

use super::*;

/// The chosen number and suite as text, for IKE.
fn chosen(ours: &str, offered: &[Proposal], ke: u16) -> Option<(u8, String)> {
    choose_ike(&ike(ours), offered, ke).map(|(answer, suite)| (answer.number, suite.to_string()))
}

/// D16: the answer has the offer's number and one transform of each type.
#[test]
fn answers() {
    let offered = [
        for_ike(1, &[AES_CBC, HMAC_SHA256, SHA256, MODP2048]),
        for_ike(
            2,
            &[AES128, AES256, SHA256, SHA384, MODP2048, X25519, ECP256],
        ),
    ];
    let (answer, suite) = choose_ike(&default_ike(), &offered, 31).unwrap();
    assert_eq!(answer, for_ike(2, &[AES256, SHA384, X25519]));
    assert_eq!(suite.to_string(), "aes256gcm16-prfsha384-x25519");

    let offered = [
        for_esp(1, &[AES_CBC, HMAC_SHA256, SHORT]),
        for_esp(7, &[AES128, SHORT, LONG]),
    ];
    let ours = default_esp(EsnPolicy::Prefer);
    let (answer, choice) =
        choose_esp(&ours, &offered, INBOUND, Pfs::Impossible, &OfIke::default()).unwrap();
    let EspChoice {
        suite, outbound, ..
    } = choice;
    let spi = INBOUND.0.to_be_bytes().to_vec();
    assert_eq!(
        answer,
        Proposal {
            spi,
            ..for_esp(7, &[AES128, LONG])
        }
    );
    assert_eq!(
        (suite.to_string().as_str(), outbound),
        ("aes128gcm16-esn", OUTBOUND)
    );
}

/// What the module says of the order, and of the group of the KE payload.
#[test]
fn preferences() {
    let all = [
        AES128,
        AES256,
        SHA256,
        SHA384,
        ECP256,
        X25519,
        Transform::new(KE, 20),
    ];
    let all = [for_ike(1, &all)];
    let ours = "aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp256-ecp384";
    let suite = |group| Some((1, format!("aes256gcm16-prfsha384-{group}")));
    assert_eq!(chosen(ours, &all, 31), suite("x25519"));
    assert_eq!(
        chosen(ours, &all, 19),
        suite("ecp256"),
        "as strong: no round trip"
    );
    assert_eq!(
        chosen(ours, &all, 20),
        suite("ecp384"),
        "stronger: no round trip"
    );
    assert_eq!(
        chosen(ours, &all, 14),
        suite("x25519"),
        "not ours: a round trip"
    );
    let ours = "aes256gcm16-prfsha384-ecp384-x25519";
    assert_eq!(
        chosen(ours, &all, 31),
        suite("ecp384"),
        "weaker: a round trip"
    );
    assert_eq!(
        chosen(ours, &all, 19),
        suite("ecp384"),
        "not ours: a round trip"
    );

    let ours = "aes256gcm16-prfsha256-x25519,aes128gcm16-prfsha256-ecp256";
    let two = [
        for_ike(1, &[AES128, SHA256, ECP256]),
        for_ike(2, &[AES256, SHA256, X25519]),
    ];
    assert_eq!(
        chosen(ours, &two, 19),
        Some((2, "aes256gcm16-prfsha256-x25519".to_owned())),
        "our order of proposals before the group of the KE payload"
    );
}

/// D15, D16: proposals that are not acceptable, beside one that is.
#[test]
fn odd_proposals_for_ike() {
    let cases: &[(&str, &[Transform])] = &[
        ("no ENCR", &[SHA256, X25519]),
        ("no PRF", &[AES256, X25519]),
        ("no KE", &[AES256, SHA256]),
        ("nothing", &[]),
        ("KE NONE", &[AES256, SHA256, Transform::new(KE, 0)]),
        (
            "AES without a key length",
            &[Transform::new(ENCR, 20), SHA256, X25519],
        ),
        (
            "AES of an odd size",
            &[Transform::with_key_bits(ENCR, 20, 160), SHA256, X25519],
        ),
        ("AES-CBC without INTEG", &[AES_CBC, SHA256, X25519]),
        (
            "a PRF with a key length",
            &[AES256, Transform::with_key_bits(PRF, 5, 256), X25519],
        ),
        (
            "an unknown attribute on the only ENCR",
            &[with_unknown_attribute(AES256), SHA256, X25519],
        ),
        (
            "an unknown attribute on the only KE",
            &[AES256, SHA256, with_unknown_attribute(X25519)],
        ),
        (
            "INTEG beside an AEAD",
            &[AES256, HMAC_SHA256, SHA256, X25519],
        ),
        (
            "INTEG NONE with an unknown attribute",
            &[AES256, with_unknown_attribute(NO_INTEG), SHA256, X25519],
        ),
        (
            "an unknown transform type",
            &[AES256, SHA256, X25519, Transform::new(TransformType(6), 36)],
        ),
        ("ESN, which is for ESP", &[AES256, SHA256, X25519, SHORT]),
    ];
    let good = for_ike(2, &[AES256, SHA256, X25519]);
    let ours = "aes256gcm16-prfsha256-x25519";
    for (what, transforms) in cases {
        let odd = for_ike(1, transforms);
        assert_eq!(chosen(ours, std::slice::from_ref(&odd), 31), None, "{what}");
        let (number, _) = chosen(ours, &[odd, good.clone()], 31).unwrap();
        assert_eq!(number, 2, "{what}: the others are still considered");
    }
    let spi = vec![1; 8];
    assert_eq!(
        chosen(
            ours,
            &[Proposal {
                spi,
                ..good.clone()
            }],
            31
        ),
        None,
        "SPI in IKE_SA_INIT"
    );
    let protocol = ProtocolId::ESP;
    assert_eq!(
        chosen(ours, &[Proposal { protocol, ..good }], 31),
        None,
        "for ESP"
    );
    assert_eq!(chosen(ours, &[], 31), None);
}

#[test]
fn odd_proposals_for_esp() {
    let choose = |ours, offered: Proposal| {
        let chosen = choose_esp(
            &esp(ours),
            &[offered],
            INBOUND,
            Pfs::Impossible,
            &OfIke::default(),
        );
        chosen.map(|(answer, choice)| (answer.transforms, choice.suite.to_string()))
    };
    let suite = |transforms: &[Transform], text: &str| Some((transforms.to_vec(), text.to_owned()));

    // D38: KE in IKE_AUTH, from a peer that ought not to send it.
    let with_ke = for_esp(1, &[AES256, X25519, MODP2048, SHORT]);
    assert_eq!(
        choose("aes256gcm16-ecp256", with_ke),
        suite(&[AES256, SHORT], "aes256gcm16")
    );

    // D15: no ESN transform is no ESN.
    let silent = for_esp(1, &[AES256]);
    assert_eq!(
        choose("aes256gcm16", silent.clone()),
        suite(&[AES256], "aes256gcm16")
    );
    assert_eq!(choose("aes256gcm16-esn", silent), None);
    assert_eq!(
        choose("aes256gcm16-noesn", for_esp(1, &[AES256, LONG])),
        None
    );
    assert_eq!(
        choose("aes256gcm16", for_esp(1, &[AES256, Transform::new(ESN, 2)])),
        None
    );

    let cbc = for_esp(1, &[AES_CBC, HMAC_SHA256, NO_INTEG, SHORT]);
    assert_eq!(
        choose("aes256-sha256", cbc),
        suite(&[AES_CBC, SHORT, HMAC_SHA256], "aes256-sha256"),
        "the algorithm, not NONE"
    );
    let without = for_esp(1, &[AES_CBC, NO_INTEG, SHORT]);
    assert_eq!(choose("aes256-sha256", without), None);

    for (what, transforms) in [
        ("INTEG beside an AEAD", vec![AES256, HMAC_SHA256, SHORT]),
        ("PRF, which is for IKE", vec![AES256, SHA256, SHORT]),
        ("no ENCR", vec![SHORT]),
    ] {
        assert_eq!(
            choose("aes256gcm16", for_esp(1, &transforms)),
            None,
            "{what}"
        );
    }
    for spi in [
        vec![],
        vec![0, 0, 1],
        vec![0; 8],
        vec![0, 0, 0, 0],
        vec![0, 0, 0, 255],
    ] {
        let offered = Proposal {
            spi,
            ..for_esp(1, &[AES256, SHORT])
        };
        assert_eq!(
            choose("aes256gcm16", offered.clone()),
            None,
            "SPI {:?}",
            offered.spi
        );
    }
}

/// D15: INTEG NONE with an AEAD is a way to say nothing; the answer has one transform per type.
#[test]
fn integ_none() {
    let offered = for_ike(1, &[AES256, NO_INTEG, SHA256, X25519]);
    let ours = ike("aes256gcm16-prfsha256-x25519");
    let (answer, _) = choose_ike(&ours, &[offered], 31).unwrap();
    assert_eq!(answer, for_ike(1, &[AES256, SHA256, X25519, NO_INTEG]));

    let offered = for_esp(1, &[AES256, HMAC_SHA256, NO_INTEG, SHORT]);
    let (answer, ..) = choose_esp(
        &esp("aes256gcm16"),
        &[offered],
        INBOUND,
        Pfs::Impossible,
        &OfIke::default(),
    )
    .unwrap();
    assert_eq!(answer.transforms, [AES256, SHORT, NO_INTEG]);
}

/// PAINS 8: whose list of groups for ESP is another one may still rekey, with what the IKE SA has.
#[test]
fn groups_of_a_rekey() {
    let of_ike = OfIke::new(&ike("aes256gcm16-prfsha256-x25519-ecp256"));
    let none = Transform::new(KE, 0);
    let choose = |ours, groups: &[Transform]| {
        let offered = for_esp(1, &[&[AES256, SHORT], groups].concat());
        let ke = groups.first().map(|group| group.id);
        let pfs = Pfs::Possible(ke);
        let chosen = choose_esp(&esp(ours), &[offered], INBOUND, pfs, &of_ike);
        chosen.map(|(_, choice)| choice.group)
    };
    for (ours, offered, group) in [
        (
            "aes256gcm16-modp2048",
            vec![MODP2048],
            Some(Some(Group::Modp2048)),
        ),
        (
            "aes256gcm16-modp2048",
            vec![ECP256],
            Some(Some(Group::Ecp256)),
        ),
        ("aes256gcm16", vec![ECP256], Some(Some(Group::Ecp256))),
        ("aes256gcm16", vec![ECP256, none], Some(None)),
        (
            "aes256gcm16-modp2048-modpnone",
            vec![ECP256, none],
            Some(None),
        ),
        (
            "aes256gcm16-modp2048",
            vec![ECP256, none],
            Some(Some(Group::Ecp256)),
        ),
        ("aes256gcm16-x25519", vec![MODP2048], None),
        ("aes256gcm16-x25519", vec![], None),
        ("aes256gcm16-x25519-modpnone", vec![], Some(None)),
    ] {
        assert_eq!(choose(ours, &offered), group, "{ours} with {offered:?}");
    }
}

/// D16: a transform that nobody may accept leaves the others of its type.
#[test]
fn an_unknown_attribute_spoils_one_transform() {
    let spoilt = for_ike(1, &[with_unknown_attribute(AES256), AES128, SHA256, X25519]);
    assert_eq!(
        chosen("aes256gcm16-aes128gcm16-prfsha256-x25519", &[spoilt], 31),
        Some((1, "aes128gcm16-prfsha256-x25519".to_owned()))
    );
}
