//! A packet filter as netfilter has it, whoever wrote its rules: base chains at a hook, rules of tests
//! and a verdict, jumps. It is asked what becomes of one packet; what a test cannot tell, it says.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Netfilter's own bound on jumps in jumps.
const MAX_DEPTH: usize = 16;

/// How many rules are looked at for one packet, so that no filter holds us up.
const MAX_RULES: usize = 100_000;

/// A packet as far as rules look at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) flow: Flow,
    pub(super) direction: Direction,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// Where it comes from, or goes to.
    pub(super) interface: &'a str,
    /// Whether it is no answer: `ct state new`.
    pub(super) begins: bool,
}

/// What a tunnel's outer packets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flow {
    /// Between equal ports.
    Udp(u16),
    Esp,
}

impl Flow {
    const fn protocol(self) -> u16 {
        match self {
            Self::Udp(_) => 17,
            Self::Esp => 50,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    In,
    Out,
}

/// Where a chain is: `ip`, `ip6` or `inet`, the table, the chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChainName {
    pub(super) family: String,
    pub(super) table: String,
    pub(super) chain: String,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Chain {
    /// `None`: it is jumped to.
    pub(super) base: Option<Base>,
    pub(super) rules: Vec<Rule>,
}

/// Packets of a direction begin here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) direction: Direction,
    pub(super) policy_drops: bool,
}

#[derive(Debug, PartialEq)]
pub(super) struct Rule {
    /// How its author finds it.
    pub(super) label: String,
    /// All must hold.
    pub(super) tests: Vec<Test>,
    pub(super) verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    /// Also with an error message to the sender.
    Drop,
    /// The next rule is looked at.
    Continue,
    Return,
    Jump(String),
    Goto(String),
    /// Something else decides, such as a program that gets the packet.
    Unknown,
}

/// One condition of a rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// IPv4, or else IPv6.
    IsIpv4(bool),
    Protocol(OneOf<u16>),
    SourcePort(OneOf<u16>),
    DestinationPort(OneOf<u16>),
    Source(OneOf<IpAddr>),
    Destination(OneOf<IpAddr>),
    From(OneOf<String>),
    To(OneOf<String>),
    /// Of the connection.
    State(OneOf<State>),
    /// Never true of the packets that are asked about.
    Never,
    /// Not understood, or true by chance.
    Unknown,
}

/// The state of a connection, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    New,
    Established,
    Other,
}

/// Whether a value is among others, or, negated, is not.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OneOf<T> {
    pub(super) ranges: Vec<RangeInclusive<T>>,
    /// Whether the ranges are all that there is.
    pub(super) complete: bool,
    pub(super) negated: bool,
}

impl<T: PartialOrd + Clone> OneOf<T> {
    pub(super) fn value(value: T) -> Self {
        Self {
            ranges: vec![value.clone()..=value],
            complete: true,
            negated: false,
        }
    }

