//! Routes that several tunnels share: of one prefix, table and metric, with a next hop for each tunnel
//! that carries packets (ECMP). The kernel keeps a flow on its next hop, by the hash that
//! `fib_multipath_hash_policy` chooses.
//!
//! What stands is asked of the kernel, not remembered: next hops go with their device, IPv4's whole route
//! with any of its devices.

use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteType, RouteVia,
};

use super::route::{Parts, Route, Target};
use super::way::led_into;
use super::{Netlink, NetlinkError};

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop {
    /// The device's index.
    pub link: u32,
    /// Who takes the packets there; `None`: the destination is on the link.
    pub gateway: Option<IpAddr>,
}

/// The kernel takes IPv6 routes for equal only where each has a gateway. On a device with one
/// neighbour it does not matter which; this is "the router on that link" (RFC 4291 §2.6.1), which on
/// Ethernet has to be one and answer for it.
const SOLE_NEIGHBOUR: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);

impl Netlink {
    /// Adds a usable route; where one of ours is in its place already, the flows are shared between its
    /// next hops and this one's.
    pub async fn join_route(&self, route: &Route) -> Result<(), NetlinkError> {
        let Some(standing) = self.add_or_find(route).await? else {
            return Ok(());
        };
        let joined: Vec<_> = route.hops().iter().map(|hop| hop.link).collect();
        let mut hops = standing.hops().to_vec();
        hops.retain(|hop| !joined.contains(&hop.link));
        hops.extend(route.hops());
        hops.sort_unstable_by_key(|hop| hop.link);
        self.replace_route(&route.with_hops(hops)).await
    }

    /// Takes the devices that `routes` lead to out of those of ours in their place: these go if they
    /// lead nowhere else.
    pub async fn leave_routes(&self, routes: &[Route]) -> Result<(), NetlinkError> {
        let mut outcome = Ok(());
        for standing in self.own_messages(RouteType::Unicast).await? {
            let Some(rest) = rest_of(&standing, routes) else {
                continue;
            };
            let left = match rest.hops() {
                [] => self.delete_route(&rest).await,
                _ => self.replace_route(&rest).await,
            };
            outcome = outcome.and(left);
        }
        outcome
    }
}

impl Route {
    /// The same, leading there instead.
    fn with_hops(&self, hops: Vec<NextHop>) -> Self {
        let source = match self.target {
            Target::Links { source, .. } => source,
            Target::Unreachable => None,
        };
        let target = Target::Links { hops, source };
        Self {
            target,
            ..self.clone()
        }
    }
}

impl NextHop {
    /// One of several.
    pub(super) fn message(self, ipv4: bool) -> RouteNextHop {
        let gateway = self
            .gateway
            .or_else(|| (!ipv4).then_some(SOLE_NEIGHBOUR.into()));
        let mut message = RouteNextHop::default();
        message.interface_index = self.link;
        if let Some(gateway) = gateway {
            message.flags = RouteNextHopFlags::Onlink;
            message.attributes.push(gateway_attribute(gateway, ipv4));
        }
        message
    }

    /// Those of a route that are on a device which is up.
    pub(super) fn all_of(message: &RouteMessage, parts: &Parts) -> Vec<Self> {
        let several = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                RouteAttribute::MultiPath(hops) => Some(hops),
                _ => None,
            });
        let Some(several) = several else {
            let alone = parts.link.map(|link| Self::found(link, parts.gateway));
            let alone = alone.filter(|_| !message.header.flags.contains(RouteFlags::Dead));
            return alone.into_iter().collect();
        };
        let alive = several
            .iter()
            .filter(|hop| !hop.flags.contains(RouteNextHopFlags::Dead));
        alive
            .map(|hop| Self::found(hop.interface_index, Parts::gateway_of(&hop.attributes)))
            .collect()
    }

    fn found(link: u32, gateway: Option<IpAddr>) -> Self {
        let gateway = gateway.filter(|gateway| *gateway != IpAddr::V6(SOLE_NEIGHBOUR));
        Self { link, gateway }
    }
}

/// What is left of a route of ours without the devices of the one of `routes` in its place. `None`: it
/// leads to none of them, not even by a dead next hop, which the kernel would bring back to life with
/// its device.
fn rest_of(standing: &RouteMessage, routes: &[Route]) -> Option<Route> {
    let route = Route::of(standing)?;
    let leaving = routes
        .iter()
        .find(|leaving| leaving.is_in_place_of(&route))?;
    let links: Vec<_> = leaving.hops().iter().map(|hop| hop.link).collect();
    led_into(standing, &links)?;
    let others = route.hops().iter().filter(|hop| !links.contains(&hop.link));
    Some(route.with_hops(others.copied().collect()))
}

/// A gateway of a route, which may be of the other family than the destination.
pub(super) fn gateway_attribute(gateway: IpAddr, ipv4_destination: bool) -> RouteAttribute {
    match gateway {
        IpAddr::V6(gateway) if ipv4_destination => RouteAttribute::Via(RouteVia::Inet6(gateway)),
        gateway => RouteAttribute::Gateway(gateway.into()),
    }
}

#[cfg(test)]
mod tests;
