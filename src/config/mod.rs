//! `peer.toml`: one file describes one peer and its tunnel.
//!
//! `docs/peer.reference.toml` has every key. A key whose feature is not in this version is an
//! error, never ignored.

mod peer;

pub use self::peer::{Peer, PeerAddress, Tunnel};
