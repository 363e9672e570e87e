//! What one peer puts on the host, and takes from it again: the device of each tunnel with its
//! addresses and routes ([`device`]), and the route that pins the outer packets to their way, here.
//!
//! What survives a crash is in the peer's record ([`Journal`]): the pinned route, and the
//! `unreachable` routes by which each tunnel fails closed. A route that several peers need, such as the
//! pinned one of those behind one NAT, goes with the last of them.

mod device;

use std::net::IpAddr;
use std::num::NonZeroU32;

pub(super) use self::device::{Device, shared_guard};
use super::journal::{Entry, Journal, JournalError, Records};
use crate::config::Tunnel;
use crate::net::netlink::{
    Added, CoveringRoute, Look, MAIN_TABLE, Netlink, NetlinkError, Route, RouteInfo,
};
use crate::net::netns::NamespaceError;
use crate::net::outer::Via;
use crate::net::prefix::Prefix;
use crate::net::tun::{Queues, TunError};

/// The host's side of one peer.
#[derive(Debug)]
pub(super) struct Host {
    netlink: Netlink,
    journal: Journal,
    /// One, or one more where the tunnels' routes are in another table than the way.
    pinned: Vec<Route>,
}

/// Why the host does not take a tunnel.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The device.
    #[error(transparent)]
    Tun(#[from] TunError),
    /// The network namespace that the device is to be in.
    #[error("tunnel.netns: {0}")]
    Namespace(#[from] NamespaceError),
    /// An address, a route, an MTU.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The record of what a crash would leave.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// `peer.local` is no address of this host.
    #[error(
        "peer.local: packets to {peer} cannot leave from {local}, which is no address of this host; \
         \"ip address\" shows the ones it has, and \"auto\" lets the kernel choose"
    )]
    ForeignSource {
        /// The peer's outer address.
        peer: IpAddr,
        /// What the file calls ours.
        local: IpAddr,
    },
    /// The tunnel's subnet lies on another device, to which its packets would go.
    #[error(
        "tunnel.address: the subnet {subnet} is on the device {device} too, and the kernel would send \
         the tunnel's packets there; choose another subnet, or take it from {device} (\"ip address \
         show dev {device}\")"
    )]
    SubnetTaken {
        /// The tunnel's.
        subnet: Prefix,
        /// The other device.
        device: String,
    },
    /// Outer packets would go into the tunnel.
    #[error(
        "recursive routing: {route}, covers the peer {peer}, so that outer packets would go into the \
         tunnel and never leave; remove that route, or the rule that leads to it, and keep the peer's \
         side from announcing {prefix}",
        prefix = .route.prefix
    )]
    Recursive {
        /// The peer's outer address.
        peer: IpAddr,
        /// The route that they take.
        route: CoveringRoute,
    },
}

impl Host {
    /// Undoes what a crashed run left for the peer called `name`, but for what fails closed and these
    /// tunnels need too.
    pub(super) async fn raise(
        netlink: &Netlink,
        records: &Records,
        name: &str,
        tunnels: &[Tunnel],
    ) -> Result<Self, HostError> {
        let mut journal = records.of(name)?;
        let guards: Vec<_> = tunnels.iter().flat_map(device::guard_entries).collect();
        journal.sweep(netlink, &guards).await?;
        Ok(Self {
            netlink: netlink.clone(),
            journal,
            pinned: Vec::new(),
        })
    }

    /// Makes a tunnel's device, with `mtu` and addresses, behind its guards. If that fails, what is
    /// left goes with [`Host::lower`].
    pub(super) async fn make_device(
        &mut self,
        tunnel: &Tunnel,
        mtu: u16,
    ) -> Result<(Device, Queues), HostError> {
        Device::raise(&self.netlink, &mut self.journal, tunnel, mtu).await
    }

    /// The index of the host's device with this name.
    pub(super) async fn link(&self, name: &str) -> Result<Option<NonZeroU32>, HostError> {
        Ok(NonZeroU32::new(
            self.netlink.link_by_name(name).await?.index,
        ))
    }

