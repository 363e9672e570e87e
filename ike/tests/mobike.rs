//! MOBIKE (RFC 4555): an address of ours changes under a live SA, which goes on; what networks do
//! meanwhile; and who does not go along.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use secure_gre_ike::config::{Remote, RemoteId, UdpEncapsulation};
use secure_gre_ike::event::{Command, Encapsulation, GoneReason};
use secure_gre_ike::identity::Identity;
use secure_gre_sim::{Frame, Quality, Sim, Verdict};
use support::bench::at;
use support::{
    A, A_ELSEWHERE, B, B_ELSEWHERE, Host, LONG, MINUTES, PEER, Setup, connect, one_working_pair,
    pair, settled, with,
};

const SOON: Duration = Duration::from_secs(5);
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 66));

/// Which addresses nobody has.
type Left = Rc<RefCell<Vec<IpAddr>>>;

/// A secure-gre that may move, and knows the other one wherever that is.
fn mobile(name: &str, other: &str) -> Setup {
    let identity = |name: &str| Identity::Fqdn(name.to_owned());
    Setup {
        encapsulation: UdpEncapsulation::Faster,
        local_id: Some(identity(name)),
        remote_id: RemoteId::Is(identity(other)),
        ..Setup::default()
    }
}

fn mobile_pair(seed: u64) -> Sim<Host> {
    pair(seed, mobile("a", "b"), mobile("b", "a"))
}

