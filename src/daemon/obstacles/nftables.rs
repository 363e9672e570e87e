//! `nft -j list ruleset` read as a [`Filter`] (libnftables-json(5)). What is not understood becomes a
//! test that cannot tell.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::filter::{Base, ChainName, Direction, Filter, OneOf, Rule, State, Test, Verdict};
use crate::net::prefix::Prefix;

/// Statements that neither test nor decide.
const HARMLESS: [&str; 8] = [
    "counter",
    "log",
    "mangle",
    "notrack",
    "set",
    "flow",
    "ct helper",
    "ct timeout",
];

/// Whether rules in the listing were made by iptables, whose own words say more.
pub(super) fn has_iptables_rules(listing: &str) -> bool {
    listing.contains("\"xt\"")
}

/// `None`: that is no such listing.
pub(super) fn parse(listing: &str) -> Option<Filter> {
    let listing: Value = serde_json::from_str(listing).ok()?;
    let objects = listing.get("nftables")?.as_array()?;
    let mut reader = Reader::default();
    for object in objects {
        for kind in ["set", "map"] {
            if let Some(set) = object.get(kind) {
                reader.set(set);
            }
        }
    }
    for object in objects {
        if let Some(chain) = object.get("chain") {
            reader.chain(chain);
        } else if let Some(rule) = object.get("rule") {
            reader.rule(rule);
        }
    }
    Some(reader.filter)
}

#[derive(Default)]
struct Reader<'v> {
    filter: Filter,
    /// Elements of the named sets and maps, whose name stands in a chain's place.
    sets: BTreeMap<ChainName, &'v [Value]>,
}

fn name_in(object: &Value, key: &str) -> Option<ChainName> {
    let text = |key| Some(object.get(key)?.as_str()?.to_owned());
    Some(ChainName {
        family: text("family")?,
        table: text("table")?,
        chain: text(key)?,
    })
}

impl<'v> Reader<'v> {
    fn set(&mut self, set: &'v Value) {
        // Without elements it is empty, or its elements come and go.
        let elements = set.get("elem").and_then(Value::as_array);
        if let (Some(name), Some(elements)) = (name_in(set, "name"), elements) {
            self.sets.insert(name, elements);
        }
    }

    fn chain(&mut self, chain: &Value) {
        let Some(name) = name_in(chain, "name") else {
            return;
        };
        let text = |key| chain.get(key).and_then(Value::as_str);
        let direction = match text("hook") {
            Some("prerouting" | "input") => Some(Direction::In),
            Some("output" | "postrouting") => Some(Direction::Out),
            _ => None,
        };
        // Chains of type "nat" see the first packet of a connection only, and may not drop it.
        let base = direction
            .filter(|_| text("type") != Some("nat"))
            .map(|direction| Base {
                direction,
                policy_drops: text("policy") == Some("drop"),
            });
        self.filter.0.entry(name).or_default().base = base;
    }

    fn rule(&mut self, rule: &Value) {
        let name = name_in(rule, "chain");
        let statements = rule.get("expr").and_then(Value::as_array);
        let (Some(name), Some(statements)) = (name, statements) else {
            return;
        };
        let handle = rule
            .get("handle")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let mut tests = Vec::new();
        let mut verdict = Verdict::Continue;
        let mut rules = Vec::new();
        for (kind, body) in statements.iter().filter_map(only_entry) {
            match kind {
                "match" => self.matching(&name, body, &mut tests),
                "xt" => xt(body, &mut tests, &mut verdict),
                "vmap" => self.verdict_map(&name, body, &tests, &mut rules),
                kind => match decision(kind, body) {
                    Some(decision) => {
                        tests.extend(implied(body));
                        verdict = decision;
                    }
                    None if HARMLESS.contains(&kind) => {}
                    None => tests.push(Test::Unknown),
                },
            }
        }
        if rules.is_empty() {
            rules.push((tests, verdict));
        }
        let rules = rules.into_iter().map(|(tests, verdict)| Rule {
            label: format!("handle {handle}"),
            tests,
            verdict,
        });
        self.filter.0.entry(name).or_default().rules.extend(rules);
    }

    /// `{"op", "left", "right"}`.
    fn matching(&self, rule: &ChainName, body: &Value, tests: &mut Vec<Test>) {
        let part = |key| body.get(key).unwrap_or(&Value::Null);
        let negated = match (body.get("op").and_then(Value::as_str), part("right")) {
            (Some("==" | "in"), _) => false,
            // Of a bit mask: that it does not equal two states at once says nothing.
            (Some("!="), right) if !right.is_array() && right.get("|").is_none() => true,
            _ => return tests.push(Test::Unknown),
        };
        let values = self.values(rule, part("right"));
        tests.extend(test(part("left"), &values, negated));
    }

