//! What a tunnel must survive: a terminal that is gone, and others who change the host.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::{self, Peer, Product, Topology, product, topology, traffic};

const FAR_END: &str = "10.255.0.2";

/// A message that finds no reader must end nothing, nor keep the host from being restored.
#[test]
fn a_terminal_that_is_closed_ends_up_in_order() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let before = topology.left.ip("route show table all");
    let (folder, mut command) =
        Product::prepare(&topology.left, &Peer::default().render(), "lab.psk");
    let (reader, writer) = std::io::pipe().unwrap();
    command.stderr(writer);
    let mut up = command.spawn().unwrap();
    drop(command);
    drop(reader);
    lab::eventually("guards", Duration::from_secs(5), || {
        let routes = topology.left.ip("route show");
        routes.contains("unreachable").then_some(())
    });
    assert_eq!(up.try_wait().unwrap(), None);
    let pid = nix::unistd::Pid::from_raw(up.id().try_into().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGHUP).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(0));
    assert_eq!(topology.left.ip("route show table all"), before);
    drop(folder);
}

#[test]
fn a_device_that_is_deleted_comes_back_with_its_routes() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let mut there = Product::start(&right, &Peer::right().responder());
    there.wait_for_line("waiting for", Duration::from_secs(5));
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_until_established();
    topology.left.ip(&format!("link del {}", product::DEVICE));
    here.wait_for_line("is there again", Duration::from_secs(5));
    let route = format!("{} dev {}", product::ROUTE, product::DEVICE);
    lab::eventually("the route into the device", Duration::from_secs(5), || {
        topology
            .left
            .ip("route show")
            .contains(&route)
            .then_some(())
    });
    traffic::ping(&topology.left, FAR_END, "-c 1").expect("ping");
}

#[test]
fn what_a_killed_daemon_left_is_removed_by_down() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let before = topology.left.ip("route show table all");
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_for_state("connecting", Duration::from_secs(5));
    here.crash();
    assert_ne!(topology.left.ip("route show table all"), before);

    let said = here.command("down", &[]).expect("down");
    assert!(
        said.contains("the routes that it left are removed"),
        "{said}"
    );
    assert_eq!(topology.left.ip("route show table all"), before);
    assert_eq!(here.command("down", &[]).code, Some(4));
}

/// What the host had for the very prefix, in main and in a policy table with its rule, is there after an
/// exit, after a crash, and in between.
#[test]
fn routes_that_the_host_had_for_the_prefix_outlive_exit_and_crash() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    topology.add_default_routes();
    let right = topology.add_right();
    let there = Product::start(&right, &Peer::right().responder());
    let left = &topology.left;
    let prefix = product::ROUTE;
    let (better, worse) = (
        format!("blackhole {prefix} metric 50"),
        format!("{prefix} via {} metric 4294967294", topology::ROUTER),
    );
    for route in [&better, &worse, &format!("{worse} table 100")] {
        left.ip(&format!("route add {route}"));
    }
    left.ip("rule add from 10.9.9.9 table 100");
    let everything = || [left.ip("route show table all"), left.ip("rule show")];
    let before = everything();
    let mut here = Product::start(left, &Peer::default());
    here.wait_until_established();
    let meanwhile = || {
        let routes = left.ip(&format!("route show {prefix}"));
        assert!(routes.contains("metric 50"), "{routes}");
        assert!(routes.contains("metric 4294967294"), "{routes}");
        assert!(routes.contains("unreachable"), "{routes}");
        let policy = left.ip("route show table 100");
        assert!(policy.contains(prefix), "{policy}");
    };
    meanwhile();
    here.crash();
    meanwhile();
    here.restart();
    here.wait_until_established();
    assert_eq!(here.interrupt().code, Some(0));
    assert_eq!(everything(), before);

    let mut here = Product::start(left, &Peer::default());
    here.wait_until_established();
    here.crash();
    here.command("down", &[]).expect("down");
    assert_eq!(everything(), before);
    drop(there);
}
