//! `cargo xtask interop`: runs the interop matrix (`tests/interop/`) and writes what passed, with
//! whom, to `docs/INTEROP.md`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::test;

const TABLE: &str = "docs/INTEROP.md";
const RESULTS: &str = "target/interop";

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this cell, as a failure names it; the table stays as it is.
    #[arg(long)]
    cell: Option<String>,
    /// Runs nothing: the table is written from the results of the last run.
    #[arg(long, conflicts_with = "cell")]
    write_only: bool,
}

/// One line of the results.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Cell(Cell),
    LeftOut(LeftOut),
}

#[derive(Deserialize)]
struct Cell {
    /// Its values, the daemon first, with slashes between them.
    cell: String,
    passed: bool,
    /// With its version.
    daemon: String,
    /// Of the guest.
    kernel: String,
    milliseconds: u64,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
struct LeftOut {
    left_out: String,
    why: String,
}

/// Runs the matrix, or one cell of it.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = std::path::absolute(RESULTS).context("cannot say where the results are")?;
    let outcome = match arguments.write_only {
        true => Ok(()),
        false => run_cells(arguments, &folder),
    };
    let (cells, left_out) = read(&folder)?;
    for cell in cells.iter().filter(|cell| !cell.passed) {
        println!(
            "FAILED {0}; to repeat it: cargo xtask interop --cell {0}",
            cell.cell
        );
    }
    outcome?;
    if cells.iter().any(|cell| !cell.passed) {
        bail!("{TABLE} is for a run in which everything passes");
    }
    match &arguments.cell {
        Some(cell) if cells.is_empty() => bail!("there is no cell {cell}; {TABLE} has most"),
        Some(cell) => println!("passed: {cell}"),
        None => {
            let text = render(cells, &left_out, &today()?);
            fs::write(TABLE, text).with_context(|| format!("cannot write {TABLE}"))?;
            println!("{TABLE} is written");
        }
    }
    Ok(())
}

fn run_cells(arguments: &Arguments, folder: &Path) -> anyhow::Result<()> {
    let mut environment = test::prepare()?;
    let _ = fs::remove_dir_all(folder);
    environment.push(("SECURE_GRE_INTEROP", folder.display().to_string()));
    // Not the test that compares the table with the matrix: it may fail before the table is written.
    let tests = "test(interop::strongswan::) + test(interop::libreswan::)";
    let mut nextest = vec!["nextest", "run", "--package", "secure-gre", "-E", tests];
    if let Some(cell) = &arguments.cell {
        environment.push(("SECURE_GRE_CELL", cell.clone()));
        nextest.push("--no-capture");
    }
    test::cargo_with(&nextest, &environment)
}

fn read(folder: &Path) -> anyhow::Result<(Vec<Cell>, BTreeSet<LeftOut>)> {
    let (mut cells, mut left_out) = (Vec::new(), BTreeSet::new());
    for file in files(folder)? {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        for line in text.lines() {
            let line = serde_json::from_str(line)
                .with_context(|| format!("{}: {line}", file.display()))?;
            match line {
                Line::Cell(cell) => cells.push(cell),
                Line::LeftOut(line) => {
                    left_out.insert(line);
                }
            }
        }
    }
    Ok((cells, left_out))
}

/// None, where no cell was wanted.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {RESULTS}"))?;
    entries
        .map(|entry| Ok(entry.context("cannot read a folder")?.path()))
        .collect()
}

/// As `2026-11-21`.
fn today() -> anyhow::Result<String> {
    let output = Command::new("date").args(["--utc", "+%Y-%m-%d"]).output();
    let output = output.context("cannot run date")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

const INTRODUCTION: &str = "# What we work with

Written by `cargo xtask interop`, from a run in which everything below passed; a test compares it with
the matrix in [`tests/interop/`](../tests/interop/).

A cell is one value of each column. In the cells of a run every pair of values meets, so whatever two
circumstances can break together has been tried; `cargo xtask test --full` runs the whole product. In a
cell both ends agree on exactly this suite, which our `status` and the guest's kernel have to show;
packets of all sizes up to the MTU pass both ways, over IPv4 and IPv6 inside, none of them in clear and
none longer than it should be; keys are replaced, with forward secrecy where the suite has a group for
it; a goodbye leaves nothing behind. The peer has a kernel of its own, with Linux's GRE and ESP.

- *role*: who begins. *suite*: as IKE has it; ESP's is the one of that row in
  [`suite.rs`](../tests/interop/suite.rs).
- *way*: ESP as protocol 50 (`native`), in UDP because the caller wants that (`udp`), or because the
  caller is behind an address and port translation (`nat`). *outer*: the addresses outside.
- *besides*: `fragments`: the peer divides its IKE messages (RFC 7383); `cookies`: who is called asks for
  one; `invalid-ke`: the caller begins with a group that the other end does not want; `esn-off`: we
  refuse extended sequence numbers, which all others agree on.
- *took*: on a busy machine, most of it in the guest.

One of them alone: `cargo xtask interop --cell strongswan/we-call/…`, the row with slashes.
";

fn render(mut cells: Vec<Cell>, left_out: &BTreeSet<LeftOut>, date: &str) -> String {
    cells.sort_by(|a, b| (Reverse(&a.daemon), &a.cell).cmp(&(Reverse(&b.daemon), &b.cell)));
    let mut versions = BTreeMap::<(&str, &str), usize>::new();
    for cell in &cells {
        *versions.entry((&cell.daemon, &cell.kernel)).or_default() += 1;
    }
    let mut text = format!("{INTRODUCTION}\n## The run of {date}\n\n");
    for ((daemon, kernel), count) in versions.iter().rev() {
        let _ = writeln!(text, "- {daemon} on {kernel}: {count} cells, all passed");
    }
    text += "\nLeft out:\n\n";
    for LeftOut { left_out, why } in left_out {
        let _ = writeln!(text, "- {left_out}: {why}");
    }
    text += "\n| peer | role | suite | way | outer | besides | took |\n";
    text += "|---|---|---|---|---|---|---|\n";
    for cell in &cells {
        let seconds = cell.milliseconds.div_ceil(1000);
        let _ = writeln!(text, "| {} | {seconds} s |", cell.cell.replace('/', " | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Line, render};

    #[test]
    fn a_line_becomes_a_row() {
        let line = r#"{"cell":"strongswan/we-call/aes","passed":true,"daemon":"strongSwan 5.9.8",
            "kernel":"Linux 6.1","milliseconds":1200}"#;
        let Line::Cell(cell) = serde_json::from_str(line).unwrap() else {
            panic!("{line}");
        };
        let Line::LeftOut(reason) =
            serde_json::from_str(r#"{"left-out":"this","why":"that"}"#).unwrap()
        else {
            panic!();
        };
        let text = render(vec![cell], &[reason].into(), "today");
        assert!(
            text.contains("\n| strongswan | we-call | aes | 2 s |\n"),
            "{text}"
        );
        assert!(
            text.contains("\n- strongSwan 5.9.8 on Linux 6.1: 1 cells, all passed\n"),
            "{text}"
        );
        assert!(text.contains("\n- this: that\n"), "{text}");
    }
}
