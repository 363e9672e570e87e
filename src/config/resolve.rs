//! What a file means: every default applied, every value checked alone and against the others.
//!
//! A value that is wrong is reported and replaced by its default, so that the rest of the file is
//! checked as well; a report with an error in it never becomes a [`Peer`].

mod hooks;
mod lifetime;
mod peer;
mod ppk;
mod tunnel;

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::DeTable;

use super::diagnostic::{Diagnostic, MAX_FINDINGS, Report};
use super::document::{self, Text};
use super::mask;
use super::schema::File;
use super::secret::Source;
use super::{Loaded, Peer, value};

/// Turns the text of a file into a [`Peer`].
pub(super) fn resolve(file: &Path, source: &Source) -> Result<Loaded, Report> {
    let (document, faults) = DeTable::parse_recoverable(&source.text);
    if !faults.is_empty() {
        document::wipe_secrets(document.into_inner());
        let findings = syntax_errors(&source.text, &faults);
        return Err(Report::new(
            file,
            mask::telling_lines(&source.text),
            findings,
        ));
    }
    let mut findings = Vec::new();
    let typed = File::read(&document, &mut findings);
    let masked = mask::spans(&source.text, &document::secret_spans(document.get_ref()));
    document::wipe_secrets(document.into_inner());
    let peer = complete(file, source, &typed, &mut findings);
    let failed = findings.iter().any(Diagnostic::is_error);
    let report = Report::new(file, masked, findings);
    match peer {
        Some(peer) if !failed => Ok(Loaded {
            peer,
            warnings: report,
        }),
        _ => Err(report),
    }
}

/// Checks everything before it gives up on anything; `None` where a part has no default.
fn complete(
    file: &Path,
    source: &Source,
    typed: &File,
    findings: &mut Vec<Diagnostic>,
) -> Option<Peer> {
    let name = name(file, typed.name.as_ref(), findings);
    let address = peer::address(&typed.peer, findings);
    let local = peer::local(typed.peer.local.as_ref(), address.as_ref(), findings);
    let psk = peer::psk(file, source, &typed.peer, findings);
    let ike = &typed.peer.ike;
    let ppk = ppk::ppk(file, &ike.ppk, findings);
    let esp = &typed.peer.esp;
    let outer = tunnel::Outer {
        peer: address.as_ref(),
        local,
    };
    let tunnels = tunnel::resolve_all(&typed.tunnels, &typed.daemon, &outer, findings);
    let local_id = peer::local_id(typed.peer.local_id.as_ref(), findings);
    let remote_id = peer::remote_id(typed.peer.remote_id.as_ref(), findings);
    let ike_proposals = peer::ike_proposals(ike.proposals.as_ref(), findings);
    let esp_proposals = peer::esp_proposals(esp, findings);
    let retransmit = peer::retransmit(&ike.retransmit, findings);
    let on_failure = peer::on_failure(ike.on_failure.as_ref(), findings);
    let interface = peer::interface(typed.peer.interface.as_ref(), findings);
    let fwmark = peer::fwmark(typed.peer.fwmark.as_ref(), findings);
    let encapsulation = peer::encapsulation(typed.peer.encapsulation.as_ref(), findings);
    let half_open = peer::half_open(&ike.half_open, findings);
    let ike_lifetime = lifetime::of_ike(ike, findings);
    let dpd = lifetime::dpd(ike, findings);
    let child_lifetime = lifetime::of_esp(esp, findings);
    let child_bytes = lifetime::bytes(esp, findings);
    let child_packets = lifetime::packets(esp, findings);
    let replay_window_packets = peer::replay_window(esp.replay_window.as_ref(), findings);
    let hooks = hooks::resolve(file, &typed.hooks, findings);
    Some(Peer {
        name,
        file: file.to_owned(),
        address: address?,
        local,
        local_id,
        remote_id,
        psk: psk?,
        ppk,
        initiate: given(typed.peer.initiate.as_ref()).unwrap_or(true),
        interface,
        fwmark,
        ike_proposals,
        esp_proposals,
        retransmit,
        on_failure,
        fragmentation: given(ike.fragmentation.as_ref()).unwrap_or(true),
        encapsulation,
        half_open,
        ike_lifetime,
        dpd,
        child_lifetime,
        child_bytes,
        child_packets,
        replay_window_packets,
        tunnels,
        hooks,
    })
}

