//! What `status` says of the prefixes that lead into tunnels, and by which of them packets go.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A prefix of `tunnel.routes`, and the tunnels that lead to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RouteStatus {
    /// With its length.
    pub prefix: String,
    /// The network namespace that the routes are in, by its name; `None`: the daemon's own.
    pub netns: Option<String>,
    /// The number of the routing table.
    pub table: u32,
    /// The best metric first. Where none carries, the prefix is unreachable.
    pub paths: Vec<PathStatus>,
}

/// One tunnel's way to a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PathStatus {
    /// The peer's name.
    pub peer: String,
    /// The tunnel's device.
    pub device: String,
    /// The metric of its route.
    pub metric: u32,
    /// Whether packets take it.
    pub state: PathState,
}

/// Whether packets for a prefix take a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathState {
    /// They do; several with one metric share the flows.
    Carries,
    /// It could carry them, but one with a better metric does.
    StandsBy,
    /// Its tunnel carries nothing, so that its route is withdrawn; or somebody else's is in its place.
    Down,
}

impl fmt::Display for PathState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Carries => "carries",
            Self::StandsBy => "stands by",
            Self::Down => "down",
        })
    }
}
