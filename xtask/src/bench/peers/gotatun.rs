//! gotatun: Mullvad's heir of boringtun.

use super::{Need, Peer, Programs, Source, Tunnel, wireguard};
use crate::bench::scene::Scene;

/// See the module.
pub(super) struct Gotatun;

const PROGRAM: Need = Need {
    program: "gotatun",
    source: Source::Cargo("gotatun-cli"),
};

impl Peer for Gotatun {
    fn name(&self) -> &'static str {
        "gotatun"
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
            command.args(["--foreground", "--disable-drop-privileges"]);
            command.args(["--verbosity", "error", device]);
            Ok(command)
        })
    }
}
