//! The `secure-gre` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    secure_gre::cli::main()
}
