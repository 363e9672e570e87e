//! Additional key exchanges in a peer's proposal (RFC 9370 §2.2.1): transform types 6 to 12, of each of
//! which one is agreed on, NONE where it was offered. We take part in one such exchange at most; which
//! of the seven types it has is the peer's to say.

use std::collections::BTreeMap;

use super::AnswerError;
use crate::algorithm::Kem;
use crate::wire::{Proposal, Transform, TransformType};

/// The ID that stands for no additional key exchange.
const NONE: u16 = 0;

/// What a proposal offers of each type that is in it.
#[derive(Debug, Default)]
pub(super) struct Additional(BTreeMap<TransformType, Options>);

#[derive(Debug, Default)]
struct Options {
    /// What we know of it, in the peer's order.
    kems: Vec<Kem>,
    /// NONE is among them.
    optional: bool,
}

impl Additional {
    /// Takes a transform of one of these types.
    pub(super) fn add(&mut self, transform: &Transform) {
        if transform.kind.additional_key_exchange().is_none() {
            return;
        }
        let options = self.0.entry(transform.kind).or_default();
        if transform.key_bits.is_none() && !transform.unknown_attribute {
            options.kems.extend(Kem::from_transform_id(transform.id));
            options.optional |= transform.id == NONE;
        }
    }

    /// One of ours, or none where we have none, with the transforms that say so. `None`: neither can be
    /// had.
    pub(super) fn choose(&self, ours: &[Kem]) -> Option<(Option<Kem>, Vec<Transform>)> {
        if ours.is_empty() {
            return Some((None, self.all_none_but(None)?));
        }
        let of_type = |kem: Kem| {
            let mut types = self.0.iter();
            types.find_map(|(kind, options)| {
                let others = self.all_none_but(Some(*kind))?;
                options.kems.contains(&kem).then_some((*kind, others))
            })
        };
        ours.iter().find_map(|&kem| {
            let (kind, mut transforms) = of_type(kem)?;
            transforms.push(Transform::new(kind, kem.transform_id()));
            Some((Some(kem), transforms))
        })
    }

    /// NONE for every type but this, where all of them allow it.
    fn all_none_but(&self, chosen: Option<TransformType>) -> Option<Vec<Transform>> {
        let others = self.0.iter().filter(|(kind, _)| Some(**kind) != chosen);
        others
            .map(|(kind, options)| options.optional.then(|| Transform::new(*kind, NONE)))
            .collect()
    }
}

/// The additional key exchange of an answer to an offer of these: one as the first of its kind, or none
/// where we offered none.
pub(super) fn verify(answer: &Proposal, ours: &[Kem]) -> Result<Option<Kem>, AnswerError> {
    let transforms = answer.transforms.iter();
    let found: Vec<_> = transforms
        .filter(|transform| transform.kind.additional_key_exchange().is_some())
        .collect();
    match &found[..] {
        [] if ours.is_empty() => Ok(None),
        [] => Err(AnswerError::Missing(TransformType::ADDKE1)),
        [only] => {
            let known = ours.iter().find(|kem| Transform::from(**kem) == **only);
            known
                .copied()
                .map(Some)
                .ok_or(AnswerError::NotOffered(**only))
        }
        [first, ..] => Err(AnswerError::Several(first.kind)),
    }
}

#[cfg(test)]
mod tests;
