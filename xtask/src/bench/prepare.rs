//! Before the first measurement: tools, peers and our own program.
//!
//! Where a peer cannot be installed the run goes on without it; the report names it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::peers::{Need, Peer, Programs, Source};
use crate::debian::{self, Package};

/// What the measurements themselves are made with.
const TOOLS: &[Package] = &[
    ("iproute2", "`ip`: links, addresses and routes"),
    ("iputils-ping", "`ping` for latencies"),
    ("iperf3", "TCP streams"),
    ("ethtool", "`ethtool`: a link without offloads"),
    ("strace", "system calls per packet"),
];

/// Installs the tools, unless they are there.
pub(super) fn tools(no_install: bool) -> anyhow::Result<()> {
    if no_install {
        return Ok(());
    }
    debian::install_missing(TOOLS)
}

/// Installs what the peers need, as far as packages offer it. A failure is told, and the peer will
/// be missing.
pub(super) fn programs(peers: &[&dyn Peer]) {
    // Where a path has to be given, there is nothing to install: any path will do here.
    let programs = Programs::new(Path::new(""));
    for peer in peers {
        for need in peer.needs() {
            if let Err(error) = install(need, &programs) {
                eprintln!("{}: {error:#}", peer.name());
            }
        }
    }
}

fn install(need: &Need, programs: &Programs) -> anyhow::Result<()> {
    match need.source {
        Source::Debian(package) => debian::install_missing(&[(package, need.program)]),
        Source::Cargo(package) if programs.find(need).is_none() => {
            eprintln!("missing: {package}; building it takes some minutes");
            let root = Programs::cargo_root();
            cargo(&[
                "install",
                "--locked",
                "--root",
                &root.to_string_lossy(),
                package,
            ])
        }
        Source::Cargo(_) | Source::Checkout | Source::Given(_) => Ok(()),
    }
}

/// The program as it is shipped.
pub(super) fn build_secure_gre() -> anyhow::Result<()> {
    cargo(&["build", "--release", "--package", "secure-gre"])
}

fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    let line = format!("cargo {}", arguments.join(" "));
    eprintln!("> {line}");
    let status = Command::new("cargo")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}
