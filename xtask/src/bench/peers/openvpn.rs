//! OpenVPN, in userspace: without its kernel module.

use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::{Need, Peer, Programs, Source, Tunnel};
use crate::bench::scene::{Host, Scene, Side, TUNNEL_MTU};

/// See the module.
pub(super) struct OpenVpn;

const PROGRAM: Need = Need {
    program: "openvpn",
    source: Source::Debian("openvpn"),
};

/// Makes the two certificates.
const OPENSSL: Need = Need {
    program: "openssl",
    source: Source::Debian("openssl"),
};

impl Peer for OpenVpn {
    fn name(&self) -> &'static str {
        "openvpn"
    }

    fn about(&self) -> &'static str {
        "TLS and UDP, AES-256-GCM, without its kernel module"
    }

    fn needs(&self) -> &'static [Need] {
        &[PROGRAM, OPENSSL]
    }

    fn start(&self, scene: &Scene, programs: &Programs) -> anyhow::Result<Tunnel> {
        let left = certificate(&scene.left)?;
        let right = certificate(&scene.right)?;
        let mut processes = Vec::new();
        for (host, other) in [(&scene.right, &left), (&scene.left, &right)] {
            let file = host.write("openvpn.conf", &configuration(host, other))?;
            let mut command = programs.command(&PROGRAM)?;
            command.arg("--config").arg(file).current_dir(&host.folder);
            processes.push(host.start(command)?);
        }
        Ok(Tunnel { processes })
    }
}

/// Makes `cert.pem` and `key.pem`; its fingerprint is the answer.
fn certificate(host: &Host) -> anyhow::Result<String> {
    let name = host.side.name();
    let script = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
         -subj /CN={name} -keyout key.pem -out cert.pem 2>&1 >/dev/null && \
         openssl x509 -in cert.pem -noout -sha256 -fingerprint"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(&host.folder);
    let said = host
        .start(command)?
        .finish(Duration::from_secs(20))
        .context("`openssl`")?;
    let line = said.lines().find_map(|line| line.split_once("ingerprint="));
    Ok(line.context("openssl told no fingerprint")?.1.to_owned())
}

fn configuration(host: &Host, other: &str) -> String {
    let role = match host.side {
        Side::Left => "tls-client",
        Side::Right => "tls-server\ndh none",
    };
    let (own, peer) = (host.side, host.side.other());
    format!(
        "dev tun\nproto udp4\nlocal {}\nremote {}\nport 1194\n\
         {role}\ncert cert.pem\nkey key.pem\npeer-fingerprint {other}\n\
         ifconfig {} {}\ntun-mtu {TUNNEL_MTU}\nmssfix 0\n\
         data-ciphers AES-256-GCM\ncipher AES-256-GCM\ndisable-dco\nverb 1\n",
        own.outer(),
        peer.outer(),
        own.inner(),
        peer.inner(),
    )
}
