//! What became of the cells, as JSON lines for `cargo xtask interop`.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::cell::{self, Cell};

/// The folder that results go to; without it they go nowhere.
const FOLDER: &str = "SECURE_GRE_INTEROP";

/// The results of one test.
pub(super) struct Record(Option<File>);

impl Record {
    /// Begins the file of the test `name`.
    pub(super) fn begin(name: &str) -> Self {
        let folder = std::env::var_os(FOLDER).map(PathBuf::from);
        let file = folder.map(|folder| {
            fs::create_dir_all(&folder).unwrap();
            let file = folder.join(format!("{name}.jsonl"));
            OpenOptions::new()
                .create(true)
                .write(true)
                .truncate(true)
                .open(file)
                .unwrap()
        });
        let mut record = Self(file);
        for (what, why) in cell::left_out() {
            record.line(&json!({ "left-out": what, "why": why }));
        }
        record
    }

    pub(super) fn cell(
        &mut self,
        cell: Cell,
        passed: bool,
        versions: &[String; 2],
        took: Duration,
    ) {
        let [daemon, kernel] = versions;
        self.line(&json!({
            "cell": cell.to_string(),
            "passed": passed,
            "daemon": daemon,
            "kernel": kernel,
            "milliseconds": took.as_millis(),
        }));
    }

    fn line(&mut self, line: &serde_json::Value) {
        if let Some(file) = &mut self.0 {
            writeln!(file, "{line}").unwrap();
        }
    }
}
