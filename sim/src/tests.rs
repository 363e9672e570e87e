use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::*;

const LEFT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 500);
const RIGHT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)), 500);
const SECOND: Duration = Duration::from_secs(1);

/// Sends a numbered frame every second, as many as it is to, and keeps what it receives.
#[derive(Default)]
struct Ticker {
    next: Option<Instant>,
    numbers: std::ops::Range<u8>,
    outbox: Vec<Frame>,
    received: Vec<u8>,
    heard_at: Vec<Instant>,
    /// Has a deadline that never moves on.
    spins: bool,
}

impl Node for Ticker {
    fn receive(&mut self, now: Instant, frame: Frame) {
        self.received.extend(frame.bytes);
        self.heard_at.push(now);
    }

    fn timeout(&mut self, now: Instant) {
        if self.spins {
            return;
        }
        let number = self.numbers.next();
        self.outbox.extend(number.map(|number| frame(&[number])));
        self.next = number.map(|_| now + SECOND);
    }

    fn poll(&mut self, _: Instant) -> Vec<Frame> {
        std::mem::take(&mut self.outbox)
    }

    fn deadline(&self) -> Option<(Instant, String)> {
        self.next.map(|at| (at, "the next tick".to_owned()))
    }
}

fn frame(bytes: &[u8]) -> Frame {
    Frame {
        source: LEFT,
        destination: RIGHT,
        bytes: bytes.to_vec(),
    }
}

/// Left ticks `count` times from the start; right listens.
fn network(seed: u64, quality: Quality, count: u8) -> Sim<Ticker> {
    let mut sim = Sim::new(seed);
    sim.set_quality(quality);
    let next = Some(sim.now());
    sim.add(
        [LEFT.ip()],
        Ticker {
            next,
            numbers: 0..count,
            ..Ticker::default()
        },
    );
    sim.add([RIGHT.ip()], Ticker::default());
    sim
}

fn received(sim: &Sim<Ticker>) -> &[u8] {
    &sim.node(RIGHT.ip()).received
}

#[test]
fn time_jumps_from_event_to_event() {
    let mut sim = network(0, Quality::PERFECT, 3);
    let took = sim
        .run_until(10 * SECOND, |sim| received(sim) == [0, 1, 2])
        .unwrap();
    assert_eq!(took, 2 * SECOND + Quality::PERFECT.delay);
    assert_eq!(sim.elapsed(), took);
    sim.run_for(SECOND).unwrap();
    assert_eq!(sim.elapsed(), took + SECOND);
    assert_eq!(
        (
            sim.trace().count(Fate::Sent),
            sim.trace().count(Fate::Delivered)
        ),
        (3, 3)
    );
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let mut sim = network(seed, Quality::HOSTILE, 200);
        sim.run_for(300 * SECOND).unwrap();
        (
            sim.trace().hash(),
            sim.trace().to_string(),
            received(&sim).to_vec(),
        )
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

fn per_mille(set: impl FnOnce(&mut Quality)) -> Sim<Ticker> {
    let mut quality = Quality::PERFECT;
    set(&mut quality);
    let mut sim = network(3, quality, 200);
    sim.run_for(300 * SECOND).unwrap();
    sim
}

#[test]
fn loss() {
    let sim = per_mille(|quality| quality.loss_per_mille = 500);
    let lost = sim.trace().count(Fate::Lost);
    assert!((60..140).contains(&lost), "{lost}");
    assert_eq!(received(&sim).len(), 200 - lost);
    assert!(
        received(&sim).is_sorted(),
        "what is not lost stays in order"
    );
    assert!(received(&per_mille(|quality| quality.loss_per_mille = 1000)).is_empty());
}

#[test]
fn duplication() {
    let sim = per_mille(|quality| quality.duplicate_per_mille = 500);
    let copies = received(&sim).len() - 200;
    assert!((60..140).contains(&copies), "{copies}");
    let distinct: BTreeSet<_> = received(&sim).iter().collect();
    assert_eq!(distinct.len(), 200);
}

#[test]
fn reordering() {
    let sim = per_mille(|quality| (quality.reorder_per_mille, quality.delay) = (500, SECOND));
    assert!(!received(&sim).is_sorted());
    let mut numbers = received(&sim).to_vec();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..200), "nothing is lost or doubled");
}

#[test]
fn corruption_inverts_one_bit() {
    let sim = per_mille(|quality| quality.corrupt_per_mille = 1000);
    for (sent, received) in (0u8..200).zip(received(&sim)) {
        assert_eq!((sent ^ received).count_ones(), 1);
    }
}

#[test]
fn jitter_stays_within_its_bounds() {
    let jitter = Duration::from_millis(300);
    let sim = per_mille(|quality| quality.jitter = jitter);
    let start = sim.now() - sim.elapsed();
    for (tick, heard_at) in (0u32..).zip(&sim.node(RIGHT.ip()).heard_at) {
        let delay = *heard_at - start - tick * SECOND;
        assert!((Quality::PERFECT.delay..=Quality::PERFECT.delay + jitter).contains(&delay));
    }
}

#[test]
fn a_tap_drops_delays_and_replaces() {
    let mut sim = network(0, Quality::PERFECT, 4);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    sim.tap(move |sent, number| {
        log.borrow_mut().push((number, sent.bytes[0]));
        match number {
            0 => Verdict::Drop,
            1 => Verdict::Delay(SECOND + SECOND / 2),
            2 => Verdict::Replace(frame(&[99])),
            _ => Verdict::Pass,
        }
    });
    sim.run_for(10 * SECOND).unwrap();
    assert_eq!(received(&sim), [99, 1, 3]);
    assert_eq!(*seen.borrow(), [(0, 0), (1, 1), (2, 2), (3, 3)]);
    assert_eq!(sim.trace().count(Fate::Tapped), 1);
}

