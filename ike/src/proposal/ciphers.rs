//! The ciphers of one proposal. AEADs and others are in proposals of their own, since an integrity
//! algorithm goes with every cipher of a proposal or with none (D15, RFC 7296 §3.3).

use super::keyword::KeywordFault;
use crate::algorithm::{Aead, Cbc, Cipher, Encryption, Integrity};
use crate::wire::Transform;

/// What a proposal encrypts and authenticates with; of each list exactly one is agreed on. No list
/// is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ciphers {
    /// AEADs, best first.
    Aead(Vec<Aead>),
    /// AES-CBC with an HMAC.
    CbcHmac {
        /// The ciphers, best first.
        cbcs: Vec<Cbc>,
        /// The integrity algorithms, best first.
        integrities: Vec<Integrity>,
    },
}

impl Ciphers {
    /// Everything that could be agreed on, best first.
    pub fn all(&self) -> Vec<Cipher> {
        match self {
            Self::Aead(aeads) => aeads.iter().copied().map(Cipher::Aead).collect(),
            Self::CbcHmac { cbcs, integrities } => {
                let pairs = cbcs.iter().flat_map(|&cbc| {
                    let integrities = integrities.iter();
                    integrities.map(move |&integrity| Cipher::CbcHmac(cbc, integrity))
                });
                pairs.collect()
            }
        }
    }

    /// The integrity algorithms, best first; none beside AEADs.
    pub fn integrities(&self) -> &[Integrity] {
        match self {
            Self::Aead(_) => &[],
            Self::CbcHmac { integrities, .. } => integrities,
        }
    }

    /// The ciphers, best first.
    pub(crate) fn encryptions(&self) -> Vec<Encryption> {
        match self {
            Self::Aead(aeads) => aeads.iter().copied().map(Encryption::Aead).collect(),
            Self::CbcHmac { cbcs, .. } => cbcs.iter().copied().map(Encryption::Cbc).collect(),
        }
    }

    pub(super) fn keywords(&self) -> Vec<&'static str> {
        let encryptions = self.encryptions().into_iter().map(Encryption::keyword);
        let integrities = self.integrities().iter().map(|i| i.keyword());
        encryptions.chain(integrities).collect()
    }
}

/// ENCR and INTEG transforms, as they go out.
impl From<&Ciphers> for Vec<Transform> {
    fn from(ciphers: &Ciphers) -> Self {
        let encryptions = ciphers.encryptions().into_iter().map(Transform::from);
        let integrities = ciphers.integrities().iter().copied().map(Transform::from);
        encryptions.chain(integrities).collect()
    }
}

/// The ciphers of a proposal that is being read.
#[derive(Default)]
pub(super) struct Reading {
    aeads: Vec<Aead>,
    cbcs: Vec<Cbc>,
    integrities: Vec<Integrity>,
}

impl Reading {
    pub(super) fn encryption(&mut self, encryption: Encryption) -> Result<(), KeywordFault> {
        match encryption {
            Encryption::Aead(_) if !self.cbcs.is_empty() => Err(KeywordFault::MixedCiphers),
            Encryption::Aead(_) if !self.integrities.is_empty() => {
                Err(KeywordFault::IntegrityBesideAead)
            }
            Encryption::Aead(aead) => add(&mut self.aeads, aead),
            Encryption::Cbc(_) if !self.aeads.is_empty() => Err(KeywordFault::MixedCiphers),
            Encryption::Cbc(cbc) => add(&mut self.cbcs, cbc),
        }
    }

    pub(super) fn integrity(&mut self, integrity: Integrity) -> Result<(), KeywordFault> {
        if self.aeads.is_empty() {
            add(&mut self.integrities, integrity)
        } else {
            Err(KeywordFault::IntegrityBesideAead)
        }
    }

    pub(super) fn finish(self) -> Result<Ciphers, KeywordFault> {
        let Self {
            aeads,
            cbcs,
            integrities,
        } = self;
        match (aeads.is_empty(), cbcs.is_empty(), integrities.is_empty()) {
            (false, ..) => Ok(Ciphers::Aead(aeads)),
            (true, true, _) => Err(KeywordFault::NoEncryption),
            (true, false, true) => Err(KeywordFault::NoIntegrity),
            (true, false, false) => Ok(Ciphers::CbcHmac { cbcs, integrities }),
        }
    }
}

pub(super) fn add<T: PartialEq>(list: &mut Vec<T>, item: T) -> Result<(), KeywordFault> {
    if list.contains(&item) {
        return Err(KeywordFault::Repeated);
    }
    list.push(item);
    Ok(())
}
