//! What is measured: names, units, and which way is better.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One figure of one tunnel in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Metric {
    /// One TCP stream, Gbit/s of payload.
    Tcp1,
    /// CPU seconds of both tunnel processes per 10⁹ payload octets, while it ran.
    CpuPerGb,
    /// The same of the whole machine.
    MachineCpuPerGb,
    /// Four TCP streams, Gbit/s of payload.
    Tcp4,
    /// One TCP stream on a link without offloads, Gbit/s of payload.
    Tcp1NoOffload,
    /// CPU seconds per 10⁹ payload octets, while that ran.
    CpuPerGbNoOffload,
    /// Datagrams of 1372 octets at no more than 1 % loss, Gbit/s of payload.
    Udp,
    /// Datagrams of 64 octets at no more than 1 % loss, thousands per second.
    Small,
    /// Round trip through an idle tunnel, median, µs.
    IdlePing,
    /// Its 99th percentile, µs.
    IdlePing99,
    /// Round trip while one TCP stream fills the tunnel, median, µs.
    LoadedPing,
    /// Largest resident memory of one tunnel process, 10⁶ octets.
    Memory,
    /// System calls of both tunnel processes per full TCP segment, while one stream ran.
    SystemCalls,
}

/// The figures of one tunnel in one round, or their medians.
pub(super) type Values = BTreeMap<Metric, f64>;

impl Metric {
    /// In the order of the tables.
    pub(super) const ALL: [Self; 13] = [
        Self::Tcp1,
        Self::Tcp4,
        Self::CpuPerGb,
        Self::MachineCpuPerGb,
        Self::Tcp1NoOffload,
        Self::CpuPerGbNoOffload,
        Self::Udp,
        Self::Small,
        Self::IdlePing,
        Self::IdlePing99,
        Self::LoadedPing,
        Self::Memory,
        Self::SystemCalls,
    ];

    /// For the head of a column; ° marks a link without offloads.
    pub(super) const fn head(self) -> &'static str {
        match self {
            Self::Tcp1 => "TCP×1 Gbit/s",
            Self::Tcp4 => "TCP×4 Gbit/s",
            Self::CpuPerGb => "CPU s/GB",
            Self::MachineCpuPerGb => "all CPU s/GB",
            Self::Tcp1NoOffload => "TCP×1° Gbit/s",
            Self::CpuPerGbNoOffload => "CPU° s/GB",
            Self::Udp => "UDP Gbit/s",
            Self::Small => "64 B kpps",
            Self::IdlePing => "ping µs",
            Self::IdlePing99 => "p99 µs",
            Self::LoadedPing => "loaded µs",
            Self::Memory => "MB",
            Self::SystemCalls => "calls",
        }
    }

    /// In full.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Tcp1 => "TCP, 1 stream, Gbit/s",
            Self::Tcp4 => "TCP, 4 streams, Gbit/s",
            Self::CpuPerGb => "CPU s/GB",
            Self::MachineCpuPerGb => "CPU s/GB, whole machine",
            Self::Tcp1NoOffload => "TCP, 1 stream, no link offload, Gbit/s",
            Self::CpuPerGbNoOffload => "CPU s/GB, no link offload",
            Self::Udp => "UDP 1372 B, loss ≤ 1 %, Gbit/s",
            Self::Small => "UDP 64 B, loss ≤ 1 %, kpps",
            Self::IdlePing => "ping idle p50, µs",
            Self::IdlePing99 => "ping idle p99, µs",
            Self::LoadedPing => "ping under TCP p50, µs",
            Self::Memory => "peak memory, MB",
            Self::SystemCalls => "system calls per segment",
        }
    }

    /// Whether less of it is better.
    pub(super) const fn less_is_better(self) -> bool {
        !matches!(
            self,
            Self::Tcp1 | Self::Tcp4 | Self::Tcp1NoOffload | Self::Udp | Self::Small
        )
    }

    /// With as many digits as mean something.
    pub(super) fn format(self, value: f64) -> String {
        match self {
            Self::IdlePing | Self::IdlePing99 | Self::LoadedPing => format!("{value:.0}"),
            Self::Small | Self::Memory => format!("{value:.1}"),
            _ => format!("{value:.2}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_json_stay() {
        let values = Values::from([(Metric::Tcp1NoOffload, 2.5)]);
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(text, r#"{"tcp1-no-offload":2.5}"#);
        assert_eq!(serde_json::from_str::<Values>(&text).unwrap(), values);
    }
}
