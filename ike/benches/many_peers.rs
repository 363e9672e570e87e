//! What a hub's endpoint costs: memory for each peer that waits and for each that is up, and the time of
//! a step, for 10, 100 and 1000 peers.
//!
//! `cargo bench -p secure-gre-ike --bench many_peers`. Memory is what the endpoint has allocated and not
//! freed, in octets that were asked for; its outputs are not in it, nor what a driver keeps, nor the keys
//! of AEADs, which aws-lc allocates.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark may panic")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use allocation_counter::{measure, opt_out};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use secure_gre_ike::Endpoint;
use secure_gre_ike::config::{
    Config, HalfOpenLimits, OnFailure, PeerConfig, PeerId, Remote, RemoteId, Retransmit,
    UdpEncapsulation,
};
use secure_gre_ike::event::{Command, Output, Path, Transmit};
use secure_gre_ike::identity::Identity;
use secure_gre_ike::proposal::{EsnPolicy, default_esp, default_ike};
use secure_gre_ike::secret::Secret;

const HUB: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Of the liveness checks that are measured.
const STEPS: usize = 2000;

fn main() {
    println!("peers   waiting  up       handshake  liveness check  nothing due");
    println!("        octets   octets   µs         µs              µs");
    for peers in [10, 100, 1000] {
        let mut lab = Lab::new(peers);
        let waiting = lab.memory;
        let handshake = lab.connect_all();
        let (check, idle) = (lab.check(), lab.idle());
        let each = |octets: i64| octets / i64::from(peers);
        println!(
            "{peers:<7} {:<8} {:<8} {:<10.1} {:<15.2} {:.2}",
            each(waiting),
            each(lab.memory),
            micros(handshake),
            micros(check),
            micros(idle),
        );
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A hub and its spokes, with nothing between them.
struct Lab {
    hub: Endpoint,
    spokes: Vec<Endpoint>,
    now: Instant,
    /// What the hub's endpoint holds, in octets.
    memory: i64,
}

fn peer(number: u32, hub: bool) -> PeerConfig {
    let identity = |name: String| Identity::Fqdn(name);
    let spoke = identity(format!("spoke{number}.example"));
    let hub_id = identity("hub.example".to_owned());
    let (local, remote, from) = if hub {
        (hub_id, spoke, Remote::Anywhere)
    } else {
        (spoke, hub_id, Remote::At(vec![HUB]))
    };
    PeerConfig {
        id: PeerId(number),
        remote: from,
        local_id: Some(local),
        remote_id: RemoteId::Is(remote),
        psk: Secret::new(format!("a key of thirty-two octets: {number:04}").into_bytes()),
        ppk: None,
        ike_proposals: default_ike(),
        esp_proposals: default_esp(EsnPolicy::Prefer),
        retransmit: Retransmit::default(),
        on_failure: OnFailure::Retry,
        fragmentation: true,
        encapsulation: UdpEncapsulation::Auto,
        ike_lifetime: Duration::from_secs(8 * 3600),
        child_lifetime: Duration::from_secs(3600),
        dpd: Some(Duration::from_secs(10)),
    }
}

fn endpoint(peers: Vec<PeerConfig>, seed: u64, now: Instant) -> Endpoint {
    let half_open = HalfOpenLimits::default();
    let rng = Box::new(ChaCha20Rng::seed_from_u64(seed));
    Endpoint::new(Config { peers, half_open }, rng, now)
}

/// Performs what comes out; the datagrams are the caller's, and in no measurement.
fn drain(endpoint: &mut Endpoint) -> Vec<Transmit> {
    let mut sent = Vec::new();
    loop {
        match endpoint.poll_output() {
            Output::Transmit(transmit) => opt_out(|| sent.push(transmit.clone())),
            Output::Idle(_) => return sent,
            Output::Event(_) | Output::Trace(_) => {}
        }
    }
}

fn path(number: u32) -> Path {
    let spoke = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
    Path {
        local: SocketAddr::new(spoke, 500),
        remote: SocketAddr::new(HUB, 500),
    }
}

const fn arrived(path: Path) -> Path {
    Path {
        local: path.remote,
        remote: path.local,
    }
}

impl Lab {
    fn new(peers: u32) -> Self {
        let now = Instant::now();
        let mut hub = None;
        let memory = measure(|| {
            let all = (1..=peers).map(|number| peer(number, true)).collect();
            hub = Some(endpoint(all, 1, now));
        });
        let spokes =
            (1..=peers).map(|number| endpoint(vec![peer(number, false)], number.into(), now));
        Self {
            hub: hub.unwrap(),
            spokes: spokes.collect(),
            now,
            memory: memory.bytes_current,
        }
    }

    /// The hub does something: what it sends, and how long that took.
    fn at_hub(&mut self, act: impl FnOnce(&mut Endpoint, Instant)) -> (Vec<Transmit>, Duration) {
        let (mut sent, mut took) = (Vec::new(), Duration::ZERO);
        let memory = measure(|| {
            let begun = Instant::now();
            act(&mut self.hub, self.now);
            sent = drain(&mut self.hub);
            took = begun.elapsed();
        });
        self.memory += memory.bytes_current;
        (sent, took)
    }

    /// Carries datagrams until there are no more; how long the hub took for its part.
    fn carry(&mut self, number: u32, mut from_spoke: Vec<Transmit>) -> Duration {
        let mut took = Duration::ZERO;
        while !from_spoke.is_empty() {
            let mut from_hub = Vec::new();
            for Transmit { path, payload } in from_spoke.drain(..) {
                let (sent, step) = self.at_hub(|hub, now| {
                    hub.handle_datagram(now, arrived(path), &payload);
                });
                from_hub.extend(sent);
                took += step;
            }
            let now = self.now;
            let spoke = self.spoke(number);
            for Transmit { path, payload } in from_hub {
                spoke.handle_datagram(now, arrived(path), &payload);
                from_spoke.extend(drain(spoke));
            }
        }
        took
    }

    fn spoke(&mut self, number: u32) -> &mut Endpoint {
        let place = usize::try_from(number - 1).unwrap();
        self.spokes.get_mut(place).unwrap()
    }

    fn numbers(&self) -> RangeInclusive<u32> {
        1..=u32::try_from(self.spokes.len()).unwrap()
    }

    fn command(&mut self, number: u32, command: Command) -> Duration {
        let now = self.now;
        let spoke = self.spoke(number);
        spoke.handle_command(now, command).unwrap();
        let sent = drain(spoke);
        self.carry(number, sent)
    }

    /// The hub's part of a handshake, of which the key exchange is nearly all.
    fn connect_all(&mut self) -> Duration {
        let mut took = Duration::ZERO;
        for number in self.numbers() {
            let (peer, path) = (PeerId(number), path(number));
            took += self.command(number, Command::Connect { peer, path });
        }
        let up = self.hub.snapshot();
        assert!(
            up.iter().all(|peer| peer.established.len() == 1),
            "all are up"
        );
        took / u32::try_from(self.spokes.len()).unwrap()
    }

    /// A spoke asks whether the hub is there.
    fn check(&mut self) -> Duration {
        let mut took = Duration::ZERO;
        let mut checks = 0;
        for number in self.numbers().cycle().take(STEPS) {
            took += self.command(
                number,
                Command::CheckLiveness {
                    peer: PeerId(number),
                },
            );
            checks += 1;
        }
        took / checks
    }

    /// An alarm for which nothing is due.
    fn idle(&mut self) -> Duration {
        let (_, took) = self.at_hub(|hub, now| {
            for _ in 0..STEPS {
                hub.handle_timeout(now);
                let _ = drain(hub);
            }
        });
        took / u32::try_from(STEPS).unwrap()
    }
}
