//! A hub whose spokes call from wherever they are.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::spokes::{
    ALL_UP, Homes, Hub, NAT, Spoke, cost, hub_inner, name, spoke_inner, write_private,
};
use crate::lab::topology::LEFT;
use crate::lab::{self, Folder, Topology, traffic};

const SOON: Duration = Duration::from_secs(30);

/// PAINS 16, 17: no spoke needs more than its identity and key at the hub, and those behind one NAT are
/// told apart even where they have one address.
#[test]
fn fifty_spokes_come_up_three_of_them_at_one_private_address() {
    const SPOKES: u32 = 50;
    const BEHIND_NAT: [u32; 3] = [48, 49, 50];
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let hub = Hub::new(&topology);
    let file = hub.write(SPOKES);
    let mut daemon = hub.folder.up(&topology.left, &file);
    daemon.wait_for_line(&format!("{}: waiting for its call", name(SPOKES)), ALL_UP);
    let (waiting_threads, waiting_sockets) = cost(&daemon);
    assert!(waiting_threads < 8, "{waiting_threads} threads for nobody");
    assert!(waiting_sockets < 20, "{waiting_sockets} sockets for nobody");

    let mut spokes: Vec<_> = (1..BEHIND_NAT[0])
        .map(|number| Spoke::on_bridge(&topology, number))
        .collect();
    let homes = Homes::new(&topology, BEHIND_NAT);
    let running: Vec<_> = spokes
        .iter()
        .chain(&homes.spokes)
        .map(Spoke::start)
        .collect();
    lab::eventually("all spokes up", ALL_UP, || {
        (hub.up() == SPOKES as usize).then_some(())
    });

    for number in 1..=SPOKES {
        traffic::ping(&topology.left, &spoke_inner(number), "-c 1").expect(&name(number));
    }
    for spoke in &homes.spokes {
        traffic::ping(&spoke.netns, &hub_inner(spoke.number()), "-c 1").expect("to the hub");
    }
    let peers = hub.peers().unwrap();
    let at_nat = peers.iter().filter(|peer| peer["remote-address"] == NAT);
    let at_nat: BTreeSet<_> = at_nat.map(|peer| peer["name"].as_str().unwrap()).collect();
    let behind: BTreeSet<_> = BEHIND_NAT.map(name).into();
    assert_eq!(at_nat, behind.iter().map(String::as_str).collect());
    let devices: BTreeSet<_> = peers
        .iter()
        .map(|peer| peer["tunnels"][0]["device"].as_str().unwrap())
        .collect();
    assert_eq!(devices.len(), SPOKES as usize);

    // Whoever goes takes along what it cost.
    for process in &running {
        process.signal(Signal::SIGINT);
    }
    lab::eventually("nobody's threads and sockets", ALL_UP, || {
        let (threads, sockets) = cost(&daemon);
        (threads <= waiting_threads && sockets <= waiting_sockets).then_some(())
    });
    assert!(daemon.is_running());
    daemon.signal(Signal::SIGINT);
    assert_eq!(daemon.wait(ALL_UP).code, Some(0));
    spokes.clear();
}

