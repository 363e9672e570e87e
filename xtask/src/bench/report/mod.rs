//! What was measured, and what it says: medians, ratios, targets; as tables for people and as JSON.

mod table;
mod targets;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::table::Table;
use super::conditions::Conditions;
use super::metric::{Metric, Values};

/// Everything about one call of the benchmark.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// The machine and the moment.
    pub(super) conditions: Conditions,
    /// How it was measured.
    pub(super) settings: Settings,
    /// Who took part, in the order of the tables.
    pub(super) contestants: Vec<Contestant>,
    /// Who was left out, and what to do about it.
    pub(super) skipped: Vec<(String, String)>,
    /// Every tunnel in every round, in the order of time.
    pub(super) runs: Vec<Run>,
}

/// How it was measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Settings {
    /// Only to see whether everything works.
    pub(super) quick: bool,
    /// How often every tunnel was measured.
    pub(super) rounds: u32,
    /// How long one transfer takes.
    pub(super) transfer: Duration,
}

impl Settings {
    /// How long one rate of datagrams is tried.
    pub(super) fn probe(self) -> Duration {
        self.transfer * 3 / 10
    }

    /// How close two rates of datagrams have to be, as a factor.
    pub(super) fn resolution(self) -> f64 {
        if self.quick { 1.25 } else { 1.08 }
    }

    /// How many requests go through an idle tunnel.
    pub(super) fn idle_pings(self) -> u32 {
        if self.quick { 50 } else { 400 }
    }
}

/// One tunnel.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Contestant {
    /// In tables.
    pub(super) name: String,
    /// What it is.
    pub(super) about: String,
    /// What it calls itself.
    pub(super) version: String,
}

/// One tunnel in one round.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    /// Which tunnel.
    pub(super) peer: String,
    /// Counted from 0.
    pub(super) round: u32,
    /// What was measured.
    pub(super) values: Values,
    /// Calls per full TCP segment, by name.
    pub(super) system_calls: Vec<(String, f64)>,
    /// What could not be measured, and why, in the words of programs, paths and all.
    pub(super) failures: Vec<(String, String)>,
}

impl Report {
    /// The median over the rounds.
    pub(super) fn median(&self, peer: &str, metric: Metric) -> Option<f64> {
        let runs = self.runs.iter().filter(|run| run.peer == peer);
        median(
            runs.filter_map(|run| run.values.get(&metric).copied())
                .collect(),
        )
    }

    /// How many times the figure of `theirs` that of `ours` is: the median of the rounds' ratios,
    /// so that what slows the machine for a while slows both.
    pub(super) fn ratio(&self, ours: (&str, Metric), theirs: (&str, Metric)) -> Option<f64> {
        let ratios = (0..self.settings.rounds)
            .filter_map(|round| Some(self.value(round, ours)? / self.value(round, theirs)?));
        median(ratios.collect())
    }

    fn value(&self, round: u32, (peer, metric): (&str, Metric)) -> Option<f64> {
        let mut runs = self
            .runs
            .iter()
            .filter(|run| run.round == round && run.peer == peer);
        runs.find_map(|run| run.values.get(&metric).copied())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.contestants
            .iter()
            .map(|contestant| contestant.name.as_str())
    }

    /// Those whose name does not begin as ours does; bare veth is no tunnel.
    fn rivals(&self) -> impl Iterator<Item = &str> {
        self.names()
            .filter(|name| !name.starts_with(OURS) && *name != NO_TUNNEL)
    }

    fn own(&self) -> impl Iterator<Item = &str> {
        self.names().filter(|name| name.starts_with(OURS))
    }

    /// Everything, in Markdown that is also readable as it is.
    pub(super) fn markdown(&self) -> String {
        let mut sections = vec![self.heading()];
        sections.push(format!("### Medians\n\n{}", self.medians()));
        sections.push(format!("### Ratios\n\n{}", self.ratios()));
        sections.push(format!("### Targets\n\n{}", targets::table(self)));
        sections.push(format!("### System calls\n\n{}", self.system_calls()));
        sections.push(format!("### Who took part\n\n{}", self.legend()));
        sections.join("\n\n")
    }

    fn heading(&self) -> String {
        let Settings {
            quick,
            rounds,
            transfer,
        } = self.settings;
        let warning = if quick {
            " **A quick run, which shows only that everything works.**"
        } else if self.conditions.is_busy() {
            " **Others were at work on the machine: the ratios count, the figures less.**"
        } else {
            ""
        };
        format!(
            "Measured {}. {rounds} interleaved round(s), transfers of {} s.{warning}",
            self.conditions.describe(),
            transfer.as_secs()
        )
    }

    /// One row per tunnel, one column per figure.
    pub(super) fn medians(&self) -> Table {
        self.medians_of(&Metric::ALL)
    }

