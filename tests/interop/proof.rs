//! What a cell proves: the SAs are those that were to be agreed on, at our end and in the guest's
//! kernel; passengers of every size pass both ways, protected and as long as they should be; keys are
//! replaced; nothing is left at the end.

use std::time::Duration;

use serde_json::Value;

use crate::lab::capture::{ESP, Packets};
use crate::lab::xfrm::{self, State};
use crate::lab::{self, Outer, Product, product, strongswan, traffic};

use super::PATIENCE;
use super::cell::{Cell, Daemon, Extra, Family, Role};
use super::scene::{Ends, Scene, peer};

/// Panics unless everything about `cell` is as it should be.
#[track_caller]
pub(super) fn prove(scene: &Scene, cell: Cell) {
    let before = scene.log().len();
    scene.prepare(cell);
    let capture = scene.topology.capture();
    let stranger = cell.extra == Extra::Cookies && cell.role == Role::WeCall;
    if stranger {
        scene.let_stranger_call();
    }
    let product = established(scene, cell);
    if stranger {
        scene.forget_stranger();
    }
    assert_agreed(scene, cell, &product);
    assert_listed(cell, None, &scene.log()[before..]);
    let mtu = cell.suite.sealing.mtu(cell.way, cell.family);
    assert_eq!(product.status()["tunnels"][0]["mtu"], mtu);
    pass(scene, &[0, 57, 1001, mtu - 28]);
    for asks in askers(cell) {
        rekey(scene, &product, asks);
        assert_agreed(scene, cell, &product);
        pass(scene, &[mtu - 28]);
    }
    assert_listed(cell, cell.suite.pfs, &scene.log()[before..]);
    end(scene, cell, product);
    assert_wire(cell, mtu, &capture.stop());
    assert_happened(cell, &scene.log()[before..]);
}

#[track_caller]
fn established(scene: &Scene, cell: Cell) -> Product<'_> {
    let mut product = Product::start(scene.home(), &peer(cell));
    if cell.role == Role::PeerCalls {
        product.wait_for_state("idle", PATIENCE);
        scene.initiate();
    }
    product.wait_until_established();
    product
}

/// Both ends have the same pair, and it is the one that they were to agree on.
#[track_caller]
fn assert_agreed(scene: &Scene, cell: Cell, product: &Product<'_>) {
    let esn = cell.extra != Extra::EsnOff;
    let expected = State {
        algorithms: cell.suite.kernel.iter().map(ToString::to_string).collect(),
        in_udp: cell.way.is_udp(),
        esn,
    };
    // charon deletes the old pair in its own time.
    lab::eventually("one pair in the guest's kernel", PATIENCE, || {
        (xfrm::states(&scene.guest).len() == 2).then_some(())
    });
    for state in xfrm::states(&scene.guest) {
        assert_eq!(state, expected, "in the guest's kernel");
    }

    let status = product.status();
    let Ends { ours, its } = Ends::of(cell);
    assert_eq!(status["local-address"], ours[0]);
    assert_eq!(status["remote-address"], its[1]);
    let [child] = status["children"].as_array().unwrap().as_slice() else {
        panic!("not exactly one pair: {status}");
    };
    let encapsulation = if cell.way.is_udp() { "udp" } else { "none" };
    assert_eq!(child["encapsulation"], encapsulation);
    let suite = child["suite"].as_str().unwrap();
    assert_eq!(suite.ends_with("-esn"), esn, "{suite}");
    if !cell.suite.ike.is_empty() {
        assert_eq!(status["ike"]["suite"], cell.suite.ike);
        let algorithms = suite.trim_end_matches("-esn");
        assert!(cell.suite.esp.starts_with(algorithms), "{suite}");
    }
}

/// Pings with so many octets of payload, either way, over both families of passengers.
#[track_caller]
fn pass(scene: &Scene, payloads: &[usize]) {
    // IPv6's header is 20 octets longer.
    let v6 = payloads.last().unwrap() - 20;
    let mut script = String::from("set -e\n");
    for payload in payloads {
        let options = format!("-c 1 -M do -s {payload}");
        traffic::ping(scene.home(), strongswan::INNER_V4, &options)
            .expect(&format!("ping with {payload} octets"));
        script += &format!("ping -n {options} {}\n", product::INNER_V4);
    }
    let options = format!("-c 1 -M do -s {v6}");
    traffic::ping(scene.home(), strongswan::INNER_V6, &options).expect("ping over IPv6");
    script += &format!("ping -n {options} {}\n", product::INNER_V6);
    let pings = scene.guest.run(&script, Duration::from_secs(60));
    pings.expect("pings from the guest");
}

/// Who asks for new keys.
#[derive(Debug, Clone, Copy)]
enum Asker {
    We,
    Peer,
}

