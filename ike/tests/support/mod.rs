//! Hosts for the simulated network: an `Endpoint` with what its driver would keep, and what the
//! tests ask of two of them.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, also outside the functions that carry #[test]"
)]

pub(crate) mod bench;
pub(crate) mod puppet;
pub(crate) mod site;
pub(crate) mod tap;
pub(crate) mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use secure_gre_ike::Endpoint;
use secure_gre_ike::config::{
    Config, HalfOpenLimits, OnFailure, PeerConfig, PeerId, Ppk, Remote, RemoteId, Retransmit,
    UdpEncapsulation,
};
use secure_gre_ike::error::Failure;
use secure_gre_ike::event::{
    ChildId, ChildKeys, ChildPhase, Command, EspSpi, Event, GoneReason, IkeDetails, Output, Path,
    PeerSnapshot, Trace,
};
use secure_gre_ike::identity::Identity;
use secure_gre_ike::proposal::{EsnPolicy, EspProposal, IkeProposal};
use secure_gre_ike::secret::Secret;
use secure_gre_sim::{Frame, Node, Sim};

use self::traffic::Traffic;

pub(crate) const PEER: PeerId = PeerId(7);
pub(crate) const A: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub(crate) const B: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// Addresses to which they may move.
pub(crate) const A_ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
pub(crate) const B_ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2));

/// One end, with every choice that a test may want to make.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) psk: &'static str,
    /// Id, key, and whether it is required.
    pub(crate) ppk: Option<(&'static str, &'static str, bool)>,
    pub(crate) ike: Vec<&'static str>,
    pub(crate) esp: Vec<&'static str>,
    pub(crate) esn: EsnPolicy,
    pub(crate) local_id: Option<Identity>,
    pub(crate) remote_id: RemoteId,
    pub(crate) half_open: HalfOpenLimits,
    pub(crate) retransmit: Retransmit,
    pub(crate) on_failure: OnFailure,
    pub(crate) encapsulation: UdpEncapsulation,
    pub(crate) ike_lifetime: Duration,
    pub(crate) child_lifetime: Duration,
    pub(crate) dpd: Option<Duration>,
    pub(crate) fragmentation: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            psk: "correct horse battery staple",
            ppk: None,
            ike: vec!["aes256gcm16-prfsha256-x25519"],
            esp: vec!["aes256gcm16"],
            esn: EsnPolicy::Prefer,
            local_id: None,
            remote_id: RemoteId::Address,
            half_open: HalfOpenLimits::default(),
            retransmit: Retransmit::default(),
            on_failure: OnFailure::Retry,
            encapsulation: UdpEncapsulation::Auto,
            ike_lifetime: Duration::from_secs(8 * 3600),
            child_lifetime: Duration::from_secs(3600),
            dpd: None,
            fragmentation: true,
        }
    }
}

impl Setup {
    pub(crate) fn config(&self, remote: IpAddr) -> Config {
        let esn = self.esn;
        let peer = PeerConfig {
            id: PEER,
            remote: Remote::At(vec![remote]),
            local_id: self.local_id.clone(),
            remote_id: self.remote_id.clone(),
            psk: Secret::new(self.psk.as_bytes().to_vec()),
            ppk: self.ppk.map(|(id, key, required)| Ppk {
                id: id.to_owned(),
                secret: Secret::new(key.as_bytes().to_vec()),
                required,
            }),
            ike_proposals: self
                .ike
                .iter()
                .map(|text| IkeProposal::parse(text).unwrap())
                .collect(),
            esp_proposals: self
                .esp
                .iter()
                .map(|text| EspProposal::parse(text, esn).unwrap())
                .collect(),
            retransmit: self.retransmit,
            on_failure: self.on_failure,
            encapsulation: self.encapsulation,
            ike_lifetime: self.ike_lifetime,
            child_lifetime: self.child_lifetime,
            dpd: self.dpd,
            fragmentation: self.fragmentation,
        };
        Config {
            peers: vec![peer],
            half_open: self.half_open,
        }
    }
}

