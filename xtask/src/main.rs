//! Developer tasks of secure-gre, run as `cargo xtask TASK`.

mod debian;
mod test;

use clap::Parser;

/// Developer tasks of secure-gre.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Installs what the tests need and runs all of them.
    Test(test::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Test(arguments) => test::run(&arguments),
    }
}
