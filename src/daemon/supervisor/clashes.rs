//! What two peers cannot both have, checked before one more is served.

use super::Supervisor;
use crate::config::{self, PeerAddress};
use crate::daemon::host::shared_guard;
use crate::daemon::peer::Peer;
use crate::daemon::{AddError, Clash};

impl Supervisor {
    /// A name, an identity or an address to be found by, a device and a prefix can be one peer's only.
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
}

/// What tunnels of two peers cannot both have.
fn clash(theirs: &config::Tunnel, ours: &config::Tunnel) -> Option<Clash> {
    let same_place = theirs.netns == ours.netns && theirs.device == ours.device;
    let device = ours.device.clone().filter(|_| same_place);
    let device = device.map(Clash::Device);
    device.or_else(|| shared_guard(theirs, ours).map(Clash::Prefix))
}
