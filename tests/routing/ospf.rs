//! OSPFv2 (RFC 2328) and OSPFv3 (RFC 5340), watched by BFD.

use std::time::Instant;

use super::{BFD_UP, HOSTS_V4, HOSTS_V6, Scene, between_two_of_ours, count, with_strongswan};
use crate::lab::Frr;

const DAEMONS: &[&str] = &["bfdd", "ospfd", "ospf6d"];
const ROUTE_V4: &str = "route show 10.20.1.0/24 proto ospf";
const ROUTE_V6: &str = "-6 route show 2001:db8:20:1::/64 proto ospf";

#[test]
fn ospf_between_two_of_ours() {
    between_two_of_ours("ospf", carries_ospf);
}

#[test]
fn ospf_with_strongswan() {
    with_strongswan("ospf", carries_ospf);
}

/// PAINS 12 (the devices' MTUs are alike), 13.
#[track_caller]
fn carries_ospf(scene: &Scene<'_>) {
    let Scene { paris, berlin, .. } = scene;
    let (frr, _berlins) = scene.start_frr(DAEMONS);
    wait_for_full(&frr);
    scene.took("OSPFv2 and OSPFv3 Full", frr.age());
    frr.wait_until("bfdd", "bfd peers", |peers| count(peers, BFD_UP) == 2);
    scene.took("BFD Up", frr.age());
    paris.wait_for_route(ROUTE_V4, true);
    paris.wait_for_route(ROUTE_V6, true);
    scene.took("routes in the kernel", frr.age());
    scene.hosts_reach_each_other(&[HOSTS_V4, HOSTS_V6]);

    for site in [paris, berlin] {
        site.hears_with_ttl(&[
            ("ip proto 89", 1),
            ("ip6 proto 89 and dst net ff00::/8", 1),
            ("ip and udp dst port 3784", 255),
            ("ip6 and udp dst port 3784", 255),
        ]);
    }

    scene.fall_silent(&frr);
    paris.wait_for_route(ROUTE_V4, false);
    paris.wait_for_route(ROUTE_V6, false);
    let begin = Instant::now();
    scene.far.speak_again();
    wait_for_full(&frr);
    scene.took("all Full again", begin.elapsed());
    paris.wait_for_route(ROUTE_V4, true);
    paris.wait_for_route(ROUTE_V6, true);
    scene.hosts_reach_each_other(&[HOSTS_V4, HOSTS_V6]);
}

#[track_caller]
fn wait_for_full(frr: &Frr<'_>) {
    let full = |neighbors: &str| neighbors.contains("Full");
    frr.wait_until("ospfd", "ip ospf neighbor", full);
    frr.wait_until("ospf6d", "ipv6 ospf6 neighbor", full);
}
