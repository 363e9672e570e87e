//! What routers say of the way to the peer (RFC 1191, RFC 8201): believed if it is of a packet that we may
//! have sent (D50, RFC 4301 §8.2.1), for as long as [`PathMtu`](crate::daemon::mtu::PathMtu) says.

use std::time::Instant;

use tracing::debug;

use super::Peer;
use crate::net::news::News;

impl Peer {
    /// Whether the packet was one of ours to this peer: on our wire, with the SPI of an SA that we send
    /// on and a sequence number that is spent. Who is not on the path has to guess both.
    pub(in crate::daemon) fn may_have_sent(&self, news: &News) -> bool {
        self.outer.as_ref().is_some_and(|outer| {
            let mut sas = outer.outbound.iter().filter_map(|(_, sa)| sa.upgrade());
            outer.wire.path() == news.path && sas.any(|sa| sa.may_have_sent(&news.esp))
        })
    }

    /// A packet of ours was too big for a router.
    pub(in crate::daemon) async fn take_news(&mut self, news: News, now: Instant) {
        // Of a way into the tunnel, it would be the tunnel's own.
        if self.stranded.is_none() && self.path_mtu.take_news(news.mtu, now) {
            debug!(
                "{}: a router on the way takes packets of {} octets",
                self.name(),
                news.mtu
            );
            self.probe_anew(now).await;
        }
    }
}
