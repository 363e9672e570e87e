//! Reads strongSwan's notation for proposals, and says what is wrong with a text that is none.

use std::fmt;
use std::ops::Range;

use super::ciphers::{Reading, add};
use super::{Esn, EsnPolicy, EspProposal, IkeProposal, implied_prfs};
use crate::algorithm::{self, Absent, Aead, Encryption, Group, Integrity, Kem, Prf};

/// The keyword that makes PFS optional: the "group" NONE beside others.
pub(super) const NO_GROUP: &str = "modpnone";

/// What a proposal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// An IKE SA.
    Ike,
    /// A CHILD_SA with ESP.
    Esp,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ike => "IKE",
            Self::Esp => "ESP",
        })
    }
}

/// A text that is no proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeywordError {
    /// The part that is wrong; the whole text where something is missing.
    pub token: String,
    /// Where the part stands in the text, in octets.
    pub range: Range<usize>,
    /// What the proposal was to be for.
    pub wanted: Use,
    /// What is wrong with it.
    pub fault: KeywordFault,
}

/// What is wrong with a part of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeywordFault {
    /// Nothing between two hyphens, or no text at all.
    Empty,
    /// Names nothing; the nearest keyword that would.
    Unknown(Option<&'static str>),
    /// An algorithm that is not in this version.
    NotBuilt,
    /// An algorithm that is too weak to be in any version.
    Refused,
    /// An algorithm that has no place in this kind of proposal.
    Misplaced,
    /// Was there before.
    Repeated,
    /// An AEAD beside a cipher that is none.
    MixedCiphers,
    /// An integrity algorithm beside an AEAD, or the other way round.
    IntegrityBesideAead,
    /// No cipher in the whole proposal.
    NoEncryption,
    /// No integrity algorithm beside ciphers that need one.
    NoIntegrity,
    /// No PRF in a proposal for IKE.
    NoPrf,
    /// No group in a proposal for IKE.
    NoGroup,
    /// An additional key exchange in a proposal for ESP that has no group, or could do without.
    NoGroupBesideAdditional,
}

impl std::error::Error for KeywordError {}

impl fmt::Display for KeywordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, wanted, .. } = self;
        match self.fault {
            KeywordFault::Empty => f.write_str("an algorithm is missing here"),
            KeywordFault::Unknown(_) => write!(f, "unknown algorithm `{token}`"),
            KeywordFault::NotBuilt => write!(f, "`{token}` is not in this version"),
            KeywordFault::Refused => {
                write!(f, "`{token}` is too weak and not supported in any version")
            }
            KeywordFault::Misplaced => {
                write!(f, "`{token}` has no place in a proposal for {wanted}")
            }
            KeywordFault::Repeated => write!(f, "`{token}` names an algorithm a second time"),
            KeywordFault::MixedCiphers => write!(
                f,
                "`{token}` does not go into one proposal with the ciphers before it"
            ),
            KeywordFault::IntegrityBesideAead => write!(
                f,
                "`{token}` is beside an AEAD and an integrity algorithm, which exclude each other"
            ),
            KeywordFault::NoEncryption => write!(f, "`{token}` has no cipher"),
            KeywordFault::NoIntegrity => write!(f, "`{token}` has no integrity algorithm"),
            KeywordFault::NoPrf => write!(f, "`{token}` has no PRF"),
            KeywordFault::NoGroup => write!(f, "`{token}` has no group for the key exchange"),
            KeywordFault::NoGroupBesideAdditional => write!(
                f,
                "`{token}` has an additional key exchange, but could go without the first one"
            ),
        }
    }
}

