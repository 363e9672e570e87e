//! What the lifetimes of `[peer.ike]` and `[peer.esp]` and `peer.ike.dpd` mean.

use std::time::Duration;

use toml::Spanned;

use super::super::diagnostic::Diagnostic;
use super::super::document::{Text, WordOrNumber};
use super::super::schema::{EspKeys, IkeKeys};
use super::super::value;
use super::{bounded, unless_word};

/// An exchange takes a while, also on a path of satellites, and has to be over within the tenth of a
/// lifetime that is left for it.
const MIN_LIFETIME: Duration = Duration::from_secs(2);

/// Keys are meant to be replaced.
const MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// Faster checks than this are not IKE's to make.
const MIN_DPD: Duration = Duration::from_secs(1);

/// Fewer octets or packets than this would be used up while the rekey is under way.
const MIN_BYTES: u64 = 1_000_000;
const MIN_PACKETS: u64 = 1000;

/// More than any SA has numbers for.
const MAX_PACKETS: u64 = 1 << 36;

const IKE_LIFETIME: Duration = Duration::from_secs(8 * 3600);
const ESP_LIFETIME: Duration = Duration::from_secs(3600);
const DPD: Duration = Duration::from_secs(10);

pub(super) fn of_ike(keys: &IkeKeys, findings: &mut Vec<Diagnostic>) -> Duration {
    let typed = keys.lifetime.as_ref();
    lifetime("peer.ike.lifetime", typed, "8h", findings).unwrap_or(IKE_LIFETIME)
}

pub(super) fn of_esp(keys: &EspKeys, findings: &mut Vec<Diagnostic>) -> Duration {
    let typed = keys.lifetime.as_ref();
    lifetime("peer.esp.lifetime", typed, "1h", findings).unwrap_or(ESP_LIFETIME)
}

fn lifetime(
    name: &str,
    typed: Option<&Text>,
    example: &str,
    findings: &mut Vec<Diagnostic>,
) -> Option<Duration> {
    let typed = typed?;
    let bounds = MIN_LIFETIME..=MAX_LIFETIME;
    let lifetime = value::duration(typed.get_ref()).filter(|lifetime| bounds.contains(lifetime));
    if lifetime.is_none() {
        let problem = format!("`{name}` must be a duration from 2 seconds to a year");
        let help = format!("write a whole number and s, m or h, as in \"{example}\"");
        findings.push(Diagnostic::error(problem).at(typed.span()).help(help));
    }
    lifetime
}

/// `None`: the peer is never asked.
pub(super) fn dpd(keys: &IkeKeys, findings: &mut Vec<Diagnostic>) -> Option<Duration> {
    let Some(typed) = &keys.dpd else {
        return Some(DPD);
    };
    let typed = unless_word(Some(typed), "off")?;
    let bounds = MIN_DPD..=MAX_LIFETIME;
    let interval = value::duration(typed.get_ref()).filter(|interval| bounds.contains(interval));
    if interval.is_none() {
        findings.push(
            Diagnostic::error("`peer.ike.dpd` must be \"off\" or a duration of at least 1s")
                .at(typed.span())
                .help("write a whole number and s, m or h, as in \"10s\""),
        );
    }
    interval
}

pub(super) fn bytes(keys: &EspKeys, findings: &mut Vec<Diagnostic>) -> Option<u64> {
    let typed = unless_word(keys.lifetime_bytes.as_ref(), "off")?;
    let bytes = value::size(typed.get_ref()).filter(|bytes| *bytes >= MIN_BYTES);
    if bytes.is_none() {
        let problem = "`peer.esp.lifetime-bytes` must be \"off\" or a size of at least 1MB";
        findings.push(
            Diagnostic::error(problem)
                .at(typed.span())
                .help("write a whole number and kB, MB, GB or TB, as in \"50GB\""),
        );
    }
    bytes
}

pub(super) fn packets(keys: &EspKeys, findings: &mut Vec<Diagnostic>) -> Option<u64> {
    let typed: &Spanned<WordOrNumber> = keys.lifetime_packets.as_ref()?;
    match typed.get_ref() {
        WordOrNumber::Word(word) if word == "off" => None,
        WordOrNumber::Number(number) => {
            let bounds = (MIN_PACKETS, MAX_PACKETS);
            bounded(
                "peer.esp.lifetime-packets",
                *number,
                typed.span(),
                bounds,
                findings,
            )
        }
        WordOrNumber::Word(_) => {
            let problem = "`peer.esp.lifetime-packets` must be \"off\" or a number";
            findings.push(
                Diagnostic::error(problem)
                    .at(typed.span())
                    .help("write it as in lifetime-packets = 1_000_000_000"),
            );
            None
        }
    }
}
