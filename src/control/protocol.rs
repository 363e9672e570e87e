//! The lines on the control socket, one set of types for both ends: what a command asks and what the
//! daemon answers. What `status` reports is in [`status`]. Nothing here can hold a key.

pub mod status;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use self::status::{PeerStatus, RouteStatus};
use crate::net::netns::NetworkNamespace;

/// The version of this protocol. A daemon and a command of different versions do not talk.
pub const PROTOCOL_VERSION: u32 = 1;

/// The longest request, in octets, its line end included.
pub const MAX_REQUEST_OCTETS: usize = 64 * 1024;

/// The longest answer, in octets: room for some thousand peers.
pub const MAX_RESPONSE_OCTETS: usize = 16 * 1024 * 1024;

/// Who the daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Daemon {
    /// [`PROTOCOL_VERSION`] of the daemon.
    pub protocol: u32,
    /// Version of the program.
    pub version: String,
    /// Process id, in the daemon's own pid namespace.
    pub pid: u32,
    /// The network namespace that its sockets and devices are in.
    #[serde(with = "inode")]
    pub network_namespace: NetworkNamespace,
}

impl Daemon {
    /// This process.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn this() -> io::Result<Self> {
        Ok(Self {
            protocol: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            network_namespace: NetworkNamespace::current()?,
        })
    }
}

/// A namespace crosses the socket as the number of its inode.
mod inode {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::net::netns::NetworkNamespace;

    pub(super) fn serialize<S: Serializer>(
        namespace: &NetworkNamespace,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(namespace.inode())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<NetworkNamespace, D::Error> {
        u64::deserialize(deserializer).map(NetworkNamespace::from_inode)
    }
}

/// The first line to everyone who connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "greeting", rename_all = "kebab-case")]
pub enum Greeting {
    /// Requests are welcome.
    Welcome(Daemon),
    /// They are not; nothing follows.
    Refused(Refusal),
}

/// What a command asks of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "request",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Request {
    /// Report on one peer, or on all.
    Status {
        /// The peer's name, or that of a hub for all of its spokes; `None`: all.
        name: Option<String>,
    },
    /// Delete the SAs of one peer, or of all, and undo what was done to the host for them.
    /// Answered when that is done.
    Down {
        /// The peer's name, or that of a hub for all of its spokes; `None`: all.
        name: Option<String>,
    },
    /// Serve the peers of a file, which the daemon reads itself: keys never cross the socket. What
    /// is said of the peer meanwhile comes as [`Response::Said`]. A caller who hangs up before the
    /// last answer takes the peer down.
    Up {
        /// The file's absolute path.
        file: PathBuf,
        /// Until when the caller stays.
        until: Until,
        /// Rekey the first pair at once.
        test_rekey: bool,
    },
    /// Replace the keys of a peer's SA. Answered when that is done, or has failed.
    Rekey {
        /// The peer's name.
        name: String,
        /// Which SA.
        sa: SaKind,
    },
}

/// Which of a peer's SAs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaKind {
    /// The IKE SA (RFC 7296 §1.3.2).
    Ike,
    /// The CHILD_SA pair that carries packets (RFC 7296 §1.3.3).
    Child,
}

/// What the last answer to [`Request::Up`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// The tunnel carries packets ([`Response::Up`]), and was rekeyed if that is to be tested; a first
    /// failure is the last, and takes the peer down again.
    Carries,
    /// The peer is gone again ([`Response::Down`]).
    Gone,
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
pub enum Response {
    /// To [`Request::Status`].
    Status {
        /// In the order of their names.
        peers: Vec<PeerStatus>,
        /// As in [`StatusReport`](status::StatusReport).
        routes: Vec<RouteStatus>,
        /// As in [`StatusReport`](status::StatusReport).
        drops: BTreeMap<String, u64>,
    },
    /// To [`Request::Down`]: these peers are gone.
    Down {
        /// Their names.
        names: Vec<String>,
    },
    /// To [`Request::Up`]: a message about the peer; others follow.
    Said {
        /// How grave it is.
        level: Level,
        /// The line.
        text: String,
    },
    /// To [`Request::Up`]: the peer's tunnel carries packets.
    Up {
        /// The peer's name.
        name: String,
    },
    /// To [`Request::Up`]: the peers of the file are served, and there is nothing to wait for: they are
    /// to call, or some of them were served already.
    Served {
        /// The hub's name, or the peer's.
        name: String,
        /// How many are served in addition.
        more: usize,
        /// How many were before, and are as they were.
        kept: usize,
    },
    /// To [`Request::Rekey`]: the SA has fresh keys.
    Rekeyed {
        /// The peer's name.
        name: String,
        /// The algorithms, in the keywords of the file.
        suite: String,
    },
    /// To [`Request::Up`]: the peer was served, that failed, and it is gone again. To
    /// [`Request::Rekey`]: the SA stays as it was.
    Failed {
        /// The reason.
        problem: String,
    },
    /// Nothing was done.
    Refused(Refusal),
}

impl Response {
    /// Whether no other answer to the same request follows.
    pub const fn is_last(&self) -> bool {
        !matches!(self, Self::Said { .. })
    }
}

/// How grave a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A change of state.
    Info,
    /// Someone may have to act.
    Warning,
    /// Something is broken.
    Error,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Refusal {
    /// The line was no request of this version.
    #[error("the daemon does not understand the request: {problem}")]
    BadRequest {
        /// What is wrong with it.
        problem: String,
    },
    /// The daemon serves no peer of that name.
    #[error("no peer is called `{name}` here; there is {}", list(.known))]
    UnknownPeer {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// The file can't be used.
    #[error("{report}")]
    BadFile {
        /// What is wrong with it, with excerpts.
        report: String,
    },
    /// The file can be used, but not beside what is served, or not on this host.
    #[error("{problem}")]
    NotServed {
        /// The reason.
        problem: String,
    },
    /// There is no SA with the peer to do that with.
    #[error("{name} is not up: `secure-gre status {name}` says more")]
    NotUp {
        /// The peer's name.
        name: String,
    },
    /// The daemon is about to end and takes no more requests.
    #[error("the daemon is shutting down")]
    ShuttingDown,
    /// The caller's user may not speak to this daemon.
    #[error("user {uid} may not control this daemon; run the command as root")]
    NotPermitted {
        /// The caller's user id.
        uid: u32,
    },
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}
