//! `secure-gre up`: a tunnel that stays up until Ctrl-C.

use std::path::{Path, PathBuf};

use super::{Exit, fail, show};
use crate::config::{self, Loaded};
use crate::daemon::{self, UpError};
use crate::net::privilege;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The peer's file.
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments, runtime_dir: &Path) -> Exit {
    // Before the file: who has forgotten sudo can't read the key either, and that is not the point.
    if let Err(problem) = privilege::check() {
        return fail(Exit::Host, &problem);
    }
    let Loaded { peer, warnings } = match config::load(&arguments.file) {
        Ok(loaded) => loaded,
        Err(report) => {
            show(&report);
            return Exit::Usage;
        }
    };
    show(&warnings);
    match daemon::up(peer, runtime_dir) {
        Ok(()) => Exit::Ok,
        Err(problem) => fail(exit(&problem), &problem),
    }
}

const fn exit(problem: &UpError) -> Exit {
    match problem {
        UpError::GaveUp { .. } => Exit::Failed,
        _ => Exit::Host,
    }
}
