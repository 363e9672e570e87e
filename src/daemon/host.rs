//! What one tunnel puts on the host, and takes from it again: the device with its addresses, the
//! usable routes, the `unreachable` routes that fail closed, and the route that pins the outer
//! packets to their way.
//!
//! Fail closed (DESIGN §1): the `unreachable` routes stand before the device exists and until all
//! else is gone; they outlive a crash, when device and usable routes vanish. They cover the routed
//! prefixes and the tunnel's own subnets.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;

use super::journal::{Journal, JournalError};
use crate::config::Tunnel;
use crate::net::netlink::{MAIN_TABLE, Netlink, NetlinkError, Route, RouteInfo};
use crate::net::outer::Via;
use crate::net::prefix::Prefix;
use crate::net::tun::{ANY_NAME, Offloads, Queue, Tun, TunError};

/// The host's side of one tunnel.
#[derive(Debug)]
pub(super) struct Host {
    netlink: Netlink,
    journal: Journal,
    guards: Vec<Route>,
    device: Device,
    /// One, or one more where the tunnel's routes are in another table than the way.
    pinned: Vec<Route>,
}

/// The network device, which lives as long as a queue of it does.
#[derive(Debug)]
struct Device {
    name: String,
    link: u32,
    mtu: u16,
    /// The routes into it, which stand while the tunnel carries packets.
    usable: Vec<Route>,
}

/// Why the host does not take a tunnel.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The device.
    #[error(transparent)]
    Tun(#[from] TunError),
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
        "the route to {peer} leads into the tunnel device {device}: outer packets would never \
         leave; remove the route that covers {peer} (\"ip route get {peer}\" names the device)"
    )]
    Recursive {
        /// The peer's outer address.
        peer: IpAddr,
        /// Our device.
        device: String,
    },
}

impl Host {
    /// Makes the device, with `mtu` and addresses, behind its guards. Nothing is left if it fails.
    pub(super) async fn raise(
        netlink: &Netlink,
        runtime_dir: &Path,
        name: &str,
        tunnel: &Tunnel,
        mtu: u16,
    ) -> Result<(Self, Queue), HostError> {
        let mut journal = Journal::open(runtime_dir, name)?;
        let guards = guards(tunnel);
        // What a crashed run left, but for the guards that this one needs too.
        journal.sweep(netlink, &guards).await?;
        match guarded_device(netlink, &mut journal, tunnel, &guards, mtu).await {
            Ok((device, queue)) => {
                let netlink = netlink.clone();
                let host = Self {
                    netlink,
                    journal,
                    guards,
                    device,
                    pinned: Vec::new(),
                };
                Ok((host, queue))
            }
            Err(error) => {
                // What went wrong first is what to say.
                let _ = journal.sweep(netlink, &[]).await;
                Err(error)
            }
        }
    }

    /// Makes the device anew after it was deleted behind our back; the guards have stayed.
    pub(super) async fn replace_device(&mut self, tunnel: &Tunnel) -> Result<Queue, HostError> {
        let (device, queue) = Device::make(&self.netlink, tunnel, self.device.mtu).await?;
        self.device = device;
        Ok(queue)
    }

    /// The device's name.
    pub(super) fn device(&self) -> &str {
        &self.device.name
    }

    /// The device's MTU, in octets.
    pub(super) const fn mtu(&self) -> u16 {
        self.device.mtu
    }

    /// The index of the host's device with this name.
    pub(super) async fn link(&self, name: &str) -> Result<Option<NonZeroU32>, HostError> {
        Ok(NonZeroU32::new(
            self.netlink.link_by_name(name).await?.index,
        ))
    }

    /// Finds the way of outer packets to `peer` as if we were not there, and pins it (DESIGN §1,
    /// never recursive), unless rules lead them to another table than the tunnel's routes are in.
    pub(super) async fn pin(
        &mut self,
        peer: IpAddr,
        source: Option<IpAddr>,
        via: Via,
    ) -> Result<RouteInfo, HostError> {
        let another = |pinned: &Route| pinned.destination != Prefix::host(peer);
        if self.pinned.iter().any(another) {
            self.unpin(&[]).await?;
        }
        let way = self.way_to(peer, source, via).await?;
        let wanted = self.pins(peer, &way);
        self.unpin(&wanted).await?;
        for route in wanted {
            self.journal.add(&route)?;
            // In place of the one before, so that there is no moment without: the kernel may also
            // have taken that one along with its link or its source address.
            match self.netlink.add_route(&route).await {
                Ok(_) => {
                    self.pinned.retain(|pinned| !pinned.is_in_place_of(&route));
                    self.pinned.push(route);
                }
                Err(NetlinkError::ForeignRoute { .. }) => self.check_recursion(peer, via).await?,
                Err(problem) => return Err(problem.into()),
            }
        }
        Ok(way)
    }