/// A machine with one endpoint that knows one peer.
pub(crate) struct Host {
    pub(crate) endpoint: Endpoint,
    setup: Setup,
    local: IpAddr,
    remote: IpAddr,
    seed: u64,
    frames: Vec<Frame>,
    deadline: Option<(Instant, String)>,
    /// Installed SAs, in the order of their installation.
    pub(crate) inbound: BTreeMap<ChildId, ChildKeys>,
    pub(crate) outbound: Vec<(ChildId, ChildKeys)>,
    pub(crate) details: Option<IkeDetails>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) retries: Vec<Option<Duration>>,
    pub(crate) refusals: Vec<Failure>,
    pub(crate) gone: Vec<GoneReason>,
    pub(crate) down: Vec<GoneReason>,
    pub(crate) attempts: u32,
    pub(crate) disconnected: u32,
    pub(crate) traces: Vec<Trace>,
    /// Inbound SPIs that were offered, and of which nothing has become so far.
    pub(crate) offered: BTreeSet<EspSpi>,
    pub(crate) rekey_failures: Vec<Failure>,
    /// Where packets went each time that they were told to go elsewhere under a live SA.
    pub(crate) moves: Vec<Path>,
    /// Pairs on which an authenticated packet has come in.
    confirmed: BTreeSet<ChildId>,
    pub(crate) traffic: Traffic,
}

impl Host {
    fn new(setup: Setup, local: IpAddr, remote: IpAddr, seed: u64, now: Instant) -> Self {
        let rng = Box::new(ChaCha20Rng::seed_from_u64(seed));
        Self {
            endpoint: Endpoint::new(setup.config(remote), rng, now),
            setup,
            local,
            remote,
            seed,
            frames: Vec::new(),
            deadline: None,
            inbound: BTreeMap::new(),
            outbound: Vec::new(),
            details: None,
            failures: Vec::new(),
            retries: Vec::new(),
            refusals: Vec::new(),
            gone: Vec::new(),
            down: Vec::new(),
            attempts: 0,
            disconnected: 0,
            traces: Vec::new(),
            offered: BTreeSet::new(),
            rekey_failures: Vec::new(),
            moves: Vec::new(),
            confirmed: BTreeSet::new(),
            traffic: Traffic::default(),
        }
    }

    pub(crate) fn connect(&mut self, now: Instant) {
        let at = |address| SocketAddr::new(address, 500);
        let path = Path {
            local: at(self.local),
            remote: at(self.remote),
        };
        self.endpoint
            .handle_command(now, Command::Connect { peer: PEER, path })
            .unwrap();
        self.drain(now);
    }

    /// It is here from now on, and calls the other one there.
    pub(crate) fn settle_at(&mut self, local: IpAddr, remote: IpAddr) {
        (self.local, self.remote) = (local, remote);
    }

    pub(crate) fn command(&mut self, now: Instant, command: Command) {
        self.endpoint.handle_command(now, command).unwrap();
        self.drain(now);
    }

    /// Rekeys the pair that packets leave on.
    pub(crate) fn rekey_child(&mut self, now: Instant) {
        if let Some((child, _)) = self.outbound.last() {
            let child = *child;
            self.command(now, Command::RekeyChild { child });
        }
    }

    pub(crate) fn rekey_ike(&mut self, now: Instant) {
        self.command(now, Command::RekeyIke { peer: PEER });
    }

    pub(crate) fn trace(&mut self) {
        self.endpoint.set_trace(true);
    }

    pub(crate) fn disconnect(&mut self, now: Instant) {
        self.endpoint
            .handle_command(now, Command::Disconnect { peer: PEER })
            .unwrap();
        self.drain(now);
    }

    /// Power off and on again: nothing is remembered, nobody was told.
    pub(crate) fn reboot(&mut self, now: Instant) {
        let setup = std::mem::take(&mut self.setup);
        *self = Self::new(
            setup,
            self.local,
            self.remote,
            self.seed.wrapping_add(1000),
            now,
        );
    }

    /// Datagrams that changed nothing.
    pub(crate) fn dropped(&self) -> u64 {
        self.endpoint.drops().map(|(_, count)| count).sum()
    }