/// An IKE SA that `caller` began, and the addresses whose packets get lost.
fn up(seed: u64, caller: IpAddr) -> (Sim<Host>, Left) {
    let mut sim = mobile_pair(seed);
    let left = Left::default();
    let gone = Rc::clone(&left);
    sim.tap(move |frame, _| {
        let ends = [frame.source.ip(), frame.destination.ip()];
        if ends.iter().any(|end| gone.borrow().contains(end)) {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    });
    connect(&mut sim, caller);
    sim.run_until(MINUTES, one_working_pair).unwrap();
    (sim, left)
}

/// The host that has been at `from` so far is at `to`.
fn relocate(sim: &mut Sim<Host>, from: IpAddr, to: IpAddr) {
    with(sim, from, |host, now| {
        host.command(
            now,
            Command::Relocate {
                peer: PEER,
                local: to,
            },
        );
    });
}

fn move_host(sim: &mut Sim<Host>, left: &Left, from: IpAddr, to: IpAddr) {
    left.borrow_mut().push(from);
    relocate(sim, from, to);
}

fn spis(sim: &Sim<Host>) -> (u64, u64) {
    let details = sim.node(A).details.as_ref().unwrap();
    (details.spi_initiator, details.spi_responder)
}

/// Where a host sends packets from, and where to.
fn path(sim: &Sim<Host>, host: IpAddr) -> [SocketAddr; 2] {
    let snapshot = sim.node(host).snapshot();
    let path = snapshot.established.last().unwrap().0.path;
    [path.local, path.remote]
}

/// Both send to where the other one is.
#[track_caller]
fn are_at(sim: &Sim<Host>, a: IpAddr, b: IpAddr) {
    let (a, b) = (at(a, 4500), at(b, 4500));
    assert_eq!(path(sim, A), [a, b]);
    assert_eq!(path(sim, B), [b, a]);
}

/// Both ends can rekey pair and IKE SA, and no SA has gone down.
#[track_caller]
fn goes_on(sim: &mut Sim<Host>) {
    for host in [A, B] {
        for rekey in [Host::rekey_child, Host::rekey_ike] {
            with(sim, host, rekey);
            sim.run_for(SOON).unwrap();
            sim.run_until(MINUTES, settled).unwrap();
        }
    }
    for host in [A, B] {
        let host = sim.node(host);
        assert!(host.down.is_empty() && host.rekey_failures.is_empty());
    }
}

/// RFC 4555 §3.5, §3.6: whoever began the IKE SA, and whoever moves.
#[test]
fn an_address_changes_under_the_sa() {
    for caller in [A, B] {
        for (from, to) in [(A, A_ELSEWHERE), (B, B_ELSEWHERE)] {
            let (mut sim, left) = up(1, caller);
            let before = spis(&sim);
            move_host(&mut sim, &left, from, to);
            sim.run_for(SOON).unwrap();
            let place = |host| if host == from { to } else { host };
            are_at(&sim, place(A), place(B));
            assert_eq!(spis(&sim), before);
            for host in [A, B] {
                assert_eq!(sim.node(host).moves.len(), 1, "{host} is told once");
            }
            goes_on(&mut sim);
        }
    }
}

/// RFC 4555 §3.5: it moves on before its first move is over, and back.
#[test]
fn the_last_of_several_moves_counts() {
    for caller in [A, B] {
        let (mut sim, left) = up(2, caller);
        move_host(&mut sim, &left, A, A_ELSEWHERE);
        sim.run_for(Duration::from_millis(10)).unwrap();
        left.borrow_mut().clear();
        left.borrow_mut().push(A_ELSEWHERE);
        relocate(&mut sim, A, A);
        sim.run_for(MINUTES).unwrap();
        are_at(&sim, A, B);
        goes_on(&mut sim);
    }
}

/// D2, RFC 7296 §2.1: loss, repetition and reordering only cost time; also while either end rekeys.
#[test]
fn it_moves_on_a_bad_network() {
    for seed in 0..24 {
        let caller = if seed % 2 == 0 { A } else { B };
        let (mut sim, left) = up(seed, caller);
        let before = spis(&sim);
        sim.set_quality(Quality::LOSSY);
        if seed % 3 == 1 {
            with(&mut sim, A, Host::rekey_child);
        }
        if seed % 3 == 2 {
            with(&mut sim, B, Host::rekey_child);
        }
        let (from, to) = if seed % 4 < 2 {
            (A, A_ELSEWHERE)
        } else {
            (B, B_ELSEWHERE)
        };
        move_host(&mut sim, &left, from, to);
        sim.run_for(LONG).unwrap();
        let place = |host| if host == from { to } else { host };
        are_at(&sim, place(A), place(B));
        assert_eq!(spis(&sim), before, "seed {seed}");
        sim.set_quality(Quality::PERFECT);
        goes_on(&mut sim);
    }
}

/// RFC 4555 §1.3: what was to be asked is asked by the heir, and whose part it is stays.
#[test]
fn it_moves_while_the_ike_sa_is_rekeyed() {
    for seed in 0..120 {
        let (caller, other) = if seed % 2 == 0 { (A, B) } else { (B, A) };
        let (mut sim, left) = up(100 + seed, caller);
        sim.set_quality(Quality::LOSSY);
        let asks = match seed % 3 {
            0 => vec![caller],
            1 => vec![other],
            _ => vec![caller, other],
        };
        for host in asks {
            with(&mut sim, host, Host::rekey_ike);
        }
        sim.run_for(Duration::from_millis(seed % 24 * 10)).unwrap();
        move_host(&mut sim, &left, A, A_ELSEWHERE);
        sim.run_for(LONG).unwrap();
        are_at(&sim, A_ELSEWHERE, B);
        sim.set_quality(Quality::PERFECT);
        goes_on(&mut sim);
    }
}

/// RFC 4555 §4.2.2, RFC 7296 §2.23: into a network behind a NAT, and out of it. ESP goes on in UDP.
#[test]
fn it_moves_behind_a_nat_and_out_of_it() {
    for caller in [A, B] {
        let (mut sim, _) = up(3, caller);
        sim.tap(|frame, _| translate(frame));
        relocate(&mut sim, A, A_ELSEWHERE);
        sim.run_for(SOON).unwrap();
        assert_eq!(path(&sim, B), [at(B, 4500), at(OUTSIDE, 14_500)]);
        assert_eq!(behind_nat(&sim, A), Some(true));
        assert_eq!(behind_nat(&sim, B), Some(false));
        goes_on(&mut sim);

        relocate(&mut sim, A, A);
        sim.run_for(SOON).unwrap();
        are_at(&sim, A, B);
        assert_eq!(behind_nat(&sim, A), Some(false));
        goes_on(&mut sim);
    }
}

fn behind_nat(sim: &Sim<Host>, host: IpAddr) -> Option<bool> {
    let snapshot = sim.node(host).snapshot();
    match snapshot.established.last().unwrap().0.encapsulation {
        Encapsulation::Udp { behind_nat } => Some(behind_nat),
        Encapsulation::None => None,
    }
}

/// `A_ELSEWHERE` is seen as `OUTSIDE`.
fn translate(frame: &Frame) -> Verdict {
    let Frame {
        mut source,
        mut destination,
        ..
    } = *frame;
    if source.ip() == A_ELSEWHERE {
        source = at(OUTSIDE, source.port() + 10_000);
    }
    if destination.ip() == OUTSIDE {
        destination = at(A_ELSEWHERE, destination.port() - 10_000);
    }
    let bytes = frame.bytes.clone();
    Verdict::Replace(Frame {
        source,
        destination,
        bytes,
    })
}

/// Both move at once, and neither finds the other (RFC 4555 §1.2 leaves that out): their SA ends, and
/// there is a new one as soon as they know each other's addresses.
#[test]
fn when_both_move_at_once_there_is_a_new_sa() {
    let (mut sim, left) = up(4, A);
    let before = spis(&sim);
    for (from, to) in [(A, A_ELSEWHERE), (B, B_ELSEWHERE)] {
        move_host(&mut sim, &left, from, to);
    }
    sim.node_mut(A).settle_at(A_ELSEWHERE, B_ELSEWHERE);
    sim.node_mut(B).settle_at(B_ELSEWHERE, A_ELSEWHERE);
    for (host, other) in [(A, B_ELSEWHERE), (B, A_ELSEWHERE)] {
        with(&mut sim, host, |host, now| {
            let remote = Remote::At(vec![other]);
            host.command(now, Command::Locate { peer: PEER, remote });
        });
    }
    let anew = move |sim: &Sim<Host>| one_working_pair(sim) && spis(sim) != before;
    sim.run_until(LONG, anew).unwrap();
    are_at(&sim, A_ELSEWHERE, B_ELSEWHERE);
    assert_eq!(sim.node(A).down, [GoneReason::NoAnswer]);
}

/// RFC 4555 §3.7: whoever relays a request from an address of their own does not get the packets: nobody
/// there returns the COOKIE2.
#[test]
fn packets_go_nowhere_without_return_routability() {
    for (from, to) in [(A, A_ELSEWHERE), (B, B_ELSEWHERE)] {
        let (mut sim, _) = up(5, A);
        sim.tap(move |frame, _| {
            let relayed = Frame {
                source: at(NOBODY, 4500),
                ..frame.clone()
            };
            if frame.source.ip() == to {
                Verdict::Replace(relayed)
            } else if frame.destination.ip() == NOBODY {
                Verdict::Drop
            } else {
                Verdict::Pass
            }
        });
        relocate(&mut sim, from, to);
        sim.run_for(LONG).unwrap();
        for host in [A, B] {
            let mut moves = sim.node(host).moves.iter();
            assert!(moves.all(|path| path.remote.ip() != NOBODY), "{host}");
        }
    }
}

/// Whoever has not said that both ends go along sets up a new IKE SA.
#[test]
fn without_agreement_the_sa_is_forgotten() {
    let stays = |encapsulation| Setup {
        encapsulation,
        ..mobile("b", "a")
    };
    for encapsulation in [UdpEncapsulation::Auto, UdpEncapsulation::Never] {
        let mut sim = pair(6, mobile("a", "b"), stays(encapsulation));
        connect(&mut sim, A);
        sim.run_until(MINUTES, one_working_pair).unwrap();
        assert!(!sim.node(A).endpoint.may_relocate(PEER));
        relocate(&mut sim, A, A_ELSEWHERE);
        assert_eq!(sim.node(A).down, [GoneReason::Abandoned]);
        assert_eq!(sim.node(A).moves, []);
    }
    let (mut sim, _) = up(7, A);
    assert!(sim.node(A).endpoint.may_relocate(PEER));
    // Of another family than the peer's.
    relocate(&mut sim, A, IpAddr::V6(Ipv6Addr::LOCALHOST));
    assert_eq!(sim.node(A).down, [GoneReason::Abandoned]);
}
