//! The command line: what is typed, handed to one module per subcommand. Data goes to standard
//! output, talk to standard error; [`Exit`] lists the exit codes.

mod check;
mod completions;
mod daemon;
mod demo;
mod down;
mod exit;
mod genpsk;
mod rekey;
mod status;
mod table;
mod up;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use self::exit::Exit;
use crate::config::{Report, Style};
use crate::control::client::ClientError;
use crate::control::protocol::Refusal;
use crate::daemon::UpError;
use crate::telemetry::{self, Talk};

const EXAMPLES: &str = "\
A peer is a file:
  [peer]
  address  = \"198.51.100.2\"
  psk-file = \"berlin.psk\"

  [tunnel]
  address = [\"10.255.0.1/30\"]
  routes  = [\"10.20.0.0/16\"]

Examples:
  secure-gre demo                see it work, without a peer and without root
  secure-gre genpsk --out FILE   a new key, for both ends
  secure-gre check peer.toml     what would be negotiated, or what is wrong with the file
  secure-gre up peer.toml        bring the tunnel up; Ctrl-C takes it down again
  secure-gre up --background peer.toml
                                 return when the tunnel carries packets
  secure-gre daemon /etc/secure-gre
                                 every peer of a folder, as a service
  secure-gre status --json       how it is doing, for programs

Environment:
  SECURE_GRE_LOG                 what is said on standard error, as in debug";

/// A GRE-over-IPsec tunnel endpoint: IKEv2, ESP and GRE in one process.
#[derive(Debug, Parser)]
#[command(name = "secure-gre", version, after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
struct Arguments {
    /// Where the daemon's control socket is. Two daemons on one host need two.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "SECURE_GRE_RUNTIME_DIR",
        default_value = "/run/secure-gre"
    )]
    runtime_dir: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring a tunnel up and keep it up until Ctrl-C.
    Up(up::Arguments),
    /// Serve every peer file of a folder until told to stop.
    Daemon(daemon::Arguments),
    /// Take a peer down, or all of them.
    Down(down::Arguments),
    /// Show how peers and their tunnels are doing.
    Status(status::Arguments),
    /// Replace the keys of a peer's CHILD_SA, or of its IKE SA, now.
    Rekey(rekey::Arguments),
    /// Say what files mean, or what is wrong with them; changes nothing.
    Check(check::Arguments),
    /// Make a pre-shared key; both ends need the same.
    Genpsk(genpsk::Arguments),
    /// Print a script that completes this command line in a shell.
    Completions(completions::Arguments),
    /// Show what it does, in about ten seconds, between two hosts made up for that; no root needed.
    Demo(demo::Arguments),
}

/// The definition of the command line, from which manual pages and completions are made.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let talk = match &arguments.command {
        Command::Up(arguments) => arguments.talk,
        Command::Daemon(arguments) => arguments.talk,
        _ => Talk::default(),
    };
    let listeners = match telemetry::start(talk) {
        Ok(listeners) => listeners,
        Err(problem) => return fail(Exit::Usage, &problem).into(),
    };
    let runtime_dir = &arguments.runtime_dir;
    let exit = match &arguments.command {
        Command::Up(arguments) => up::run(arguments, runtime_dir, listeners),
        Command::Daemon(arguments) => daemon::run(arguments, runtime_dir, listeners),
        Command::Down(arguments) => down::run(arguments, runtime_dir),
        Command::Status(arguments) => status::run(arguments, runtime_dir),
        Command::Rekey(arguments) => rekey::run(arguments, runtime_dir),
        Command::Check(arguments) => check::run(arguments),
        Command::Genpsk(arguments) => genpsk::run(arguments),
        Command::Completions(arguments) => completions::run(arguments),
        Command::Demo(arguments) => return demo::run(arguments),
    };
    exit.into()
}

/// Says why, and hands the exit code on.
fn fail(exit: Exit, problem: &impl Display) -> Exit {
    complain(problem);
    exit
}

/// Says what went wrong, as messages are written.
fn complain(problem: &impl Display) {
    if telemetry::is_json() {
        tracing::error!("{problem}");
    } else {
        say(&format!("error: {problem}\n"));
    }
}

/// What a client's error is for whoever called us.
fn client_failure(error: &ClientError) -> Exit {
    let exit = match error {
        ClientError::NoDaemon { .. } | ClientError::OtherNamespace { .. } => Exit::NoDaemon,
        ClientError::NotPermitted { .. } | ClientError::Refused(Refusal::NotServed { .. }) => {
            Exit::Host
        }
        ClientError::Refused(Refusal::BadFile { .. }) => Exit::Usage,
        _ => Exit::Failed,
    };
    fail(exit, error)
}

/// What the end of a daemon is for whoever called us.
fn daemon_failure(problem: &UpError) -> Exit {
    let exit = match problem {
        UpError::GaveUp(_) => Exit::Failed,
        _ => Exit::Host,
    };
    fail(exit, problem)
}

/// Shows what was found in a file, if anything was.
fn show(report: &Report) {
    if telemetry::is_json() {
        for line in report.lines() {
            tracing::warn!("{line}");
        }
    } else if !report.is_empty() {
        let coloured = io::stderr().is_terminal();
        say(&report.render(if coloured {
            Style::Coloured
        } else {
            Style::Plain
        }));
    }
}

/// Writes to standard error; nobody can be told if that fails.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writes data to standard output. A reader that has seen enough, as `head` does, is no failure.
fn print(text: &str) -> Exit {
    match try_print(text) {
        ControlFlow::Break(exit) => exit,
        ControlFlow::Continue(()) => Exit::Ok,
    }
}

/// `Break`: there is nobody who reads on, or the text could not be written.
fn try_print(text: &str) -> ControlFlow<Exit> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => ControlFlow::Continue(()),
        Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => ControlFlow::Break(Exit::Ok),
        Err(fault) => ControlFlow::Break(fail(
            Exit::Failed,
            &format!("cannot write to standard output: {fault}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definition_is_consistent() {
        super::command().debug_assert();
    }
}
