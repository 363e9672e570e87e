//! Routes: which one leads to the peer, and the ones that are ours.
//!
//! Three kinds are made. A *usable* route leads a prefix into the tunnel, while it carries packets;
//! tunnels of one prefix, table and metric share one, each with a next hop (`multipath`).
//! An *unreachable* one of the worst metric stands under it all the time, so that traffic never falls
//! back to the default route in clear. A *pinned* one keeps the outer packets to the peer out of the
//! tunnel, whatever a routing protocol announces.

use std::net::IpAddr;

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
    RouteType, RouteVia,
};
use nix::errno::Errno;

use super::multipath::{NextHop, gateway_attribute};
use super::way::is_ours;
use super::{Netlink, NetlinkError, errno, family, refused, unless};
use crate::net::outer::Via;
use crate::net::prefix::Prefix;

/// Marks our routes in the kernel (`rtm_protocol`, "proto 47" in `ip route`), so that a later run
/// knows what a crashed one left. The number is GRE's; no routing daemon in iproute2's `rt_protos`
/// has it.
pub const ROUTE_PROTOCOL: u8 = 47;

/// The table that ordinary routes are in.
pub const MAIN_TABLE: u32 = 254;

/// A route of ours. Destination, table and metric are its identity in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Host bits are ignored.
    pub destination: Prefix,
    /// The routing table, usually [`MAIN_TABLE`].
    pub table: u32,
    /// The lowest wins among routes of one destination. IPv6 knows no 0.
    pub metric: u32,
    /// What becomes of the packets.
    pub target: Target,
}

/// What a route does with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Sends it out of a device.
    Links {
        /// One, or several that share the flows (ECMP). None of them is on a device that is down, so
        /// that a route which was found may have none at all.
        hops: Vec<NextHop>,
        /// The source address of our own packets; `None`: the kernel chooses.
        source: Option<IpAddr>,
    },
    /// Refuses it with an ICMP "unreachable".
    Unreachable,
}

impl Route {
    /// A usable route into the tunnel device `link`, in the main table.
    pub fn through(destination: Prefix, link: u32, metric: u32) -> Self {
        let hop = NextHop {
            link,
            gateway: None,
        };
        let target = Target::Links {
            hops: vec![hop],
            source: None,
        };
        Self {
            destination: destination.network(),
            table: MAIN_TABLE,
            metric,
            target,
        }
    }

    /// The route that refuses what has no usable one, in the main table.
    pub fn unreachable(destination: Prefix) -> Self {
        Self {
            destination: destination.network(),
            table: MAIN_TABLE,
            metric: u32::MAX,
            target: Target::Unreachable,
        }
    }

    /// The route that keeps outer packets to `peer` on the way they have; of the best metric.
    pub fn pinned(peer: IpAddr, way: &RouteInfo) -> Self {
        let hop = NextHop {
            link: way.link,
            gateway: way.gateway,
        };
        Self {
            destination: Prefix::host(peer),
            table: MAIN_TABLE,
            // IPv6 takes 0 for "none given" and makes it 1024.
            metric: u32::from(peer.is_ipv6()),
            target: Target::Links {
                hops: vec![hop],
                source: Some(way.source),
            },
        }
    }
}

/// How the kernel would send a packet of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteInfo {
    /// The address that it would come from.
    pub source: IpAddr,
    /// The next hop; `None`: the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The device's index.
    pub link: u32,
    /// The device's name.
    pub link_name: String,
    /// The routing table that the route is in.
    pub table: u32,
    /// The largest packet that the route takes, else its link. What the network has said of the path
    /// (RFC 1191) is not in it: that gets old.
    pub mtu: u32,
}

/// What [`Netlink::add_route`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// Nothing: the route is new.
    New,
    /// A route of an earlier run of ours, which now is as asked for.
    Adopted,
}

