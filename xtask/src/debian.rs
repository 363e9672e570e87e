//! Debian's packages and their installation.

use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// A package, and what is wanted of it.
pub(crate) type Package = (&'static str, &'static str);

/// What the tests use.
pub(crate) const FOR_TESTS: &[Package] = &[
    ("iproute2", "`ip`: namespaces, links, addresses and routes"),
    (
        "iputils-ping",
        "`ping` with a fixed size and the don't-fragment bit",
    ),
    (
        "netbase",
        "names of protocols, for `ip`, `nft` and strongSwan",
    ),
    ("nftables", "packet filters and NATs between the peers"),
    ("tcpdump", "captures of what leaves the machine"),
    ("iperf3", "bulk transfers through the tunnel"),
    ("kmod", "`modprobe` inside the guest kernel"),
    (
        "user-mode-linux",
        "the guest kernel, which has ESP and GRE of its own",
    ),
    (
        "charon-systemd",
        "strongSwan's IKE daemon, the peer in the guest",
    ),
    ("strongswan-swanctl", "control of strongSwan's daemon"),
    (
        "libstrongswan-standard-plugins",
        "strongSwan's algorithms, by OpenSSL",
    ),
    ("libstrongswan-extra-plugins", "strongSwan's x25519"),
    (
        "frr",
        "routing daemons, which talk to each other through the tunnel",
    ),
];

/// Installs those of `packages` that are missing; says what and why for each.
pub(crate) fn install_missing(packages: &[Package]) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for &(package, purpose) in packages {
        if !is_installed(package)? {
            eprintln!("missing: {package} ({purpose})");
            missing.push(package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !is_root()? {
        bail!("more packages are needed; as root: apt-get install {names}");
    }
    eprintln!("installing: {names}");
    // The package lists of a fresh machine are empty or old: refresh them only if that shows.
    if apt_get(&install(&missing)).is_err() {
        apt_get(&["update"])?;
        apt_get(&install(&missing))?;
    }
    Ok(())
}

fn install<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    arguments
}

fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        // Standard output is for what a task has to say at its end.
        .stdout(std::io::stderr())
        .status()
        .context("cannot run apt-get")?;
    if !status.success() {
        bail!("`apt-get {}` ended with {status}", arguments.join(" "));
    }
    Ok(())
}

fn is_installed(package: &str) -> anyhow::Result<bool> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .output()
        .context("cannot run dpkg-query: only Debian is prepared automatically")?;
    Ok(output.stdout == b"installed")
}

pub(crate) fn is_root() -> anyhow::Result<bool> {
    let output = Command::new("id")
        .arg("--user")
        .output()
        .context("cannot run id")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::FOR_TESTS;

    /// A program that the laboratory misses is a test that is skipped, or in CI a failure.
    #[test]
    fn whatever_the_laboratory_requires_is_installed() {
        let require = include_str!("../../tests/lab/require.rs");
        let (_, list) = require.split_once("PROGRAMS").unwrap();
        let (list, _) = list.split_once("];").unwrap();
        let packages: Vec<_> = list
            .split('"')
            .skip(1)
            .step_by(2)
            .skip(1)
            .step_by(2)
            .collect();
        assert!(packages.contains(&"tcpdump"), "{packages:?}");
        for package in packages {
            assert!(
                FOR_TESTS.iter().any(|(name, _)| *name == package),
                "{package}"
            );
        }
    }
}
