mod look;

use std::net::UdpSocket;
use std::time::Duration;

use netlink_packet_route::route::{RouteMessage, RouteProtocol};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::*;
use crate::net::outer::Via;
use crate::net::sandbox;
use crate::net::tun::{Offload, Queue};

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A host with an outer link to the default gateway and a tunnel device.
struct Host {
    netlink: Netlink,
    outer: Link,
    tunnel: Link,
    outer_queue: Queue,
    tunnel_queue: Queue,
}

async fn host() -> Host {
    let netlink = Netlink::connect().unwrap();
    let (outer_queue, outer) =
        sandbox::device(&netlink, "outer", &["192.0.2.1/24", "2001:db8::1/64"]).await;
    let (tunnel_queue, tunnel) =
        sandbox::device(&netlink, "sgre0", &["10.255.0.1/30", "fd00:255::1/64"]).await;
    for (destination, gateway) in [("0.0.0.0/0", "192.0.2.254"), ("::/0", "2001:db8::fe")] {
        let hop = NextHop {
            link: outer.index,
            gateway: Some(ip(gateway)),
        };
        let target = Target::Links {
            hops: vec![hop],
            source: None,
        };
        let route = Route {
            target,
            ..Route::through(prefix(destination), outer.index, 50)
        };
        add_foreign(&netlink, &route).await;
    }
    Host {
        netlink,
        outer,
        tunnel,
        outer_queue,
        tunnel_queue,
    }
}

/// As an administrator would.
async fn add_foreign(netlink: &Netlink, route: &Route) {
    let mut message: RouteMessage = route.message();
    message.header.protocol = RouteProtocol::Static;
    netlink.handle.route().add(message).execute().await.unwrap();
}

async fn delete_foreign(netlink: &Netlink, route: &Route) {
    let mut message: RouteMessage = route.message();
    message.header.protocol = RouteProtocol::Static;
    netlink.handle.route().del(message).execute().await.unwrap();
}

impl Host {
    async fn way(&self, destination: &str) -> Result<u32, NetlinkError> {
        self.netlink
            .route_to(ip(destination), None, Via::default())
            .await
            .map(|way| way.link)
    }

    async fn assert_refused(&self, destination: &str) {
        let way = self.way(destination).await;
        assert!(
            matches!(way, Err(NetlinkError::NoRoute { .. })),
            "{destination}: {way:?}"
        );
    }
}

#[test]
fn links_are_found_and_changed() {
    sandbox::run(async {
        let Host {
            netlink, tunnel, ..
        } = &host().await;
        assert_eq!(
            (tunnel.name.as_str(), tunnel.mtu, tunnel.up),
            ("sgre0", 1400, true)
        );
        netlink.set_mtu(tunnel.index, 1380).await.unwrap();
        let found = netlink.link_by_name("sgre0").await.unwrap();
        assert_eq!(
            found,
            Link {
                mtu: 1380,
                ..tunnel.clone()
            }
        );
        netlink.set_down(tunnel.index).await.unwrap();
        assert!(!netlink.link_by_index(tunnel.index).await.unwrap().up);

        let missing = netlink.link_by_name("sgre9").await.unwrap_err();
        assert_eq!(missing.to_string(), "there is no network device sgre9");
        assert!(netlink.link_by_index(999).await.is_err());
        netlink.set_down(999).await.unwrap();
    });
}

#[test]
fn a_device_that_is_deleted_ends_its_queues() {
    sandbox::run(async {
        let Host {
            netlink,
            tunnel,
            tunnel_queue,
            ..
        } = &host().await;
        netlink
            .handle
            .link()
            .del(tunnel.index)
            .execute()
            .await
            .unwrap();
        tunnel_queue.read(&mut [0; 1400]).unwrap_err();
        tunnel_queue
            .write(&[0x45; 40], Offload::default())
            .unwrap_err();
    });
}

/// What routing protocols over the tunnel need: OSPFv3 speaks from link-local addresses.
#[test]
fn a_device_has_multicast_and_a_link_local_address() {
    sandbox::run(async {
        let _host = host().await;
        let addresses = getifaddrs()
            .unwrap()
            .filter(|entry| entry.interface_name == "sgre0");
        let mut link_local = false;
        for entry in addresses {
            assert!(entry.flags.contains(InterfaceFlags::IFF_MULTICAST));
            let v6 = entry
                .address
                .as_ref()
                .and_then(|address| address.as_sockaddr_in6());
            link_local |= v6.is_some_and(|address| address.ip().is_unicast_link_local());
        }
        assert!(link_local);
    });
}

