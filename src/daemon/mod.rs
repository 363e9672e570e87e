//! The supervisor: sole owner of the [`ike::Endpoint`](secure_gre_ike::Endpoint), which it feeds with
//! datagrams, time and commands, and whose events it turns into SAs, devices and routes. It never
//! touches a data packet; it tells the data plane which SAs there are.
//!
//! - [`supervisor`]: the loop, and what each event leads to
//! - [`tunnel`]: one peer with its device, its data plane and its SAs
//! - [`host`], [`journal`]: what a tunnel changes on the host, and how that is undone
//! - [`locate`]: where the peer is and which way leads there
//! - [`install`]: IKE's keys into ESP's SAs
//! - [`report`]: what `status` shows

mod host;
mod install;
mod journal;
mod locate;
mod report;
mod supervisor;
mod tunnel;

use std::io;
use std::path::Path;

pub use self::host::HostError;
use self::journal::Journal;
pub use self::journal::JournalError;
use self::supervisor::Supervisor;
use crate::config;
use crate::control::server::{self, Server};
use crate::net::ike::BindError;
use crate::net::netlink::NetlinkError;

/// Why there is no daemon, or no more.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// Another IKE daemon holds the ports.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Another secure-gre holds the runtime directory.
    #[error(transparent)]
    Control(#[from] server::BindError),
    /// The kernel's routing socket.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A tunnel's device, addresses or routes.
    #[error("{name}: {source}")]
    Host {
        /// The peer.
        name: String,
        /// What the host refused.
        source: HostError,
    },
    /// Threads, sockets, signals.
    #[error("can't {action}: {source}")]
    Os {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// `on-failure = "exit"`, and an attempt failed; the reason was said.
    #[error("{name}: gave up, as peer.ike.on-failure = \"exit\" asks for")]
    GaveUp {
        /// The peer.
        name: String,
    },
}

/// Serves one peer until it is told to stop (Ctrl-C, SIGTERM, `down`), and leaves the host as it
/// was. What happens is said through `tracing`. The caller has made sure of the privileges.
pub fn up(peer: config::Peer, runtime_dir: &Path) -> Result<(), UpError> {
    let os = |action| move |source| UpError::Os { action, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(os("start the event loop"))?;
    let outcome = runtime.block_on(async {
        let mut supervisor = Supervisor::start(vec![peer], runtime_dir).await?;
        supervisor.run().await
    });
    // A resolver may be at work for seconds; nobody waits for its answer any more.
    runtime.shutdown_background();
    outcome
}

/// Why what a killed daemon left could not be undone.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A daemon holds the runtime directory, or it is not ours.
    #[error(transparent)]
    Control(#[from] server::BindError),
    /// A record, or a route in it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The event loop.
    #[error("can't start the event loop: {0}")]
    Os(#[source] io::Error),
}

/// Undoes what a daemon that was killed left on the host for the peer called `name`, or for all of
/// its peers. The names of those for whom there was something.
///
/// # Errors
/// A daemon runs with the directory, a record is damaged, or the kernel refuses.
pub fn sweep(runtime_dir: &Path, name: Option<&str>) -> Result<Vec<String>, SweepError> {
    let mut names = Journal::peers(runtime_dir)?;
    names.retain(|known| name.is_none_or(|name| name == known));
    if names.is_empty() {
        return Ok(names);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SweepError::Os)?;
    runtime.block_on(async {
        // No daemon may start meanwhile; and with the lock goes the dead one's socket.
        let _lock = Server::bind(runtime_dir)?;
        for name in &names {
            host::sweep(runtime_dir, name).await?;
        }
        Ok(names)
    })
}
