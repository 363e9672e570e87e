//! A NAT that changes its mapping under a live SA (RFC 7296 §2.23): who is behind none follows what is
//! fresh and authentic, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use secure_gre_ike::config::{RemoteId, UdpEncapsulation};
use secure_gre_ike::event::{Command, Path};
use secure_gre_ike::identity::Identity;
use secure_gre_sim::{Frame, Sim, Verdict};
use support::bench::at;
use support::{
    A, B, Host, MINUTES, PEER, Setup, connect, default_pair, one_working_pair, pair_seen_at, with,
};

const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const OTHER_OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));
const SOON: Duration = Duration::from_secs(5);

/// What A is seen as: an address, and what is added to its ports.
type Mapping = (IpAddr, u16);

/// A behind a NAT, B, and what both have sent.
struct Scene {
    sim: Sim<Host>,
    mapping: Rc<Cell<Mapping>>,
    sent: Rc<RefCell<Vec<Frame>>>,
}

impl Scene {
    fn up(caller: IpAddr) -> Self {
        // Whoever is called from outside has its ports forwarded.
        let shift = if caller == A { 10_000 } else { 0 };
        let mapping = Rc::new(Cell::new((OUTSIDE, shift)));
        let sent = Rc::new(RefCell::new(Vec::new()));
        let peer_is = |address| Setup {
            remote_id: RemoteId::Is(Identity::Address(address)),
            ..Setup::default()
        };
        let mut sim = pair_seen_at(1, (peer_is(B), OUTSIDE), (peer_is(A), B));
        let (current, log) = (Rc::clone(&mapping), Rc::clone(&sent));
        sim.tap(move |frame, _| {
            log.borrow_mut().push(frame.clone());
            translate(current.get(), frame)
        });
        connect(&mut sim, caller);
        sim.run_until(MINUTES, one_working_pair).unwrap();
        Self { sim, mapping, sent }
    }

    fn rebind(&self, mapping: Mapping) {
        self.mapping.set(mapping);
    }

    /// Where B sends to.
    fn seen(&self) -> SocketAddr {
        self.sim.node(B).details.as_ref().unwrap().path.remote
    }

    fn moves(&self, host: IpAddr) -> Vec<SocketAddr> {
        let moves = self.sim.node(host).moves.iter();
        moves.map(|path| path.remote).collect()
    }

    fn run(&mut self) {
        self.sim.run_for(SOON).unwrap();
    }

    /// Both ends can ask for something, and it is the same IKE SA.
    fn works(&mut self) {
        let spi = |sim: &Sim<Host>| sim.node(A).details.as_ref().unwrap().spi_initiator;
        let before = spi(&self.sim);
        for host in [A, B] {
            let pairs = self.sim.node(host).gone.len();
            with(&mut self.sim, host, Host::rekey_child);
            let rekeyed =
                move |sim: &Sim<Host>| sim.node(host).gone.len() > pairs && one_working_pair(sim);
            self.sim.run_until(MINUTES, rekeyed).unwrap();
        }
        assert_eq!(spi(&self.sim), before);
        assert!(self.sim.node(A).down.is_empty() && self.sim.node(B).down.is_empty());
    }
}

fn translate((outside, shift): Mapping, frame: &Frame) -> Verdict {
    let Frame {
        mut source,
        mut destination,
        ..
    } = *frame;
    if source.ip() == A {
        source = at(outside, source.port() + shift);
    }
    if [OUTSIDE, OTHER_OUTSIDE].contains(&destination.ip()) {
        let port = destination.port().checked_sub(shift);
        let Some(port) = port.filter(|_| destination.ip() == outside) else {
            return Verdict::Drop;
        };
        destination = at(A, port);
    }
    let bytes = frame.bytes.clone();
    Verdict::Replace(Frame {
        source,
        destination,
        bytes,
    })
}

fn probe(host: &mut Host, now: std::time::Instant) {
    host.command(now, Command::CheckLiveness { peer: PEER });
}

/// PAINS 11, RFC 7296 §2.23: a fresh request moves IKE and ESP together, be it another port or another
/// address, whoever has begun the IKE SA.
#[test]
fn a_fresh_request_moves_the_sa() {
    for caller in [A, B] {
        for mapping in [(OUTSIDE, 20_000), (OTHER_OUTSIDE, 10_000)] {
            let mut scene = Scene::up(caller);
            scene.rebind(mapping);
            with(&mut scene.sim, A, probe);
            scene.run();
            let seen = at(mapping.0, 4500 + mapping.1);
            assert_eq!(scene.moves(B), [seen], "{caller} {mapping:?}");
            assert_eq!(scene.moves(A), [], "{caller} {mapping:?}");
            scene.works();
        }
    }
}

