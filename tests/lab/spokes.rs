//! A hub at the product's place, and any number of spokes: on the bridge, or each behind a router of its
//! own and all of these behind one NAT, with the same private address.
//!
//! ```text
//! left (hub) ── br0 ─┬─ spoke 192.0.2.100 + n
//!                    └─ nat ─┬─ home ── spoke 10.77.0.1
//!                            └─ home ── spoke 10.77.0.1
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::netns::Netns;
use super::process::{Output, Process};
use super::product::Folder;
use super::topology::{LEFT, Topology, translate};

/// Every spoke behind the NAT has it, and thinks that it is its own.
pub(crate) const PRIVATE: &str = "10.77.0.1";
/// What the hub sees of these.
pub(crate) const NAT: &str = "192.0.2.99";

const GATEWAY: &str = "10.77.0.254";

/// A key of its own for each.
fn psk(number: u32) -> String {
    format!("the laboratory's key of spoke {number}")
}

/// What the hub calls a spoke.
pub(crate) fn name(number: u32) -> String {
    format!("spoke{number}.example")
}

/// The hub's address in the tunnel to this spoke.
pub(crate) fn hub_inner(number: u32) -> String {
    format!("10.255.{number}.0")
}

/// The spoke's address in it.
pub(crate) fn spoke_inner(number: u32) -> String {
    format!("10.255.{number}.1")
}

/// The entry of a spoke in a hub's file.
fn entry(number: u32) -> String {
    format!(
        "[[spoke]]\nremote-id = \"{}\"\npsk = \"{}\"\n",
        name(number),
        psk(number)
    )
}

/// The files of a hub.
pub(crate) struct Hub<'t> {
    topology: &'t Topology,
    pub(crate) folder: Folder,
}

impl<'t> Hub<'t> {
    /// A hub in `left` that is not running.
    pub(crate) fn new(topology: &'t Topology) -> Self {
        let folder = Folder::new();
        Self { topology, folder }
    }

    /// Writes its file, with spokes from 1 to `count`.
    pub(crate) fn write(&self, count: u32) -> PathBuf {
        let entries: String = (1..=count).map(entry).collect();
        let text = format!(
            "[peer]\naddress = \"any\"\nlocal-id = \"hub.example\"\n[tunnel]\ndevice = \"hub%n\"\n\
             address = [\"10.255.%n.0/31\"]\n{entries}"
        );
        write_private(self.folder.path().join("hub.toml"), &text)
    }

    /// Runs a verb to its end.
    pub(crate) fn run(&self, verb: &str, arguments: &[&str]) -> Output {
        self.folder.run(&self.topology.left, verb, arguments)
    }

    /// What `status --json` says of the peers; `None`: no daemon.
    pub(crate) fn peers(&self) -> Option<Vec<Value>> {
        let output = self.run("status", &["--json"]);
        let mut report: Value = serde_json::from_str(&output.stdout).ok()?;
        serde_json::from_value(report["peers"].take()).ok()
    }

    /// How many spokes are up.
    pub(crate) fn up(&self) -> usize {
        let peers = self.peers().unwrap_or_default();
        peers
            .iter()
            .filter(|peer| peer["state"] == "established")
            .count()
    }

    /// What `status --json` says of one spoke.
    #[track_caller]
    pub(crate) fn spoke(&self, number: u32) -> Value {
        let peers = self.peers().expect("a daemon");
        let found = peers
            .into_iter()
            .find(|peer| peer["name"] == name(number).as_str());
        found.unwrap_or_else(|| panic!("no {}", name(number)))
    }
}

/// A namespace for a spoke.
pub(crate) struct Spoke {
    number: u32,
    pub(crate) netns: Netns,
    pub(crate) folder: Folder,
}

impl Spoke {
    /// On the hub's own network.
    pub(crate) fn on_bridge(topology: &Topology, number: u32) -> Self {
        let netns = topology.netns("spoke");
        topology.mid.ip_batch(&format!(
            "link add spoke{number} type veth peer name wire netns {}\n\
             link set spoke{number} master br0 up\n",
            netns.name()
        ));
        netns.ip_batch(&format!(
            "link set wire addrgenmode none\n\
             address add 192.0.2.{}/24 dev wire\n\
             link set wire up\n",
            100 + number
        ));
        Self::of(netns, number)
    }

    fn of(netns: Netns, number: u32) -> Self {
        let folder = Folder::new();
        Self {
            number,
            netns,
            folder,
        }
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Starts `secure-gre up`.
    pub(crate) fn start(&self) -> Process {
        let number = self.number;
        let text = format!(
            "[peer]\naddress = \"{LEFT}\"\nlocal-id = \"{}\"\nremote-id = \"hub.example\"\n\
             psk = \"{}\"\n[tunnel]\ndevice = \"sgre0\"\naddress = [\"{}/31\"]\n",
            name(number),
            psk(number),
            spoke_inner(number),
        );
        let file = write_private(self.folder.path().join("spoke.toml"), &text);
        self.folder.up(&self.netns, &file)
    }
}

/// A NAT on the bridge with a router for each spoke behind it.
pub(crate) struct Homes {
    pub(crate) spokes: Vec<Spoke>,
    _routers: Vec<Netns>,
}

impl Homes {
    pub(crate) fn new(topology: &Topology, numbers: impl IntoIterator<Item = u32>) -> Self {
        let nat = topology.netns("nat");
        topology.mid.ip_batch(&format!(
            "link add nat0 type veth peer name wire netns {}\nlink set nat0 master br0 up\n",
            nat.name()
        ));
        nat.ip_batch(&format!(
            "address add {NAT}/24 dev wire\nlink set wire up\n"
        ));
        translate(&nat, "wire");
        let mut spokes = Vec::new();
        let mut routers = Vec::new();
        for number in numbers {
            let (home, netns) = (topology.netns("home"), topology.netns("spoke"));
            nat.ip_batch(&format!(
                "link add home{number} type veth peer name outside netns {}\n\
                 address add 100.64.{number}.1/24 dev home{number}\n\
                 link set home{number} up\n",
                home.name()
            ));
            home.ip_batch(&format!(
                "address add 100.64.{number}.2/24 dev outside\n\
                 link set outside up\n\
                 route add default via 100.64.{number}.1\n\
                 link add inside type veth peer name wire netns {}\n\
                 address add {GATEWAY}/24 dev inside\n\
                 link set inside up\n",
                netns.name()
            ));
            netns.ip_batch(&format!(
                "address add {PRIVATE}/24 dev wire\n\
                 link set wire up\n\
                 route add default via {GATEWAY}\n"
            ));
            translate(&home, "outside");
            routers.push(home);
            spokes.push(Spoke::of(netns, number));
        }
        routers.push(nat);
        Self {
            spokes,
            _routers: routers,
        }
    }
}

/// The threads of a process, and its sockets.
pub(crate) fn cost(process: &Process) -> (usize, usize) {
    let proc = PathBuf::from(format!("/proc/{}", process.pid()));
    let entries = |folder: &str| fs::read_dir(proc.join(folder)).unwrap().flatten();
    let is_socket = |target: PathBuf| target.to_string_lossy().starts_with("socket:");
    let files = entries("fd").filter_map(|entry| fs::read_link(entry.path()).ok());
    (
        entries("task").count(),
        files.filter(|target| is_socket(target.clone())).count(),
    )
}

/// Long enough for fifty handshakes on a machine that has other things to do.
pub(crate) const ALL_UP: Duration = Duration::from_secs(180);

/// Writes a file that only we can read.
pub(crate) fn write_private(file: PathBuf, text: &str) -> PathBuf {
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}
