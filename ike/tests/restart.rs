//! A machine loses its power: it remembers nothing, and nobody was told.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use secure_gre_ike::event::GoneReason;
use secure_gre_sim::{Quality, Sim};
use support::{
    A, B, Host, LONG, MINUTES, connect, default_pair, leave_without_a_trace, one_working_pair,
    reboot, works,
};

/// A called, and all is well.
fn up(seed: u64) -> Sim<Host> {
    let mut sim = default_pair(seed);
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    sim
}

/// D39, RFC 7296 §2.4: INITIAL_CONTACT takes the old SA down at once, whichever role it had.
#[test]
fn the_old_sa_goes_when_the_rebooted_end_calls() {
    for rebooted in [A, B] {
        let other = if rebooted == A { B } else { A };
        let mut sim = up(1);
        reboot(&mut sim, rebooted);
        connect(&mut sim, rebooted);
        let took = sim.run_until(MINUTES, one_working_pair).unwrap();
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(sim.node(other).gone, [GoneReason::Replaced]);
        assert_eq!(sim.node(other).down, [GoneReason::Replaced]);
        sim.run_for(MINUTES * 2).unwrap();
        assert!(one_working_pair(&sim));
        leave_without_a_trace(&mut sim);
    }
}

#[test]
fn both_reboot_and_call() {
    for seed in 0..50 {
        let mut sim = up(seed);
        reboot(&mut sim, A);
        reboot(&mut sim, B);
        connect(&mut sim, A);
        sim.run_for(Duration::from_millis(seed)).unwrap();
        connect(&mut sim, B);
        sim.run_for(MINUTES).unwrap();
        assert!(one_working_pair(&sim), "seed {seed}");
        leave_without_a_trace(&mut sim);
    }
}

/// A reboot at any moment of the handshake, on either side.
#[test]
fn a_reboot_in_the_middle_of_a_handshake() {
    for rebooted in [A, B] {
        for at in (0..60).step_by(3) {
            let mut sim = default_pair(at);
            connect(&mut sim, A);
            sim.run_for(Duration::from_millis(at)).unwrap();
            reboot(&mut sim, rebooted);
            connect(&mut sim, rebooted);
            sim.run_until(LONG, works).unwrap();
            sim.run_for(LONG).unwrap();
            assert!(one_working_pair(&sim), "{rebooted} at {at} ms");
            leave_without_a_trace(&mut sim);
        }
    }
}

/// An IKE_AUTH request that its sender forgets in a reboot makes a third SA, which only the other end
/// has, while both call. Where that one's nonce is the lowest, nothing is redundant until it is gone.
#[test]
fn a_ghost_does_not_keep_crossing_sas_alive() {
    for seed in (0..150).chain([11_361_506_033_296_192_649]) {
        let mut sim = default_pair(seed);
        sim.set_quality(Quality::LOSSY);
        reboot(&mut sim, B);
        connect(&mut sim, B);
        sim.run_for(Duration::from_millis(1)).unwrap();
        connect(&mut sim, A);
        reboot(&mut sim, B);
        sim.run_for(Duration::from_millis(96)).unwrap();
        sim.set_quality(Quality::PERFECT);
        reboot(&mut sim, A);
        connect(&mut sim, A);
        connect(&mut sim, B);
        sim.run_for(LONG).unwrap();
        assert!(one_working_pair(&sim), "seed {seed}");
        leave_without_a_trace(&mut sim);
    }
}

#[test]
fn reboots_again_and_again_on_a_lossy_network() {
    for seed in 0..20 {
        let mut sim = up(seed);
        sim.set_quality(Quality::LOSSY);
        for round in 0..6 {
            let rebooted = if (seed + round) % 2 == 0 { A } else { B };
            reboot(&mut sim, rebooted);
            connect(&mut sim, rebooted);
            sim.run_for(Duration::from_secs(3 + round)).unwrap();
        }
        sim.run_until(LONG, works).unwrap();
        sim.set_quality(Quality::PERFECT);
        sim.run_for(LONG).unwrap();
        assert!(one_working_pair(&sim), "seed {seed}");
        leave_without_a_trace(&mut sim);
    }
}
