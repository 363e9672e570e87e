//! What we offer and accept for an IKE SA and for ESP, and what was agreed on.
//!
//! Proposals are written as in strongSwan's files (`aes256gcm16-prfsha256-x25519`,
//! `aes256-sha256-modp2048`) and go out as SA
//! payload proposals (RFC 7296 §3.3.1). Choosing from a peer's proposals is in
//! [`select`](crate::select), the algorithms themselves are in [`algorithm`](crate::algorithm).

mod ciphers;
mod keyword;
mod offer;

use std::fmt;

pub use self::ciphers::Ciphers;
pub use self::keyword::{KeywordError, KeywordFault, Use};
pub(crate) use self::offer::numbered;
pub use self::offer::{esp_offer, esp_offer_with_groups, ike_offer, ike_rekey_offer};
use crate::algorithm::{Cipher, Group, Integrity, Kem, Prf};

/// One proposal for an IKE SA: of each list exactly one is agreed on. No list is empty, but for that of
/// additional key exchanges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IkeProposal {
    ciphers: Ciphers,
    prfs: Vec<Prf>,
    groups: Vec<Group>,
    additional: Vec<Kem>,
}

impl IkeProposal {
    /// Reads a proposal such as `aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp256`.
    pub fn parse(text: &str) -> Result<Self, KeywordError> {
        keyword::ike(text)
    }

    /// What encrypts and authenticates.
    pub fn ciphers(&self) -> &Ciphers {
        &self.ciphers
    }

    /// The PRFs, best first.
    pub fn prfs(&self) -> &[Prf] {
        &self.prfs
    }

    /// The groups, best first.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The methods for an additional key exchange (RFC 9370), best first; empty: there is none.
    pub fn additional(&self) -> &[Kem] {
        &self.additional
    }

    /// Whether it has everything of what was agreed on, and wants nothing more.
    pub fn allows(&self, suite: IkeSuite) -> bool {
        let IkeSuite {
            cipher,
            prf,
            group,
            additional,
        } = suite;
        self.ciphers.all().contains(&cipher)
            && self.prfs.contains(&prf)
            && self.groups.contains(&group)
            && match additional {
                Some(kem) => self.additional.contains(&kem),
                None => self.additional.is_empty(),
            }
    }

    /// The keywords of its weak algorithms, for a warning (RFC 8247).
    pub fn weak(&self) -> Vec<&'static str> {
        weak(&self.ciphers, &self.prfs, &self.groups)
    }
}

/// As it is written in a file: PRFs that the integrity algorithms imply are left out.
impl fmt::Display for IkeProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = if self.prfs == implied_prfs(&self.ciphers) {
            &[]
        } else {
            self.prfs.as_slice()
        };
        let keywords = self.ciphers.keywords().into_iter();
        let keywords = keywords.chain(named.iter().map(|p| p.keyword()));
        let keywords = keywords.chain(self.groups.iter().map(|g| g.keyword()));
        hyphenated(
            f,
            keywords.chain(self.additional.iter().map(|k| k.keyword())),
        )
    }
}

/// Of these, the proposals whose key exchanges are no weaker than what an IKE SA was agreed to use: what
/// it may be rekeyed with, so that nothing that was kept from a quantum computer is given to it later.
pub(crate) fn no_weaker(proposals: &[IkeProposal], than: IkeSuite) -> Vec<IkeProposal> {
    let holds =
        |proposal: &&IkeProposal| than.additional.is_none() || !proposal.additional.is_empty();
    proposals.iter().filter(holds).cloned().collect()
}

/// The PRFs of a proposal for IKE that names none: those of its integrity algorithms.
fn implied_prfs(ciphers: &Ciphers) -> Vec<Prf> {
    let integrities = ciphers.integrities().iter();
    integrities.map(|integrity| integrity.prf()).collect()
}

/// The keywords of those that only peers without anything better are to get.
fn weak(ciphers: &Ciphers, prfs: &[Prf], groups: &[Group]) -> Vec<&'static str> {
    let weak_integrities = ciphers.integrities().iter().filter(|i| i.is_weak());
    let implied = implied_prfs(ciphers);
    let weak_prfs = prfs.iter().filter(|p| p.is_weak() && !implied.contains(p));
    let weak_groups = groups.iter().filter(|g| g.is_weak());
    weak_integrities
        .map(|i| i.keyword())
        .chain(weak_prfs.map(|p| p.keyword()))
        .chain(weak_groups.map(|g| g.keyword()))
        .collect()
}

/// One proposal for ESP. The lists of ciphers and sequence numbers are never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EspProposal {
    ciphers: Ciphers,
    groups: Vec<Group>,
    additional: Vec<Kem>,
    pfs_optional: bool,
    esn: Vec<Esn>,
}

impl EspProposal {
    /// Reads a proposal such as `aes256gcm16-x25519-modpnone`. `esn` holds where the text has
    /// neither `esn` nor `noesn`.
    pub fn parse(text: &str, esn: EsnPolicy) -> Result<Self, KeywordError> {
        keyword::esp(text, esn)
    }

    /// What encrypts and authenticates.
    pub fn ciphers(&self) -> &Ciphers {
        &self.ciphers
    }

    /// The groups for a fresh key exchange on rekey (PFS), best first; empty: none.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The methods for an additional key exchange on rekey (RFC 9370), best first; empty: there is none.
    /// Where there is one, there are groups, and PFS is not optional.
    pub fn additional(&self) -> &[Kem] {
        &self.additional
    }