#[test]
fn addresses_are_usable_at_once_and_repeatable() {
    sandbox::run(async {
        let Host {
            netlink, tunnel, ..
        } = &host().await;
        for address in ["10.9.0.1/24", "fd00:9::1/64"] {
            let bind = || UdpSocket::bind((prefix(address).addr(), 0));
            netlink
                .add_address(tunnel.index, prefix(address))
                .await
                .unwrap();
            netlink
                .add_address(tunnel.index, prefix(address))
                .await
                .unwrap();
            bind().unwrap();
            netlink
                .remove_address(tunnel.index, prefix(address))
                .await
                .unwrap();
            bind().unwrap_err();
            netlink
                .remove_address(tunnel.index, prefix(address))
                .await
                .unwrap();
            netlink.remove_address(999, prefix(address)).await.unwrap();
        }
    });
}

#[test]
fn an_ipv6_address_where_ipv6_is_off_says_so() {
    sandbox::run(async {
        let Host {
            netlink, tunnel, ..
        } = &host().await;
        std::fs::write("/proc/sys/net/ipv6/conf/sgre0/disable_ipv6", "1").unwrap();
        let error = netlink
            .add_address(tunnel.index, prefix("fd00:9::1/64"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, NetlinkError::Ipv6Disabled { .. }),
            "{error}"
        );
    });
}

