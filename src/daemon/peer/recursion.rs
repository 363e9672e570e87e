//! Routes into the tunnel that cover the peer (PAINS 15): named when they come, in `status` while they
//! are there, and named again when they go.
//!
//! Not here: the pinned route, which beats them (`daemon::host`); outer packets that come out of the
//! device in spite of it (`dataplane::recursion`).

use std::net::IpAddr;

use tracing::{error, info, warn};

use super::Peer;
use crate::daemon::host::HostError;
use crate::net::netlink::{CoveringRoute, Look, RouteInfo};

impl Peer {
    /// Says which routes of others would lead outer packets into the tunnel, were `way` not pinned,
    /// and which of them are gone.
    pub(super) async fn name_covering_routes(
        &mut self,
        look: &mut Look,
        remote: IpAddr,
        way: &RouteInfo,
    ) {
        let devices = self.devices();
        let found = match self.host.covering_routes(look, remote, &devices).await {
            Ok(found) => found,
            Err(problem) => return error!("{}: {problem}", self.name()),
        };
        let name = self.name();
        for route in found.iter().filter(|one| !self.covering.contains(one)) {
            warn!(
                "{name}: {}; outer packets stay on {}",
                covers(route, remote),
                way.link_name
            );
        }
        for gone in self.covering.iter().filter(|one| !found.contains(one)) {
            info!("{name}: {gone}, covers the peer {remote} no more");
        }
        self.covering = found;
    }

    /// There is no way to the peer: said once for each reason.
    pub(super) fn strand(&mut self, problem: &HostError) {
        let problem = problem.to_string();
        if self.stranded.as_ref() != Some(&problem) {
            warn!("{}: {problem}; waiting for a way", self.name());
        }
        self.stranded = Some(problem);
        self.covering.clear();
    }

    /// What `status` shows of the routes to the peer.
    pub(in crate::daemon) fn recursion(&self) -> impl Iterator<Item = String> {
        let remote = self.addresses().map(|(_, remote)| remote);
        let overruled = self.covering.iter().filter_map(move |route| {
            let remote = remote?;
            Some(format!(
                "{}; outer packets do not take it, as the route to {remote} is pinned; the peer's side \
                 should not announce {}",
                covers(route, remote),
                route.prefix
            ))
        });
        self.stranded.iter().cloned().chain(overruled)
    }
}

fn covers(route: &CoveringRoute, peer: IpAddr) -> String {
    format!("recursive routing: {route}, covers the peer {peer}")
}