    /// The same with some of the figures.
    pub(super) fn medians_of(&self, metrics: &[Metric]) -> Table {
        let mut table = Table::new("tunnel", metrics.iter().map(|metric| metric.head()));
        for name in self.names() {
            let cells = metrics.iter().map(|metric| {
                let value = self.median(name, *metric)?;
                Some(metric.format(value))
            });
            table.row(name, cells);
        }
        table
    }

    /// Ours against each of the others.
    fn ratios(&self) -> Table {
        let mut table = Table::new("ratio", Metric::ALL.iter().map(|metric| metric.head()));
        for own in self.own() {
            for rival in self.rivals() {
                let cells = Metric::ALL.map(|metric| {
                    let ratio = self.ratio((own, metric), (rival, metric))?;
                    Some(format!("{ratio:.2}"))
                });
                table.row(&format!("{own} / {rival}"), cells);
            }
        }
        table
    }

    fn system_calls(&self) -> String {
        let lines: Vec<String> = self
            .names()
            .filter_map(|name| {
                let run = self.runs.iter().find(|run| run.peer == name)?;
                let calls: Vec<String> = run
                    .system_calls
                    .iter()
                    .take(6)
                    .map(|(call, count)| format!("{call} {count:.3}"))
                    .collect();
                (!calls.is_empty()).then(|| format!("- {name}: {}", calls.join(", ")))
            })
            .collect();
        lines.join("\n")
    }

    fn legend(&self) -> String {
        let present = self.contestants.iter().map(|contestant| {
            let Contestant {
                name,
                about,
                version,
            } = contestant;
            let version = if version.is_empty() {
                String::new()
            } else {
                format!(" ({version})")
            };
            format!("- {name}{version}: {about}")
        });
        let absent = self
            .skipped
            .iter()
            .map(|(name, why)| format!("- {name}: left out, not installed: {why}"));
        let failed = self.runs.iter().flat_map(|run| {
            let (name, round) = (&run.peer, run.round + 1);
            run.failures.iter().map(move |(what, _)| {
                format!("- {name}, round {round}: {what} failed; report.json says why")
            })
        });
        present
            .chain(absent)
            .chain(failed)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

const OURS: &str = "secure-gre";
const NO_TUNNEL: &str = "bare-veth";

/// The middle one, or between the two middle ones.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Three rounds: the rival gets faster, we stay three times as fast, and once we fail.
    pub(in crate::bench) fn sample() -> Report {
        let contestant = |name: &str| Contestant {
            name: name.into(),
            about: "about <it>".into(),
            version: "1.0".into(),
        };
        let run = |peer: &str, round, rate: Option<f64>| Run {
            peer: peer.into(),
            round,
            values: rate.map(|rate| (Metric::Tcp1, rate)).into_iter().collect(),
            system_calls: vec![("read".into(), 0.5)],
            failures: rate
                .is_none()
                .then(|| ("TCP".to_owned(), "why".to_owned()))
                .into_iter()
                .collect(),
        };
        Report {
            conditions: Conditions {
                date: "2026-11-21 12:30".into(),
                kernel: "6.18".into(),
                processor: "a processor".into(),
                cores: 2,
                load_before: 0.0,
                commit: "abc".into(),
            },
            settings: Settings {
                quick: false,
                rounds: 3,
                transfer: Duration::from_secs(5),
            },
            contestants: ["secure-gre-udp", "wireguard-go", "bare-veth"]
                .map(contestant)
                .into(),
            skipped: vec![("openvpn".into(), "apt-get install openvpn".into())],
            runs: vec![
                run("secure-gre-udp", 0, Some(3.0)),
                run("wireguard-go", 0, Some(1.0)),
                run("wireguard-go", 1, Some(2.0)),
                run("secure-gre-udp", 1, None),
                run("secure-gre-udp", 2, Some(9.0)),
                run("wireguard-go", 2, Some(4.0)),
            ],
        }
    }

    #[test]
    fn a_median_needs_a_value() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0]), Some(2.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        let ratio = sample().ratio(
            ("secure-gre-udp", Metric::Tcp1),
            ("wireguard-go", Metric::Tcp1),
        );
        assert_eq!(ratio, Some(2.625));
    }

    #[test]
    fn the_text_tells_figures_absences_and_failures() {
        let text = sample().markdown();
        for part in [
            "| secure-gre-udp |",
            "| secure-gre-udp / wireguard-go |",
            "openvpn: left out, not installed: apt-get install openvpn",
            "secure-gre-udp, round 2: TCP failed; report.json says why",
            "- wireguard-go: read 0.500",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("secure-gre-udp / bare-veth"));
    }

    #[test]
    fn json_is_read_back() {
        let text = serde_json::to_string(&sample()).unwrap();
        let report: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(report.median("wireguard-go", Metric::Tcp1), Some(2.0));
        assert_eq!(report.markdown(), sample().markdown());
    }
}
