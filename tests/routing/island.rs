//! IPv6 inside alone, IPv4 outside alone: OSPFv3 between two islands.

use super::{HOSTS_V6, Scene, between_two_of_ours};

#[test]
fn ipv6_islands_are_connected() {
    between_two_of_ours("ipv6-island", connects_islands);
}

#[track_caller]
fn connects_islands(scene: &Scene<'_>) {
    let (frr, _berlins) = scene.start_frr(&["ospf6d"]);
    let full = |neighbors: &str| neighbors.contains("Full");
    frr.wait_until("ospf6d", "ipv6 ospf6 neighbor", full);
    scene.took("OSPFv3 Full", frr.age());
    let route = "-6 route show 2001:db8:20:1::/64 proto ospf";
    scene.paris.wait_for_route(route, true);
    let route = "-6 route show 2001:db8:10:1::/64 proto ospf";
    scene.berlin.wait_for_route(route, true);
    scene.hosts_reach_each_other(&[HOSTS_V6]);
}
