//! Who may call from anywhere: found by what they say they are, in IKE_AUTH. Until then a caller is a
//! stranger, whom we meet on terms that suit all of them (RFC 7296 §2.16 has the identities this late).

use std::collections::BTreeMap;
use std::sync::Arc;

use rand_core::CryptoRng;

use crate::config::{OnFailure, PeerConfig, Ppk, RemoteId, Retransmit, UdpEncapsulation};
use crate::identity::Identity;
use crate::proposal::IkeProposal;
use crate::secret::Secret;

/// Octets of the key that a stranger's AUTH value is compared with: as long as a good one.
const DECOY_OCTETS: usize = 32;

/// See the module.
#[derive(Default)]
pub(crate) struct Roster {
    by_identity: BTreeMap<Identity, Arc<PeerConfig>>,
    /// `None` while nobody has asked since the last change.
    terms: Option<Arc<PeerConfig>>,
}

impl Roster {
    /// Puts a peer on it, if its identity is known. Of two with the same one, the later stays.
    pub(crate) fn enter(&mut self, peer: &Arc<PeerConfig>) {
        if let RemoteId::Is(identity) = &peer.remote_id {
            self.by_identity.insert(identity.clone(), Arc::clone(peer));
            self.terms = None;
        }
    }

    /// Takes it off.
    pub(crate) fn strike(&mut self, peer: &PeerConfig) {
        if let RemoteId::Is(identity) = &peer.remote_id
            && self.find(identity).is_some_and(|found| found.id == peer.id)
        {
            self.by_identity.remove(identity);
            self.terms = None;
        }
    }

    /// Whether anybody is on it.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_identity.is_empty()
    }

    /// The peer that has to prove this identity.
    pub(crate) fn find(&self, identity: &Identity) -> Option<&Arc<PeerConfig>> {
        self.by_identity.get(identity)
    }

    /// On what a stranger is met; `None`: not at all, since nobody is on the roster. Nobody has the key
    /// of it, so that a stranger who stays one fails as somebody with a wrong key does (SECURITY §2,
    /// oracle).
    pub(crate) fn terms(&mut self, rng: &mut (dyn CryptoRng + Send)) -> Option<Arc<PeerConfig>> {
        if self.terms.is_none() && !self.is_empty() {
            self.terms = self.common_terms(rng).map(Arc::new);
        }
        self.terms.clone()
    }

    fn common_terms(&self, rng: &mut (dyn CryptoRng + Send)) -> Option<PeerConfig> {
        let any = self.by_identity.values().next()?;
        let mut decoy = vec![0; DECOY_OCTETS];
        rng.fill_bytes(&mut decoy);
        Some(PeerConfig {
            id: any.id,
            remote: any.remote.clone(),
            local_id: None,
            remote_id: RemoteId::Any,
            psk: Secret::new(decoy),
            ppk: self.ppk(),
            ike_proposals: self.proposals(),
            esp_proposals: any.esp_proposals.clone(),
            retransmit: Retransmit::default(),
            on_failure: OnFailure::Retry,
            fragmentation: self.by_identity.values().any(|peer| peer.fragmentation),
            encapsulation: self.encapsulation(),
            ike_lifetime: any.ike_lifetime,
            child_lifetime: any.child_lifetime,
            dpd: None,
        })
    }

    /// Everything that is good for one of them, what is good for most of them first: what is chosen has
    /// to be good for the one who calls, whom nobody knows yet.
    fn proposals(&self) -> Vec<IkeProposal> {
        let mut counted: Vec<(&IkeProposal, usize)> = Vec::new();
        for proposal in self.by_identity.values().flat_map(|p| &p.ike_proposals) {
            match counted.iter_mut().find(|(known, _)| *known == proposal) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => counted.push((proposal, 1)),
            }
        }
        // Stable: of one file, in the order of the file.
        counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counted
            .into_iter()
            .map(|(known, _)| known.clone())
            .collect()
    }

    /// A PPK that nobody has, if one of them has one: a stranger is told that there are some, and which one
    /// it is comes with the identity (RFC 8784 §3).
    fn ppk(&self) -> Option<Ppk> {
        let any = self.by_identity.values().any(|peer| peer.ppk.is_some());
        any.then(|| Ppk {
            id: String::new(),
            secret: Secret::new(Vec::new()),
            required: false,
        })
    }

    /// UDP suits all but those who forbid it, so it is used if one insists on it, and offered as the
    /// faster way if nobody forbids it.
    fn encapsulation(&self) -> UdpEncapsulation {
        let wanted = self.by_identity.values().map(|peer| peer.encapsulation);
        let forbidden = wanted.clone().any(|one| one == UdpEncapsulation::Never);
        let strongest = wanted.max_by_key(|wanted| match wanted {
            UdpEncapsulation::Never => 0,
            UdpEncapsulation::Auto => 1,
            UdpEncapsulation::Faster => 2,
            UdpEncapsulation::Always => 3,
        });
        match strongest {
            Some(UdpEncapsulation::Faster) if forbidden => UdpEncapsulation::Auto,
            wanted => wanted.unwrap_or_default(),
        }
    }
}
