//! A prefix that tunnels of two peers lead to: who carries comes and goes, and it is never open.

use super::*;

/// The device `sgreN` of one of two tunnels to the same network.
fn path(number: u8) -> Tunnel {
    Tunnel {
        device: Some(format!("sgre{number}")),
        ..tunnel(&[&format!("10.255.{number}.1/30")], &["10.20.0.0/16"])
    }
}

/// A [`bare`] host with its records.
fn recorded() -> (Netlink, tempfile::TempDir, Records) {
    let (netlink, folder) = bare();
    let records = Records::load(folder.path()).unwrap();
    (netlink, folder, records)
}

/// A peer that has this tunnel.
async fn served(
    netlink: &Netlink,
    records: &Records,
    name: &str,
    tunnel: &Tunnel,
) -> (Host, Device, Queues) {
    let tunnels = std::slice::from_ref(tunnel);
    let host = Host::raise(netlink, records, name, tunnels).await;
    let mut host = host.unwrap();
    let (device, queues) = host.make_device(tunnel, 1400).await.unwrap();
    (host, device, queues)
}

/// Two peers whose tunnels share the prefix, and carry both.
async fn both_open(netlink: &Netlink, records: &Records) -> [(Host, Device, Queues); 2] {
    let mut north = served(netlink, records, "north", &path(0)).await;
    let mut south = served(netlink, records, "south", &path(1)).await;
    for (_, device, _) in [&mut north, &mut south] {
        device.open().await.unwrap();
    }
    [north, south]
}

/// The devices that lead to the prefix, each with its metric; and whether it is guarded.
async fn paths(netlink: &Netlink) -> (Vec<(u32, String)>, bool) {
    let own = netlink.list_own_routes().await.unwrap();
    let own = own
        .iter()
        .filter(|own| own.destination.to_string() == "10.20.0.0/16");
    let mut paths = Vec::new();
    let mut guards = 0;
    for route in own {
        guards += usize::from(route.target == Target::Unreachable);
        for hop in route.hops() {
            let link = netlink.link_by_index(hop.link).await.unwrap();
            paths.push((route.metric, link.name));
        }
    }
    assert!(guards <= 1, "{guards} guards");
    (paths, guards == 1)
}

fn named(paths: &[(u32, &str)]) -> Vec<(u32, String)> {
    let owned = |(metric, device): &(u32, &str)| (*metric, (*device).to_owned());
    paths.iter().map(owned).collect()
}

