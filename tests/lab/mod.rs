//! The laboratory: namespaces, a guest with strongSwan or libreswan, captures, and the product under test.
//!
//! ```text
//! namespace left             namespace mid                    guest kernel, or namespace right
//!   product ── wire 192.0.2.1 ── left0 ─ br0 ─ tapg | right0 ── 192.0.2.2  strongSwan, libreswan, or a second product
//! ```
//!
//! Every wait has an end, and whatever a test made is gone when its values are dropped, also on a
//! panic; when the test process is killed, `reaper` does it. Nothing here asserts anything about the
//! product: that is what the test modules are for.

use std::time::{Duration, Instant};

pub(crate) mod capture;
pub(crate) mod frr;
pub(crate) mod gre_device;
pub(crate) mod guest;
pub(crate) mod half_open;
pub(crate) mod libreswan;
pub(crate) mod netns;
pub(crate) mod probes;
pub(crate) mod process;
pub(crate) mod product;
pub(crate) mod reaper;
pub(crate) mod require;
pub(crate) mod router;
pub(crate) mod spokes;
pub(crate) mod strongswan;
pub(crate) mod topology;
pub(crate) mod traffic;
pub(crate) mod two_paths;
pub(crate) mod vlan;
pub(crate) mod xfrm;

pub(crate) use frr::Frr;
pub(crate) use guest::Guest;
pub(crate) use libreswan::Libreswan;
pub(crate) use netns::Netns;
pub(crate) use probes::Probes;
pub(crate) use product::{Folder, Peer, Product};
pub(crate) use require::{Lab, require};
pub(crate) use router::{Lan, Router};
pub(crate) use strongswan::Strongswan;
pub(crate) use topology::{Outer, Topology};
pub(crate) use vlan::VlanHost;

/// Whether there is time for tests that take minutes: `cargo xtask test --full`.
pub(crate) fn is_full_run() -> bool {
    std::env::var_os("SECURE_GRE_FULL").is_some()
}

/// Polls `probe` until it yields a value; panics with `what` after `timeout`.
#[track_caller]
pub(crate) fn eventually<T>(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "no sign after {timeout:?} of: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
