//! `peer.toml`: one file describes one peer and its tunnel, or a hub's spokes and theirs.
//!
//! [`load`] takes a file through `document` (TOML with places), `schema` (the keys: what was typed) and
//! `resolve` (what it means, with every default applied) to a [`Peer`], which the daemon takes as it is;
//! a hub's file has one for each spoke. Whatever is wrong is collected in one [`Report`] whose entries
//! point into the file. Host names are not resolved and the host is not looked at; that is the daemon's.
//!
//! `docs/peer.reference.toml` has every key. A key whose feature is not in this version is an
//! error, never ignored.

mod diagnostic;
mod document;
mod mask;
mod nearest;
mod peer;
mod resolve;
mod schema;
mod secret;
mod value;

use std::path::Path;

pub use self::diagnostic::{Report, Style};
pub use self::peer::{Hooks, Peer, PeerAddress, Tunnel};
pub use self::secret::generate_psk;

/// A file that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// Its peer; of a hub's file, its spokes. Never empty.
    pub peers: Vec<Peer>,
    /// What is worth a second look; often nothing.
    pub warnings: Report,
}

/// What a file's peers are called together: the hub, or the only one.
pub fn common_name(peers: &[Peer]) -> String {
    let name = |peer: &Peer| peer.hub.clone().unwrap_or_else(|| peer.name.clone());
    peers.first().map(name).unwrap_or_default()
}

/// Reads a file and every file that it names.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load(file: &Path) -> Result<Loaded, Report> {
    let source = secret::read_config(file)?;
    resolve::resolve(file, &source)
}

#[cfg(test)]
mod tests;
