//! Choosing from a peer's proposals as the responder, and checking the peer's choice as the
//! initiator (RFC 7296 §2.7, §3.3). Our own proposals are in [`proposal`](crate::proposal).
//!
//! # How a responder chooses
//! Our proposals are tried in our order, and for each of them the peer's in theirs: the first two
//! that have something in common of every kind. From these two, of each kind, what we like best.
//! There is one exception: the group of the KE payload that came is taken where both have it and it
//! is at least as strong as the one we like best, since any other would cost a round trip
//! (INVALID_KE_PAYLOAD). So the public value that came never makes the choice of a cipher or PRF
//! another one, and never leads to a weaker group.

use crate::algorithm::{Encryption, Group, Prf};
use crate::proposal::{Esn, EspProposal, EspSuite, IkeProposal, IkeSuite, numbered};
use crate::wire::{EspSpi, Proposal, ProtocolId, Transform, TransformType};

/// What a responder answers in IKE_SA_INIT: the chosen proposal, cut down to one transform of each
/// type, and what it means. `None`: nothing suits both. `ke` is the group number of the KE payload;
/// the suite's group may be another one, which the peer then has to be asked for.
pub(crate) fn choose_ike(
    ours: &[IkeProposal],
    offered: &[Proposal],
    ke: u16,
) -> Option<(Proposal, IkeSuite)> {
    let ke = Group::from_transform_id(ke);
    pairs(ours, offered).find_map(|(ours, offered)| {
        let theirs = Menu::read(offered, &IKE_OFFERED).ok()?;
        let suite = IkeSuite {
            encryption: first_common(ours.encryptions(), &theirs.encryptions)?,
            prf: first_common(ours.prfs(), &theirs.prfs)?,
            group: common_group(ours.groups(), &theirs.groups, ke)?,
        };
        let transforms = vec![
            Transform::from(suite.encryption),
            Transform::from(suite.prf),
            Transform::from(suite.group),
        ];
        Some((cut_down(offered, transforms, Vec::new()), suite))
    })
}

/// What a responder answers for ESP in IKE_AUTH: the chosen proposal with `inbound`, the SPI that we
/// receive on; what it means; and the SPI that the peer receives on. KE transforms are passed over
/// (D38), and a peer that does not say how long its sequence numbers are has short ones (D15).
pub(crate) fn choose_esp(
    ours: &[EspProposal],
    offered: &[Proposal],
    inbound: EspSpi,
) -> Option<(Proposal, EspSuite, EspSpi)> {
    pairs(ours, offered).find_map(|(ours, offered)| {
        let theirs = Menu::read(offered, &ESP_OFFERED).ok()?;
        let outbound = esp_spi(offered).ok().filter(|spi| !spi.is_reserved())?;
        let encryption = first_common(ours.encryptions(), &theirs.encryptions)?;
        let their_esn = theirs.esn.as_deref().unwrap_or(&[Esn::No]);
        let esn = first_common(ours.esn(), their_esn)?;
        let mut transforms = vec![Transform::from(encryption)];
        transforms.extend(theirs.esn.as_ref().map(|_| Transform::from(esn)));
        let chosen = cut_down(offered, transforms, inbound.0.to_be_bytes().to_vec());
        let esn = esn == Esn::Yes;
        Some((chosen, EspSuite { encryption, esn }, outbound))
    })
}

/// What is wrong with an answer to our proposals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    /// Not exactly one proposal.
    #[error("{0} proposals where one has to be chosen")]
    Proposals(usize),
    /// A number that no proposal of ours has.
    #[error("proposal {0}, which was not offered")]
    Number(u8),
    /// For another protocol.
    #[error("a proposal for {0}")]
    Protocol(ProtocolId),
    /// An SPI of a length that does not belong to the protocol.
    #[error("an SPI of {0} octets")]
    SpiLength(usize),
    /// A transform that is not of the chosen proposal, or in a form that nobody may accept.
    #[error("{0}, which was not offered")]
    NotOffered(Transform),
    /// A type of transform that has to be there is not.
    #[error("no {0}")]
    Missing(TransformType),
    /// More than one transform of a type.
    #[error("more than one {0}")]
    Several(TransformType),
}

