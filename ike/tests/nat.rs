//! Endpoints with translated addresses between them, and those that pretend to have such.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use secure_gre_ike::config::{RemoteId, UdpEncapsulation};
use secure_gre_ike::event::{Encapsulation, IkeDetails, UdpCause};
use secure_gre_ike::identity::Identity;
use secure_gre_ike::wire::{Datagram, ExchangeType, Payload};
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

/// RFC 7296 §3.12: two that like UDP better find that out by themselves, whoever calls. With any
/// other peer nothing changes but one payload of the caller's.
#[test]
fn two_that_like_udp_better_use_it() {
    use UdpEncapsulation::{Always, Auto, Faster, Never};
    let cases = [
        (Faster, Faster, Some((UdpCause::Faster, UdpCause::Faster))),
        (Faster, Auto, None),
        (Auto, Faster, None),
        (Faster, Never, None),
        (Never, Faster, None),
        (Faster, Always, Some((UdpCause::Nat, UdpCause::Wanted))),
        (Always, Faster, Some((UdpCause::Wanted, UdpCause::Nat))),
    ];
    for (a, b, causes) in cases {
        for caller in [A, B] {
            let wanted = |encapsulation| Setup {
                encapsulation,
                ..Setup::default()
            };
            let mut sim = pair(1, wanted(a), wanted(b));
            connect(&mut sim, caller);
            sim.run_until(MINUTES, one_working_pair).unwrap();
            let causes = causes.unzip();
            for (here, cause) in [(A, causes.0), (B, causes.1)] {
                let details = details(&sim, here);
                let case = format!("{a:?} {b:?}, {caller} calls, at {here}");
                assert_eq!(details.udp_cause, cause, "{case}");
                let (encapsulation, port) = match cause {
                    Some(_) => (Encapsulation::Udp { behind_nat: false }, 4500),
                    None => (Encapsulation::None, 500),
                };
                assert_eq!(details.encapsulation, encapsulation, "{case}");
                assert_eq!(details.path.local, at(here, port), "{case}");
            }
        }
    }
}

/// SECURITY lesson 23: who does not say first that it is one of ours is told nothing.
#[test]
fn who_we_are_is_told_to_our_own_only() {
    use UdpEncapsulation::{Auto, Faster};
    for (a, b, said) in [
        (Faster, Faster, (1, 1)),
        (Faster, Auto, (1, 0)),
        (Auto, Faster, (0, 0)),
    ] {
        let wanted = |encapsulation| Setup {
            encapsulation,
            ..Setup::default()
        };
        let mut sim = pair(1, wanted(a), wanted(b));
        let seen = Rc::new(Cell::new((0, 0)));
        let count = Rc::clone(&seen);
        sim.tap(move |frame, _| {
            let ids = vendor_ids(&frame.bytes);
            let (of_a, of_b) = count.get();
            count.set(if frame.source.ip() == A {
                (of_a + ids, of_b)
            } else {
                (of_a, of_b + ids)
            });
            Verdict::Pass
        });
        connect(&mut sim, A);
        sim.run_until(MINUTES, one_working_pair).unwrap();
        assert_eq!(seen.get(), said, "{a:?} {b:?}");
    }
}

/// How many Vendor IDs everybody can read in a message.
fn vendor_ids(message: &[u8]) -> usize {
    let datagram = Datagram::parse(message).unwrap();
    let payloads = match datagram.header.exchange {
        ExchangeType::IKE_SA_INIT => datagram.clear_payloads().unwrap(),
        _ => Vec::new(),
    };
    let is_id = |payload: &&Payload| matches!(payload, Payload::VendorId(_));
    payloads.iter().filter(is_id).count()
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
