//! What `[peer]`, `[peer.ike]` and `[peer.esp]` mean.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use secure_gre_esp::{DEFAULT_WINDOW_PACKETS, MAX_WINDOW_PACKETS, MIN_WINDOW_PACKETS};
use secure_gre_ike::config::{HalfOpenLimits, OnFailure, RemoteId, Retransmit, UdpEncapsulation};
use secure_gre_ike::identity::Identity;
use secure_gre_ike::proposal::{
    EsnPolicy, EspProposal, IkeProposal, KeywordError, default_esp, default_ike,
};
use secure_gre_ike::secret::Secret;
use toml::Spanned;

use super::super::diagnostic::Diagnostic;
use super::super::document::{Required, Text, WordOrNumber, part};
use super::super::schema::{EspKeys, HalfOpenKeys, PeerKeys, PskKeys, RetransmitKeys};
use super::super::secret::{Source, decode_psk, read_psk};
use super::super::{PeerAddress, value};
use super::{bounded, choice, number, unless_word};

/// Shorter waits before the first repetition would only add load.
const MIN_FIRST_WAIT: Duration = Duration::from_millis(10);

/// No schedule of retransmissions takes longer: by then the peer is gone.
const MAX_SCHEDULE: Duration = Duration::from_secs(24 * 3600);

/// More repetitions than this are a slip of the hand.
const MAX_TRIES: u32 = 100;

/// What half-open IKE SAs may take of the memory ends here: about 2 KiB each.
const MAX_HALF_OPEN: u32 = 100_000;

/// `of_spokes`: the file has `[[spoke]]` entries, each of which calls.
pub(super) fn address(
    keys: &PeerKeys,
    of_spokes: bool,
    findings: &mut Vec<Diagnostic>,
) -> Option<PeerAddress> {
    let typed = match &keys.address {
        Required::Given(typed) => typed,
        Required::Wrong => return None,
        Required::Absent => {
            findings.push(
                Diagnostic::error("`peer.address` is missing")
                    .at_some(keys.span.clone())
                    .help("write address = \"…\" under [peer]: the peer's IP address or host name"),
            );
            return None;
        }
    };
    let text = typed.get_ref().as_str();
    let fail = |message: String| Diagnostic::error(message).at(typed.span());
    if of_spokes && text != "any" {
        let problem = Diagnostic::error("a [[spoke]] may call from anywhere");
        findings.push(problem.at(typed.span()).help("write address = \"any\""));
        return None;
    }
    let resolved = match text.parse::<IpAddr>() {
        Ok(address) => value::outer_address(address)
            .map(|()| PeerAddress::Ip(address))
            .map_err(|problem| fail(problem.to_owned())),
        Err(_) if text == "any" => Ok(PeerAddress::Any),
        Err(_) => value::host_name(text)
            .map(PeerAddress::Name)
            .map_err(|problem| fail(format!("`{text}` is {problem}"))),
    };
    resolved.map_err(|problem| findings.push(problem)).ok()
}

pub(super) fn local(
    typed: Option<&Text>,
    peer: Option<&PeerAddress>,
    findings: &mut Vec<Diagnostic>,
) -> Option<IpAddr> {
    let typed = unless_word(typed, "auto")?;
    let fail = |message: &str| Diagnostic::error(message).at(typed.span());
    let resolved = match (typed.get_ref().parse::<IpAddr>(), peer) {
        (Err(_), _) => Err(fail(
            "`peer.local` must be \"auto\" or an IP address of this host",
        )),
        (Ok(local), Some(PeerAddress::Ip(peer))) if local == *peer => {
            Err(fail("this is the peer's address, not ours")
                .help("write local = \"auto\", or remove it"))
        }
        (Ok(local), Some(PeerAddress::Ip(peer))) if local.is_ipv4() != peer.is_ipv4() => Err(fail(
            "this is of another IP version than the peer's address",
        )
        .help("write local = \"auto\", or remove it")),
        (Ok(local), _) => value::outer_address(local).map(|()| local).map_err(fail),
    };
    resolved.map_err(|problem| findings.push(problem)).ok()
}

pub(super) fn interface(typed: Option<&Text>, findings: &mut Vec<Diagnostic>) -> Option<String> {
    let typed = unless_word(typed, "any")?;
    let name = typed.get_ref();
    if value::device_name(name) {
        return Some(name.clone());
    }
    let message = format!("`{name}` can't be the name of a network device");
    let problem = Diagnostic::error(message).at(typed.span());
    findings.push(problem.help("\"ip link\" shows their names; interface = \"any\" binds to none"));
    None
}

