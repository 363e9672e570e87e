//! What `tunnel.liveness` means: how often the peer is asked by probes whether it lives.

use std::time::Duration;

use super::super::super::diagnostic::Diagnostic;
use super::super::super::document::Text;
use super::super::super::value;
use super::super::unless_word;

/// Faster than this, and a busy host's scheduler alone makes dead peers.
const MIN_LIVENESS: Duration = Duration::from_millis(20);
const MAX_LIVENESS: Duration = Duration::from_secs(60);

/// `None`: no probes.
pub(super) fn liveness(typed: Option<&Text>, findings: &mut Vec<Diagnostic>) -> Option<Duration> {
    let typed = unless_word(typed, "off")?;
    let bounds = MIN_LIVENESS..=MAX_LIVENESS;
    let every = value::duration(typed.get_ref()).filter(|every| bounds.contains(every));
    if every.is_none() {
        findings.push(
            Diagnostic::error("`tunnel.liveness` must be \"off\" or a duration from 20ms to 60s")
                .at(typed.span())
                .help("write a whole number and ms or s, as in \"100ms\""),
        );
    }
    every
}
