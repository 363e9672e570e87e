//! Offers with additional key exchanges, and what is answered.

use super::*;
use crate::proposal::{IkeProposal, IkeSuite, ike_offer};
use crate::select::{choose_ike, verify_ike};

const HYBRID: &str = "aes256gcm16-prfsha384-x25519-ke1_mlkem768";
const CLASSICAL: &str = "aes256gcm16-prfsha384-x25519";
const ML_KEM_768: u16 = 36;
const ML_KEM_1024: u16 = 37;

fn list(texts: &[&str]) -> Vec<IkeProposal> {
    let read = |text: &&str| IkeProposal::parse(text).unwrap();
    texts.iter().map(read).collect()
}

fn kind(number: u8) -> TransformType {
    TransformType(TransformType::ADDKE1.0 + number - 1)
}

/// The classical offer with these additional transforms, by the number of the exchange and ID.
fn offer(additional: &[(u8, u16)]) -> Vec<Proposal> {
    let mut offer = ike_offer(&list(&[CLASSICAL]));
    let additional = additional.iter();
    let additional = additional.map(|(number, id)| Transform::new(kind(*number), *id));
    offer[0].transforms.extend(additional);
    offer
}

fn chosen(ours: &[&str], offered: &[Proposal]) -> Option<(Vec<(u8, u16)>, IkeSuite)> {
    let (answer, suite) = choose_ike(&list(ours), offered, 31)?;
    let mut additional: Vec<_> = answer
        .transforms
        .iter()
        .filter_map(|transform| Some((transform.kind.additional_key_exchange()?, transform.id)))
        .collect();
    additional.sort_unstable();
    Some((additional, suite))
}

fn suite(text: &str) -> IkeSuite {
    let offer = ike_offer(&list(&[text]));
    verify_ike(&list(&[text]), &offer).unwrap()
}

#[test]
fn what_is_offered_is_the_first_additional_exchange() {
    let ours = list(&[HYBRID]);
    assert_eq!(ike_offer(&ours), offer(&[(1, ML_KEM_768)]));
    assert_eq!(suite(HYBRID).additional, Some(Kem::MlKem768));
    assert_eq!(suite(HYBRID).to_string(), HYBRID);
}

/// RFC 9370 §2.2.1: one of each type, and NONE only where it was offered.
#[test]
fn one_of_each_type_is_chosen() {
    let (hybrid, classical) = (suite(HYBRID), suite(CLASSICAL));
    let both = [HYBRID, CLASSICAL];
    for (ours, offered, expected) in [
        (&[HYBRID][..], &[(1, 36)][..], Some((vec![(1, 36)], hybrid))),
        (
            &[HYBRID],
            &[(1, 37), (1, 36)],
            Some((vec![(1, 36)], hybrid)),
        ),
        (&[HYBRID], &[(1, 36), (1, 0)], Some((vec![(1, 36)], hybrid))),
        // The peer's numbers are the peer's.
        (&[HYBRID], &[(7, 36)], Some((vec![(7, 36)], hybrid))),
        (
            &[HYBRID],
            &[(1, 37), (1, 0), (2, 36), (3, 0)],
            Some((vec![(1, 0), (2, 36), (3, 0)], hybrid)),
        ),
        (&[HYBRID], &[(1, 37)], None),
        (&[HYBRID], &[(1, 36), (2, 37)], None),
        (&[HYBRID], &[(1, 0)], None),
        (&[HYBRID], &[], None),
        (&[CLASSICAL], &[(1, 36)], None),
        (
            &[CLASSICAL],
            &[(1, 36), (1, 0)],
            Some((vec![(1, 0)], classical)),
        ),
        (&[CLASSICAL], &[], Some((vec![], classical))),
        (&both, &[(1, 36), (1, 0)], Some((vec![(1, 36)], hybrid))),
        (&both, &[], Some((vec![], classical))),
    ] {
        assert_eq!(
            chosen(ours, &offer(offered)),
            expected,
            "{ours:?} {offered:?}"
        );
    }
}

/// D16: an attribute that we do not know makes the transform unusable.
#[test]
fn transforms_with_attributes_are_passed_over() {
    let mut offered = offer(&[(1, ML_KEM_768)]);
    let last = offered[0].transforms.last_mut().unwrap();
    last.unknown_attribute = true;
    assert_eq!(chosen(&[HYBRID], &offered), None);
    let last = offered[0].transforms.last_mut().unwrap();
    (last.unknown_attribute, last.key_bits) = (false, Some(256));
    assert_eq!(chosen(&[HYBRID], &offered), None);
}

/// D16: no answer can add, change or leave out an additional exchange.
#[test]
fn answers_other_than_the_offer_are_refused() {
    let refused =
        |ours: &str, answer: &[(u8, u16)]| verify_ike(&list(&[ours]), &offer(answer)).unwrap_err();
    let not_offered = |number, id| AnswerError::NotOffered(Transform::new(kind(number), id));
    let missing = AnswerError::Missing(TransformType::ADDKE1);
    assert_eq!(refused(HYBRID, &[]), missing);
    assert_eq!(refused(HYBRID, &[(1, 0)]), not_offered(1, 0));
    assert_eq!(
        refused(HYBRID, &[(2, ML_KEM_768)]),
        not_offered(2, ML_KEM_768)
    );
    assert_eq!(
        refused(HYBRID, &[(1, ML_KEM_1024)]),
        not_offered(1, ML_KEM_1024)
    );
    let two = [(1, ML_KEM_768), (2, ML_KEM_768)];
    assert_eq!(refused(HYBRID, &two), AnswerError::Several(kind(1)));
    assert_eq!(
        refused(CLASSICAL, &[(1, ML_KEM_768)]),
        not_offered(1, ML_KEM_768)
    );
}
