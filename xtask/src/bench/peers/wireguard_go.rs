//! wireguard-go: WireGuard in Go, with segmentation offloads on the device and in UDP.

use super::{Need, Peer, Programs, Source, Tunnel, wireguard};
use crate::bench::scene::Scene;

/// See the module.
pub(super) struct WireguardGo;

const PROGRAM: Need = Need {
    program: "wireguard-go",
    // Debian 12's is of 2022, before the offloads.
    source: Source::Given(
        "build a current one (`make` in a checkout of github.com/WireGuard/wireguard-go) and set \
         WIREGUARD_GO to its path",
    ),
};

impl Peer for WireguardGo {
    fn name(&self) -> &'static str {
        "wireguard-go"
    }

    fn about(&self) -> &'static str {
        "WireGuard, ChaCha20-Poly1305, device and UDP offloads"
    }

    fn needs(&self) -> &'static [Need] {
        &[PROGRAM, wireguard::WG]
    }

    fn start(&self, scene: &Scene, programs: &Programs) -> anyhow::Result<Tunnel> {
        wireguard::start(scene, |device| {
            let mut command = programs.command(&PROGRAM)?;
            command
                .args(["--foreground", device])
                .env("LOG_LEVEL", "error");
            Ok(command)
        })
    }
}
