//! Offers and answers that suit, and those that break a rule.

use proptest::prelude::*;

use super::*;
use crate::proposal::{
    EsnPolicy, default_esp, default_ike, esp_offer, esp_offer_with_groups, ike_offer,
};

const ENCR: TransformType = TransformType::ENCR;
const PRF: TransformType = TransformType::PRF;
const INTEG: TransformType = TransformType::INTEG;
const KE: TransformType = TransformType::KE;
const ESN: TransformType = TransformType::ESN;

const AES256: Transform = Transform::with_key_bits(ENCR, 20, 256);
const AES128: Transform = Transform::with_key_bits(ENCR, 20, 128);
const AES_CBC: Transform = Transform::with_key_bits(ENCR, 12, 256);
const SHA256: Transform = Transform::new(PRF, 5);
const SHA384: Transform = Transform::new(PRF, 6);
const X25519: Transform = Transform::new(KE, 31);
const ECP256: Transform = Transform::new(KE, 19);
const MODP2048: Transform = Transform::new(KE, 14);
const NO_INTEG: Transform = Transform::new(INTEG, 0);
const HMAC_SHA256: Transform = Transform::new(INTEG, 12);
const SHORT: Transform = Transform::new(ESN, 0);
const LONG: Transform = Transform::new(ESN, 1);

/// The peer's SPI in offers and answers for ESP; ours.
const OUTBOUND: EspSpi = EspSpi(0xc0ff_ee01);
const INBOUND: EspSpi = EspSpi(0x0102_0304);

fn ike(text: &str) -> Vec<IkeProposal> {
    text.split(',')
        .map(|text| IkeProposal::parse(text).unwrap())
        .collect()
}

fn esp(text: &str) -> Vec<EspProposal> {
    text.split(',')
        .map(|text| EspProposal::parse(text, EsnPolicy::Prefer).unwrap())
        .collect()
}

fn for_ike(number: u8, transforms: &[Transform]) -> Proposal {
    let transforms = transforms.to_vec();
    Proposal {
        number,
        protocol: ProtocolId::IKE,
        spi: vec![],
        transforms,
    }
}

fn for_esp(number: u8, transforms: &[Transform]) -> Proposal {
    let spi = OUTBOUND.0.to_be_bytes().to_vec();
    Proposal {
        number,
        protocol: ProtocolId::ESP,
        spi,
        transforms: transforms.to_vec(),
    }
}

fn with_unknown_attribute(transform: Transform) -> Transform {
    Transform {
        unknown_attribute: true,
        ..transform
    }
}

/// The chosen number and suite as text, for IKE.
fn chosen(ours: &str, offered: &[Proposal], ke: u16) -> Option<(u8, String)> {
    choose_ike(&ike(ours), offered, ke).map(|(answer, suite)| (answer.number, suite.to_string()))
}

/// D15, D38: what goes out.
#[test]
fn offers() {
    let ours = ike("aes256gcm16-aes128gcm16-prfsha384-x25519-ecp256,aes128gcm16-prfsha256-ecp256");
    assert_eq!(
        ike_offer(&ours),
        [
            for_ike(1, &[AES256, AES128, SHA384, X25519, ECP256]),
            for_ike(2, &[AES128, SHA256, ECP256]),
        ]
    );
    let ours = ike("aes256-sha256-prfsha384-modp2048");
    let transforms = [AES_CBC, HMAC_SHA256, SHA384, MODP2048];
    assert_eq!(ike_offer(&ours), [for_ike(1, &transforms)]);
    let ours = esp("aes256gcm16-x25519-modpnone,aes128gcm16-noesn,aes256-sha256-esn");
    assert_eq!(
        esp_offer(&ours, OUTBOUND),
        [
            for_esp(1, &[AES256, LONG, SHORT]),
            for_esp(2, &[AES128, SHORT]),
            for_esp(3, &[AES_CBC, HMAC_SHA256, LONG]),
        ]
    );
}