    /// A look at what is there, for what follows.
    pub(super) fn look(&self) -> Look {
        Look::at(&self.netlink)
    }

    /// Finds the way of outer packets to `peer` as if we were not there, and pins it (DESIGN §1,
    /// never recursive), unless rules lead them to another table than
    /// the tunnels' routes are in. `devices` are the peer's.
    pub(super) async fn pin(
        &mut self,
        look: &mut Look,
        peer: IpAddr,
        source: Option<IpAddr>,
        via: Via,
        devices: &[&Device],
    ) -> Result<RouteInfo, HostError> {
        let another = |pinned: &Route| pinned.destination != Prefix::host(peer);
        if self.pinned.iter().any(another) {
            self.unpin(&[]).await?;
        }
        let way = self.way_to(look, peer, source, via, devices).await?;
        let wanted = pins(peer, &way, devices);
        self.unpin(&wanted).await?;
        for route in wanted {
            self.journal.add(Entry::of(None, &route))?;
            // In place of the one before, so that there is no moment without: the kernel may also
            // have taken that one along with its link or its source address.
            let in_place = |one: &&Route| one.is_in_place_of(&route);
            let standing = match self.pinned.iter().any(|one| in_place(&one)) {
                true => look.own_routes().await?.iter().find(in_place),
                false => None,
            };
            let pinned = match standing {
                Some(standing) if *standing == route => Ok(()),
                Some(_) => self.netlink.replace_route(&route).await,
                None => self.netlink.add_route(&route).await.map(drop),
            };
            match pinned {
                Ok(()) => {
                    let mut pinned = self.pinned.iter_mut();
                    match pinned.find(|pinned| pinned.is_in_place_of(&route)) {
                        Some(pinned) => *pinned = route,
                        None => self.pinned.push(route),
                    }
                }
                // Someone else's route to this very host is as good as ours, unless it leads into
                // a tunnel.
                Err(NetlinkError::ForeignRoute { .. }) => {}
                Err(problem) => return Err(problem.into()),
            }
        }
        let source = Some(way.source);
        self.refuse_recursion(peer, source, via, devices).await?;
        Ok(way)
    }

    async fn way_to(
        &self,
        look: &mut Look,
        peer: IpAddr,
        source: Option<IpAddr>,
        via: Via,
        devices: &[&Device],
    ) -> Result<RouteInfo, HostError> {
        let tunnels: Vec<_> = here(devices).map(Device::link).collect();
        let found = look.way_to(peer, source, via, &tunnels).await;
        let problem = match found {
            Err(problem @ NetlinkError::NoRoute { .. }) => problem,
            way => return Ok(way?),
        };
        // The kernel has one answer for several causes.
        if let (Some(local), Ok(_)) = (source, look.way_to(peer, None, via, &tunnels).await) {
            return Err(HostError::ForeignSource { peer, local });
        }
        self.refuse_recursion(peer, source, via, devices).await?;
        Err(problem.into())
    }

    /// What is pinned does not win against a route of others in its very place, nor against rules that
    /// lead to another table.
    async fn refuse_recursion(
        &self,
        peer: IpAddr,
        source: Option<IpAddr>,
        via: Via,
        devices: &[&Device],
    ) -> Result<(), HostError> {
        let tunnels: Vec<_> = here(devices).map(Device::link).collect();
        match self
            .netlink
            .covering_route_taken(peer, source, via, &tunnels)
            .await?
        {
            Some(route) => Err(HostError::Recursive { peer, route }),
            None => Ok(()),
        }
    }

    /// Routes of others that would lead the outer packets to `peer` into a tunnel, were they not
    /// pinned.
    pub(super) async fn covering_routes(
        &self,
        look: &mut Look,
        peer: IpAddr,
        devices: &[&Device],
    ) -> Result<Vec<CoveringRoute>, HostError> {
        let tunnels: Vec<_> = here(devices).map(Device::link).collect();
        Ok(look.covering_routes(peer, &tunnels).await?)
    }

