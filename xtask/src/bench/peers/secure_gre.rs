//! Ourselves, in both encapsulations, and as on a kernel without offloads.

use super::{Need, Peer, Programs, Source, Tunnel};
use crate::bench::scene::{Host, Scene, Side, TUNNEL_MTU};

/// See the module.
pub(super) struct SecureGre {
    name: &'static str,
    about: &'static str,
    encapsulation: &'static str,
    offload: bool,
}

/// ESP in UDP port 4500.
pub(super) const IN_UDP: SecureGre = SecureGre {
    name: "secure-gre-udp",
    about: "GRE over ESP in UDP port 4500, AES-256-GCM",
    encapsulation: "always",
    offload: true,
};

/// IP protocol 50, as to a peer without a NAT.
pub(super) const NATIVE: SecureGre = SecureGre {
    name: "secure-gre-esp",
    about: "GRE over native ESP (IP protocol 50), AES-256-GCM",
    encapsulation: "never",
    offload: true,
};

/// One packet per system call on the device, and one per message on the wire.
pub(super) const PLAIN: SecureGre = SecureGre {
    name: "secure-gre-plain",
    about: "the same as secure-gre-udp with offload = false, as on an old kernel",
    encapsulation: "always",
    offload: false,
};

const PROGRAM: Need = Need {
    program: "secure-gre",
    source: Source::Checkout,
};

impl Peer for SecureGre {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn needs(&self) -> &'static [Need] {
        &[PROGRAM]
    }

    fn start(&self, scene: &Scene, programs: &Programs) -> anyhow::Result<Tunnel> {
        let mut processes = Vec::new();
        // Who answers comes first.
        for host in [&scene.right, &scene.left] {
            let file = host.write("peer.toml", &self.peer_file(host))?;
            host.write(
                "peer.psk",
                "a key for a benchmark that no network ever sees\n",
            )?;
            let mut command = programs.command(&PROGRAM)?;
            command.arg("up").arg(file);
            command.arg("--runtime-dir").arg(host.folder.join("run"));
            processes.push(host.start(command)?);
        }
        Ok(Tunnel { processes })
    }
}

impl SecureGre {
    fn peer_file(&self, host: &Host) -> String {
        format!(
            "[peer]\n\
             address = \"{}\"\n\
             psk-file = \"peer.psk\"\n\
             initiate = {}\n\
             encapsulation = \"{}\"\n\
             \n\
             [peer.esp]\n\
             proposals = [\"aes256gcm16\"]\n\
             \n\
             [tunnel]\n\
             address = [\"{}/30\"]\n\
             mtu = {TUNNEL_MTU}\n\
             \n\
             [daemon]\n\
             offload = {}\n",
            host.side.other().outer(),
            host.side == Side::Left,
            self.encapsulation,
            host.side.inner(),
            self.offload,
        )
    }
}