    pub(crate) fn snapshot(&self) -> PeerSnapshot {
        self.endpoint.snapshot().into_iter().next().unwrap()
    }

    pub(crate) fn established(&self) -> usize {
        self.snapshot().established.len()
    }

    /// Where a driver performs the outputs. In order, as it must.
    pub(crate) fn drain(&mut self, now: Instant) {
        let mut reconnect = false;
        loop {
            match self.endpoint.poll_output() {
                Output::Transmit(transmit) => self.frames.push(Frame {
                    source: transmit.path.local,
                    destination: transmit.path.remote,
                    bytes: transmit.payload,
                }),
                Output::Event(event) => reconnect |= self.on_event(event),
                Output::Trace(trace) => self.traces.push(trace),
                Output::Idle(deadline) => {
                    self.deadline = deadline.map(|d| (d.at, format!("{:?}", d.why)));
                    break;
                }
            }
        }
        if reconnect {
            self.connect(now);
        }
    }

    fn on_event(&mut self, event: Event) -> bool {
        match event {
            Event::Connecting { .. } => self.attempts += 1,
            Event::ChildInbound { child, keys, .. } => {
                self.offered.remove(&keys.spi);
                self.traffic.installed(&keys);
                assert!(
                    self.inbound.insert(child, keys).is_none(),
                    "{child:?} installed twice"
                );
            }
            Event::ChildOutbound { child, keys, .. } => {
                assert!(self.inbound.contains_key(&child), "outbound before inbound");
                self.outbound.push((child, keys));
            }
            Event::ChildGone { child, why, .. } => {
                assert!(
                    self.inbound.remove(&child).is_some(),
                    "{child:?} was not there"
                );
                self.outbound.retain(|(id, _)| *id != child);
                self.gone.push(why);
            }
            Event::IkeDown { why, .. } => self.down.push(why),
            Event::AttemptFailed {
                failure, retry_in, ..
            } => {
                self.failures.push(failure);
                self.retries.push(retry_in);
            }
            Event::Refused { failure, .. } | Event::StrangerRefused { failure, .. } => {
                self.refusals.push(failure);
            }
            Event::Reconnect { .. } => return true,
            Event::Disconnected { .. } => self.disconnected += 1,
            Event::IkeUp { details, .. } | Event::IkeRekeyed { details, .. } => {
                self.details = Some(details);
            }
            Event::ChildOffered { spi, .. } => assert!(self.offered.insert(spi)),
            Event::ChildOfferWithdrawn { spi, .. } => {
                assert!(self.offered.remove(&spi));
                self.traffic.withdrawn(spi);
            }
            Event::RekeyFailed { failure, .. } => self.rekey_failures.push(failure),
            Event::Moved { path, .. } => self.moves.push(path),
        }
        false
    }
}

impl Node for Host {
    fn receive(&mut self, now: Instant, frame: Frame) {
        if frame.destination.port() == traffic::PORT {
            return self.receive_packet(now, &frame.bytes);
        }
        let path = Path {
            local: frame.destination,
            remote: frame.source,
        };
        let before = self.dropped();
        self.endpoint.handle_datagram(now, path, &frame.bytes);
        assert!(self.dropped() - before <= 1, "one datagram, two counters");
        self.drain(now);
    }

    fn timeout(&mut self, now: Instant) {
        self.send_packet(now);
        self.endpoint.handle_timeout(now);
        self.drain(now);
    }

    fn poll(&mut self, _now: Instant) -> Vec<Frame> {
        std::mem::take(&mut self.frames)
    }

    fn deadline(&self) -> Option<(Instant, String)> {
        let packet = self.traffic.next().map(|at| (at, "packet".to_owned()));
        self.deadline.clone().into_iter().chain(packet).min()
    }
}

/// Two hosts, A and B, on a perfect network.
pub(crate) fn pair(seed: u64, a: Setup, b: Setup) -> Sim<Host> {
    pair_seen_at(seed, (a, A), (b, B))
}

