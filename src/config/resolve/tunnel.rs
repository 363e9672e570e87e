//! What `[tunnel]` means, and each `[[tunnel]]`; what two of them cannot both have is in
//! [`distinct`], what passengers are in [`passengers`], how the peer is probed in [`liveness`], how many
//! threads serve it in [`workers`].

mod distinct;
mod liveness;
mod passengers;
mod workers;

pub(super) use self::distinct::prefixes;

use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU8, NonZeroUsize};

use secure_gre_gre::{Passengers, df, tos, ttl};
use toml::Spanned;

use super::super::diagnostic::Diagnostic;
use super::super::document::{Required, Text, WordOrNumber};
use super::super::schema::{DaemonKeys, TunnelKeys};
use super::super::{PeerAddress, Tunnel, value};
use super::{bounded, choice, given, number, unless_word};
use crate::net::netlink::MAIN_TABLE;
use crate::net::prefix::Prefix;

/// Every IPv4 host takes packets of this size (RFC 791 §3.1), in octets.
const MIN_MTU: u16 = 576;

/// IPv6 links have at least this MTU (RFC 8200 §5), in octets.
const MIN_MTU_IPV6: u16 = 1280;

/// Leaves room for what surrounds a passenger in the largest IP packet, in octets.
const MAX_MTU: u16 = 65_000;

/// The metric above this one is kept for the unreachable routes that fail closed.
const MAX_METRIC: u32 = u32::MAX - 1;

const DEFAULT_METRIC: u32 = 100;

/// Less than a packet or two a second is no bandwidth.
const MIN_LIMIT_BITS: u64 = 64_000;

/// The kernel's own, of its addresses; no routes of others go there.
const LOCAL_TABLE: u32 = 255;

/// The addresses outside the tunnel, as far as the file has them.
pub(super) struct Outer<'a> {
    pub(super) peer: Option<&'a PeerAddress>,
    pub(super) local: Option<IpAddr>,
}

impl Outer<'_> {
    /// Whose address it is, outside.
    fn owner(&self, address: IpAddr) -> Option<&'static str> {
        if self.peer == Some(&PeerAddress::Ip(address)) {
            return Some("the peer's");
        }
        (self.local == Some(address)).then_some("our own")
    }
}

/// The tunnels, in their order.
pub(super) fn resolve_all(
    keys: &[TunnelKeys],
    daemon: &DaemonKeys,
    outer: &Outer<'_>,
    findings: &mut Vec<Diagnostic>,
) -> Vec<Tunnel> {
    let tunnels: Vec<Tunnel> = keys
        .iter()
        .map(|keys| resolve(keys, daemon, outer, findings))
        .collect();
    distinct::check(keys, &tunnels, findings);
    workers::share_out(tunnels, workers::wanted(daemon.workers.as_ref(), findings))
}

/// Whether one thread carries all tunnels' packets both ways.
pub(super) fn one_thread(daemon: &DaemonKeys) -> bool {
    workers::one_thread(daemon.workers.as_ref())
}

fn resolve(
    keys: &TunnelKeys,
    daemon: &DaemonKeys,
    outer: &Outer<'_>,
    findings: &mut Vec<Diagnostic>,
) -> Tunnel {
    let kind = choice(
        "tunnel.kind",
        keys.kind.as_ref(),
        &[("ip", Passengers::Ip), ("ethernet", Passengers::Ethernet)],
        Passengers::Ip,
        findings,
    );
    let addresses = addresses(keys, kind, outer, findings);
    let routes = routes(keys.routes.as_ref(), outer, findings);
    let mut tunnel = Tunnel {
        device: device(keys.device.as_ref(), findings),
        peer_address: peer_address(keys.peer_address.as_ref(), &addresses, outer, findings),
        table: table(keys.table.as_ref(), findings),
        metric: number(
            "tunnel.metric",
            keys.metric.as_ref(),
            (1, MAX_METRIC),
            DEFAULT_METRIC,
            findings,
        ),
        gre: passengers::gre(keys, kind, findings),
        ttl: ttl(keys.ttl.as_ref(), findings),
        df: choice(
            "tunnel.df",
            keys.df.as_ref(),
            &[
                ("set", df::Policy::Set),
                ("copy", df::Policy::Copy),
                ("clear", df::Policy::Clear),
            ],
            df::Policy::Set,
            findings,
        ),
        tos: tos(keys.tos.as_ref(), findings),
        mtu: None,
        mss_clamp: given(keys.mss_clamp.as_ref()).unwrap_or(true),
        keepalive: passengers::keepalive(&keys.keepalive, kind, findings),
        liveness: liveness::liveness(keys.liveness.as_ref(), findings),
        limit: limit(keys.limit.as_ref(), findings),
        netns: netns(keys.netns.as_ref(), findings),
        offload: given(daemon.offload.as_ref()).unwrap_or(true),
        workers: NonZeroUsize::MIN,
        queues: NonZeroUsize::MIN,
        addresses,
        routes,
    };
    tunnel.mtu = mtu(keys.mtu.as_ref(), tunnel.has_ipv6(), findings);
    tunnel
}

