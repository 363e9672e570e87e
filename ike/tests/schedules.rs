//! Thousands of lives of two peers, each made up from a seed: short lifetimes, rekeying of everything
//! from both ends at once, loss, duplication, reordering, silence, crashes, disconnects. After each,
//! packets pass both ways on exactly one pair of one IKE SA, none is lost any more on a network that
//! loses none, and when both let go nothing is left (PAINS 4).
//!
//! A seed that fails is printed: `SCHEDULE=<seed> cargo test -p secure-gre-ike --test schedules` runs
//! it alone, and tells what both ends say.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use secure_gre_sim::{Quality, Sim, Verdict};
use support::traffic::Traffic;
use support::{
    A, B, Host, LONG, Setup, connect, disconnect, leave_without_a_trace, pair, reboot, settled,
    talk, with,
};

/// How many seeds a run of all takes.
const SCHEDULES: u64 = 2000;

/// Something that happens to the two.
#[derive(Debug, Clone, Copy)]
enum Act {
    RekeyChild(IpAddr),
    RekeyIke(IpAddr),
    /// Both ends, at the same moment.
    Collide {
        a: Rekey,
        b: Rekey,
    },
    Connect(IpAddr),
    Disconnect(IpAddr),
    Reboot(IpAddr),
    Quality(usize),
    /// Nothing passes for so many milliseconds.
    Silence(u64),
    /// The next so many messages but one are lost.
    LoseOne(usize),
    Wait(u64),
}

#[derive(Debug, Clone, Copy)]
enum Rekey {
    Child,
    Ike,
}

fn act(dice: &mut ChaCha8Rng) -> Act {
    let host = if dice.random() { A } else { B };
    let rekey = |dice: &mut ChaCha8Rng| {
        if dice.random() {
            Rekey::Child
        } else {
            Rekey::Ike
        }
    };
    match dice.random_range(0..100) {
        0..10 => Act::RekeyChild(host),
        10..20 => Act::RekeyIke(host),
        20..35 => Act::Collide {
            a: rekey(dice),
            b: rekey(dice),
        },
        35..38 => Act::Connect(host),
        38..40 => Act::Disconnect(host),
        40..43 => Act::Reboot(host),
        43..50 => Act::Quality(dice.random_range(0..3)),
        50..54 => Act::Silence(dice.random_range(0..20_000)),
        54..64 => Act::LoseOne(dice.random_range(0..6)),
        64..90 => Act::Wait(dice.random_range(0..60)),
        _ => Act::Wait(dice.random_range(0..30_000)),
    }
}

fn end(dice: &mut ChaCha8Rng) -> Setup {
    let mut seconds = |from, to| Duration::from_secs(dice.random_range(from..to));
    let (child_lifetime, ike_lifetime, dpd) = (seconds(20, 150), seconds(20, 300), seconds(5, 30));
    let esp = [
        "aes256gcm16",
        "aes256gcm16-x25519-modpnone",
        "aes256gcm16-x25519-modpnone",
    ];
    Setup {
        esp: vec![esp[dice.random_range(0..esp.len())]],
        child_lifetime,
        ike_lifetime,
        dpd: Some(dpd),
        ..Setup::default()
    }
}

fn perform(sim: &mut Sim<Host>, act: Act) {
    let rekey = |sim: &mut Sim<Host>, host, what| match what {
        Rekey::Child => with(sim, host, Host::rekey_child),
        Rekey::Ike => with(sim, host, Host::rekey_ike),
    };
    match act {
        Act::RekeyChild(host) => rekey(sim, host, Rekey::Child),
        Act::RekeyIke(host) => rekey(sim, host, Rekey::Ike),
        Act::Collide { a, b } => {
            rekey(sim, A, a);
            rekey(sim, B, b);
        }
        Act::Connect(host) => connect(sim, host),
        Act::Disconnect(host) => disconnect(sim, host),
        Act::Reboot(host) => reboot(sim, host),
        Act::Quality(which) => {
            sim.set_quality([Quality::PERFECT, Quality::LOSSY, Quality::HOSTILE][which]);
        }
        Act::Silence(milliseconds) => {
            sim.partition(A, B);
            sim.run_for(Duration::from_millis(milliseconds)).unwrap();
            sim.heal(A, B);
        }
        Act::LoseOne(spared) => {
            let mut left = spared + 1;
            sim.tap(move |frame, _| {
                let message = frame.destination.port() != support::traffic::PORT;
                left = left.saturating_sub(usize::from(message));
                if message && left == 0 {
                    left = usize::MAX;
                    Verdict::Drop
                } else {
                    Verdict::Pass
                }
            });
        }
        Act::Wait(milliseconds) => sim.run_for(Duration::from_millis(milliseconds)).unwrap(),
    }
}

