//! `cargo xtask test`: everything, from a machine with nothing but the toolchain on it.

use std::process::{Command, Stdio};
use std::time::{Instant, UNIX_EPOCH};

use anyhow::{Context, bail};

use crate::debian;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Everything that takes too long for each change: full interop products, long lives, and
    /// properties with a seed of their own (it is printed).
    #[arg(long)]
    full: bool,
    /// Passed on to `cargo nextest run`, for example the name of a test. With any of these the
    /// documentation's examples are left out.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    nextest: Vec<String>,
}

/// Prepares the machine, then builds and tests; every step runs even if one before it failed.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut environment = prepare()?;
    cargo(&["build", "--package", "secure-gre"])?;
    if arguments.full {
        environment.extend(full_environment());
    }
    let mut nextest = vec!["nextest", "run", "--workspace"];
    nextest.extend(arguments.nextest.iter().map(String::as_str));
    let mut steps = vec![nextest];
    if arguments.nextest.is_empty() {
        steps.push(vec!["test", "--doc", "--workspace"]);
    }

    let mut failed = 0;
    let mut summary = Vec::new();
    for step in &steps {
        let start = Instant::now();
        let result = cargo_with(step, &environment);
        let verdict = if result.is_ok() { "passed" } else { "FAILED" };
        failed += usize::from(result.is_err());
        summary.push(format!(
            "{verdict} {:>4} s  cargo {}",
            start.elapsed().as_secs(),
            step.join(" ")
        ));
    }
    println!("\n{}", summary.join("\n"));
    if failed > 0 {
        bail!("{failed} of {} steps failed", steps.len());
    }
    Ok(())
}

/// Installs what the tests need; returns what tells them so.
pub(crate) fn prepare() -> anyhow::Result<Environment> {
    debian::install_missing(debian::FOR_TESTS)?;
    install_nextest()?;
    if !debian::is_root()? {
        return Ok(Vec::new());
    }
    if let Err(error) = debian::unpack_libreswan() {
        eprintln!("no libreswan, so that the tests with it will fail: {error:#}");
    }
    // Whatever a test needs is there: one that is skipped would only look passed.
    Ok(vec![("CI", "true".to_owned())])
}

/// Variables for the tests.
pub(crate) type Environment = Vec<(&'static str, String)>;

fn install_nextest() -> anyhow::Result<()> {
    let probe = Command::new("cargo")
        .args(["nextest", "--version"])
        .output();
    if probe.context("cannot run cargo")?.status.success() {
        return Ok(());
    }
    println!("missing: cargo-nextest (runs each test in a process of its own); installing it");
    cargo(&["install", "cargo-nextest", "--locked"])
}

/// What tells the tests to take their time. `.cargo/config.toml` has the seed of a short run.
fn full_environment() -> Environment {
    let seed = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    println!("PROPTEST_RNG_SEED={seed} SECURE_GRE_FULL=1");
    vec![
        ("PROPTEST_RNG_SEED", seed.to_string()),
        ("SECURE_GRE_FULL", "1".to_owned()),
    ]
}

fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    cargo_with(arguments, &[])
}

pub(crate) fn cargo_with(arguments: &[&str], environment: &[(&str, String)]) -> anyhow::Result<()> {
    let line = format!("cargo {}", arguments.join(" "));
    println!("> {line}");
    let status = Command::new("cargo")
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}
