//! Routing daemons that talk through the tunnel: FRR with the files of `examples/`, on our routers and
//! on one with strongSwan and Linux's own GRE.
//!
//! Each scene prints how long the daemons took, beside what was measured once where both ends of such
//! a tunnel were Linux kernels, on the same machine; some of it with the files of `examples/ospf` and a
//! bare veth for the tunnel, as that depends on the files.

use std::fs;
use std::time::{Duration, Instant};

use crate::lab::{
    self, Frr, Guest, Lan, Product, Router, Strongswan, Topology, eventually, product,
};

mod bgp;
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

/// The far end of the tunnel.
enum Far<'l> {
    Ours(Product<'l>),
    Linux(&'l Guest),
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
        }
    }
}

/// Two sites and the tunnel between them.
struct Scene<'l> {
    /// With our product.
    paris: Site<'l>,
    berlin: Site<'l>,
    far: Far<'l>,
}

impl Scene<'_> {
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

fn paris<'l>(lab: lab::Lab, topology: &'l Topology, folder: &str) -> Site<'l> {
    let router = Router::Namespace(&topology.left);
    Site {
        router,
        lan: Lan::new(lab, router, "10.10.1", "2001:db8:10:1"),
        device: product::DEVICE,
        frr_conf: example(&format!("{folder}/paris-frr.conf")),
    }
}

fn berlin<'l>(lab: lab::Lab, router: Router<'l>, device: &'static str, folder: &str) -> Site<'l> {
    let frr_conf = example(&format!("{folder}/berlin-frr.conf"));
    Site {
        router,
        lan: Lan::new(lab, router, "10.20.1", "2001:db8:20:1"),
        device,
        frr_conf: frr_conf.replace(product::DEVICE, device),
    }
}

/// An example of `examples/` as it is there, on both ends.
fn between_two_of_ours(folder: &str, check: impl FnOnce(&Scene<'_>)) {
    let Some(lab) = lab::require() else { return };
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
    let scene = Scene {
        paris: paris(lab, &topology, folder),
        berlin: berlin(lab, Router::Namespace(&right), product::DEVICE, folder),
        far: Far::Ours(there),
    };
    check(&scene);
    drop(scene);
    assert_eq!(here.interrupt().code, Some(0));
}

/// The same, but Berlin has strongSwan and a GRE device of Linux.
fn with_strongswan(folder: &str, check: impl FnOnce(&Scene<'_>)) {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan::default().start(&guest);
    let peer = example(&format!("{folder}/berlin.toml"));
    let mut here = Product::start_with(&topology.left, &peer, "berlin.psk");
    here.wait_until_established();
    let scene = Scene {
        paris: paris(lab, &topology, folder),
        berlin: berlin(lab, Router::Guest(&guest), "gre1", folder),
        far: Far::Linux(&guest),
    };
    check(&scene);
    drop(scene);
    assert_eq!(here.interrupt().code, Some(0));
}

/// Prints a time beside that between two Linux kernels.
fn tell(what: &str, took: Duration, between_linux_kernels: &str) {
    println!(
        "{what}: {:.1} s (between Linux kernels {between_linux_kernels})",
        took.as_secs_f64()
    );
}

/// The far end falls silent, and BFD says so.
#[track_caller]
fn fall_silent(scene: &Scene<'_>, frr: &Frr<'_>) {
    let begin = Instant::now();
    scene.far.fall_silent();
    frr.wait_until("bfdd", "bfd peers", |peers| count(peers, BFD_UP) == 0);
    tell("BFD Down", begin.elapsed(), "0.3 s");
}

const BFD_UP: &str = r#""status":"up""#;

fn count(text: &str, pattern: &str) -> usize {
    text.matches(pattern).count()
}
