//! The exit codes: an interface for scripts, and so never renumbered.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It was tried and did not work out: the peer, the network, the daemon.
    Failed = 1,
    /// The command line or a file is wrong.
    Usage = 2,
    /// Privileges are missing, or this host lacks something.
    Host = 3,
    /// No daemon runs here, or only in another network namespace.
    NoDaemon = 4,
}

/// The same for `--help`.
pub(super) const HELP: &str = "\
Exit codes:
  0  done
  1  it was tried and did not work out: the peer, the network, the daemon
  2  the command line or a file is wrong
  3  privileges are missing, or this host lacks something
  4  no daemon runs here, or only in another network namespace";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
