//! The way of outer packets to a peer, as if no route of ours and none into its tunnel were there.

use std::net::IpAddr;

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteNextHopFlags, RouteProtocol, RouteType,
};

use super::route::{MAIN_TABLE, Parts, ROUTE_PROTOCOL, RouteInfo};
use super::{Look, Netlink, NetlinkError};
use crate::net::outer::Via;
use crate::net::prefix::Prefix;

impl Look {
    /// The way to `destination`, from `source` if that is given, of packets bound to `via`. Neither
    /// routes of ours nor others into the devices `tunnels` count: the tunnels' packets cannot travel
    /// through the tunnels.
    ///
    /// Where the kernel's own choice is none of those, it is the answer, rules and tables of policy
    /// routing included; else the main table without them is searched.
    pub async fn way_to(
        &mut self,
        destination: IpAddr,
        source: Option<IpAddr>,
        via: Via,
        tunnels: &[u32],
    ) -> Result<RouteInfo, NetlinkError> {
        let chosen = self
            .netlink
            .kernel_chooses_another(destination, source, via, tunnels);
        if chosen.await {
            return self.netlink.route_to(destination, source, via).await;
        }
        let no_route = || NetlinkError::NoRoute { destination };
        let routes = self.others(destination).await?;
        let usable = routes
            .filter_map(|route| Candidate::of(route, via))
            .filter(|candidate| !candidate.leads_into(tunnels))
            .filter(|candidate| via.admits(candidate.parts.link));
        // Longest prefix, then lowest metric; a route that refuses has no link.
        let best = usable.max_by_key(|candidate| {
            (
                candidate.prefix_len,
                std::cmp::Reverse(candidate.parts.metric),
            )
        });
        let parts = best.ok_or_else(no_route)?.parts;
        let link = self
            .netlink
            .link_by_index(parts.link.ok_or_else(no_route)?)
            .await?;
        let next = parts.gateway.unwrap_or(destination);
        let source = match source.or(parts.source) {
            Some(source) => self.own(source).await?,
            None => self.source_on(link.index, next).await?,
        };
        Ok(RouteInfo {
            source: source.ok_or_else(no_route)?,
            gateway: parts.gateway,
            link: link.index,
            link_name: link.name,
            table: MAIN_TABLE,
            mtu: parts.mtu.unwrap_or(link.mtu),
        })
    }

    /// `address`, if this host has it.
    async fn own(&self, address: IpAddr) -> Result<Option<IpAddr>, NetlinkError> {
        let addresses = self.addresses().await?;
        let mut own = addresses.iter().map(|(_, own)| own.addr());
        Ok(own.find(|own| *own == address))
    }

    /// As the kernel chooses: an address of the subnet that the next hop is in, else the first.
    async fn source_on(&self, link: u32, next: IpAddr) -> Result<Option<IpAddr>, NetlinkError> {
        let addresses = self.addresses().await?;
        let of_link = addresses
            .iter()
            .filter(|(index, own)| *index == link && is_global(own.addr()))
            .filter(|(_, own)| own.addr().is_ipv4() == next.is_ipv4())
            .map(|(_, own)| own);
        let near = of_link.clone().find(|own| own.contains(next));
        Ok(near.or_else(|| of_link.clone().next()).map(Prefix::addr))
    }
}

impl Netlink {
    /// Whether the route that the kernel takes is neither ours nor one into the devices.
    async fn kernel_chooses_another(
        &self,
        destination: IpAddr,
        source: Option<IpAddr>,
        via: Via,
        tunnels: &[u32],
    ) -> bool {
        // It may be one of our own that refuses: the search among the others tells.
        let matched = self.matched_route(destination, source, via).await;
        matched.is_some_and(|matched| !is_ours(&matched) && led_into(&matched, tunnels).is_none())
    }

    /// The very route that the kernel takes; `None`: there is none, or it refuses.
    pub(super) async fn matched_route(
        &self,
        destination: IpAddr,
        source: Option<IpAddr>,
        via: Via,
    ) -> Option<RouteMessage> {
        let mut query = Self::route_query(destination, source, via);
        query.header.flags |= RouteFlags::FibMatch;
        let mut answer = self.handle.route().get(query).execute().boxed();
        answer.try_next().await.ok().flatten()
    }
}

/// A route to the destination.
struct Candidate {
    prefix_len: u8,
    parts: Parts,
}

impl Candidate {
    /// `None`: nothing can leave by it.
    fn of(route: &RouteMessage, via: Via) -> Option<Self> {
        let header = &route.header;
        let dead = RouteFlags::Dead | RouteFlags::Linkdown;
        if header.flags.intersects(dead) {
            return None;
        }
        let mut parts = Parts::of(route);
        match header.kind {
            RouteType::Unicast => {
                let hops = route
                    .attributes
                    .iter()
                    .find_map(|attribute| match attribute {
                        RouteAttribute::MultiPath(hops) => Some(hops),
                        _ => None,
                    });
                let dead = RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown;
                let hop = hops.and_then(|hops| {
                    let mut alive = hops.iter().filter(|hop| !hop.flags.intersects(dead));
                    alive.find(|hop| via.admits(Some(hop.interface_index)))
                });
                if let Some(hop) = hop {
                    parts.link = Some(hop.interface_index);
                    parts.gateway = Parts::gateway_of(&hop.attributes);
                }
            }
            _ => parts.link = None,
        }
        Some(Self {
            prefix_len: header.destination_prefix_length,
            parts,
        })
    }

    fn leads_into(&self, links: &[u32]) -> bool {
        self.parts.link.is_some_and(|link| links.contains(&link))
    }
}

pub(super) fn is_ours(route: &RouteMessage) -> bool {
    route.header.protocol == RouteProtocol::Other(ROUTE_PROTOCOL)
}

/// The one of these devices by which packets that take the route leave, or may leave.
pub(super) fn led_into(route: &RouteMessage, links: &[u32]) -> Option<u32> {
    let of_attribute = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Oif(link) => Some(*link).filter(|link| links.contains(link)),
        RouteAttribute::MultiPath(hops) => {
            let mut hops = hops.iter().map(|hop| hop.interface_index);
            hops.find(|link| links.contains(link))
        }
        _ => None,
    };
    route.attributes.iter().find_map(of_attribute)
}

/// Not one that means something on one link only.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    }
}
