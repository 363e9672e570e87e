//! `secure-gre demo`: a tunnel between two hosts that exist for ten seconds.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use super::{Exit, fail, print};
use crate::demo::{self, DemoError, Narrator, StageError};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print one JSON object, for programs; what happens goes to standard error.
    #[arg(long)]
    json: bool,
    /// What the demo starts itself with, in namespaces of its own.
    #[arg(long, hide = true)]
    on_stage: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.on_stage {
        return play(arguments.json).into();
    }
    let mut again = vec!["demo", "--on-stage"];
    again.extend(arguments.json.then_some("--json"));
    match demo::direct(&again) {
        Ok(code) => ExitCode::from(code),
        Err(problem @ StageError::Isolation(_)) => fail(Exit::Host, &problem).into(),
        Err(problem) => fail(Exit::Failed, &problem).into(),
    }
}

fn play(json: bool) -> Exit {
    let mut narrator = if json {
        Narrator::new(io::stderr(), io::stderr().is_terminal())
    } else {
        Narrator::new(io::stdout(), io::stdout().is_terminal())
    };
    let (results, outcome) = demo::play(&mut narrator);
    let printed = if json {
        match serde_json::to_string_pretty(&results) {
            Ok(text) => print(&format!("{text}\n")),
            Err(fault) => fail(Exit::Failed, &format!("cannot write the results: {fault}")),
        }
    } else {
        Exit::Ok
    };
    match outcome {
        Ok(()) => printed,
        Err(problem) => fail(exit(&problem), &problem),
    }
}

const fn exit(problem: &DemoError) -> Exit {
    if problem.is_the_hosts() {
        Exit::Host
    } else {
        Exit::Failed
    }
}