fn device(typed: Option<&Text>, findings: &mut Vec<Diagnostic>) -> Option<String> {
    let typed = typed?;
    let name = typed.get_ref();
    if !value::device_name(name) {
        findings.push(
            Diagnostic::error(format!("`{name}` can't be a device's name"))
                .at(typed.span())
                .help(
                    "a device's name has 1 to 15 characters, no spaces and none of `/`, `:`, `%`",
                ),
        );
    }
    Some(name.clone())
}

fn netns(typed: Option<&Text>, findings: &mut Vec<Diagnostic>) -> Option<String> {
    let typed = unless_word(typed, "none")?;
    let name = typed.get_ref();
    if !value::namespace_name(name) {
        findings.push(
            Diagnostic::error(format!("`{name}` can't be a network namespace's name"))
                .at(typed.span())
                .help("write a name that \"ip netns list\" shows, or \"none\""),
        );
    }
    Some(name.clone())
}

fn addresses(
    keys: &TunnelKeys,
    kind: Passengers,
    outer: &Outer<'_>,
    findings: &mut Vec<Diagnostic>,
) -> Vec<Prefix> {
    let missing = |span| {
        Diagnostic::error("`tunnel.address` is missing")
            .at_some(span)
            .help("write address = [\"10.255.0.1/30\"] under [tunnel]: ours inside the tunnel")
    };
    let typed = match &keys.address {
        Required::Given(typed) => typed,
        Required::Wrong => return Vec::new(),
        // A port of a bridge has none.
        Required::Absent if kind == Passengers::Ethernet => return Vec::new(),
        Required::Absent => {
            findings.push(missing(keys.span.clone()));
            return Vec::new();
        }
    };
    if typed.get_ref().is_empty() && kind == Passengers::Ip {
        findings.push(missing(Some(typed.span())));
    }
    let mut addresses: Vec<Prefix> = Vec::new();
    for text in typed.get_ref() {
        let Some(prefix) = prefix(text, findings) else {
            continue;
        };
        if let Err(problem) = inner_address(prefix, outer) {
            findings.push(problem.at(text.span()));
        } else if addresses.iter().any(|known| known.addr() == prefix.addr()) {
            findings.push(
                Diagnostic::error(format!("{} is here twice", prefix.addr()))
                    .at(text.span())
                    .help("remove one"),
            );
        } else {
            addresses.push(prefix);
        }
    }
    addresses
}

fn prefix(text: &Text, findings: &mut Vec<Diagnostic>) -> Option<Prefix> {
    text.get_ref()
        .parse()
        .map_err(|problem| {
            let shown = text.get_ref();
            findings.push(
                Diagnostic::error(format!("`{shown}` is no address with a prefix: {problem}"))
                    .at(text.span()),
            );
        })
        .ok()
}

/// Whether a device can have this address.
fn inner_address(prefix: Prefix, outer: &Outer<'_>) -> Result<(), Diagnostic> {
    let address = prefix.addr();
    if let Some(owner) = outer.owner(address) {
        return Err(
            Diagnostic::error(format!("{address} is {owner} address outside the tunnel"))
                .help("give the tunnel a network of its own"),
        );
    }
    unicast(address)?;
    let IpAddr::V4(v4) = address else {
        return Ok(());
    };
    let host_bits = 32 - u32::from(prefix.prefix_len());
    let host_mask = u32::MAX.checked_shr(32 - host_bits).unwrap_or(0);
    let host = v4.to_bits() & host_mask;
    if host_bits >= 2 && (host == 0 || host == host_mask) {
        let what = if host == 0 {
            "the network itself"
        } else {
            "its broadcast address"
        };
        return Err(
            Diagnostic::error(format!("in {prefix}, {address} is {what}, not a host"))
                .help("choose an address between the two ends of the network"),
        );
    }
    Ok(())
}

