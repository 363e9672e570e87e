//! What keeps a tunnel from carrying packets, and how to mend it: said when it happens, and kept for
//! `status` until a pair stands.

use std::time::{Duration, Instant};

use secure_gre_ike::error::Failure;
use tracing::warn;

use super::{Peer, REFUSALS_EVERY};

/// The last thing that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) struct Trouble {
    /// Begins with the field to look at, where one is to blame.
    pub(in crate::daemon) problem: String,
    pub(in crate::daemon) advice: Option<String>,
}

impl From<&Failure> for Trouble {
    fn from(failure: &Failure) -> Self {
        Self {
            problem: failure.to_string(),
            advice: Some(failure.advice()),
        }
    }
}

impl Peer {
    /// Says why an attempt failed, and how to mend it unless that was said the last time. A peer with
    /// several addresses is called at another one next.
    pub(in crate::daemon) fn attempt_failed(
        &mut self,
        failure: Failure,
        retry_in: Option<Duration>,
    ) {
        let called = self.addresses().map(|(_, remote)| remote);
        self.tried
            .extend(called.filter(|called| !self.tried.contains(called)));
        let retry = retry_in.map_or(String::new(), |wait| {
            format!("; trying again in {:.0} s", wait.as_secs_f64().max(1.0))
        });
        self.trouble = Some(Trouble::from(&failure));
        warn!("{}: {failure}{retry}", self.name());
        if self.advised.as_ref() != Some(&failure) {
            warn!("{}: to mend it: {}", self.name(), failure.advice());
            self.advised = Some(failure);
        }
    }

    /// Says why the peer's attempt was refused. Nothing authenticates such attempts, so that not each
    /// of them gets its line.
    pub(in crate::daemon) fn attempt_refused(&mut self, failure: &Failure, now: Instant) {
        if self.refusals_from.is_some_and(|from| now < from) {
            return;
        }
        self.refusals_from = Some(now + REFUSALS_EVERY);
        if self.outbound.is_empty() {
            self.trouble = Some(Trouble::from(failure));
        }
        warn!("{}: refused the peer's attempt: {failure}", self.name());
        warn!("{}: to mend it: {}", self.name(), failure.advice());
    }

    /// Says why a pair, or else the IKE SA, was not rekeyed.
    pub(in crate::daemon) fn rekey_failed(&mut self, of_pair: bool, failure: &Failure) {
        let which = if of_pair { "CHILD_SA" } else { "IKE SA" };
        self.trouble = Some(Trouble::from(failure));
        warn!("{}: {which} not rekeyed: {failure}", self.name());
        warn!("{}: to mend it: {}", self.name(), failure.advice());
    }

    /// See [`Trouble`].
    pub(in crate::daemon) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }
}
