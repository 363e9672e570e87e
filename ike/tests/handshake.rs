//! Two endpoints find each other on a perfect network: every suite, every kind of identity, both
//! roles.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use secure_gre_sim::Sim;
use support::{A, Host, MINUTES, Setup, connect, one_working_pair, pair};

fn handshake(a: Setup, b: Setup) -> Sim<Host> {
    let mut sim = pair(1, a, b);
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    sim
}

#[test]
fn two_round_trips_make_a_working_pair() {
    let sim = handshake(Setup::default(), Setup::default());
    assert_eq!(sim.trace().entries().len(), 4 * 2);
}
