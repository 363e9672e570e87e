//! What one tunnel puts on the host, or into a tenant's network namespace: the device with its
//! addresses, the usable routes, the `unreachable` routes that fail closed.
//!
//! Fail closed (DESIGN §1): the `unreachable` routes stand before the device exists and until all
//! else is gone; they outlive a crash, when device and usable routes vanish. They cover the routed
//! prefixes and the tunnel's own subnets, where the device is. A namespace that is deleted takes all of
//! it along.

use std::collections::BTreeSet;
use std::net::IpAddr;

use secure_gre_gre::Passengers;

use super::{HostError, put_back};
use crate::config::Tunnel;
use crate::daemon::journal::{Entry, Journal};
use crate::net::netlink::{Look, MAIN_TABLE, Netlink, NetlinkError, NextHop, Route, Target};
use crate::net::netns::{HeldNamespace, NamespaceError};
use crate::net::prefix::Prefix;
use crate::net::tun::{ANY_NAME, Layer, Offloads, Queues, Tun, TunError};

/// A tunnel's network device, which lives as long as a queue of it does.
#[derive(Debug)]
pub(in crate::daemon) struct Device {
    home: Home,
    guards: Vec<Route>,
    name: String,
    link: u32,
    mtu: u16,
    /// The routes into it, which stand while the tunnel carries packets; other tunnels may have a share in
    /// them.
    usable: Vec<Route>,
    /// The destinations of those that do.
    open: BTreeSet<Prefix>,
}

impl Device {
    /// Makes the device, with `mtu` and addresses. The guards first, then what they guard.
    pub(super) async fn raise(
        netlink: &Netlink,
        journal: &mut Journal,
        tunnel: &Tunnel,
        mtu: u16,
    ) -> Result<(Self, Queues), HostError> {
        let home = Home::of(tunnel, netlink)?;
        for entry in guard_entries(tunnel) {
            journal.add(entry)?;
        }
        Self::make(home, tunnel, mtu).await
    }

    /// Makes the device anew after it was deleted behind our back, perhaps with its namespace.
    pub(in crate::daemon) async fn remake(&mut self, tunnel: &Tunnel) -> Result<Queues, HostError> {
        let home = Home::of(tunnel, &self.home.netlink)?;
        let (device, queues) = Self::make(home, tunnel, self.mtu).await?;
        *self = device;
        Ok(queues)
    }

    async fn make(home: Home, tunnel: &Tunnel, mtu: u16) -> Result<(Self, Queues), HostError> {
        let netlink = &home.netlink;
        let guards = guards(tunnel);
        for guard in &guards {
            netlink.add_route(guard).await?;
        }
        refuse_taken_subnets(netlink, tunnel).await?;
        let tun = home.make_tun(tunnel)?;
        let name = tun.name().to_owned();
        let link = netlink.link_by_name(&name).await?.index;
        for address in &tunnel.addresses {
            netlink.add_address(link, *address).await?;
        }
        netlink.bring_up(link, mtu.into()).await?;
        let prefixes = tunnel.routes.iter().flat_map(Prefix::beating_default);
        let through = |prefix| Route {
            table: tunnel.table,
            target: Target::Links {
                hops: vec![NextHop {
                    link,
                    gateway: next_hop(tunnel, prefix),
                }],
                source: None,
            },
            ..Route::through(prefix, link, tunnel.metric)
        };
        let usable = prefixes.map(through).collect();
        let queues = Queues::from(tun);
        let device = Self {
            home,
            guards,
            name,
            link,
            mtu,
            usable,
            open: BTreeSet::new(),
        };
        device.try_routes().await?;
        device.home.netlink.set_carrier(link, false).await?;
        Ok((device, queues))
    }

    /// A route that cannot be made is told at once, not when the first SA stands. Nothing leaks: the
    /// device carries nothing yet. Where another tunnel carries what is for the prefix, it goes on.
    async fn try_routes(&self) -> Result<(), HostError> {
        if self.usable.is_empty() {
            return Ok(());
        }
        let own = self.home.netlink.list_own_routes().await?;
        let is_carried = |wanted: &Route| {
            own.iter().any(|route| {
                (route.destination, route.table) == (wanted.destination, wanted.table)
                    && !route.hops().is_empty()
            })
        };
        for route in self.usable.iter().filter(|route| !is_carried(route)) {
            self.home.netlink.join_route(route).await?;
        }
        Ok(self.leave_routes().await?)
    }

    /// Its name, in its namespace.
    pub(in crate::daemon) fn name(&self) -> &str {
        &self.name
    }

    /// Its index, in its namespace.
    pub(super) const fn link(&self) -> u32 {
        self.link
    }

