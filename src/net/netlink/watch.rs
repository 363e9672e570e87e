//! Changes of the host's links, addresses, routes and rules, as the kernel reports them.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;
use tokio::time::{Instant, sleep_until};

use super::route::destination_of;
use super::way::is_ours;
use super::{Netlink, NetlinkError};
use crate::net::prefix::Prefix;

/// A change rarely comes alone: an address brings its routes, a link both. Nobody waits for long.
const SETTLE: Duration = Duration::from_millis(300);

/// After what followed from a change, the next ones wait for so many times as long as that took: where
/// a look at the routes takes a second, it is not all that is done.
const REST: u32 = 4;

/// However long it took: what has changed may be the way that all packets take.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// What has changed.
enum Change {
    /// A route to this prefix.
    Route(Prefix),
    /// Anything else, or nobody knows.
    Other,
}

/// Tells when something has changed that may lead outer packets another way.
pub struct Watch {
    /// One item for each change that is not ours.
    changes: BoxStream<'static, Change>,
    settled_at: Option<Instant>,
    /// Nothing is settled before.
    rest_until: Instant,
}

impl Netlink {
    /// Must be called within a tokio runtime with I/O. Changes from here on are reported.
    pub fn watch() -> Result<Watch, NetlinkError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ];
        let (connection, _, messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(NetlinkError::Connect)?;
        tokio::spawn(connection);
        let changes = messages.filter_map(async |(message, _)| is_change(&message.payload));
        Ok(Watch {
            changes: changes.boxed(),
            settled_at: None,
            rest_until: Instant::now(),
        })
    }
}

impl Watch {
    /// What followed from the last changes took this long.
    pub fn followed(&mut self, took: Duration) {
        self.rest_until = Instant::now() + (took * REST).min(LONGEST_REST);
    }

    /// Waits for a change, and then a little for those that come with it; of routes, for one to a
    /// prefix that `concerns` us: a host with a full table of the Internet's has others all the time.
    /// A future that is dropped before it is ready has forgotten nothing.
    pub async fn changed(&mut self, concerns: impl Fn(Prefix) -> bool) {
        loop {
            let Some(at) = self.settled_at else {
                match self.changes.next().await {
                    Some(Change::Route(prefix)) if !concerns(prefix) => {}
                    Some(_) => self.settled_at = Some(self.rest_until.max(Instant::now() + SETTLE)),
                    // The socket is gone; whoever asks regularly still finds out.
                    None => std::future::pending::<()>().await,
                }
                continue;
            };
            tokio::select! {
                biased;
                () = sleep_until(at) => {
                    self.settled_at = None;
                    return;
                }
                Some(_) = self.changes.next() => {}
            }
        }
    }
}

fn is_change(payload: &NetlinkPayload<RouteNetlinkMessage>) -> Option<Change> {
    match payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
        ) => (!is_ours(route)).then(|| destination_of(route).map_or(Change::Other, Change::Route)),
        // An overrun, too: whatever it was, it is to be looked at.
        NetlinkPayload::InnerMessage(_) | NetlinkPayload::Overrun(_) => Some(Change::Other),
        _ => None,
    }
}
