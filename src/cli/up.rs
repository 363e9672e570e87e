//! `secure-gre up`: a tunnel, here until Ctrl-C or in the background; in a daemon that runs, if one
//! does.

use std::path::{Path, PathBuf};

use nix::sys::signal::{SigSet, Signal};
use tracing::{error, info, warn};

use super::daemon::Started;
use super::{Exit, client_failure, daemon_failure, fail, print, show};
use crate::config::{self, Loaded, common_name};
use crate::control::client::{Client, ClientError, Outcome};
use crate::control::protocol::{Level, Until};
use crate::daemon;
use crate::net::privilege;
use crate::telemetry::{Listeners, Talk};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Return when the tunnel carries packets, or fail with the reason and leave nothing.
    #[arg(long)]
    background: bool,
    /// Rekey as soon as the tunnel is up: a group for forward secrecy that only one end has would
    /// else show when the first keys expire.
    #[arg(long)]
    test_rekey: bool,
    /// The peer's file.
    file: PathBuf,
    #[command(flatten)]
    pub(super) talk: Talk,
}

pub(super) fn run(arguments: &Arguments, runtime_dir: &Path, listeners: Listeners) -> Exit {
    // Before the file: who has forgotten sudo can't read the key either, and that is not the point.
    if let Err(problem) = privilege::check() {
        return fail(Exit::Host, &problem);
    }
    let Loaded { peers, warnings } = match config::load(&arguments.file) {
        Ok(loaded) => loaded,
        Err(report) => {
            show(&report);
            return Exit::Usage;
        }
    };
    show(&warnings);
    match (Client::connect(runtime_dir), arguments.background) {
        (Ok(client), true) => in_background(client, arguments),
        (Ok(client), false) => {
            let name = common_name(&peers);
            in_foreground(client, arguments, name, runtime_dir)
        }
        (Err(ClientError::NoDaemon { .. }), true) => start_daemon(arguments, runtime_dir),
        (Err(ClientError::NoDaemon { .. }), false) => {
            match daemon::up(peers, arguments.test_rekey, runtime_dir, listeners) {
                Ok(()) => Exit::Ok,
                Err(problem) => daemon_failure(&problem),
            }
        }
        (Err(error), _) => client_failure(&error),
    }
}

fn start_daemon(arguments: &Arguments, runtime_dir: &Path) -> Exit {
    let (started, client) = match Started::start(runtime_dir, arguments.talk) {
        Ok(started) => started,
        Err(exit) => return exit,
    };
    let exit = in_background(client, arguments);
    if exit != Exit::Ok {
        // It ends with its only tunnel, and only then is nothing left.
        started.wait();
    }
    exit
}

fn in_background(mut client: Client, arguments: &Arguments) -> Exit {
    match hand_over(&mut client, arguments, Until::Carries) {
        Ok(Outcome::Up(name)) => print(&format!("{name} is up\n")),
        Ok(Outcome::Served { name, more, kept }) => print(&served(&name, more, kept)),
        Ok(Outcome::Down) => fail(Exit::Failed, &"someone took the peer down"),
        Ok(Outcome::Failed(problem)) => fail(Exit::Failed, &problem),
        Err(error) => client_failure(&error),
    }
}

/// Shows what the daemon says of the peer until the peer is gone, which Ctrl-C brings about.
fn in_foreground(
    mut client: Client,
    arguments: &Arguments,
    name: String,
    runtime_dir: &Path,
) -> Exit {
    // Blocked in every thread, so that the one that waits for them gets them.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    if let Err(errno) = signals.thread_block() {
        return fail(Exit::Host, &format!("can't watch for Ctrl-C: {errno}"));
    }
    let runtime_dir = runtime_dir.to_owned();
    std::thread::spawn(move || {
        let _ = signals.wait();
        let down = Client::connect(&runtime_dir).and_then(|mut client| client.down(Some(&name)));
        if let Err(error) = down {
            // Our hanging up does it too.
            std::process::exit(client_failure(&error) as i32);
        }
    });
    match hand_over(&mut client, arguments, Until::Gone) {
        Ok(Outcome::Served { name, more, kept }) => print(&served(&name, more, kept)),
        Ok(Outcome::Up(_) | Outcome::Down) => Exit::Ok,
        Ok(Outcome::Failed(problem)) => fail(Exit::Failed, &problem),
        Err(error) => client_failure(&error),
    }
}

/// What has become of a file whose peers are to call, or were served already.
fn served(name: &str, more: usize, kept: usize) -> String {
    match (more, kept) {
        (1, 0) => format!("{name} waits for a call\n"),
        (_, 0) => format!("{name}: {more} peers wait for their calls\n"),
        _ => format!("{name}: {more} more wait for their calls, {kept} are as they were\n"),
    }
}

/// The daemon works elsewhere, and would look for a relative path there.
fn hand_over(
    client: &mut Client,
    arguments: &Arguments,
    until: Until,
) -> Result<Outcome, ClientError> {
    let file = std::path::absolute(&arguments.file).unwrap_or_else(|_| arguments.file.clone());
    client.up(
        &file,
        until,
        arguments.test_rekey,
        |level, text| match level {
            Level::Info => info!("{text}"),
            Level::Warning => warn!("{text}"),
            Level::Error => error!("{text}"),
        },
    )
}
