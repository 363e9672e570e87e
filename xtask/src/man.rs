//! `cargo xtask man DIR`: manual pages from the same definitions as `--help`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Where to.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder that gets them; made if it is not there.
    #[arg(default_value = "target/man")]
    folder: PathBuf,
}

/// Writes `secure-gre.1` and `secure-gre-SUBCOMMAND.1`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let folder = &arguments.folder;
    fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    clap_mangen::generate_to(secure_gre::cli::command(), folder)
        .with_context(|| format!("can't write manual pages to {}", folder.display()))?;
    println!("manual pages are in {}", folder.display());
    Ok(())
}
