//! The matrix: every suite in either role, over every way and family of outer packets, with what else
//! may be the case, against the IKE daemons that people have.
//!
//! A run has those cells in which every pair of values meets; `SECURE_GRE_FULL` the whole product;
//! `SECURE_GRE_CELL=NAME` one cell. A test is the cells that share one guest. It goes on after a cell
//! that fails, and says of each how to repeat it alone. `docs/INTEROP.md` has what passed; it is written
//! by `cargo xtask interop`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::lab;

mod cell;
mod libreswan_and_nat;
mod pairwise;
mod proof;
mod record;
mod scene;
mod suite;
mod table;

use cell::{Cell, Daemon, Role, Way};
use record::Record;
use scene::Scene;

/// For what takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of a failed cell, how much of the daemon's log is shown, in lines.
const LOG_LINES: usize = 60;

mod strongswan {
    use super::{Daemon::Strongswan, Role::*, Way::*, all_pass};

    #[test]
    fn we_call_natively() {
        all_pass(Strongswan, WeCall, &[Native]);
    }

    #[test]
    fn we_call_in_udp() {
        all_pass(Strongswan, WeCall, &[ForcedUdp]);
    }

    #[test]
    fn we_call_through_a_nat() {
        all_pass(Strongswan, WeCall, &[Nat]);
    }

    #[test]
    fn it_calls_natively() {
        all_pass(Strongswan, PeerCalls, &[Native]);
    }

    #[test]
    fn it_calls_in_udp() {
        all_pass(Strongswan, PeerCalls, &[ForcedUdp]);
    }

    #[test]
    fn it_calls_through_a_nat() {
        all_pass(Strongswan, PeerCalls, &[Nat]);
    }
}

mod libreswan {
    use super::{Daemon::Libreswan, Role::*, Way::*, all_pass};

    #[test]
    fn we_call() {
        all_pass(Libreswan, WeCall, &[Native, ForcedUdp]);
    }

    #[test]
    fn it_calls() {
        all_pass(Libreswan, PeerCalls, &[Native, ForcedUdp]);
    }
}

/// All cells of one daemon, role and some ways, the NAT with no other.
#[track_caller]
fn all_pass(daemon: Daemon, role: Role, ways: &[Way]) {
    let mut cells = wanted(daemon);
    cells.retain(|cell| cell.role == role && ways.contains(&cell.way));
    if cells.is_empty() {
        return;
    }
    let lab = match daemon {
        Daemon::Strongswan => lab::require(),
        Daemon::Libreswan => lab::require::require_with_libreswan(),
    };
    let Some(lab) = lab else { return };
    let mut record = Record::begin(&format!("{daemon:?}-{role:?}-{:?}", ways[0]));
    let mut failures = Vec::new();
    let mut scene = Scene::new(lab, daemon, role, ways[0]);
    let versions = scene.versions();
    for cell in cells {
        let begin = Instant::now();
        let passed = match attempt(&scene, cell) {
            Ok(()) => true,
            Err(failure) => {
                failures.push(failure);
                // Whatever the cell has left behind, the next one does not find it.
                scene = Scene::new(lab, daemon, role, ways[0]);
                false
            }
        };
        let took = begin.elapsed();
        println!("{took:.1?} {cell} passed: {passed}");
        record.cell(cell, passed, &versions, took);
    }
    drop(scene);
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn wanted(daemon: Daemon) -> Vec<Cell> {
    if let Ok(name) = std::env::var("SECURE_GRE_CELL") {
        let mut cells = cell::product(daemon);
        cells.retain(|cell| cell.to_string() == name);
        return cells;
    }
    if lab::is_full_run() {
        cell::product(daemon)
    } else {
        cell::pairwise(daemon)
    }
}

/// One line about a failure.
fn attempt(scene: &Scene, cell: Cell) -> Result<(), String> {
    let before = scene.log().len();
    catch_unwind(AssertUnwindSafe(|| proof::prove(scene, cell))).map_err(|panic| {
        let log = scene.log();
        let lines: Vec<_> = log[before..].lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        eprintln!("--- the end of the daemon's log\n{}\n---", tail.join("\n"));
        let why = message(panic.as_ref()).lines().next().unwrap_or_default();
        format!("{cell} FAILED ({why}); to repeat it: cargo xtask interop --cell {cell}")
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
