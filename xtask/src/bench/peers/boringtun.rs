//! boringtun: Cloudflare's WireGuard in Rust.

use super::{Need, Peer, Programs, Source, Tunnel, wireguard};
use crate::bench::scene::Scene;

/// See the module.
pub(super) struct Boringtun;

const PROGRAM: Need = Need {
    program: "boringtun-cli",
    source: Source::Cargo("boringtun-cli"),
};

impl Peer for Boringtun {
    fn name(&self) -> &'static str {
        "boringtun"
    }

    fn about(&self) -> &'static str {
        "WireGuard, ChaCha20-Poly1305"
    }

    fn needs(&self) -> &'static [Need] {
        &[PROGRAM, wireguard::WG]
    }

    fn start(&self, scene: &Scene, programs: &Programs) -> anyhow::Result<Tunnel> {
        wireguard::start(scene, |device| {
            let mut command = programs.command(&PROGRAM)?;
            command.args(["--foreground", "--disable-drop-privileges", device]);
            Ok(command)
        })
    }
}
