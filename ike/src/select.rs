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
//!
//! An additional key exchange is in [`additional`].

mod additional;

use self::additional::Additional;
use crate::algorithm::{Aead, Cbc, Cipher, Encryption, Group, Integrity, Kem, Prf};
use crate::proposal::{Ciphers, Esn, EspProposal, EspSuite, IkeProposal, IkeSuite, numbered};
use crate::wire::{EspSpi, IkeSpi, Proposal, ProtocolId, Transform, TransformType};

/// What a responder answers in IKE_SA_INIT: the chosen proposal, cut down to one transform of each
/// type, and what it means. `None`: nothing suits both. `ke` is the group number of the KE payload;
/// the suite's group may be another one, which the peer then has to be asked for.
pub(crate) fn choose_ike(
    ours: &[IkeProposal],
    offered: &[Proposal],
    ke: u16,
) -> Option<(Proposal, IkeSuite)> {
    choose_ike_as(&IKE, ours, offered, ke)
}

/// The same for the rekeying of an IKE SA: the answer has `spi`, ours of the new one. Also the
/// peer's (D15, RFC 7296 §1.3.2).
pub(crate) fn choose_ike_rekey(
    ours: &[IkeProposal],
    offered: &[Proposal],
    ke: u16,
    spi: IkeSpi,
) -> Option<(Proposal, IkeSuite, IkeSpi)> {
    let form = Form {
        spi_octets: 8,
        ..IKE
    };
    let (mut chosen, suite) = choose_ike_as(&form, ours, offered, ke)?;
    let peers = ike_spi(&chosen).ok().filter(|spi| *spi != IkeSpi::NONE)?;
    chosen.spi = spi.0.to_be_bytes().to_vec();
    Some((chosen, suite, peers))
}

fn choose_ike_as(
    form: &Form,
    ours: &[IkeProposal],
    offered: &[Proposal],
    ke: u16,
) -> Option<(Proposal, IkeSuite)> {
    let ke = Group::from_transform_id(ke);
    pairs(ours, offered).find_map(|(ours, offered)| {
        let theirs = Menu::read(offered, form).ok()?;
        let (additional, mut others) = theirs.additional.choose(ours.additional())?;
        let suite = IkeSuite {
            cipher: common_cipher(ours.ciphers(), &theirs)?,
            prf: first_common(ours.prfs(), &theirs.prfs)?,
            group: common_group(ours.groups(), &theirs.groups, ke)?,
            additional,
        };
        others.extend([Transform::from(suite.prf), Transform::from(suite.group)]);
        Some((
            cut_down(offered, suite.cipher, &others, offered.spi.clone()),
            suite,
        ))
    })
}

/// Whether the exchange that makes a pair can have a key exchange of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pfs {
    /// IKE_AUTH: no; KE transforms are passed over (D38).
    Impossible,
    /// CREATE_CHILD_SA: with this group in the KE payload, if there is one.
    Possible(Option<u16>),
}

/// What was chosen for a pair.
pub(crate) struct EspChoice {
    pub(crate) suite: EspSuite,
    /// The SPI that the peer receives on.
    pub(crate) outbound: EspSpi,
    /// The group of the exchange's own key exchange.
    pub(crate) group: Option<Group>,
    /// The additional key exchange after it.
    pub(crate) additional: Option<Kem>,
}

/// What is good enough for the IKE SA: a peer that insists on a key exchange of that for a pair may
/// have it.
#[derive(Debug, Clone, Default)]
pub(crate) struct OfIke {
    groups: Vec<Group>,
    additional: Vec<Kem>,
}

impl OfIke {
    pub(crate) fn new(proposals: &[IkeProposal]) -> Self {
        let proposals = || proposals.iter();
        Self {
            groups: proposals().flat_map(IkeProposal::groups).copied().collect(),
            additional: proposals()
                .flat_map(IkeProposal::additional)
                .copied()
                .collect(),
        }
    }
}

