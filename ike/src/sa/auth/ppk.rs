//! Post-quantum pre-shared keys (RFC 8784), both roles: USE_PPK in IKE_SA_INIT, and in IKE_AUTH which
//! one it is. It goes into SK_d, SK_pi and SK_pr, so into the keys of every CHILD_SA and of every IKE SA
//! that this one is rekeyed to; this IKE SA's own messages are as they were.

use crate::config::Ppk;
use crate::error::Failure;
use crate::keys::Roots;
use crate::sa::Core;
use crate::sa::init::Agreed;
use crate::sa::payloads::Payloads;
use crate::secret::Secret;
use crate::wire::{Notify, NotifyType, Payload};

/// How far the two ends are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Not both have said USE_PPK.
    Unused,
    /// They have.
    Offered,
    /// It is in the keys.
    Mixed,
}

/// PPK_ID_FIXED: the rest is the name of a key (RFC 8784 §5.1).
const FIXED: u8 = 2;

/// `N(USE_PPK)`.
pub(in crate::sa) fn offer() -> Payload {
    Payload::Notify(Notify::status(NotifyType::USE_PPK))
}

/// What both ends have said in IKE_SA_INIT, where we have a PPK.
pub(in crate::sa) fn progress(ours: Option<&Ppk>, payloads: &Payloads) -> Progress {
    match ours.and(payloads.notify(NotifyType::USE_PPK)) {
        Some(_) => Progress::Offered,
        None => Progress::Unused,
    }
}

/// The initiator's check of the answer to IKE_SA_INIT.
pub(in crate::sa) fn check_answer(ours: Option<&Ppk>, progress: Progress) -> Result<(), Failure> {
    match ours {
        Some(ours) if ours.required && progress == Progress::Unused => {
            let id = ours.id.clone();
            Err(Failure::PpkUnused { id })
        }
        _ => Ok(()),
    }
}

impl Agreed {
    /// Mixes it into the keys. What they were before.
    fn mix(&mut self, ppk: &Secret) -> Roots {
        self.ppk = Progress::Mixed;
        let mixed = self.keys.mix(self.suite.prf, ppk);
        self.keys.replace_roots(mixed)
    }

    /// Whether it is in the keys.
    pub(super) fn uses_ppk(&self) -> bool {
        self.ppk == Progress::Mixed
    }

    /// The PPK's id, where it is in the keys.
    pub(super) fn ppk_id(&self, core: &Core) -> Option<String> {
        let ours = core.peer.ppk.as_ref().filter(|_| self.uses_ppk());
        ours.map(|ppk| ppk.id.clone())
    }

    /// As the initiator: takes our PPK, and says so by `N(PPK_IDENTITY) [N(NO_PPK_AUTH)]`. The latter
    /// has what AUTH would have been without, which `plain_auth` makes; not where the PPK is required.
    pub(super) fn take_ppk(
        &mut self,
        core: &Core,
        plain_auth: impl FnOnce(&Self) -> Secret,
    ) -> Option<(Taken, Vec<Payload>)> {
        let ours = core.peer.ppk.as_ref();
        let ours = ours.filter(|_| self.ppk == Progress::Offered)?;
        let named = [&[FIXED], ours.id.as_bytes()].concat();
        let mut payloads = vec![notify(NotifyType::PPK_IDENTITY, named)];
        if !ours.required {
            let plain = plain_auth(self).expose().to_vec();
            payloads.push(notify(NotifyType::NO_PPK_AUTH, plain));
        }
        let before = self.mix(&ours.secret);
        Some((Taken(before), payloads))
    }
}

/// What an initiator goes back to if the responder takes IKE_AUTH without the PPK.
pub(super) struct Taken(Roots);

impl Taken {
    /// What the response says of it: PPK_IDENTITY, or the keys are as they were.
    pub(super) fn settle(
        self,
        core: &Core,
        agreed: &mut Agreed,
        payloads: &Payloads,
    ) -> Result<(), Failure> {
        let Self(before) = self;
        if payloads.notify(NotifyType::PPK_IDENTITY).is_some() {
            return Ok(());
        }
        if let Some(ours) = core.peer.ppk.as_ref().filter(|ours| ours.required) {
            let id = ours.id.clone();
            return Err(Failure::PpkUnused { id });
        }
        agreed.keys.replace_roots(before);
        agreed.ppk = Progress::Unused;
        Ok(())
    }
}

/// By what a responder has to tell whether a request is authentic.
pub(super) enum Evidence {
    /// By AUTH, with or without a PPK in the keys.
    Auth,
    /// By NO_PPK_AUTH in place of it.
    NoPpkAuth,
}

/// The initiator's PPK_IDENTITY and NO_PPK_AUTH, as far as they are there.
pub(super) struct Claim<'a> {
    identity: Option<&'a [u8]>,
    pub(super) no_ppk_auth: Option<&'a [u8]>,
}

impl<'a> Claim<'a> {
    pub(super) fn read(payloads: &'a Payloads) -> Self {
        let data = |kind| payloads.notify(kind).map(|notify| &notify.data[..]);
        Self {
            identity: data(NotifyType::PPK_IDENTITY),
            no_ppk_auth: data(NotifyType::NO_PPK_AUTH),
        }
    }

    /// As the responder: takes the PPK that the peer names, if it is ours; else goes on without, if both
    /// ends allow that (RFC 8784 §3, table 1).
    pub(super) fn settle(&self, core: &Core, agreed: &mut Agreed) -> Result<Evidence, Failure> {
        let ours = core.peer.ppk.as_ref();
        let id = ours.map(|ours| ours.id.clone());
        let required = ours.is_some_and(|ours| ours.required);
        let named = self.identity.filter(|_| agreed.ppk == Progress::Offered);
        let Some(named) = named else {
            return match id.filter(|_| required) {
                Some(id) => Err(Failure::PpkUnused { id }),
                None => Ok(Evidence::Auth),
            };
        };
        let is_named = |ours: &&Ppk| named.split_first() == Some((&FIXED, ours.id.as_bytes()));
        match (ours.filter(is_named), self.no_ppk_auth) {
            (Some(ours), _) => {
                agreed.mix(&ours.secret);
                Ok(Evidence::Auth)
            }
            (None, Some(_)) if !required => Ok(Evidence::NoPpkAuth),
            (None, _) => Err(Failure::PpkUnknown {
                received: shown(named),
                ours: id,
            }),
        }
    }
}

/// As the responder, once the PPK is in the keys: `N(PPK_IDENTITY)`, which is empty.
pub(super) fn confirmation() -> Payload {
    notify(NotifyType::PPK_IDENTITY, Vec::new())
}

fn notify(kind: NotifyType, data: Vec<u8>) -> Payload {
    Payload::Notify(Notify::with_data(kind, data))
}

/// A name that a peer gave, for people.
fn shown(identity: &[u8]) -> String {
    let name = match identity.split_first() {
        Some((&FIXED, name)) => name,
        _ => identity,
    };
    name.escape_ascii().to_string()
}
