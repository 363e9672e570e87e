//! The prefixes that lead into tunnels, each with all its paths: a prefix may be several peers'.

use std::collections::BTreeMap;

use crate::control::protocol::status::{PathState, PathStatus, RouteStatus};
use crate::daemon::peer::{Peer, Tunnel};
use crate::net::prefix::Prefix;

/// Where a prefix is routed: the network namespace by its name, and the table.
type Place = (Option<String>, u32, Prefix);

/// A tunnel that is to lead there, and whether its route stands.
struct Path {
    peer: String,
    device: String,
    metric: u32,
    is_open: bool,
}

/// Every prefix of these peers' tunnels.
pub(in crate::daemon) fn routes<'p>(peers: impl Iterator<Item = &'p Peer>) -> Vec<RouteStatus> {
    let mut places: BTreeMap<Place, Vec<Path>> = BTreeMap::new();
    for peer in peers {
        for tunnel in peer.tunnels() {
            let config = tunnel.config();
            for prefix in &config.routes {
                let place = (config.netns.clone(), config.table, *prefix);
                let path = path(peer, tunnel, prefix);
                places.entry(place).or_default().push(path);
            }
        }
    }
    places.into_iter().map(route).collect()
}

fn path(peer: &Peer, tunnel: &Tunnel, prefix: &Prefix) -> Path {
    let device = tunnel.device();
    Path {
        peer: peer.name().to_owned(),
        device: device.name().to_owned(),
        metric: tunnel.config().metric,
        is_open: device.leads_to(prefix),
    }
}

fn route(((netns, table, prefix), mut paths): (Place, Vec<Path>)) -> RouteStatus {
    paths.sort_by(|a, b| (a.metric, &a.device).cmp(&(b.metric, &b.device)));
    let open = paths.iter().filter(|path| path.is_open);
    let best = open.map(|path| path.metric).min();
    let status = |path: Path| PathStatus {
        state: match path.is_open {
            false => PathState::Down,
            true if Some(path.metric) == best => PathState::Carries,
            true => PathState::StandsBy,
        },
        peer: path.peer,
        device: path.device,
        metric: path.metric,
    };
    RouteStatus {
        prefix: prefix.to_string(),
        netns,
        table,
        paths: paths.into_iter().map(status).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The states of paths with these metrics, of which some carry packets.
    fn states(paths: &[(u32, bool)]) -> Vec<PathState> {
        let place = (None, 254, "10.20.0.0/16".parse().unwrap());
        let path = |(number, (metric, is_open)): (usize, &(u32, bool))| Path {
            peer: format!("peer{number}"),
            device: format!("sgre{number}"),
            metric: *metric,
            is_open: *is_open,
        };
        let route = route((place, paths.iter().enumerate().map(path).collect()));
        route.paths.iter().map(|path| path.state).collect()
    }

    #[test]
    fn the_best_metric_of_those_that_stand_carries() {
        use PathState::{Carries, Down, StandsBy};
        assert_eq!(states(&[(100, true)]), [Carries]);
        assert_eq!(states(&[(100, false)]), [Down]);
        assert_eq!(states(&[(100, true), (100, true)]), [Carries, Carries]);
        assert_eq!(states(&[(100, false), (100, true)]), [Down, Carries]);
        assert_eq!(states(&[(200, true), (100, true)]), [Carries, StandsBy]);
        assert_eq!(states(&[(200, true), (100, false)]), [Down, Carries]);
    }
}
