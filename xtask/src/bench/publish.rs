//! Where the result goes: files, the terminal, and the marked places of the documentation.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context;

use super::metric::Metric;
use super::plot;
use super::report::Report;

/// The file of the picture.
const PICTURE: &str = "performance.svg";

/// What the README shows of the figures.
const README: [Metric; 7] = [
    Metric::Tcp1,
    Metric::CpuPerGb,
    Metric::Tcp1NoOffload,
    Metric::Udp,
    Metric::Small,
    Metric::IdlePing,
    Metric::Memory,
];

/// Around the place in a document that a run fills.
const BEGIN: &str = "<!-- filled by cargo xtask bench --docs -->\n";
const END: &str = "<!-- end of what was filled in -->";

/// `report.json`, `report.md` and the picture.
pub(super) fn files(report: &Report, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    write(&folder.join("report.json"), &json(report)?)?;
    write(
        &folder.join("report.md"),
        &format!("{}\n", report.markdown()),
    )?;
    write(&folder.join(PICTURE), &plot::svg(report))?;
    eprintln!(
        "report.json, report.md and {PICTURE} are in {}",
        folder.display()
    );
    Ok(())
}

/// To standard output.
pub(super) fn print(report: &Report, as_json: bool) -> anyhow::Result<()> {
    let text = if as_json {
        json(report)?
    } else {
        format!("{}\n", report.markdown())
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot print the result")
}

/// Into `docs/PERFORMANCE.md`, beside it, and into the README of the checkout at `root`.
pub(super) fn docs(report: &Report, root: &Path) -> anyhow::Result<()> {
    write(&root.join("docs").join(PICTURE), &plot::svg(report))?;
    fill(&root.join("docs/PERFORMANCE.md"), &report.markdown())?;
    let summary = format!(
        "![What was measured](docs/{PICTURE})\n\n{}\n\nMeasured {}; medians of {} round(s).{}",
        report.medians_of(&README),
        report.conditions.describe(),
        report.settings.rounds,
        if report.settings.quick {
            " A quick run: its figures mean little."
        } else {
            ""
        }
    );
    fill(&root.join("README.md"), &summary)
}

fn json(report: &Report) -> anyhow::Result<String> {
    let text = serde_json::to_string_pretty(report).context("cannot write the report as JSON")?;
    Ok(text + "\n")
}

fn fill(file: &Path, text: &str) -> anyhow::Result<()> {
    let document =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let filled = filled(&document, text)
        .with_context(|| format!("{} has no place for the result", file.display()))?;
    write(file, &filled)
}

/// The document with `text` between the marks; none without marks.
fn filled(document: &str, text: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{text}\n\n{END}{after}"))
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_filled_again_and_again() {
        let document = format!("head\n{BEGIN}old\n{END}\ntail\n");
        let once = filled(&document, "new").unwrap();
        assert_eq!(once, format!("head\n{BEGIN}\nnew\n\n{END}\ntail\n"));
        assert_eq!(filled(&once, "new").unwrap(), once);
        assert_eq!(filled("no marks", "new"), None);
    }

    #[test]
    fn the_documents_of_this_checkout_have_the_place() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for file in ["docs/PERFORMANCE.md", "README.md"] {
            let text = fs::read_to_string(root.join(file)).unwrap();
            assert!(filled(&text, "").is_some(), "{file}");
        }
    }
}