/// Two hosts, A and B, each with the address that the other one calls.
pub(crate) fn pair_seen_at(
    seed: u64,
    (a, a_outside): (Setup, IpAddr),
    (b, b_outside): (Setup, IpAddr),
) -> Sim<Host> {
    let mut sim = Sim::new(seed);
    let now = sim.now();
    let seeds = [seed.wrapping_mul(2), seed.wrapping_mul(2).wrapping_add(1)];
    sim.add([A, A_ELSEWHERE], Host::new(a, A, b_outside, seeds[0], now));
    sim.add([B, B_ELSEWHERE], Host::new(b, B, a_outside, seeds[1], now));
    sim
}

pub(crate) fn default_pair(seed: u64) -> Sim<Host> {
    pair(seed, Setup::default(), Setup::default())
}

/// What one host does at this moment.
pub(crate) fn with(sim: &mut Sim<Host>, host: IpAddr, act: impl FnOnce(&mut Host, Instant)) {
    let now = sim.now();
    act(sim.node_mut(host), now);
}

/// Both send a packet so often; `None`: no more.
pub(crate) fn talk(sim: &mut Sim<Host>, every: Option<Duration>) {
    for host in [A, B] {
        with(sim, host, |host, now| host.talk(now, every));
    }
}

pub(crate) fn disconnect(sim: &mut Sim<Host>, host: IpAddr) {
    let now = sim.now();
    sim.node_mut(host).disconnect(now);
}

pub(crate) fn reboot(sim: &mut Sim<Host>, host: IpAddr) {
    let now = sim.now();
    sim.node_mut(host).reboot(now);
}

pub(crate) fn connect(sim: &mut Sim<Host>, host: IpAddr) {
    let now = sim.now();
    sim.node_mut(host).connect(now);
}

/// Whether what one end sends on is what the other receives on, with the same keys.
fn carries(from: &Host, to: &Host) -> bool {
    from.outbound.last().is_some_and(|(_, sent)| {
        to.inbound.values().any(|received| {
            received.spi == sent.spi
                && received.suite == sent.suite
                && received.key_material == sent.key_material
        })
    })
}

/// Packets pass both ways, and there is exactly one SA pair.
pub(crate) fn one_working_pair(sim: &Sim<Host>) -> bool {
    let (a, b) = (sim.node(A), sim.node(B));
    let alone = |host: &Host| {
        host.inbound.len() == 1 && host.outbound.len() == 1 && host.established() == 1
    };
    alone(a) && alone(b) && carries(a, b) && carries(b, a)
}

/// Packets pass both ways, and beside what they pass on there is at most one pair that drains.
pub(crate) fn settled(sim: &Sim<Host>) -> bool {
    let settled = |host: &Host| {
        let [(_, pairs)] = &host.snapshot().established[..] else {
            return false;
        };
        let (draining, usable): (Vec<_>, Vec<_>) = pairs
            .iter()
            .partition(|pair| pair.phase == ChildPhase::Draining);
        usable.len() == 1 && draining.len() <= 1 && host.inbound.len() == pairs.len()
    };
    settled(sim.node(A)) && settled(sim.node(B)) && works(sim)
}

/// Packets pass both ways on whatever SAs there are.
pub(crate) fn works(sim: &Sim<Host>) -> bool {
    carries(sim.node(A), sim.node(B)) && carries(sim.node(B), sim.node(A))
}

pub(crate) fn nothing_left(host: &Host) -> bool {
    host.inbound.is_empty() && host.outbound.is_empty() && host.established() == 0
}

pub(crate) const MINUTES: Duration = Duration::from_secs(60);

/// Longer than any retransmission schedule and any wait for another attempt.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// Both sides let go of everything, and nothing stays behind: no SA in any state, no number, no key.
pub(crate) fn leave_without_a_trace(sim: &mut Sim<Host>) {
    for host in [A, B] {
        disconnect(sim, host);
    }
    sim.run_until(LONG, |sim| {
        [A, B].iter().all(|host| sim.node(*host).endpoint.is_idle())
    })
    .unwrap();
    for host in [A, B] {
        let host = sim.node(host);
        assert!(nothing_left(host));
        assert_eq!(host.disconnected, 1);
    }
}
