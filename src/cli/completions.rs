//! `secure-gre completions`: what a shell needs to complete our command line.

use clap_complete::Shell;

use super::{Exit, command, print};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Which shell.
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let (mut command, mut script) = (command(), Vec::new());
    let name = command.get_name().to_owned();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    print(&String::from_utf8_lossy(&script))
}
