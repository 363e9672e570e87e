//! Each test has a network namespace of its own, with a veth as the underlay.

mod sharing;

use std::num::NonZeroUsize;
use std::path::Path;

use super::*;
use crate::net::netlink::Target;
use crate::net::sandbox;
use crate::net::tun::{Layer, Offloads, Tun};

fn tunnel(addresses: &[&str], routes: &[&str]) -> Tunnel {
    let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Tunnel {
        device: Some("sgre0".to_owned()),
        addresses: parse(addresses),
        peer_address: None,
        routes: parse(routes),
        table: MAIN_TABLE,
        metric: 100,
        gre: secure_gre_gre::Config::default(),
        ttl: secure_gre_gre::ttl::Policy::Fixed(secure_gre_gre::ttl::Policy::DEFAULT),
        df: secure_gre_gre::df::Policy::Set,
        tos: secure_gre_gre::tos::Policy::Inherit,
        mtu: None,
        mss_clamp: true,
        keepalive: None,
        netns: None,
        liveness: None,
        limit: None,
        offload: true,
        workers: NonZeroUsize::MIN,
        queues: NonZeroUsize::MIN,
    }
}

fn usual() -> Tunnel {
    tunnel(&["10.255.0.1/30", "fd00:255::1/64"], &["10.20.0.0/16"])
}

/// A host on which nothing of ours is yet, and its runtime directory.
fn bare() -> (Netlink, tempfile::TempDir) {
    (Netlink::connect().unwrap(), tempfile::tempdir().unwrap())
}

/// What a peer with this tunnel has on the host.
async fn raise(
    netlink: &Netlink,
    folder: &Path,
    tunnel: Tunnel,
    mtu: u16,
) -> Result<(Host, Device, Queues), HostError> {
    let tunnels = [tunnel];
    let mut host =
        Host::raise(netlink, &Records::load(folder).unwrap(), "berlin", &tunnels).await?;
    match host.make_device(&tunnels[0], mtu).await {
        Ok((device, queue)) => Ok((host, device, queue)),
        Err(problem) => {
            host.lower().await.unwrap();
            Err(problem)
        }
    }
}

/// Destinations of our routes: the unreachable ones, and those that lead somewhere.
async fn own_routes(netlink: &Netlink) -> (Vec<String>, Vec<String>) {
    let mut routes = netlink.list_own_routes().await.unwrap();
    routes.sort_by_key(|route| route.destination);
    let (refusing, leading): (Vec<_>, Vec<_>) = routes
        .iter()
        .partition(|route| route.target == Target::Unreachable);
    let names = |routes: Vec<&Route>| routes.iter().map(|r| r.destination.to_string()).collect();
    (names(refusing), names(leading))
}

const GUARDED: [&str; 3] = ["10.20.0.0/16", "10.255.0.0/30", "fd00:255::/64"];

/// The way to `peer`, pinned by what is there at the moment.
async fn pin(
    host: &mut Host,
    peer: IpAddr,
    source: Option<IpAddr>,
    devices: &[&Device],
) -> Result<RouteInfo, HostError> {
    let mut look = host.look();
    let way = host.pin(&mut look, peer, source, Via::default(), devices);
    way.await
}

/// What of the tunnel's had to be put back, or left.
async fn repaired(device: &mut Device, tunnel: &Tunnel, carries: bool) -> Vec<String> {
    let mut repaired = Vec::new();
    let look = Look::at(&Netlink::connect().unwrap());
    let outcome = device.repair(&look, tunnel, carries, &mut repaired).await;
    outcome.unwrap();
    repaired
}

/// What `ip` has to say.
#[track_caller]
fn ip(arguments: &str) -> String {
    let mut ip = std::process::Command::new("ip");
    let outcome = ip.args(arguments.split(' ')).output().unwrap();
    assert!(outcome.status.success(), "ip {arguments}: {outcome:?}");
    String::from_utf8(outcome.stdout).unwrap()
}

