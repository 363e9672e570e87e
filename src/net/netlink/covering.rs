//! Routes into a tunnel that cover its peer: outer packets that took one would never leave
//! (RFC 2784 §7, PAINS 15).

use std::fmt;
use std::net::IpAddr;

use netlink_packet_route::route::{RouteMessage, RouteProtocol, RouteType};

use super::route::{MAIN_TABLE, Parts, ROUTE_PROTOCOL, destination_of};
use super::way::led_into;
use super::{Look, Netlink, NetlinkError};
use crate::net::outer::Via;
use crate::net::prefix::Prefix;

/// A route into a tunnel's device that covers its peer. Displayed as "10.0.0.0/8 via sgre0, learned by
/// ospf".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoveringRoute {
    /// What the route is for.
    pub prefix: Prefix,
    table: u32,
    device: String,
    /// Who made it.
    origin: RouteProtocol,
}

impl fmt::Display for CoveringRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} via {}", self.prefix, self.device)?;
        if self.table != MAIN_TABLE {
            write!(f, " in table {}", self.table)?;
        }
        match self.origin {
            RouteProtocol::Kernel => f.write_str(", of an address of the device"),
            // What `ip route add` makes, without and with "proto static".
            RouteProtocol::Boot | RouteProtocol::Static => f.write_str(", set by hand"),
            RouteProtocol::Other(ROUTE_PROTOCOL) => f.write_str(", of tunnel.routes"),
            RouteProtocol::Other(number) => write!(f, ", learned by protocol {number}"),
            daemon => write!(f, ", learned by {daemon}"),
        }
    }
}

impl Netlink {
    /// The route into one of the devices `tunnels` that packets to `peer` take, from `source` if that
    /// is given and bound to `via`: whosever it is, and of whichever table.
    pub async fn covering_route_taken(
        &self,
        peer: IpAddr,
        source: Option<IpAddr>,
        via: Via,
        tunnels: &[u32],
    ) -> Result<Option<CoveringRoute>, NetlinkError> {
        match self.matched_route(peer, source, via).await {
            Some(route) => self.covering(&route, peer, tunnels).await,
            None => Ok(None),
        }
    }

    /// `None`: the route does not cover the peer, or leads elsewhere.
    async fn covering(
        &self,
        route: &RouteMessage,
        peer: IpAddr,
        tunnels: &[u32],
    ) -> Result<Option<CoveringRoute>, NetlinkError> {
        let (parts, header) = (Parts::of(route), &route.header);
        let prefix = destination_of(route).filter(|prefix| prefix.contains(peer));
        let tunnel = led_into(route, tunnels).filter(|_| header.kind == RouteType::Unicast);
        let (Some(prefix), Some(tunnel)) = (prefix, tunnel) else {
            return Ok(None);
        };
        Ok(Some(CoveringRoute {
            prefix: prefix.network(),
            table: parts.table.unwrap_or_else(|| header.table.into()),
            device: self.link_by_index(tunnel).await?.name,
            origin: header.protocol,
        }))
    }
}

impl Look {
    /// Others' routes of the main table into the devices `tunnels` that cover `peer`, whether packets
    /// take them or not.
    pub async fn covering_routes(
        &mut self,
        peer: IpAddr,
        tunnels: &[u32],
    ) -> Result<Vec<CoveringRoute>, NetlinkError> {
        let netlink = self.netlink.clone();
        let mut covering = Vec::new();
        for route in self.others(peer).await? {
            covering.extend(netlink.covering(route, peer, tunnels).await?);
        }
        covering.dedup();
        Ok(covering)
    }
}