    /// Its MTU, in octets; of one that is gone, the one that it is made anew with.
    pub(in crate::daemon) const fn mtu(&self) -> u16 {
        self.mtu
    }

    /// The name of its namespace; `None`: ours.
    pub(in crate::daemon) fn netns(&self) -> Option<&str> {
        self.home.tenant.as_ref().map(|(name, _)| name.as_str())
    }

    /// The routes into it, while it is open.
    pub(in crate::daemon) fn usable(&self) -> &[Route] {
        &self.usable
    }

    /// Sets the MTU, in octets; one that is gone is made anew with it.
    pub(in crate::daemon) async fn set_mtu(&mut self, mtu: u16) -> Result<(), HostError> {
        if mtu != self.mtu {
            self.home.netlink.set_mtu(self.link, mtu.into()).await?;
            self.mtu = mtu;
        }
        Ok(())
    }

    /// The tunnel carries packets: its device has a carrier, its routes are usable, but for those that
    /// an error is about.
    pub(in crate::daemon) async fn open(&mut self) -> Result<(), HostError> {
        let carrier = self.home.netlink.set_carrier(self.link, true).await;
        let joined = self.join_routes(&[], &mut Vec::new()).await;
        Ok(carrier.and(joined)?)
    }

    /// The tunnel carries nothing: its prefixes are other tunnels', or unreachable, and routing daemons
    /// see it at once.
    pub(in crate::daemon) async fn close(&mut self) -> Result<(), HostError> {
        self.open.clear();
        let left = self.leave_routes().await;
        let carrier = self.home.netlink.set_carrier(self.link, false).await;
        Ok(left.and(carrier)?)
    }

    /// Somebody has deleted it, and its routes with it.
    pub(in crate::daemon) fn lose(&mut self) {
        self.open.clear();
    }

    /// Whether what is for `prefix`, one of the tunnel's routes, may take it: its route stands.
    pub(in crate::daemon) fn leads_to(&self, prefix: &Prefix) -> bool {
        let mut parts = prefix.beating_default().into_iter();
        parts.all(|part| self.open.contains(&part.network()))
    }

    /// Whether the namespace of that name is still the one that the device is in.
    pub(in crate::daemon) fn is_at_home(&self) -> bool {
        self.home.is_there()
    }

    /// Puts back what, by this `look` at the daemon's namespace, others have taken, such as the addresses
    /// of a device that was set down and up again; with the usable routes if the tunnel `carries`
    /// packets, else without. What that was, in words, is added to `repaired`, whatever else fails.
    pub(in crate::daemon) async fn repair(
        &mut self,
        look: &Look,
        tunnel: &Tunnel,
        carries: bool,
        repaired: &mut Vec<String>,
    ) -> Result<(), HostError> {
        let netlink = &self.home.netlink;
        let elsewhere = self.home.tenant.as_ref().map(|_| Look::at(netlink));
        let look = elsewhere.as_ref().unwrap_or(look);
        let own = look.own_routes().await?;
        let device = netlink.link_by_name(&self.name).await;
        // Whoever set it down may have meant it; one that is gone is made anew elsewhere.
        let device_works = device.is_ok_and(|link| link.up && link.index == self.link);
        let mut outcome = put_back(netlink, &self.guards, own, repaired).await;
        if device_works {
            outcome = outcome.and(self.put_back_addresses(look, tunnel, repaired).await);
        }
        self.open.clear();
        if device_works && carries {
            outcome = outcome.and(self.join_routes(own, repaired).await);
        } else if !carries && self.usable.iter().any(|route| self.is_led_to(route, own)) {
            outcome = outcome.and(self.leave_routes().await);
        }
        Ok(outcome?)
    }

    async fn put_back_addresses(
        &self,
        look: &Look,
        tunnel: &Tunnel,
        repaired: &mut Vec<String>,
    ) -> Result<(), NetlinkError> {
        let found = look.addresses().await?;
        let is_missing = |address: &&Prefix| !found.contains(&(self.link, **address));
        let mut outcome = Ok(());
        for address in tunnel.addresses.iter().filter(is_missing) {
            match self.home.netlink.add_address(self.link, *address).await {
                Ok(()) => repaired.push(format!("the address {address}")),
                problem => outcome = outcome.and(problem),
            }
        }
        outcome
    }

    /// Nothing is asked where there is nothing to leave, so that a hub's spokes by the thousand end soon.
    async fn leave_routes(&self) -> Result<(), NetlinkError> {
        if self.usable.is_empty() {
            return Ok(());
        }
        self.home.netlink.leave_routes(&self.usable).await
    }