    /// One rule for each element; the tests of the others are false then.
    fn verdict_map(
        &self,
        rule: &ChainName,
        body: &Value,
        tests: &[Test],
        rules: &mut Vec<(Vec<Test>, Verdict)>,
    ) {
        let key = body.get("key").unwrap_or(&Value::Null);
        let data = self.values(rule, body.get("data").unwrap_or(&Value::Null));
        if !data.complete {
            let unknown = tests.iter().cloned().chain([Test::Unknown]);
            rules.push((unknown.collect(), Verdict::Unknown));
        }
        for element in &data.values {
            let Some([value, verdict]) = element.as_array().map(Vec::as_slice) else {
                continue;
            };
            let values = Values {
                values: vec![value],
                complete: true,
            };
            let tests = tests.iter().cloned().chain(test(key, &values, false));
            let verdict = only_entry(verdict).and_then(|(kind, body)| decision(kind, body));
            rules.push((tests.collect(), verdict.unwrap_or(Verdict::Unknown)));
        }
    }

    /// What a right-hand side stands for.
    fn values(&self, rule: &ChainName, right: &'v Value) -> Values<'v> {
        if let Some(name) = right.as_str().and_then(|text| text.strip_prefix('@')) {
            let chain = name.to_owned();
            let set = self.sets.get(&ChainName {
                chain,
                ..rule.clone()
            });
            return Values {
                values: set.map_or_else(Vec::new, |set| set.iter().map(element).collect()),
                complete: set.is_some(),
            };
        }
        let listed = right.get("set").or(right.get("|")).unwrap_or(right);
        let values = match listed.as_array() {
            Some(values) => values.iter().map(element).collect(),
            None => vec![listed],
        };
        Values {
            values,
            complete: true,
        }
    }
}

struct Values<'v> {
    values: Vec<&'v Value>,
    complete: bool,
}

/// An element may come with a timeout or a comment.
fn element(value: &Value) -> &Value {
    let inner = value.get("elem").and_then(|elem| elem.get("val"));
    inner.unwrap_or(value)
}

fn only_entry(statement: &Value) -> Option<(&str, &Value)> {
    let (kind, body) = statement.as_object()?.iter().next()?;
    Some((kind, body))
}

fn decision(kind: &str, body: &Value) -> Option<Verdict> {
    let target = || {
        let target = body.get("target").and_then(Value::as_str);
        target.unwrap_or_default().to_owned()
    };
    Some(match kind {
        "accept" => Verdict::Accept,
        "drop" | "reject" => Verdict::Drop,
        "continue" => Verdict::Continue,
        "return" => Verdict::Return,
        "jump" => Verdict::Jump(target()),
        "goto" => Verdict::Goto(target()),
        "queue" | "fwd" | "tproxy" | "synproxy" => Verdict::Unknown,
        _ => return None,
    })
}

/// Of an error message to the sender, nft tells the kind, and not what had to hold for it.
fn implied(body: &Value) -> Option<Test> {
    match body.get("type")?.as_str()? {
        "icmp" => Some(Test::IsIpv4(true)),
        "icmpv6" => Some(Test::IsIpv4(false)),
        "tcp reset" => Some(Test::Never),
        _ => None,
    }
}

/// A match or a target of iptables.
fn xt(body: &Value, tests: &mut Vec<Test>, verdict: &mut Verdict) {
    let text = |key| body.get(key).and_then(Value::as_str);
    match (text("type"), text("name")) {
        (Some("match"), Some("comment" | "udp")) => {}
        (Some("target"), Some("REJECT")) => *verdict = Verdict::Drop,
        (Some("target"), Some("LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TCPMSS")) => {}
        (Some("target"), _) => *verdict = Verdict::Unknown,
        _ => tests.push(Test::Unknown),
    }
}