impl KeywordError {
    /// What to do about it, as one sentence.
    pub fn help(&self) -> String {
        match self.fault {
            KeywordFault::Unknown(Some(nearest)) => format!("did you mean `{nearest}`?"),
            KeywordFault::NoEncryption => format!("add `{}`", Aead::Aes256Gcm16),
            KeywordFault::NoIntegrity => {
                format!(
                    "AES-CBC does not authenticate: add `{}`",
                    Integrity::HmacSha256
                )
            }
            KeywordFault::MixedCiphers => "make a proposal of its own of it: AEADs in one, \
                                           AES-CBC with its integrity algorithms in another"
                .to_owned(),
            KeywordFault::IntegrityBesideAead => match self.wanted {
                Use::Ike => "an AEAD authenticates by itself, but for a PRF write for example \
                             `prfsha256`"
                    .to_owned(),
                Use::Esp => {
                    "an AEAD authenticates by itself: remove the integrity algorithm".to_owned()
                }
            },
            KeywordFault::NoPrf => format!(
                "AES-GCM proposals for IKE name their PRF: add `{}`",
                Prf::HmacSha256
            ),
            KeywordFault::NoGroup => format!("add `{}` or `{}`", Group::Curve25519, Group::Ecp256),
            KeywordFault::NoGroupBesideAdditional => format!(
                "add `{}`, and leave `{NO_GROUP}` to a proposal of its own",
                Group::Curve25519
            ),
            KeywordFault::Misplaced | KeywordFault::Repeated => "remove it".to_owned(),
            KeywordFault::Empty
            | KeywordFault::Unknown(None)
            | KeywordFault::NotBuilt
            | KeywordFault::Refused => format!("choose from {}", built(self.wanted).join(", ")),
        }
    }
}

pub(super) fn ike(text: &str) -> Result<IkeProposal, KeywordError> {
    let mut ciphers = Reading::default();
    let mut prfs = vec![];
    let mut groups = vec![];
    let mut additional = vec![];
    each_token(text, Use::Ike, |keyword| match keyword {
        Keyword::Encryption(encryption) => ciphers.encryption(encryption),
        Keyword::Integrity(integrity) => ciphers.integrity(integrity),
        Keyword::Prf(prf) => add(&mut prfs, prf),
        Keyword::Group(group) => add(&mut groups, group),
        Keyword::Additional(kem) => add(&mut additional, kem),
        Keyword::NoGroup | Keyword::Esn(_) => Err(KeywordFault::Misplaced),
    })?;
    let about_all = |fault| KeywordError::about_all_of(text, Use::Ike, fault);
    let ciphers = ciphers.finish().map_err(about_all)?;
    if prfs.is_empty() {
        prfs = implied_prfs(&ciphers);
    }
    if prfs.is_empty() {
        return Err(about_all(KeywordFault::NoPrf));
    }
    if groups.is_empty() {
        return Err(about_all(KeywordFault::NoGroup));
    }
    Ok(IkeProposal {
        ciphers,
        prfs,
        groups,
        additional,
    })
}

pub(super) fn esp(text: &str, policy: EsnPolicy) -> Result<EspProposal, KeywordError> {
    let mut ciphers = Reading::default();
    let mut groups = vec![];
    let mut additional = vec![];
    let mut pfs_optional = false;
    let mut esn = vec![];
    each_token(text, Use::Esp, |keyword| match keyword {
        Keyword::Encryption(encryption) => ciphers.encryption(encryption),
        Keyword::Integrity(integrity) => ciphers.integrity(integrity),
        Keyword::Group(group) => add(&mut groups, group),
        Keyword::Additional(kem) => add(&mut additional, kem),
        Keyword::Esn(size) => add(&mut esn, size),
        Keyword::NoGroup if pfs_optional => Err(KeywordFault::Repeated),
        Keyword::NoGroup => {
            pfs_optional = true;
            Ok(())
        }
        Keyword::Prf(_) => Err(KeywordFault::Misplaced),
    })?;
    let about_all = |fault| KeywordError::about_all_of(text, Use::Esp, fault);
    if !additional.is_empty() && (groups.is_empty() || pfs_optional) {
        return Err(about_all(KeywordFault::NoGroupBesideAdditional));
    }
    if esn.is_empty() {
        esn = policy.choices();
    }
    Ok(EspProposal {
        ciphers: ciphers.finish().map_err(about_all)?,
        groups,
        additional,
        pfs_optional,
        esn,
    })
}

impl KeywordError {
    fn about_all_of(text: &str, wanted: Use, fault: KeywordFault) -> Self {
        Self {
            token: text.to_owned(),
            range: 0..text.len(),
            wanted,
            fault,
        }
    }
}

