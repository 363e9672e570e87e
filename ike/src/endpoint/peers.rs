//! The peers of an endpoint and the ways to find them: by number, by the address that they call from,
//! by when they are to be called next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::peer::{Intent, Peer};
use crate::config::{PeerConfig, PeerId, Remote};

/// See the module.
#[derive(Default)]
pub(super) struct Peers {
    by_id: BTreeMap<PeerId, Peer>,
    by_address: BTreeSet<(IpAddr, PeerId)>,
    by_next_call: BTreeSet<(Instant, PeerId)>,
}

impl Peers {
    /// `false`: there is one of that number already.
    pub(super) fn add(&mut self, config: PeerConfig) -> bool {
        let (id, remote) = (config.id, config.remote.clone());
        if self.by_id.contains_key(&id) {
            return false;
        }
        self.by_id.insert(id, Peer::new(Arc::new(config)));
        self.locate(id, remote);
        true
    }

    pub(super) fn remove(&mut self, id: PeerId) -> Option<Peer> {
        self.locate(id, Remote::At(Vec::new()));
        self.call_at(id, None);
        self.by_id.remove(&id)
    }

    pub(super) fn contains(&self, id: PeerId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(super) fn get(&self, id: PeerId) -> Option<&Peer> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = PeerId> {
        self.by_id.keys().copied()
    }

    /// From here on it may call from there, and from nowhere else.
    pub(super) fn locate(&mut self, id: PeerId, remote: Remote) {
        let Some(peer) = self.by_id.get_mut(&id) else {
            return;
        };
        for address in peer.remote.addresses() {
            self.by_address.remove(&(*address, id));
        }
        let places = remote.addresses().iter().map(|address| (*address, id));
        self.by_address.extend(places);
        peer.remote = remote;
    }

    /// The peer that may call from there.
    pub(super) fn at(&self, address: IpAddr) -> Option<PeerId> {
        let bounds = (address, PeerId(0))..=(address, PeerId(u32::MAX));
        let mut there = self.by_address.range(bounds).map(|(_, id)| *id);
        there.find(|id| {
            let peer = self.get(*id);
            peer.is_some_and(|peer| peer.intent != Intent::Leave)
        })
    }

    /// When it is to be called; `None`: not by itself.
    pub(super) fn call_at(&mut self, id: PeerId, at: Option<Instant>) {
        let Some(peer) = self.by_id.get_mut(&id) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut peer.call_at, at) {
            self.by_next_call.remove(&(before, id));
        }
        self.by_next_call.extend(at.map(|at| (at, id)));
    }

    /// When the next one is to be called.
    pub(super) fn next_call(&self) -> Option<Instant> {
        self.by_next_call.first().map(|(at, _)| *at)
    }

    /// One whose time to be called has come; it is to be called no more.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<PeerId> {
        let (_, id) = self.by_next_call.first().filter(|(at, _)| *at <= now)?;
        let id = *id;
        self.call_at(id, None);
        Some(id)
    }
}
