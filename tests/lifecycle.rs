//! However `up` ends, the host is what it was.

use std::time::Duration;

use crate::lab::{self, Netns, Peer, Product, Topology, product, traffic};

/// Links, addresses, routes and rules of a namespace, without what changes by itself.
fn host(netns: &Netns) -> String {
    let views = [
        "-o link show",
        "-o address show",
        "route show table all",
        "-6 route show table all",
        "rule show",
        "-6 rule show",
    ];
    let mut lines: Vec<_> = views
        .iter()
        .flat_map(|view| {
            netns
                .ip(view)
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn ctrl_c_before_any_sa_restores_the_host() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    topology.add_default_routes();
    let before = host(&topology.left);
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_for_state("connecting", Duration::from_secs(10));
    assert_ne!(host(&topology.left), before);
    let routes = topology.left.ip("route show");
    assert!(
        routes.contains(&format!("unreachable {}", product::ROUTE)),
        "{routes}"
    );

    assert_eq!(here.interrupt().code, Some(0));
    assert_eq!(host(&topology.left), before);
}

#[test]
fn ctrl_c_deletes_the_sas_and_restores_the_host() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    topology.add_default_routes();
    let right = topology.add_right();
    let before = host(&topology.left);
    let mut there = Product::start(&right, &Peer::right().responder());
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_until_established();
    there.wait_until_established();
    let routes = topology.left.ip("route show");
    assert!(
        routes.contains(&format!("{} dev {}", product::ROUTE, product::DEVICE)),
        "{routes}"
    );

    assert_eq!(here.interrupt().code, Some(0));
    assert_eq!(host(&topology.left), before);
    there.wait_for_state("idle", Duration::from_secs(10));
}

#[test]
fn down_ends_up() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let before = host(&topology.left);
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_for_state("connecting", Duration::from_secs(10));
    here.command("down", &[]).expect("down");
    assert_eq!(here.wait().code, Some(0));
    assert_eq!(host(&topology.left), before);
}

#[test]
fn up_after_a_crash_works_and_restores_the_host() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let before = host(&topology.left);
    let mut there = Product::start(&right, &Peer::right().responder());
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_until_established();
    here.kill();

    let mut again = Product::start(&topology.left, &Peer::default());
    again.wait_until_established();
    there.wait_until_established();
    traffic::ping(&topology.left, "10.255.0.2", "-c 3").expect("ping");
    assert_eq!(again.interrupt().code, Some(0));
    assert_eq!(host(&topology.left), before);
}