/// What we call an algorithm is what a peer's proposal reads as.
#[test]
fn names_are_those_of_the_wire() {
    for encryption in Encryption::all() {
        assert_eq!(Transform::from(encryption).to_string(), encryption.name());
    }
    for &integrity in Integrity::ALL {
        assert_eq!(Transform::from(integrity).to_string(), integrity.name());
    }
    for &prf in Prf::ALL {
        assert_eq!(Transform::from(prf).to_string(), prf.name());
    }
    for &group in Group::ALL {
        assert_eq!(Transform::from(group).to_string(), group.name());
    }
    for &kem in Kem::ALL {
        assert_eq!(Transform::from(kem).to_string(), kem.name());
    }
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

/// D16: the initiator takes its own proposal back with one transform of each type, and no other.
#[test]
fn odd_answers_for_ike() {
    let ours = ike("aes256gcm16-prfsha256-x25519,aes128gcm16-prfsha256-prfsha384-ecp256");
    let verify = |answer: &[Proposal]| verify_ike(&ours, answer);
    let good = for_ike(2, &[AES128, SHA384, ECP256]);
    assert_eq!(
        verify(std::slice::from_ref(&good)).unwrap().to_string(),
        "aes128gcm16-prfsha384-ecp256"
    );

    let not_offered = AnswerError::NotOffered;
    let cases: &[(&[Transform], AnswerError)] = &[
        (&[AES256, SHA384, ECP256], not_offered(AES256)),
        (
            &[AES128, Transform::new(PRF, 7), ECP256],
            not_offered(Transform::new(PRF, 7)),
        ),
        (&[AES128, SHA256, X25519], not_offered(X25519)),
        (
            &[Transform::new(ENCR, 20), SHA256, ECP256],
            not_offered(Transform::new(ENCR, 20)),
        ),
        (
            &[with_unknown_attribute(AES128), SHA256, ECP256],
            not_offered(with_unknown_attribute(AES128)),
        ),
        (
            &[AES128, SHA256, ECP256, HMAC_SHA256],
            not_offered(HMAC_SHA256),
        ),
        (&[AES128, SHA256, ECP256, SHORT], not_offered(SHORT)),
        (
            &[AES128, AES128, SHA256, ECP256],
            AnswerError::Several(ENCR),
        ),
        (
            &[AES128, AES256, SHA256, ECP256],
            AnswerError::Several(ENCR),
        ),
        (&[AES128, SHA256, SHA384, ECP256], AnswerError::Several(PRF)),
        (
            &[AES128, SHA256, ECP256, MODP2048],
            AnswerError::Several(KE),
        ),
        (&[SHA256, ECP256], AnswerError::Missing(ENCR)),
        (&[AES128, ECP256], AnswerError::Missing(PRF)),
        (&[AES128, SHA256], AnswerError::Missing(KE)),
    ];
    for (transforms, error) in cases {
        assert_eq!(
            verify(&[for_ike(2, transforms)]),
            Err(*error),
            "{transforms:?}"
        );
    }
    assert_eq!(verify(&[]), Err(AnswerError::Proposals(0)));
    assert_eq!(
        verify(&[good.clone(), good.clone()]),
        Err(AnswerError::Proposals(2))
    );
    for number in [0, 3, 255] {
        let answer = Proposal {
            number,
            ..good.clone()
        };
        assert_eq!(verify(&[answer]), Err(AnswerError::Number(number)));
    }
    let protocol = ProtocolId::ESP;
    let answer = Proposal {
        protocol,
        ..good.clone()
    };
    assert_eq!(verify(&[answer]), Err(AnswerError::Protocol(protocol)));
    let answer = Proposal {
        spi: vec![1; 8],
        ..good
    };
    assert_eq!(verify(&[answer]), Err(AnswerError::SpiLength(8)));
}

#[test]
fn odd_answers_for_esp() {
    let ours = esp("aes256gcm16-x25519-esn");
    let verify = |answer: Proposal| {
        verify_esp(&ours, &[answer], Pfs::Impossible)
            .map(|choice| (choice.suite.esn, choice.outbound))
    };
    assert_eq!(verify(for_esp(1, &[AES256, LONG])), Ok((true, OUTBOUND)));
    let not_offered = |transform| Err(AnswerError::NotOffered(transform));
    assert_eq!(verify(for_esp(1, &[AES256, SHORT])), not_offered(SHORT));
    assert_eq!(
        verify(for_esp(1, &[AES256, LONG, X25519])),
        not_offered(X25519),
        "D38"
    );
    assert_eq!(
        verify(for_esp(1, &[AES256, LONG, SHORT])),
        Err(AnswerError::Several(ESN))
    );
    assert_eq!(
        verify(for_esp(1, &[AES256])),
        Err(AnswerError::Missing(ESN))
    );
    for octets in [0, 3, 8] {
        let answer = Proposal {
            spi: vec![9; octets],
            ..for_esp(1, &[AES256, LONG])
        };
        assert_eq!(verify(answer), Err(AnswerError::SpiLength(octets)));
    }
}

/// D15, D16: AES-CBC comes with exactly one integrity algorithm, and an AEAD with none.
#[test]
fn odd_answers_for_aes_cbc() {
    let ours = ike("aes256-sha256-sha1-x25519,aes256gcm16-prfsha256-x25519");
    let verify = |number, transforms: &[Transform]| {
        verify_ike(&ours, &[for_ike(number, transforms)]).map(|suite| suite.to_string())
    };
    let good = [AES_CBC, HMAC_SHA256, SHA256, X25519];
    assert_eq!(verify(1, &good), Ok("aes256-sha256-x25519".to_owned()));
    let sha1 = Transform::new(INTEG, 2);
    let sha384 = Transform::new(INTEG, 13);
    for (number, transforms, error) in [
        (
            1,
            vec![AES_CBC, SHA256, X25519],
            AnswerError::Missing(INTEG),
        ),
        (
            1,
            vec![AES_CBC, NO_INTEG, SHA256, X25519],
            AnswerError::NotOffered(NO_INTEG),
        ),
        (
            1,
            vec![AES_CBC, sha384, SHA256, X25519],
            AnswerError::NotOffered(sha384),
        ),
        (
            1,
            [&good[..], &[sha1]].concat(),
            AnswerError::Several(INTEG),
        ),
        (
            1,
            vec![AES256, SHA256, X25519],
            AnswerError::NotOffered(AES256),
        ),
        (2, good.to_vec(), AnswerError::NotOffered(AES_CBC)),
        (
            2,
            vec![AES256, NO_INTEG, SHA256, X25519],
            AnswerError::NotOffered(NO_INTEG),
        ),
    ] {
        assert_eq!(verify(number, &transforms), Err(error), "{transforms:?}");
    }
}

#[test]
fn errors_name_what_is_wrong() {
    for (error, text) in [
        (
            AnswerError::NotOffered(AES_CBC),
            "AES_CBC-256, which was not offered",
        ),
        (AnswerError::Several(KE), "more than one KE"),
        (AnswerError::Missing(PRF), "no PRF"),
        (AnswerError::Protocol(ProtocolId::ESP), "a proposal for ESP"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn there_is_no_256th_proposal() {
    let ours = vec![default_ike().remove(0); 300];
    let offered = ike_offer(&ours);
    assert_eq!(offered.len(), 255);
    assert!(offered.iter().map(|proposal| proposal.number).eq(1..=255));
}

fn any_ciphers() -> impl Strategy<Value = Vec<&'static str>> {
    let some = |all: &[&'static str]| prop::sample::subsequence(all.to_vec(), 1..=all.len());
    let aeads = some(&["aes256gcm16", "aes128gcm16", "chacha20poly1305"]).prop_shuffle();
    let cbcs = some(&["aes256", "aes128"]).prop_shuffle();
    let integrities = some(&["sha256", "sha384", "sha1"]).prop_shuffle();
    let pairs = (cbcs, integrities).prop_map(|(cbcs, integrities)| [cbcs, integrities].concat());
    prop_oneof![aeads, pairs]
}

fn any_ike() -> impl Strategy<Value = Vec<IkeProposal>> {
    let some = |all: &[&'static str]| prop::sample::subsequence(all.to_vec(), 1..=all.len());
    let proposal = (
        any_ciphers(),
        some(&["prfsha256", "prfsha384", "prfsha512"]).prop_shuffle(),
        some(&["x25519", "ecp256", "ecp384", "modp2048"]).prop_shuffle(),
        prop::sample::subsequence(vec!["ke1_mlkem768"], 0..=1),
    );
    let proposal = proposal.prop_map(|(encryptions, prfs, groups, additional)| {
        let keywords = [encryptions, prfs, groups, additional].concat();
        IkeProposal::parse(&keywords.join("-")).unwrap()
    });
    prop::collection::vec(proposal, 1..4)
}

fn any_esp() -> impl Strategy<Value = Vec<EspProposal>> {
    let some = |all: &[&'static str]| prop::sample::subsequence(all.to_vec(), 1..=all.len());
    let proposal = (any_ciphers(), some(&["esn", "noesn"])).prop_map(|(encryptions, esn)| {
        EspProposal::parse(&[encryptions, esn].concat().join("-"), EsnPolicy::Prefer).unwrap()
    });
    prop::collection::vec(proposal, 1..4)
}

proptest! {
    /// What the responder chooses is of one proposal on either side, and the initiator takes it.
    #[test]
    fn ike_choices_are_of_both_sides(
        ours in any_ike(),
        theirs in any_ike(),
        ke in prop::sample::select(vec![0_u16, 14, 19, 20, 31]),
    ) {
        let has = |proposals: &[IkeProposal], suite: IkeSuite| {
            proposals.iter().any(|proposal| {
                proposal.ciphers().all().contains(&suite.cipher)
                    && proposal.prfs().contains(&suite.prf)
                    && proposal.groups().contains(&suite.group)
                    && match suite.additional {
                        Some(kem) => proposal.additional().contains(&kem),
                        None => proposal.additional().is_empty(),
                    }
            })
        };
        match choose_ike(&ours, &ike_offer(&theirs), ke) {
            Some((answer, suite)) => {
                prop_assert!(has(&ours, suite) && has(&theirs, suite));
                prop_assert_eq!(verify_ike(&theirs, &[answer]), Ok(suite));
            }
            None => {
                let all = Cipher::all().flat_map(|cipher| {
                    Prf::ALL.iter().flat_map(move |&prf| {
                        Group::ALL.iter().flat_map(move |&group| {
                            [None, Some(Kem::MlKem768)].map(|additional| IkeSuite {
                                cipher,
                                prf,
                                group,
                                additional,
                            })
                        })
                    })
                });
                for suite in all {
                    prop_assert!(!(has(&ours, suite) && has(&theirs, suite)), "{suite}");
                }
            }
        }
    }

    #[test]
    fn esp_choices_are_of_both_sides(ours in any_esp(), theirs in any_esp()) {
        let offered = esp_offer(&theirs, OUTBOUND);
        let Some((answer, choice)) = choose_esp(&ours, &offered, INBOUND, Pfs::Impossible, &OfIke::default()) else {
            return Ok(());
        };
        let EspChoice { suite, outbound, .. } = choice;
        prop_assert_eq!(outbound, OUTBOUND);
        let verified = verify_esp(&theirs, &[answer], Pfs::Impossible).unwrap();
        prop_assert_eq!((verified.suite, verified.outbound), (suite, INBOUND));
        let esn = if suite.esn { Esn::Yes } else { Esn::No };
        let is_ours = ours.iter().any(|proposal| {
            proposal.ciphers().all().contains(&suite.cipher) && proposal.esn().contains(&esn)
        });
        prop_assert!(is_ours);
    }

    /// RFC 7296 §1.3: the group of the KE payload that came is the one, or another has to be asked
    /// for; and whoever offered finds in the answer what the responder chose.
    #[test]
    fn choices_with_a_key_exchange_are_of_both_sides(ours in any_esp(), theirs in any_esp()) {
        let first = theirs.iter().flat_map(EspProposal::groups).next();
        let pfs = Pfs::Possible(first.map(|group| group.transform_id()));
        let offered = esp_offer_with_groups(&theirs, OUTBOUND);
        let chosen = choose_esp(&ours, &offered, INBOUND, pfs, &OfIke::default());
        let Some((answer, choice)) = chosen else {
            return Ok(());
        };
        let allows = |list: &[EspProposal]| list.iter().any(|proposal| match choice.group {
            Some(group) => proposal.groups().contains(&group),
            None => proposal.pfs_optional(),
        });
        prop_assert!(allows(&ours) && allows(&theirs));
        let verified = verify_esp(&theirs, &[answer], pfs).unwrap();
        let agreed = |choice: &EspChoice| (choice.suite, choice.group, choice.additional);
        prop_assert_eq!(agreed(&verified), agreed(&choice));
    }

    /// Whatever the transforms are, the answer is made of them.
    #[test]
    fn answers_are_made_of_what_was_offered(
        transforms in prop::collection::vec(
            (1_u8..14, 0_u16..38, prop::option::of(prop::sample::select(vec![128_u16, 192, 256]))),
            0..12,
        ),
    ) {
        let transforms: Vec<Transform> = transforms
            .into_iter()
            .map(|(kind, id, key_bits)| Transform {
                key_bits,
                ..Transform::new(TransformType(kind), id)
            })
            .collect();
        let ours = (default_ike(), default_esp(EsnPolicy::Prefer));
        let answers = [
            choose_ike(&ours.0, &[for_ike(1, &transforms)], 31).map(|(answer, _)| answer),
            choose_esp(&ours.1, &[for_esp(1, &transforms)], INBOUND, Pfs::Impossible, &OfIke::default()).map(|(answer, ..)| answer),
        ];
        for answer in answers.into_iter().flatten() {
            prop_assert!(answer.transforms.iter().all(|chosen| transforms.contains(chosen)));
        }
    }
}
