//! Our proposals as they go out in an SA payload (RFC 7296 §3.3), numbered from 1.

use super::{Esn, EspProposal, IkeProposal};
use crate::algorithm::{Encryption, Group, Integrity, Kem, Prf};
use crate::select::NO_GROUP;
use crate::wire::{EspSpi, IkeSpi, Proposal, ProtocolId, Transform, TransformType};

/// What we offer in IKE_SA_INIT: no SPI (D15, RFC 7296 §3.3.1).
pub fn ike_offer(proposals: &[IkeProposal]) -> Vec<Proposal> {
    let proposals = numbered(proposals);
    proposals
        .map(|(number, proposal)| proposal.to_wire(number))
        .collect()
}

/// What we offer when an IKE SA is rekeyed: `spi` is ours of the new one (RFC 7296 §1.3.2).
pub fn ike_rekey_offer(proposals: &[IkeProposal], spi: IkeSpi) -> Vec<Proposal> {
    let with_spi = |proposal| Proposal {
        spi: spi.0.to_be_bytes().to_vec(),
        ..proposal
    };
    ike_offer(proposals).into_iter().map(with_spi).collect()
}

/// What we offer for ESP in CREATE_CHILD_SA: as in IKE_AUTH, with the groups for a key exchange of the
/// pair's own, and NONE where it may go without (RFC 7296 §1.3, §3.3.2).
pub fn esp_offer_with_groups(proposals: &[EspProposal], inbound: EspSpi) -> Vec<Proposal> {
    let groups = |proposal: &EspProposal| {
        let groups = proposal.groups.iter().copied().map(Transform::from);
        let none = !proposal.groups.is_empty() && proposal.pfs_optional;
        let additional = proposal.additional.iter().copied().map(Transform::from);
        groups
            .chain(none.then_some(NO_GROUP))
            .chain(additional)
            .collect::<Vec<_>>()
    };
    numbered(proposals)
        .map(|(number, proposal)| {
            let mut offer = proposal.to_wire(number, inbound);
            offer.transforms.extend(groups(proposal));
            offer
        })
        .collect()
}

/// What we offer for ESP in IKE_AUTH, where no KE transform may stand (D38, RFC 7296 §1.2).
/// `inbound` is the SPI that we receive on.
pub fn esp_offer(proposals: &[EspProposal], inbound: EspSpi) -> Vec<Proposal> {
    let proposals = numbered(proposals);
    proposals
        .map(|(number, proposal)| proposal.to_wire(number, inbound))
        .collect()
}

/// What is beyond 255 has no number, and stays behind: nobody could choose it.
pub(crate) fn numbered<T>(proposals: &[T]) -> impl Iterator<Item = (u8, &T)> {
    (1..=u8::MAX).zip(proposals)
}

impl IkeProposal {
    fn to_wire(&self, number: u8) -> Proposal {
        let ciphers = Vec::from(&self.ciphers).into_iter();
        let prfs = self.prfs.iter().copied().map(Transform::from);
        let groups = self.groups.iter().copied().map(Transform::from);
        let additional = self.additional.iter().copied().map(Transform::from);
        Proposal {
            number,
            protocol: ProtocolId::IKE,
            spi: Vec::new(),
            transforms: ciphers
                .chain(prfs)
                .chain(groups)
                .chain(additional)
                .collect(),
        }
    }
}

impl EspProposal {
    fn to_wire(&self, number: u8, inbound: EspSpi) -> Proposal {
        let ciphers = Vec::from(&self.ciphers).into_iter();
        let esn = self.esn.iter().copied().map(Transform::from);
        Proposal {
            number,
            protocol: ProtocolId::ESP,
            spi: inbound.0.to_be_bytes().to_vec(),
            transforms: ciphers.chain(esn).collect(),
        }
    }
}

impl From<Encryption> for Transform {
    fn from(encryption: Encryption) -> Self {
        Self {
            key_bits: encryption.key_bits(),
            ..Self::new(TransformType::ENCR, encryption.transform_id())
        }
    }
}

impl From<Integrity> for Transform {
    fn from(integrity: Integrity) -> Self {
        Self::new(TransformType::INTEG, integrity.transform_id())
    }
}

impl From<Prf> for Transform {
    fn from(prf: Prf) -> Self {
        Self::new(TransformType::PRF, prf.transform_id())
    }
}

impl From<Group> for Transform {
    fn from(group: Group) -> Self {
        Self::new(TransformType::KE, group.transform_id())
    }
}

/// As the first additional key exchange, which is the only one that we offer.
impl From<Kem> for Transform {
    fn from(kem: Kem) -> Self {
        Self::new(TransformType::ADDKE1, kem.transform_id())
    }
}

impl From<Esn> for Transform {
    fn from(esn: Esn) -> Self {
        Self::new(TransformType::ESN, esn.transform_id())
    }
}