/// The tests of one field; what it is a field of is a test too.
fn test(left: &Value, values: &Values<'_>, negated: bool) -> Vec<Test> {
    let text = |kind: &str, key: &str| left.get(kind)?.get(key)?.as_str();
    let protocols = || Test::Protocol(values.one_of(negated, protocol));
    if let (Some(of), Some(field)) = (text("payload", "protocol"), text("payload", "field")) {
        let ports = || values.one_of(negated, port);
        let addresses = || values.one_of_ranges(negated, addresses);
        let header = match of {
            "ip" | "ip6" => vec![Test::IsIpv4(of == "ip")],
            "udp" => vec![Test::Protocol(OneOf::value(17))],
            "esp" => vec![Test::Protocol(OneOf::value(50))],
            "th" => vec![],
            "ether" | "vlan" => return vec![Test::Unknown],
            _ => return vec![Test::Never],
        };
        let field = match (of, field) {
            ("udp" | "th", "sport") => Test::SourcePort(ports()),
            ("udp" | "th", "dport") => Test::DestinationPort(ports()),
            ("ip" | "ip6", "saddr") => Test::Source(addresses()),
            ("ip" | "ip6", "daddr") => Test::Destination(addresses()),
            ("ip", "protocol") | ("ip6", "nexthdr") => protocols(),
            _ => Test::Unknown,
        };
        return header.into_iter().chain([field]).collect();
    }
    let names = || values.one_of_ranges(negated, name);
    vec![match (text("meta", "key"), text("ct", "key")) {
        (Some("l4proto"), _) => protocols(),
        (Some("iifname" | "iif"), _) => Test::From(names()),
        (Some("oifname" | "oif"), _) => Test::To(names()),
        (Some("nfproto"), _) => match (values.values.as_slice(), negated) {
            ([version], false) => Test::IsIpv4(*version == "ipv4"),
            _ => Test::Unknown,
        },
        (_, Some("state")) => Test::State(values.one_of(negated, state)),
        // What is meant for this host was not translated.
        (_, Some("status")) if values.values == ["dnat"] && !negated => Test::Never,
        _ => Test::Unknown,
    }]
}

impl Values<'_> {
    fn one_of<T: Clone>(&self, negated: bool, read: fn(&Value) -> Option<T>) -> OneOf<T> {
        self.gather(negated, |value| {
            let Some(range) = value.get("range") else {
                let value = read(value)?;
                return Some(value.clone()..=value);
            };
            Some(read(range.get(0)?)?..=read(range.get(1)?)?)
        })
    }

    fn one_of_ranges<T>(
        &self,
        negated: bool,
        read: fn(&Value) -> Option<RangeInclusive<T>>,
    ) -> OneOf<T> {
        self.gather(negated, read)
    }

    fn gather<T>(
        &self,
        negated: bool,
        read: impl Fn(&Value) -> Option<RangeInclusive<T>>,
    ) -> OneOf<T> {
        let ranges: Vec<_> = self.values.iter().filter_map(|value| read(value)).collect();
        OneOf {
            complete: self.complete && ranges.len() == self.values.len(),
            ranges,
            negated,
        }
    }
}

fn port(value: &Value) -> Option<u16> {
    value.as_u64()?.try_into().ok()
}

fn protocol(value: &Value) -> Option<u16> {
    match value.as_str() {
        Some(name) => protocol_number(name),
        None => port(value),
    }
}

/// Names of protocols; those that a tunnel never sends need not differ.
pub(super) fn protocol_number(name: &str) -> Option<u16> {
    Some(match name {
        "udp" => 17,
        "esp" | "ipv6-esp" => 50,
        "icmp" => 1,
        "igmp" => 2,
        "tcp" => 6,
        "dccp" => 33,
        "gre" => 47,
        "ah" => 51,
        "icmpv6" | "ipv6-icmp" => 58,
        "ospf" => 89,
        "comp" => 108,
        "vrrp" => 112,
        "sctp" => 132,
        "udplite" => 136,
        _ => return None,
    })
}

fn state(value: &Value) -> Option<State> {
    Some(state_named(value.as_str()?))
}

pub(super) fn state_named(name: &str) -> State {
    match name.to_ascii_lowercase().as_str() {
        "new" => State::New,
        "established" => State::Established,
        _ => State::Other,
    }
}

fn addresses(value: &Value) -> Option<RangeInclusive<IpAddr>> {
    if let Some(range) = value.get("range") {
        let end = |at| range.get(at)?.as_str()?.parse().ok();
        return Some(end(0)?..=end(1)?);
    }
    if let Some(prefix) = value.get("prefix") {
        let address = prefix.get("addr")?.as_str()?.parse().ok()?;
        return Some(
            Prefix::new(address, u8::try_from(prefix.get("len")?.as_u64()?).ok()?)?.range(),
        );
    }
    let address: IpAddr = value.as_str()?.parse().ok()?;
    Some(address..=address)
}

fn name(value: &Value) -> Option<RangeInclusive<String>> {
    Some(names(value.as_str()?, '*'))
}

/// A name, or all that begin with what stands before the wildcard.
pub(super) fn names(pattern: &str, wildcard: char) -> RangeInclusive<String> {
    let prefix = pattern.strip_suffix(wildcard);
    let last = prefix.map_or_else(
        || pattern.to_owned(),
        |prefix| format!("{prefix}{}", char::MAX),
    );
    prefix.unwrap_or(pattern).to_owned()..=last
}
