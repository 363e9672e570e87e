//! Two hosts that are joined twice, and the networks behind them, as `examples/two-paths/` has them.
//!
//! ```text
//! namespace paris              namespace mid                  namespace berlin
//!   192.0.2.1    north ── north0 ─ bridge north ─ north1 ── north  192.0.2.2
//!   198.51.100.1 south ── south0 ─ bridge south ─ south1 ── south  198.51.100.2
//! ```

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::capture::Capture;
use super::process::Process;
use super::product::{Folder, PSK};
use super::require::Lab;
use super::topology::nft;
use super::traffic::{MARKER, PORT};
use super::{Netns, eventually};

const LONG: Duration = Duration::from_secs(60);

/// How many hosts behind the other end are sent to. That all of them hash to one of two paths happens
/// once in 2^63 runs.
const FLOWS: usize = 64;

/// See the module.
pub(crate) struct TwoPaths {
    pub(crate) paris: Netns,
    pub(crate) berlin: Netns,
    mid: Netns,
}

impl TwoPaths {
    /// Default routes lead to a router on the northern link that takes everything: what is not routed
    /// into a tunnel is seen there in clear.
    pub(crate) fn new(lab: Lab) -> Self {
        let [paris, berlin, mid] = ["paris", "berlin", "mid"].map(|role| Netns::new(lab, role));
        let hosts = [(&paris, 1, 10), (&berlin, 2, 20)];
        for (link, subnet) in [("north", "192.0.2"), ("south", "198.51.100")] {
            mid.ip(&format!(
                "link add {link} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
            ));
            mid.ip(&format!("link set {link} up"));
            for (end, (host, number, _)) in hosts.iter().enumerate() {
                let name = host.name();
                mid.ip(&format!(
                    "link add {link}{end} type veth peer name wan-{link} netns {name}"
                ));
                mid.ip(&format!("link set {link}{end} master {link} up"));
                host.ip(&format!("link set wan-{link} addrgenmode none"));
                host.ip(&format!("address add {subnet}.{number}/24 dev wan-{link}"));
                host.ip(&format!("link set wan-{link} up"));
            }
        }
        mid.ip("address add 192.0.2.254/24 dev north");
        mid.ip("address add 2001:db8:ffff::254/64 dev north nodad");
        for (host, number, network) in hosts {
            host.ip("link set lo up");
            // All hosts of the network behind it.
            host.ip(&format!("address add 10.{network}.0.1/32 dev lo"));
            host.ip(&format!("route add local 10.{network}.0.0/16 dev lo"));
            host.ip(&format!("address add 2001:db8:{network}::1/128 dev lo"));
            host.ip(&format!("route add local 2001:db8:{network}::/48 dev lo"));
            host.ip(&format!(
                "address add 2001:db8:ffff::{number}/64 dev wan-north nodad"
            ));
            host.ip("route add default via 192.0.2.254");
            host.ip("route add default via 2001:db8:ffff::254");
        }
        Self { paris, berlin, mid }
    }

    /// Drops from here on what comes by these links, without a word to anybody.
    #[track_caller]
    pub(crate) fn cut(&self, links: &[&str]) {
        for command in [
            "add table bridge wall",
            "flush table bridge wall",
            "add chain bridge wall way { type filter hook forward priority 0 ; }",
        ] {
            nft(&self.mid, command);
        }
        for link in links {
            let rule = format!("add rule bridge wall way iifname {{ {link}0, {link}1 }} drop");
            nft(&self.mid, &rule);
        }
    }

    /// Captures both links, at Paris's ports.
    #[track_caller]
    pub(crate) fn captures(&self) -> [Capture; 2] {
        ["north", "south"].map(|link| {
            self.paris
                .ip(&format!("link set wan-{link} gso_max_segs 1"));
            self.mid.ip(&format!("link set {link}0 gso_max_segs 1"));
            Capture::start(&self.mid, &format!("{link}0"))
        })
    }
}

/// A host's daemon, with the files of one folder.
pub(crate) struct Host<'n> {
    pub(crate) netns: &'n Netns,
    pub(crate) folder: Folder,
    daemon: Process,
}

impl<'n> Host<'n> {
    /// Starts it with `files`, each with its name. `psk` is what they call the key.
    pub(crate) fn start(netns: &'n Netns, files: &[(&str, String)], psk: &str) -> Self {
        let folder = Folder::new();
        super::spokes::write_private(folder.path().join(psk), PSK);
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let daemon = Self::daemon(netns, &folder);
        Self {
            netns,
            folder,
            daemon,
        }
    }

