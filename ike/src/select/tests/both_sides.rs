//! What either side may want: the choice is always of both, and both see the same one.

use proptest::prelude::*;

use super::*;

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