#[test]
fn guards_stand_while_the_tunnel_carries_nothing_and_go_with_it() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let raised = raise(&netlink, folder.path(), usual(), 1400).await;
        let (host, mut device, queue) = raised.unwrap();
        assert_eq!(own_routes(&netlink).await.0, GUARDED);
        assert!(own_routes(&netlink).await.1.is_empty());

        device.open().await.unwrap();
        assert_eq!(own_routes(&netlink).await.0, GUARDED);
        assert_eq!(own_routes(&netlink).await.1, ["10.20.0.0/16"]);
        device.close().await.unwrap();
        assert!(own_routes(&netlink).await.1.is_empty());

        drop(queue);
        host.lower().await.unwrap();
        assert!(netlink.list_own_routes().await.unwrap().is_empty());
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "the record is gone too"
        );
    });
}

/// SIGKILL: the queue's end takes the device, nothing takes the guards.
#[test]
fn guards_outlive_a_crash_and_the_next_run_takes_them_over() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let raised = raise(&netlink, folder.path(), usual(), 1400).await;
        let (host, mut device, queue) = raised.unwrap();
        device.open().await.unwrap();
        drop((host, device, queue));
        assert_eq!(own_routes(&netlink).await.0, GUARDED);
        assert!(own_routes(&netlink).await.1.is_empty());

        // The file was edited meanwhile: what only the old one had must not stay for ever.
        let edited = tunnel(&["10.255.0.1/30"], &["10.30.0.0/16"]);
        let raised = raise(&netlink, folder.path(), edited, 1400).await;
        let (host, _, queue) = raised.unwrap();
        assert_eq!(
            own_routes(&netlink).await.0,
            ["10.30.0.0/16", "10.255.0.0/30"]
        );
        drop(queue);
        host.lower().await.unwrap();
        assert!(netlink.list_own_routes().await.unwrap().is_empty());
    });
}

#[test]
fn what_a_killed_daemon_left_can_be_swept() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let raised = raise(&netlink, folder.path(), usual(), 1400).await;
        drop(raised.unwrap());
        let records = Records::load(folder.path()).unwrap();
        assert!(!sweep(&records, "paris").await.unwrap());
        assert_eq!(own_routes(&netlink).await.0, GUARDED);
        assert!(sweep(&records, "berlin").await.unwrap());
        assert!(netlink.list_own_routes().await.unwrap().is_empty());
        assert!(!sweep(&records, "berlin").await.unwrap());
    });
}

#[test]
fn a_damaged_record_is_named_and_nothing_is_touched() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        std::fs::write(folder.path().join("berlin.routes.json"), "no json").unwrap();
        let raised = raise(&netlink, folder.path(), usual(), 1400).await;
        let problem = raised.unwrap_err().to_string();
        assert!(
            problem.contains("berlin.routes.json is damaged"),
            "{problem}"
        );
        assert!(netlink.list_own_routes().await.unwrap().is_empty());
    });
}

/// As the message says: the record goes, and the peer takes its routes over.
#[test]
fn without_its_damaged_record_a_peer_takes_over_what_a_crash_left() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let (_underlay, _) = sandbox::device(&netlink, "wan0", &["192.0.2.1/24"]).await;
        let peer = "192.0.2.2".parse().unwrap();
        let crashed = async || {
            let raised = raise(&netlink, folder.path(), usual(), 1400).await;
            let (mut host, device, queue) = raised.unwrap();
            let pinned = pin(&mut host, peer, None, &[&device]).await;
            pinned.unwrap();
            (host, queue)
        };
        drop(crashed().await);
        std::fs::remove_file(folder.path().join("berlin.routes.json")).unwrap();
        let (host, queue) = crashed().await;
        drop(queue);
        host.lower().await.unwrap();
        assert!(netlink.list_own_routes().await.unwrap().is_empty());
    });
}

#[test]
fn nothing_is_left_where_the_device_cannot_be_made() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let _taken = Tun::create("sgre0", Layer::Ip, NonZeroUsize::MIN, Offloads::None).unwrap();
        let raised = raise(&netlink, folder.path(), usual(), 1400).await;
        assert!(matches!(
            raised,
            Err(HostError::Tun(TunError::NameTaken { .. }))
        ));
        assert!(netlink.list_own_routes().await.unwrap().is_empty());
    });
}