/// What a responder answers for ESP: the chosen proposal with `inbound`, the SPI that we receive on,
/// and what it means. A peer that does not say how long its sequence numbers are has short ones
/// (D15).
pub(crate) fn choose_esp(
    ours: &[EspProposal],
    offered: &[Proposal],
    inbound: EspSpi,
    pfs: Pfs,
    of_ike: &OfIke,
) -> Option<(Proposal, EspChoice)> {
    pairs(ours, offered).find_map(|(ours, offered)| {
        let theirs = Menu::read(offered, &ESP).ok()?;
        let outbound = esp_spi(offered).ok().filter(|spi| !spi.is_reserved())?;
        let cipher = common_cipher(ours.ciphers(), &theirs)?;
        let their_esn = theirs.esn.as_deref().unwrap_or(&[Esn::No]);
        let esn = first_common(ours.esn(), their_esn)?;
        let (group, group_transform) = choose_pfs(ours, &theirs, pfs, of_ike)?;
        let (additional, mut others) = match pfs {
            Pfs::Impossible => (None, Vec::new()),
            Pfs::Possible(_) => theirs
                .additional
                .choose(ours.additional())
                .or_else(|| theirs.additional.choose(&of_ike.additional))
                .filter(|(additional, _)| group.is_some() || additional.is_none())?,
        };
        let esn_transform = theirs.esn.as_ref().map(|_| Transform::from(esn));
        others.extend(group_transform.into_iter().chain(esn_transform));
        let chosen = cut_down(offered, cipher, &others, inbound.0.to_be_bytes().to_vec());
        let esn = esn == Esn::Yes;
        let suite = EspSuite { cipher, esn };
        let choice = EspChoice {
            suite,
            outbound,
            group,
            additional,
        };
        Some((chosen, choice))
    })
}

/// A group of both lists; else none, where both allow that; else one that is good enough for the IKE
/// SA. `None`: nothing of these. With the transform that says it, where the peer's proposal has one
/// of that type.
fn choose_pfs(
    ours: &EspProposal,
    theirs: &Menu,
    pfs: Pfs,
    of_ike: &OfIke,
) -> Option<(Option<Group>, Option<Transform>)> {
    let Pfs::Possible(ke) = pfs else {
        return Some((None, None));
    };
    let ke = ke.and_then(Group::from_transform_id);
    let with = |groups| {
        let group = common_group(groups, &theirs.groups, ke)?;
        Some((Some(group), Some(Transform::from(group))))
    };
    let without = match theirs.no_group {
        NoGroup::Unsaid => Some((None, None)),
        NoGroup::Allowed => Some((None, Some(NO_GROUP))),
        NoGroup::Excluded => None,
    };
    let without = without.filter(|_| ours.pfs_optional());
    with(ours.groups())
        .or(without)
        .or_else(|| with(&of_ike.groups))
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
    verify_ike_as(&IKE, ours, answer)
}

/// The same for the rekeying of an IKE SA, with the peer's SPI of the new one. Whether that is a
/// usable one is the caller's to check.
pub(crate) fn verify_ike_rekey(
    ours: &[IkeProposal],
    answer: &[Proposal],
) -> Result<(IkeSuite, IkeSpi), AnswerError> {
    let form = Form {
        spi_octets: 8,
        ..IKE
    };
    let suite = verify_ike_as(&form, ours, answer)?;
    let (answer, _) = answered(ours, answer)?;
    Ok((suite, ike_spi(answer)?))
}

fn verify_ike_as(
    form: &Form,
    ours: &[IkeProposal],
    answer: &[Proposal],
) -> Result<IkeSuite, AnswerError> {
    let (answer, ours) = answered(ours, answer)?;
    let theirs = Menu::read(answer, form)?;
    Ok(IkeSuite {
        cipher: only_cipher(answer, &theirs, ours.ciphers())?,
        prf: only(answer, TransformType::PRF, &theirs.prfs, ours.prfs())?,
        group: only(answer, TransformType::KE, &theirs.groups, ours.groups())?,
        additional: additional::verify(answer, ours.additional())?,
    })
}