#[test]
fn without_privilege_the_error_says_what_to_do() {
    sandbox::run(async {
        let Host {
            netlink, tunnel, ..
        } = &host().await;
        caps::drop(
            None,
            caps::CapSet::Effective,
            caps::Capability::CAP_NET_ADMIN,
        )
        .unwrap();
        let error = netlink.set_mtu(tunnel.index, 1300).await.unwrap_err();
        assert!(
            matches!(error, NetlinkError::NotPermitted { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("CAP_NET_ADMIN"));
    });
}

#[test]
fn the_way_to_a_peer_is_told_in_full() {
    sandbox::run(async {
        let host = host().await;
        let way = host
            .netlink
            .route_to(ip("198.51.100.2"), None, Via::default())
            .await
            .unwrap();
        let expected = RouteInfo {
            source: ip("192.0.2.1"),
            gateway: Some(ip("192.0.2.254")),
            link: host.outer.index,
            link_name: "outer".to_owned(),
            table: MAIN_TABLE,
            mtu: 1400,
        };
        assert_eq!(way, expected);
        let on_link = host
            .netlink
            .route_to(ip("192.0.2.7"), None, Via::default())
            .await
            .unwrap();
        assert_eq!(
            on_link,
            RouteInfo {
                gateway: None,
                ..expected.clone()
            }
        );
        let v6 = host
            .netlink
            .route_to(ip("2001:db8:1::2"), None, Via::default())
            .await
            .unwrap();
        assert_eq!(
            (v6.source, v6.gateway),
            (ip("2001:db8::1"), Some(ip("2001:db8::fe")))
        );

        let second = prefix("192.0.2.9/24");
        host.netlink
            .add_address(host.outer.index, second)
            .await
            .unwrap();
        let from = host
            .netlink
            .route_to(ip("198.51.100.2"), Some(second.addr()), Via::default())
            .await
            .unwrap();
        assert_eq!(
            from,
            RouteInfo {
                source: second.addr(),
                ..expected
            }
        );
    });
}

/// D50: what the network says of a path gets old, and is no property of the route.
#[test]
fn the_mtu_of_a_way_is_not_what_the_network_said_of_the_path() {
    sandbox::run(async {
        let host = host().await;
        let peer = ip("198.51.100.2");
        let socket = UdpSocket::bind("192.0.2.1:0").unwrap();
        socket.send_to(&[1; 1300], (peer, 9)).unwrap();
        let mut sent = [0; 1400];
        while host.outer_queue.read(&mut sent).unwrap().is_none()
            || (sent[0], sent[9]) != (0x45, 17)
        {}
        let news = sandbox::fragmentation_needed(&sent, 1300);
        assert!(host.outer_queue.write(&news, Offload::default()).unwrap());

        let learned = async || {
            let query = Netlink::route_query(peer, None, Via::default());
            let mut answer = host.netlink.handle.route().get(query).execute().boxed();
            let message = answer.try_next().await.unwrap().unwrap();
            route::Parts::of(&message).mtu
        };
        let mut patience = 500;
        while learned().await != Some(1300) {
            assert!(patience > 0, "the kernel took no notice");
            patience -= 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let way = Look::at(&host.netlink)
            .way_to(peer, None, Via::default(), &[])
            .await;
        assert_eq!(way.unwrap().mtu, 1400);
    });
}

/// Fail closed: with a default route present, a prefix leads into the tunnel or nowhere.
#[test]
fn an_unreachable_route_stands_under_the_usable_one() {
    sandbox::run(async {
        let host = host().await;
        for (routed, inside) in [
            ("10.20.0.0/16", "10.20.3.4"),
            ("2001:db8:20::/48", "2001:db8:20::5"),
        ] {
            assert_eq!(host.way(inside).await.unwrap(), host.outer.index);
            let netlink = &host.netlink;
            netlink
                .add_route(&Route::unreachable(prefix(routed)))
                .await
                .unwrap();
            host.assert_refused(inside).await;
            let usable = Route::through(prefix(routed), host.tunnel.index, 100);
            netlink.add_route(&usable).await.unwrap();
            assert_eq!(host.way(inside).await.unwrap(), host.tunnel.index);
            netlink.delete_route(&usable).await.unwrap();
            host.assert_refused(inside).await;
            netlink.add_route(&usable).await.unwrap();
        }
        // As when the process is killed: the device goes, the unreachable routes stay.
        let Host {
            netlink,
            outer,
            tunnel,
            outer_queue: _outer_queue,
            tunnel_queue,
        } = host;
        drop(tunnel_queue);
        netlink.link_by_index(tunnel.index).await.unwrap_err();
        let unreachable =
            ["10.20.0.0/16", "2001:db8:20::/48"].map(|routed| Route::unreachable(prefix(routed)));
        assert_eq!(netlink.list_own_routes().await.unwrap(), unreachable);
        for inside in ["10.20.3.4", "2001:db8:20::5"] {
            let way = netlink.route_to(ip(inside), None, Via::default()).await;
            assert!(
                matches!(way, Err(NetlinkError::NoRoute { .. })),
                "{outer:?} {way:?}"
            );
        }
    });
}

/// Never recursive: whatever leads into the tunnel, the peer's address does not.
#[test]
fn a_pinned_route_keeps_the_peer_out_of_the_tunnel() {
    sandbox::run(async {
        let host = host().await;
        for (peer, all) in [("198.51.100.2", "0.0.0.0/0"), ("2001:db8:1::2", "::/0")] {
            let way = host
                .netlink
                .route_to(ip(peer), None, Via::default())
                .await
                .unwrap();
            host.netlink
                .add_route(&Route::pinned(ip(peer), &way))
                .await
                .unwrap();
            let everything = Route::through(prefix(all), host.tunnel.index, 1);
            host.netlink.add_route(&everything).await.unwrap();
            let announced = Route::through(Prefix::host(ip(peer)), host.tunnel.index, 20);
            host.netlink.add_route(&announced).await.unwrap();
            assert_eq!(
                host.netlink
                    .route_to(ip(peer), None, Via::default())
                    .await
                    .unwrap(),
                way
            );
        }
    });
}

/// PAINS 15: named whether packets take them or not, until they are gone.
#[test]
fn routes_into_the_tunnel_that_cover_the_peer_are_named() {
    sandbox::run(async {
        let host = host().await;
        let tunnel = host.tunnel.index;
        for (peer, prefix_of_peer) in [
            ("198.51.100.2", "198.51.0.0/16"),
            ("2001:db8:1::2", "2001:db8::/32"),
        ] {
            let (peer, via) = (ip(peer), Via::default());
            let taken = async || {
                let taken = host
                    .netlink
                    .covering_route_taken(peer, None, via, &[tunnel])
                    .await;
                taken.unwrap().map(|route| route.to_string())
            };
            let covering = async || {
                let routes = Look::at(&host.netlink)
                    .covering_routes(peer, &[tunnel])
                    .await
                    .unwrap();
                routes.iter().map(ToString::to_string).collect::<Vec<_>>()
            };
            let way = host.netlink.route_to(peer, None, via).await.unwrap();
            assert_eq!((taken().await, covering().await), (None, vec![]));

            let learned = Route::through(prefix(prefix_of_peer), tunnel, 20);
            add_foreign(&host.netlink, &learned).await;
            let named = || format!("{prefix_of_peer} via sgre0, set by hand");
            let both = (taken().await, covering().await);
            assert_eq!(both, (Some(named()), vec![named()]));

            let pinned = Route::pinned(peer, &way);
            host.netlink.add_route(&pinned).await.unwrap();
            assert_eq!((taken().await, covering().await), (None, vec![named()]));

            delete_foreign(&host.netlink, &learned).await;
            assert_eq!((taken().await, covering().await), (None, vec![]));
        }
    });
}

/// Clouds give addresses as /32 with a gateway outside of it.
#[test]
fn a_pinned_route_takes_a_gateway_outside_of_every_prefix() {
    sandbox::run(async {
        let host = host().await;
        let peer = ip("198.51.100.2");
        let way = host
            .netlink
            .route_to(peer, None, Via::default())
            .await
            .unwrap();
        let way = RouteInfo {
            gateway: Some(ip("203.0.113.1")),
            ..way
        };
        host.netlink
            .add_route(&Route::pinned(peer, &way))
            .await
            .unwrap();
        assert_eq!(
            host.netlink
                .route_to(peer, None, Via::default())
                .await
                .unwrap(),
            way
        );
        // An IPv4 destination behind an IPv6 router (RFC 5549).
        let way = RouteInfo {
            gateway: Some(ip("2001:db8::fe")),
            ..way
        };
        host.netlink
            .replace_route(&Route::pinned(peer, &way))
            .await
            .unwrap();
        assert_eq!(
            host.netlink
                .route_to(peer, None, Via::default())
                .await
                .unwrap(),
            way
        );
        assert_eq!(
            host.netlink.list_own_routes().await.unwrap(),
            [Route::pinned(peer, &way)]
        );
    });
}

#[test]
fn routes_of_an_earlier_run_are_adopted_and_deleted_but_nobody_elses() {
    sandbox::run(async {
        let host = host().await;
        let netlink = &host.netlink;
        for routed in ["10.20.0.0/16", "2001:db8:20::/48"] {
            let through_outer = Route::through(prefix(routed), host.outer.index, 100);
            let through_tunnel = Route::through(prefix(routed), host.tunnel.index, 100);
            assert_eq!(netlink.add_route(&through_outer).await.unwrap(), Added::New);
            assert_eq!(
                netlink.add_route(&through_tunnel).await.unwrap(),
                Added::Adopted
            );
            let own = netlink.list_own_routes().await.unwrap();
            assert_eq!(own, std::slice::from_ref(&through_tunnel));
            netlink.delete_route(&through_tunnel).await.unwrap();
            netlink.delete_route(&through_tunnel).await.unwrap();
            assert_eq!(netlink.list_own_routes().await.unwrap(), []);

            add_foreign(netlink, &through_tunnel).await;
            let error = netlink.add_route(&through_tunnel).await.unwrap_err();
            assert!(
                matches!(error, NetlinkError::ForeignRoute { metric: 100, .. }),
                "{error}"
            );
            netlink.delete_route(&through_tunnel).await.unwrap();
            assert_eq!(netlink.list_own_routes().await.unwrap(), []);
            let inside = if routed.contains(':') {
                "2001:db8:20::5"
            } else {
                "10.20.3.4"
            };
            assert_eq!(host.way(inside).await.unwrap(), host.tunnel.index);
        }
    });
}

#[test]
fn other_tables_are_other_routes() {
    sandbox::run(async {
        let host = host().await;
        let main = Route::unreachable(prefix("10.20.0.0/16"));
        let other = Route {
            table: 7_000,
            ..main.clone()
        };
        for route in [&main, &other] {
            assert_eq!(host.netlink.add_route(route).await.unwrap(), Added::New);
        }
        host.netlink.delete_route(&main).await.unwrap();
        assert_eq!(host.netlink.list_own_routes().await.unwrap(), [other]);
    });
}
