//! The control socket: how a command reaches the daemon that runs.
//!
//! Line-delimited JSON over `<runtime-dir>/control.sock`, which only its owner can open. The daemon
//! greets with a [`Daemon`](protocol::Daemon) line, then answers each
//! [`Request`](protocol::Request) line with one last [`Response`](protocol::Response) line, before
//! which an `up` also hears what is said of its peer. [`client`]
//! is the command's end, [`server`] the daemon's. What a request does is the daemon's business: the
//! server hands it over a channel.

pub mod client;
pub mod protocol;
pub mod server;

use std::path::{Path, PathBuf};

/// Where the socket is inside a runtime directory.
pub fn socket_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("control.sock")
}