/// Whether it is one host's address.
fn unicast(address: IpAddr) -> Result<(), Diagnostic> {
    let problem = match address {
        _ if address.is_unspecified() => "no host's address",
        _ if address.is_multicast() => "a multicast address, no single host's",
        _ if address.is_loopback() => "a loopback address, which never leaves a host",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address, no single host's",
        _ => return Ok(()),
    };
    Err(Diagnostic::error(format!("{address} is {problem}")))
}

fn peer_address(
    typed: Option<&Text>,
    addresses: &[Prefix],
    outer: &Outer<'_>,
    findings: &mut Vec<Diagnostic>,
) -> Option<IpAddr> {
    let Some(typed) = unless_word(typed, "auto") else {
        return addresses.iter().copied().find_map(other_end);
    };
    let Ok(address) = typed.get_ref().parse::<IpAddr>() else {
        let problem = Diagnostic::error("`tunnel.peer-address` must be \"auto\" or an IP address");
        findings.push(problem.at(typed.span()).help("it has no prefix length"));
        return None;
    };
    let problem = if addresses.iter().any(|ours| ours.addr() == address) {
        Some(Diagnostic::error(format!(
            "{address} is our own address in the tunnel"
        )))
    } else if !addresses.is_empty()
        && addresses
            .iter()
            .all(|ours| ours.addr().is_ipv4() != address.is_ipv4())
    {
        Some(
            Diagnostic::error(format!(
                "{address} is of a family that the tunnel has no address of"
            ))
            .help("add one to `address`"),
        )
    } else if let Some(owner) = outer.owner(address) {
        Some(Diagnostic::error(format!(
            "{address} is {owner} address outside the tunnel"
        )))
    } else {
        unicast(address).err()
    };
    findings.extend(problem.map(|problem| problem.at(typed.span())));
    Some(address)
}

/// The only other host of a /30, a /31 or an IPv6 /127 (RFC 3021, RFC 6164).
fn other_end(ours: Prefix) -> Option<IpAddr> {
    match (ours.addr(), ours.prefix_len()) {
        (IpAddr::V4(v4), 30) => Some(IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() ^ 0b11))),
        (IpAddr::V4(v4), 31) => Some(IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() ^ 1))),
        (IpAddr::V6(v6), 127) => Some(IpAddr::V6((v6.to_bits() ^ 1).into())),
        _ => None,
    }
}

fn routes(
    typed: Option<&Spanned<Vec<Text>>>,
    outer: &Outer<'_>,
    findings: &mut Vec<Diagnostic>,
) -> Vec<Prefix> {
    let mut routes: Vec<(&Text, Prefix)> = Vec::new();
    for text in typed.map_or(&[][..], |list| list.get_ref().as_slice()) {
        let Some(route) = prefix(text, findings) else {
            continue;
        };
        match route_problem(route, outer) {
            Some(problem) => findings.push(problem.at(text.span())),
            None => routes.push((text, route)),
        }
    }
    without_redundant(&routes, findings)
}

fn route_problem(route: Prefix, outer: &Outer<'_>) -> Option<Diagnostic> {
    if route != route.network() {
        let network = route.network();
        return Some(
            Diagnostic::error(format!("{route} is a host's address, not a network")).help(format!(
                "write {network}, or {}",
                Prefix::host(route.addr())
            )),
        );
    }
    if let Some(owner) = outer.owner(route.addr()).filter(|_| route.is_host()) {
        return Some(
            Diagnostic::error(format!("{route} is {owner} address outside the tunnel"))
                .help("remove it: the tunnel's own packets can't go through the tunnel"),
        );
    }
    (route.addr().is_multicast() || route.addr().is_loopback()).then(|| {
        Diagnostic::error(format!("{route} is not a network of hosts"))
            .help("remove it; multicast passes the tunnel without a route here")
    })
}

/// The routes that lead somewhere no other one leads; of equal ones the first.
fn without_redundant(routes: &[(&Text, Prefix)], findings: &mut Vec<Diagnostic>) -> Vec<Prefix> {
    let mut kept = Vec::with_capacity(routes.len());
    for (place, (text, route)) in routes.iter().enumerate() {
        let covering = routes.iter().enumerate().find(|(other_place, (_, other))| {
            other.covers(route) && (other != route || *other_place < place)
        });
        match covering {
            None => kept.push(*route),
            Some((_, (_, other))) => findings.push(
                Diagnostic::warning(format!(
                    "{route} adds nothing to {other}, which is here too"
                ))
                .at(text.span())
                .help("remove it"),
            ),
        }
    }
    kept
}