/// The parser goes on after a fault and meets others that follow from it: the first of each line
/// is what a person needs.
fn syntax_errors(text: &str, faults: &[toml::de::Error]) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let mut last_line = None;
    for fault in faults.iter().take(MAX_FINDINGS) {
        let span = fault.span().unwrap_or(0..text.len());
        let line = text
            .get(..span.start)
            .map(|before| before.matches('\n').count());
        if line != last_line {
            let message = fault.message();
            let problem =
                Diagnostic::error(message.trim_end_matches(", expected nothing")).at(span);
            let unquoted = ["float", "integer", "date"]
                .iter()
                .any(|kind| message.contains(kind));
            findings.push(match unquoted {
                true => problem.help("a text is written in quotes, as in \"198.51.100.2\""),
                false => problem,
            });
        }
        last_line = line;
    }
    findings
}

fn name(file: &Path, typed: Option<&Text>, findings: &mut Vec<Diagnostic>) -> String {
    const RULE: &str = "a name has 1 to 64 letters, digits, dots, hyphens and underscores, and \
                        does not begin with a dot or a hyphen";
    let stem = || {
        file.file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
            .to_owned()
    };
    let name = typed.map_or_else(stem, |name| name.get_ref().clone());
    if !value::peer_name(&name) {
        findings.push(match typed {
            Some(typed) => Diagnostic::error(format!("`{name}` can't be a peer's name"))
                .at(typed.span())
                .help(RULE),
            None => Diagnostic::error(format!("the file's name `{name}` can't name the peer"))
                .help(format!("write name = \"…\" at the top of the file; {RULE}")),
        });
    }
    name
}

/// A word that stands for the default, as in `local = "auto"`, is as good as none.
fn unless_word<'t>(typed: Option<&'t Text>, word: &str) -> Option<&'t Text> {
    typed.filter(|text| text.get_ref() != word)
}

fn given<T: Copy>(typed: Option<&Spanned<T>>) -> Option<T> {
    typed.map(|value| *value.get_ref())
}

/// A whole number within bounds, both included.
fn number<T: Copy + TryFrom<i128> + Into<i128>>(
    name: &str,
    typed: Option<&Spanned<i128>>,
    bounds: (T, T),
    default: T,
    findings: &mut Vec<Diagnostic>,
) -> T {
    let Some(typed) = typed else { return default };
    bounded(name, *typed.get_ref(), typed.span(), bounds, findings).unwrap_or(default)
}

fn bounded<T: Copy + TryFrom<i128> + Into<i128>>(
    name: &str,
    number: i128,
    span: Range<usize>,
    (least, most): (T, T),
    findings: &mut Vec<Diagnostic>,
) -> Option<T> {
    let (least, most): (i128, i128) = (least.into(), most.into());
    if (least..=most).contains(&number) {
        return T::try_from(number).ok();
    }
    let message = format!("`{name}` must be from {least} to {most}, but this is {number}");
    findings.push(Diagnostic::error(message).at(span));
    None
}

/// One word of a list.
fn choice<T: Copy>(
    name: &str,
    typed: Option<&Text>,
    choices: &[(&str, T)],
    default: T,
    findings: &mut Vec<Diagnostic>,
) -> T {
    let Some(typed) = typed else { return default };
    if let Some((_, chosen)) = choices.iter().find(|(word, _)| word == typed.get_ref()) {
        return *chosen;
    }
    let words: Vec<String> = choices
        .iter()
        .map(|(word, _)| format!("\"{word}\""))
        .collect();
    findings.push(
        Diagnostic::error(format!("`{name}` has no value `{}`", typed.get_ref()))
            .at(typed.span())
            .help(format!("choose from {}", words.join(", "))),
    );
    default
}
