//! `secure-gre daemon`: serves the peers of a folder; and the daemon that `up --background` starts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{dup2_stderr, setsid};
use tracing::warn;

use super::{Exit, client_failure, complain, daemon_failure, fail, say, show};
use crate::config::{self, Loaded, Peer};
use crate::control::client::{Client, ClientError};
use crate::daemon;
use crate::telemetry::{Listeners, Talk};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder: each *.toml in it is a peer. It may be empty: `secure-gre up` adds peers.
    #[arg(required_unless_present = "for_up")]
    dir: Option<PathBuf>,
    /// Serve what an `up` hands over, and end with the last of it.
    #[arg(long, hide = true, conflicts_with = "dir")]
    for_up: bool,
    #[command(flatten)]
    pub(super) talk: Talk,
}

pub(super) fn run(arguments: &Arguments, runtime_dir: &Path, listeners: Listeners) -> Exit {
    let served = match &arguments.dir {
        Some(dir) => match load_all(dir) {
            Ok(peers) => daemon::run(peers, runtime_dir, listeners),
            Err(fault) => {
                let problem = format!("cannot read the folder {}: {fault}", dir.display());
                return fail(Exit::Usage, &problem);
            }
        },
        None => serve_for_up(runtime_dir, listeners),
    };
    match served {
        Ok(()) => Exit::Ok,
        Err(problem) => daemon_failure(&problem),
    }
}

/// The peers of a folder in the order of their files' names; what is wrong with a file is shown.
fn load_all(dir: &Path) -> io::Result<Vec<Peer>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files.sort();
    let mut peers = Vec::new();
    for file in files {
        match config::load(&file) {
            Ok(Loaded {
                peers: more,
                warnings,
            }) => {
                show(&warnings);
                peers.extend(more);
            }
            Err(report) => {
                show(&report);
                complain(&format!("not served: {}", file.display()));
            }
        }
    }
    Ok(peers)
}

/// Where a daemon writes its messages that no terminal shows.
fn log_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("daemon.log")
}

/// In a session of its own, so that no terminal's end is ours. Until commands reach us, messages go
/// to whoever started us; then into a file, which is gone when we are.
fn serve_for_up(runtime_dir: &Path, listeners: Listeners) -> Result<(), daemon::UpError> {
    if let Err(errno) = setsid() {
        warn!("no session of our own: {errno}");
    }
    let made = !runtime_dir.exists();
    let log = log_path(runtime_dir);
    let ended = daemon::run_for_others(runtime_dir, listeners, || {
        if let Err(fault) = log_to(&log) {
            warn!("cannot write messages to {}: {fault}", log.display());
        }
    });
    // What can't be removed does no harm.
    let _ = fs::remove_file(&log);
    if made {
        let _ = fs::remove_dir(runtime_dir);
    }
    ended
}

fn log_to(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file: File = options.create(true).append(true).mode(0o600).open(path)?;
    Ok(dup2_stderr(&file)?)
}

/// How long a daemon may take until commands reach it.
const START: Duration = Duration::from_secs(10);

/// How long it may take to end after its last tunnel.
const END: Duration = Duration::from_secs(10);

/// A daemon that we have started.
pub(super) struct Started(Child);

impl Started {
    /// Starts one, and connects to it. What went wrong has been said.
    pub(super) fn start(runtime_dir: &Path, talk: Talk) -> Result<(Self, Client), Exit> {
        let program = std::env::current_exe();
        let spawned = program.and_then(|program| {
            Command::new(program)
                .args(["daemon", "--for-up", "--runtime-dir"])
                .arg(std::path::absolute(runtime_dir)?)
                .args(talk.arguments())
                .current_dir("/")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
        });
        let mut child = spawned
            .map_err(|fault| fail(Exit::Host, &format!("cannot start a daemon: {fault}")))?;
        let deadline = Instant::now() + START;
        loop {
            let ended = child.try_wait();
            match Client::connect(runtime_dir) {
                // Whosever daemon it is: another `up` may have been faster.
                Ok(client) => return Ok((Self(child), client)),
                Err(ClientError::NoDaemon { .. }) if Instant::now() < deadline => {}
                Err(error) => {
                    let _ = child.kill();
                    return Err(client_failure(&error));
                }
            }
            if let Ok(Some(status)) = ended {
                let mut said = String::new();
                if let Some(stderr) = &mut child.stderr {
                    let _ = stderr.read_to_string(&mut said);
                }
                say(&said);
                return Err(match status.code() {
                    Some(3) => Exit::Host,
                    Some(2) => Exit::Usage,
                    _ => Exit::Failed,
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end, but not for ever.
    pub(super) fn wait(mut self) {
        let deadline = Instant::now() + END;
        while Instant::now() < deadline && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