    /// Leads its routes to the device that do not lead to it among `own`. Which they were, in words, is
    /// added to `joined`.
    async fn join_routes(
        &mut self,
        own: &[Route],
        joined: &mut Vec<String>,
    ) -> Result<(), NetlinkError> {
        let mut outcome = Ok(());
        for route in &self.usable {
            if !self.is_led_to(route, own) {
                match self.home.netlink.join_route(route).await {
                    Ok(()) => joined.push(format!("the route {}", route.destination)),
                    problem => {
                        outcome = outcome.and(problem);
                        continue;
                    }
                }
            }
            self.open.insert(route.destination);
        }
        outcome
    }

    /// Whether the one of `own` in the place of `route` leads to the device.
    fn is_led_to(&self, route: &Route, own: &[Route]) -> bool {
        let mut standing = own.iter().filter(|own| own.is_in_place_of(route));
        standing.any(|own| own.leads_to(self.link))
    }
}

/// Where a device is.
#[derive(Debug)]
struct Home {
    /// A tenant's network namespace by its name; `None`: the daemon's own.
    tenant: Option<(String, HeldNamespace)>,
    /// Of that namespace.
    netlink: Netlink,
}

impl Home {
    /// `netlink` is the one to use in the daemon's own namespace.
    fn of(tunnel: &Tunnel, netlink: &Netlink) -> Result<Self, HostError> {
        let Some(name) = &tunnel.netns else {
            let netlink = netlink.clone();
            return Ok(Self {
                tenant: None,
                netlink,
            });
        };
        let namespace = HeldNamespace::named(name)?;
        let netlink = Netlink::connect_in(&namespace)?;
        Ok(Self {
            tenant: Some((name.clone(), namespace)),
            netlink,
        })
    }

    fn make_tun(&self, tunnel: &Tunnel) -> Result<Tun, HostError> {
        let asked = tunnel.device.as_deref().unwrap_or(ANY_NAME);
        let offloads = if tunnel.offload {
            Offloads::TcpAndUdp
        } else {
            Offloads::None
        };
        let layer = match tunnel.gre.kind {
            Passengers::Ip => Layer::Ip,
            Passengers::Ethernet => Layer::Ethernet,
        };
        let make = || Tun::create(asked, layer, tunnel.queues, offloads);
        let made: Result<Tun, TunError> = match &self.tenant {
            None => make(),
            Some((name, namespace)) => {
                let entered = namespace.enter(make);
                entered.map_err(|source| NamespaceError::Os {
                    name: name.clone(),
                    source,
                })?
            }
        };
        Ok(made?)
    }

    fn is_there(&self) -> bool {
        let Some((name, held)) = &self.tenant else {
            return true;
        };
        let named = HeldNamespace::named(name);
        named.is_ok_and(|named| named.id().ok() == held.id().ok())
    }
}

/// On Ethernet somebody has to answer for the addresses behind the other end: the other end.
fn next_hop(tunnel: &Tunnel, prefix: Prefix) -> Option<IpAddr> {
    let peer = tunnel.peer_address?;
    let is_of_family = peer.is_ipv4() == prefix.addr().is_ipv4();
    (tunnel.gre.kind == Passengers::Ethernet && is_of_family).then_some(peer)
}

/// The first of two connected routes wins, so that a subnet that is elsewhere would stay there.
async fn refuse_taken_subnets(netlink: &Netlink, tunnel: &Tunnel) -> Result<(), HostError> {
    let taken = netlink.list_addresses().await?;
    for subnet in tunnel.subnets() {
        if let Some((link, _)) = taken.iter().find(|(_, taken)| taken.network() == subnet) {
            let device = netlink.link_by_index(*link).await?.name;
            return Err(HostError::SubnetTaken { subnet, device });
        }
    }
    Ok(())
}

/// A prefix that both tunnels would guard in one namespace.
pub(in crate::daemon) fn shared_guard(a: &Tunnel, b: &Tunnel) -> Option<Prefix> {
    if a.netns != b.netns {
        return None;
    }
    let taken = guards(a);
    let mut wanted = guards(b).into_iter();
    wanted
        .find(|guard| taken.contains(guard))
        .map(|guard| guard.destination)
}

/// One `unreachable` route for each prefix that passengers are meant to take the tunnel to: of the
/// routes in their table, of the subnets where the kernel has them.
fn guards(tunnel: &Tunnel) -> Vec<Route> {
    let routes = tunnel.routes.iter().copied();
    let routes = routes.map(|prefix| (tunnel.table, prefix));
    let subnets = tunnel.subnets().map(|prefix| (MAIN_TABLE, prefix));
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

/// The same for the record of what survives a crash.
pub(super) fn guard_entries(tunnel: &Tunnel) -> Vec<Entry> {
    let guards = guards(tunnel);
    let entries = guards
        .iter()
        .map(|guard| Entry::of(tunnel.netns.as_deref(), guard));
    entries.collect()
}
