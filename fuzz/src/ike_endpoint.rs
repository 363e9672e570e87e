//! Two endpoints and a network that does what it is told, by a script of steps: it loses, repeats,
//! reorders, alters and makes up datagrams, and lets time pass.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use secure_gre_ike::Endpoint;
use secure_gre_ike::config::{
    Config, HalfOpenLimits, OnFailure, PeerConfig, PeerId, Remote, RemoteId, Retransmit,
    UdpEncapsulation,
};
use secure_gre_ike::event::{Command, Event, Output, Path};
use secure_gre_ike::proposal::{EsnPolicy, EspProposal, IkeProposal};
use secure_gre_ike::secret::Secret;

const PEER: PeerId = PeerId(1);
const HALF_OPEN: HalfOpenLimits = HalfOpenLimits {
    cookies_from: 2,
    limit: 4,
};
/// Datagrams under way; more are lost.
const IN_FLIGHT: usize = 64;
/// An SA, every retransmission and every timer of it are over after fewer steps than this.
const STEPS_TO_THE_END: usize = 10_000;

/// Runs the script, then lets both ends leave: nothing may be left of it.
pub fn run(data: &[u8]) {
    let mut world = World::new();
    let mut script = Script(data);
    while let Some(step) = script.octet() {
        world.step(step, &mut script);
        for host in &world.hosts {
            assert!(host.endpoint.half_open() <= HALF_OPEN.limit);
        }
    }
    world.end();
}

struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> usize {
        let (high, low) = (self.octet(), self.octet());
        usize::from(u16::from_be_bytes([high.unwrap_or(0), low.unwrap_or(0)]))
    }

    fn octets(&mut self) -> Vec<u8> {
        let octets = usize::from(self.octet().unwrap_or(0)).min(self.0.len());
        let (taken, rest) = self.0.split_at(octets);
        self.0 = rest;
        taken.to_vec()
    }
}

struct Host {
    endpoint: Endpoint,
    path: Path,
    deadline: Option<Instant>,
    calls_again: bool,
}

struct World {
    now: Instant,
    hosts: [Host; 2],
    in_flight: VecDeque<(Path, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let address = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
        Self {
            now,
            hosts: [
                Host::new(1, address(1), address(2), now),
                Host::new(2, address(2), address(1), now),
            ],
            in_flight: VecDeque::new(),
        }
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        match step % 12 {
            0 => self.connect(0),
            1 => self.connect(1),
            2 => self.disconnect(usize::from(step / 128)),
            3 => self.pass(Duration::from_millis(50) * u32::from(step)),
            4 => self.pass(Duration::from_secs(10) * u32::from(step)),
            5 => self.arrive(|datagram| datagram),
            6 => drop(self.in_flight.pop_front()),
            7 => {
                if let Some(copy) = self.in_flight.front().cloned() {
                    self.put(copy);
                }
            }
            8 => self.in_flight.rotate_left(self.in_flight.len().min(1)),
            9 => {
                let (at, change) = (script.number(), script.octet().unwrap_or(0));
                self.arrive(|mut datagram| {
                    let octets = datagram.len().max(1);
                    if let Some(octet) = datagram.get_mut(at % octets) {
                        *octet ^= change;
                    }
                    datagram
                });
            }
            10 => {
                let length = script.number();
                self.arrive(|datagram| cut(datagram, length));
            }
            _ => {
                let datagram = script.octets();
                let to = usize::from(step / 128);
                self.receive(to, self.hosts[to].path, &datagram);
            }
        }
    }

    fn connect(&mut self, host: usize) {
        let path = self.hosts[host].path;
        self.command(host, Command::Connect { peer: PEER, path });
    }

    fn disconnect(&mut self, host: usize) {
        self.command(host, Command::Disconnect { peer: PEER });
    }

    fn command(&mut self, host: usize, command: Command) {
        let endpoint = &mut self.hosts[host].endpoint;
        endpoint.handle_command(self.now, command).unwrap();
        self.drain(host);
    }

    /// The oldest datagram arrives, as the network has made it.
    fn arrive(&mut self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let Some((path, datagram)) = self.in_flight.pop_front() else {
            return;
        };
        let to = self
            .hosts
            .iter()
            .position(|host| host.path.local.ip() == path.remote.ip());
        let path = Path {
            local: path.remote,
            remote: path.local,
        };
        self.receive(to.unwrap(), path, &change(datagram));
    }