enum Keyword {
    Encryption(Encryption),
    Integrity(Integrity),
    Prf(Prf),
    Group(Group),
    Additional(Kem),
    NoGroup,
    Esn(Esn),
}

impl Keyword {
    fn from_token(token: &str, wanted: Use) -> Result<Self, KeywordFault> {
        let encryption = || Encryption::from_keyword(token).map(Self::Encryption);
        let integrity = || Integrity::from_keyword(token).map(Self::Integrity);
        let prf = || Prf::from_keyword(token).map(Self::Prf);
        let group = || Group::from_keyword(token).map(Self::Group);
        let additional = || Kem::from_keyword(token).map(Self::Additional);
        let none = || (token == NO_GROUP).then_some(Self::NoGroup);
        let esn = || {
            [Esn::Yes, Esn::No]
                .into_iter()
                .find(|esn| esn.keyword() == token)
        };
        encryption()
            .or_else(integrity)
            .or_else(prf)
            .or_else(group)
            .or_else(additional)
            .or_else(none)
            .or_else(|| esn().map(Self::Esn))
            .ok_or_else(|| match algorithm::absent(token) {
                Some(Absent::NotBuilt) => KeywordFault::NotBuilt,
                Some(Absent::Refused) => KeywordFault::Refused,
                None if token.is_empty() => KeywordFault::Empty,
                None => KeywordFault::Unknown(nearest(token, wanted)),
            })
    }
}

/// Calls `take` with each keyword of the text; the first fault ends it, with its place.
fn each_token(
    text: &str,
    wanted: Use,
    mut take: impl FnMut(Keyword) -> Result<(), KeywordFault>,
) -> Result<(), KeywordError> {
    let mut start = 0;
    for token in text.split('-') {
        let range = start..start + token.len();
        start = range.end + 1;
        Keyword::from_token(token, wanted)
            .and_then(&mut take)
            .map_err(|fault| KeywordError {
                token: token.to_owned(),
                range,
                wanted,
                fault,
            })?;
    }
    Ok(())
}

/// Every keyword that a proposal of this kind may hold, but the weak ones: those are for who knows
/// them.
fn built(wanted: Use) -> Vec<&'static str> {
    let sound_integrities = Integrity::ALL.iter().filter(|i| !i.is_weak());
    let ciphers = Encryption::all().map(Encryption::keyword);
    let ciphers = ciphers.chain(sound_integrities.map(|i| i.keyword()));
    let sound_prfs = Prf::ALL.iter().filter(|p| !p.is_weak());
    let prfs = sound_prfs.map(|p| p.keyword());
    let sound_groups = Group::ALL.iter().filter(|g| !g.is_weak());
    let groups = sound_groups.map(|g| g.keyword());
    let groups = groups.chain(Kem::ALL.iter().map(|k| k.keyword()));
    match wanted {
        Use::Ike => ciphers.chain(prfs).chain(groups).collect(),
        Use::Esp => {
            let esn = [Esn::Yes, Esn::No].into_iter().map(Esn::keyword);
            ciphers.chain(groups).chain([NO_GROUP]).chain(esn).collect()
        }
    }
}

/// The keyword that a slip of the hand could have turned into `token`.
fn nearest(token: &str, wanted: Use) -> Option<&'static str> {
    let token = token.to_ascii_lowercase();
    let with_distance = built(wanted)
        .into_iter()
        .map(|keyword| (distance(&token, keyword), keyword));
    with_distance
        .filter(|(slips, _)| *slips <= SLIPS_MAX)
        .min()
        .map(|(_, keyword)| keyword)
}

/// More slips than this, and a suggestion is a guess.
const SLIPS_MAX: usize = 2;

/// Levenshtein's distance in octets.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.bytes().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (r, cell) in right.bytes().zip(row.iter_mut().skip(1)) {
            let substituted = diagonal + usize::from(l != r);
            diagonal = *cell;
            before = substituted.min(diagonal + 1).min(before + 1);
            *cell = before;
        }
    }
    row.last().copied().unwrap_or_default()
}
