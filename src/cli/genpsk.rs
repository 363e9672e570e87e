//! `secure-gre genpsk`: a pre-shared key that nobody can guess.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Exit, fail, print};
use crate::config;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Write it to a new file that only its owner can read, instead of printing it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let key = match config::generate_psk() {
        Ok(key) => key,
        Err(fault) => return fail(Exit::Host, &format!("no random numbers to be had: {fault}")),
    };
    let line = Zeroizing::new(format!("{}\n", key.as_str()));
    let Some(file) = &arguments.out else {
        return print(&line);
    };
    match write(file, &line) {
        Ok(()) => Exit::Ok,
        Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => fail(
            Exit::Failed,
            &format!(
                "{} exists already, and a key is not overwritten",
                file.display()
            ),
        ),
        Err(fault) => fail(
            Exit::Failed,
            &format!("cannot write {}: {fault}", file.display()),
        ),
    }
}

fn write(file: &Path, line: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()
}
