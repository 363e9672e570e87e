//! What secure-gre has set itself, as ratios within the rounds of one run, and whether it holds.

use super::table::Table;
use super::{Metric, Report};

/// Against whom.
#[derive(Debug, Clone, Copy)]
enum Against {
    /// This tunnel.
    Tunnel(&'static str),
    /// Another figure of our own tunnel.
    Own(Metric),
    /// The best of the others.
    Best,
    /// Nobody: the figure itself counts.
    Nothing,
}

struct Target {
    ours: &'static str,
    metric: Metric,
    against: Against,
    /// At least this, or at most where less is better.
    goal: f64,
}

const UDP: &str = "secure-gre-udp";
const ESP: &str = "secure-gre-esp";
const PLAIN: &str = "secure-gre-plain";

const fn target(ours: &'static str, metric: Metric, against: Against, goal: f64) -> Target {
    Target {
        ours,
        metric,
        against,
        goal,
    }
}

const TARGETS: &[Target] = &[
    target(UDP, Metric::Tcp1, Against::Tunnel("wireguard-go"), 3.0),
    target(UDP, Metric::Tcp1, Against::Tunnel("boringtun"), 15.0),
    target(UDP, Metric::CpuPerGb, Against::Tunnel("wireguard-go"), 0.25),
    target(UDP, Metric::Tcp4, Against::Own(Metric::Tcp1), 1.0),
    target(
        UDP,
        Metric::Tcp1NoOffload,
        Against::Tunnel("wireguard-go"),
        4.0,
    ),
    target(
        UDP,
        Metric::Tcp1NoOffload,
        Against::Tunnel("boringtun"),
        6.5,
    ),
    target(ESP, Metric::Tcp1, Against::Tunnel("boringtun"), 4.0),
    target(ESP, Metric::Tcp1, Against::Tunnel("wireguard-go"), 0.85),
    target(
        ESP,
        Metric::Tcp1NoOffload,
        Against::Tunnel("wireguard-go"),
        2.4,
    ),
    target(PLAIN, Metric::Tcp1, Against::Tunnel("boringtun"), 2.6),
    target(UDP, Metric::Udp, Against::Best, 2.5),
    target(UDP, Metric::Small, Against::Best, 2.2),
    target(UDP, Metric::IdlePing, Against::Best, 0.85),
    target(UDP, Metric::LoadedPing, Against::Tunnel("boringtun"), 1.0),
    target(UDP, Metric::Memory, Against::Nothing, 16.0),
];

/// One row per target.
pub(super) fn table(report: &Report) -> Table {
    let heads = ["figure", "against", "target", "measured", "holds"];
    let mut table = Table::new("tunnel", heads.into_iter());
    for target in TARGETS {
        let (rival, measured) = target.measure(report);
        let sign = if target.metric.less_is_better() {
            "≤"
        } else {
            "≥"
        };
        let holds = measured.map(|value| if target.holds(value) { "yes" } else { "no" });
        let cells = [
            Some(target.metric.title().to_owned()),
            Some(rival),
            Some(format!("{sign} {}", target.goal)),
            measured.map(|value| format!("{value:.2}")),
            holds.map(str::to_owned),
        ];
        table.row(target.ours, cells);
    }
    table
}

impl Target {
    fn holds(&self, measured: f64) -> bool {
        if self.metric.less_is_better() {
            measured <= self.goal
        } else {
            measured >= self.goal
        }
    }

    /// Whom we are compared with, and the ratio.
    fn measure(&self, report: &Report) -> (String, Option<f64>) {
        let ours = (self.ours, self.metric);
        match self.against {
            Against::Nothing => ("-".into(), report.median(self.ours, self.metric)),
            Against::Own(metric) => (
                metric.title().into(),
                report.ratio(ours, (self.ours, metric)),
            ),
            Against::Tunnel(name) => (name.into(), report.ratio(ours, (name, self.metric))),
            Against::Best => match self.best(report) {
                Some(name) => (
                    format!("{name} (the best)"),
                    report.ratio(ours, (name, self.metric)),
                ),
                None => ("the best".into(), None),
            },
        }
    }

    fn best<'a>(&self, report: &'a Report) -> Option<&'a str> {
        let known = report
            .rivals()
            .filter_map(|name| Some((name, report.median(name, self.metric)?)));
        let best = if self.metric.less_is_better() {
            known.min_by(|a, b| a.1.total_cmp(&b.1))
        } else {
            known.max_by(|a, b| a.1.total_cmp(&b.1))
        };
        best.map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn a_target_holds_or_not_or_is_not_known() {
        let text = table(&sample()).to_string();
        let row = |figure: &str, against: &str| {
            let mut lines = text.lines().filter(|line| line.contains(figure));
            let line = lines.find(|line| line.contains(against)).unwrap();
            line.split('|').rev().nth(1).unwrap().trim().to_owned()
        };
        assert_eq!(
            row("TCP, 1 stream, Gbit/s", "wireguard-go"),
            "no",
            "2.6 < 3"
        );
        assert_eq!(row("TCP, 1 stream, Gbit/s", "boringtun"), "-");
    }

    #[test]
    fn less_holds_where_less_is_better() {
        let memory = target(UDP, Metric::Memory, Against::Nothing, 16.0);
        assert!(memory.holds(16.0) && !memory.holds(16.1));
        let rate = target(UDP, Metric::Tcp1, Against::Best, 2.0);
        assert!(rate.holds(2.0) && !rate.holds(1.9));
    }

    #[test]
    fn every_target_names_tunnels_of_the_list() {
        let names: Vec<_> = crate::bench::peers::ALL
            .iter()
            .map(|peer| peer.name())
            .collect();
        for target in TARGETS {
            assert!(names.contains(&target.ours));
            if let Against::Tunnel(name) = target.against {
                assert!(names.contains(&name));
            }
        }
    }
}
