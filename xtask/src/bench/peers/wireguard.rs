//! What all WireGuards have in common: keys, and `wg` to configure them.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::{Need, Source, Tunnel};
use crate::bench::process::Process;
use crate::bench::scene::{Host, Scene, Side};

/// The tool that configures each of them.
pub(super) const WG: Need = Need {
    program: "wg",
    source: Source::Debian("wireguard-tools"),
};

const PORT: u16 = 51820;

/// Time until a freshly started one can be configured.
const START: Duration = Duration::from_secs(20);

/// The device's name; both hosts' control sockets lie in one folder, so it differs.
pub(super) const fn device(side: Side) -> &'static str {
    match side {
        Side::Left => "wgleft",
        Side::Right => "wgright",
    }
}

/// Starts one process per host, as `command` says for a device's name, and makes them peers.
pub(super) fn start(
    scene: &Scene,
    command: impl Fn(&str) -> anyhow::Result<Command>,
) -> anyhow::Result<Tunnel> {
    let mut processes = Vec::new();
    let mut public = Vec::new();
    for host in scene.hosts() {
        let key = host.run("wg genkey")?;
        let file = host.write("private", &key)?;
        public.push(public_key(host)?);
        let mut process = host.start(command(device(host.side))?)?;
        configure(
            host,
            &mut process,
            &format!("private-key {}", file.display()),
        )?;
        // Up before it has a peer: gotatun ends when it finds the device down by then.
        host.raise(device(host.side))?;
        processes.push(process);
    }
    public.reverse();
    for (host, key) in scene.hosts().into_iter().zip(&public) {
        let (device, other) = (device(host.side), host.side.other());
        host.run(&format!(
            "wg set {device} listen-port {PORT} peer {key} allowed-ips {}/32 endpoint {}:{PORT}",
            other.inner(),
            other.outer()
        ))?;
    }
    Ok(Tunnel { processes })
}

/// The first setting, repeated until the process listens.
fn configure(host: &Host, process: &mut Process, setting: &str) -> anyhow::Result<()> {
    let line = format!("wg set {} {setting}", device(host.side));
    let deadline = Instant::now() + START;
    loop {
        process.check()?;
        match host.run(&line) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn public_key(host: &Host) -> anyhow::Result<String> {
    let mut command = Command::new("sh");
    command
        .args(["-c", "wg pubkey < private"])
        .current_dir(&host.folder);
    let key = host.start(command)?.finish(START).context("`wg pubkey`")?;
    Ok(key.trim().to_owned())
}
