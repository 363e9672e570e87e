//! Hosts with a VLAN on a bridge's network, in guests: a host's own kernel may have no VLAN devices.

use serde_json::Value;

use super::eventually;
use super::guest::Guest;
use super::netns::Netns;
use super::process::Output;
use super::router::PATIENCE;

/// A host of the two; each is `.1` or `.2` of its subnets.
pub(crate) struct VlanHost<'l> {
    guest: &'l Guest,
    /// What runs a command on the host: in the guest, or in a namespace there.
    enter: &'static str,
    number: u8,
}

impl<'l> VlanHost<'l> {
    /// Boots a guest that is nothing but this host, on the tap device `port`.
    #[track_caller]
    pub(crate) fn boot(netns: &Netns, port: &str) -> Guest {
        let guest = Guest::boot(netns, port, "192.0.2.254/24");
        guest.expect("ip addr flush dev vec0");
        guest
    }

    /// A script that makes the namespace of a host in a guest that is a router too; its `lan0` leads
    /// there.
    pub(crate) const BESIDE_ROUTER: &'static str = "set -e
         modprobe -d /run/mod -a bridge veth
         ip netns add lan
         ip link add lan0 type veth peer name vec0 netns lan\n";

    /// Gives a guest of its own what the host needs.
    #[track_caller]
    pub(crate) fn alone(guest: &'l Guest, number: u8) -> Self {
        Self::configure(guest, "", number)
    }

    /// The same beside a router.
    #[track_caller]
    pub(crate) fn beside_router(guest: &'l Guest, number: u8) -> Self {
        Self::configure(guest, "ip netns exec lan", number)
    }

    #[track_caller]
    fn configure(guest: &'l Guest, enter: &'static str, number: u8) -> Self {
        let host = Self {
            guest,
            enter,
            number,
        };
        let [untagged, tagged] = [false, true].map(|tagged| host.address(tagged));
        // All guests have one hardware address.
        guest.expect(&format!(
            "set -e
             modprobe -d /run/mod 8021q
             {enter} ip -batch - <<END
             link set vec0 down
             link set vec0 address 52:54:00:00:30:0{number} up
             address add {untagged}/24 dev vec0
             link add link vec0 name vlan10 type vlan id 10
             address add {tagged}/24 dev vlan10
             link set vlan10 up\nEND"
        ));
        host
    }

    /// Where it is in the VLAN, or outside of any.
    pub(crate) fn address(&self, tagged: bool) -> String {
        let subnet = if tagged { "10.30.10" } else { "10.30.0" };
        format!("{subnet}.{}", self.number)
    }

    #[track_caller]
    pub(crate) fn ping(&self, destination: &str, options: &str) -> Output {
        let Self { guest, enter, .. } = self;
        let line = format!("{enter} ping -n -q -i 0.2 {options} {destination}");
        guest.run(&line, PATIENCE)
    }

    /// Octets of TCP that this host gets through to the other one's address in the VLAN, in two
    /// seconds.
    #[track_caller]
    pub(crate) fn sends_in_vlan(&self, to: &Self) -> u64 {
        let (address, enter) = (to.address(true), to.enter);
        to.guest.expect(&format!(
            "{enter} iperf3 --server --one-off --forceflush >/run/iperf3.out 2>&1 &\n\
             until grep -q listening /run/iperf3.out; do sleep 0.05; done"
        ));
        let Self { guest, enter, .. } = self;
        let line =
            format!("{enter} iperf3 --json --time 2 --connect-timeout 5000 --client {address}");
        let json = guest.run(&line, PATIENCE).expect(&line);
        let report: Value = serde_json::from_str(&json).unwrap();
        report["end"]["sum_received"]["bytes"].as_u64().unwrap()
    }
}

/// Frames with a tag and without one, full ones, and TCP as fast as it goes, both ways. The hosts have
/// an MTU that the tunnel has not.
#[track_caller]
pub(crate) fn are_neighbours(hosts: [&VlanHost<'_>; 2]) {
    let [near, far] = hosts;
    for tagged in [false, true] {
        let to = far.address(tagged);
        // The first frames teach the bridges and the hosts their addresses.
        eventually(&to, PATIENCE, || {
            near.ping(&to, "-c 1 -W 1").success().then_some(())
        });
        for (from, to) in [(near, far), (far, near)] {
            let to = to.address(tagged);
            from.ping(&to, "-c 3 -M do -s 1372").expect(&to);
        }
    }
    for (from, to) in [(near, far), (far, near)] {
        let octets = from.sends_in_vlan(to);
        assert!(octets > 100_000, "{octets} octets in two seconds");
    }
}