/// The initiator's check of the answer in IKE_SA_INIT: one of our proposals, with one transform of
/// each type (D16, RFC 7296 §3.3.6). Whether the KE payload fits is the caller's to check.
pub(crate) fn verify_ike(
    ours: &[IkeProposal],
    answer: &[Proposal],
) -> Result<IkeSuite, AnswerError> {
    let (answer, ours) = answered(ours, answer)?;
    let theirs = Menu::read(answer, &IKE_ANSWERED)?;
    Ok(IkeSuite {
        encryption: only(
            answer,
            TransformType::ENCR,
            &theirs.encryptions,
            ours.encryptions(),
        )?,
        prf: only(answer, TransformType::PRF, &theirs.prfs, ours.prfs())?,
        group: only(answer, TransformType::KE, &theirs.groups, ours.groups())?,
    })
}

/// The initiator's check of the answer for ESP in IKE_AUTH, as [`verify_ike`]; with the SPI that the
/// peer receives on. Whether that SPI is a reserved one is the caller's to check.
pub(crate) fn verify_esp(
    ours: &[EspProposal],
    answer: &[Proposal],
) -> Result<(EspSuite, EspSpi), AnswerError> {
    let (answer, ours) = answered(ours, answer)?;
    let theirs = Menu::read(answer, &ESP_ANSWERED)?;
    let encryption = only(
        answer,
        TransformType::ENCR,
        &theirs.encryptions,
        ours.encryptions(),
    )?;
    let their_esn = theirs.esn.as_deref().unwrap_or_default();
    let esn = only(answer, TransformType::ESN, their_esn, ours.esn())? == Esn::Yes;
    Ok((EspSuite { encryption, esn }, esp_spi(answer)?))
}

/// The one proposal of an answer, and ours of the same number.
fn answered<'a, T>(
    ours: &'a [T],
    answer: &'a [Proposal],
) -> Result<(&'a Proposal, &'a T), AnswerError> {
    let [answer] = answer else {
        return Err(AnswerError::Proposals(answer.len()));
    };
    let same_number = numbered(ours).find(|(number, _)| *number == answer.number);
    let (_, ours) = same_number.ok_or(AnswerError::Number(answer.number))?;
    Ok((answer, ours))
}

/// The only transform of a type in an answer; it has to be one of ours.
fn only<T: Copy + PartialEq>(
    answer: &Proposal,
    kind: TransformType,
    known: &[T],
    ours: &[T],
) -> Result<T, AnswerError> {
    let mut transforms = answer
        .transforms
        .iter()
        .filter(|transform| transform.kind == kind);
    let transform = transforms.next().ok_or(AnswerError::Missing(kind))?;
    if transforms.next().is_some() {
        return Err(AnswerError::Several(kind));
    }
    let known = known
        .first()
        .copied()
        .filter(|algorithm| ours.contains(algorithm));
    known.ok_or(AnswerError::NotOffered(*transform))
}

/// Our proposals in our order, each with all of the peer's in theirs.
fn pairs<'a, T>(
    ours: &'a [T],
    offered: &'a [Proposal],
) -> impl Iterator<Item = (&'a T, &'a Proposal)> {
    ours.iter()
        .flat_map(move |ours| offered.iter().map(move |offered| (ours, offered)))
}

/// What may stand in a proposal.
struct Form {
    protocol: ProtocolId,
    spi_octets: usize,
    kinds: &'static [TransformType],
}

const IKE_OFFERED: Form = Form {
    kinds: &[
        TransformType::ENCR,
        TransformType::PRF,
        TransformType::INTEG,
        TransformType::KE,
    ],
    ..IKE_ANSWERED
};

/// No INTEG, since we offer none with an AEAD.
const IKE_ANSWERED: Form = Form {
    protocol: ProtocolId::IKE,
    spi_octets: 0,
    kinds: &[TransformType::ENCR, TransformType::PRF, TransformType::KE],
};

const ESP_OFFERED: Form = Form {
    kinds: &[
        TransformType::ENCR,
        TransformType::INTEG,
        TransformType::KE,
        TransformType::ESN,
    ],
    ..ESP_ANSWERED
};

/// Neither INTEG nor KE, since in IKE_AUTH we offer none.
const ESP_ANSWERED: Form = Form {
    protocol: ProtocolId::ESP,
    spi_octets: 4,
    kinds: &[TransformType::ENCR, TransformType::ESN],
};

