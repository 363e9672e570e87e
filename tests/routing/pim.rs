//! PIM sparse mode (RFC 7761) with IGMP: streams to groups whose members are behind the far router.

use super::{PATIENCE, Scene, Site, between_two_of_ours, with_strongswan};
use crate::lab::eventually;

const DAEMONS: &[&str] = &["staticd", "pimd"];
/// Joined behind Berlin, and behind Paris.
const OF_BERLIN: &str = "239.1.1.1";
const OF_PARIS: &str = "239.1.1.2";

#[test]
fn multicast_between_two_of_ours() {
    between_two_of_ours("pim", carries_streams);
}

#[test]
fn multicast_with_strongswan() {
    with_strongswan("pim", carries_streams);
}

/// PAINS 13.
#[track_caller]
fn carries_streams(scene: &Scene<'_>) {
    let Scene { paris, berlin, .. } = scene;
    let (frr, berlins) = scene.start_frr(DAEMONS);
    for frr in [&frr, &berlins] {
        let neighbor = |neighbors: &str| neighbors.contains(r#""neighbor":"10.255.0."#);
        frr.wait_until("pimd", "ip pim neighbor", neighbor);
    }
    for site in [paris, berlin] {
        site.hears_with_ttl(&[("ip proto 103 and dst 224.0.0.13", 1)]);
    }
    berlin.lan.join(OF_BERLIN);
    paris.lan.join(OF_PARIS);
    streams(paris, OF_BERLIN);
    streams(berlin, OF_PARIS);
}

/// Once the tree has settled, every packet of a stream arrives, once: its receiver answers each.
#[track_caller]
fn streams(source: &Site<'_>, group: &str) {
    // While the rendezvous point is asked, some are lost, and some come both ways.
    eventually(&format!("a settled tree for {group}"), PATIENCE, || {
        is_clean(source, group, 100).then_some(())
    });
    assert!(is_clean(source, group, 300), "a stream to {group}");
}

#[track_caller]
fn is_clean(source: &Site<'_>, group: &str, packets: u32) -> bool {
    // Multicast goes no further than the next router unless asked to.
    let options = format!("-I eth0 -t 8 -i 0.01 -W 5 -c {packets}");
    let told = source.lan.ping(group, &options).stdout;
    println!("{group}: {}", told.lines().nth(3).unwrap_or_default());
    let all = format!("{packets} packets transmitted, {packets} received, 0% packet loss");
    told.contains(&all)
}
