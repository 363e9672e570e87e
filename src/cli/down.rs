//! `secure-gre down`: the daemon deletes its SAs and restores the host.

use std::path::Path;

use super::{Exit, client_failure, print};
use crate::control::client::Client;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The peer's name; without it, all peers.
    name: Option<String>,
}

pub(super) fn run(arguments: &Arguments, runtime_dir: &Path) -> Exit {
    let names =
        Client::connect(runtime_dir).and_then(|mut client| client.down(arguments.name.as_deref()));
    match names {
        Ok(names) => print(
            &names
                .iter()
                .map(|name| format!("{name} is down\n"))
                .collect::<String>(),
        ),
        Err(error) => client_failure(&error),
    }
}
