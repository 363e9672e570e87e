//! What a tunnel's passengers are, and the GRE headers that they get: kind, key, checksum and sequence
//! numbers, keepalives.

use std::time::Duration;

use secure_gre_gre::{Config, FlowId, Key, Passengers, Vsid, keepalive};
use toml::Spanned;

use super::super::super::diagnostic::Diagnostic;
use super::super::super::document::WordOrNumber;
use super::super::super::schema::{KeepaliveKeys, KeyKeys, TunnelKeys};
use super::super::super::value;
use super::super::{bounded, given, number};

const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_TRIES: u8 = 3;
const MAX_KEEPALIVE_TRIES: u8 = 100;

pub(super) fn gre(keys: &TunnelKeys, kind: Passengers, findings: &mut Vec<Diagnostic>) -> Config {
    let options = [("checksum", &keys.checksum), ("sequence", &keys.sequence)];
    let key = match &keys.key {
        KeyKeys::One(typed) => whole_key(typed.as_ref(), findings).map(Key::Whole),
        KeyKeys::Subnet { vsid, flow_id, .. } => {
            if kind == Passengers::Ip {
                findings.push(
                    Diagnostic::error("NVGRE carries Ethernet frames, and this tunnel IP packets")
                        .at_some(keys.key.span())
                        .help("write kind = \"ethernet\""),
                );
            }
            for (name, typed) in options {
                let typed = typed.as_ref().filter(|typed| *typed.get_ref());
                findings.extend(typed.map(|typed| {
                    Diagnostic::error(format!("NVGRE has no `{name}` (RFC 7637 §3.2)"))
                        .at(typed.span())
                        .help("remove it")
                }));
            }
            subnet(keys, vsid.as_ref(), flow_id.as_ref(), findings)
        }
    };
    let [checksum, sequence] = options.map(|(_, typed)| given(typed.as_ref()).unwrap_or(false));
    Config {
        kind,
        key,
        checksum,
        sequence,
    }
}

/// NVGRE's key (RFC 7637 §3.2).
fn subnet(
    keys: &TunnelKeys,
    vsid: Option<&Spanned<i128>>,
    flow_id: Option<&Spanned<WordOrNumber>>,
    findings: &mut Vec<Diagnostic>,
) -> Option<Key> {
    let Some(vsid) = vsid else {
        findings.push(
            Diagnostic::error("`tunnel.key.vsid` is missing")
                .at_some(keys.key.span())
                .help("write key = { vsid = 5001, flow-id = \"auto\" }"),
        );
        return None;
    };
    let bounds = (0, Vsid::MAX);
    let vsid = bounded(
        "tunnel.key.vsid",
        *vsid.get_ref(),
        vsid.span(),
        bounds,
        findings,
    );
    let flow_id = match flow_id.map(|typed| (typed, typed.get_ref())) {
        None => FlowId::Auto,
        Some((typed, WordOrNumber::Number(number))) => {
            let bounds = (0, u8::MAX);
            bounded(
                "tunnel.key.flow-id",
                *number,
                typed.span(),
                bounds,
                findings,
            )
            .map_or(FlowId::Auto, FlowId::Fixed)
        }
        Some((_, WordOrNumber::Word(word))) if word == "auto" => FlowId::Auto,
        Some((typed, WordOrNumber::Word(_))) => {
            findings.push(
                Diagnostic::error("`tunnel.key.flow-id` must be \"auto\" or from 0 to 255")
                    .at(typed.span())
                    .help("a number is written without quotes"),
            );
            FlowId::Auto
        }
    };
    let vsid = vsid.and_then(Vsid::new)?;
    Some(Key::Subnet { vsid, flow_id })
}

fn whole_key(typed: Option<&Spanned<WordOrNumber>>, findings: &mut Vec<Diagnostic>) -> Option<u32> {
    let typed = typed?;
    match typed.get_ref() {
        WordOrNumber::Word(word) if word == "none" => None,
        WordOrNumber::Word(word) => {
            let key = value::gre_key(word);
            if key.is_none() {
                findings.push(
                    Diagnostic::error("`tunnel.key` must be \"none\", a number or a dotted quad")
                        .at(typed.span())
                        .help("a number is written without quotes"),
                );
            }
            key
        }
        WordOrNumber::Number(number) => {
            bounded("tunnel.key", *number, typed.span(), (0, u32::MAX), findings)
        }
    }
}

/// Cisco's bounds and defaults.
pub(super) fn keepalive(
    keys: &KeepaliveKeys,
    kind: Passengers,
    findings: &mut Vec<Diagnostic>,
) -> Option<keepalive::Interval> {
    let span = keys.span.as_ref()?;
    if kind == Passengers::Ethernet {
        findings.push(
            Diagnostic::error("GRE keepalives are IP packets, which this tunnel does not carry")
                .at(span.clone())
                .help("write keepalive = \"off\", or kind = \"ip\""),
        );
    }
    let every = keys.every.as_ref().map(|typed| {
        let every = value::duration(typed.get_ref());
        let bounds = Duration::from_secs(1)..=Duration::from_secs(32_767);
        every.filter(|every| bounds.contains(every)).ok_or(typed)
    });
    let every = match every {
        Some(Ok(every)) => every,
        None => KEEPALIVE_EVERY,
        Some(Err(typed)) => {
            findings.push(
                Diagnostic::error("`tunnel.keepalive.every` must be a duration from 1s to 32767s")
                    .at(typed.span())
                    .help("write a whole number and s, m or h, as in \"10s\""),
            );
            KEEPALIVE_EVERY
        }
    };
    let tries = number(
        "tunnel.keepalive.tries",
        keys.tries.as_ref(),
        (1, MAX_KEEPALIVE_TRIES),
        KEEPALIVE_TRIES,
        findings,
    );
    Some(keepalive::Interval { every, tries })
}
