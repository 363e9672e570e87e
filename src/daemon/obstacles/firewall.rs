//! Whether the host's own packet filter lets a tunnel's outer packets pass: UDP on ports 500 and 4500,
//! and ESP. Rules of nftables, and of iptables in both its variants, are read by the programs that wrote
//! them. What these do not tell, or we do not understand, is taken for fine.

use std::fs;
use std::net::IpAddr;

use secure_gre_ike::config::UdpEncapsulation;
use tokio::task::spawn_blocking;

use super::filter::{ChainName, Direction, Filter, Flow, Loss, Packet};
use super::{iptables, nftables};
use crate::net::ike::IKE_PORT;
use crate::net::outer::NAT_TRAVERSAL_PORT;
use crate::net::tool::output_of;

/// The outer packets of a tunnel.
#[derive(Debug, Clone)]
pub(in crate::daemon) struct Outer {
    pub(in crate::daemon) local: IpAddr,
    pub(in crate::daemon) remote: IpAddr,
    /// The device that they go by.
    pub(in crate::daemon) underlay: String,
    /// Whether the first of them is ours.
    pub(in crate::daemon) initiates: bool,
    pub(in crate::daemon) encapsulation: UdpEncapsulation,
}

/// Whose rules they are, which is whose commands change them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Author {
    Nftables,
    /// With the name of the command.
    Iptables(&'static str),
}

/// What each filter of the host that drops them does, and the command that admits them.
pub(super) async fn find(outer: &Outer) -> Vec<String> {
    let mut found = Vec::new();
    for (author, filter) in filters(outer.remote.is_ipv4()).await {
        for verdict in verdicts(&filter, outer) {
            let rule = verdict.rule_text(author).await;
            found.push(verdict.describe(author, &filter, outer, &rule));
        }
    }
    found
}

async fn filters(ipv4: bool) -> Vec<(Author, Filter)> {
    let [
        command,
        nft_save,
        legacy_command,
        legacy_save,
        legacy_tables,
    ] = if ipv4 {
        [
            "iptables",
            "iptables-nft-save",
            "iptables-legacy",
            "iptables-legacy-save",
            "/proc/net/ip_tables_names",
        ]
    } else {
        [
            "ip6tables",
            "ip6tables-nft-save",
            "ip6tables-legacy",
            "ip6tables-legacy-save",
            "/proc/net/ip6_tables_names",
        ]
    };
    let mut filters = Vec::new();
    let listing = output_of("nft -j list ruleset").await;
    if listing.as_deref().is_none_or(nftables::has_iptables_rules)
        && let Some(listing) = output_of(nft_save).await
    {
        filters.push((Author::Iptables(command), iptables::parse(&listing, ipv4)));
    }
    // Without this look, the command would load the modules of what nobody uses.
    let has_legacy = fs::read_to_string(legacy_tables).is_ok_and(|tables| !tables.is_empty());
    if has_legacy && let Some(listing) = output_of(legacy_save).await {
        filters.push((
            Author::Iptables(legacy_command),
            iptables::parse(&listing, ipv4),
        ));
    }
    if let Some(listing) = listing
        && let Ok(Some(mut filter)) = spawn_blocking(move || nftables::parse(&listing)).await
    {
        // What iptables has said of its own chains is more.
        filter
            .0
            .retain(|name, _| filters.iter().all(|(_, known)| !known.0.contains_key(name)));
        filters.push((Author::Nftables, filter));
    }
    filters
}

/// What becomes of flows that one rule, or one policy, has the last word on.
struct Verdict<'f> {
    flows: Vec<Flow>,
    direction: Direction,
    loss: Loss<'f>,
    /// Answers pass.
    answers_pass: bool,
}

fn verdicts<'f>(filter: &'f Filter, outer: &Outer) -> Vec<Verdict<'f>> {
    let mut verdicts: Vec<Verdict<'f>> = Vec::new();
    for direction in [Direction::In, Direction::Out] {
        for flow in flows(outer.encapsulation) {
            let packet = |begins| outer.packet(flow, direction, begins);
            // Who calls is answered; but both send ESP of their own accord.
            let may_answer = (direction == Direction::In) == outer.initiates;
            let answers = filter.losses(&packet(false));
            for loss in filter.losses(&packet(true)) {
                let answers_pass = may_answer && answers.iter().all(|lost| lost.base != loss.base);
                let same = verdicts.iter_mut().find(|verdict| {
                    (verdict.direction, verdict.loss, verdict.answers_pass)
                        == (direction, loss, answers_pass)
                });
                match same {
                    Some(verdict) => verdict.flows.push(flow),
                    None => verdicts.push(Verdict {
                        flows: vec![flow],
                        direction,
                        loss,
                        answers_pass,
                    }),
                }
            }
        }
    }
    verdicts
}

/// What may be on the wire.
fn flows(encapsulation: UdpEncapsulation) -> Vec<Flow> {
    let (ike, nat) = (Flow::Udp(IKE_PORT), Flow::Udp(NAT_TRAVERSAL_PORT));
    match encapsulation {
        UdpEncapsulation::Auto | UdpEncapsulation::Faster => vec![ike, nat, Flow::Esp],
        UdpEncapsulation::Always => vec![ike, nat],
        UdpEncapsulation::Never => vec![ike, Flow::Esp],
    }
}

