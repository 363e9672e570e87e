//! One endpoint on a bench, without a network: what goes in and what comes out, one datagram at a
//! time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use secure_gre_ike::Endpoint;
use secure_gre_ike::error::{Drop, Failure};
use secure_gre_ike::event::{
    ChildId, ChildKeys, ChildPhase, Command, Event, GoneReason, Output, Path,
};
use secure_gre_ike::wire::ExchangeType;

use super::puppet::Session;
use super::{A, B, PEER, Setup};

/// An endpoint at A whose peer is B.
pub(crate) struct Bench {
    pub(crate) endpoint: Endpoint,
    pub(crate) now: Instant,
    pub(crate) path: Path,
    deadline: Option<Instant>,
    /// Both directions' keys of each pair.
    pub(crate) inbound: Vec<ChildKeys>,
    pub(crate) outbound: Vec<ChildKeys>,
    pub(crate) gone: Vec<GoneReason>,
    pub(crate) down: Vec<GoneReason>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) refusals: Vec<Failure>,
    pub(crate) disconnected: u32,
    /// What it has put out since this was looked at last: events by name, and "sent".
    log: Vec<&'static str>,
    pub(crate) children: Vec<ChildId>,
}

pub(crate) fn at(address: std::net::IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

/// One to which nothing has happened.
pub(crate) fn fresh() -> Bench {
    Bench::new(&Setup::default())
}

/// The responder's genuine IKE_ExchangeType::IKE_AUTH makes the pair.
pub(crate) fn completes_as_responder(bench: &mut Bench, mut session: Session) {
    let payloads = session.auth_payloads();
    bench.receive(&session.response(ExchangeType::IKE_AUTH, 1, &payloads));
    assert_eq!(bench.pairs(), 1);
}

pub(crate) fn completes_as_initiator(bench: &mut Bench, mut session: Session) {
    let payloads = session.auth_payloads();
    bench.reply(&session.request(ExchangeType::IKE_AUTH, 1, &payloads));
    assert_eq!(bench.pairs(), 1);
}

impl Bench {
    pub(crate) fn new(setup: &Setup) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "any instant will do as the start"
        )]
        let now = Instant::now();
        let rng = Box::new(ChaCha20Rng::seed_from_u64(5));
        Self {
            endpoint: Endpoint::new(setup.config(B), rng, now),
            now,
            path: Path {
                local: at(A, 500),
                remote: at(B, 500),
            },
            deadline: None,
            inbound: Vec::new(),
            outbound: Vec::new(),
            gone: Vec::new(),
            down: Vec::new(),
            failures: Vec::new(),
            refusals: Vec::new(),
            disconnected: 0,
            log: Vec::new(),
            children: Vec::new(),
        }
    }

    /// The datagrams that it sends in answer.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.receive_on(self.path, bytes)
    }

    pub(crate) fn receive_on(&mut self, path: Path, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.endpoint.handle_datagram(self.now, path, bytes);
        self.drain()
    }

    /// The only datagram that it sends in answer.
    pub(crate) fn reply(&mut self, bytes: &[u8]) -> Vec<u8> {
        let [reply] = self.receive(bytes).try_into().unwrap();
        reply
    }

    /// It counts the datagram once, under this name, and says nothing.
    pub(crate) fn drops(&mut self, bytes: &[u8], reason: Drop) {
        let mut expected = self.counters();
        *expected.entry(reason).or_default() += 1;
        assert_eq!(self.receive(bytes), Vec::<Vec<u8>>::new(), "{reason:?}");
        assert_eq!(self.counters(), expected);
    }

    pub(crate) fn counters(&self) -> BTreeMap<Drop, u64> {
        self.endpoint.drops().collect()
    }

    pub(crate) fn connect(&mut self) -> Vec<Vec<u8>> {
        let path = self.path;
        let command = Command::Connect { peer: PEER, path };
        self.endpoint.handle_command(self.now, command).unwrap();
        self.drain()
    }

    pub(crate) fn disconnect(&mut self) -> Vec<Vec<u8>> {
        let command = Command::Disconnect { peer: PEER };
        self.endpoint.handle_command(self.now, command).unwrap();
        self.drain()
    }

    pub(crate) fn command(&mut self, command: Command) -> Vec<Vec<u8>> {
        self.endpoint.handle_command(self.now, command).unwrap();
        self.drain()
    }

    /// The request with which it rekeys its newest pair.
    pub(crate) fn rekey_child(&mut self) -> Vec<u8> {
        let child = *self.children.last().unwrap();
        let [request] = self
            .command(Command::RekeyChild { child })
            .try_into()
            .unwrap();
        request
    }

    /// The request with which it rekeys its IKE SA.
    pub(crate) fn rekey_ike(&mut self) -> Vec<u8> {
        let [request] = self
            .command(Command::RekeyIke { peer: PEER })
            .try_into()
            .unwrap();
        request
    }

    pub(crate) fn take_log(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.log)
    }

    /// The pairs of its only IKE SA.
    pub(crate) fn phases(&self) -> Vec<ChildPhase> {
        let [peer] = self.endpoint.snapshot().try_into().unwrap();
        let [(_, pairs)] = peer.established.try_into().unwrap();
        pairs.iter().map(|pair| pair.phase).collect()
    }

    /// What it sends while so much time passes.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<Vec<u8>> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some(due) = self.deadline.filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.endpoint.handle_timeout(self.now);
            sent.extend(self.drain());
        }
        self.now = end;
        sent
    }

    pub(crate) fn pairs(&self) -> usize {
        let snapshot = self.endpoint.snapshot();
        snapshot
            .iter()
            .flat_map(|peer| &peer.established)
            .map(|(_, children)| children.len())
            .sum()
    }

    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        loop {
            match self.endpoint.poll_output() {
                Output::Transmit(transmit) => {
                    self.log.push("sent");
                    sent.push(transmit.payload);
                }
                Output::Event(event) => self.on_event(event),
                Output::Trace(_) => {}
                Output::Idle(deadline) => {
                    self.deadline = deadline.map(|deadline| deadline.at);
                    return sent;
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        self.log.extend(name(&event));
        match event {
            Event::ChildInbound { keys, child, .. } => {
                self.children.push(child);
                self.inbound.push(keys);
            }
            Event::ChildOutbound { keys, .. } => self.outbound.push(keys),
            Event::ChildGone { why, .. } => self.gone.push(why),
            Event::IkeDown { why, .. } => self.down.push(why),
            Event::AttemptFailed { failure, .. } | Event::RekeyFailed { failure, .. } => {
                self.failures.push(failure);
            }
            Event::Refused { failure, .. } | Event::StrangerRefused { failure, .. } => {
                self.refusals.push(failure);
            }
            Event::Disconnected { .. } => self.disconnected += 1,
            Event::Connecting { .. }
            | Event::ChildOffered { .. }
            | Event::ChildOfferWithdrawn { .. }
            | Event::IkeUp { .. }
            | Event::Moved { .. }
            | Event::IkeRekeyed { .. }
            | Event::Reconnect { .. } => {}
        }
    }
}

/// Of what the order says something.
fn name(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::ChildOffered { .. } => "offered",
        Event::ChildOfferWithdrawn { .. } => "withdrawn",
        Event::ChildInbound { .. } => "inbound",
        Event::ChildOutbound { .. } => "outbound",
        Event::ChildGone { .. } => "gone",
        Event::IkeRekeyed { .. } => "rekeyed",
        Event::Reconnect { .. } => "reconnect",
        _ => return None,
    })
}
