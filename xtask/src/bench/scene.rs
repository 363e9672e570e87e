//! Two hosts in network namespaces, and the link between them:
//!
//! ```text
//! left                                             right
//!   10.255.0.1 on the tunnel        10.255.0.2 on the tunnel      MTU 1400
//!   192.0.2.1 wire ════ veth pair ════ wire 192.0.2.2             MTU 1500
//! ```
//!
//! Every session gets new ones; nothing of a tunnel outlives them.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use secure_gre::net::netns::HeldNamespace;

use super::process::Process;

/// The MTU of every tunnel.
pub(super) const TUNNEL_MTU: u32 = 1400;

/// Each host's end of the link.
pub(super) const WIRE: &str = "wire";

/// Time for commands that take milliseconds.
const QUICK: Duration = Duration::from_secs(20);

/// What a link can do by itself for those who use it. UDP segmentation is not part of `gso`.
const OFFLOADS: [&str; 4] = ["tso", "gso", "gro", "tx-udp-segmentation"];

/// Which host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Sends and calls.
    Left,
    /// Receives and answers.
    Right,
}

impl Side {
    /// For file names.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Left => 1,
            Self::Right => 2,
        }
    }

    /// The other one.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    /// The address on the wire.
    pub(super) const fn outer(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.number())
    }

    /// The address in the tunnel.
    pub(super) const fn inner(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 255, 0, self.number())
    }
}

/// One of the hosts.
#[derive(Debug)]
pub(super) struct Host {
    /// Which one.
    pub(super) side: Side,
    /// For its files; empty at first.
    pub(super) folder: PathBuf,
    namespace: HeldNamespace,
}

impl Host {
    fn new(side: Side, folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join(side.name());
        fs::create_dir_all(&folder)?;
        let namespace = HeldNamespace::new().context("cannot make a network namespace")?;
        Ok(Self {
            side,
            folder,
            namespace,
        })
    }

    /// Runs `work` on this host; sockets made there stay there.
    pub(super) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        self.namespace
            .enter(work)
            .context("cannot enter a network namespace")
    }

    /// Starts a program that runs on.
    pub(super) fn start(&self, command: Command) -> anyhow::Result<Process> {
        self.enter(|| Process::start(command, &self.folder))?
    }

    /// Runs a command line, split at white space, to its end. What it printed is the answer.
    pub(super) fn run(&self, line: &str) -> anyhow::Result<String> {
        self.run_within(line, QUICK)
    }

    /// The same for one that takes its time.
    pub(super) fn run_within(&self, line: &str, within: Duration) -> anyhow::Result<String> {
        self.start(command(line))?
            .finish(within)
            .with_context(|| format!("`{line}`"))
    }

    /// Gives a tunnel's device its address and MTU, and raises it.
    pub(super) fn raise(&self, device: &str) -> anyhow::Result<()> {
        let (own, peer) = (self.side.inner(), self.side.other().inner());
        self.run(&format!("ip address add {own} peer {peer}/32 dev {device}"))?;
        self.run(&format!("ip link set {device} mtu {TUNNEL_MTU} up"))?;
        Ok(())
    }

    /// Writes a file that only root may read.
    pub(super) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path)
    }
}

/// A command line, split at white space.
pub(super) fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// Both hosts and the link.
#[derive(Debug)]
pub(super) struct Scene {
    /// Sends and calls.
    pub(super) left: Host,
    /// Receives and answers.
    pub(super) right: Host,
}

impl Scene {
    /// Builds it; files go into `folder`.
    pub(super) fn build(folder: &Path) -> anyhow::Result<Self> {
        let left = Host::new(Side::Left, folder)?;
        let right = Host::new(Side::Right, folder)?;
        let (own, end) = (std::process::id(), right.namespace.as_fd().as_raw_fd());
        left.run(&format!(
            "ip link add {WIRE} mtu 1500 type veth peer name {WIRE} mtu 1500 netns /proc/{own}/fd/{end}"
        ))?;
        for host in [&left, &right] {
            host.run("ip link set lo up")?;
            host.run(&format!(
                "ip address add {}/24 dev {WIRE}",
                host.side.outer()
            ))?;
            host.run(&format!("ip link set {WIRE} up"))?;
        }
        Ok(Self { left, right })
    }

    /// Both, for what is done to each.
    pub(super) fn hosts(&self) -> [&Host; 2] {
        [&self.left, &self.right]
    }

    /// Whether the link cuts large packets by itself, as network cards do.
    pub(super) fn set_offload(&self, on: bool) -> anyhow::Result<()> {
        let state = if on { "on" } else { "off" };
        let switches = OFFLOADS.map(|name| format!("{name} {state}")).join(" ");
        for host in self.hosts() {
            host.run(&format!("ethtool -K {WIRE} {switches}"))?;
        }
        Ok(())
    }
}
