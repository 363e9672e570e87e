//! A router at an end of the tunnel, with one host on the network behind it; the same whether it is a
//! namespace or a guest.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use super::guest::Guest;
use super::netns::Netns;
use super::process::{self, Output};
use super::require::Lab;

/// For what takes seconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where a shell script runs.
#[derive(Clone, Copy)]
pub(crate) enum Router<'l> {
    Namespace(&'l Netns),
    Guest(&'l Guest),
}

impl fmt::Display for Router<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(netns) => f.write_str(netns.name()),
            Self::Guest(_) => f.write_str("the guest"),
        }
    }
}

impl Router<'_> {
    /// Runs a shell script to its end.
    #[track_caller]
    pub(crate) fn run(self, script: &str) -> Output {
        match self {
            Self::Namespace(netns) => {
                let mut command: Command = netns.command("sh");
                command.arg("-c").arg(script);
                process::run(command, PATIENCE)
            }
            Self::Guest(guest) => guest.run(script, PATIENCE),
        }
    }

    /// Runs a shell script that must succeed; returns its standard output.
    #[track_caller]
    pub(crate) fn expect(self, script: &str) -> String {
        self.run(script).expect(script)
    }
}

/// The network behind a router: `lan0`, with one host, `.2` and `::2` of its prefixes.
pub(crate) struct Lan<'l> {
    router: Router<'l>,
    /// The namespace of the host, as the router's machine knows it.
    name: String,
    _netns: Option<Netns>,
}

impl<'l> Lan<'l> {
    /// Connects a host to `router`, which is `.1` and `::1` of these prefixes: "10.10.1" and
    /// "2001:db8:10:1".
    #[track_caller]
    pub(crate) fn new(lab: Lab, router: Router<'l>, v4: &str, v6: &str) -> Self {
        let (name, netns) = match router {
            Router::Namespace(_) => {
                let netns = Netns::new(lab, "lan");
                (netns.name().to_owned(), Some(netns))
            }
            Router::Guest(_) => {
                router.expect("modprobe -d /run/mod veth && ip netns add lan");
                ("lan".to_owned(), None)
            }
        };
        router.expect(&format!(
            "set -e
             ip link add lan0 type veth peer name eth0 netns {name}
             ip addr add {v4}.1/24 dev lan0
             ip addr add {v6}::1/64 dev lan0 nodad
             ip link set lan0 up
             ip -n {name} addr add {v4}.2/24 dev eth0
             ip -n {name} addr add {v6}::2/64 dev eth0 nodad
             ip -n {name} link set eth0 up
             ip -n {name} route add default via {v4}.1
             ip -n {name} route add default via {v6}::1
             # Answers pings to multicast groups.
             ip netns exec {name} sysctl -q net.ipv4.icmp_echo_ignore_broadcasts=0"
        ));
        Self {
            router,
            name,
            _netns: netns,
        }
    }

    /// Runs `ping` on the host behind the router, with its own options.
    #[track_caller]
    pub(crate) fn ping(&self, destination: &str, options: &str) -> Output {
        let Self { router, name, .. } = self;
        router.run(&format!(
            "ip netns exec {name} ping -n -q {options} {destination}"
        ))
    }

    /// The host wants what is sent to `group`, and says so by IGMP.
    #[track_caller]
    pub(crate) fn join(&self, group: &str) {
        let Self { router, name, .. } = self;
        router.expect(&format!(
            "ip -n {name} addr add {group}/32 dev eth0 autojoin"
        ));
    }
}
