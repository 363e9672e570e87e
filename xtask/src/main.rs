//! Developer tasks of secure-gre, run as `cargo xtask TASK`.

mod bench;
mod debian;
mod fuzz;
mod interop;
mod man;
mod test;

use std::process::ExitCode;

use clap::Parser;

/// Developer tasks of secure-gre.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Installs what the tests need and runs all of them.
    Test(test::Arguments),
    /// Measures secure-gre beside other tunnels, interleaved, and draws the result.
    Bench(bench::Arguments),
    /// Runs the interop matrix and writes `docs/INTEROP.md`.
    Interop(interop::Arguments),
    /// Runs the fuzz targets.
    Fuzz(fuzz::Arguments),
    /// Writes the manual pages, one per subcommand.
    Man(man::Arguments),
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::Test(arguments) => test::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Interop(arguments) => interop::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Man(arguments) => man::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