#[test]
fn spokes_are_added_and_taken_down_without_disturbing_others() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let hub = Hub::new(&topology);
    let file = hub.write(2);
    let started = hub.folder.up_in_background(&topology.left, &file);
    assert_eq!(
        started.stdout, "hub: 2 peers wait for their calls\n",
        "{}",
        started.stderr
    );
    let spokes: Vec<_> = (1..=3)
        .map(|number| Spoke::on_bridge(&topology, number))
        .collect();
    let mut running: Vec<_> = spokes.iter().map(Spoke::start).collect();
    lab::eventually("two spokes", SOON, || (hub.up() == 2).then_some(()));
    running[2].wait_for_line("AUTHENTICATION_FAILED", SOON);
    let first = hub.spoke(1)["children"][0].clone();

    // One more in the file, which is handed over again.
    hub.write(3);
    let again = hub.folder.up_in_background(&topology.left, &file);
    assert_eq!(
        again.stdout, "hub: 1 more wait for their calls, 2 are as they were\n",
        "{}",
        again.stderr
    );
    lab::eventually("three spokes", ALL_UP, || (hub.up() == 3).then_some(()));
    assert_eq!(
        hub.spoke(1)["children"][0]["spi-inbound"],
        first["spi-inbound"]
    );

    let rekeyed = hub.run("rekey", &[&name(2)]);
    assert_eq!(rekeyed.code, Some(0), "{}", rekeyed.stderr);
    let down = hub.run("down", &[&name(2)]);
    assert_eq!(
        down.stdout,
        format!("{} is down\n", name(2)),
        "{}",
        down.stderr
    );
    assert_eq!(hub.peers().unwrap().len(), 2);
    traffic::ping(&topology.left, &spoke_inner(1), "-c 1").expect("spoke 1");

    // Taken down, it is served when the file comes again; and the hub's name means all of them.
    hub.folder
        .up_in_background(&topology.left, &file)
        .expect("up");
    lab::eventually("three spokes", ALL_UP, || (hub.up() == 3).then_some(()));
    let down = hub.run("down", &["hub"]);
    assert_eq!(down.code, Some(0), "{}", down.stderr);
    lab::eventually("the daemon's end", SOON, || {
        hub.peers().is_none().then_some(())
    });
}

/// The files in `examples/hub` fit together, but for the hub's address.
#[test]
fn the_example_carries_packets() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let example = |name: &str| {
        let path = format!("{}/examples/hub/{name}", env!("CARGO_MANIFEST_DIR"));
        fs::read_to_string(path)
            .unwrap()
            .replace("198.51.100.1", LEFT)
    };
    let hub = Hub::new(&topology);
    let spoke = Spoke::on_bridge(&topology, 1);
    for (folder, name) in [(&hub.folder, "hub.toml"), (&spoke.folder, "paris.toml")] {
        write_private(folder.path().join(name), &example(name));
        write_private(
            folder.path().join("paris.psk"),
            "the key of paris, which is long",
        );
        write_private(
            folder.path().join("rome.psk"),
            "the key of rome, which is long",
        );
    }
    let file = |folder: &Folder, name| folder.path().join(name);
    let there = hub
        .folder
        .up(&topology.left, &file(&hub.folder, "hub.toml"));
    let here = spoke
        .folder
        .up(&spoke.netns, &file(&spoke.folder, "paris.toml"));
    lab::eventually("paris", SOON, || (hub.up() == 1).then_some(()));
    traffic::ping(&spoke.netns, "10.255.1.0", "-c 2").expect("to the hub");
    traffic::ping(&topology.left, "10.255.1.1", "-c 2").expect("to the spoke");
    drop((there, here));
}

/// RFC 7296 §2.4: the same identity, with the same key, from another address.
#[test]
fn a_spoke_that_comes_back_elsewhere_has_its_tunnel_there() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let hub = Hub::new(&topology);
    let daemon = hub.folder.up(&topology.left, &hub.write(1));
    let spoke = Spoke::on_bridge(&topology, 1);
    let mut running = spoke.start();
    lab::eventually("the spoke", SOON, || (hub.up() == 1).then_some(()));
    let before = hub.spoke(1)["remote-address"].clone();
    running.signal(Signal::SIGKILL);
    lab::eventually("its end", SOON, || (!running.is_running()).then_some(()));

    spoke.netns.ip("address flush dev wire");
    spoke.netns.ip("address add 192.0.2.222/24 dev wire");
    let again = spoke.start();
    lab::eventually("the spoke elsewhere", ALL_UP, || {
        (hub.spoke(1)["remote-address"] == "192.0.2.222").then_some(())
    });
    assert_ne!(before, "192.0.2.222");
    traffic::ping(&topology.left, &spoke_inner(1), "-c 2").expect("to the spoke");
    assert_eq!(hub.spoke(1)["children"].as_array().unwrap().len(), 1);
    drop((daemon, again));
}
