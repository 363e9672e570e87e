//! `iptables-save` read as a [`Filter`] (iptables-save(8), iptables-extensions(8)): of the variant that
//! keeps its rules in nftables as well as of the legacy one. What is not understood becomes a test that
//! cannot tell.

use std::iter::Peekable;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::filter::{Base, ChainName, Direction, Filter, OneOf, Rule, Test, Verdict};
use super::nftables::{names, protocol_number, state_named};
use crate::net::prefix::Prefix;

/// Targets after which the next rule is asked.
const PASSING: [&str; 14] = [
    "LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "TCPMSS", "TRACE", "AUDIT", "CT", "NOTRACK",
    "DSCP", "TOS", "CLASSIFY", "SET",
];

/// Reads a listing of `iptables`, or of `ip6tables` if it is not `ipv4`.
pub(super) fn parse(listing: &str, ipv4: bool) -> Filter {
    let mut filter = Filter::default();
    let mut table = "";
    for line in listing.lines() {
        let name = |chain: &str| ChainName {
            family: if ipv4 { "ip" } else { "ip6" }.to_owned(),
            table: table.to_owned(),
            chain: chain.to_owned(),
        };
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if table == "nat" {
            // Sees the first packet of a connection only, and may not drop it.
        } else if let Some((chain, rest)) = line.strip_prefix(':').and_then(|l| l.split_once(' ')) {
            filter.0.entry(name(chain)).or_default().base = base(chain, rest);
        } else if let Some((chain, options)) = line
            .strip_prefix("-A ")
            .and_then(|rest| rest.split_once(' '))
        {
            let chain = filter.0.entry(name(chain)).or_default();
            chain.rules.push(rule(line, options, ipv4));
        }
    }
    filter
}

/// `DROP [0:0]` after the name of a built-in chain, `- [0:0]` after that of another one.
fn base(chain: &str, rest: &str) -> Option<Base> {
    let direction = match chain {
        "PREROUTING" | "INPUT" => Direction::In,
        "OUTPUT" | "POSTROUTING" => Direction::Out,
        _ => return None,
    };
    let policy_drops = rest.starts_with("DROP ");
    Some(Base {
        direction,
        policy_drops,
    })
}

fn rule(line: &str, options: &str, ipv4: bool) -> Rule {
    let words = words(options);
    let mut words = words.iter().map(String::as_str).peekable();
    let mut tests = Vec::new();
    let mut verdict = Verdict::Continue;
    while let Some(word) = words.next() {
        let negated = word == "!";
        let option = if negated { words.next() } else { Some(word) };
        match option.unwrap_or_default() {
            "-j" => {
                verdict = target(words.next().unwrap_or_default());
                // What is left is the target's.
                break;
            }
            "-g" => verdict = Verdict::Goto(words.next().unwrap_or_default().to_owned()),
            // A match's name; its options follow.
            "-m" => drop(words.next()),
            "--comment" => drop(words.next()),
            option => tests.push(test(option, &arguments(&mut words), negated, ipv4)),
        }
    }
    Rule {
        label: line.to_owned(),
        tests,
        verdict,
    }
}

fn target(name: &str) -> Verdict {
    match name {
        "ACCEPT" => Verdict::Accept,
        "DROP" | "REJECT" => Verdict::Drop,
        "RETURN" => Verdict::Return,
        name if PASSING.contains(&name) => Verdict::Continue,
        // Of an extension that we don't know, it is a chain that there is not.
        name => Verdict::Jump(name.to_owned()),
    }
}

/// Up to the next option.
fn arguments<'w>(words: &mut Peekable<impl Iterator<Item = &'w str>>) -> Vec<&'w str> {
    let mut arguments = Vec::new();
    while let Some(word) = words.next_if(|word| *word != "!" && !word.starts_with('-')) {
        arguments.push(word);
    }
    arguments
}

fn test(option: &str, arguments: &[&str], negated: bool, ipv4: bool) -> Test {
    let [argument] = arguments else {
        return Test::Unknown;
    };
    let listed = |read: fn(&str) -> Option<RangeInclusive<u16>>| one_of(argument, negated, read);
    let address = || OneOf {
        ranges: address_range(argument, ipv4).into_iter().collect(),
        complete: address_range(argument, ipv4).is_some(),
        negated,
    };
    let interface = || OneOf {
        ranges: vec![names(argument, '+')],
        complete: true,
        negated,
    };
    match option {
        "-p" => Test::Protocol(listed(protocol)),
        "--dport" | "--dports" => Test::DestinationPort(listed(ports)),
        "--sport" | "--sports" => Test::SourcePort(listed(ports)),
        // Both ends of a flow have the same one.
        "--ports" => Test::DestinationPort(listed(ports)),
        "--ctstate" | "--state" => Test::State(one_of(argument, negated, |name| {
            let state = state_named(name);
            Some(state..=state)
        })),
        "-s" => Test::Source(address()),
        "-d" => Test::Destination(address()),
        "-i" => Test::From(interface()),
        "-o" => Test::To(interface()),
        _ => Test::Unknown,
    }
}

fn one_of<T>(list: &str, negated: bool, read: fn(&str) -> Option<RangeInclusive<T>>) -> OneOf<T> {
    let ranges: Option<Vec<_>> = list.split(',').map(read).collect();
    OneOf {
        complete: ranges.is_some(),
        ranges: ranges.unwrap_or_default(),
        negated,
    }
}

fn protocol(name: &str) -> Option<RangeInclusive<u16>> {
    if name == "all" {
        return Some(0..=u16::MAX);
    }
    let number = name.parse().ok().or_else(|| protocol_number(name))?;
    Some(number..=number)
}

/// `500` or `500:510`.
fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

fn address_range(text: &str, ipv4: bool) -> Option<RangeInclusive<IpAddr>> {
    let prefix: Prefix = match text.parse() {
        Ok(prefix) => prefix,
        Err(_) => Prefix::host(text.parse().ok()?),
    };
    (prefix.addr().is_ipv4() == ipv4).then(|| prefix.range())
}

/// Split at white space, but for what stands in double quotes, in which a backslash quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(characters.next()),
            ' ' if !quoted => words.extend(word.take()),
            character => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}
