//! The wire between the product and its peer: `left`, a bridge in `mid`, and the peer's end.

use std::fs;
use std::time::Duration;

use super::capture::Capture;
use super::eventually;
use super::guest::Guest;
use super::netns::Netns;
use super::require::Lab;

/// Outer address of the product under test.
pub(crate) const LEFT: &str = "192.0.2.1";
/// Outer address of its peer.
pub(crate) const RIGHT: &str = "192.0.2.2";
/// Of another peer.
pub(crate) const THIRD: &str = "192.0.2.3";
/// The same over IPv6.
const LEFT_V6: &str = "2001:db8::1";
const RIGHT_V6: &str = "2001:db8::2";
const THIRD_V6: &str = "2001:db8::3";
/// Addresses behind a NAT: of the product, and of the guest.
pub(crate) const INSIDE_LEFT: &str = "10.77.0.1";
pub(crate) const INSIDE_RIGHT: &str = "10.88.0.1";
/// The same over IPv6.
pub(crate) const INSIDE_LEFT_V6: &str = "fd77::1";
pub(crate) const INSIDE_RIGHT_V6: &str = "fd88::1";
/// Of the routers there.
const GATEWAYS_LEFT: [&str; 2] = ["10.77.0.254", "fd77::fe"];
const GATEWAYS_RIGHT: [&str; 2] = ["10.88.0.254", "fd88::fe"];
/// The router to which `left`'s default route leads, when it has one.
pub(crate) const ROUTER: &str = "192.0.2.254";
/// A peer's behind that router, and the router's there.
const BEYOND: [&str; 2] = ["198.51.100.2", "2001:db8:51::2"];
const GATEWAYS_BEYOND: [&str; 2] = ["198.51.100.254", "2001:db8:51::fe"];
/// The bridge's port toward the product. A capture here sees exactly what `left` sends and gets.
const LEFT_PORT: &str = "left0";
/// The tap device that a guest attaches to.
const GUEST_TAP: &str = "tapg";

/// How the outer packets of a test travel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outer {
    /// Address of the product under test.
    pub(crate) left: &'static str,
    /// Address of its peer.
    pub(crate) right: &'static str,
    /// Whether ESP travels in UDP.
    pub(crate) udp: bool,
}

impl Outer {
    pub(crate) const NATIVE_V4: Self = Self {
        left: LEFT,
        right: RIGHT,
        udp: false,
    };
    pub(crate) const UDP_V4: Self = Self {
        udp: true,
        ..Self::NATIVE_V4
    };
    pub(crate) const NATIVE_V6: Self = Self {
        left: LEFT_V6,
        right: RIGHT_V6,
        udp: false,
    };
    pub(crate) const UDP_V6: Self = Self {
        udp: true,
        ..Self::NATIVE_V6
    };

    /// The same, but to a peer behind the router.
    pub(crate) fn beyond_router(self) -> Self {
        let [v4, v6] = BEYOND;
        Self {
            right: if self.is_v6() { v6 } else { v4 },
            ..self
        }
    }

    pub(crate) fn is_v6(self) -> bool {
        self.left.contains(':')
    }

    /// The outer packet of a passenger of 1400 octets, which needs 1440 with GRE and AES-GCM
    /// (RFC 4106).
    pub(crate) fn longest_packet(self) -> usize {
        1440 + if self.is_v6() { 40 } else { 20 } + if self.udp { 8 } else { 0 }
    }
}

/// The namespaces of one test.
pub(crate) struct Topology {
    lab: Lab,
    pub(crate) left: Netns,
    pub(crate) mid: Netns,
}

impl Topology {
    /// `left` on a bridge that nobody else is connected to yet.
    pub(crate) fn new(lab: Lab) -> Self {
        let left = Netns::new(lab, "left");
        let mid = Netns::new(lab, "mid");
        // Snooping would keep multicast from ports that have not joined.
        mid.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
        mid.ip("link set br0 up");
        let topology = Self { lab, left, mid };
        topology.plug(&topology.left, LEFT_PORT, [LEFT, LEFT_V6]);
        topology
    }

    /// One more namespace, connected to nothing.
    pub(crate) fn netns(&self, role: &str) -> Netns {
        Netns::new(self.lab, role)
    }

    /// A capture of everything between the product and the bridge, packet by packet as on a wire
    /// rather than as veth devices hand them on, many in one.
    #[track_caller]
    pub(crate) fn capture(&self) -> Capture {
        self.left.ip("link set wire gso_max_segs 1");
        self.mid.ip(&format!("link set {LEFT_PORT} gso_max_segs 1"));
        Capture::start(&self.mid, LEFT_PORT)
    }

