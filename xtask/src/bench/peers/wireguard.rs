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
    let keys = [make_key(&scene.left)?, make_key(&scene.right)?];
    let mut processes = Vec::new();
    for (host, key) in scene.hosts().into_iter().zip(keys.iter().rev()) {
        let mut process = host.start(command(device(host.side))?)?;
        configure(host, &mut process, key)?;
        processes.push(process);
    }
    Ok(Tunnel { processes })
}

/// First the device, then all settings at once: gotatun ends if it finds its device down when it has
/// a peer, or is told more while it takes up what it was told.
fn configure(host: &Host, process: &mut Process, peer_key: &str) -> anyhow::Result<()> {
    let (device, other) = (device(host.side), host.side.other());
    until_it_works(process, || host.run(&format!("ip link show dev {device}")))?;
    host.raise(device)?;
    let key = host.folder.join("private");
    let settings = format!(
        "wg set {device} private-key {} listen-port {PORT} peer {peer_key} allowed-ips {}/32 \
         endpoint {}:{PORT}",
        key.display(),
        other.inner(),
        other.outer()
    );
    until_it_works(process, || host.run(&settings))
}

/// Until a freshly started process has made its device and listens.
fn until_it_works(
    process: &mut Process,
    attempt: impl Fn() -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + START;
    loop {
        process.check()?;
        match attempt() {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Writes a private key; the public one is the answer.
fn make_key(host: &Host) -> anyhow::Result<String> {
    host.write("private", &host.run("wg genkey")?)?;
    public_key(host)
}

fn public_key(host: &Host) -> anyhow::Result<String> {
    let mut command = Command::new("sh");
    command
        .args(["-c", "wg pubkey < private"])
        .current_dir(&host.folder);
    let key = host.start(command)?.finish(START).context("`wg pubkey`")?;
    Ok(key.trim().to_owned())
}
