//! The picture: one panel per figure, one bar per tunnel, as SVG.

use std::fmt::Write;

use super::metric::Metric;
use super::report::Report;

/// What is drawn, row by row.
const PANELS: [Metric; 8] = [
    Metric::Tcp1,
    Metric::CpuPerGb,
    Metric::Tcp1NoOffload,
    Metric::CpuPerGbNoOffload,
    Metric::Udp,
    Metric::Small,
    Metric::IdlePing,
    Metric::LoadedPing,
];

const COLUMNS: usize = 2;
const PANEL_WIDTH: usize = 470;
const MARGIN: usize = 16;
const TITLE_HEIGHT: usize = 30;
const BAR_HEIGHT: usize = 14;
const BAR_DISTANCE: usize = 19;
const NAME_WIDTH: usize = 120;
const FIGURE_WIDTH: usize = 60;
const BAR_WIDTH: usize = PANEL_WIDTH - NAME_WIDTH - FIGURE_WIDTH - MARGIN;

/// Draws the medians.
pub(super) fn svg(report: &Report) -> String {
    let names: Vec<&str> = report
        .contestants
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    let panel_height = TITLE_HEIGHT + names.len() * BAR_DISTANCE + MARGIN;
    let rows = PANELS.len().div_ceil(COLUMNS);
    let (width, height) = (
        COLUMNS * PANEL_WIDTH + MARGIN,
        rows * panel_height + TITLE_HEIGHT + MARGIN,
    );
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (index, metric) in PANELS.into_iter().enumerate() {
        let (column, row) = (index % COLUMNS, index / COLUMNS);
        let (x, y) = (column * PANEL_WIDTH + MARGIN, row * panel_height + MARGIN);
        text += &panel(report, &names, metric, x, y);
    }
    let (x, y) = (MARGIN, height - MARGIN);
    let about = escape(&report.conditions.describe());
    text +=
        &format!("<text x=\"{x}\" y=\"{y}\" fill=\"#666666\" font-size=\"10\">{about}</text>\n");
    text + "</svg>\n"
}

fn panel(report: &Report, names: &[&str], metric: Metric, x: usize, y: usize) -> String {
    let values: Vec<Option<f64>> = names
        .iter()
        .map(|name| report.median(name, metric))
        .collect();
    let longest = values.iter().flatten().copied().fold(0.0, f64::max);
    let better = if metric.less_is_better() {
        "less"
    } else {
        "more"
    };
    let mut text = format!(
        "<text x=\"{x}\" y=\"{}\" font-size=\"13\" font-weight=\"bold\" fill=\"#222222\">{}\
         <tspan font-weight=\"normal\" font-size=\"10\" fill=\"#666666\"> ({better} is better)\
         </tspan></text>\n",
        y + 14,
        escape(metric.title())
    );
    for (index, (name, value)) in names.iter().zip(values).enumerate() {
        let top = y + TITLE_HEIGHT + index * BAR_DISTANCE;
        let shown = value.map_or_else(|| "-".into(), |value| metric.format(value));
        let length = bar_length(value.unwrap_or(0.0), longest);
        let (left, base) = (x + NAME_WIDTH, top + BAR_HEIGHT - 3);
        let _ = write!(
            text,
            "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\" fill=\"#222222\">{}</text>\n\
             <rect x=\"{left}\" y=\"{top}\" width=\"{length:.1}\" height=\"{BAR_HEIGHT}\" \
             fill=\"{}\"/>\n\
             <text x=\"{:.1}\" y=\"{base}\" fill=\"#222222\">{shown}</text>\n",
            left - 6,
            escape(name),
            color(name),
            left as f64 + length + 4.0,
        );
    }
    text
}

/// In proportion to the longest.
fn bar_length(value: f64, longest: f64) -> f64 {
    if longest > 0.0 {
        value / longest * BAR_WIDTH as f64
    } else {
        0.0
    }
}

/// Ours, the others, and what is no tunnel.
fn color(name: &str) -> &'static str {
    if name.starts_with("secure-gre") {
        "#0b7a75"
    } else if name == "bare-veth" {
        "#d9d9d9"
    } else {
        "#9aa5b1"
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::sample;
    use super::*;

    #[test]
    fn the_longest_bar_fills_its_panel() {
        assert_eq!(bar_length(4.0, 4.0), BAR_WIDTH as f64);
        assert_eq!(bar_length(1.0, 4.0), BAR_WIDTH as f64 / 4.0);
        assert_eq!(bar_length(0.0, 0.0), 0.0);
    }

    #[test]
    fn every_panel_has_a_bar_for_each_tunnel() {
        let text = svg(&sample());
        let bars = PANELS.len() * 3;
        assert_eq!(text.matches("<rect").count(), bars + 1);
        assert!(text.contains(">6.00</text>"), "the median of 3 and 9");
    }

    #[test]
    fn elements_are_closed_and_text_is_escaped() {
        let mut report = sample();
        report.conditions.processor = "A & B <C>".into();
        let text = svg(&report);
        assert!(text.contains("A &amp; B &lt;C&gt;"));
        assert_eq!(
            text.matches("<text").count(),
            text.matches("</text>").count()
        );
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n"));
    }
}
