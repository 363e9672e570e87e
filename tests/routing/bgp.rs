//! BGP over IPv4 and over IPv6, with GTSM (RFC 5082), watched by BFD.

use std::time::Instant;

use super::{BFD_UP, HOSTS_V4, HOSTS_V6, Scene, between_two_of_ours, count, with_strongswan};

const DAEMONS: &[&str] = &["bfdd", "bgpd"];
const ESTABLISHED: &str = r#""state":"Established""#;
const ROUTE_V4: &str = "route show 10.20.1.0/24 proto bgp";
const ROUTE_V6: &str = "-6 route show 2001:db8:20:1::/64 proto bgp";

#[test]
fn bgp_between_two_of_ours() {
    between_two_of_ours("bgp", carries_bgp);
}

#[test]
fn bgp_with_strongswan() {
    with_strongswan("bgp", carries_bgp);
}

#[track_caller]
fn carries_bgp(scene: &Scene<'_>) {
    let Scene { paris, berlin, .. } = scene;
    let (frr, _berlins) = scene.start_frr(DAEMONS);
    let established = |summary: &str| summary.contains(ESTABLISHED);
    frr.wait_until("bgpd", "bgp ipv4 unicast summary", established);
    scene.took("BGP over IPv4 Established", frr.age());
    frr.wait_until("bgpd", "bgp ipv6 unicast summary", established);
    scene.took("BGP over IPv6 Established", frr.age());
    frr.wait_until("bfdd", "bfd peers", |peers| count(peers, BFD_UP) == 2);
    scene.took("BFD Up", frr.age());
    paris.wait_for_route(ROUTE_V4, true);
    paris.wait_for_route(ROUTE_V6, true);
    scene.took("routes in the kernel", frr.age());
    berlin.wait_for_route("route show 10.10.1.0/24 proto bgp", true);
    berlin.wait_for_route("-6 route show 2001:db8:10:1::/64 proto bgp", true);
    scene.hosts_reach_each_other(&[HOSTS_V4, HOSTS_V6]);
    for site in [paris, berlin] {
        // Messages: the kernel's own words, such as RST, have its TTL.
        site.hears_with_ttl(&[
            ("ip and tcp port 179 and tcp[13] & 8 != 0", 255),
            ("ip6 and tcp port 179 and ip6[53] & 8 != 0", 255),
        ]);
    }

    let begin = Instant::now();
    scene.fall_silent(&frr);
    paris.wait_for_route(ROUTE_V4, false);
    paris.wait_for_route(ROUTE_V6, false);
    scene.took("routes gone", begin.elapsed());
    let begin = Instant::now();
    scene.far.speak_again();
    paris.wait_for_route(ROUTE_V4, true);
    paris.wait_for_route(ROUTE_V6, true);
    scene.took("routes back", begin.elapsed());
}