impl Netlink {
    /// Looks up the way to `destination` (`ip route get`), from `source` if that is given, of
    /// packets bound to `via`.
    pub async fn route_to(
        &self,
        destination: IpAddr,
        source: Option<IpAddr>,
        via: Via,
    ) -> Result<RouteInfo, NetlinkError> {
        let no_route = || NetlinkError::NoRoute { destination };
        let query = Self::route_query(destination, source, via);
        let answer = self
            .handle
            .route()
            .get(query)
            .execute()
            .boxed()
            .try_next()
            .await;
        let message = answer.map_err(|error| match errno(&error) {
            // The last two are the answers of "prohibit" and "blackhole" routes.
            Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EACCES | Errno::EINVAL) => {
                no_route()
            }
            _ => refused(format!("look up the route to {destination}"), error),
        })?;
        let parts = Parts::of(&message.ok_or_else(no_route)?);
        let link = self.link_by_index(parts.link.ok_or_else(no_route)?).await?;
        // The answer has what the network said of the path in place of the route's own.
        let matched = self.matched_route(destination, source, via).await;
        let mtu = matched.and_then(|matched| Parts::of(&matched).mtu);
        Ok(RouteInfo {
            source: parts.source.or(source).ok_or_else(no_route)?,
            gateway: parts.gateway,
            link: link.index,
            link_name: link.name,
            table: parts.table.unwrap_or(MAIN_TABLE),
            mtu: mtu.unwrap_or(link.mtu),
        })
    }

    pub(super) fn route_query(
        destination: IpAddr,
        source: Option<IpAddr>,
        via: Via,
    ) -> RouteMessage {
        let mut query = RouteMessage::default();
        if destination.is_ipv4() {
            // IPv6 tells the table unasked, and refuses the question.
            query.header.flags |= RouteFlags::LookupTable;
        }
        query.header.address_family = family(destination);
        query.header.destination_prefix_length = Prefix::host(destination).prefix_len();
        query
            .attributes
            .push(RouteAttribute::Destination(destination.into()));
        if let Some(source) = source {
            query.header.source_prefix_length = Prefix::host(source).prefix_len();
            query.attributes.push(RouteAttribute::Source(source.into()));
        }
        let link = via.link.map(|link| RouteAttribute::Oif(link.get()));
        let mark = via.mark.map(|mark| RouteAttribute::Mark(mark.get()));
        query.attributes.extend(link.into_iter().chain(mark));
        query
    }

    /// Adds a route, or takes over the one that an earlier run of ours left in its place.
    pub async fn add_route(&self, route: &Route) -> Result<Added, NetlinkError> {
        match self.add_or_find(route).await? {
            None => Ok(Added::New),
            Some(_) => self.replace_route(route).await.map(|()| Added::Adopted),
        }
    }

    /// Adds a route, unless one of ours is in its place: that one.
    pub(super) async fn add_or_find(&self, route: &Route) -> Result<Option<Route>, NetlinkError> {
        let Err(error) = self.handle.route().add(route.message()).execute().await else {
            return Ok(None);
        };
        if errno(&error) != Some(Errno::EEXIST) {
            return Err(refused(
                format!("add the route {}", route.destination),
                error,
            ));
        }
        let ours = self.list_own_routes().await?;
        let standing = ours.into_iter().find(|own| own.is_in_place_of(route));
        let foreign = || NetlinkError::ForeignRoute {
            destination: route.destination,
            table: route.table,
            metric: route.metric,
        };
        standing.ok_or_else(foreign).map(Some)
    }

    /// Adds a route, or changes the one of the same destination, table and metric, whosever it is.
    pub async fn replace_route(&self, route: &Route) -> Result<(), NetlinkError> {
        let outcome = self
            .handle
            .route()
            .add(route.message())
            .replace()
            .execute()
            .await;
        outcome.map_err(|error| refused(format!("set the route {}", route.destination), error))
    }

    /// Deletes a route of ours; nobody else's.
    pub async fn delete_route(&self, route: &Route) -> Result<(), NetlinkError> {
        let mut message = route.identity();
        // The wildcard for deletions.
        message.header.scope = RouteScope::NoWhere;
        let outcome = self.handle.route().del(message).execute().await;
        unless(outcome, &[Errno::ESRCH, Errno::ENODEV])
            .map_err(|error| refused(format!("delete the route {}", route.destination), error))
    }

    /// Every route with our mark, of both families and all tables, left by whichever run.
    pub async fn list_own_routes(&self) -> Result<Vec<Route>, NetlinkError> {
        let messages = self.own_messages(RouteType::Unspec).await?;
        Ok(messages.iter().filter_map(Route::of).collect())
    }

    /// The same of one kind only, or of all, with what a [`Route`] does not show.
    pub(super) async fn own_messages(
        &self,
        kind: RouteType,
    ) -> Result<Vec<RouteMessage>, NetlinkError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family;
            filter.header.protocol = RouteProtocol::Other(ROUTE_PROTOCOL);
            filter.header.kind = kind;
            let mut answers = self.handle.route().get(filter).execute().boxed();
            while let Some(message) = answers
                .try_next()
                .await
                .map_err(|error| refused("list the routes".to_owned(), error))?
            {
                // A kernel without this family answers with all that it has.
                let of_family = message.header.address_family == family;
                routes.extend(Some(message).filter(|message| of_family && is_ours(message)));
            }
        }
        Ok(routes)
    }
}

