//! What is read once, and what is worth another look.

use std::sync::Mutex;

use super::*;

/// However many want to know: what one has asked for is there for the others, of both families.
#[test]
fn a_look_lists_once() {
    sandbox::run(async {
        let Host {
            netlink,
            outer,
            tunnel,
            ..
        } = &host().await;
        let peers = [ip("198.51.100.7"), ip("2001:db8:51::7"), ip("203.0.113.7")];
        for near in ["198.51.100.0/24", "2001:db8:51::/48"] {
            add_foreign(netlink, &Route::through(prefix(near), tunnel.index, 20)).await;
        }
        let tunnels = [tunnel.index];
        let mut look = Look::toward(netlink, peers);
        let covering = async |look: &mut Look, peer| {
            let routes = look.covering_routes(peer, &tunnels).await.unwrap();
            routes.iter().map(|route| route.prefix).collect::<Vec<_>>()
        };
        let near = [prefix("198.51.100.0/24")];
        assert_eq!(covering(&mut look, peers[0]).await, near);
        assert_eq!(look.own_routes().await.unwrap(), []);

        let everything = Route::through(prefix("0.0.0.0/0"), tunnel.index, 20);
        add_foreign(netlink, &everything).await;
        for peer in peers {
            let mut look = Look::at(netlink);
            let way = look.way_to(peer, None, Via::default(), &tunnels);
            let way = way.await.unwrap();
            assert_eq!(way.link, outer.index);
            netlink.add_route(&Route::pinned(peer, &way)).await.unwrap();
            let pinned = Look::at(netlink);
            let pinned = pinned.own_routes().await.unwrap();
            assert!(pinned.contains(&Route::pinned(peer, &way)), "{pinned:?}");
        }
        assert_eq!(covering(&mut look, peers[0]).await, near);
        assert_eq!(
            covering(&mut look, peers[1]).await,
            [prefix("2001:db8:51::/48")]
        );
        assert_eq!(covering(&mut look, peers[2]).await, []);
        assert_eq!(look.own_routes().await.unwrap(), []);
        // Nobody had said that this would be asked.
        let another = covering(&mut look, ip("203.0.113.8")).await;
        assert_eq!(another, [prefix("0.0.0.0/0")]);
    });
}

#[test]
fn a_watch_reports_routes_that_concern_us() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let loopback = netlink.link_by_name("lo").await.unwrap().index;
        let mut watch = Netlink::watch().unwrap();
        let [elsewhere, near] = ["203.0.113.0/24", "198.51.100.0/24"].map(prefix);
        for destination in [elsewhere, near] {
            add_foreign(&netlink, &Route::through(destination, loopback, 20)).await;
        }
        let asked = Mutex::new(Vec::new());
        let concerns = |prefix: Prefix| {
            asked.lock().unwrap().push(prefix);
            prefix.contains(ip("198.51.100.7"))
        };
        watch.changed(concerns).await;
        assert_eq!(*asked.lock().unwrap(), [elsewhere, near]);
    });
}