    fn holds(&self, value: &T) -> Answer {
        let found = self.ranges.iter().any(|range| range.contains(value));
        match (found || self.complete, found != self.negated) {
            (false, _) => Answer::Maybe,
            (true, true) => Answer::Yes,
            (true, false) => Answer::No,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    No,
    Maybe,
    Yes,
}

impl Test {
    fn holds(&self, packet: &Packet<'_>) -> Answer {
        let port = |ports: &OneOf<u16>| match packet.flow {
            Flow::Udp(port) => ports.holds(&port),
            Flow::Esp => Answer::No,
        };
        let interface = |direction, names: &OneOf<String>| {
            if packet.direction == direction {
                names.holds(&packet.interface.to_owned())
            } else {
                Answer::No
            }
        };
        match self {
            Self::IsIpv4(wanted) if packet.source.is_ipv4() == *wanted => Answer::Yes,
            Self::IsIpv4(_) | Self::Never => Answer::No,
            Self::Protocol(protocols) => protocols.holds(&packet.flow.protocol()),
            Self::SourcePort(ports) | Self::DestinationPort(ports) => port(ports),
            Self::Source(addresses) => addresses.holds(&packet.source),
            Self::Destination(addresses) => addresses.holds(&packet.destination),
            Self::From(names) => interface(Direction::In, names),
            Self::To(names) => interface(Direction::Out, names),
            Self::State(states) if packet.begins => states.holds(&State::New),
            Self::State(states) => states.holds(&State::Established),
            Self::Unknown => Answer::Maybe,
        }
    }

    /// Whether it asks for the packet's protocol or port.
    fn names_flow(&self) -> bool {
        match self {
            Self::Protocol(of) | Self::SourcePort(of) | Self::DestinationPort(of) => !of.negated,
            _ => false,
        }
    }
}

impl Rule {
    fn holds(&self, packet: &Packet<'_>) -> Answer {
        let answers = self.tests.iter().map(|test| test.holds(packet));
        answers.min().unwrap_or(Answer::Yes)
    }
}

/// A packet is lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Loss<'f> {
    /// The base chain that it was in.
    pub(super) base: &'f ChainName,
    /// The rule that drops it, and its chain; `None`: the policy of the base chain does.
    pub(super) rule: Option<(&'f ChainName, &'f Rule)>,
    /// Whether no rule before could have admitted it.
    pub(super) certain: bool,
}

/// See the module.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Filter(pub(super) BTreeMap<ChainName, Chain>);

impl Filter {
    /// Where `packet` is lost: every base chain has a say, and each drop is final.
    pub(super) fn losses(&self, packet: &Packet<'_>) -> Vec<Loss<'_>> {
        let bases = self.0.iter().filter_map(|(name, chain)| {
            let base = chain
                .base
                .filter(|base| base.direction == packet.direction)?;
            is_of_family(&name.family, packet).then_some((name, chain, base))
        });
        let losses = bases.filter_map(|(name, chain, base)| {
            let walk = Walk {
                filter: self,
                packet,
                doubtful: Cell::new(false),
                left: Cell::new(MAX_RULES),
            };
            let rule = match walk.chain(name, chain, 0) {
                Fate::Dropped(name, rule) => Some((name, rule)),
                Fate::Ended if base.policy_drops => None,
                Fate::Ended | Fate::Accepted | Fate::Unclear => return None,
            };
            let certain = !walk.doubtful.get();
            Some(Loss {
                base: name,
                rule,
                certain,
            })
        });
        losses.collect()
    }
}

fn is_of_family(family: &str, packet: &Packet<'_>) -> bool {
    match family {
        "inet" => true,
        "ip" => packet.source.is_ipv4(),
        "ip6" => packet.source.is_ipv6(),
        _ => false,
    }
}

/// One packet on its way through the chains.
struct Walk<'f, 'p> {
    filter: &'f Filter,
    packet: &'p Packet<'p>,
    /// A rule that we can't judge may have admitted it.
    doubtful: Cell<bool>,
    /// How many more rules are looked at.
    left: Cell<usize>,
}

/// What a chain makes of a packet.
enum Fate<'f> {
    Accepted,
    Dropped(&'f ChainName, &'f Rule),
    /// It was left to who jumped here.
    Ended,
    /// Too deep or too long for us.
    Unclear,
}

impl<'f> Walk<'f, '_> {
    fn chain(&self, name: &'f ChainName, chain: &'f Chain, depth: usize) -> Fate<'f> {
        for rule in &chain.rules {
            let left = self.left.get();
            if left == 0 || depth > MAX_DEPTH {
                return Fate::Unclear;
            }
            self.left.set(left - 1);
            let fate = match rule.holds(self.packet) {
                Answer::No => None,
                Answer::Yes => self.obey(name, rule, depth),
                Answer::Maybe => self.weigh(name, rule, depth),
            };
            if let Some(fate) = fate {
                return fate;
            }
        }
        Fate::Ended
    }

    /// The rule holds. `None`: the next one is asked.
    fn obey(&self, name: &'f ChainName, rule: &'f Rule, depth: usize) -> Option<Fate<'f>> {
        match &rule.verdict {
            Verdict::Accept => Some(Fate::Accepted),
            Verdict::Drop => Some(Fate::Dropped(name, rule)),
            Verdict::Continue => None,
            Verdict::Return => Some(Fate::Ended),
            Verdict::Jump(target) => match self.enter(name, target, depth) {
                Fate::Ended => None,
                fate => Some(fate),
            },
            Verdict::Goto(target) => Some(self.enter(name, target, depth)),
            Verdict::Unknown => Some(Fate::Unclear),
        }
    }

    /// The rule may hold. What it may drop is not lost for certain, and what it may admit leaves a
    /// doubt; but an author who names the flow has meant to admit it.
    fn weigh(&self, name: &'f ChainName, rule: &'f Rule, depth: usize) -> Option<Fate<'f>> {
        let admits = match &rule.verdict {
            Verdict::Drop | Verdict::Continue => false,
            Verdict::Accept | Verdict::Return | Verdict::Unknown => true,
            Verdict::Jump(target) => {
                matches!(
                    self.enter(name, target, depth),
                    Fate::Accepted | Fate::Unclear
                )
            }
            Verdict::Goto(target) => !matches!(self.enter(name, target, depth), Fate::Dropped(..)),
        };
        if admits && rule.tests.iter().any(Test::names_flow) {
            return Some(Fate::Unclear);
        }
        self.doubtful.set(self.doubtful.get() || admits);
        None
    }

    fn enter(&self, from: &ChainName, target: &str, depth: usize) -> Fate<'f> {
        let chain = target.to_owned();
        let target = ChainName {
            chain,
            ..from.clone()
        };
        match self.filter.0.get_key_value(&target) {
            Some((name, chain)) => self.chain(name, chain, depth + 1),
            None => Fate::Unclear,
        }
    }
}