/// DESIGN §1, never recursive.
#[test]
fn outer_packets_are_pinned_and_a_way_through_the_tunnel_is_refused() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let (_underlay, link) = sandbox::device(&netlink, "wan0", &["192.0.2.1/24"]).await;
        let raised = raise(&netlink, folder.path(), usual(), 1400).await;
        let (mut host, device, queue) = raised.unwrap();
        let peer: IpAddr = "192.0.2.2".parse().unwrap();
        let way = pin(&mut host, peer, None, &[&device]).await.unwrap();
        assert_eq!(
            (way.link, way.source.to_string().as_str()),
            (link.index, "192.0.2.1")
        );
        assert_eq!(own_routes(&netlink).await.1, ["192.0.2.2/32"]);
        // Again, as at each attempt: the pinned route is no answer to where the way is.
        pin(&mut host, peer, None, &[&device]).await.unwrap();
        assert_eq!(own_routes(&netlink).await.1, ["192.0.2.2/32"]);

        let behind: IpAddr = "10.255.0.2".parse().unwrap();
        let refused = pin(&mut host, behind, None, &[&device]).await.unwrap_err();
        assert!(matches!(refused, HostError::Recursive { .. }), "{refused}");
        assert!(own_routes(&netlink).await.1.is_empty());
        drop(queue);
        host.lower().await.unwrap();
    });
}

/// A tunnel in a tunnel: the inner one's outer packets leave by the outer one's device.
#[test]
fn what_another_peer_has_pinned_through_a_tunnel_stays_when_that_closes() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let raised = raise(&netlink, folder.path(), usual(), 1400).await;
        let (host, mut device, queue) = raised.unwrap();
        device.open().await.unwrap();
        let records = Records::load(folder.path()).unwrap();
        let inner = Host::raise(&netlink, &records, "paris", &[]).await;
        let mut inner = inner.unwrap();
        for peer in ["10.255.0.2", "fd00:255::2"] {
            let peer = peer.parse().unwrap();
            let way = pin(&mut inner, peer, None, &[]).await.unwrap();
            assert_eq!(way.link_name, "sgre0");
            device.close().await.unwrap();
            let pinned = Prefix::host(peer).to_string();
            assert_eq!(own_routes(&netlink).await.1, [pinned]);
            device.open().await.unwrap();
        }
        inner.lower().await.unwrap();
        drop(queue);
        host.lower().await.unwrap();
    });
}

/// PAINS 17: two peers behind one NAT are at one address.
#[test]
fn a_way_that_two_peers_take_stays_pinned_until_the_last_has_gone() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let (_underlay, _) = sandbox::device(&netlink, "wan0", &["192.0.2.1/24"]).await;
        let records = Records::load(folder.path()).unwrap();
        let host = async |name| {
            let host = Host::raise(&netlink, &records, name, &[]).await;
            host.unwrap()
        };
        let (mut first, mut second) = (host("berlin").await, host("paris").await);
        let peer: IpAddr = "192.0.2.2".parse().unwrap();
        for host in [&mut first, &mut second] {
            pin(host, peer, None, &[]).await.unwrap();
        }
        first.lower().await.unwrap();
        assert_eq!(own_routes(&netlink).await.1, ["192.0.2.2/32"]);
        second.unpin_all().await.unwrap();
        assert!(own_routes(&netlink).await.1.is_empty());
        second.lower().await.unwrap();
    });
}

/// Policy tables: routes and guards where rules look for them, the subnets where the kernel has
/// them, and the peer pinned in both where its address is covered.
#[test]
fn routes_of_another_table_fail_closed_and_never_recursive_there() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let (_underlay, _) = sandbox::device(&netlink, "wan0", &["192.0.2.1/24"]).await;
        let tenant = Tunnel {
            table: 100,
            ..tunnel(&["10.255.0.1/30"], &["0.0.0.0/0"])
        };
        let raised = raise(&netlink, folder.path(), tenant, 1400).await;
        let (mut host, mut device, queue) = raised.unwrap();
        let peer = "192.0.2.2".parse().unwrap();
        pin(&mut host, peer, None, &[&device]).await.unwrap();
        device.open().await.unwrap();
        assert_eq!(
            placed_routes(&netlink).await,
            [
                (100, "0.0.0.0/1", false),
                (100, "0.0.0.0/1", true),
                (100, "128.0.0.0/1", false),
                (100, "128.0.0.0/1", true),
                (100, "192.0.2.2/32", true),
                (254, "10.255.0.0/30", false),
                (254, "192.0.2.2/32", true),
            ]
            .map(|(table, destination, leads)| (table, destination.to_owned(), leads))
        );
        // As a crash leaves it, for the next run to take over.
        drop((host, device, queue));
        let records = Records::load(folder.path()).unwrap();
        assert!(sweep(&records, "berlin").await.unwrap());
        assert!(netlink.list_own_routes().await.unwrap().is_empty());
    });
}

