//! A host with any number of peers: a hub, or one of its spokes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use secure_gre_ike::Endpoint;
use secure_gre_ike::config::{Config, HalfOpenLimits, PeerConfig, PeerId, Remote, RemoteId};
use secure_gre_ike::error::Failure;
use secure_gre_ike::event::{
    ChildId, ChildKeys, Command, EspSpi, Event, GoneReason, IkeDetails, Output, Path, Transmit,
};
use secure_gre_ike::identity::Identity;
use secure_gre_sim::{Frame, Node, Sim};

use super::bench::at;
use super::{PEER, Setup};

pub(crate) const HUB: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The address of a spoke.
pub(crate) fn spoke_address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number))
}

/// What a spoke calls itself.
pub(crate) fn spoke_identity(number: u32) -> Identity {
    Identity::Fqdn(format!("spoke{number}.example"))
}

/// As what the hub knows it.
pub(crate) fn at_hub(number: u32, setup: &Setup) -> PeerConfig {
    PeerConfig {
        id: PeerId(number),
        remote: Remote::Anywhere,
        remote_id: RemoteId::Is(spoke_identity(number)),
        ..setup.config(HUB).peers.remove(0)
    }
}

/// What stands with one peer.
#[derive(Default)]
pub(crate) struct Standing {
    pub(crate) inbound: BTreeMap<ChildId, ChildKeys>,
    /// Newest last.
    pub(crate) outbound: Vec<(ChildId, ChildKeys)>,
    /// How many pairs there have been.
    pub(crate) pairs: usize,
    pub(crate) ike_rekeys: usize,
    /// Of the newest IKE SA that was not rekeyed.
    pub(crate) details: Option<IkeDetails>,
    pub(crate) refusals: Vec<Failure>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) down: Vec<GoneReason>,
}

impl Standing {
    /// What packets leave on, and what they are taken on.
    pub(crate) fn spis(&self) -> (Option<EspSpi>, Vec<EspSpi>) {
        let outbound = self.outbound.last().map(|(_, keys)| keys.spi);
        (
            outbound,
            self.inbound.values().map(|keys| keys.spi).collect(),
        )
    }
}

/// See the module.
pub(crate) struct Site {
    pub(crate) endpoint: Endpoint,
    pub(crate) with: BTreeMap<PeerId, Standing>,
    pub(crate) strangers: Vec<Failure>,
    /// Where PEER is called.
    path: Option<Path>,
    frames: Vec<Frame>,
    deadline: Option<(Instant, String)>,
}

impl Site {
    pub(crate) fn new(peers: Vec<PeerConfig>, seed: u64, now: Instant) -> Self {
        let half_open = HalfOpenLimits {
            cookies_from: 30,
            limit: 1000,
        };
        let config = Config { peers, half_open };
        let rng = Box::new(ChaCha20Rng::seed_from_u64(seed));
        Self {
            endpoint: Endpoint::new(config, rng, now),
            with: BTreeMap::new(),
            strangers: Vec::new(),
            path: None,
            frames: Vec::new(),
            deadline: None,
        }
    }

    /// A spoke, which knows the hub as PEER.
    pub(crate) fn spoke(number: u32, setup: &Setup, local: IpAddr, now: Instant) -> Self {
        let setup = Setup {
            local_id: Some(spoke_identity(number)),
            ..setup.clone()
        };
        let path = Path {
            local: at(local, 500),
            remote: at(HUB, 500),
        };
        let seed = 1_000_000 + u64::from(number);
        Self {
            path: Some(path),
            ..Self::new(setup.config(HUB).peers, seed, now)
        }
    }

    pub(crate) fn connect(&mut self, now: Instant) {
        let path = self.path.unwrap();
        self.command(now, Command::Connect { peer: PEER, path });
    }

    pub(crate) fn command(&mut self, now: Instant, command: Command) {
        self.endpoint.handle_command(now, command).unwrap();
        self.drain(now);
    }

    pub(crate) fn drain(&mut self, now: Instant) {
        let mut reconnect = false;
        loop {
            match self.endpoint.poll_output() {
                Output::Transmit(Transmit { path, payload }) => self.frames.push(Frame {
                    source: path.local,
                    destination: path.remote,
                    bytes: payload,
                }),
                Output::Event(Event::Reconnect { .. }) => reconnect = true,
                Output::Event(Event::StrangerRefused { failure, .. }) => {
                    self.strangers.push(failure);
                }
                Output::Event(event) => self.on_event(event),
                Output::Trace(_) => {}
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

    fn on_event(&mut self, event: Event) {
        let with = self.with.entry(event.peer().unwrap()).or_default();
        match event {
            Event::ChildInbound { child, keys, .. } => {
                with.inbound.insert(child, keys);
                with.pairs += 1;
            }
            Event::ChildOutbound { child, keys, .. } => with.outbound.push((child, keys)),
            Event::ChildGone { child, .. } => {
                with.inbound.remove(&child);
                with.outbound.retain(|(id, _)| *id != child);
            }
            Event::IkeUp { details, .. } => with.details = Some(details),
            Event::IkeRekeyed { .. } => with.ike_rekeys += 1,
            Event::IkeDown { why, .. } => with.down.push(why),
            Event::Refused { failure, .. } => with.refusals.push(failure),
            Event::AttemptFailed { failure, .. } | Event::RekeyFailed { failure, .. } => {
                with.failures.push(failure);
            }
            _ => {}
        }
    }
}

impl Node for Site {
    fn receive(&mut self, now: Instant, frame: Frame) {
        let path = Path {
            local: frame.destination,
            remote: frame.source,
        };
        self.endpoint.handle_datagram(now, path, &frame.bytes);
        self.drain(now);
    }

    fn timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.drain(now);
    }

    fn poll(&mut self, _now: Instant) -> Vec<Frame> {
        std::mem::take(&mut self.frames)
    }

    fn deadline(&self) -> Option<(Instant, String)> {
        self.deadline.clone()
    }
}

/// A hub that knows these spokes, and nobody connected to it yet.
pub(crate) fn hub(peers: Vec<PeerConfig>) -> Sim<Site> {
    let mut sim = Sim::new(1);
    let hub = Site::new(peers, 7, sim.now());
    sim.add([HUB], hub);
    sim
}

/// Switches a spoke on, which calls at once.
pub(crate) fn add_spoke(sim: &mut Sim<Site>, number: u32, setup: &Setup, address: IpAddr) {
    let now = sim.now();
    let mut spoke = Site::spoke(number, setup, address, now);
    spoke.connect(now);
    sim.add([address], spoke);
}

/// Whether packets pass both ways between the hub and the spoke at `address`.
pub(crate) fn works(sim: &Sim<Site>, number: u32, address: IpAddr) -> bool {
    let (Some(at_hub), Some(at_spoke)) = (
        sim.node(HUB).with.get(&PeerId(number)),
        sim.node(address).with.get(&PEER),
    ) else {
        return false;
    };
    carries(at_hub, at_spoke) && carries(at_spoke, at_hub)
}

fn carries(from: &Standing, to: &Standing) -> bool {
    from.outbound.last().is_some_and(|(_, sent)| {
        let mut inbound = to.inbound.values();
        inbound.any(|keys| keys.spi == sent.spi && keys.key_material == sent.key_material)
    })
}
