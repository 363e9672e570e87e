//! What two peers cannot both have, checked before one more is served; and what they share.

use secure_gre_ike::config::PeerId;
use tracing::info;

use super::Supervisor;
use crate::config::{self, PeerAddress};
use crate::daemon::host::shared_guard;
use crate::daemon::peer::Peer;
use crate::daemon::{AddError, Clash};
use crate::net::prefix::Prefix;

impl Supervisor {
    /// A name, an identity or an address to be found by, a device, a subnet and a prefix of a spoke can be
    /// one peer's only.
    pub(super) fn check_clashes(&self, peer: &config::Peer) -> Result<(), AddError> {
        for other in self.peers.values().map(Peer::config) {
            let mut pairs = other
                .tunnels
                .iter()
                .flat_map(|theirs| peer.tunnels.iter().map(move |ours| (theirs, ours)));
            let what = if other.name == peer.name {
                Clash::Name(peer.name.clone())
            } else if [&other.address, &peer.address] == [&PeerAddress::Any; 2]
                && other.remote_id == peer.remote_id
            {
                Clash::Identity(peer.remote_id.clone())
            } else if other.address == peer.address && peer.address != PeerAddress::Any {
                Clash::Address(peer.address.clone())
            } else if let Some(clash) = pairs.find_map(|(theirs, ours)| clash(theirs, ours)) {
                clash
            } else if let Some(prefix) = spokes_prefix(other, peer) {
                Clash::SpokesPrefix(prefix)
            } else {
                continue;
            };
            return Err(AddError::Clash {
                file: peer.file.clone(),
                other: other.file.clone(),
                what,
            });
        }
        Ok(())
    }

    /// Says which prefixes a peer that was added shares with others, or between its tunnels. Spokes share
    /// none ([`spokes_prefix`]), and there may be many.
    pub(super) fn say_shared(&self, id: PeerId) {
        let served = self.peers.get(&id);
        let Some(served) = served.filter(|served| served.config().hub.is_none()) else {
            return;
        };
        let routes = self.routes_of(&[id]);
        for route in routes.iter().filter(|route| route.paths.len() > 1) {
            let paths = route.paths.iter();
            let paths = paths.map(|path| format!("{} (metric {})", path.device, path.metric));
            let paths = paths.collect::<Vec<_>>().join(", ");
            info!("{}: {} has paths by {paths}", served.name(), route.prefix);
        }
    }
}

/// What tunnels of two peers cannot both have.
fn clash(theirs: &config::Tunnel, ours: &config::Tunnel) -> Option<Clash> {
    let same_place = theirs.netns == ours.netns && theirs.device == ours.device;
    let device = ours.device.clone().filter(|_| same_place);
    let device = device.map(Clash::Device);
    device.or_else(|| ours.contested(theirs).map(Clash::Subnet))
}

/// A hub's template that gives every spoke the same prefix would send what is one spoke's to all others:
/// nobody shares a spoke's.
fn spokes_prefix(theirs: &config::Peer, ours: &config::Peer) -> Option<Prefix> {
    if theirs.hub.is_none() && ours.hub.is_none() {
        return None;
    }
    let mut pairs = theirs
        .tunnels
        .iter()
        .flat_map(|one| ours.tunnels.iter().map(move |other| (one, other)));
    pairs.find_map(|(one, other)| shared_guard(one, other))
}
