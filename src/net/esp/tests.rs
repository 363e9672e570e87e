//! Real sockets, in a network namespace of each test's own: what every wire does.

mod cutting;
mod headers;
mod network;
mod shared_port;

use std::net::{SocketAddr, UdpSocket};
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use super::*;
use crate::net::netlink::Netlink;
use crate::net::outer::{NAT_TRAVERSAL_PORT, Via};
use crate::net::poll::wait_readable;
use crate::net::sandbox;
use crate::net::tun::{Queue, Reading};

const NATIVE: Encapsulation = Encapsulation::None;
const UDP: Encapsulation = Encapsulation::Udp { keepalives: false };

const A: &str = "127.0.0.1";
const B: &str = "127.0.0.2";
const C: &str = "127.0.0.3";
/// Loopback has one IPv6 address by itself; these are added to it.
const A6: &str = "fd00::1";
const B6: &str = "fd00::2";

/// Every kind of wire, with two addresses for it.
const KINDS: [(Encapsulation, &str, &str); 4] =
    [(NATIVE, A, B), (UDP, A, B), (NATIVE, A6, B6), (UDP, A6, B6)];

const SHORT: Option<Duration> = Some(Duration::from_millis(100));
const LONG: Option<Duration> = Some(Duration::from_secs(5));

fn path(local: &str, remote: &str) -> Path {
    let at = |address: &str| SocketAddr::new(address.parse().unwrap(), NAT_TRAVERSAL_PORT);
    Path {
        local: at(local),
        remote: at(remote),
    }
}

fn lay(encapsulation: Encapsulation, local: &str, remote: &str) -> Result<Wire, WireError> {
    let ttl = NonZeroU8::new(64).unwrap();
    Wire::new(
        path(local, remote),
        Via::default(),
        encapsulation,
        ttl,
        true,
    )
}

/// Both ends of a wire of that kind.
fn pair((encapsulation, a, b): (Encapsulation, &str, &str)) -> (Wire, Wire) {
    (
        lay(encapsulation, a, b).unwrap(),
        lay(encapsulation, b, a).unwrap(),
    )
}

fn native_pair() -> (Wire, Wire) {
    pair(KINDS[0])
}

/// Gives the loopback the IPv6 addresses of [`KINDS`], and the MTU of most links.
async fn prepare_loopback() {
    let netlink = Netlink::connect().unwrap();
    let loopback = netlink.link_by_name("lo").await.unwrap();
    for address in [A6, B6] {
        let address = format!("{address}/128").parse().unwrap();
        netlink.add_address(loopback.index, address).await.unwrap();
    }
    netlink.set_mtu(loopback.index, 1500).await.unwrap();
    // The kernel takes a moment before it delivers to a new IPv6 address, and a socket that was
    // connected before that never gets there.
    let b = UdpSocket::bind((B6, 0)).unwrap();
    b.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    for _ in 0..500 {
        let a = UdpSocket::bind((A6, 0)).unwrap();
        a.send_to(b"?", b.local_addr().unwrap()).unwrap();
        if b.recv(&mut [0]).is_ok() {
            return;
        }
    }
    panic!("nothing passes from {A6} to {B6}");
}

fn batch(slot_size: usize) -> ReceiveBatch {
    ReceiveBatch::new(
        NonZeroUsize::new(64).unwrap(),
        NonZeroUsize::new(slot_size).unwrap(),
    )
}

fn plain(esp: &[u8]) -> Outgoing<'_> {
    Outgoing {
        esp,
        ..Outgoing::default()
    }
}

/// Everything that comes, as (ESP packet, TOS). The kernel may take its time, also within a host.
fn drain(wire: &Wire, batch: &mut ReceiveBatch) -> Vec<(Vec<u8>, u8)> {
    let mut packets = Vec::new();
    while wait_readable([wire.as_fd()], SHORT).unwrap() == [true] {
        wire.receive(batch).unwrap();
        packets.extend(
            batch
                .packets()
                .map(|packet| (packet.esp.to_vec(), packet.tos)),
        );
    }
    packets
}

