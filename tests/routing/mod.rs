//! Routing daemons that talk through the tunnel: FRR with the files of `examples/`, on our routers and
//! on one with strongSwan and Linux's own GRE.
//!
//! The same daemons with the same files talk over a bare wire at the same time, and each scene ends with
//! how long both took: what a tunnel costs them shows, whatever else the machine does.
//! `cargo nextest run --test product --no-capture routing::` prints it; `docs/OPERATIONS.md` has such a run.

use std::cell::RefCell;
use std::time::{Duration, Instant};
use std::{fs, panic, thread};

use crate::lab::topology::nft;
use crate::lab::{
    self, Frr, Guest, Lab, Lan, Netns, Product, Router, Strongswan, Topology, eventually, product,
};

mod bgp;
mod hub;
mod island;
mod ospf;
mod pim;
mod recursion;

/// For what takes seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file in `examples/`.
fn example(name: &str) -> String {
    let file = format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A router with a network behind it, and its end of the tunnel.
struct Site<'l> {
    router: Router<'l>,
    lan: Lan<'l>,
    /// The tunnel's device.
    device: &'static str,
    /// Its `frr.conf`.
    frr_conf: String,
}

impl Site<'_> {
    /// Waits until `ip route show` does, or does not, print something for these words.
    #[track_caller]
    fn wait_for_route(&self, words: &str, there: bool) {
        eventually(&format!("route {words}: {there}"), PATIENCE, || {
            let found = self.router.expect(&format!("ip {words}"));
            (found.is_empty() != there).then_some(())
        });
    }

    /// What comes out of the tunnel next and satisfies each filter has this TTL, or hop limit.
    #[track_caller]
    fn hears_with_ttl(&self, kinds: &[(&str, u8)]) {
        let Self { router, device, .. } = self;
        let listen = |(filter, _): &(&str, u8)| {
            format!(
                "timeout 30 tcpdump -n -v -c 1 -Q in -Z root -i {device} '{filter}' 2>/dev/null &\n"
            )
        };
        let script: String = kinds.iter().map(listen).collect();
        let heard = router.expect(&(script + "wait"));
        for ttl in [1, 255] {
            let wanted = kinds.iter().filter(|(_, wanted)| *wanted == ttl).count();
            let found =
                count(&heard, &format!("ttl {ttl},")) + count(&heard, &format!("hlim {ttl},"));
            assert_eq!(found, wanted, "of TTL {ttl} in:\n{heard}");
        }
    }
}

/// The far end of the tunnel, or of the wire.
enum Far<'l> {
    Ours(Product<'l>),
    Linux(&'l Guest),
    Bare(&'l Netns),
}

impl Far<'_> {
    /// Nothing comes from it.
    #[track_caller]
    fn fall_silent(&self) {
        match self {
            Self::Ours(product) => product.pause(),
            Self::Linux(guest) => {
                guest.expect("ip link set gre1 down");
            }
            Self::Bare(netns) => {
                nft(netns, "add table inet silence");
                nft(
                    netns,
                    "add chain inet silence sent { type filter hook output priority 0 ; policy drop ; }",
                );
            }
        }
    }

    #[track_caller]
    fn speak_again(&self) {
        match self {
            Self::Ours(product) => product.resume(),
            // Without the device, its IPv6 address has gone.
            Self::Linux(guest) => {
                guest.expect("ip link set gre1 up && ip addr add fd00:255::2/64 dev gre1 nodad");
            }
            Self::Bare(netns) => nft(netns, "delete table inet silence"),
        }
    }
}

/// What there was to wait for, and how long it took.
type Times = Vec<(&'static str, Duration)>;

/// Two sites and what is between them.
struct Scene<'l> {
    /// With our product, where there is a tunnel.
    paris: Site<'l>,
    berlin: Site<'l>,
    far: Far<'l>,
    times: RefCell<Times>,
}

impl<'l> Scene<'l> {
    fn new(paris: Site<'l>, berlin: Site<'l>, far: Far<'l>) -> Self {
        let times = RefCell::default();
        Self {
            paris,
            berlin,
            far,
            times,
        }
    }

    /// Keeps how long something took.
    fn took(&self, what: &'static str, time: Duration) {
        self.times.borrow_mut().push((what, time));
    }

    /// The far end falls silent, and BFD says so.
    #[track_caller]
    fn fall_silent(&self, frr: &Frr<'_>) {
        let begin = Instant::now();
        self.far.fall_silent();
        frr.wait_until("bfdd", "bfd peers", |peers| count(peers, BFD_UP) == 0);
        self.took("BFD Down", begin.elapsed());
    }

    /// Starts the daemons of both sites, and then has them read their configuration.
    #[track_caller]
    fn start_frr(&self, daemons: &[&str]) -> (Frr<'_>, Frr<'_>) {
        let [mut here, mut there] =
            [&self.paris, &self.berlin].map(|site| Frr::start(site.router, daemons));
        there.configure(&self.berlin.frr_conf);
        here.configure(&self.paris.frr_conf);
        (here, there)
    }

    /// A host behind either router reaches the one behind the other.
    #[track_caller]
    fn hosts_reach_each_other(&self, hosts: &[[&str; 2]]) {
        for [of_paris, of_berlin] in hosts {
            for (site, destination) in [(&self.paris, of_berlin), (&self.berlin, of_paris)] {
                let answered = || site.lan.ping(destination, "-c 3 -i 0.2 -W 2").success();
                eventually(destination, PATIENCE, || answered().then_some(()));
            }
        }
    }
}

const HOSTS_V4: [&str; 2] = ["10.10.1.2", "10.20.1.2"];
const HOSTS_V6: [&str; 2] = ["2001:db8:10:1::2", "2001:db8:20:1::2"];

fn paris<'l>(lab: Lab, netns: &'l Netns, folder: &str) -> Site<'l> {
    let router = Router::Namespace(netns);
    Site {
        router,
        lan: Lan::new(lab, router, "10.10.1", "2001:db8:10:1"),
        device: product::DEVICE,
        frr_conf: example(&format!("{folder}/paris-frr.conf")),
    }
}