/// Table and destination of our routes, and whether they lead somewhere.
async fn placed_routes(netlink: &Netlink) -> Vec<(u32, String, bool)> {
    let routes = netlink.list_own_routes().await.unwrap();
    let mut placed: Vec<_> = routes
        .iter()
        .map(|route| {
            let leads = route.target != Target::Unreachable;
            (route.table, route.destination.to_string(), leads)
        })
        .collect();
    placed.sort_unstable();
    placed
}

#[test]
fn a_deleted_device_is_made_again() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let raised = raise(&netlink, folder.path(), usual(), 1380).await;
        let (host, mut device, queue) = raised.unwrap();
        device.open().await.unwrap();
        drop(queue);
        assert!(netlink.link_by_name("sgre0").await.is_err());
        device.close().await.unwrap();
        // The path takes less meanwhile.
        device.set_mtu(1300).await.unwrap();

        let queue = device.remake(&usual()).await.unwrap();
        let link = netlink.link_by_name("sgre0").await.unwrap();
        assert_eq!((link.mtu, link.up), (1300, true));
        device.open().await.unwrap();
        assert_eq!(own_routes(&netlink).await.1, ["10.20.0.0/16"]);
        drop(queue);
        host.lower().await.unwrap();
    });
}

#[test]
fn what_others_take_from_the_host_is_put_back() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let raised = raise(&netlink, folder.path(), usual(), 1400).await;
        let (host, mut device, queue) = raised.unwrap();
        device.open().await.unwrap();
        assert!(repaired(&mut device, &usual(), true).await.is_empty());
        let before = own_routes(&netlink).await;

        let link = netlink.link_by_name("sgre0").await.unwrap().index;
        // Takes the routes through the device and its IPv6 addresses along.
        netlink.set_down(link).await.unwrap();
        let guard = Route::unreachable("10.20.0.0/16".parse().unwrap());
        netlink.delete_route(&guard).await.unwrap();
        assert_eq!(
            repaired(&mut device, &usual(), true).await,
            ["the route 10.20.0.0/16"],
            "a device that is down stays so"
        );
        netlink.bring_up(link, 1400).await.unwrap();
        assert_eq!(
            repaired(&mut device, &usual(), true).await,
            ["the address fd00:255::1/64", "the route 10.20.0.0/16"]
        );
        assert_eq!(own_routes(&netlink).await, before);
        drop(queue);
        host.lower().await.unwrap();
    });
}

#[test]
fn a_route_of_others_in_the_place_of_one_keeps_no_other_from_standing() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let (_underlay, link) = sandbox::device(&netlink, "wan0", &["192.0.2.1/24"]).await;
        let several = || tunnel(&["10.255.0.1/30"], &["10.20.0.0/16", "10.30.0.0/16"]);
        let raised = raise(&netlink, folder.path(), several(), 1400).await;
        let (host, mut device, queue) = raised.unwrap();
        let contested: Prefix = "10.20.0.0/16".parse().unwrap();
        let guard = Route::unreachable(contested);
        netlink.delete_route(&guard).await.unwrap();
        for metric in [100, guard.metric] {
            ip(&format!(
                "route add {contested} dev {} metric {metric}",
                link.name
            ));
        }
        let refused = device.open().await.unwrap_err();
        assert!(refused.to_string().contains("10.20.0.0/16"), "{refused}");
        assert_eq!(own_routes(&netlink).await.1, ["10.30.0.0/16"]);
        let other = "10.30.0.0/16".parse().unwrap();
        assert!(!device.leads_to(&contested) && device.leads_to(&other));

        for route in netlink.list_own_routes().await.unwrap() {
            netlink.delete_route(&route).await.unwrap();
        }
        let mut repaired = Vec::new();
        let refused = device
            .repair(&Look::at(&netlink), &several(), true, &mut repaired)
            .await;
        let refused = refused.unwrap_err();
        assert!(refused.to_string().contains("10.20.0.0/16"), "{refused}");
        let anew = ["10.30.0.0/16", "10.255.0.0/30", "10.30.0.0/16"];
        assert_eq!(repaired, anew.map(|to| format!("the route {to}")));
        let uncontested = ["10.30.0.0/16", "10.255.0.0/30"]
            .map(str::to_owned)
            .to_vec();
        let usable = vec![uncontested[0].clone()];
        assert_eq!(own_routes(&netlink).await, (uncontested, usable));

        for metric in [100, guard.metric] {
            ip(&format!(
                "route del {contested} dev {} metric {metric}",
                link.name
            ));
        }
        device
            .repair(&Look::at(&netlink), &several(), true, &mut repaired)
            .await
            .unwrap();
        assert!(device.leads_to(&contested) && device.leads_to(&other));
        assert_eq!(
            own_routes(&netlink).await.1,
            ["10.20.0.0/16", "10.30.0.0/16"]
        );
        drop(queue);
        host.lower().await.unwrap();
    });
}

