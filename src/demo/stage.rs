//! The stage: a child of this program in namespaces of its own, and the parent outside that waits
//! for its end or for Ctrl-C. The parent touches nothing of the host, so that nothing has to be
//! undone: with the child the kernel ends everything.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{SigSet, Signal};

use crate::net::isolation::{self, IsolationError};

/// Why the demo did not come to an end of its own.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The system does not let us be alone.
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    /// Ctrl-C, or another request to stop.
    #[error("interrupted; nothing of the demo is left")]
    Interrupted,
    /// The child was killed.
    #[error("the demo was killed ({0}); nothing of it is left")]
    Killed(std::process::ExitStatus),
    /// No child.
    #[error("can't start the demo's own process: {0}")]
    Start(#[from] io::Error),
}

/// Runs this program again with these arguments, shut off from the host; its exit code is the answer.
/// To be called before any thread is started.
pub fn direct(arguments: &[&str]) -> Result<u8, StageError> {
    let signals = awaited();
    signals.thread_block().map_err(io::Error::from)?;
    isolation::detach_children()?;
    // In a process group of its own, so that a terminal's Ctrl-C comes to us alone.
    let mut player = Command::new("/proc/self/exe")
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()?;
    loop {
        match signals.wait().map_err(io::Error::from)? {
            Signal::SIGCHLD => {
                if let Some(status) = player.try_wait()? {
                    let code = status.code().and_then(|code| u8::try_from(code).ok());
                    return code.ok_or(StageError::Killed(status));
                }
            }
            _ => return end(&mut player),
        }
    }
}

/// The child's part: it goes on alone, and with it whatever it starts. The path of an empty folder
/// for its files is the answer.
pub fn enter() -> Result<PathBuf, IsolationError> {
    let folder = isolation::settle()?;
    // What the parent has blocked for itself was handed down.
    awaited()
        .thread_unblock()
        .map_err(|errno| IsolationError::Refused {
            action: "let signals in",
            source: errno.into(),
        })?;
    Ok(folder)
}

/// A wait for process 1 of a pid namespace ends when all the others in it are gone.
fn end(player: &mut Child) -> Result<u8, StageError> {
    player.kill()?;
    player.wait()?;
    Err(StageError::Interrupted)
}

fn awaited() -> SigSet {
    [
        Signal::SIGCHLD,
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ]
    .into_iter()
    .collect()
}
