//! strongSwan with its kernel-libipsec plugin: ESP in userspace. It knows tunnel mode in UDP only.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{Need, Peer, Programs, Source, Tunnel};
use crate::bench::process::Process;
use crate::bench::scene::{Host, Scene, Side, TUNNEL_MTU};

/// See the module.
pub(super) struct KernelLibipsec;

const CHARON: Need = Need {
    program: "charon-systemd",
    source: Source::Debian("charon-systemd"),
};

const SWANCTL: Need = Need {
    program: "swanctl",
    source: Source::Debian("strongswan-swanctl"),
};

const PLUGIN: Need = Need {
    program: "/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so",
    source: Source::Debian("libcharon-extra-plugins"),
};

/// The device that the plugin makes.
const DEVICE: &str = "ipsec0";

/// Time until a freshly started charon can be configured.
const START: Duration = Duration::from_secs(20);

impl Peer for KernelLibipsec {
    fn name(&self) -> &'static str {
        "kernel-libipsec"
    }

    fn about(&self) -> &'static str {
        "strongSwan's ESP in userspace: tunnel mode in UDP, AES-256-GCM"
    }

    fn needs(&self) -> &'static [Need] {
        &[SWANCTL, CHARON, PLUGIN]
    }

    fn start(&self, scene: &Scene, programs: &Programs) -> anyhow::Result<Tunnel> {
        let mut processes = Vec::new();
        for host in [&scene.right, &scene.left] {
            processes.push(start_charon(host, programs)?);
        }
        for (host, process) in [&scene.right, &scene.left].into_iter().zip(&mut processes) {
            // Its own address has to be somewhere; the plugin routes the peer's to its device.
            host.run(&format!("ip address add {}/32 dev lo", host.side.inner()))?;
            host.run(&format!("ip link set {DEVICE} mtu {TUNNEL_MTU} up"))?;
            load(host, process)?;
        }
        Ok(Tunnel { processes })
    }
}

fn start_charon(host: &Host, programs: &Programs) -> anyhow::Result<Process> {
    let file = host.write("strongswan.conf", &daemon_file(host))?;
    let mut command = programs.command(&CHARON)?;
    command.env("STRONGSWAN_CONF", file);
    let mut process = host.start(command)?;
    let deadline = Instant::now() + START;
    while !host.folder.join("vici").exists()
        || host.run(&format!("ip link show dev {DEVICE}")).is_err()
    {
        process.check()?;
        anyhow::ensure!(
            Instant::now() < deadline,
            "charon made no {DEVICE} in {START:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(process)
}

fn load(host: &Host, process: &mut Process) -> anyhow::Result<()> {
    process.check()?;
    let file = host.write("swanctl.conf", &connection_file(host))?;
    let mut command = Command::new("swanctl");
    command
        .args(["--load-all", "--noprompt", "--file"])
        .arg(file);
    command
        .arg("--uri")
        .arg(format!("unix://{}", host.folder.join("vici").display()));
    command.env("STRONGSWAN_CONF", host.folder.join("strongswan.conf"));
    host.start(command)?.finish(START)?;
    Ok(())
}

fn daemon_file(host: &Host) -> String {
    let vici = host.folder.join("vici");
    format!(
        "charon-systemd {{\n  \
           load = random nonce openssl hmac kdf curve25519 kernel-libipsec kernel-netlink \
             socket-default vici\n  \
           plugins {{\n    vici {{ socket = unix://{} }}\n    \
             kernel-libipsec {{ load = yes\n allow_peer_ts = yes }}\n  }}\n  \
           journal {{ default = -1 }}\n  filelog {{ stderr {{ default = 0 }} }}\n\
         }}\n",
        vici.display()
    )
}

fn connection_file(host: &Host) -> String {
    let (own, peer) = (host.side, host.side.other());
    let action = if own == Side::Left { "start" } else { "none" };
    format!(
        "connections {{ bench {{\n  version = 2\n  encap = yes\n  mobike = no\n  \
         proposals = aes256gcm16-prfsha384-x25519\n  \
         local_addrs = {}\n  remote_addrs = {}\n  \
         local {{ auth = psk\n id = {} }}\n  remote {{ auth = psk\n id = {} }}\n  \
         children {{ bench {{\n    esp_proposals = aes256gcm16\n    mode = tunnel\n    \
         local_ts = {}/32\n    remote_ts = {}/32\n    start_action = {action}\n  }} }}\n\
         }} }}\n\
         secrets {{ ike-bench {{ secret = \"a key for a benchmark that no network ever sees\" }} }}\n",
        own.outer(),
        peer.outer(),
        own.outer(),
        peer.outer(),
        own.inner(),
        peer.inner(),
    )
}
