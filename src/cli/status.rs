//! `secure-gre status`: how peers and their tunnels are doing.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{Exit, client_failure, fail, print, table, try_print};
use crate::control::client::Client;
use crate::control::protocol::status::{
    ChildStatus, Keepalive, PeerStatus, ProbedLiveness, RouteStatus, StatusReport, StrangeKey,
    Traffic, TunnelStatus, Verdict,
};
use crate::net::netlink::MAIN_TABLE;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The peer's name; without it, all peers.
    name: Option<String>,
    /// Print one JSON object, for programs; with --watch one a line.
    #[arg(long)]
    json: bool,
    /// Show it anew each second, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Clears a terminal and goes to its upper left corner (ECMA-48 §8.3.39, §8.3.21).
const CLEAR: &str = "\x1b[2J\x1b[H";

pub(super) fn run(arguments: &Arguments, runtime_dir: &Path) -> Exit {
    loop {
        let text = match text(arguments, runtime_dir) {
            Ok(text) => text,
            Err(exit) => return exit,
        };
        if !arguments.watch {
            return print(&text);
        }
        if let ControlFlow::Break(exit) = try_print(&text) {
            return exit;
        }
        thread::sleep(WATCH_EVERY);
    }
}

/// What is printed, or how it ends that there is nothing to print.
fn text(arguments: &Arguments, runtime_dir: &Path) -> Result<String, Exit> {
    let report = Client::connect(runtime_dir)
        .and_then(|mut client| client.status(arguments.name.as_deref()))
        .map_err(|error| client_failure(&error))?;
    if arguments.json {
        let json = json(&report, arguments.watch)
            .map_err(|fault| fail(Exit::Failed, &format!("cannot write the report: {fault}")))?;
        return Ok(format!("{json}\n"));
    }
    let on_screen = arguments.watch && io::stdout().is_terminal();
    let clear = if on_screen { CLEAR } else { "" };
    Ok(format!("{clear}{}", tables(&report)))
}

fn json(report: &StatusReport, on_one_line: bool) -> serde_json::Result<String> {
    match on_one_line {
        true => serde_json::to_string(report),
        false => serde_json::to_string_pretty(report),
    }
}