/// Whoever has not called, since the other one has just shown that it can ask. libreswan is told by
/// both.
fn askers(cell: Cell) -> Vec<Asker> {
    match (cell.daemon, cell.role) {
        (Daemon::Libreswan, _) => vec![Asker::We, Asker::Peer],
        (Daemon::Strongswan, Role::WeCall) => vec![Asker::Peer],
        (Daemon::Strongswan, Role::PeerCalls) => vec![Asker::We],
    }
}

#[track_caller]
fn rekey(scene: &Scene, product: &Product<'_>, asks: Asker) {
    let before = only_pair(product).expect("one pair");
    match asks {
        Asker::We => {
            product.command("rekey", &["peer"]).expect("rekey");
        }
        Asker::Peer => scene.rekey(),
    }
    lab::eventually("new keys, and only those", PATIENCE, || {
        let now = only_pair(product)?;
        (now != before).then_some(())
    });
}

/// What tells the keys of the one pair from others.
fn only_pair(product: &Product<'_>) -> Option<Value> {
    let status = product.status();
    let [child] = status["children"].as_array()?.as_slice() else {
        return None;
    };
    (child["phase"] == "current").then(|| child["spi-inbound"].clone())
}

/// charon says the same, and of a rekey the group: D38, PAINS 8. The last line counts.
#[track_caller]
fn assert_listed(cell: Cell, group: Option<&str>, log: &str) {
    if cell.daemon != Daemon::Strongswan {
        return;
    }
    let [ike, esp] = cell.suite.strongswan;
    let esn = match cell.extra {
        Extra::EsnOff => "NO_EXT_SEQ",
        _ => "EXT_SEQ",
    };
    let group = group.map_or(String::new(), |group| format!("/{group}"));
    for expected in [format!("IKE:{ike}"), format!("ESP:{esp}{group}/{esn}")] {
        let sign = format!("selected proposal: {}", &expected[..4]);
        let line = log.lines().rfind(|line| line.contains(&sign));
        assert!(
            line.is_some_and(|line| line.ends_with(&expected)),
            "{expected}: {line:?}"
        );
    }
}

/// Who has called says goodbye.
#[track_caller]
fn end(scene: &Scene, cell: Cell, mut product: Product<'_>) {
    if cell.role == Role::PeerCalls {
        scene.terminate();
        product.wait_for_state("idle", PATIENCE);
    }
    let goodbye = product.interrupt();
    assert_eq!(goodbye.code, Some(0), "{goodbye:?}");
    lab::eventually("no SA in the guest's kernel", PATIENCE, || {
        xfrm::states(&scene.guest).is_empty().then_some(())
    });
}

/// Nothing was in clear, and everything as long and in what it should be.
#[track_caller]
fn assert_wire(cell: Cell, mtu: usize, packets: &Packets) {
    assert_eq!(packets.in_clear(), None);
    assert_eq!(packets.count_fragments(), 0);
    let native = packets.count_protocol(ESP) > 0;
    assert_eq!(native, !cell.way.is_udp(), "ESP as a protocol of IP");
    let expected = cell.suite.sealing.outer_packet(mtu, cell.way, cell.family);
    let Outer { left, right, .. } = match cell.family {
        Family::V4 => Outer::NATIVE_V4,
        Family::V6 => Outer::NATIVE_V6,
    };
    for end in [left, right] {
        assert_eq!(packets.longest_from(end), expected, "from {end}");
    }
}

/// What makes the cell differ from a plain one was there.
#[track_caller]
fn assert_happened(cell: Cell, log: &str) {
    let signs: &[&str] = match (cell.extra, cell.role) {
        (Extra::Plain | Extra::EsnOff, _) => &[],
        (Extra::Fragments, Role::WeCall) => &["splitting IKE message"],
        (Extra::Fragments, Role::PeerCalls) => &[
            "splitting IKE message",
            "reassembled fragmented IKE message",
        ],
        (Extra::Cookies, Role::WeCall) => &["generating IKE_SA_INIT response 0 [ N(COOKIE) ]"],
        (Extra::Cookies, Role::PeerCalls) => &["parsed IKE_SA_INIT response 0 [ N(COOKIE) ]"],
        (Extra::InvalidKe, _) => &["IKE_SA_INIT response 0 [ N(INVAL_KE) ]"],
    };
    let goodbye = match (cell.daemon, cell.role) {
        (Daemon::Strongswan, Role::WeCall) => "received DELETE for IKE_SA gre",
        (Daemon::Strongswan, Role::PeerCalls) => "sending DELETE for IKE_SA gre",
        (Daemon::Libreswan, _) => "",
    };
    for sign in signs.iter().chain([&goodbye]) {
        assert!(log.contains(sign), "no `{sign}` in\n{log}");
    }
}