/// The initiator's check of the answer for ESP, as [`verify_ike`]. Whether the SPI is a reserved one
/// is the caller's to check, and whether the group is that of our KE payload.
pub(crate) fn verify_esp(
    ours: &[EspProposal],
    answer: &[Proposal],
    pfs: Pfs,
) -> Result<EspChoice, AnswerError> {
    let (answer, ours) = answered(ours, answer)?;
    let form = match pfs {
        Pfs::Impossible => &ESP_WITHOUT_KE,
        Pfs::Possible(_) => &ESP,
    };
    let theirs = Menu::read(answer, form)?;
    let cipher = only_cipher(answer, &theirs, ours.ciphers())?;
    let their_esn = theirs.esn.as_deref().unwrap_or_default();
    let esn = only(answer, TransformType::ESN, their_esn, ours.esn())? == Esn::Yes;
    let suite = EspSuite { cipher, esn };
    let additional = match pfs {
        Pfs::Impossible => None,
        Pfs::Possible(_) => additional::verify(answer, ours.additional())?,
    };
    let group = match pfs {
        Pfs::Impossible => None,
        // A peer without the key exchange may leave the type out, or say that there is none.
        Pfs::Possible(_) if theirs.no_group != NoGroup::Excluded && ours.pfs_optional() => None,
        Pfs::Possible(_) => Some(only(
            answer,
            TransformType::KE,
            &theirs.groups,
            ours.groups(),
        )?),
    };
    Ok(EspChoice {
        suite,
        outbound: esp_spi(answer)?,
        group,
        additional,
    })
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

/// The cipher of an answer: an AEAD without any integrity algorithm, since we offer none with it,
/// or another with one.
fn only_cipher(answer: &Proposal, theirs: &Menu, ours: &Ciphers) -> Result<Cipher, AnswerError> {
    let encryption = only(
        answer,
        TransformType::ENCR,
        &theirs.encryptions,
        &ours.encryptions(),
    )?;
    match encryption {
        Encryption::Aead(aead) => {
            let mut transforms = answer.transforms.iter();
            match transforms.find(|transform| transform.kind == TransformType::INTEG) {
                Some(integrity) => Err(AnswerError::NotOffered(*integrity)),
                None => Ok(Cipher::Aead(aead)),
            }
        }
        Encryption::Cbc(cbc) => {
            let integrities = &theirs.integrities;
            let integrity = only(
                answer,
                TransformType::INTEG,
                integrities,
                ours.integrities(),
            )?;
            Ok(Cipher::CbcHmac(cbc, integrity))
        }
    }
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
    /// Transforms for additional key exchanges too.
    additional: bool,
}

impl Form {
    fn has(&self, kind: TransformType) -> bool {
        self.kinds.contains(&kind) || self.additional && kind.additional_key_exchange().is_some()
    }
}

const IKE: Form = Form {
    protocol: ProtocolId::IKE,
    spi_octets: 0,
    kinds: &[
        TransformType::ENCR,
        TransformType::PRF,
        TransformType::INTEG,
        TransformType::KE,
    ],
    additional: true,
};

/// In answers to CREATE_CHILD_SA, and in all offers: some peers write KE in IKE_AUTH (D38).
const ESP: Form = Form {
    kinds: &[
        TransformType::ENCR,
        TransformType::INTEG,
        TransformType::KE,
        TransformType::ESN,
    ],
    additional: true,
    ..ESP_WITHOUT_KE
};

/// In answers to IKE_AUTH, where we offer no KE.
const ESP_WITHOUT_KE: Form = Form {
    protocol: ProtocolId::ESP,
    spi_octets: 4,
    kinds: &[
        TransformType::ENCR,
        TransformType::INTEG,
        TransformType::ESN,
    ],
    additional: false,
};

/// What we know of the algorithms in a peer's proposal, in its order. Others are left out: unknown
/// numbers, AES without a Key Length, and transforms with an attribute that we do not know (D15,
/// D16, RFC 7296 §3.3.6).
#[derive(Default)]
struct Menu {
    encryptions: Vec<Encryption>,
    integrities: Vec<Integrity>,
    /// Whether the proposal can do without an integrity algorithm: none is in it, or NONE is. Only
    /// then it suits an AEAD (D15, RFC 7296 §3.3).
    integrity_is_optional: bool,
    prfs: Vec<Prf>,
    groups: Vec<Group>,
    no_group: NoGroup,
    additional: Additional,
    /// `None`: the proposal says nothing of it.
    esn: Option<Vec<Esn>>,
}

/// Whether a proposal can be taken without a key exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum NoGroup {
    /// It has no KE transform.
    #[default]
    Unsaid,
    /// NONE is among them.
    Allowed,
    /// It is not.
    Excluded,
}

