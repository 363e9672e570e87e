//! `cargo xtask bench`: secure-gre beside other tunnels, on one machine, in one run.
//!
//! - [`prepare`]: what has to be installed and built before, and where the programs are
//! - [`scene`]: two hosts in namespaces and the link between them
//! - [`peers`]: the tunnels, one file each; **a new peer is a file there and a line in its list**
//! - [`measure`]: the measurements, one file each; what is measured is named in [`metric`]
//! - [`session`]: one peer in one round: all measurements through one tunnel
//! - [`report`]: medians, ratios, targets, tables; [`plot`]: the picture
//! - [`publish`]: where the result goes
//!
//! The work is done by a child process in namespaces of its own (the stage of `secure-gre demo`), so
//! that Ctrl-C, a failure or a crash leaves neither process, device nor file behind.

mod conditions;
mod measure;
mod metric;
mod peers;
mod plot;
mod prepare;
mod process;
mod publish;
mod report;
mod scene;
mod session;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::mount::{MsFlags, mount};

use self::conditions::Conditions;
use self::peers::{Peer, Programs};
use self::report::{Contestant, Report, Settings};

/// What to measure, and where the result goes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// One short round: does everything work? Its figures mean little.
    #[arg(long)]
    quick: bool,
    /// How often every tunnel is measured; the median counts. 3, with --quick 1.
    #[arg(long)]
    rounds: Option<u32>,
    /// How long one transfer takes, in seconds. 5, with --quick 1.
    #[arg(long)]
    seconds: Option<u32>,
    /// Only these tunnels, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = peers::names())]
    peers: Vec<String>,
    /// Only these measurements, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(session::names()))]
    only: Vec<String>,
    /// A current wireguard-go; Debian's of 2022 has no offloads and would be no rival.
    #[arg(
        long,
        env = "WIREGUARD_GO",
        default_value = "../shared/peers/wireguard-go"
    )]
    wireguard_go: PathBuf,
    /// Install nothing: tunnels whose programs are missing are named and left out.
    #[arg(long)]
    no_install: bool,
    /// Print the result as JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// The folder that gets report.json, report.md and performance.svg.
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
    /// Put the result into docs/PERFORMANCE.md and the README, too.
    #[arg(long)]
    docs: bool,
    /// Measure nothing; show the result of an earlier run again, from its report.json.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "peers", "only"])]
    from: Option<PathBuf>,
    /// What the benchmark starts itself with, in namespaces of its own.
    #[arg(long, hide = true)]
    on_stage: bool,
}

/// Prepares the machine, measures on a stage of its own, and publishes.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(file) = &arguments.from {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let report: Report = serde_json::from_str(&text)
            .with_context(|| format!("{} is no report of this version", file.display()))?;
        return arguments.publish(&report);
    }
    if arguments.on_stage {
        return perform(arguments);
    }
    check_folder()?;
    prepare::tools(arguments.no_install)?;
    if !arguments.no_install {
        prepare::programs(&arguments.chosen());
    }
    prepare::build_secure_gre()?;
    let again: Vec<String> = std::env::args()
        .skip(1)
        .chain(["--on-stage".into()])
        .collect();
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    match secure_gre::demo::direct(&again) {
        Ok(0) => Ok(()),
        Ok(_) => bail!("the benchmark failed; nothing of it is left on this host"),
        Err(secure_gre::demo::StageError::Interrupted) => {
            bail!("interrupted; nothing of the benchmark is left on this host")
        }
        Err(error) => Err(error).context("cannot set up a stage for the benchmark"),
    }
}

/// The child's part, shut off from the host.
fn perform(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = secure_gre::demo::enter().context("cannot set up the stage")?;
    mount_own()?;
    let programs = Programs::new(&arguments.wireguard_go);
    let (contestants, skipped) = select(&arguments.chosen(), &programs);
    for (name, why) in &skipped {
        eprintln!("left out: {name}: {why}");
    }
    if contestants.is_empty() {
        bail!("there is nothing to measure");
    }
    let settings = arguments.settings();
    let mut report = Report {
        conditions: Conditions::now()?,
        contestants: contestants
            .iter()
            .map(|peer| Contestant {
                name: peer.name().to_owned(),
                about: peer.about().to_owned(),
                version: peers::version(*peer, &programs),
            })
            .collect(),
        settings,
        skipped,
        runs: Vec::new(),
    };
    for round in 0..settings.rounds {
        // Every round begins with another peer, so that none always follows the same one.
        let first = round as usize % contestants.len();
        let order = contestants
            .iter()
            .cycle()
            .skip(first)
            .take(contestants.len());
        for peer in order {
            eprintln!("round {}/{}: {}", round + 1, settings.rounds, peer.name());
            let place = folder.join(format!("{round}-{}", peer.name()));
            report.runs.push(session::run(
                *peer,
                &programs,
                settings,
                &arguments.only,
                round,
                &place,
            )?);
        }
    }
    arguments.publish(&report)
}

impl Arguments {
    fn chosen(&self) -> Vec<&'static dyn Peer> {
        let wanted = |peer: &&dyn Peer| {
            self.peers.is_empty() || self.peers.iter().any(|name| name == peer.name())
        };
        peers::ALL.iter().copied().filter(wanted).collect()
    }

    fn settings(&self) -> Settings {
        let (rounds, seconds) = if self.quick { (1, 1) } else { (3, 5) };
        Settings {
            quick: self.quick,
            rounds: self.rounds.unwrap_or(rounds).max(1),
            transfer: Duration::from_secs(self.seconds.unwrap_or(seconds).max(1).into()),
        }
    }

    fn publish(&self, report: &Report) -> anyhow::Result<()> {
        publish::files(report, &self.output)?;
        if self.docs {
            publish::docs(report, Path::new("."))?;
        }
        publish::print(report, self.json)
    }
}

/// Those that can be run, and those that cannot, each with what to do about it.
fn select(
    chosen: &[&'static dyn Peer],
    programs: &Programs,
) -> (Vec<&'static dyn Peer>, Vec<(String, String)>) {
    let mut skipped = Vec::new();
    let mut present = Vec::new();
    for &peer in chosen {
        match peer
            .needs()
            .iter()
            .find(|need| programs.find(need).is_none())
        {
            Some(need) => skipped.push((peer.name().to_owned(), need.advice())),
            None => present.push(peer),
        }
    }
    (present, skipped)
}

/// The stage hides the temporary folder; the checkout must not lie in it.
fn check_folder() -> anyhow::Result<()> {
    let (here, hidden) = (std::env::current_dir()?, std::env::temp_dir());
    if here.starts_with(&hidden) {
        bail!(
            "the checkout lies in {}, which is hidden while the benchmark runs; set TMPDIR to \
             another folder",
            hidden.display()
        );
    }
    Ok(())
}

/// A `/proc` that shows our own children, and a `/run` for their sockets and process ids.
fn mount_own() -> anyhow::Result<()> {
    let none: Option<&str> = None;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(none, "/proc", Some("proc"), flags, none).context("cannot mount /proc")?;
    mount(none, "/run", Some("tmpfs"), flags, Some("mode=0755")).context("cannot mount /run")
}