    /// From here on nothing larger than `octets` of IP gets from one side to the other, and nobody is
    /// told; `peer` is the namespace on the other side, if it is one.
    #[track_caller]
    pub(crate) fn swallow_larger_than(&self, octets: u64, peer: Option<&Netns>) {
        let limit = Duration::from_secs(10);
        for end in [&self.left].into_iter().chain(peer) {
            // Packets that are handed on many in one have no size of their own.
            end.ip("link set wire gso_max_segs 1");
        }
        for command in [
            "add table bridge hole".to_owned(),
            "add chain bridge hole forward { type filter hook forward priority 0 ; }".to_owned(),
            format!("add rule bridge hole forward ip length > {octets} drop"),
            format!(
                "add rule bridge hole forward ip6 length > {} drop",
                octets - 40
            ),
        ] {
            self.mid
                .run(&format!("nft {command}"), limit)
                .expect(&command);
        }
    }

    /// Connects a second namespace with the peer's address.
    pub(crate) fn add_right(&self) -> Netns {
        let right = Netns::new(self.lab, "right");
        self.plug(&right, "right0", [RIGHT, RIGHT_V6]);
        right
    }

    /// Connects a third namespace, with another peer's address.
    pub(crate) fn add_third(&self) -> Netns {
        let third = Netns::new(self.lab, "third");
        self.plug(&third, "third0", [THIRD, THIRD_V6]);
        third
    }

    /// Boots a guest with the peer's addresses.
    #[track_caller]
    pub(crate) fn boot_guest(&self) -> Guest {
        self.mid.ip(&format!("tuntap add {GUEST_TAP} mode tap"));
        self.mid.ip(&format!("link set {GUEST_TAP} master br0 up"));
        self.switch_on_guest()
    }

    /// Boots a guest where one was that has lost its power.
    #[track_caller]
    pub(crate) fn switch_on_guest(&self) -> Guest {
        let guest = Guest::boot(&self.mid, GUEST_TAP, &format!("{RIGHT}/24"));
        guest.expect(&format!("ip addr add {RIGHT_V6}/64 dev vec0 nodad"));
        guest
    }

    /// Boots a guest at [`INSIDE_RIGHT`]; from outside it is seen at the peer's address.
    #[track_caller]
    pub(crate) fn boot_guest_behind_nat(&self) -> Guest {
        let mid = &self.mid;
        let [v4, v6] = GATEWAYS_RIGHT;
        mid.ip(&format!("tuntap add {GUEST_TAP} mode tap"));
        mid.ip(&format!("link set {GUEST_TAP} up"));
        mid.ip(&format!("address add {v4}/24 dev {GUEST_TAP}"));
        mid.ip(&format!("address add {v6}/64 dev {GUEST_TAP} nodad"));
        mid.ip(&format!("address add {RIGHT}/24 dev br0"));
        mid.ip(&format!("address add {RIGHT_V6}/64 dev br0 nodad"));
        translate(mid, "br0");
        let guest = Guest::boot(mid, GUEST_TAP, &format!("{INSIDE_RIGHT}/24"));
        guest.expect(&format!(
            "set -e\nip route add default via {v4}\n\
             ip addr add {INSIDE_RIGHT_V6}/64 dev vec0 nodad\n\
             ip -6 route add default via {v6}"
        ));
        guest
    }

    /// Connects a namespace at [`INSIDE_LEFT`] through `left`, which becomes a NAT.
    pub(crate) fn add_inside(&self) -> Netns {
        let inside = self.add_behind(
            &self.left,
            "lan",
            [INSIDE_LEFT, INSIDE_LEFT_V6],
            GATEWAYS_LEFT,
        );
        translate(&self.left, "wire");
        inside
    }

    /// Connects a namespace with the peer's addresses through a router in the middle.
    pub(crate) fn add_beyond_router(&self) -> Netns {
        let (mid, router_v6) = (&self.mid, "2001:db8::fe");
        mid.ip(&format!("address add {ROUTER}/24 dev br0"));
        mid.ip(&format!("address add {router_v6}/64 dev br0 nodad"));
        forward(mid);
        let far = self.add_behind(mid, "far0", BEYOND, GATEWAYS_BEYOND);
        self.left.ip(&format!("route add default via {ROUTER}"));
        self.left.ip(&format!("route add default via {router_v6}"));
        far
    }

    /// The link behind the router takes so much from here on.
    pub(crate) fn narrow_beyond_router(&self, far: &Netns, mtu: u16) {
        self.mid.ip(&format!("link set far0 mtu {mtu}"));
        far.ip(&format!("link set wire mtu {mtu}"));
    }