    /// The routes that keep outer packets to `peer` on their way: in the main table, if that is where
    /// it is, since routing daemons write there; and among the tunnel's routes, if one covers the
    /// peer and a rule might lead outer packets to it.
    fn pins(&self, peer: IpAddr, way: &RouteInfo) -> Vec<Route> {
        let mut usable = self.device.usable.iter();
        let covering = usable
            .find(|route| route.table != MAIN_TABLE && route.destination.contains(peer))
            .map(|route| route.table);
        let main = (way.table == MAIN_TABLE).then_some(MAIN_TABLE);
        let pin = |table| Route {
            table,
            ..Route::pinned(peer, way)
        };
        main.into_iter().chain(covering).map(pin).collect()
    }

    async fn way_to(
        &self,
        peer: IpAddr,
        source: Option<IpAddr>,
        via: Via,
    ) -> Result<RouteInfo, HostError> {
        let tunnel = self.device.link;
        let problem = match self.netlink.way_to(peer, source, via, tunnel).await {
            Err(problem @ NetlinkError::NoRoute { .. }) => problem,
            way => return Ok(way?),
        };
        // The kernel has one answer for several causes.
        if let (Some(local), Ok(_)) = (source, self.netlink.way_to(peer, None, via, tunnel).await) {
            return Err(HostError::ForeignSource { peer, local });
        }
        if !self.captures(peer).await?.is_empty() {
            let device = self.device.name.clone();
            return Err(HostError::Recursive { peer, device });
        }
        Err(problem.into())
    }

    /// Someone else's route to this very host is as good as ours, unless it leads into the tunnel.
    async fn check_recursion(&self, peer: IpAddr, via: Via) -> Result<(), HostError> {
        let taken = self.netlink.route_to(peer, None, via).await?;
        if taken.link == self.device.link {
            let device = self.device.name.clone();
            return Err(HostError::Recursive { peer, device });
        }
        Ok(())
    }

    /// Routes of others that would lead the outer packets to `peer` into the tunnel, were they not
    /// pinned.
    pub(super) async fn captures(&self, peer: IpAddr) -> Result<Vec<Prefix>, HostError> {
        Ok(self.netlink.captures(peer, self.device.link).await?)
    }

    /// Takes back what is pinned, but for routes in the place of those in `keep`.
    async fn unpin(&mut self, keep: &[Route]) -> Result<(), HostError> {
        let stays = |route: &Route| keep.iter().any(|kept| kept.is_in_place_of(route));
        while let Some(place) = self.pinned.iter().position(|route| !stays(route)) {
            let route = self.pinned.remove(place);
            self.netlink.delete_route(&route).await?;
            self.journal.remove(&route)?;
        }
        Ok(())
    }

    /// Sets the device's MTU, in octets.
    pub(super) async fn set_mtu(&mut self, mtu: u16) -> Result<(), HostError> {
        if mtu != self.device.mtu {
            self.netlink.set_mtu(self.device.link, mtu.into()).await?;
            self.device.mtu = mtu;
        }
        Ok(())
    }

    /// The tunnel carries packets: its device has a carrier, its routes are usable.
    pub(super) async fn open(&mut self) -> Result<(), HostError> {
        self.netlink.set_carrier(self.device.link, true).await?;
        Ok(self.device.add_usable(&self.netlink).await?)
    }

    /// The tunnel carries nothing: its prefixes are unreachable, and routing daemons see it at once.
    pub(super) async fn close(&mut self) -> Result<(), HostError> {
        let deleted = self.device.delete_usable(&self.netlink).await;
        let carrier = self.netlink.set_carrier(self.device.link, false).await;
        Ok(deleted.and(carrier)?)
    }

    /// Puts back what others have taken from the host, such as the addresses of a device that was set
    /// down and up again; with the usable routes if the tunnel `carries` packets. What that was, in
    /// words.
    pub(super) async fn repair(
        &self,
        tunnel: &Tunnel,
        carries: bool,
    ) -> Result<Vec<String>, HostError> {
        let own = self.netlink.list_own_routes().await?;
        let device = self.netlink.link_by_name(&self.device.name).await;
        // Whoever set it down may have meant it; one that is gone is made anew elsewhere.
        let device_works = device.is_ok_and(|link| link.up && link.index == self.device.link);
        let mut repaired = Vec::new();
        if device_works {
            for address in self.missing_addresses(tunnel).await? {
                self.netlink.add_address(self.device.link, address).await?;
                repaired.push(format!("the address {address}"));
            }
        }
        let usable = (device_works && carries).then_some(&self.device.usable);
        let routes = self.guards.iter().chain(&self.pinned);
        let routes = routes.chain(usable.into_iter().flatten());
        for route in routes.filter(|route| !own.iter().any(|own| own.is_in_place_of(route))) {
            self.netlink.add_route(route).await?;
            repaired.push(format!("the route {}", route.destination));
        }
        Ok(repaired)
    }

    async fn missing_addresses(&self, tunnel: &Tunnel) -> Result<Vec<Prefix>, NetlinkError> {
        let found = self.netlink.list_addresses().await?;
        let missing = tunnel
            .addresses
            .iter()
            .filter(|address| !found.contains(&(self.device.link, **address)));
        Ok(missing.copied().collect())
    }

    /// Leaves the host as it was. The device has ended with its last queue.
    pub(super) async fn lower(mut self) -> Result<(), HostError> {
        let closed = self.close().await;
        self.journal.sweep(&self.netlink, &[]).await?;
        closed
    }

