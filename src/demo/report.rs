//! What the demo found: told as it happens, and as one JSON object at the end.

use std::io::Write;

use serde::Serialize;

use super::acts::mtu::MtuEdge;
use super::acts::multicast::Multicast;
use super::acts::negotiation::Negotiation;
use super::acts::ping::Pings;
use super::acts::throughput::Throughput;
use crate::net::capture::Frames;

/// The whole of `demo --json`. A check that was not reached is null.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Results {
    /// Whether every check was passed.
    pub(super) held: bool,
    /// Why not.
    pub(super) failure: Option<String>,
    /// How long it took in all.
    pub(super) seconds: f64,
    pub(super) negotiation: Option<Negotiation>,
    pub(super) ping_ipv4: Option<Pings>,
    pub(super) ping_ipv6: Option<Pings>,
    pub(super) multicast: Option<Multicast>,
    pub(super) mtu: Option<MtuEdge>,
    pub(super) throughput: Option<Throughput>,
    pub(super) link: Option<Frames>,
}

/// The finding of a check that was passed.
pub(super) trait Finding {
    /// A word or two, for the left column.
    fn what(&self) -> &'static str;
    /// The finding; lines after the first explain it.
    fn words(&self) -> String;
}

/// Tells those who watch what happens. That nobody listens any more stops nothing.
pub struct Narrator {
    audience: Box<dyn Write>,
    coloured: bool,
}

impl Narrator {
    /// `coloured`: whether it is a terminal that listens.
    pub fn new(audience: impl Write + 'static, coloured: bool) -> Self {
        Self {
            audience: Box::new(audience),
            coloured,
        }
    }

    /// One line or several, as they are.
    pub(super) fn line(&mut self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    /// Several lines under a heading.
    pub(super) fn indented(&mut self, text: &str) {
        for line in text.lines() {
            let line = format!("  {line}");
            self.line(line.trim_end());
        }
    }

    pub(super) fn heading(&mut self, text: &str) {
        let text = if self.coloured {
            format!("\n\x1b[1m{text}\x1b[0m")
        } else {
            format!("\n{text}")
        };
        self.line(&text);
    }

    /// A check that was passed, whose finding is handed on.
    pub(super) fn shown<F: Finding>(&mut self, finding: F) -> F {
        let ok = if self.coloured {
            "\x1b[32mok\x1b[0m"
        } else {
            "ok"
        };
        let words = finding.words();
        let mut lines = words.lines();
        let first = lines.next().unwrap_or_default();
        self.line(&format!("  {ok}  {:11} {first}", finding.what()));
        for line in lines {
            self.line(&format!("{:18}{line}", ""));
        }
        finding
    }

    fn write(&mut self, text: &str) {
        let _ = self
            .audience
            .write_all(text.as_bytes())
            .and_then(|()| self.audience.flush());
    }
}