/// Octets per second.
fn limit(typed: Option<&Text>, findings: &mut Vec<Diagnostic>) -> Option<u64> {
    let typed = unless_word(typed, "off")?;
    let bits = value::bit_rate(typed.get_ref()).filter(|bits| *bits >= MIN_LIMIT_BITS);
    if bits.is_none() {
        findings.push(
            Diagnostic::error("`tunnel.limit` must be \"off\" or a rate of at least 64kbit")
                .at(typed.span())
                .help("write a whole number and kbit, Mbit or Gbit, as in \"200Mbit\""),
        );
    }
    bits.map(|bits| bits / 8)
}

fn table(typed: Option<&Spanned<WordOrNumber>>, findings: &mut Vec<Diagnostic>) -> u32 {
    let Some(typed) = typed else {
        return MAIN_TABLE;
    };
    let number = match typed.get_ref() {
        WordOrNumber::Word(word) if word == "main" => Some(MAIN_TABLE),
        WordOrNumber::Word(_) => {
            findings.push(
                Diagnostic::error("`tunnel.table` must be \"main\" or a table's number")
                    .at(typed.span())
                    .help("/etc/iproute2/rt_tables has the numbers of names"),
            );
            None
        }
        WordOrNumber::Number(number) if *number == LOCAL_TABLE.into() => {
            findings.push(
                Diagnostic::error("table 255 is the kernel's own")
                    .at(typed.span())
                    .help("choose another one; \"main\" is 254"),
            );
            None
        }
        WordOrNumber::Number(number) => {
            let bounds = (1, u32::MAX);
            bounded("tunnel.table", *number, typed.span(), bounds, findings)
        }
    };
    number.unwrap_or(MAIN_TABLE)
}

fn ttl(typed: Option<&Spanned<WordOrNumber>>, findings: &mut Vec<Diagnostic>) -> ttl::Policy {
    let default = ttl::Policy::Fixed(ttl::Policy::DEFAULT);
    let Some(typed) = typed else {
        return default;
    };
    match typed.get_ref() {
        WordOrNumber::Number(number) => {
            let bounds = (1, u8::MAX);
            bounded("tunnel.ttl", *number, typed.span(), bounds, findings)
                .and_then(NonZeroU8::new)
                .map_or(default, ttl::Policy::Fixed)
        }
        WordOrNumber::Word(word) if word == "inherit" => ttl::Policy::Inherit,
        WordOrNumber::Word(_) => {
            findings.push(
                Diagnostic::error("`tunnel.ttl` must be \"inherit\" or from 1 to 255")
                    .at(typed.span())
                    .help("a number is written without quotes"),
            );
            default
        }
    }
}

fn tos(typed: Option<&Spanned<WordOrNumber>>, findings: &mut Vec<Diagnostic>) -> tos::Policy {
    let Some(typed) = typed else {
        return tos::Policy::Inherit;
    };
    match typed.get_ref() {
        WordOrNumber::Number(number) => {
            bounded("tunnel.tos", *number, typed.span(), (0, u8::MAX), findings)
                .map_or(tos::Policy::Inherit, tos::Policy::Fixed)
        }
        WordOrNumber::Word(word) => {
            if word != "inherit" {
                findings.push(
                    Diagnostic::error("`tunnel.tos` must be \"inherit\" or from 0 to 255")
                        .at(typed.span())
                        .help("a number is written without quotes"),
                );
            }
            tos::Policy::Inherit
        }
    }
}

fn mtu(
    typed: Option<&Spanned<WordOrNumber>>,
    has_ipv6: bool,
    findings: &mut Vec<Diagnostic>,
) -> Option<u16> {
    let typed = typed?;
    match typed.get_ref() {
        WordOrNumber::Word(word) => {
            if word != "auto" {
                let problem = Diagnostic::error("`tunnel.mtu` must be \"auto\" or a number");
                findings.push(
                    problem
                        .at(typed.span())
                        .help("a number is written without quotes"),
                );
            }
            None
        }
        WordOrNumber::Number(number) => {
            let mtu = bounded(
                "tunnel.mtu",
                *number,
                typed.span(),
                (MIN_MTU, MAX_MTU),
                findings,
            )?;
            if has_ipv6 && mtu < MIN_MTU_IPV6 {
                let message = format!("IPv6 needs an MTU of at least {MIN_MTU_IPV6}");
                findings.push(
                    Diagnostic::error(message)
                        .at(typed.span())
                        .help("raise it, or remove the tunnel's IPv6 addresses and routes"),
                );
            }
            Some(mtu)
        }
    }
}
