//! The laboratory itself: nothing stays of a test that is killed, as `cargo nextest` does with one that
//! hangs, and a terminal's Ctrl-C with all.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::process::Process;
use crate::lab::{self, Frr, Lab, Peer, Product, Router, Topology, eventually, reaper};

const NAME: &str = "killed_test::nothing_stays_of_a_test_that_is_killed";
/// Set for the copy of this test that will be killed.
const VICTIM: &str = "SECURE_GRE_VICTIM";
const BUILT: &str = "the victim has built all";
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn nothing_stays_of_a_test_that_is_killed() {
    let Some(lab) = lab::require() else { return };
    if std::env::var_os(VICTIM).is_some() {
        return build_and_wait(lab);
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", NAME, "--nocapture"])
        .env(VICTIM, "");
    let mut victim = Process::spawn(command);
    victim.wait_for_line(BUILT, PATIENCE);
    let prefix = reaper::all_of(victim.pid().as_raw().try_into().unwrap());
    let namespaces = named(Path::new("/run/netns"), &prefix);
    let processes: BTreeSet<_> = namespaces
        .iter()
        .flat_map(|path| running_in(path))
        .collect();
    // Two namespaces; a daemon, two of FRR, and a guest, which is several.
    assert_eq!(namespaces.len(), 2, "{namespaces:?}");
    assert!(processes.len() > 4, "{processes:?}");
    assert!(!named(&std::env::temp_dir(), &prefix).is_empty());

    victim.signal(Signal::SIGKILL);
    eventually("an end of all", PATIENCE, || {
        let folders = [Path::new("/run/netns"), &std::env::temp_dir()];
        let left = folders.iter().flat_map(|folder| named(folder, &prefix));
        let running = processes.iter().filter(|process| process.exists());
        (left.count() + running.count() == 0).then_some(())
    });
}

/// One of each kind that runs on when nobody ends it.
fn build_and_wait(lab: Lab) {
    let topology = Topology::new(lab);
    let _guest = topology.boot_guest();
    let mut product = Product::start(&topology.left, &Peer::default());
    product.wait_for_line("sgre0", PATIENCE);
    let _frr = Frr::start(Router::Namespace(&topology.left), &["ospfd"]);
    println!("{BUILT}");
    thread::sleep(PATIENCE);
}

/// What a folder has whose name starts like this.
fn named(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    named.map(|entry| entry.path()).collect()
}

/// The processes in a namespace, as their folders in `/proc`.
fn running_in(namespace: &Path) -> Vec<PathBuf> {
    let mut command = Command::new("ip");
    command
        .args(["netns", "pids"])
        .arg(namespace.file_name().unwrap());
    let pids = command.output().unwrap().stdout;
    let pids = String::from_utf8(pids).unwrap();
    pids.lines()
        .map(|pid| Path::new("/proc").join(pid))
        .collect()
}
