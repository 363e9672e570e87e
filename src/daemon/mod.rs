//! The supervisor: sole owner of the [`ike::Endpoint`](secure_gre_ike::Endpoint), which it feeds with
//! datagrams, time and commands, and whose events it turns into SAs, devices and routes. It never
//! touches a data packet; it tells the data plane which SAs there are.
//!
//! - [`supervisor`]: the loop, what each event leads to, and what commands ask for
//! - [`peer`]: one peer with its device, its data plane and its SAs
//! - [`host`], [`journal`]: what a tunnel changes on the host, and how that is undone
//! - [`locate`]: where the peer is and which way leads there
//! - [`obstacles`]: what on the host stands in the way and is not ours to change
//! - [`mtu`]: what fits into the tunnel
//! - [`hooks`]: commands of the user's, run beside the loop
//! - [`install`]: IKE's keys into ESP's SAs
//! - [`report`]: what `status` shows

mod hooks;
mod host;
mod install;
mod journal;
mod locate;
pub(crate) mod mtu;
mod obstacles;
mod peer;
mod report;
mod supervisor;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use secure_gre_ike::config::RemoteId;
use tracing::{error, info};

pub use self::host::HostError;
pub use self::journal::JournalError;
use self::journal::Records;
use self::supervisor::{Life, Supervisor};
use crate::config::{self, PeerAddress};
use crate::control::server::{self, Server};
use crate::net::ike::BindError;
use crate::net::netlink::NetlinkError;
use crate::net::prefix::Prefix;
use crate::telemetry::Listeners;

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
    /// Nothing that was to be served can be.
    #[error(transparent)]
    Add(#[from] AddError),
    /// Threads, sockets, signals.
    #[error("can't {action}: {source}")]
    Os {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The records of what a killed daemon left.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// `on-failure = "exit"`, and an attempt failed; the reason was said.
    #[error("{0}")]
    GaveUp(String),
}

/// Why one more peer is not served.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// A tunnel's device, addresses or routes.
    #[error("{name}: {source}")]
    Host {
        /// The peer.
        name: String,
        /// What the host refused.
        source: HostError,
    },
    /// Another peer has what can be one peer's only.
    #[error("{}: {what} of {} already; one of the two files has to change", .file.display(), .other.display())]
    Clash {
        /// The file that is not served.
        file: PathBuf,
        /// The file that is.
        other: PathBuf,
        /// What both have.
        what: Clash,
    },
}

/// What two peers cannot both have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Clash {
    /// Names tell them apart in commands.
    #[error("{0:?} is the name")]
    Name(String),
    /// The kernel has one device of a name.
    #[error("{0} is the device")]
    Device(String),
    /// Packets from one address belong to one peer.
    #[error("{0} is the peer's address")]
    Address(PeerAddress),
    /// A peer that may call from anywhere is found by it.
    #[error("{} is the identity", identity(.0))]
    Identity(RemoteId),
    /// The kernel has a subnet on one device.
    #[error("{0} is the subnet or a route")]
    Subnet(Prefix),
    /// What is for a spoke goes to nobody else.
    #[error("{0} is the prefix")]
    SpokesPrefix(Prefix),
}

fn identity(id: &RemoteId) -> String {
    match id {
        RemoteId::Is(identity) => identity.to_string(),
        RemoteId::Address | RemoteId::Any => "any".to_owned(),
    }
}

/// Serves the peers of a file until it is told to stop (Ctrl-C, SIGTERM, `down`), and leaves the host as
/// it was. Meanwhile others may hand over theirs. What happens is said through `tracing`. The caller has
/// made sure of the privileges. With `test_rekey` the first pair of each is rekeyed at once.
pub fn up(
    peers: Vec<config::Peer>,
    test_rekey: bool,
    runtime_dir: &Path,
    listeners: Listeners,
) -> Result<(), UpError> {
    serve(
        runtime_dir,
        WITH_LAST_TUNNEL,
        listeners,
        async |supervisor| Ok(supervisor.add_own(peers, test_rekey).await?),
    )
}

/// Serves `peers`, and whatever is handed over, until it is told to stop. A peer that cannot be
/// served is reported and left out.
pub fn run(
    peers: Vec<config::Peer>,
    runtime_dir: &Path,
    listeners: Listeners,
) -> Result<(), UpError> {
    serve(
        runtime_dir,
        || Life::Service,
        listeners,
        async |supervisor| {
            for peer in peers {
                if let Err(problem) = supervisor.add(peer, false).await {
                    error!("not served: {problem}");
                }
            }
            info!("serving {}", supervisor.served());
            Ok(())
        },
    )
}

/// Serves what is handed over, until the last of that is gone. `ready` is called when commands can
/// reach us.
pub fn run_for_others(
    runtime_dir: &Path,
    listeners: Listeners,
    ready: impl FnOnce(),
) -> Result<(), UpError> {
    let life = || Life::LastTunnel {
        patience_until: Instant::now() + FIRST_TUNNEL,
    };
    serve(runtime_dir, life, listeners, async |_| {
        ready();
        Ok(())
    })
}

/// How long a daemon that was started for an `up` waits for its file.
const FIRST_TUNNEL: Duration = Duration::from_secs(10);

const WITH_LAST_TUNNEL: fn() -> Life = || Life::LastTunnel {
    patience_until: Instant::now(),
};

fn serve(
    runtime_dir: &Path,
    life: impl FnOnce() -> Life,
    listeners: Listeners,
    begin: impl AsyncFnOnce(&mut Supervisor) -> Result<(), UpError>,
) -> Result<(), UpError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| UpError::Os {
            action: "start the event loop",
            source,
        })?;
    let outcome = runtime.block_on(async {
        let mut supervisor = Supervisor::start(runtime_dir, life(), listeners)?;
        begin(&mut supervisor).await?;
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
    let mut names = Records::load(runtime_dir).and_then(|records| records.peers())?;
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
        let records = Records::load(runtime_dir)?;
        for name in &names {
            host::sweep(&records, name).await?;
        }
        Ok(names)
    })
}