impl Menu {
    /// A type of transform that does not belong there makes the proposal unacceptable (D16, RFC
    /// 7296 §3.3.6).
    fn read(proposal: &Proposal, form: &Form) -> Result<Self, AnswerError> {
        if proposal.protocol != form.protocol {
            return Err(AnswerError::Protocol(proposal.protocol));
        }
        if proposal.spi.len() != form.spi_octets {
            return Err(AnswerError::SpiLength(proposal.spi.len()));
        }
        let transforms = proposal.transforms.iter();
        let mut integrities = transforms.filter(|t| t.kind == TransformType::INTEG);
        let mut menu = Self {
            integrity_is_optional: integrities.next().is_none()
                || proposal.transforms.contains(&NO_INTEGRITY),
            ..Self::default()
        };
        for transform in &proposal.transforms {
            if !form.has(transform.kind) {
                return Err(AnswerError::NotOffered(*transform));
            }
            menu.add(transform);
        }
        let mut groups = proposal.transforms.iter();
        if proposal.transforms.contains(&NO_GROUP) {
            menu.no_group = NoGroup::Allowed;
        } else if groups.any(|transform| transform.kind == TransformType::KE) {
            menu.no_group = NoGroup::Excluded;
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
            TransformType::INTEG => self
                .integrities
                .extend(id_of_plain.and_then(Integrity::from_transform_id)),
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
            _ => self.additional.add(transform),
        }
    }
}

/// "No integrity algorithm", which is the same as no transform of that type.
const NO_INTEGRITY: Transform = Transform::new(TransformType::INTEG, 0);

/// "No key exchange" (RFC 7296 §3.3.2).
pub(crate) const NO_GROUP: Transform = Transform::new(TransformType::KE, 0);

/// The offered proposal cut down to what was chosen: the cipher's transforms and these others. NONE
/// of the integrity algorithms stays beside an AEAD where it was offered, so that there is one of
/// each type.
fn cut_down(offered: &Proposal, cipher: Cipher, others: &[Transform], spi: Vec<u8>) -> Proposal {
    let none = offered.transforms.contains(&NO_INTEGRITY);
    let integrity = match cipher.integrity() {
        Some(integrity) => Some(Transform::from(integrity)),
        None => none.then_some(NO_INTEGRITY),
    };
    let mut transforms = vec![Transform::from(cipher.encryption())];
    transforms.extend_from_slice(others);
    transforms.extend(integrity);
    Proposal {
        number: offered.number,
        protocol: offered.protocol,
        spi,
        transforms,
    }
}

/// The best cipher of ours that the peer's proposal has, with the best integrity algorithm where it
/// needs one.
fn common_cipher(ours: &Ciphers, theirs: &Menu) -> Option<Cipher> {
    match ours {
        Ciphers::Aead(aeads) if theirs.integrity_is_optional => {
            let has = |aead: &Aead| theirs.encryptions.contains(&Encryption::Aead(*aead));
            aeads.iter().copied().find(has).map(Cipher::Aead)
        }
        Ciphers::Aead(_) => None,
        Ciphers::CbcHmac { cbcs, integrities } => {
            let has = |cbc: &Cbc| theirs.encryptions.contains(&Encryption::Cbc(*cbc));
            let cbc = cbcs.iter().copied().find(has)?;
            let integrity = first_common(integrities, &theirs.integrities)?;
            Some(Cipher::CbcHmac(cbc, integrity))
        }
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

/// The sender's SPI in a proposal for rekeying an IKE SA.
fn ike_spi(proposal: &Proposal) -> Result<IkeSpi, AnswerError> {
    let spi = <[u8; 8]>::try_from(proposal.spi.as_slice());
    let spi = spi.map_err(|_| AnswerError::SpiLength(proposal.spi.len()))?;
    Ok(IkeSpi(u64::from_be_bytes(spi)))
}

/// The sender's SPI in a proposal for ESP.
fn esp_spi(proposal: &Proposal) -> Result<EspSpi, AnswerError> {
    let spi = <[u8; 4]>::try_from(proposal.spi.as_slice());
    let spi = spi.map_err(|_| AnswerError::SpiLength(proposal.spi.len()))?;
    Ok(EspSpi(u32::from_be_bytes(spi)))
}

#[cfg(test)]
mod tests;