    /// Connects a namespace at [`INSIDE_RIGHT`] through `right`, which becomes a NAT and forwards IKE's
    /// ports to it.
    pub(crate) fn add_inside_right(&self, right: &Netns) -> Netns {
        let inside = self.add_behind(
            right,
            "lan",
            [INSIDE_RIGHT, INSIDE_RIGHT_V6],
            GATEWAYS_RIGHT,
        );
        translate(right, "wire");
        for command in [
            "add chain ip nat pre { type nat hook prerouting priority -100 ; }".to_owned(),
            format!(
                "add rule ip nat pre iifname wire udp dport {{ 500, 4500 }} dnat to {INSIDE_RIGHT}"
            ),
        ] {
            nft(right, &command);
        }
        inside
    }

    /// Connects a namespace through a port of `router`, which has addresses there.
    fn add_behind(
        &self,
        router: &Netns,
        port: &str,
        [v4, v6]: [&str; 2],
        [gateway_v4, gateway_v6]: [&str; 2],
    ) -> Netns {
        let inside = Netns::new(self.lab, "inside");
        let name = inside.name();
        router.ip(&format!(
            "link add {port} type veth peer name wire netns {name}"
        ));
        router.ip(&format!("address add {gateway_v4}/24 dev {port}"));
        router.ip(&format!("address add {gateway_v6}/64 dev {port} nodad"));
        router.ip(&format!("link set {port} up"));
        inside.ip(&format!("address add {v4}/24 dev wire"));
        inside.ip(&format!("address add {v6}/64 dev wire nodad"));
        inside.ip("link set wire up");
        inside.ip(&format!("route add default via {gateway_v4}"));
        inside.ip(&format!("route add default via {gateway_v6}"));
        inside
    }

    /// Gives `left` default routes to a router that takes everything, so that a passenger packet
    /// that falls back to them is seen on the wire.
    pub(crate) fn add_default_routes(&self) {
        self.mid.ip(&format!("address add {ROUTER}/24 dev br0"));
        self.mid
            .ip("address add 2001:db8:ffff::254/64 dev br0 nodad");
        self.left
            .ip("address add 2001:db8:ffff::1/64 dev wire nodad");
        self.left.ip(&format!("route add default via {ROUTER}"));
        self.left.ip("route add default via 2001:db8:ffff::254");
    }

    /// Drops on the way what matches, as a firewall between the two does, and nothing else.
    #[track_caller]
    pub(crate) fn block(&self, matching: &[&str]) {
        let mut script = "add table bridge wall\nflush table bridge wall\n\
                          add chain bridge wall way { type filter hook forward priority 0 ; }\n"
            .to_owned();
        for matching in matching {
            script += &format!("add rule bridge wall way {matching} drop\n");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), script).unwrap();
        nft(&self.mid, &format!("-f {}", file.path().display()));
    }

    fn plug(&self, netns: &Netns, port: &str, [v4, v6]: [&str; 2]) {
        let name = netns.name();
        self.mid.ip(&format!(
            "link add {port} type veth peer name wire netns {name}"
        ));
        self.mid.ip(&format!("link set {port} master br0 up"));
        // Nothing here needs a link-local address, and its late arrival would look like a change.
        netns.ip("link set wire addrgenmode none");
        // IPv4 addresses outlive a link that is down; these should too.
        let kept = "/proc/sys/net/ipv6/conf/wire/keep_addr_on_down";
        netns.enter(|| fs::write(kept, "1")).unwrap();
        netns.ip(&format!("address add {v4}/24 dev wire"));
        netns.ip(&format!("address add {v6}/64 dev wire nodad"));
        netns.ip("link set wire up");
        // The kernel lays this route when the link is ready, which may be late for a test's first look.
        eventually(
            "the wire's multicast route",
            Duration::from_secs(10),
            || {
                let routes = netns.ip("-6 route show table local");
                routes.contains("ff00::/8 dev wire").then_some(())
            },
        );
    }
}

/// Makes a router of a namespace that puts its own address, and any port, in place of what it sends
/// to `outside`.
pub(crate) fn translate(netns: &Netns, outside: &str) {
    forward(netns);
    for family in ["ip", "ip6"] {
        for command in [
            format!("add table {family} nat"),
            format!("add chain {family} nat post {{ type nat hook postrouting priority 100 ; }}"),
            format!("add rule {family} nat post oifname {outside} masquerade random"),
        ] {
            nft(netns, &command);
        }
    }
}

/// Makes a router of a namespace.
fn forward(netns: &Netns) {
    for forwarding in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        let file = format!("/proc/sys/net/{forwarding}");
        netns.enter(|| fs::write(file, "1")).unwrap();
    }
}

/// Runs an `nft` command, split at white space.
#[track_caller]
pub(crate) fn nft(netns: &Netns, command: &str) {
    netns
        .run(&format!("nft {command}"), Duration::from_secs(10))
        .expect(command);
}
