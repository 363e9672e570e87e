//! libreswan through a NAT: it compares our selectors with the address that it sees us at, and refuses
//! them. What is left to us is to say so.

use crate::lab::{Product, require};

use super::PATIENCE;
use super::cell::{Cell, Daemon, Extra, Family, Role, Way};
use super::scene::{Scene, peer};

/// D29, RFC 7296 §2.23.1
#[test]
fn its_refusal_is_named() {
    let Some(lab) = require::require_with_libreswan() else {
        return;
    };
    let cell = Cell {
        daemon: Daemon::Libreswan,
        role: Role::WeCall,
        suite: &super::suite::OF_LIBRESWAN[0],
        way: Way::Nat,
        family: Family::V4,
        extra: Extra::Plain,
    };
    let scene = Scene::new(lab, cell.daemon, cell.role, cell.way);
    scene.prepare(cell);
    let mut product = Product::start(scene.home(), &peer(cell));
    let line = product.wait_for_line("TS_UNACCEPTABLE", PATIENCE);
    assert!(line.contains("a NAT on the path translates"), "{line}");
    let advice = product.wait_for_line("to mend it: ", PATIENCE);
    assert!(advice.contains("libreswan does not"), "{advice}");
    assert!(
        scene
            .log()
            .contains("No IKEv2 connection found with compatible Traffic Selectors"),
        "libreswan has changed"
    );
    assert_eq!(product.interrupt().code, Some(0));
}