pub(super) fn fwmark(
    typed: Option<&Spanned<WordOrNumber>>,
    findings: &mut Vec<Diagnostic>,
) -> Option<NonZeroU32> {
    let typed = typed?;
    let number = match typed.get_ref() {
        WordOrNumber::Number(number) => Some(*number),
        WordOrNumber::Word(word) if word == "none" => return None,
        WordOrNumber::Word(word) => value::mark(word).map(i128::from),
    };
    let Some(number) = number else {
        let problem = Diagnostic::error("`peer.fwmark` must be \"none\" or a number");
        findings.push(
            problem
                .at(typed.span())
                .help("write it as in fwmark = 7 or fwmark = 0x7"),
        );
        return None;
    };
    let bounds = (1, u32::MAX);
    bounded("peer.fwmark", number, typed.span(), bounds, findings).and_then(NonZeroU32::new)
}

pub(super) fn psk(
    file: &Path,
    source: &Source,
    keys: &PskKeys,
    (place, section): &(Option<Range<usize>>, &str),
    findings: &mut Vec<Diagnostic>,
) -> Option<Secret> {
    let (psk, span) = match (&keys.text, &keys.file) {
        (Required::Given(_), Required::Given(typed)) => {
            let problem = Diagnostic::error("both `psk` and `psk-file` are given");
            findings.push(problem.at(typed.span()).help("remove one of them"));
            return None;
        }
        (Required::Given(typed), _) => {
            if source.exposed {
                findings.push(
                    Diagnostic::error("other users can read this file, and it holds the key")
                        .at(typed.span())
                        .help(format!("chmod 600 {}", file.display())),
                );
            }
            (decode_psk(typed.get_ref().as_bytes()), typed.span())
        }
        (_, Required::Given(typed)) => {
            let folder = file.parent().unwrap_or(Path::new(""));
            (read_psk(&folder.join(typed.get_ref())), typed.span())
        }
        (Required::Absent, Required::Absent) => {
            findings.push(
                Diagnostic::error("the pre-shared key is missing")
                    .at_some(place.clone())
                    .help(format!(
                        "write psk-file = \"…\" under {section}: a file with the key, of mode 600"
                    )),
            );
            return None;
        }
        (Required::Wrong, _) | (_, Required::Wrong) => return None,
    };
    match psk {
        Ok(psk) => {
            findings.extend(psk.warning.map(|warning| warning.at(span)));
            Some(psk.secret)
        }
        Err(problem) => {
            findings.push(problem.at(span));
            None
        }
    }
}

pub(super) fn local_id(typed: Option<&Text>, findings: &mut Vec<Diagnostic>) -> Option<Identity> {
    if let Some(any) = typed.filter(|typed| typed.get_ref() == "any") {
        let problem = Diagnostic::error("`any` is for `remote-id`: we must be someone");
        findings.push(
            problem
                .at(any.span())
                .help("write local-id = \"auto\", or remove it"),
        );
        return None;
    }
    identity(unless_word(typed, "auto")?, findings)
}

pub(super) fn remote_id(typed: Option<&Text>, findings: &mut Vec<Diagnostic>) -> RemoteId {
    match unless_word(typed, "auto") {
        None => RemoteId::Address,
        Some(typed) if typed.get_ref() == "any" => RemoteId::Any,
        Some(typed) => identity(typed, findings).map_or(RemoteId::Address, RemoteId::Is),
    }
}

pub(super) fn identity(typed: &Text, findings: &mut Vec<Diagnostic>) -> Option<Identity> {
    value::identity(typed.get_ref())
        .map_err(|problem| {
            let shown = typed.get_ref();
            findings.push(
                Diagnostic::error(format!("`{shown}` is no identity: {problem}"))
                    .at(typed.span())
                    .help(
                        "an identity is an IP address, \"fqdn.example\", \"user@example\" or \
                         \"keyid:0x…\"",
                    ),
            );
        })
        .ok()
}

pub(super) fn ike_proposals(
    typed: Option<&Spanned<Vec<Text>>>,
    findings: &mut Vec<Diagnostic>,
) -> Vec<IkeProposal> {
    let name = "peer.ike.proposals";
    proposals(name, typed, findings, IkeProposal::parse, IkeProposal::weak)
        .unwrap_or_else(default_ike)
}

pub(super) fn esp_proposals(keys: &EspKeys, findings: &mut Vec<Diagnostic>) -> Vec<EspProposal> {
    let policies = [
        ("prefer", EsnPolicy::Prefer),
        ("require", EsnPolicy::Require),
        ("never", EsnPolicy::Never),
    ];
    let esn = choice(
        "peer.esp.esn",
        keys.esn.as_ref(),
        &policies,
        EsnPolicy::default(),
        findings,
    );
    proposals(
        "peer.esp.proposals",
        keys.proposals.as_ref(),
        findings,
        |text| EspProposal::parse(text, esn),
        EspProposal::weak,
    )
    .unwrap_or_else(|| default_esp(esn))
}