#[test]
fn next_hops_follow_their_tunnels_and_the_guard_goes_with_the_last() {
    sandbox::run(async {
        let (netlink, folder, records) = recorded();
        let (host, mut north, queue) = served(&netlink, &records, "north", &path(0)).await;
        north.open().await.unwrap();
        let (other_host, mut south, other_queue) =
            served(&netlink, &records, "south", &path(1)).await;
        assert_eq!(paths(&netlink).await, (named(&[(100, "sgre0")]), true));
        south.open().await.unwrap();
        let both = named(&[(100, "sgre0"), (100, "sgre1")]);
        assert_eq!(paths(&netlink).await, (both, true));

        north.close().await.unwrap();
        assert_eq!(paths(&netlink).await, (named(&[(100, "sgre1")]), true));
        drop(queue);
        host.lower().await.unwrap();
        assert_eq!(paths(&netlink).await, (named(&[(100, "sgre1")]), true));
        south.close().await.unwrap();
        assert_eq!(paths(&netlink).await, (vec![], true));
        drop(other_queue);
        other_host.lower().await.unwrap();
        assert!(netlink.list_own_routes().await.unwrap().is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    });
}

/// Raising the better path does not take packets from the one that carries.
#[test]
fn the_better_metric_carries_when_its_tunnel_does() {
    sandbox::run(async {
        let (netlink, _folder, records) = recorded();
        let backup = Tunnel {
            metric: 200,
            ..path(1)
        };
        let (_host, mut device, _queue) = served(&netlink, &records, "south", &backup).await;
        device.open().await.unwrap();
        let (_other_host, mut better, _other_queue) =
            served(&netlink, &records, "north", &path(0)).await;
        assert_eq!(paths(&netlink).await, (named(&[(200, "sgre1")]), true));
        better.open().await.unwrap();
        let both = named(&[(100, "sgre0"), (200, "sgre1")]);
        assert_eq!(paths(&netlink).await, (both, true));
    });
}

/// IPv4's route goes with any of its devices.
#[test]
fn what_went_with_a_deleted_device_is_put_back_for_the_other() {
    sandbox::run(async {
        let (netlink, _folder, records) = recorded();
        let [(_host, _, queue), (_other, mut south, _kept)] = both_open(&netlink, &records).await;
        drop(queue);
        assert_eq!(paths(&netlink).await, (vec![], true));
        let back = repaired(&mut south, &path(1), true).await;
        assert_eq!(back, ["the route 10.20.0.0/16"]);
        assert_eq!(paths(&netlink).await, (named(&[(100, "sgre1")]), true));
        assert!(repaired(&mut south, &path(1), true).await.is_empty());
    });
}

/// It may be meant: the routes are the other's until it is up again.
#[test]
fn a_device_that_somebody_sets_down_carries_nothing() {
    sandbox::run(async {
        let (netlink, _folder, records) = recorded();
        let [(_host, north, _queue), (_other, mut south, _kept)] =
            both_open(&netlink, &records).await;
        let link = netlink.link_by_name("sgre1").await.unwrap().index;
        netlink.set_down(link).await.unwrap();
        repaired(&mut south, &path(1), true).await;
        let prefix = "10.20.0.0/16".parse().unwrap();
        assert!(north.leads_to(&prefix) && !south.leads_to(&prefix));
        assert_eq!(paths(&netlink).await, (named(&[(100, "sgre0")]), true));
        netlink.bring_up(link, 1400).await.unwrap();
        repaired(&mut south, &path(1), true).await;
        assert!(south.leads_to(&prefix));
        let both = named(&[(100, "sgre0"), (100, "sgre1")]);
        assert_eq!(paths(&netlink).await, (both, true));
    });
}

/// Such as one that it was not let out of when it stopped carrying.
#[test]
fn a_route_into_a_tunnel_that_carries_nothing_is_left_again() {
    sandbox::run(async {
        let (netlink, _folder, records) = recorded();
        let [(_host, _, _queue), (_other, mut south, _kept)] = both_open(&netlink, &records).await;
        repaired(&mut south, &path(1), false).await;
        assert_eq!(paths(&netlink).await, (named(&[(100, "sgre0")]), true));
    });
}

/// Both records name the guard; it stays until both are swept.
#[test]
fn after_a_crash_a_shared_guard_goes_with_the_last_record() {
    sandbox::run(async {
        let (netlink, folder, records) = recorded();
        let both = [
            served(&netlink, &records, "north", &path(0)).await,
            served(&netlink, &records, "south", &path(1)).await,
        ];
        drop(both);
        // Another process comes after the one that was killed, and serves one of them alone.
        let records = Records::load(folder.path()).unwrap();
        let (host, mut device, queue) = served(&netlink, &records, "north", &path(0)).await;
        device.open().await.unwrap();
        assert_eq!(paths(&netlink).await, (named(&[(100, "sgre0")]), true));
        drop(queue);
        host.lower().await.unwrap();
        assert_eq!(paths(&netlink).await, (vec![], true));
        assert!(sweep(&records, "south").await.unwrap());
        assert!(netlink.list_own_routes().await.unwrap().is_empty());
    });
}

/// One damaged record is its peer's affair.
#[test]
fn a_damaged_record_keeps_no_other_peer_down() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        std::fs::write(folder.path().join("south.routes.json"), "{").unwrap();
        let records = Records::load(folder.path()).unwrap();
        let (host, _, queue) = served(&netlink, &records, "north", &path(0)).await;
        let refused = Host::raise(&netlink, &records, "south", &[path(1)]).await;
        assert!(matches!(refused, Err(HostError::Journal(_))), "{refused:?}");
        drop(queue);
        host.lower().await.unwrap();
    });
}

/// The same prefix in another table, or in another namespace, is another one.
#[test]
fn what_two_tunnels_cannot_share_are_subnets() {
    let contested = |a: &Tunnel, b: &Tunnel| a.contested(b).map(|prefix| prefix.to_string());
    let (north, south) = (path(0), path(1));
    assert_eq!(contested(&north, &south), None);
    assert_eq!(
        contested(&north, &path(0)).as_deref(),
        Some("10.255.0.0/30")
    );
    let into_a_subnet = tunnel(&["10.255.2.1/30"], &["10.255.0.0/30"]);
    for pair in [(&north, &into_a_subnet), (&into_a_subnet, &north)] {
        assert_eq!(contested(pair.0, pair.1).as_deref(), Some("10.255.0.0/30"));
    }
    let of_another_table = Tunnel {
        table: 100,
        ..into_a_subnet
    };
    let of_a_tenant = Tunnel {
        netns: Some("blue".to_owned()),
        ..path(0)
    };
    for apart in [of_another_table, of_a_tenant] {
        assert_eq!(contested(&north, &apart), None);
    }
    let shared = shared_guard(&north, &south).map(|prefix| prefix.to_string());
    assert_eq!(
        shared.as_deref(),
        Some("10.20.0.0/16"),
        "as spokes must not"
    );
}
