//! What the laboratory needs, checked before anything is built.

use std::path::Path;

use nix::unistd::geteuid;

use super::libreswan;

/// The programs used, each with the Debian package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("nft", "nftables"),
    ("tcpdump", "tcpdump"),
    ("iperf3", "iperf3"),
    ("modprobe", "kmod"),
    ("linux.uml", "user-mode-linux"),
    ("charon-systemd", "charon-systemd"),
    ("swanctl", "strongswan-swanctl"),
    ("vtysh", "frr"),
];

/// Where they are looked for: a caller's `PATH` may lack the `sbin` directories.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Proof that this machine has what a laboratory needs.
#[derive(Clone, Copy)]
pub(crate) struct Lab(());

/// `None`, with the reason on standard error, where namespaces or programs are missing.
/// With `CI` set that is a failure instead: a check that was never made must not look passed.
pub(crate) fn require() -> Option<Lab> {
    judge(&missing())
}

fn judge(missing: &[String]) -> Option<Lab> {
    if missing.is_empty() {
        return Some(Lab(()));
    }
    let missing = missing.join("; ");
    assert!(std::env::var_os("CI").is_none(), "cannot run: {missing}");
    eprintln!("skipped: {missing}");
    None
}

/// The same where libreswan has to be the peer.
pub(crate) fn require_with_libreswan() -> Option<Lab> {
    let mut missing = missing();
    if !Path::new(libreswan::ROOT).exists() {
        missing.push(format!(
            "libreswan is not unpacked in {}: `cargo xtask test` does that",
            libreswan::ROOT
        ));
    }
    judge(&missing)
}

fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if !geteuid().is_root() {
        missing.push("network namespaces need root".to_owned());
    }
    if !Path::new("/dev/net/tun").exists() {
        missing.push("/dev/net/tun does not exist: `modprobe tun`".to_owned());
    }
    if !Path::new("/etc/protocols").exists() {
        missing.push("/etc/protocols does not exist (Debian package netbase)".to_owned());
    }
    for (program, package) in PROGRAMS {
        if !PATH
            .split(':')
            .any(|folder| Path::new(folder).join(program).exists())
        {
            missing.push(format!(
                "`{program}` is not installed (Debian package {package})"
            ));
        }
    }
    missing
}