impl Outer {
    fn packet(&self, flow: Flow, direction: Direction, begins: bool) -> Packet<'_> {
        let (source, destination) = match direction {
            Direction::In => (self.remote, self.local),
            Direction::Out => (self.local, self.remote),
        };
        Packet {
            flow,
            direction,
            source,
            destination,
            interface: &self.underlay,
            begins,
        }
    }
}

impl Verdict<'_> {
    /// One line: what is dropped, by what, and the command that mends it.
    fn describe(&self, author: Author, filter: &Filter, outer: &Outer, rule: &str) -> String {
        let (side, way) = match self.direction {
            Direction::In => ("input", "from"),
            Direction::Out => ("output", "to"),
        };
        let probably = if self.loss.certain { "" } else { "probably " };
        let unless = match (self.answers_pass, self.direction) {
            (false, _) => "",
            (true, Direction::In) => " unless it answers what we have sent lately",
            (true, Direction::Out) => " unless it answers what has come lately",
        };
        let table = match author {
            Author::Nftables => format!("table {}", self.table()),
            Author::Iptables(command) => {
                format!("table {} of {command}", self.loss.base.table)
            }
        };
        format!(
            "this host's {side} filter {probably}drops {} {way} {}{unless}: {rule}, in {table}; to admit \
             them: {}",
            self.list(outer.encapsulation),
            outer.remote,
            self.remedy(author, filter, outer.remote)
        )
    }

    fn table(&self) -> String {
        format!("{} {}", self.loss.base.family, self.loss.base.table)
    }

    fn list(&self, encapsulation: UdpEncapsulation) -> String {
        let names = self.flows.iter().map(|flow| match flow {
            Flow::Esp => "ESP (IP protocol 50)".to_owned(),
            Flow::Udp(NAT_TRAVERSAL_PORT) if encapsulation == UdpEncapsulation::Auto => {
                format!("UDP port {NAT_TRAVERSAL_PORT} (used where there is a NAT, and between two secure-gre)")
            }
            Flow::Udp(port) => format!("UDP port {port}"),
        });
        names.collect::<Vec<_>>().join(", ")
    }

    /// As its author writes it.
    async fn rule_text(&self, author: Author) -> String {
        let Some((name, rule)) = self.loss.rule else {
            return format!("policy drop of chain {}", self.loss.base.chain);
        };
        if let Author::Iptables(_) = author {
            return format!("rule {}", rule.label);
        }
        let ChainName {
            family,
            table,
            chain,
        } = name;
        let listing = output_of(&format!("nft -a list chain {family} {table} {chain}")).await;
        let suffix = format!(" # {}", rule.label);
        let text = listing.as_deref().unwrap_or_default().lines();
        let text = text
            .filter_map(|line| line.trim().strip_suffix(&suffix))
            .next();
        match text {
            Some(text) => format!("rule \"{text}\" ({}) of chain {chain}", rule.label),
            None => format!("rule {} of chain {chain}", rule.label),
        }
    }

    fn remedy(&self, author: Author, filter: &Filter, remote: IpAddr) -> String {
        let base = self.loss.base;
        let is_ufw = filter.0.keys().any(|name| name.chain == "ufw-user-input");
        let commands = match (author, self.direction) {
            (Author::Nftables, Direction::In) if base.table == "firewalld" => {
                vec!["firewall-cmd --add-service=ipsec".to_owned()]
            }
            (Author::Iptables(_), Direction::In) if is_ufw => self.by_protocol(
                |ports| format!("ufw allow proto udp from {remote} to any port {ports}"),
                || format!("ufw allow proto esp from {remote}"),
            ),
            (Author::Nftables, direction) => {
                let ip = if remote.is_ipv4() { "ip" } else { "ip6" };
                let end = if direction == Direction::In {
                    "saddr"
                } else {
                    "daddr"
                };
                let (table, chain) = (self.table(), &base.chain);
                let insert = format!("nft insert rule {table} {chain} {ip} {end} {remote}");
                self.by_protocol(
                    |ports| format!("{insert} udp dport {{ {ports} }} accept"),
                    || format!("{insert} meta l4proto esp accept"),
                )
            }
            (Author::Iptables(command), direction) => {
                let end = if direction == Direction::In {
                    "-s"
                } else {
                    "-d"
                };
                let (table, chain) = (&base.table, &base.chain);
                let insert = format!("{command} -t {table} -I {chain} {end} {remote}");
                self.by_protocol(
                    |ports| format!("{insert} -p udp -m multiport --dports {ports} -j ACCEPT"),
                    || format!("{insert} -p esp -j ACCEPT"),
                )
            }
        };
        commands.join(" && ")
    }

    fn by_protocol(&self, udp: impl Fn(&str) -> String, esp: impl Fn() -> String) -> Vec<String> {
        let ports = self.flows.iter().filter_map(|flow| match flow {
            Flow::Udp(port) => Some(port.to_string()),
            Flow::Esp => None,
        });
        let ports = ports.collect::<Vec<_>>().join(",");
        let udp = (!ports.is_empty()).then(|| udp(&ports));
        let esp = self.flows.contains(&Flow::Esp).then(esp);
        udp.into_iter().chain(esp).collect()
    }
}

#[cfg(test)]
mod tests;