    fn receive(&mut self, host: usize, path: Path, datagram: &[u8]) {
        let endpoint = &mut self.hosts[host].endpoint;
        let dropped = |endpoint: &Endpoint| endpoint.drops().map(|(_, count)| count).sum::<u64>();
        let before = dropped(endpoint);
        endpoint.handle_datagram(self.now, path, datagram);
        assert!(
            dropped(endpoint) - before <= 1,
            "one datagram, two counters"
        );
        self.drain(host);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.next_timeout(end) {}
        self.now = end;
    }

    /// Whether something was due until then.
    fn next_timeout(&mut self, end: Instant) -> bool {
        let due = |host: &Host| host.deadline.filter(|due| *due <= end);
        let next = (0..self.hosts.len()).filter_map(|at| Some((due(&self.hosts[at])?, at)));
        let Some((due, host)) = next.min() else {
            return false;
        };
        self.now = self.now.max(due);
        self.hosts[host].endpoint.handle_timeout(self.now);
        self.drain(host);
        true
    }

    fn put(&mut self, datagram: (Path, Vec<u8>)) {
        if self.in_flight.len() < IN_FLIGHT {
            self.in_flight.push_back(datagram);
        }
    }

    fn drain(&mut self, host: usize) {
        loop {
            match self.hosts[host].endpoint.poll_output() {
                Output::Transmit(transmit) => self.put((transmit.path, transmit.payload)),
                Output::Event(Event::Reconnect { .. }) => self.hosts[host].calls_again = true,
                Output::Event(_) | Output::Trace(_) => {}
                Output::Idle(deadline) => {
                    self.hosts[host].deadline = deadline.map(|deadline| deadline.at);
                    break;
                }
            }
        }
        if std::mem::take(&mut self.hosts[host].calls_again) {
            self.connect(host);
        }
    }

    fn end(&mut self) {
        for host in 0..self.hosts.len() {
            self.disconnect(host);
        }
        for _ in 0..STEPS_TO_THE_END {
            self.arrive(|datagram| datagram);
            if self.in_flight.is_empty()
                && !self.next_timeout(self.now + Duration::from_secs(86_400))
            {
                break;
            }
        }
        for host in &self.hosts {
            assert!(host.endpoint.is_idle(), "something is left");
        }
    }
}

/// With a length field, and a length of what ends it, that agree.
fn cut(mut datagram: Vec<u8>, length: usize) -> Vec<u8> {
    datagram.truncate(28 + length % datagram.len().saturating_sub(27).max(1));
    let octets = datagram.len();
    if let (Some(field), Ok(length)) = (datagram.get_mut(24..28), u32::try_from(octets)) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    if let (Some(field), Ok(length)) = (datagram.get_mut(30..32), u16::try_from(octets - 28)) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    datagram
}

impl Host {
    fn new(seed: u64, local: IpAddr, remote: IpAddr, now: Instant) -> Self {
        let peer = PeerConfig {
            id: PEER,
            remote: Remote::At(vec![remote]),
            local_id: None,
            remote_id: RemoteId::Address,
            psk: Secret::new(b"of two fuzzed endpoints".to_vec()),
            ike_proposals: vec![IkeProposal::parse("aes256gcm16-prfsha256-x25519").unwrap()],
            esp_proposals: vec![EspProposal::parse("aes256gcm16", EsnPolicy::Prefer).unwrap()],
            retransmit: Retransmit::default(),
            on_failure: OnFailure::Retry,
            fragmentation: true,
            encapsulation: UdpEncapsulation::Auto,
            ike_lifetime: Duration::from_secs(8 * 3600),
            child_lifetime: Duration::from_secs(3600),
            ppk: None,
            dpd: Some(Duration::from_secs(10)),
        };
        let config = Config {
            peers: vec![peer],
            half_open: HALF_OPEN,
        };
        let at = |address| SocketAddr::new(address, 500);
        Self {
            endpoint: Endpoint::new(config, Box::new(ChaCha20Rng::seed_from_u64(seed)), now),
            path: Path {
                local: at(local),
                remote: at(remote),
            },
            deadline: None,
            calls_again: false,
        }
    }
}
