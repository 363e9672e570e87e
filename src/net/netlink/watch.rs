//! Changes of the host's links, addresses, routes and rules, as the kernel reports them.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteMessage, RouteProtocol};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;
use tokio::time::{Instant, sleep_until};

use super::route::ROUTE_PROTOCOL;
use super::{Netlink, NetlinkError};

/// A change rarely comes alone: an address brings its routes, a link both. Nobody waits for long.
const SETTLE: Duration = Duration::from_millis(300);

/// Tells when something has changed that may lead outer packets another way.
pub struct Watch {
    /// One item for each change that is not ours.
    changes: BoxStream<'static, ()>,
    settled_at: Option<Instant>,
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
        })
    }
}

impl Watch {
    /// Waits for a change, and then a little for those that come with it. A future that is dropped
    /// before it is ready has forgotten nothing.
    pub async fn changed(&mut self) {
        loop {
            let Some(at) = self.settled_at else {
                if self.changes.next().await.is_none() {
                    // The socket is gone; whoever asks regularly still finds out.
                    std::future::pending::<()>().await;
                }
                self.settled_at = Some(Instant::now() + SETTLE);
                continue;
            };
            tokio::select! {
                biased;
                () = sleep_until(at) => {
                    self.settled_at = None;
                    return;
                }
                Some(()) = self.changes.next() => {}
            }
        }
    }
}

fn is_change(payload: &NetlinkPayload<RouteNetlinkMessage>) -> Option<()> {
    let ours = |route: &RouteMessage| route.header.protocol == RouteProtocol::Other(ROUTE_PROTOCOL);
    match payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
        ) => (!ours(route)).then_some(()),
        // An overrun, too: whatever it was, it is to be looked at.
        NetlinkPayload::InnerMessage(_) | NetlinkPayload::Overrun(_) => Some(()),
        _ => None,
    }
}
