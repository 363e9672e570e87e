//! The tunnels that are measured, one file each.
//!
//! To add one: a file with a unit struct that implements [`Peer`], and its line in [`ALL`].

mod bare_veth;
mod boringtun;
mod gotatun;
mod kernel_libipsec;
mod openvpn;
mod secure_gre;
mod wireguard;
mod wireguard_go;

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::builder::PossibleValuesParser;
use nix::sys::signal::Signal;

use super::process::Process;
use super::scene::Scene;

/// All of them, in the order of the tables.
pub(super) const ALL: &[&dyn Peer] = &[
    &secure_gre::IN_UDP,
    &secure_gre::NATIVE,
    &secure_gre::PLAIN,
    &wireguard_go::WireguardGo,
    &boringtun::Boringtun,
    &gotatun::Gotatun,
    &openvpn::OpenVpn,
    &kernel_libipsec::KernelLibipsec,
    &bare_veth::BareVeth,
];

/// A tunnel that can be set up between the two hosts of a scene.
pub(super) trait Peer: Sync {
    /// In tables and for `--peers`.
    fn name(&self) -> &'static str;

    /// What it is, for the legend: protocol, cipher, what else matters.
    fn about(&self) -> &'static str;

    /// The programs that it needs; the first one can tell the tunnel's version.
    fn needs(&self) -> &'static [Need];

    /// Sets it up: `Side::inner` addresses on a device with `TUNNEL_MTU`. It need not carry packets
    /// yet when this returns.
    fn start(&self, scene: &Scene, programs: &Programs) -> anyhow::Result<Tunnel>;
}

/// A tunnel that was set up.
#[derive(Debug, Default)]
pub(super) struct Tunnel {
    /// The processes that carry its packets, whose time and memory count; none for a kernel's.
    pub(super) processes: Vec<Process>,
}

impl Tunnel {
    /// Their ids.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::id).collect()
    }

    /// Fails if one of them has ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        self.processes.iter_mut().try_for_each(Process::check)
    }

    /// Ends them in order.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        let mut processes = self.processes.into_iter();
        processes.try_for_each(|process| process.stop(Signal::SIGTERM))
    }
}

/// A program that a tunnel needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    /// Its file's name, or its path from the root.
    pub(super) program: &'static str,
    /// Where it comes from.
    pub(super) source: Source,
}

/// Where a program comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// This Debian package.
    Debian(&'static str),
    /// This crate.
    Cargo(&'static str),
    /// This checkout.
    Checkout,
    /// Whoever calls us gives its path; the text says how to get one.
    Given(&'static str),
}

impl Need {
    /// What to do if it is missing.
    pub(super) fn advice(&self) -> String {
        match self.source {
            Source::Debian(package) => format!("apt-get install {package}"),
            Source::Cargo(package) => format!("cargo install --locked {package}"),
            Source::Checkout => "cargo build --release".into(),
            Source::Given(advice) => advice.into(),
        }
    }
}

/// Where the programs are.
#[derive(Debug)]
pub(super) struct Programs {
    folders: Vec<PathBuf>,
    given: PathBuf,
}

impl Programs {
    /// Looks in `PATH`, where administrators' programs are, and where [`Self::cargo_root`] puts
    /// them; `given` is the path for [`Source::Given`].
    pub(super) fn new(given: &Path) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
        folders.push(Self::cargo_root().join("bin"));
        folders.extend(std::env::home_dir().map(|home| home.join(".cargo/bin")));
        Self {
            folders,
            given: given.to_owned(),
        }
    }

    /// Where the benchmark itself installs what it takes from crates.
    pub(super) fn cargo_root() -> PathBuf {
        PathBuf::from("target/bench/peers")
    }

    /// Its path, if it is there.
    pub(super) fn find(&self, need: &Need) -> Option<PathBuf> {
        let path = match need.source {
            Source::Given(_) => self.given.clone(),
            Source::Checkout => {
                let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into());
                Path::new(&target).join("release").join(need.program)
            }
            Source::Debian(_) | Source::Cargo(_) => self
                .folders
                .iter()
                .map(|folder| folder.join(need.program))
                .find(|path| path.is_file())?,
        };
        path.is_file().then(|| std::path::absolute(path).ok())?
    }

    /// A command for it.
    pub(super) fn command(&self, need: &Need) -> anyhow::Result<Command> {
        let path = self
            .find(need)
            .ok_or_else(|| anyhow::anyhow!("{} is not there: {}", need.program, need.advice()))?;
        Ok(Command::new(path))
    }
}

/// What it calls itself; empty if it does not say.
pub(super) fn version(peer: &dyn Peer, programs: &Programs) -> String {
    let Some(need) = peer.needs().first() else {
        return String::new();
    };
    // Some say it on standard error, some end with 1 after it.
    let output = programs
        .command(need)
        .and_then(|mut command| Ok(command.arg("--version").output()?));
    let said = output
        .map(|output| [output.stdout, output.stderr].concat())
        .unwrap_or_default();
    version_in(&String::from_utf8_lossy(&said)).unwrap_or_default()
}

/// The first three words of the first line that has a number.
fn version_in(said: &str) -> Option<String> {
    let line = said
        .lines()
        .find(|line| line.contains(|c: char| c.is_ascii_digit()))?;
    Some(
        line.split_whitespace()
            .take(3)
            .collect::<Vec<_>>()
            .join(" "),
    )
}

/// What `--peers` takes.
pub(super) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(ALL.iter().map(|peer| peer.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_a_file_name() {
        let mut names: Vec<&str> = ALL.iter().map(|peer| peer.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(
            names
                .iter()
                .all(|name| { name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') })
        );
    }

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        let said = "connecting to 'unix:///charon.vici' failed\nstrongSwan 5.9.8 swanctl\nusage:\n";
        assert_eq!(
            version_in(said).as_deref(),
            Some("strongSwan 5.9.8 swanctl")
        );
        assert_eq!(version_in("usage:\n"), None);
    }

    #[test]
    fn what_is_missing_comes_with_what_to_do() {
        let programs = Programs::new(Path::new("/nowhere/wireguard-go"));
        let need = Need {
            program: "wireguard-go",
            source: Source::Given("get it"),
        };
        assert!(programs.find(&need).is_none());
        let error = programs.command(&need).unwrap_err().to_string();
        assert_eq!(error, "wireguard-go is not there: get it");
    }

    #[test]
    fn a_program_is_found_in_the_path() {
        let programs = Programs::new(Path::new(""));
        let need = Need {
            program: "sh",
            source: Source::Debian("dash"),
        };
        assert!(programs.find(&need).unwrap().is_absolute());
    }
}