fn berlin<'l>(lab: Lab, router: Router<'l>, device: &'static str, folder: &str) -> Site<'l> {
    let frr_conf = example(&format!("{folder}/berlin-frr.conf"));
    Site {
        router,
        lan: Lan::new(lab, router, "10.20.1", "2001:db8:20:1"),
        device,
        frr_conf: frr_conf.replace(product::DEVICE, device),
    }
}

/// What has to hold in a scene.
type Check = fn(&Scene<'_>);

/// An example of `examples/` as it is there, on both ends.
fn between_two_of_ours(folder: &'static str, check: Check) {
    beside_a_bare_wire("between two of ours", folder, check, |lab| {
        let topology = Topology::new(lab);
        let right = topology.add_right();
        let ends = [
            (&right, "paris.toml", "paris.psk"),
            (&topology.left, "berlin.toml", "berlin.psk"),
        ];
        let [mut there, mut here] = ends.map(|(netns, file, psk)| {
            Product::start_with(netns, &example(&format!("{folder}/{file}")), psk)
        });
        here.wait_until_established();
        there.wait_until_established();
        let scene = Scene::new(
            paris(lab, &topology.left, folder),
            berlin(lab, Router::Namespace(&right), product::DEVICE, folder),
            Far::Ours(there),
        );
        check(&scene);
        let times = scene.times.take();
        drop(scene);
        assert_eq!(here.interrupt().code, Some(0));
        times
    });
}

/// The same, but Berlin has strongSwan and a GRE device of Linux.
fn with_strongswan(folder: &'static str, check: Check) {
    beside_a_bare_wire("with strongSwan", folder, check, |lab| {
        let topology = Topology::new(lab);
        let guest = topology.boot_guest();
        Strongswan::default().start(&guest);
        let peer = example(&format!("{folder}/berlin.toml"));
        let mut here = Product::start_with(&topology.left, &peer, "berlin.psk");
        here.wait_until_established();
        let scene = Scene::new(
            paris(lab, &topology.left, folder),
            berlin(lab, Router::Guest(&guest), "gre1", folder),
            Far::Linux(&guest),
        );
        check(&scene);
        let times = scene.times.take();
        drop(scene);
        assert_eq!(here.interrupt().code, Some(0));
        times
    });
}

/// Has a scene with a tunnel and one without take place at the same time, and prints their times.
fn beside_a_bare_wire(
    name: &str,
    folder: &'static str,
    check: Check,
    with_tunnel: impl FnOnce(Lab) -> Times,
) {
    let Some(lab) = lab::require() else { return };
    let (tunnel, bare) = thread::scope(|scope| {
        let bare = scope.spawn(|| over_a_bare_wire(lab, folder, check));
        let tunnel = with_tunnel(lab);
        let bare = bare.join();
        (tunnel, bare.unwrap_or_else(|bad| panic::resume_unwind(bad)))
    });
    for ((what, tunnel), (_, bare)) in tunnel.iter().zip(&bare) {
        let [tunnel, bare] = [tunnel, bare].map(Duration::as_secs_f64);
        println!("{folder} {name}: {what}: {tunnel:.1} s, over a bare wire {bare:.1} s");
    }
}

/// Two routers with nothing between them: a wire with the tunnel's name, addresses and MTU.
fn over_a_bare_wire(lab: Lab, folder: &str, check: Check) -> Times {
    let [left, right] = ["left", "right"].map(|role| Netns::new(lab, role));
    let device = product::DEVICE;
    left.ip(&format!(
        "link add {device} type veth peer name {device} netns {}",
        right.name()
    ));
    for (netns, number) in [(&left, 1), (&right, 2)] {
        // Nor does anybody ask on a tunnel whether an address is taken.
        Router::Namespace(netns).expect(&format!("sysctl -q net.ipv6.conf.{device}.accept_dad=0"));
        netns.ip_batch(&format!(
            "link set {device} mtu 1400 up\n\
             address add 10.255.0.{number}/30 dev {device}\n\
             address add fd00:255::{number}/64 dev {device} nodad\n"
        ));
    }
    let scene = Scene::new(
        paris(lab, &left, folder),
        berlin(lab, Router::Namespace(&right), device, folder),
        Far::Bare(&right),
    );
    check(&scene);
    scene.times.take()
}

const BFD_UP: &str = r#""status":"up""#;

fn count(text: &str, pattern: &str) -> usize {
    text.matches(pattern).count()
}