/// One reception, once there is something to receive.
fn receive(wire: &Wire, batch: &mut ReceiveBatch) -> ReceiveOutcome {
    assert_eq!(wait_readable([wire.as_fd()], LONG).unwrap(), [true]);
    wire.receive(batch).unwrap()
}

#[test]
fn packets_arrive_in_order_with_their_own_tos() {
    sandbox::run(async {
        prepare_loopback().await;
        for kind in KINDS {
            let (a, b) = pair(kind);
            // More than one batch, and every TOS that a system call can mix.
            let sent = (1..151_u8).map(|n| (vec![n; 8 + usize::from(n)], n.wrapping_mul(4) & 0xfd));
            let sent = sent.collect::<Vec<_>>();
            let packets = sent.iter().map(|(esp, tos)| Outgoing {
                tos: *tos,
                ..plain(esp)
            });
            let outcome = a.send(packets).unwrap();
            assert_eq!(
                outcome,
                SendOutcome {
                    sent: 150,
                    ..SendOutcome::default()
                },
                "{kind:?}"
            );
            assert_eq!(drain(&b, &mut batch(2048)), sent, "{kind:?}");
        }
    });
}

/// The length of the next packet of `wire` that leaves by `network`.
fn next_of(wire: &Wire, network: &Queue, outer: &mut [u8]) -> usize {
    let protocol = if wire.overhead().udp > 0 { 17 } else { 50 };
    loop {
        // The device's own IPv6 packets come in between.
        let reading = network.read(outer).unwrap();
        let at = if outer[0] >> 4 == 4 { 9 } else { 6 };
        match reading {
            Some(Reading { length, .. }) if [protocol, FRAGMENT].contains(&outer[at]) => {
                return length;
            }
            _ => {}
        }
    }
}

/// The Next Header of an IPv6 fragment.
const FRAGMENT: u8 = 44;

#[test]
fn other_sources_are_not_heard() {
    sandbox::run(async {
        for encapsulation in [NATIVE, UDP] {
            let (_, b) = pair((encapsulation, A, B));
            let stranger = lay(encapsulation, C, B).unwrap();
            stranger.send([plain(b"12345678")]).unwrap();
            assert_eq!(wait_readable([b.as_fd()], SHORT).unwrap(), [false]);
        }
    });
}

#[test]
fn a_packet_longer_than_its_slot_is_counted_and_left_out() {
    sandbox::run(async {
        let (a, b) = native_pair();
        a.send([plain(&[1; 81]), plain(&[2; 80])]).unwrap();
        let mut batch = batch(100);
        let outcome = receive(&b, &mut batch);
        assert_eq!(
            (outcome.packets, outcome.truncated, outcome.malformed),
            (1, 1, 0)
        );
        let packets = batch.packets().map(|packet| packet.esp.to_vec());
        assert_eq!(packets.collect::<Vec<_>>(), [[2; 80]]);
    });
}

#[test]
fn a_wire_that_cannot_be_laid_says_why() {
    sandbox::run(async {
        let far = "192.0.2.1";
        for encapsulation in [NATIVE, UDP] {
            let error = lay(encapsulation, far, B).unwrap_err();
            assert!(matches!(error, WireError::NotOurAddress { .. }), "{error}");
            let error = lay(encapsulation, "0.0.0.0", far).unwrap_err();
            assert!(matches!(error, WireError::NoRoute { .. }), "{error}");
            let error = lay(encapsulation, A, A6).unwrap_err();
            assert!(matches!(error, WireError::TwoFamilies { .. }), "{error}");
        }
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_RAW).unwrap();
        let error = lay(NATIVE, A, B).unwrap_err();
        assert!(matches!(error, WireError::NotPermitted), "{error}");
    });
}