/// The advice that the message gives is what shows the route, of either family and in any table.
#[test]
fn a_route_of_others_in_our_place_can_be_looked_at_as_the_message_says() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let addresses = ["192.0.2.1/24", "fd00:192::1/64"];
        let (_underlay, _) = sandbox::device(&netlink, "wan0", &addresses).await;
        for table in [MAIN_TABLE, 100] {
            for prefix in ["10.20.0.0/16", "2001:db8:20::/48"] {
                let tunnel = Tunnel {
                    table,
                    ..tunnel(&["10.255.0.1/30"], &[prefix])
                };
                ip(&format!(
                    "route add {prefix} dev wan0 metric 100 table {table}"
                ));
                let raised = raise(&netlink, folder.path(), tunnel, 1400).await;
                let problem = raised.unwrap_err().to_string();
                let advice = problem.split('"').nth(1).unwrap();
                let shown = ip(advice.strip_prefix("ip ").unwrap());
                assert!(shown.contains("dev wan0"), "{problem}: {shown:?}");
            }
        }
    });
}

#[test]
fn a_route_of_others_in_our_place_is_told_before_anything_stands() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let (_underlay, link) = sandbox::device(&netlink, "wan0", &["192.0.2.1/24"]).await;
        ip(&format!(
            "route add 10.20.0.0/16 dev {} metric 100",
            link.name
        ));
        let raised = raise(&netlink, folder.path(), usual(), 1400).await;
        let problem = raised.unwrap_err();
        assert!(
            matches!(
                problem,
                HostError::Netlink(NetlinkError::ForeignRoute { .. })
            ),
            "{problem}"
        );
        assert!(netlink.list_own_routes().await.unwrap().is_empty());
        assert!(netlink.link_by_name("sgre0").await.is_err());
    });
}

#[test]
fn a_subnet_that_another_device_has_is_refused() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let (_other, _) = sandbox::device(&netlink, "lan0", &["10.255.0.2/30"]).await;
        let raised = raise(&netlink, folder.path(), usual(), 1400).await;
        let problem = raised.unwrap_err().to_string();
        assert!(
            problem.contains("10.255.0.0/30 is on the device lan0"),
            "{problem}"
        );
        assert!(netlink.list_own_routes().await.unwrap().is_empty());
        let lone = tunnel(&["10.255.0.1/32"], &[]);
        let raised = raise(&netlink, folder.path(), lone, 1400).await;
        let (host, _, queue) = raised.unwrap();
        drop(queue);
        host.lower().await.unwrap();
    });
}

#[test]
fn an_address_that_is_not_ours_is_told_from_a_missing_route() {
    sandbox::run(async {
        let (netlink, folder) = bare();
        let (_underlay, _) = sandbox::device(&netlink, "wan0", &["192.0.2.1/24"]).await;
        let raised = raise(&netlink, folder.path(), usual(), 1400).await;
        let (mut host, device, queue) = raised.unwrap();
        let [near, far] = ["192.0.2.2", "203.0.113.9"].map(|peer| peer.parse().unwrap());
        let foreign = Some("192.0.2.77".parse().unwrap());
        let problem = pin(&mut host, near, foreign, &[&device])
            .await
            .unwrap_err()
            .to_string();
        assert!(problem.starts_with("peer.local: "), "{problem}");
        let problem = pin(&mut host, far, foreign, &[&device])
            .await
            .unwrap_err()
            .to_string();
        assert!(problem.starts_with("no route to 203.0.113.9"), "{problem}");
        drop(queue);
        host.lower().await.unwrap();
    });
}
