//! The control socket: how a command reaches the daemon that runs.
//!
//! Line-delimited JSON over `<runtime-dir>/control.sock`, which only its owner can open. The daemon
//! greets with a [`Daemon`] line, then answers each [`Request`] line with one [`Response`] line.
//! What a
//! request does is the daemon's business: the server hands it over a channel.

pub mod protocol;

use std::path::{Path, PathBuf};

/// Where the socket is inside a runtime directory.
pub fn socket_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("control.sock")
}
