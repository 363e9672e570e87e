//! The network itself: clock, nodes, and the frames between them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use crate::quality::Quality;
use crate::stuck::{NodeReport, Reason, Stuck};
use crate::trace::{Fate, Trace};
use crate::{Frame, Node};

/// What a tap does with a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Pass,
    /// Takes it off the wire.
    Drop,
    /// Holds it back for so long, in addition to the network's own delay.
    Delay(Duration),
    /// Puts another one in its place.
    Replace(Frame),
}

type Tap = Box<dyn FnMut(&Frame, usize) -> Verdict>;

/// A network of nodes that are found by their IP addresses.
pub struct Sim<N> {
    seed: u64,
    dice: ChaCha8Rng,
    /// Instants cannot be made up; this one is taken once, and only distances to it matter.
    epoch: Instant,
    elapsed: Duration,
    stations: Vec<Station<N>>,
    /// Index into `stations`.
    routes: BTreeMap<IpAddr, usize>,
    quality: Quality,
    partitions: BTreeSet<(IpAddr, IpAddr)>,
    tap: Option<Tap>,
    /// By time of arrival, and in the order of sending within it.
    in_flight: BTreeMap<(Duration, usize), Frame>,
    /// How many copies ever were in flight.
    carried: usize,
    /// How many frames the nodes have sent.
    sent: usize,
    trace: Trace,
}

struct Station<N> {
    node: N,
    addresses: Vec<IpAddr>,
    deadline: Option<Duration>,
    /// How many timeouts in a row have left the deadline in the past.
    futile_timeouts: u32,
}

enum Next {
    Arrival,
    Timeout(usize),
}

