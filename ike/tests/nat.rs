//! Endpoints with translated addresses between them, and those that pretend to have such.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use secure_gre_ike::config::{RemoteId, UdpEncapsulation};
use secure_gre_ike::event::{Encapsulation, IkeDetails};
use secure_gre_ike::identity::Identity;
use secure_gre_sim::{Frame, Sim, Verdict};
use support::bench::at;
use support::{
    A, B, Host, MINUTES, Setup, connect, nothing_left, one_working_pair, pair, pair_seen_at,
};

/// What A's and B's addresses become.
const A_OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const B_OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));

/// A NAT with `inside` behind it.
#[derive(Clone, Copy)]
struct Nat {
    inside: IpAddr,
    outside: IpAddr,
    /// What it adds to the inner ports.
    shift: u16,
}

impl Nat {
    fn outward(self, address: SocketAddr) -> SocketAddr {
        if address.ip() == self.inside {
            at(self.outside, address.port() + self.shift)
        } else {
            address
        }
    }

    fn inward(self, address: SocketAddr) -> SocketAddr {
        if address.ip() == self.outside {
            at(self.inside, address.port() - self.shift)
        } else {
            address
        }
    }
}

/// A and B, and what is between them. Identities are what they are wherever they are seen.
fn pair_behind(nats: Vec<Nat>) -> Sim<Host> {
    let peer_is = |address| Setup {
        remote_id: RemoteId::Is(Identity::Address(address)),
        ..Setup::default()
    };
    let seen = |host: IpAddr| {
        let nat = nats.iter().find(|nat| nat.inside == host);
        nat.map_or(host, |nat| nat.outside)
    };
    let mut sim = pair_seen_at(1, (peer_is(B), seen(A)), (peer_is(A), seen(B)));
    sim.tap(move |frame, _| {
        let (mut source, mut destination) = (frame.source, frame.destination);
        for nat in &nats {
            (source, destination) = (nat.outward(source), nat.inward(destination));
        }
        let bytes = frame.bytes.clone();
        Verdict::Replace(Frame {
            source,
            destination,
            bytes,
        })
    });
    sim
}

fn details(sim: &Sim<Host>, host: IpAddr) -> IkeDetails {
    sim.node(host).details.clone().unwrap()
}

/// D13, D29, RFC 7296 §2.23: all four positions of NATs, whoever calls. Who is behind one keeps its
/// mapping alive; everybody sends where the other one is seen.
#[test]
fn nats_are_passed_in_udp() {
    for caller in [A, B] {
        for (a_natted, b_natted) in [(false, false), (true, false), (false, true), (true, true)] {
            // Who is called has fixed ports outside; the caller gets what is free.
            let shift = |host| if host == caller { 10_000 } else { 0 };
            let nat = |inside, outside| Nat {
                inside,
                outside,
                shift: shift(inside),
            };
            let mut nats = Vec::new();
            nats.extend(a_natted.then(|| nat(A, A_OUTSIDE)));
            nats.extend(b_natted.then(|| nat(B, B_OUTSIDE)));
            let mut sim = pair_behind(nats.clone());
            connect(&mut sim, caller);
            sim.run_until(MINUTES, one_working_pair).unwrap();

            let any = a_natted || b_natted;
            let seen = |host, port| nats.iter().fold(at(host, port), |at, nat| nat.outward(at));
            for (here, behind_nat, there) in [(A, a_natted, B), (B, b_natted, A)] {
                let details = details(&sim, here);
                let (encapsulation, port) = if any {
                    (Encapsulation::Udp { behind_nat }, 4500)
                } else {
                    (Encapsulation::None, 500)
                };
                let case = format!("{caller} calls, NATs {a_natted} {b_natted}, at {here}");
                assert_eq!(details.encapsulation, encapsulation, "{case}");
                assert_eq!(details.path.local, at(here, port), "{case}");
                assert_eq!(details.path.remote, seen(there, port), "{case}");
            }
        }
    }
}

/// RFC 7296 §2.23: who wants UDP gets it without a NAT, and nobody keeps one's mapping alive.
#[test]
fn one_end_is_enough_to_put_esp_into_udp() {
    use UdpEncapsulation::{Always, Auto};
    for (a, b) in [(Always, Auto), (Auto, Always), (Always, Always)] {
        let wanted = |encapsulation| Setup {
            encapsulation,
            ..Setup::default()
        };
        let mut sim = pair(1, wanted(a), wanted(b));
        connect(&mut sim, A);
        sim.run_until(MINUTES, one_working_pair).unwrap();
        for (here, there) in [(A, B), (B, A)] {
            let details = details(&sim, here);
            let udp = Encapsulation::Udp { behind_nat: false };
            assert_eq!(details.encapsulation, udp, "{a:?} {b:?}");
            assert_eq!(details.path.local, at(here, 4500));
            assert_eq!(details.path.remote, at(there, 4500));
        }
    }
}

/// D13, RFC 7296 §2.23: a caller that stays on port 500 gets no SA, for its ESP could not travel.
#[test]
fn who_does_not_move_to_port_4500_gets_no_sa() {
    let always = Setup {
        encapsulation: UdpEncapsulation::Always,
        ..Setup::default()
    };
    let mut sim = pair(1, Setup::default(), always);
    sim.tap(|frame, _| {
        let (mut source, mut destination) = (frame.source, frame.destination);
        source.set_port(500);
        destination.set_port(500);
        let bytes = frame.bytes.clone();
        Verdict::Replace(Frame {
            source,
            destination,
            bytes,
        })
    });
    connect(&mut sim, A);
    sim.run_for(MINUTES).unwrap();
    assert!(nothing_left(sim.node(B)));
    assert!(sim.node(B).dropped() > 0);
}
