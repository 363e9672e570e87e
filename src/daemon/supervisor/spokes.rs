//! Files with several peers, which are a hub's: served as a whole or not at all; handed over again,
//! what is new in them is added, and nobody is disturbed.

use secure_gre_ike::config::PeerId;

use super::Supervisor;
use super::calls::Sponsor;
use super::departure::Departure;
use crate::config;
use crate::control::protocol::Until;
use crate::daemon::AddError;

impl Supervisor {
    /// Serves all of them, or none.
    pub(super) async fn add_all(
        &mut self,
        peers: Vec<config::Peer>,
        test_rekey: bool,
    ) -> Result<Vec<PeerId>, AddError> {
        let mut added = Vec::with_capacity(peers.len());
        for peer in peers {
            match self.add(peer, test_rekey).await {
                Ok(id) => added.push(id),
                Err(problem) => {
                    for id in added {
                        self.finish(id, Departure::Asked).await;
                    }
                    return Err(problem);
                }
            }
        }
        Ok(added)
    }

    /// Serves peers whose end is, if they fail, also this process's.
    pub(in crate::daemon) async fn add_own(
        &mut self,
        peers: Vec<config::Peer>,
        test_rekey: bool,
    ) -> Result<(), AddError> {
        let added = self.add_all(peers, test_rekey).await?;
        self.own.extend(added);
        Ok(())
    }

    /// Those of a file that are not served from it already. An entry that has changed since is taken
    /// when its peer was taken down.
    pub(super) fn not_yet_served(&self, peers: Vec<config::Peer>) -> Vec<config::Peer> {
        let is_new = |peer: &config::Peer| {
            let mut served = self.peers.values().map(|served| served.config());
            peer.hub.is_none()
                || !served.any(|other| {
                    (&other.hub, &other.name, &other.file) == (&peer.hub, &peer.name, &peer.file)
                })
        };
        peers.into_iter().filter(is_new).collect()
    }

    /// New spokes belong to whoever brought the others of their hub.
    pub(super) fn join_hub(&mut self, added: &[PeerId]) {
        for id in added {
            let Some(hub) = self.hub_of(*id) else {
                continue;
            };
            let others = self.peers.keys().copied();
            let others: Vec<_> = others
                .filter(|other| !added.contains(other) && self.hub_of(*other) == Some(hub))
                .collect();
            let is_own = others.iter().any(|other| self.own.contains(other));
            let sponsor = others.iter().find_map(|other| self.sponsors.get(other));
            if let Some((reply, until)) =
                sponsor.map(|sponsor| (sponsor.reply.clone(), sponsor.until))
            {
                self.sponsor(*id, reply, until);
            }
            if is_own {
                self.own.insert(*id);
            }
        }
    }

    pub(super) fn hub_of(&self, peer: PeerId) -> Option<&str> {
        self.peers.get(&peer)?.config().hub.as_deref()
    }

    /// Whether the caller has nothing to wait for: nobody is called.
    pub(super) fn only_waits(&self, peers: &[PeerId], until: Until) -> bool {
        let mut served = peers.iter().filter_map(|id| self.peers.get(id));
        until == Until::Carries && served.all(|served| served.calls_from_anywhere())
    }

    /// Whether somebody else of the same hub has this sponsor too, so that it stays.
    pub(super) fn has_more_to_sponsor(&self, hub: Option<&str>, sponsor: &Sponsor) -> bool {
        let mut others = self.sponsors.iter();
        hub.is_some()
            && others.any(|(id, other)| {
                self.hub_of(*id) == hub && other.reply.is_same_as(&sponsor.reply)
            })
    }
}