    /// Takes back what is pinned: no outer packets leave until the next way is.
    pub(super) async fn unpin_all(&mut self) -> Result<(), HostError> {
        self.unpin(&[]).await
    }

    /// Takes back what is pinned, but for routes in the place of those in `keep`.
    async fn unpin(&mut self, keep: &[Route]) -> Result<(), HostError> {
        let stays = |route: &Route| keep.iter().any(|kept| kept.is_in_place_of(route));
        while let Some(place) = self.pinned.iter().position(|route| !stays(route)) {
            let route = self.pinned.remove(place);
            let entry = Entry::of(None, &route);
            if !self.journal.is_shared(&entry) {
                self.netlink.delete_route(&route).await?;
            }
            self.journal.remove(&entry)?;
        }
        Ok(())
    }

    /// Puts back what, by this `look`, others have taken of what is pinned. What that was, in words, is
    /// added to `repaired`.
    pub(super) async fn repair(
        &self,
        look: &Look,
        repaired: &mut Vec<String>,
    ) -> Result<(), HostError> {
        let own = look.own_routes().await?;
        match put_back(&self.netlink, &self.pinned, own, repaired).await {
            // Whoever follows the host's routes says what comes of that.
            Err(NetlinkError::ForeignRoute { .. }) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Leaves the host as it was. The devices are closed, and have ended with their last queues.
    pub(super) async fn lower(mut self) -> Result<(), HostError> {
        let unpinned = self.unpin(&[]).await;
        self.journal.sweep(&self.netlink, &[]).await?;
        unpinned
    }

    /// Leaves the host as a crash would: nothing passes, and nothing leaves in clear, until somebody
    /// says so.
    pub(super) async fn abandon(mut self) -> Result<(), HostError> {
        self.unpin(&[]).await
    }
}

/// The devices that are where the outer packets are: routes of another namespace lead none of them.
fn here<'d>(devices: &'d [&'d Device]) -> impl Iterator<Item = &'d Device> {
    let here = devices.iter().filter(|device| device.netns().is_none());
    here.copied()
}

/// The routes that keep outer packets to `peer` on their way: in the main table, if that is where
/// it is, since routing daemons write there; and among a tunnel's routes, if one covers the peer and a
/// rule might lead outer packets to it.
fn pins(peer: IpAddr, way: &RouteInfo, devices: &[&Device]) -> Vec<Route> {
    let covers = |route: &&Route| route.destination.contains(peer) && route.table != MAIN_TABLE;
    let mut covering: Vec<_> = here(devices)
        .flat_map(|device| device.usable().iter().filter(covers))
        .map(|route| route.table)
        .collect();
    covering.sort_unstable();
    covering.dedup();
    let main = (way.table == MAIN_TABLE).then_some(MAIN_TABLE);
    let pin = |table| Route {
        table,
        ..Route::pinned(peer, way)
    };
    main.into_iter().chain(covering).map(pin).collect()
}

/// Adds those of `routes` that `own`, ours at the moment, do not have. Which they were, in words, is
/// added to `repaired`. The error is the first; one route does not keep the others out.
async fn put_back(
    netlink: &Netlink,
    routes: &[Route],
    own: &[Route],
    repaired: &mut Vec<String>,
) -> Result<(), NetlinkError> {
    let stands = |route: &&Route| own.iter().any(|own| own.is_in_place_of(route));
    let mut outcome = Ok(());
    for route in routes.iter().filter(|route| !stands(route)) {
        match netlink.add_route(route).await {
            Ok(Added::New) => repaired.push(format!("the route {}", route.destination)),
            // Another peer, which shares it, was faster.
            Ok(Added::Adopted) => {}
            Err(problem) => outcome = outcome.and(Err(problem)),
        }
    }
    outcome
}

/// Removes what a daemon that was killed left for `name`. `false`: there was nothing.
pub(super) async fn sweep(records: &Records, name: &str) -> Result<bool, JournalError> {
    let mut journal = records.of(name)?;
    let found = !journal.is_empty();
    if found {
        journal.sweep(&Netlink::connect()?, &[]).await?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
