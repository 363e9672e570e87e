//! `cargo xtask fuzz`: the targets of `fuzz/`, by libFuzzer. What is found and kept is in the corpora,
//! which `cargo test` runs without any of this.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// What to run, and for how long.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// One of the targets; all of them, one after the other, if none is named.
    target: Option<String>,
    /// How long each of them runs.
    #[arg(default_value_t = 60)]
    seconds: u32,
}

/// Runs each target from its corpus; inputs that reach new code are kept below `target/`.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if !is_there(&["+nightly", "fuzz", "--version"])? {
        bail!(
            "cargo-fuzz or a nightly compiler is missing: run \
             `rustup toolchain install nightly` and `cargo install cargo-fuzz --locked`"
        );
    }
    let targets = targets()?;
    let named = |target: &String| {
        let named = arguments.target.as_ref();
        named.is_none_or(|named| named == target)
    };
    let chosen: Vec<_> = targets.iter().filter(|target| named(target)).collect();
    if chosen.is_empty() {
        bail!("no such target; there are {}", targets.join(", "));
    }
    for target in chosen {
        fuzz(target, arguments.seconds)?;
    }
    Ok(())
}

/// Every target has a corpus.
fn targets() -> anyhow::Result<Vec<String>> {
    let folders = fs::read_dir("fuzz/corpus").context("cannot read fuzz/corpus")?;
    let mut names = Vec::new();
    for folder in folders {
        let name = folder.context("cannot read fuzz/corpus")?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn fuzz(target: &str, seconds: u32) -> anyhow::Result<()> {
    let found = format!("target/fuzz/{target}");
    fs::create_dir_all(&found).with_context(|| format!("cannot make {found}"))?;
    let corpus = format!("fuzz/corpus/{target}");
    println!("> {target}, {seconds} s");
    let status = Command::new("cargo")
        .args(["+nightly", "fuzz", "run", target, &found, &corpus, "--"])
        .arg(format!("-max_total_time={seconds}"))
        .stdin(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!(
            "{target} has failed; put the input that it names into {corpus}, where a test runs it"
        );
    }
    Ok(())
}

fn is_there(arguments: &[&str]) -> anyhow::Result<bool> {
    let probe = Command::new("cargo").args(arguments).output();
    Ok(probe.context("cannot run cargo")?.status.success())
}