/// One table of peers and SAs, one of tunnels, one of prefixes that several of them lead to, and what
/// stands in nobody's row.
fn tables(report: &StatusReport) -> String {
    if report.peers.is_empty() {
        return "no peers\n".to_owned();
    }
    let mut peers = vec![
        [
            "PEER", "STATE", "HEARD", "ADDRESS", "IKE", "ESP", "SPI IN", "SPI OUT", "PAIR", "UP",
            "REKEY IN",
        ]
        .map(ToOwned::to_owned),
    ];
    peers.extend(report.peers.iter().flat_map(peer_rows));
    let mut tunnels = vec![
        [
            "TUNNEL", "NETNS", "PEER", "KEY", "MTU", "OUT", "IN", "DROPS",
        ]
        .map(ToOwned::to_owned),
    ];
    for peer in &report.peers {
        tunnels.extend(peer.tunnels.iter().map(|tunnel| tunnel_row(peer, tunnel)));
    }
    let mut text = table::aligned(&peers);
    if tunnels.len() > 1 {
        text.push('\n');
        text.push_str(&table::aligned(&tunnels));
    }
    let mut routes = vec![
        [
            "ROUTE", "NETNS", "TABLE", "METRIC", "TUNNEL", "PEER", "STATE",
        ]
        .map(ToOwned::to_owned),
    ];
    let shared = report.routes.iter().filter(|route| route.paths.len() > 1);
    routes.extend(shared.flat_map(route_rows));
    if routes.len() > 1 {
        text.push('\n');
        text.push_str(&table::aligned(&routes));
    }
    for line in report.peers.iter().flat_map(remarks) {
        text.push_str(&format!("\n{line}"));
    }
    if !report.drops.is_empty() {
        text.push_str(&format!("\nIKE dropped {}\n", reasons(&report.drops)));
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// A row for the peer with its newest CHILD_SA pair, and one for each older pair.
fn peer_rows(peer: &PeerStatus) -> Vec<[String; 11]> {
    let nowhere = || match peer.from_anywhere {
        true => "any".to_owned(),
        false => none(),
    };
    let address = peer
        .remote_address
        .map_or_else(nowhere, |address| address.to_string());
    let ike = peer.ike.as_ref().map_or_else(none, |ike| {
        let ppk = if ike.ppk { "+ppk" } else { "" };
        format!("{}{ppk}", ike.suite)
    });
    let heard = peer.liveness.heard_seconds;
    let heard = heard.map_or_else(none, |seconds| format!("{} ago", age(seconds)));
    let mut head = [
        peer.name.clone(),
        peer.state.to_string(),
        heard,
        address,
        ike,
    ];
    let mut pairs: Vec<_> = peer.children.iter().rev().map(pair).collect();
    if pairs.is_empty() {
        pairs.push(std::array::from_fn(|_| none()));
    }
    let rows = pairs
        .into_iter()
        .map(|[esp, inbound, outbound, phase, up, rekey]| {
            let [name, state, heard, address, ike] = std::mem::take(&mut head);
            [
                name, state, heard, address, ike, esp, inbound, outbound, phase, up, rekey,
            ]
        });
    rows.collect()
}

fn pair(child: &ChildStatus) -> [String; 6] {
    [
        child.suite.clone(),
        child.spi_inbound.to_string(),
        child.spi_outbound.to_string(),
        child.phase.to_string(),
        age(child.age_seconds),
        child.rekey_seconds.map_or_else(none, age),
    ]
}

fn tunnel_row(peer: &PeerStatus, tunnel: &TunnelStatus) -> [String; 8] {
    let drops: u64 = tunnel
        .drops
        .values()
        .fold(0, |sum, count| sum.saturating_add(*count));
    [
        tunnel.device.clone(),
        tunnel.netns.clone().unwrap_or_else(none),
        peer.name.clone(),
        key(tunnel),
        tunnel.mtu.to_string(),
        traffic(tunnel.outbound),
        traffic(tunnel.inbound),
        drops.to_string(),
    ]
}

/// A row for each path to a prefix.
fn route_rows(route: &RouteStatus) -> impl Iterator<Item = [String; 7]> {
    let table = match route.table {
        MAIN_TABLE => "main".to_owned(),
        number => number.to_string(),
    };
    let netns = route.netns.clone().unwrap_or_else(none);
    let mut head = [route.prefix.clone(), netns, table];
    route.paths.iter().map(move |path| {
        let [prefix, netns, table] = std::mem::take(&mut head);
        let (metric, state) = (path.metric.to_string(), path.state.to_string());
        let (device, peer) = (path.device.clone(), path.peer.clone());
        [prefix, netns, table, metric, device, peer, state]
    })
}

fn key(tunnel: &TunnelStatus) -> String {
    match (tunnel.key, tunnel.vsid) {
        (Some(key), _) => key.to_string(),
        (None, Some(vsid)) => format!("vsid {vsid}"),
        (None, None) => none(),
    }
}

/// What a person wants to know when something is not as it should be.
fn remarks(peer: &PeerStatus) -> Vec<String> {
    let advice = peer
        .advice
        .iter()
        .map(|advice| format!("to mend it: {advice}"));
    let causes = peer.last_failure.iter().cloned().chain(advice);
    let in_udp = peer.children.last().and_then(|pair| pair.udp_cause);
    let in_udp = in_udp.map(|cause| format!("ESP is in UDP: {cause}"));
    let mut lines: Vec<String> = causes
        .chain(in_udp)
        .chain(peer.obstacles.iter().cloned())
        .map(|cause| format!("{}: {cause}\n", peer.name))
        .collect();
    lines.extend(peer.tunnels.iter().flat_map(tunnel_remarks));
    if !peer.drops.is_empty() {
        lines.push(format!("{} dropped {}\n", peer.name, reasons(&peer.drops)));
    }
    lines.extend(peer.strange_keys.iter().map(|strange| {
        let what = strange_key(*strange);
        format!("{}: {what} (packets: {})\n", peer.name, strange.packets)
    }));
    lines
}

fn tunnel_remarks(tunnel: &TunnelStatus) -> Vec<String> {
    let device = &tunnel.device;
    let mut lines = Vec::new();
    if tunnel.keepalive == Some(Keepalive::Dead) {
        lines.push(format!(
            "{device}: the peer does not answer GRE keepalives, so that its routes are withdrawn\n"
        ));
    }
    lines.extend(
        tunnel
            .liveness
            .map(|probed| probed_liveness(device, probed)),
    );
    if !tunnel.drops.is_empty() {
        lines.push(format!("{device} dropped {}\n", reasons(&tunnel.drops)));
    }
    lines
}

fn probed_liveness(device: &str, probed: ProbedLiveness) -> String {
    let ProbedLiveness {
        verdict,
        loss_permille,
        round_trip_micros,
        jitter_micros,
    } = probed;
    let what = match verdict {
        Verdict::Unheard => {
            return format!("{device}: the peer answers no probes: is it secure-gre?\n");
        }
        Verdict::Alive => "the peer answers probes",
        Verdict::Dead => "the peer does not answer probes, so that its routes are withdrawn",
    };
    let millis = |micros: u64| Duration::from_micros(micros).as_secs_f64() * 1000.0;
    let round_trip = round_trip_micros.map_or(0.0, millis);
    let (loss, jitter) = (f64::from(loss_permille) / 10.0, millis(jitter_micros));
    format!(
        "{device}: {what}: loss {loss:.1} %, round trip {round_trip:.2} ms, jitter {jitter:.2} ms\n"
    )
}

fn strange_key(StrangeKey { key, .. }: StrangeKey) -> String {
    match key {
        Some(key) => format!("the peer sends key {key}, no tunnel has it"),
        None => "the peer sends no key, and every tunnel has one".to_owned(),
    }
}

fn reasons(drops: &BTreeMap<String, u64>) -> String {
    let reasons = drops
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"));
    reasons.collect::<Vec<_>>().join(", ")
}

fn none() -> String {
    "-".to_owned()
}

fn traffic(traffic: Traffic) -> String {
    format!("{} packets, {} bytes", traffic.packets, traffic.bytes)
}

/// The two largest units: `2h 5m`.
fn age(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        86_400.. => format!("{days}d {hours}h"),
        3600.. => format!("{hours}h {minutes}m"),
        60.. => format!("{minutes}m {}s", seconds % 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests;