#[test]
fn a_partition_holds_both_ways_until_it_is_healed() {
    let mut sim = network(0, Quality::PERFECT, 4);
    sim.partition(RIGHT.ip(), LEFT.ip());
    sim.run_for(SECOND + SECOND / 2).unwrap();
    assert!(received(&sim).is_empty());
    assert_eq!(sim.trace().count(Fate::Partitioned), 2);
    sim.heal(RIGHT.ip(), LEFT.ip());
    sim.run_for(10 * SECOND).unwrap();
    assert_eq!(received(&sim), [2, 3]);
}

#[test]
fn an_injected_frame_arrives_at_once_past_tap_and_quality() {
    let mut sim = network(
        0,
        Quality {
            loss_per_mille: 1000,
            ..Quality::PERFECT
        },
        0,
    );
    sim.tap(|_, _| Verdict::Drop);
    sim.inject(frame(&[7]));
    assert_eq!(
        sim.run_until(SECOND, |sim| received(sim) == [7]).unwrap(),
        Duration::ZERO
    );
}

#[test]
fn frames_that_are_too_long_are_lost() {
    let quality = Quality {
        octets_max: 2,
        ..Quality::PERFECT
    };
    let mut sim = network(0, quality, 0);
    for octets in [1, 2, 3] {
        let long = frame(&vec![octets; usize::from(octets)]);
        sim.node_mut(LEFT.ip()).outbox.push(long);
    }
    sim.run_for(SECOND).unwrap();
    assert_eq!(received(&sim), [1, 2, 2]);
    assert_eq!(sim.trace().count(Fate::Lost), 1);
}

#[test]
fn what_a_node_was_told_between_runs_is_sent() {
    let mut sim = network(0, Quality::PERFECT, 0);
    sim.run_for(SECOND).unwrap();
    sim.node_mut(LEFT.ip()).outbox.push(frame(&[5]));
    let took = sim.run_until(SECOND, |sim| received(sim) == [5]).unwrap();
    assert_eq!(took, Quality::PERFECT.delay);
}

#[test]
fn a_frame_to_nobody_is_recorded() {
    let mut sim = network(0, Quality::PERFECT, 0);
    sim.inject(Frame {
        destination: "192.0.2.9:500".parse().unwrap(),
        ..frame(&[1])
    });
    sim.run_for(SECOND).unwrap();
    assert_eq!(sim.trace().count(Fate::Unrouted), 1);
}

#[test]
fn nodes_of_several_types_share_a_network() {
    let mut sim: Sim<Box<dyn Node>> = Sim::new(0);
    let next = Some(sim.now());
    sim.add(
        [LEFT.ip()],
        Box::new(Ticker {
            next,
            numbers: 0..2,
            ..Ticker::default()
        }),
    );
    sim.add([RIGHT.ip()], Box::new(Ticker::default()));
    sim.run_for(10 * SECOND).unwrap();
    assert_eq!(sim.trace().count(Fate::Delivered), 2);
}

#[test]
fn stuck_says_what_each_node_waits_for() {
    let mut sim = network(42, Quality::PERFECT, 200);
    let stuck = sim.run_until(SECOND / 2, |_| false).unwrap_err();
    assert_eq!(stuck.reason, Reason::Limit);
    assert_eq!(
        format!("{stuck:?}"),
        "stuck: Limit at 500ms, 0 frames under way, seed 42\n  \
         [192.0.2.1] waits until 1s: the next tick\n  \
         [192.0.2.2] waits for nothing"
    );
}

#[test]
fn a_network_without_a_future_is_stuck_at_once() {
    let mut sim = network(0, Quality::PERFECT, 0);
    let stuck = sim.run_until(3600 * SECOND, |_| false).unwrap_err();
    assert_eq!((stuck.reason, stuck.at), (Reason::Idle, Duration::ZERO));
}

#[test]
fn a_late_deadline_does_not_turn_back_the_clock() {
    let mut sim = network(0, Quality::PERFECT, 1);
    sim.node_mut(LEFT.ip()).next = None;
    let epoch = sim.now();
    sim.run_for(SECOND).unwrap();
    sim.node_mut(LEFT.ip()).next = Some(epoch);
    let took = sim.run_until(SECOND, |sim| received(sim) == [0]).unwrap();
    assert_eq!(took, Quality::PERFECT.delay);
}

/// Works off one timer at a time, as a timer queue may.
struct Backlog(Vec<Instant>);

impl Node for Backlog {
    fn receive(&mut self, _: Instant, _: Frame) {}

    fn timeout(&mut self, _: Instant) {
        self.0.pop();
    }

    fn poll(&mut self, _: Instant) -> Vec<Frame> {
        Vec::new()
    }

    fn deadline(&self) -> Option<(Instant, String)> {
        self.0.last().map(|at| (*at, "one of many".to_owned()))
    }
}

#[test]
fn many_timers_due_at_once_are_not_spinning() {
    let mut sim = Sim::new(0);
    let timers = [sim.now() + SECOND, sim.now()].map(|at| [at; 900]).concat();
    sim.add([LEFT.ip()], Backlog(timers));
    sim.run_for(2 * SECOND).unwrap();
    assert!(sim.node(LEFT.ip()).0.is_empty());
}

#[test]
fn a_deadline_that_does_not_move_is_spinning() {
    let mut sim = network(0, Quality::PERFECT, 1);
    sim.node_mut(LEFT.ip()).spins = true;
    let stuck = sim.run_for(SECOND).unwrap_err();
    assert_eq!(stuck.reason, Reason::Spinning(LEFT.ip()));
}
