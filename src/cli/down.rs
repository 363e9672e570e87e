//! `secure-gre down`: the daemon deletes its SAs and restores the host. Where it was killed, this
//! command restores the host in its place.

use std::path::Path;

use super::{Exit, client_failure, fail, print};
use crate::control::client::{Client, ClientError};
use crate::daemon;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The peer's name; without it, all peers.
    name: Option<String>,
}

pub(super) fn run(arguments: &Arguments, runtime_dir: &Path) -> Exit {
    let names =
        Client::connect(runtime_dir).and_then(|mut client| client.down(arguments.name.as_deref()));
    match names {
        Ok(names) => print(&lines(&names, "is down")),
        Err(error @ ClientError::NoDaemon { .. }) => sweep(arguments, runtime_dir, &error),
        Err(error) => client_failure(&error),
    }
}

/// No daemon runs, but one that was killed may have left routes.
fn sweep(arguments: &Arguments, runtime_dir: &Path, no_daemon: &ClientError) -> Exit {
    match daemon::sweep(runtime_dir, arguments.name.as_deref()) {
        Ok(names) if names.is_empty() => client_failure(no_daemon),
        Ok(names) => print(&lines(
            &names,
            "was not running any more; the routes that it left are removed",
        )),
        Err(problem) => fail(Exit::Host, &problem),
    }
}

fn lines(names: &[String], what: &str) -> String {
    names
        .iter()
        .map(|name| format!("{name} {what}\n"))
        .collect()
}
