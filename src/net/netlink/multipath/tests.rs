use std::collections::BTreeSet;

use crate::net::netlink::{Link, Netlink, NetlinkError, Route};
use crate::net::outer::Via;
use crate::net::prefix::Prefix;
use crate::net::sandbox;
use crate::net::tun::Queue;

/// Of either family, with the beginning of a host's address in it.
const PREFIXES: [(&str, &str); 2] = [
    ("10.20.0.0/16", "10.20.7."),
    ("2001:db8:20::/48", "2001:db8:20::"),
];

/// Two tunnels between the same hosts.
struct Tunnels {
    netlink: Netlink,
    links: [Link; 2],
    queues: [Queue; 2],
}

async fn tunnels() -> Tunnels {
    let netlink = Netlink::connect().unwrap();
    let north = ["10.255.0.1/30", "fd00:255::1/64"];
    let south = ["10.255.1.1/30", "fd00:255:1::1/64"];
    let (queue, north) = sandbox::device(&netlink, "sgre0", &north).await;
    let (other, south) = sandbox::device(&netlink, "sgre1", &south).await;
    Tunnels {
        netlink,
        links: [north, south],
        queues: [queue, other],
    }
}

/// The same, both joined.
async fn sharing() -> Tunnels {
    let tunnels = tunnels().await;
    tunnels.join(0).await;
    tunnels.join(1).await;
    tunnels
}

impl Tunnels {
    fn route(&self, tunnel: usize, destination: &str) -> Route {
        let destination: Prefix = destination.parse().unwrap();
        Route::through(destination, self.links[tunnel].index, 100)
    }

    async fn join(&self, tunnel: usize) {
        for (destination, _) in PREFIXES {
            let route = self.route(tunnel, destination);
            self.netlink.join_route(&route).await.unwrap();
        }
    }

    async fn leave(&self, tunnel: usize) {
        let route = |(destination, _)| self.route(tunnel, destination);
        let routes = PREFIXES.map(route);
        self.netlink.leave_routes(&routes).await.unwrap();
    }

    /// Asserts by which tunnels our routes lead, and that the kernel takes just these.
    #[track_caller]
    fn assert_lead_by(&self, expected: &[usize]) -> impl Future<Output = ()> {
        let expected: BTreeSet<_> = expected
            .iter()
            .map(|place| self.links[*place].index)
            .collect();
        async move {
            for (destination, host) in PREFIXES {
                let own = self.netlink.list_own_routes().await.unwrap();
                let own = own
                    .iter()
                    .filter(|own| own.destination.to_string() == destination);
                let hops: BTreeSet<_> = own.flat_map(Route::hops).map(|hop| hop.link).collect();
                assert_eq!(hops, expected, "next hops to {destination}");
                let mut taken = BTreeSet::new();
                for number in 1..64 {
                    let host = format!("{host}{number}").parse().unwrap();
                    let way = self.netlink.route_to(host, None, Via::default()).await;
                    taken.extend(way.ok().map(|way| way.link));
                }
                assert_eq!(taken, expected, "devices to {destination}");
            }
        }
    }
}

#[test]
fn tunnels_share_a_route_while_each_carries() {
    sandbox::run(async {
        let tunnels = tunnels().await;
        tunnels.join(0).await;
        tunnels.assert_lead_by(&[0]).await;
        tunnels.join(1).await;
        tunnels.assert_lead_by(&[0, 1]).await;
        tunnels.join(1).await;
        tunnels.assert_lead_by(&[0, 1]).await;
        tunnels.leave(0).await;
        tunnels.assert_lead_by(&[1]).await;
        tunnels.join(0).await;
        tunnels.assert_lead_by(&[0, 1]).await;
        tunnels.leave(0).await;
        tunnels.leave(1).await;
        tunnels.assert_lead_by(&[]).await;
        tunnels.leave(1).await;
    });
}

#[test]
fn metrics_are_routes_of_their_own() {
    sandbox::run(async {
        let tunnels = tunnels().await;
        tunnels.join(0).await;
        for (destination, host) in PREFIXES {
            let backup = Route {
                metric: 200,
                ..tunnels.route(1, destination)
            };
            tunnels.netlink.join_route(&backup).await.unwrap();
            let host = format!("{host}1").parse().unwrap();
            let way = async || {
                let way = tunnels.netlink.route_to(host, None, Via::default());
                way.await.unwrap().link
            };
            assert_eq!(way().await, tunnels.links[0].index);
            tunnels.leave(0).await;
            assert_eq!(way().await, tunnels.links[1].index);
            tunnels.join(0).await;
        }
    });
}

/// IPv4's route goes with any of its devices, IPv6's with the last.
#[test]
fn a_route_that_went_with_one_device_is_joined_again() {
    sandbox::run(async {
        let tunnels = sharing().await;
        let Tunnels {
            netlink,
            links,
            queues: [ended, _kept],
        } = tunnels;
        drop(ended);
        netlink.link_by_index(links[0].index).await.unwrap_err();
        let [gone, other] = links.map(|link| {
            PREFIXES.map(|(to, _)| Route::through(to.parse().unwrap(), link.index, 100))
        });
        for route in &other {
            netlink.join_route(route).await.unwrap();
        }
        let own = netlink.list_own_routes().await.unwrap();
        let hops: Vec<_> = own.iter().map(|own| own.hops().to_vec()).collect();
        assert_eq!(hops, other.each_ref().map(Route::hops));
        netlink.leave_routes(&gone).await.unwrap();
        assert_eq!(netlink.list_own_routes().await.unwrap(), own);
    });
}

#[test]
fn a_device_that_is_down_does_not_keep_others_from_sharing() {
    sandbox::run(async {
        let tunnels = sharing().await;
        let [north, _] = &tunnels.links;
        tunnels.netlink.set_down(north.index).await.unwrap();
        tunnels.join(1).await;
        tunnels.assert_lead_by(&[1]).await;
        tunnels.netlink.bring_up(north.index, 1400).await.unwrap();
        tunnels.join(0).await;
        tunnels.assert_lead_by(&[0, 1]).await;
    });
}

/// The kernel brings a dead next hop back to life with its device.
#[test]
fn a_tunnel_that_leaves_while_its_device_is_down_stays_out_when_it_is_up() {
    sandbox::run(async {
        let tunnels = sharing().await;
        let [north, _] = &tunnels.links;
        tunnels.netlink.set_down(north.index).await.unwrap();
        tunnels.leave(0).await;
        tunnels.assert_lead_by(&[1]).await;
        tunnels.netlink.bring_up(north.index, 1400).await.unwrap();
        tunnels.assert_lead_by(&[1]).await;
        tunnels.join(0).await;
        tunnels.assert_lead_by(&[0, 1]).await;
    });
}

/// Somebody else's route in the very place is neither changed nor deleted.
#[test]
fn nobody_elses_route_is_shared() {
    sandbox::run(async {
        let tunnels = tunnels().await;
        for (destination, _) in PREFIXES {
            let theirs = format!("route add {destination} dev sgre1 metric 100");
            let added = std::process::Command::new("ip")
                .args(theirs.split(' '))
                .status();
            assert!(added.unwrap().success());
            let refused = tunnels
                .netlink
                .join_route(&tunnels.route(0, destination))
                .await;
            assert!(
                matches!(refused, Err(NetlinkError::ForeignRoute { .. })),
                "{refused:?}"
            );
            tunnels.leave(1).await;
            let host = destination.parse::<Prefix>().unwrap().addr();
            let way = tunnels.netlink.route_to(host, None, Via::default()).await;
            assert_eq!(way.unwrap().link, tunnels.links[1].index);
        }
    });
}
