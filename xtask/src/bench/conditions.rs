//! Under what conditions was measured.

use std::fs;
use std::process::Command;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// The machine and the moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Conditions {
    /// UTC, as `2026-11-21 12:30`.
    pub(super) date: String,
    /// The kernel's release.
    pub(super) kernel: String,
    /// The processor's model name.
    pub(super) processor: String,
    /// How many of them this process may use.
    pub(super) cores: usize,
    /// Runnable processes in the minute before; well above 0: others were at work.
    pub(super) load_before: f64,
    /// The commit of the checkout, with `-dirty` if files differ from it.
    pub(super) commit: String,
}

impl Conditions {
    pub(super) fn now() -> anyhow::Result<Self> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let load = fs::read_to_string("/proc/loadavg")?;
        Ok(Self {
            date: said("date", &["--utc", "+%Y-%m-%d %H:%M"]).context("no date")?,
            kernel: kernel.trim().to_owned(),
            processor: fs::read_to_string("/proc/cpuinfo")
                .ok()
                .and_then(|text| model_name(&text))
                .unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism()?.get(),
            load_before: load
                .split_whitespace()
                .next()
                .and_then(|load| load.parse().ok())
                .context("/proc/loadavg has no load")?,
            commit: said("git", &["describe", "--always", "--dirty"])
                .unwrap_or_else(|| "unknown".into()),
        })
    }

    /// Whether others kept at least half of the processors busy.
    pub(super) fn is_busy(&self) -> bool {
        self.load_before * 2.0 >= self.cores as f64
    }

    /// In one line.
    pub(super) fn describe(&self) -> String {
        format!(
            "{} UTC, {} cores of {}, Linux {}, load before {:.1}, commit {}",
            self.date, self.cores, self.processor, self.kernel, self.load_before, self.commit
        )
    }
}

fn model_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success()).then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC 9R14: special\nflags\t: fpu\n";
        assert_eq!(model_name(text).as_deref(), Some("AMD EPYC 9R14: special"));
        assert_eq!(model_name("Hardware\t: BCM2835\n"), None);
    }
}