    fn daemon(netns: &Netns, folder: &Folder) -> Process {
        let mut command = folder.command(netns, "daemon");
        command.arg(folder.path());
        Process::spawn(command)
    }

    /// Kills it and waits for its end.
    #[track_caller]
    pub(crate) fn crash(&mut self) {
        self.daemon.signal(nix::sys::signal::Signal::SIGKILL);
        eventually("the end", LONG, || {
            (!self.daemon.is_running()).then_some(())
        });
    }

    pub(crate) fn restart(&mut self) {
        self.daemon = Self::daemon(self.netns, &self.folder);
    }

    pub(crate) fn transcript(&self) -> String {
        self.daemon.transcript()
    }

    /// Tells it to end, and waits until it has.
    #[track_caller]
    pub(crate) fn end(self) {
        self.daemon.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(self.daemon.wait(LONG).code, Some(0));
    }

    /// What `secure-gre status --json` says.
    pub(crate) fn status(&self) -> Option<Value> {
        let output = self.folder.run(self.netns, "status", &["--json"]);
        serde_json::from_str(&output.stdout).ok()
    }

    /// The states of the paths to `prefix` by device, as `status` has them.
    pub(crate) fn paths(&self, prefix: &str) -> Option<Vec<(String, String)>> {
        let status = self.status()?;
        let mut routes = status["routes"].as_array()?.iter();
        let paths = routes.find(|route| route["prefix"] == prefix)?["paths"].as_array()?;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let paths = paths.iter();
        Some(
            paths
                .map(|path| (text(&path["device"]), text(&path["state"])))
                .collect(),
        )
    }

    /// Waits until `status` has the paths to `prefix` so.
    #[track_caller]
    pub(crate) fn wait_for_paths(&self, prefix: &str, expected: &[(&str, &str)]) {
        let owned = |(device, state): &(&str, &str)| ((*device).to_owned(), (*state).to_owned());
        let expected: Vec<_> = expected.iter().map(owned).collect();
        eventually(&format!("{prefix} by {expected:?}"), LONG, || {
            (self.paths(prefix)? == expected).then_some(())
        });
    }

    /// How many passengers have left by each device.
    #[track_caller]
    pub(crate) fn sent(&self, devices: [&str; 2]) -> [u64; 2] {
        let status = self.status().unwrap();
        let peers = status["peers"].as_array().unwrap().iter();
        let tunnels: Vec<_> = peers
            .flat_map(|peer| peer["tunnels"].as_array().unwrap())
            .collect();
        devices.map(|device| {
            let mut tunnels = tunnels.iter();
            let tunnel = tunnels.find(|tunnel| tunnel["device"] == device).unwrap();
            tunnel["outbound"]["packets"].as_u64().unwrap()
        })
    }

    /// The runtime directory's records of what a crash would leave.
    pub(crate) fn records(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.folder.runtime()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        files
            .filter(|file| file.to_string_lossy().ends_with(".routes.json"))
            .collect()
    }
}

/// Sends marked datagrams to many hosts of `network` (their addresses but for the last part) until one
/// of each flow has arrived in `to`.
#[track_caller]
pub(crate) fn spread(from: &Netns, to: &Netns, network: &str) {
    let bind = |netns: &Netns| {
        let any: IpAddr = match network.contains(':') {
            true => "::".parse().unwrap(),
            false => "0.0.0.0".parse().unwrap(),
        };
        netns.enter(|| UdpSocket::bind(SocketAddr::new(any, PORT)).unwrap())
    };
    let (sender, receiver) = (bind(from), bind(to));
    receiver
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut missing: Vec<usize> = (1..=FLOWS).collect();
    let deadline = Instant::now() + LONG;
    while !missing.is_empty() {
        assert!(Instant::now() < deadline, "nothing arrived at {missing:?}");
        for host in &missing {
            let to = format!("{network}{host}").parse().unwrap();
            // Its number tells which flow it is of. An unreachable network is an error here.
            let datagram = [MARKER, &[u8::try_from(*host).unwrap()]].concat();
            let _ = sender.send_to(&datagram, SocketAddr::new(to, PORT));
        }
        let mut datagram = [0; 64];
        while let Ok(length) = receiver.recv(&mut datagram) {
            assert_eq!(&datagram[..MARKER.len()], MARKER);
            assert_eq!(length, MARKER.len() + 1);
            let host = usize::from(datagram[MARKER.len()]);
            missing.retain(|other| *other != host);
        }
    }
}