    /// Whether a rekey without a fresh key exchange is acceptable: there is no group, or
    /// `modpnone` stands beside the groups.
    pub fn pfs_optional(&self) -> bool {
        self.pfs_optional || self.groups.is_empty()
    }

    /// The same without a fresh key exchange, where that is acceptable.
    pub fn without_groups(&self) -> Option<Self> {
        self.pfs_optional().then(|| Self {
            groups: Vec::new(),
            ..self.clone()
        })
    }

    /// The sizes of sequence numbers, best first.
    pub fn esn(&self) -> &[Esn] {
        &self.esn
    }

    /// The keywords of its weak algorithms, for a warning (RFC 8221, RFC 8247).
    pub fn weak(&self) -> Vec<&'static str> {
        weak(&self.ciphers, &[], &self.groups)
    }
}

/// As it is written in a file, with the sequence numbers always spelled out.
impl fmt::Display for EspProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keywords = self.ciphers.keywords().into_iter();
        let keywords = keywords.chain(self.groups.iter().map(|g| g.keyword()));
        let keywords = keywords.chain(self.additional.iter().map(|k| k.keyword()));
        let keywords = keywords.chain(self.pfs_optional.then_some(keyword::NO_GROUP));
        hyphenated(f, keywords.chain(self.esn.iter().map(|e| e.keyword())))
    }
}

/// Whether the sequence numbers of ESP are extended (transform type 5; RFC 4303 §2.2.1). RFC 9827
/// calls the type Sequence Numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Esn {
    /// 64 bits, of which 32 are sent.
    Yes,
    /// 32 bits.
    No,
}

impl Esn {
    /// The transform ID (RFC 7296 §3.3.2).
    pub fn transform_id(self) -> u16 {
        match self {
            Self::No => 0,
            Self::Yes => 1,
        }
    }

    /// The one with this transform ID.
    pub fn from_transform_id(id: u16) -> Option<Self> {
        [Self::No, Self::Yes]
            .into_iter()
            .find(|esn| esn.transform_id() == id)
    }

    /// How proposals in a file write it.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Yes => "esn",
            Self::No => "noesn",
        }
    }
}

/// What `esn = …` in a file asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EsnPolicy {
    /// Extended sequence numbers, or without where the peer has none.
    #[default]
    Prefer,
    /// Only extended ones.
    Require,
    /// Only 32-bit ones.
    Never,
}

impl EsnPolicy {
    fn choices(self) -> Vec<Esn> {
        match self {
            Self::Prefer => vec![Esn::Yes, Esn::No],
            Self::Require => vec![Esn::Yes],
            Self::Never => vec![Esn::No],
        }
    }
}

/// What we offer and accept for the IKE SA where a file has no list.
pub const DEFAULT_IKE: [&str; 2] = [
    "aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp256-ecp384",
    "aes256-sha384-sha256-ecp256-modp2048",
];

/// What we offer and accept for ESP where a file has no list.
pub const DEFAULT_ESP: [&str; 2] = [
    "aes256gcm16-aes128gcm16-chacha20poly1305-x25519-ecp256-modp2048-modpnone",
    "aes256-sha256-x25519-ecp256-modp2048-modpnone",
];

/// [`DEFAULT_IKE`], read.
pub fn default_ike() -> Vec<IkeProposal> {
    let proposals = DEFAULT_IKE.iter();
    proposals
        .filter_map(|text| IkeProposal::parse(text).ok())
        .collect()
}

/// [`DEFAULT_ESP`], read.
pub fn default_esp(esn: EsnPolicy) -> Vec<EspProposal> {
    let proposals = DEFAULT_ESP.iter();
    proposals
        .filter_map(|text| EspProposal::parse(text, esn).ok())
        .collect()
}

/// What an IKE SA was agreed to use. Displays as `aes256gcm16-prfsha256-x25519` or
/// `aes256-sha256-modp2048`, as the proposal that offers this alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IkeSuite {
    /// Protects the messages.
    pub cipher: Cipher,
    /// Derives keys and proves identities.
    pub prf: Prf,
    /// The key exchange.
    pub group: Group,
    /// The additional key exchange (RFC 9370), if there is one.
    pub additional: Option<Kem>,
}

impl fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cipher,
            prf,
            group,
            additional,
        } = self;
        if cipher.integrity().map(Integrity::prf) == Some(*prf) {
            write!(f, "{cipher}-{group}")?;
        } else {
            write!(f, "{cipher}-{prf}-{group}")?;
        }
        match additional {
            Some(kem) => write!(f, "-{kem}"),
            None => Ok(()),
        }
    }
}

/// What a CHILD_SA was agreed to use. Displays as `aes256gcm16` or `aes256-sha256-esn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EspSuite {
    /// Protects the packets.
    pub cipher: Cipher,
    /// Whether sequence numbers are extended.
    pub esn: bool,
}

impl fmt::Display for EspSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.cipher, if self.esn { "-esn" } else { "" })
    }
}

/// Proposals as they are written in a file, for people.
pub fn list(proposals: &[impl fmt::Display]) -> String {
    let texts: Vec<String> = proposals.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

fn hyphenated<'a>(
    f: &mut fmt::Formatter<'_>,
    keywords: impl Iterator<Item = &'a str>,
) -> fmt::Result {
    for (place, keyword) in keywords.enumerate() {
        if place > 0 {
            f.write_str("-")?;
        }
        f.write_str(keyword)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
