//! Debian's packages and their installation.

use std::fs;
use std::path::Path;
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

/// Where libreswan is unpacked for the tests: Debian lets nobody install it beside strongSwan.
pub(crate) const LIBRESWAN: &str = "/var/cache/secure-gre-lab/libreswan";
/// libreswan, and what makes the database that it wants.
const OF_LIBRESWAN: &[&str] = &["libreswan", "libnss3-tools"];

/// Unpacks libreswan, and those libraries for it that the host lacks, to [`LIBRESWAN`]. Nothing is
/// installed.
pub(crate) fn unpack_libreswan() -> anyhow::Result<()> {
    let root = Path::new(LIBRESWAN);
    if root.exists() {
        return Ok(());
    }
    eprintln!("missing: libreswan, the second peer in the guest; unpacking it to {LIBRESWAN}");
    let partial = root.with_extension("partial");
    let packages = partial.join("packages");
    let _ = fs::remove_dir_all(&partial);
    let folder = packages.join("partial");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if download(&packages).is_err() {
        apt_get(&["update"])?;
        download(&packages)?;
    }
    let unpacked = partial.join("unpacked");
    for entry in fs::read_dir(&packages).context("cannot read what was downloaded")? {
        let package = entry.context("cannot read what was downloaded")?.path();
        if package
            .extension()
            .is_some_and(|extension| extension == "deb")
        {
            unpack(&package, &unpacked)?;
        }
    }
    // It appears complete or not at all.
    fs::rename(&unpacked, root).with_context(|| format!("cannot make {LIBRESWAN}"))?;
    fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))
}

/// apt-get chooses as for an installation, and does not install.
fn download(folder: &Path) -> anyhow::Result<()> {
    let folder = format!("Dir::Cache::archives={}", folder.display());
    let mut arguments = install(OF_LIBRESWAN);
    arguments.extend(["--download-only", "-o", &folder]);
    // Its own user may not write there.
    arguments.extend(["-o", "APT::Sandbox::User=root"]);
    apt_get(&arguments)
}

fn unpack(package: &Path, to: &Path) -> anyhow::Result<()> {
    let status = Command::new("dpkg")
        .arg("--extract")
        .args([package, to])
        .stdin(Stdio::null())
        .status()
        .context("cannot run dpkg")?;
    if !status.success() {
        bail!("`dpkg --extract {}` ended with {status}", package.display());
    }
    Ok(())
}

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
    use super::{FOR_TESTS, LIBRESWAN};

    #[test]
    fn libreswan_is_unpacked_where_the_laboratory_looks_for_it() {
        let laboratory = include_str!("../../tests/lab/libreswan.rs");
        assert!(laboratory.contains(&format!("ROOT: &str = {LIBRESWAN:?};")));
    }

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
