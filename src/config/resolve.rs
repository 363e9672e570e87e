//! What a file means: every default applied, every value checked alone and against the others.
//!
//! A value that is wrong is reported and replaced by its default, so that the rest of the file is
//! checked as well; a report with an error in it never becomes a [`Peer`].

mod anywhere;
mod hooks;
mod lifetime;
mod peer;
mod ppk;
mod spoke;
mod tunnel;

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::DeTable;

use super::diagnostic::{Diagnostic, MAX_FINDINGS, Report};
use super::document::{self, Text};
use super::mask;
use super::schema::{File, PskKeys, TunnelKeys};
use super::secret::Source;
use super::{Loaded, Peer, PeerAddress, value};

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
    let peers = peers(
        &Context {
            file,
            source,
            name: typed.name.as_ref(),
        },
        &typed,
        &mut findings,
    );
    let failed = findings.iter().any(Diagnostic::is_error);
    let report = Report::new(file, masked, findings);
    match peers {
        Some(peers) if !failed => Ok(Loaded {
            peers,
            warnings: report,
        }),
        _ => Err(report),
    }
}

/// The file that is being read.
struct Context<'a> {
    file: &'a Path,
    source: &'a Source,
    name: Option<&'a Text>,
}

/// What one peer of a file has for itself.
struct Own<'a> {
    psk: &'a PskKeys,
    psk_place: (Option<Range<usize>>, &'static str),
    remote_id: Option<&'a Text>,
    /// Where it is missed, if it has to be there.
    remote_id_place: Option<Range<usize>>,
    tunnels: &'a [TunnelKeys],
}

fn peers(context: &Context<'_>, typed: &File, findings: &mut Vec<Diagnostic>) -> Option<Vec<Peer>> {
    if !typed.spokes.is_empty() {
        return spoke::resolve_all(context, typed, findings);
    }
    let own = Own {
        psk: &typed.peer.psk,
        psk_place: (typed.peer.span.clone(), "[peer]"),
        remote_id: typed.peer.remote_id.as_ref(),
        remote_id_place: typed.peer.span.clone(),
        tunnels: &typed.tunnels,
    };
    Some(vec![complete(context, typed, &own, findings)?])
}

/// Checks everything before it gives up on anything; `None` where a part has no default.
fn complete(
    context: &Context<'_>,
    typed: &File,
    own: &Own<'_>,
    findings: &mut Vec<Diagnostic>,
) -> Option<Peer> {
    let Context { file, source, .. } = *context;
    let name = context.name(findings);
    let address = peer::address(&typed.peer, !typed.spokes.is_empty(), findings);
    let local = peer::local(typed.peer.local.as_ref(), address.as_ref(), findings);
    let psk = peer::psk(file, source, own.psk, &own.psk_place, findings);
    let ike = &typed.peer.ike;
    let ppk = ppk::ppk(file, &ike.ppk, findings);
    let esp = &typed.peer.esp;
    let outer = tunnel::Outer {
        peer: address.as_ref(),
        local,
    };
    let tunnels = tunnel::resolve_all(own.tunnels, &typed.daemon, &outer, findings);
    let local_id = peer::local_id(typed.peer.local_id.as_ref(), findings);
    let is_any = address == Some(PeerAddress::Any);
    let remote_id = match is_any {
        true => anywhere::remote_id(own, findings),
        false => peer::remote_id(own.remote_id, findings),
    };
    if is_any {
        anywhere::check(&typed.peer, findings);
    }
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
        hub: None,
        file: file.to_owned(),
        address: address?,
        local,
        local_id,
        remote_id,
        psk: psk?,
        ppk,
        initiate: given(typed.peer.initiate.as_ref()).unwrap_or(!is_any),
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
        one_thread: tunnel::one_thread(&typed.daemon),
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

const NAME_RULE: &str = "a name has 1 to 64 letters, digits, dots, hyphens and underscores, and does not \
                         begin with a dot or a hyphen";

impl Context<'_> {
    /// What the file calls itself.
    fn name(&self, findings: &mut Vec<Diagnostic>) -> String {
        if let Some(typed) = self.name {
            check_name(typed, findings);
            return typed.get_ref().clone();
        }
        let stem = self.file.file_stem().and_then(|stem| stem.to_str());
        let name = stem.unwrap_or_default().to_owned();
        if !value::peer_name(&name) {
            findings.push(
                Diagnostic::error(format!("the file's name `{name}` can't name the peer")).help(
                    format!("write name = \"…\" at the top of the file; {NAME_RULE}"),
                ),
            );
        }
        name
    }
}

fn check_name(typed: &Text, findings: &mut Vec<Diagnostic>) {
    let name = typed.get_ref();
    if !value::peer_name(name) {
        findings.push(
            Diagnostic::error(format!("`{name}` can't be a peer's name"))
                .at(typed.span())
                .help(NAME_RULE),
        );
    }
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
