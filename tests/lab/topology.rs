//! The wire between the product and its peer: `left`, a bridge in `mid`, and the peer's end.

use super::capture::Capture;
use super::guest::Guest;
use super::netns::Netns;
use super::require::Lab;

/// Outer address of the product under test.
pub(crate) const LEFT: &str = "192.0.2.1";
/// Outer address of its peer.
pub(crate) const RIGHT: &str = "192.0.2.2";
/// The router to which `left`'s default route leads, when it has one.
pub(crate) const ROUTER: &str = "192.0.2.254";
/// The bridge's port toward the product. A capture here sees exactly what `left` sends and gets.
const LEFT_PORT: &str = "left0";
/// The tap device that a guest attaches to.
const GUEST_TAP: &str = "tapg";

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
        topology.plug(&topology.left, LEFT_PORT, LEFT);
        topology
    }

    /// A capture of everything between the product and the bridge.
    #[track_caller]
    pub(crate) fn capture(&self) -> Capture {
        Capture::start(&self.mid, LEFT_PORT)
    }

    /// Connects a second namespace with the peer's address.
    pub(crate) fn add_right(&self) -> Netns {
        let right = Netns::new(self.lab, "right");
        self.plug(&right, "right0", RIGHT);
        right
    }

    /// Boots a guest with the peer's address.
    #[track_caller]
    pub(crate) fn boot_guest(&self) -> Guest {
        self.mid.ip(&format!("tuntap add {GUEST_TAP} mode tap"));
        self.mid.ip(&format!("link set {GUEST_TAP} master br0 up"));
        Guest::boot(&self.mid, GUEST_TAP, &format!("{RIGHT}/24"))
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

    fn plug(&self, netns: &Netns, port: &str, address: &str) {
        let name = netns.name();
        self.mid.ip(&format!(
            "link add {port} type veth peer name wire netns {name}"
        ));
        self.mid.ip(&format!("link set {port} master br0 up"));
        // Nothing here needs a link-local address, and its late arrival would look like a change.
        netns.ip("link set wire addrgenmode none");
        netns.ip(&format!("address add {address}/24 dev wire"));
        netns.ip("link set wire up");
    }
}