impl Route {
    /// Whether the kernel would take this one for `other`: the same destination, table and metric.
    pub fn is_in_place_of(&self, other: &Self) -> bool {
        let identity = |route: &Self| (route.destination.network(), route.table, route.metric);
        identity(self) == identity(other)
    }

    /// Where it leads; none: nowhere.
    pub fn hops(&self) -> &[NextHop] {
        match &self.target {
            Target::Links { hops, .. } => hops,
            Target::Unreachable => &[],
        }
    }

    /// Whether it leads out of the device `link`, perhaps among others.
    pub fn leads_to(&self, link: u32) -> bool {
        self.hops().iter().any(|hop| hop.link == link)
    }

    /// What the kernel finds it by, and our mark.
    fn identity(&self) -> RouteMessage {
        let destination = self.destination.network();
        let mut message = RouteMessage::default();
        let header = &mut message.header;
        header.address_family = family(destination.addr());
        header.destination_prefix_length = destination.prefix_len();
        header.protocol = RouteProtocol::Other(ROUTE_PROTOCOL);
        header.scope = RouteScope::Universe;
        header.kind = match self.target {
            Target::Links { .. } => RouteType::Unicast,
            Target::Unreachable => RouteType::Unreachable,
        };
        message.attributes = vec![
            RouteAttribute::Destination(destination.addr().into()),
            RouteAttribute::Table(self.table),
            RouteAttribute::Priority(self.metric),
        ];
        message
    }

    pub(super) fn message(&self) -> RouteMessage {
        let mut message = self.identity();
        let Target::Links { hops, source } = &self.target else {
            return message;
        };
        message
            .attributes
            .extend(source.map(|source| RouteAttribute::PrefSource(source.into())));
        let ipv4 = self.destination.addr().is_ipv4();
        match hops.as_slice() {
            [hop] => {
                message.attributes.push(RouteAttribute::Oif(hop.link));
                let gateway = hop.gateway.map(|gateway| gateway_attribute(gateway, ipv4));
                // The kernel named this gateway for this link; it need not check that again, and
                // could not where the gateway is outside of every connected prefix.
                match gateway {
                    Some(_) => message.header.flags |= RouteFlags::Onlink,
                    None => message.header.scope = RouteScope::Link,
                }
                message.attributes.extend(gateway);
            }
            hops => {
                let hops = hops.iter().map(|hop| hop.message(ipv4)).collect();
                message.attributes.push(RouteAttribute::MultiPath(hops));
            }
        }
        message
    }

    /// Of a route with our mark; `None`: it is nothing that we make.
    pub(super) fn of(message: &RouteMessage) -> Option<Self> {
        let header = &message.header;
        let parts = Parts::of(message);
        let target = match header.kind {
            RouteType::Unreachable => Target::Unreachable,
            RouteType::Unicast => Target::Links {
                hops: NextHop::all_of(message, &parts),
                source: parts.source,
            },
            _ => return None,
        };
        Some(Self {
            destination: destination_of(message)?,
            table: parts.table.unwrap_or_else(|| header.table.into()),
            metric: parts.metric,
            target,
        })
    }
}

/// What a route is for; `None`: not for IP.
pub(super) fn destination_of(message: &RouteMessage) -> Option<Prefix> {
    let attributes = message.attributes.iter();
    let mut found = attributes.filter_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    });
    // A default route has none.
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let address = found.next().unwrap_or(any);
    Prefix::new(address, message.header.destination_prefix_length)
}

/// The attributes of a route message that mean something to us.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) gateway: Option<IpAddr>,
    pub(super) source: Option<IpAddr>,
    pub(super) link: Option<u32>,
    pub(super) table: Option<u32>,
    pub(super) metric: u32,
    pub(super) mtu: Option<u32>,
}

impl Parts {
    pub(super) fn of(message: &RouteMessage) -> Self {
        let mut parts = Self::default();
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Gateway(address) => parts.gateway = ip(address),
                RouteAttribute::Via(via) => parts.gateway = next_hop(via),
                RouteAttribute::PrefSource(address) => parts.source = ip(address),
                RouteAttribute::Oif(link) => parts.link = Some(*link),
                RouteAttribute::Table(table) => parts.table = Some(*table),
                RouteAttribute::Priority(metric) => parts.metric = *metric,
                RouteAttribute::Metrics(metrics) => {
                    parts.mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(mtu) => Some(*mtu),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        parts
    }

    /// The next hop among the attributes of one of several.
    pub(super) fn gateway_of(attributes: &[RouteAttribute]) -> Option<IpAddr> {
        attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(address) => ip(address),
            RouteAttribute::Via(via) => next_hop(via),
            _ => None,
        })
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

/// A next hop that may be of the other family.
fn next_hop(via: &RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(address) => Some((*address).into()),
        RouteVia::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
