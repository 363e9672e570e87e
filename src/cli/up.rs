//! `secure-gre up`: a tunnel that stays up until Ctrl-C.

use std::path::{Path, PathBuf};

use super::{Exit, fail, show};
use crate::config::{self, Loaded};
use crate::net::privilege;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The peer's file.
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments, runtime_dir: &Path) -> Exit {
    let Loaded { peer, warnings } = match config::load(&arguments.file) {
        Ok(loaded) => loaded,
        Err(report) => {
            show(&report);
            return Exit::Usage;
        }
    };
    show(&warnings);
    if let Err(problem) = privilege::check() {
        return fail(Exit::Host, &problem);
    }
    let (name, runtime_dir) = (&peer.name, runtime_dir.display());
    fail(
        Exit::Failed,
        &format!("this build has no daemon to serve {name} from {runtime_dir}"),
    )
}
