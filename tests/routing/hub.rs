//! A hub that learns the networks of its spokes by BGP, with nothing in its files about a spoke but
//! identity and key: `examples/hub-bgp`.

use std::fs;

use nix::sys::signal::Signal;

use super::{BFD_UP, PATIENCE, Site, count, example};
use crate::lab::process::Process;
use crate::lab::spokes::{Hub, Spoke, write_private};
use crate::lab::topology::LEFT;
use crate::lab::{self, Folder, Frr, Lab, Lan, Router, Topology, eventually, product};

const NAMES: [&str; 3] = ["paris", "rome", "oslo"];
/// The hub's address in the example.
const HUB: &str = "198.51.100.1";

/// A spoke with its tunnel, its FRR and a host on the network behind it.
struct Branch<'l> {
    number: u32,
    site: Site<'l>,
    daemon: Process,
    _frr: Frr<'l>,
}

impl<'l> Branch<'l> {
    #[track_caller]
    fn open(lab: Lab, spoke: &'l Spoke) -> Self {
        let number = spoke.number();
        let of_spoke = |file: &str| of_spoke(&example(&format!("hub-bgp/{file}")), number);
        let name = NAMES[number as usize - 1];
        write_key(&spoke.folder, name);
        let file = spoke.folder.path().join(format!("{name}.toml"));
        let file = write_private(file, &of_spoke("paris.toml").replace(HUB, LEFT));
        let router = Router::Namespace(&spoke.netns);
        let site = Site {
            router,
            lan: Lan::new(
                lab,
                router,
                &format!("10.20.{number}"),
                &format!("2001:db8:20:{number}"),
            ),
            device: product::DEVICE,
            frr_conf: of_spoke("paris-frr.conf"),
        };
        let mut daemon = spoke.folder.up(&spoke.netns, &file);
        daemon.wait_for_line("tunnel up on", PATIENCE);
        let mut frr = Frr::start(router, &["bfdd", "bgpd"]);
        frr.configure(&site.frr_conf);
        Self {
            number,
            site,
            daemon,
            _frr: frr,
        }
    }

    /// Waits until BGP has, or has not, routes to the other's networks.
    #[track_caller]
    fn knows(&self, other: &Self, there: bool) {
        for words in routes_to(other.number) {
            self.site.wait_for_route(&words, there);
        }
    }

    /// Their hosts reach each other, each by the way that BGP has told.
    #[track_caller]
    fn reaches(&self, other: &Self) {
        for (from, to) in [(self, other), (other, self)] {
            from.knows(to, true);
        }
        for (from, to) in [(self, other), (other, self)] {
            let number = to.number;
            for host in [
                format!("10.20.{number}.2"),
                format!("2001:db8:20:{number}::2"),
            ] {
                let answered = || from.site.lan.ping(&host, "-c 3 -i 0.2 -W 2").success();
                eventually(&host, PATIENCE, || answered().then_some(()));
            }
        }
    }
}

/// A file of the first spoke, for another one.
fn of_spoke(text: &str, number: u32) -> String {
    text.replace(NAMES[0], NAMES[number as usize - 1])
        .replace("10.255.1.", &format!("10.255.{number}."))
        .replace("fd00:255:1:", &format!("fd00:255:{number}:"))
        .replace("10.20.1.", &format!("10.20.{number}."))
        .replace("2001:db8:20:1:", &format!("2001:db8:20:{number}:"))
        .replace("65001", &(65000 + number).to_string())
}

/// What `ip` shows of routes to a spoke's networks.
fn routes_to(number: u32) -> [String; 2] {
    [
        format!("route show 10.20.{number}.0/24 proto bgp"),
        format!("-6 route show 2001:db8:20:{number}::/64 proto bgp"),
    ]
}

fn write_key(folder: &Folder, name: &str) {
    let key = format!("the laboratory's key of {name}");
    write_private(folder.path().join(format!("{name}.psk")), &key);
}

/// PAINS 16: the third spoke costs the hub its identity and its key, and the others do not notice.
#[test]
fn spokes_reach_each_other_by_what_the_hub_learns() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let hub = Hub::new(&topology);
    for name in NAMES {
        write_key(&hub.folder, name);
    }
    let text = example("hub-bgp/hub.toml");
    let file = write_private(hub.folder.path().join("hub.toml"), &text);
    let mut daemon = hub.folder.up(&topology.left, &file);
    daemon.wait_for_line("rome.example: waiting for its call", PATIENCE);
    let mut frr = Frr::start(
        Router::Namespace(&topology.left),
        &["bfdd", "staticd", "bgpd"],
    );
    frr.configure(&example("hub-bgp/hub-frr.conf"));

    let spokes = [1, 2, 3].map(|number| Spoke::on_bridge(&topology, number));
    let [paris, rome] = [0, 1].map(|place: usize| Branch::open(lab, &spokes[place]));
    paris.reaches(&rome);

    let oslo = "\n[[spoke]]\nremote-id = \"oslo.example\"\npsk-file = \"oslo.psk\"\n";
    fs::write(&file, text + oslo).unwrap();
    let added = hub.folder.up_in_background(&topology.left, &file);
    let told = "hub: 1 more wait for their calls, 2 are as they were\n";
    assert_eq!(added.stdout, told, "{}", added.stderr);
    let oslo = Branch::open(lab, &spokes[2]);
    oslo.reaches(&paris);
    oslo.reaches(&rome);
    assert_eq!(hub.up(), 3);
    frr.wait_until("bfdd", "bfd peers", |peers| count(peers, BFD_UP) == 6);

    rome.daemon.signal(Signal::SIGSTOP);
    for other in [&paris, &oslo] {
        other.knows(&rome, false);
    }
    paris.reaches(&oslo);
    rome.daemon.signal(Signal::SIGCONT);
    rome.reaches(&paris);
    rome.reaches(&oslo);
}