/// What we know of the algorithms in a peer's proposal, in its order. Others are left out: unknown
/// numbers, AES without a Key Length, and transforms with an attribute that we do not know (D15,
/// D16, RFC 7296 §3.3.6).
#[derive(Default)]
struct Menu {
    encryptions: Vec<Encryption>,
    prfs: Vec<Prf>,
    groups: Vec<Group>,
    /// `None`: the proposal says nothing of it.
    esn: Option<Vec<Esn>>,
}

impl Menu {
    /// A type of transform that does not belong there makes the proposal unacceptable (D16, RFC
    /// 7296 §3.3.6), and so does an integrity algorithm that is not optional, since an AEAD has none
    /// (D15, RFC 7296 §3.3).
    fn read(proposal: &Proposal, form: &Form) -> Result<Self, AnswerError> {
        if proposal.protocol != form.protocol {
            return Err(AnswerError::Protocol(proposal.protocol));
        }
        if proposal.spi.len() != form.spi_octets {
            return Err(AnswerError::SpiLength(proposal.spi.len()));
        }
        let no_integrity = proposal.transforms.contains(&NO_INTEGRITY);
        let mut menu = Self::default();
        for transform in &proposal.transforms {
            let kind = transform.kind;
            if !form.kinds.contains(&kind) || kind == TransformType::INTEG && !no_integrity {
                return Err(AnswerError::NotOffered(*transform));
            }
            menu.add(transform);
        }
        Ok(menu)
    }

    fn add(&mut self, transform: &Transform) {
        let Transform {
            kind,
            id,
            key_bits,
            unknown_attribute,
        } = *transform;
        let plain = key_bits.is_none() && !unknown_attribute;
        let id_of_plain = plain.then_some(id);
        match kind {
            TransformType::ENCR if !unknown_attribute => {
                self.encryptions
                    .extend(Encryption::from_transform(id, key_bits));
            }
            TransformType::PRF => self
                .prfs
                .extend(id_of_plain.and_then(Prf::from_transform_id)),
            TransformType::KE => self
                .groups
                .extend(id_of_plain.and_then(Group::from_transform_id)),
            TransformType::ESN => {
                let esn = self.esn.get_or_insert_default();
                esn.extend(id_of_plain.and_then(Esn::from_transform_id));
            }
            _ => {}
        }
    }
}

/// "No integrity algorithm", which is the same as no transform of that type.
const NO_INTEGRITY: Transform = Transform::new(TransformType::INTEG, 0);

/// The offered proposal cut down to these transforms: all that were chosen, and NONE of the
/// integrity algorithms where there are any, so that there is one of each type.
fn cut_down(offered: &Proposal, mut transforms: Vec<Transform>, spi: Vec<u8>) -> Proposal {
    transforms.extend(
        offered
            .transforms
            .contains(&NO_INTEGRITY)
            .then_some(NO_INTEGRITY),
    );
    Proposal {
        number: offered.number,
        protocol: offered.protocol,
        spi,
        transforms,
    }
}

/// The best of ours that is among theirs.
fn first_common<T: Copy + PartialEq>(ours: &[T], theirs: &[T]) -> Option<T> {
    ours.iter()
        .copied()
        .find(|algorithm| theirs.contains(algorithm))
}

/// The best common group, or that of the KE payload that came, as the module says.
fn common_group(ours: &[Group], theirs: &[Group], ke: Option<Group>) -> Option<Group> {
    let best = first_common(ours, theirs)?;
    let came = ke.filter(|ke| ours.contains(ke) && theirs.contains(ke));
    Some(
        came.filter(|came| came.strength_bits() >= best.strength_bits())
            .unwrap_or(best),
    )
}

/// The sender's SPI in a proposal for ESP.
fn esp_spi(proposal: &Proposal) -> Result<EspSpi, AnswerError> {
    let spi = <[u8; 4]>::try_from(proposal.spi.as_slice());
    let spi = spi.map_err(|_| AnswerError::SpiLength(proposal.spi.len()))?;
    Ok(EspSpi(u32::from_be_bytes(spi)))
}

#[cfg(test)]
mod tests;