    /// Leaves the host as a crash would: nothing passes, and nothing leaves in clear, until somebody
    /// says so.
    pub(super) async fn abandon(mut self) -> Result<(), HostError> {
        let closed = self.close().await;
        self.unpin(&[]).await?;
        closed
    }
}

/// The guards first, then what they guard.
async fn guarded_device(
    netlink: &Netlink,
    journal: &mut Journal,
    tunnel: &Tunnel,
    guards: &[Route],
    mtu: u16,
) -> Result<(Device, Queue), HostError> {
    for guard in guards {
        journal.add(guard)?;
        netlink.add_route(guard).await?;
    }
    Device::make(netlink, tunnel, mtu).await
}

impl Device {
    async fn make(
        netlink: &Netlink,
        tunnel: &Tunnel,
        mtu: u16,
    ) -> Result<(Self, Queue), HostError> {
        refuse_taken_subnets(netlink, tunnel).await?;
        let asked = tunnel.device.as_deref().unwrap_or(ANY_NAME);
        let offloads = if tunnel.offload {
            Offloads::TcpAndUdp
        } else {
            Offloads::None
        };
        let tun = Tun::create(asked, NonZeroUsize::MIN, offloads)?;
        let name = tun.name().to_owned();
        let link = netlink.link_by_name(&name).await?.index;
        for address in &tunnel.addresses {
            netlink.add_address(link, *address).await?;
        }
        netlink.bring_up(link, mtu.into()).await?;
        let prefixes = tunnel.routes.iter().flat_map(Prefix::beating_default);
        let through = |prefix| Route {
            table: tunnel.table,
            ..Route::through(prefix, link, tunnel.metric)
        };
        let usable = prefixes.map(through).collect();
        let (queue, _) = tun.into_queues();
        let device = Self {
            name,
            link,
            mtu,
            usable,
        };
        // A route that cannot be made is told at once, not when the first SA stands. Nothing leaks:
        // the device carries nothing yet.
        device.add_usable(netlink).await?;
        device.delete_usable(netlink).await?;
        netlink.set_carrier(link, false).await?;
        Ok((device, queue))
    }

    async fn add_usable(&self, netlink: &Netlink) -> Result<(), NetlinkError> {
        for route in &self.usable {
            netlink.add_route(route).await?;
        }
        Ok(())
    }

    async fn delete_usable(&self, netlink: &Netlink) -> Result<(), NetlinkError> {
        let mut outcome = Ok(());
        for route in &self.usable {
            outcome = outcome.and(netlink.delete_route(route).await);
        }
        outcome
    }
}

/// The first of two connected routes wins, so that a subnet that is elsewhere would stay there.
async fn refuse_taken_subnets(netlink: &Netlink, tunnel: &Tunnel) -> Result<(), HostError> {
    let taken = netlink.list_addresses().await?;
    for subnet in subnets(tunnel).map(Prefix::network) {
        if let Some((link, _)) = taken.iter().find(|(_, taken)| taken.network() == subnet) {
            let device = netlink.link_by_index(*link).await?.name;
            return Err(HostError::SubnetTaken { subnet, device });
        }
    }
    Ok(())
}

/// The subnets of the tunnel's addresses. A lone address has none: nobody else is meant by it.
fn subnets(tunnel: &Tunnel) -> impl Iterator<Item = &Prefix> {
    let addresses = tunnel.addresses.iter();
    addresses.filter(|address| **address != Prefix::host(address.addr()))
}

/// A prefix that both tunnels would guard: taking one of them down would leave the other's open.
pub(super) fn shared_guard(a: &Tunnel, b: &Tunnel) -> Option<Prefix> {
    let taken = guards(a);
    let mut wanted = guards(b).into_iter();
    wanted
        .find(|guard| taken.contains(guard))
        .map(|guard| guard.destination)
}

/// One `unreachable` route for each prefix that passengers are meant to take the tunnel to: of the
/// routes in their table, of the subnets where the kernel has them.
fn guards(tunnel: &Tunnel) -> Vec<Route> {
    let routes = tunnel.routes.iter().map(|prefix| (tunnel.table, prefix));
    let subnets = subnets(tunnel).map(|prefix| (MAIN_TABLE, prefix));
    let mut guarded: Vec<_> = routes
        .chain(subnets)
        .flat_map(|(table, prefix)| {
            let halves = prefix.beating_default();
            halves
                .into_iter()
                .map(move |prefix| (prefix.network(), table))
        })
        .collect();
    guarded.sort_unstable();
    guarded.dedup();
    let guard = |(prefix, table)| Route {
        table,
        ..Route::unreachable(prefix)
    };
    guarded.into_iter().map(guard).collect()
}

/// Removes what a daemon that was killed left for `name`. `false`: there was nothing.
pub(super) async fn sweep(runtime_dir: &Path, name: &str) -> Result<bool, JournalError> {
    let mut journal = Journal::open(runtime_dir, name)?;
    let found = !journal.is_empty();
    if found {
        journal.sweep(&Netlink::connect()?, &[]).await?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