/// One life.
fn live(seed: u64, tell: bool) {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let setups = (end(&mut dice), end(&mut dice));
    let mut sim = pair(seed, setups.0, setups.1);
    if tell {
        for host in [A, B] {
            sim.node_mut(host).trace();
        }
    }
    connect(&mut sim, A);
    if dice.random() {
        sim.run_for(Duration::from_secs(1)).unwrap();
    }
    for _ in 0..dice.random_range(1..20) {
        let act = act(&mut dice);
        if tell {
            say(&mut sim);
            println!("{:?} {act:?}", sim.elapsed());
        }
        perform(&mut sim, act);
    }
    let done = calm_down(&mut sim);
    if tell {
        say(&mut sim);
        println!("{:#?}", [sim.node(A).snapshot(), sim.node(B).snapshot()]);
    }
    done.unwrap();
    lose_nothing(&mut sim, &mut dice);
    for host in [A, B] {
        sim.node_mut(host).disconnected = 0;
    }
    leave_without_a_trace(&mut sim);
}

/// Nothing more happens to them, and both want each other.
fn calm_down(sim: &mut Sim<Host>) -> Result<Duration, secure_gre_sim::Stuck> {
    sim.untap();
    sim.set_quality(Quality::PERFECT);
    connect(sim, A);
    connect(sim, B);
    sim.run_for(Duration::from_secs(100)).unwrap();
    sim.run_until(LONG, settled)
}

/// From here on no packet is lost, although both ends rekey everything at once, again and again, and by
/// themselves.
fn lose_nothing(sim: &mut Sim<Host>, dice: &mut ChaCha8Rng) {
    for host in [A, B] {
        sim.node_mut(host).traffic = Traffic::default();
    }
    for _ in 0..3 {
        talk(sim, Some(Duration::from_millis(5)));
        for host in [A, B] {
            perform(
                sim,
                [Act::RekeyChild(host), Act::RekeyIke(host)][dice.random_range(0..2)],
            );
            sim.run_for(Duration::from_millis(dice.random_range(0..25)))
                .unwrap();
        }
        sim.run_for(Duration::from_millis(200)).unwrap();
        talk(sim, Some(Duration::from_secs(1)));
        sim.run_for(Duration::from_secs(dice.random_range(1..40)))
            .unwrap();
    }
    for host in [A, B] {
        let traffic = &sim.node(host).traffic;
        assert_eq!((traffic.lost, traffic.unsent), (0, 0), "{host}");
    }
    talk(sim, None);
    sim.run_until(LONG, settled).unwrap();
}

fn say(sim: &mut Sim<Host>) {
    for (name, host) in [("A", A), ("B", B)] {
        for trace in std::mem::take(&mut sim.node_mut(host).traces) {
            let arrow = if trace.sent { "->" } else { "<-" };
            println!("  {name} {arrow} {}", trace.message);
        }
    }
}

/// A quarter of all seeds, so that they can run side by side.
fn live_all(quarter: u64) {
    for seed in (quarter..SCHEDULES).step_by(4) {
        let lived = catch_unwind(AssertUnwindSafe(|| live(seed, false)));
        assert!(lived.is_ok(), "SCHEDULE={seed}");
    }
}

#[test]
fn every_schedule_ends_well() {
    match std::env::var("SCHEDULE") {
        Ok(seed) => live(seed.parse().unwrap(), true),
        Err(_) => live_all(0),
    }
}

#[test]
fn every_schedule_of_the_second_quarter_ends_well() {
    live_all(1);
}

#[test]
fn every_schedule_of_the_third_quarter_ends_well() {
    live_all(2);
}

#[test]
fn every_schedule_of_the_last_quarter_ends_well() {
    live_all(3);
}