/// RFC 7296 §2.23: the first sign may be an ESP packet, of which the data plane knows that it is new.
#[test]
fn a_fresh_esp_packet_moves_the_sa() {
    let mut scene = Scene::up(A);
    scene.rebind((OUTSIDE, 20_000));
    let path = Path {
        local: at(B, 4500),
        remote: at(OUTSIDE, 24_500),
    };
    let seen_at = move |host: &mut Host, now| {
        host.command(now, Command::SeenAt { peer: PEER, path });
    };
    for _ in 0..2 {
        with(&mut scene.sim, B, seen_at);
    }
    assert_eq!(scene.moves(B), [path.remote], "told once");
    scene.works();
}

/// SECURITY (NAT rebinding): neither a repetition nor a forgery from elsewhere moves anything.
#[test]
fn repetitions_and_forgeries_move_nothing() {
    let mut scene = Scene::up(A);
    let seen = scene.seen();
    with(&mut scene.sim, A, probe);
    with(&mut scene.sim, B, probe);
    scene.run();
    let elsewhere = at(OTHER_OUTSIDE, 4500);
    let sent = scene.sent.borrow().clone();
    let from_a = sent.into_iter().filter(|frame| frame.source.ip() == A);
    for frame in from_a {
        let mut forged = frame.bytes.clone();
        // A message ID that is expected next, and an ICV that is none.
        if let Some(octet) = forged.get_mut(23) {
            *octet = octet.wrapping_add(1);
        }
        for bytes in [frame.bytes, forged] {
            scene.sim.inject(Frame {
                source: elsewhere,
                destination: at(B, 4500),
                bytes,
            });
            scene.run();
        }
    }
    assert_eq!(scene.seen(), seen);
    assert_eq!(scene.moves(B), []);
    scene.works();
}

/// RFC 7296 §2.23: who is behind a NAT does not follow, for the NAT lets in what somebody else sends;
/// and whoever has shown that it is behind none does not move.
#[test]
fn only_who_is_behind_a_nat_is_followed_and_only_by_who_is_not() {
    let elsewhere = at(OTHER_OUTSIDE, 4500);
    let seen_elsewhere = |local| Command::SeenAt {
        peer: PEER,
        path: Path {
            local: at(local, 4500),
            remote: elsewhere,
        },
    };
    let mut scene = Scene::up(A);
    with(&mut scene.sim, A, |host, now| {
        host.command(now, seen_elsewhere(A));
    });
    assert_eq!(scene.moves(A), []);

    // By another address of ours: that is nothing that a NAT of the peer's does.
    with(&mut scene.sim, B, |host, now| {
        host.command(now, seen_elsewhere(OTHER_OUTSIDE));
    });
    assert_eq!(scene.moves(B), []);

    let mut sim = default_pair(1);
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    sim.tap(|frame, _| translate((OUTSIDE, 10_000), frame));
    with(&mut sim, A, probe);
    sim.run_for(SOON).unwrap();
    with(&mut sim, B, |host, now| {
        host.command(now, seen_elsewhere(B));
    });
    assert_eq!(sim.node(B).moves, []);
}

/// A peer that forces ESP into UDP says that it is behind a NAT, and so may come to be behind one.
#[test]
fn who_forces_udp_may_move() {
    let always = Setup {
        encapsulation: UdpEncapsulation::Always,
        remote_id: RemoteId::Is(Identity::Address(B)),
        ..Setup::default()
    };
    let mut sim = support::pair(1, always, Setup::default());
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    sim.tap(|frame, _| translate((OUTSIDE, 10_000), frame));
    with(&mut sim, A, probe);
    sim.run_for(SOON).unwrap();
    let moved: Vec<_> = sim.node(B).moves.iter().map(|path| path.remote).collect();
    assert_eq!(moved, [at(OUTSIDE, 14_500)]);
}

/// "From here on": the SA that stands goes on as it is, the next one is in UDP.
#[test]
fn encapsulation_may_be_forced_on_the_next_sa() {
    let mut sim = default_pair(1);
    connect(&mut sim, A);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    let before = sim.node(A).details.clone().unwrap();
    with(&mut sim, A, |host, now| {
        let (peer, force) = (PEER, true);
        host.command(now, Command::ForceUdp { peer, force });
    });
    sim.run_for(SOON).unwrap();
    assert_eq!(sim.node(A).details, Some(before.clone()));
    with(&mut sim, A, |host, now| {
        host.command(now, Command::Abandon { peer: PEER });
        host.connect(now);
    });
    sim.run_until(MINUTES, one_working_pair).unwrap();
    for host in [A, B] {
        let details = sim.node(host).details.clone().unwrap();
        assert_ne!(details.spi_initiator, before.spi_initiator);
        assert_eq!(details.path.local, at(host, 4500));
    }
}