fn proposals<T>(
    name: &str,
    typed: Option<&Spanned<Vec<Text>>>,
    findings: &mut Vec<Diagnostic>,
    parse: impl Fn(&str) -> Result<T, KeywordError>,
    weak: impl Fn(&T) -> Vec<&'static str>,
) -> Option<Vec<T>> {
    let typed = typed?;
    if typed.get_ref().is_empty() {
        findings.push(
            Diagnostic::error(format!(
                "`{name}` is empty: there would be nothing to agree on"
            ))
            .at(typed.span())
            .help("remove it to get the default"),
        );
    }
    let mut list = Vec::with_capacity(typed.get_ref().len());
    for text in typed.get_ref() {
        match parse(text.get_ref()) {
            Ok(proposal) => {
                let weak = weak(&proposal);
                if !weak.is_empty() {
                    findings.push(weak_algorithms(&weak).at(text.span()));
                }
                list.push(proposal);
            }
            Err(fault) => findings.push(
                Diagnostic::error(fault.to_string())
                    .at(part(text, fault.range.clone()))
                    .help(fault.help()),
            ),
        }
    }
    Some(list)
}

/// RFC 8247, RFC 8221: for peers that have nothing better, which ought to be known.
fn weak_algorithms(keywords: &[&str]) -> Diagnostic {
    Diagnostic::warning(format!(
        "this list has algorithms that are weak (RFC 8247, RFC 8221): {}",
        keywords.join(", ")
    ))
    .help("keep them only while the peer has nothing better")
}

pub(super) fn retransmit(keys: &RetransmitKeys, findings: &mut Vec<Diagnostic>) -> Retransmit {
    let default = Retransmit::default();
    let schedule = Retransmit {
        first: first_wait(keys.first.as_ref(), findings).unwrap_or(default.first),
        factor: factor(keys.factor.as_ref(), findings).unwrap_or(default.factor),
        tries: number(
            "peer.ike.retransmit.tries",
            keys.tries.as_ref(),
            (0, MAX_TRIES),
            default.tries,
            findings,
        ),
    };
    let waits = std::iter::successors(Some(schedule.first.as_secs_f64()), |wait| {
        Some(wait * schedule.factor)
    });
    let total: f64 = waits.take(schedule.tries as usize + 1).sum();
    if total > MAX_SCHEDULE.as_secs_f64() {
        findings.push(
            Diagnostic::error("these retransmissions would take more than a day")
                .at_some(keys.span.clone())
                .help("lower `first`, `factor` or `tries`; the default takes about a minute"),
        );
        return default;
    }
    schedule
}

fn first_wait(typed: Option<&Text>, findings: &mut Vec<Diagnostic>) -> Option<Duration> {
    let typed = typed?;
    let wait = value::duration(typed.get_ref()).filter(|wait| *wait >= MIN_FIRST_WAIT);
    if wait.is_none() {
        findings.push(
            Diagnostic::error("`peer.ike.retransmit.first` must be a duration of at least 10ms")
                .at(typed.span())
                .help("write a whole number and ms, s, m or h, as in \"500ms\""),
        );
    }
    wait
}

fn factor(typed: Option<&Spanned<f64>>, findings: &mut Vec<Diagnostic>) -> Option<f64> {
    let typed = typed?;
    let factor = Some(*typed.get_ref()).filter(|factor| (1.0..=10.0).contains(factor));
    if factor.is_none() {
        findings.push(
            Diagnostic::error("`peer.ike.retransmit.factor` must be from 1 to 10").at(typed.span()),
        );
    }
    factor
}

pub(super) fn on_failure(typed: Option<&Text>, findings: &mut Vec<Diagnostic>) -> OnFailure {
    let choices = [("retry", OnFailure::Retry), ("exit", OnFailure::Exit)];
    choice(
        "peer.ike.on-failure",
        typed,
        &choices,
        OnFailure::Retry,
        findings,
    )
}

pub(super) fn encapsulation(
    typed: Option<&Text>,
    findings: &mut Vec<Diagnostic>,
) -> UdpEncapsulation {
    let choices = [
        ("auto", UdpEncapsulation::Auto),
        ("always", UdpEncapsulation::Always),
        ("never", UdpEncapsulation::Never),
    ];
    let default = UdpEncapsulation::default();
    choice("peer.encapsulation", typed, &choices, default, findings)
}

pub(super) fn half_open(keys: &HalfOpenKeys, findings: &mut Vec<Diagnostic>) -> HalfOpenLimits {
    let default = HalfOpenLimits::default();
    let mut limit = |name, typed: Option<&Spanned<i128>>, least, default: usize| match typed {
        None => default,
        typed => number(name, typed, (least, MAX_HALF_OPEN), least, findings) as usize,
    };
    HalfOpenLimits {
        cookies_from: limit(
            "cookies-from",
            keys.cookies_from.as_ref(),
            0,
            default.cookies_from,
        ),
        limit: limit(
            "peer.ike.half-open.limit",
            keys.limit.as_ref(),
            1,
            default.limit,
        ),
    }
}

pub(super) fn replay_window(typed: Option<&Spanned<i128>>, findings: &mut Vec<Diagnostic>) -> u32 {
    let bounds = (MIN_WINDOW_PACKETS, MAX_WINDOW_PACKETS);
    number(
        "peer.esp.replay-window",
        typed,
        bounds,
        DEFAULT_WINDOW_PACKETS,
        findings,
    )
}