impl<N: Node> Sim<N> {
    /// An empty network of perfect quality. The seed decides every chance.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            dice: ChaCha8Rng::seed_from_u64(seed),
            epoch: Instant::now(),
            elapsed: Duration::ZERO,
            stations: Vec::new(),
            routes: BTreeMap::new(),
            quality: Quality::PERFECT,
            partitions: BTreeSet::new(),
            tap: None,
            in_flight: BTreeMap::new(),
            carried: 0,
            sent: 0,
            trace: Trace::default(),
        }
    }

    /// Connects a node. An address that another node had is this one's from here on.
    pub fn add(&mut self, addresses: impl IntoIterator<Item = IpAddr>, node: N) {
        let addresses: Vec<_> = addresses.into_iter().collect();
        self.routes.extend(
            addresses
                .iter()
                .map(|&address| (address, self.stations.len())),
        );
        self.stations.push(Station {
            node,
            addresses,
            deadline: None,
            futile_timeouts: 0,
        });
    }

    /// The node that has this address.
    ///
    /// # Panics
    /// Where none has it.
    pub fn node(&self, address: IpAddr) -> &N {
        let station = self
            .routes
            .get(&address)
            .and_then(|&index| self.stations.get(index));
        #[expect(
            clippy::expect_used,
            reason = "a mistake in a test, best told by a panic"
        )]
        let station = station.expect("no node has this address");
        &station.node
    }

    /// The node that has this address, to be told something. What it wants to send then leaves
    /// when the next run begins.
    ///
    /// # Panics
    /// Where none has it.
    pub fn node_mut(&mut self, address: IpAddr) -> &mut N {
        let station = self
            .routes
            .get(&address)
            .and_then(|&index| self.stations.get_mut(index));
        #[expect(
            clippy::expect_used,
            reason = "a mistake in a test, best told by a panic"
        )]
        let station = station.expect("no node has this address");
        &mut station.node
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.epoch + self.elapsed
    }

    /// How much virtual time has passed.
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What happened on the wire so far.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Changes how frames are carried that are sent from here on.
    pub const fn set_quality(&mut self, quality: Quality) {
        self.quality = quality;
    }

    /// Shows every frame that a node sends to `tap`, with its number counted from 0, before
    /// anything else happens to it. Replaces the tap before.
    pub fn tap(&mut self, tap: impl FnMut(&Frame, usize) -> Verdict + 'static) {
        self.tap = Some(Box::new(tap));
    }

    /// Takes the tap away.
    pub fn untap(&mut self) {
        self.tap = None;
    }

    /// Lets a frame of an outsider arrive at this moment, whatever the quality and the tap.
    pub fn inject(&mut self, frame: Frame) {
        self.trace.record(self.elapsed, &frame, Fate::Injected);
        self.launch(Duration::ZERO, frame);
    }

    /// Lets nothing through between two addresses, either way. What is under way still arrives.
    pub fn partition(&mut self, a: IpAddr, b: IpAddr) {
        self.partitions.insert((a.min(b), a.max(b)));
    }

    /// Ends a [`partition`](Self::partition).
    pub fn heal(&mut self, a: IpAddr, b: IpAddr) {
        self.partitions.remove(&(a.min(b), a.max(b)));
    }

    /// Runs until `done`, which is asked before each step, and says how long that took.
    ///
    /// # Errors
    /// [`Stuck`] where `done` does not come true within `limit`, or never could.
    pub fn run_until(
        &mut self,
        limit: Duration,
        done: impl FnMut(&Self) -> bool,
    ) -> Result<Duration, Stuck> {
        let start = self.elapsed;
        match self.run(start + limit, done) {
            Ok(()) => Ok(self.elapsed - start),
            Err(reason) => Err(self.stuck(reason)),
        }
    }

    /// Runs for so long, if only by moving the clock.
    ///
    /// # Errors
    /// [`Stuck`] with [`Reason::Spinning`] or [`Reason::Steps`].
    pub fn run_for(&mut self, duration: Duration) -> Result<(), Stuck> {
        let end = self.elapsed + duration;
        match self.run(end, |_| false) {
            Err(reason @ (Reason::Spinning(_) | Reason::Steps)) => Err(self.stuck(reason)),
            Ok(()) | Err(Reason::Limit | Reason::Idle) => {
                self.elapsed = end;
                Ok(())
            }
        }
    }

    fn run(&mut self, end: Duration, mut done: impl FnMut(&Self) -> bool) -> Result<(), Reason> {
        for index in 0..self.stations.len() {
            self.drain(index);
        }
        for _ in 0..STEPS_MAX {
            if done(self) {
                return Ok(());
            }
            self.step(end)?;
        }
        Err(Reason::Steps)
    }

    /// Moves the clock to whatever comes next and lets it happen: one arrival or one timeout.
    fn step(&mut self, end: Duration) -> Result<(), Reason> {
        let (at, next) = self.next().ok_or(Reason::Idle)?;
        self.elapsed = at.min(end);
        if at > end {
            return Err(Reason::Limit);
        }
        match next {
            Next::Arrival => self.deliver(),
            Next::Timeout(index) => self.timeout(index)?,
        }
        Ok(())
    }

    /// Among what is due at the same time, arrivals come first, then nodes in their order.
    fn next(&self) -> Option<(Duration, Next)> {
        let arrival = self
            .in_flight
            .keys()
            .next()
            .map(|&(at, _)| (at, Next::Arrival));
        let timeouts = self
            .stations
            .iter()
            .enumerate()
            .filter_map(|(index, station)| {
                let due = station.deadline?.max(self.elapsed);
                Some((due, Next::Timeout(index)))
            });
        arrival
            .into_iter()
            .chain(timeouts)
            .min_by_key(|&(at, _)| at)
    }

    fn deliver(&mut self) {
        let Some((_, frame)) = self.in_flight.pop_first() else {
            return;
        };
        let Some(&index) = self.routes.get(&frame.destination.ip()) else {
            return self.trace.record(self.elapsed, &frame, Fate::Unrouted);
        };
        self.trace.record(self.elapsed, &frame, Fate::Delivered);
        let now = self.now();
        if let Some(station) = self.stations.get_mut(index) {
            station.node.receive(now, frame);
        }
        self.drain(index);
    }

    fn timeout(&mut self, index: usize) -> Result<(), Reason> {
        let now = self.now();
        if let Some(station) = self.stations.get_mut(index) {
            station.node.timeout(now);
        }
        self.drain(index);
        let Some(station) = self.stations.get_mut(index) else {
            return Ok(());
        };
        if station.deadline.is_none_or(|due| due > self.elapsed) {
            station.futile_timeouts = 0;
            return Ok(());
        }
        station.futile_timeouts += 1;
        match station.addresses.first() {
            Some(&address) if station.futile_timeouts >= FUTILE_TIMEOUTS_MAX => {
                Err(Reason::Spinning(address))
            }
            _ => Ok(()),
        }
    }

    /// Sends what the node has to send and learns its deadline.
    fn drain(&mut self, index: usize) {
        let now = self.now();
        let Some(station) = self.stations.get_mut(index) else {
            return;
        };
        let frames = station.node.poll(now);
        station.deadline = station
            .node
            .deadline()
            .map(|(at, _)| at.saturating_duration_since(self.epoch));
        for frame in frames {
            self.send(frame);
        }
    }

    fn send(&mut self, frame: Frame) {
        let number = self.sent;
        self.sent += 1;
        let verdict = self
            .tap
            .as_mut()
            .map_or(Verdict::Pass, |tap| tap(&frame, number));
        let (frame, held) = match verdict {
            Verdict::Pass => (frame, Duration::ZERO),
            Verdict::Delay(held) => (frame, held),
            Verdict::Replace(other) => (other, Duration::ZERO),
            Verdict::Drop => return self.trace.record(self.elapsed, &frame, Fate::Tapped),
        };
        let (a, b) = (frame.source.ip(), frame.destination.ip());
        if self.partitions.contains(&(a.min(b), a.max(b))) {
            return self.trace.record(self.elapsed, &frame, Fate::Partitioned);
        }
        let copies = self.quality.carry(&mut self.dice, &frame.bytes);
        let fate = if copies.is_empty() {
            Fate::Lost
        } else {
            Fate::Sent
        };
        self.trace.record(self.elapsed, &frame, fate);
        for (delay, bytes) in copies {
            self.launch(held + delay, Frame { bytes, ..frame });
        }
    }

    fn launch(&mut self, delay: Duration, frame: Frame) {
        self.in_flight
            .insert((self.elapsed + delay, self.carried), frame);
        self.carried += 1;
    }

    fn stuck(&self, reason: Reason) -> Stuck {
        let report = |station: &Station<N>| NodeReport {
            addresses: station.addresses.clone(),
            deadline: station
                .node
                .deadline()
                .map(|(at, why)| (at.saturating_duration_since(self.epoch), why)),
        };
        Stuck {
            reason,
            seed: self.seed,
            at: self.elapsed,
            in_flight: self.in_flight.len(),
            nodes: self.stations.iter().map(report).collect(),
        }
    }
}

/// One run's steps: a thousand nodes with a thousand events each.
const STEPS_MAX: usize = 1_000_000;
/// A node may work off several timers that are due at the same time one by one, though not this
/// many.
const FUTILE_TIMEOUTS_MAX: u32 = 1_000;
