//! `status --watch` shows it anew, until nobody reads on.

use std::time::Duration;

use crate::lab::{self, Folder, Peer, Topology, process};

#[test]
fn it_repeats_until_its_reader_has_seen_enough() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let folder = Folder::new();
    let file = folder.write("berlin.toml", &Peer::default().responder());
    let _up = folder.up(&topology.left, &file);
    lab::eventually("the daemon", Duration::from_secs(20), || {
        folder.states(&topology.left).map(|_| ())
    });
    let watch = |more: &str| {
        let mut command = topology.left.command("bash");
        let script = format!(
            "set -o pipefail; {} status --watch {more} --runtime-dir {} | head -n 3",
            env!("CARGO_BIN_EXE_secure-gre"),
            folder.runtime().display()
        );
        command.args(["-c", &script]);
        process::run(command, Duration::from_secs(30)).expect("status --watch")
    };
    let reports = watch("--json");
    assert_eq!(reports.lines().count(), 3);
    for line in reports.lines() {
        let report: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(report["peers"][0]["name"], "berlin", "{report}");
    }
    let tables = watch("berlin");
    assert!(
        tables.starts_with("PEER "),
        "no terminal, no control codes: {tables}"
    );
}
