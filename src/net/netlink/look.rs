//! One look at a network namespace, for everybody who wants to know something of it in one round of work:
//! what it has is listed when the first asks, and not again. A kernel with a full table of the Internet's
//! routes takes a fifth of a second for each list, also where it finds little of what was asked for.

use std::collections::BTreeSet;
use std::net::IpAddr;

use futures_util::TryStreamExt;
use netlink_packet_route::route::{RouteHeader, RouteMessage};
use tokio::sync::OnceCell;

use super::route::{MAIN_TABLE, Parts, Route, destination_of};
use super::way::is_ours;
use super::{Netlink, NetlinkError, family, refused};
use crate::net::prefix::Prefix;

/// See the module. What is changed meanwhile is not seen.
pub struct Look {
    pub(super) netlink: Netlink,
    own: OnceCell<Vec<Route>>,
    addresses: OnceCell<Vec<(u32, Prefix)>>,
    /// Where routes may lead to be among `others`.
    toward: BTreeSet<IpAddr>,
    others: Option<Vec<RouteMessage>>,
}

impl Look {
    /// At the namespace of `netlink`.
    pub fn at(netlink: &Netlink) -> Self {
        Self::toward(netlink, [])
    }

    /// The same, where the ways to all of `destinations` are wanted.
    pub fn toward(netlink: &Netlink, destinations: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            netlink: netlink.clone(),
            own: OnceCell::new(),
            addresses: OnceCell::new(),
            toward: destinations.into_iter().collect(),
            others: None,
        }
    }

    /// Every route with our mark: see [`Netlink::list_own_routes`].
    pub async fn own_routes(&self) -> Result<&[Route], NetlinkError> {
        let listed = self.own.get_or_try_init(|| self.netlink.list_own_routes());
        Ok(listed.await?)
    }

    /// The addresses of all devices, each with the index of its device.
    pub async fn addresses(&self) -> Result<&[(u32, Prefix)], NetlinkError> {
        let listed = self
            .addresses
            .get_or_try_init(|| self.netlink.list_addresses());
        Ok(listed.await?)
    }

    /// Others' routes of the main table that cover `destination`.
    pub(super) async fn others(
        &mut self,
        destination: IpAddr,
    ) -> Result<impl Iterator<Item = &RouteMessage>, NetlinkError> {
        if self.toward.insert(destination) {
            self.others = None;
        }
        let listed = match &mut self.others {
            Some(listed) => listed,
            none => none.insert(self.netlink.others_toward(&self.toward).await?),
        };
        let covers = move |route: &&RouteMessage| {
            destination_of(route).is_some_and(|prefix| prefix.contains(destination))
        };
        Ok(listed.iter().filter(covers))
    }
}

impl Netlink {
    /// Others' routes of the main table that cover one of `destinations`. The rest, which may be a
    /// million, is forgotten as it comes.
    async fn others_toward(
        &self,
        destinations: &BTreeSet<IpAddr>,
    ) -> Result<Vec<RouteMessage>, NetlinkError> {
        let covers = |prefix: Prefix| destinations.range(prefix.range()).next().is_some();
        let mut others = Vec::new();
        let mut families: Vec<_> = destinations.iter().copied().map(family).collect();
        families.dedup();
        for family in families {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family;
            filter.header.table = RouteHeader::RT_TABLE_MAIN;
            let is_wanted = |route: &RouteMessage| {
                let table = Parts::of(route).table;
                table.unwrap_or_else(|| route.header.table.into()) == MAIN_TABLE
                    && route.header.address_family == family
                    && !is_ours(route)
                    && destination_of(route).is_some_and(covers)
            };
            let mut answers = std::pin::pin!(self.handle.route().get(filter).execute());
            while let Some(route) = answers
                .try_next()
                .await
                .map_err(|error| refused("list the routes".to_owned(), error))?
            {
                others.extend(Some(route).filter(is_wanted));
            }
        }
        Ok(others)
    }
}
