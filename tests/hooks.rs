//! `[hooks]` in a running product.

use std::fs;
use std::time::Duration;

use crate::lab::{self, Peer, Product, Topology, eventually, reaper};

/// The commands run when the tunnel carries packets and when it does not any more, also at the end;
/// the product waits for the last one.
#[test]
fn hooks_run_when_the_tunnel_comes_and_goes() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let folder = reaper::folder();
    let log = folder.path().join("log");
    let script = folder.path().join("record.sh");
    let line = "$SECURE_GRE_EVENT $1: $SECURE_GRE_PEER on $SECURE_GRE_DEVICE, $SECURE_GRE_ROUTES \
                by $SECURE_GRE_REMOTE";
    fs::write(&script, format!("echo \"{line}\" >>{}\n", log.display())).unwrap();
    let hook = format!("[\"/bin/sh\", {script:?}, \"$HOME\"]");
    let hooks = format!("[hooks]\nup = {hook}\ndown = {hook}");
    let peer = Peer {
        tunnel: hooks.leak(),
        ..Peer::default()
    };
    let mut left = Product::start(&topology.left, &peer);
    let mut answering = Product::start(&right, &Peer::right().responder());
    left.wait_until_established();
    answering.wait_until_established();
    let said = |event: &str| format!("{event} $HOME: peer on sgre0, 10.20.0.0/16 by 192.0.2.2\n");
    let up = eventually("the hook's line", Duration::from_secs(30), || {
        fs::read_to_string(&log)
            .ok()
            .filter(|text| text.ends_with('\n'))
    });
    assert_eq!(up, said("up"));
    assert_eq!(left.interrupt().code, Some(0));
    assert_eq!(fs::read_to_string(&log).unwrap(), up + &said("down"));
    assert_eq!(answering.interrupt().code, Some(0));
}
