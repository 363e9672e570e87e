use std::net::{SocketAddr, UdpSocket};
use std::num::{NonZeroU8, NonZeroUsize};
use std::thread;
use std::time::Duration;

use nix::sys::socket::setsockopt;

use super::kind::ipv4_header_length;
use super::*;
use crate::net::ike::{Arrival, IkeSockets};
use crate::net::netlink::Netlink;
use crate::net::outer::NAT_TRAVERSAL_PORT;
use crate::net::outer::Via;
use crate::net::poll::wait_readable;
use crate::net::sandbox;
use crate::net::tun::{Offload, Queue, Reading};

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

/// Loopback hands on what was sent as one, so that one slot takes many packets.
#[test]
fn packets_in_udp_pass_many_at_a_time() {
    sandbox::run(async {
        prepare_loopback().await;
        for kind in [KINDS[1], KINDS[3]] {
            let (a, b) = pair(kind);
            // Equal ones, a shorter one at the end, and another TOS.
            let sent = (0..150_u8).map(|n| {
                let len = if n % 40 == 39 { 700 } else { 1200 };
                (vec![n | 1; len], u8::from(n > 100))
            });
            let sent = sent.collect::<Vec<_>>();
            let packets = sent.iter().map(|(esp, tos)| Outgoing {
                tos: *tos,
                ..plain(esp)
            });
            assert_eq!(a.send(packets).unwrap().sent, 150);
            let one_slot = NonZeroUsize::MIN;
            let mut batch = ReceiveBatch::new(one_slot, NonZeroUsize::new(1 << 16).unwrap());
            assert_eq!(receive(&b, &mut batch).packets, 40);
            let mut received = batch
                .packets()
                .map(|packet| (packet.esp.to_vec(), packet.tos))
                .collect::<Vec<_>>();
            received.extend(drain(&b, &mut batch));
            assert_eq!(received, sent, "{kind:?}");
        }
    });
}

/// A message that is too big as a whole is not: each packet gets its own verdict.
#[test]
fn a_batch_beyond_the_path_mtu_is_told_packet_by_packet() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (a, b) = pair(KINDS[1]);
        let loopback = netlink.link_by_name("lo").await.unwrap();
        netlink.set_mtu(loopback.index, 1000).await.unwrap();
        let (small, large) = ([1; 900], [2; 1000]);
        let sent = [plain(&large), plain(&large), plain(&small), plain(&small)];
        let outcome = a.send(sent).unwrap();
        let expected = SendOutcome {
            sent: 2,
            too_big: 2,
            ..SendOutcome::default()
        };
        assert_eq!(outcome, expected);
        let received = drain(&b, &mut batch(1 << 16));
        assert_eq!(received, [(small.to_vec(), 0), (small.to_vec(), 0)]);
    });
}

/// Without the offload each packet is a message.
#[test]
fn without_offload_packets_pass_one_by_one() {
    sandbox::run(async {
        let (a, b) = pair(KINDS[1]);
        a.segmentation.store(false, Ordering::Relaxed);
        assert_eq!(a.send([plain(&[1; 100]); 3]).unwrap().sent, 3);
        let one_slot = NonZeroUsize::MIN;
        let mut batch = ReceiveBatch::new(one_slot, NonZeroUsize::new(1 << 16).unwrap());
        assert_eq!(receive(&b, &mut batch).packets, 1);
        assert_eq!(drain(&b, &mut batch).len(), 2);
    });
}

/// Three equal packets, which go as one message where the kernel takes that.
const ALIKE: [Outgoing<'_>; 3] = [Outgoing {
    esp: &[1; 100],
    tos: 0,
    ttl: None,
    may_fragment: false,
}; 3];

/// Sends [`ALIKE`] packets twice over a wire whose socket the kernel refuses to cut them for: they
/// arrive all the same, and it is said once.
fn assert_falls_back(wire: &Wire, far: &Wire) {
    for segmentation_lost in [true, false] {
        let expected = SendOutcome {
            sent: 3,
            segmentation_lost,
            ..SendOutcome::default()
        };
        assert_eq!(wire.send(ALIKE).unwrap(), expected);
        let received = drain(far, &mut batch(1 << 16));
        assert_eq!(received, vec![(vec![1; 100], 0); 3]);
    }
}

/// EIO, as of a device that cannot sum before Linux 6.11, or under IPsec of the kernel's. Sockets of
/// UDP-Lite (RFC 3828) get it everywhere.
#[test]
fn a_socket_that_nothing_is_cut_for_sends_singly_from_then_on() {
    sandbox::run(async {
        let lite = || {
            let socket = sys::socket(Family::V4, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE).unwrap();
            setsockopt(&socket, sockopt::ReusePort, &true).unwrap();
            socket
        };
        let (mut a, mut b) = pair(KINDS[1]);
        for wire in [&mut a, &mut b] {
            wire.socket = lite();
            wire.bind().unwrap();
            wire.connect().unwrap();
        }
        assert_falls_back(&a, &b);
    });
}

/// EINVAL where nothing is wrong with any of the packets: the message was our mistake, and is not
/// made again.
#[test]
fn a_message_that_is_our_mistake_is_not_repeated() {
    sandbox::run(async {
        let (a, b) = pair(KINDS[1]);
        setsockopt(&a.socket, sys::NoChecksum, &1).unwrap();
        assert_falls_back(&a, &b);
    });
}

/// EINVAL of packets that may be fragmented says nothing of the cutting: kernels before 6.14 say it of
/// a segment beyond the path's MTU, and singly they take each one.
#[test]
fn packets_that_may_be_fragmented_do_not_end_the_cutting() {
    sandbox::run(async {
        let (a, b) = pair(KINDS[1]);
        setsockopt(&a.socket, sys::NoChecksum, &1).unwrap();
        let outcome = a.send(ALIKE.map(|packet| Outgoing {
            may_fragment: true,
            ..packet
        }));
        let expected = SendOutcome {
            sent: 3,
            ..SendOutcome::default()
        };
        assert_eq!(outcome.unwrap(), expected);
        assert_eq!(drain(&b, &mut batch(1 << 16)).len(), 3);
        assert!(a.segmentation.load(Ordering::Relaxed));
    });
}

/// EINVAL of the way, not of the message: the next one is cut again.
#[test]
fn a_way_that_is_closed_for_a_while_does_not_end_the_cutting() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (network, link) = sandbox::device(&netlink, "outer", &["192.0.2.1/24"]).await;
        let wire = lay(UDP, "192.0.2.1", "192.0.2.2").unwrap();
        let address = "192.0.2.1/24".parse().unwrap();
        netlink.remove_address(link.index, address).await.unwrap();
        let outcome = wire.send(ALIKE).unwrap();
        assert_eq!((outcome.sent, outcome.unreachable), (0, 3), "{outcome:?}");
        assert!(!outcome.segmentation_lost, "{outcome:?}");
        netlink.add_address(link.index, address).await.unwrap();
        assert_eq!(wire.send(ALIKE).unwrap().sent, 3);
        assert!(wire.segmentation.load(Ordering::Relaxed));
        assert_whole(&wire, &network);
    });
}

/// A device without any offload: whoever cuts, the network sees whole packets.
#[test]
fn a_device_that_cannot_sum_gets_whole_packets() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (network, _) = sandbox::device(&netlink, "outer", &["192.0.2.1/24"]).await;
        let wire = lay(UDP, "192.0.2.1", "192.0.2.2").unwrap();
        for _ in 0..2 {
            assert_eq!(wire.send(ALIKE).unwrap().sent, 3);
            assert_whole(&wire, &network);
        }
    });
}

/// Three packets come, of the right length and with right checksums.
fn assert_whole(wire: &Wire, network: &Queue) {
    for _ in ALIKE {
        let mut outer = [0; 1500];
        assert_eq!(next_of(wire, network, &mut outer), 128);
        let pseudo = [&outer[12..20], &[0, 17, 0, 108]].concat();
        let datagram = [&pseudo, &outer[20..128]].concat();
        assert_eq!(checksum(&datagram), [0, 0]);
        assert_eq!(checksum(&outer[..20]), [0, 0]);
    }
}

/// DF or its IPv6 equivalent, the TTL, and a real UDP checksum (D49), as a router sees them.
#[test]
fn outer_headers() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (network, _) =
            sandbox::device(&netlink, "outer", &["192.0.2.1/24", "2001:db8::1/64"]).await;
        let esp = [7; 64];
        for (encapsulation, local, remote) in [
            (NATIVE, "192.0.2.1", "192.0.2.2"),
            (UDP, "192.0.2.1", "192.0.2.2"),
            (NATIVE, "2001:db8::1", "2001:db8::2"),
            (UDP, "2001:db8::1", "2001:db8::2"),
        ] {
            let ttl = NonZeroU8::new(33).unwrap();
            let path = path(local, remote);
            let wire = Wire::new(path, Via::default(), encapsulation, ttl, true).unwrap();
            wire.send([Outgoing {
                tos: 0xb8,
                ..plain(&esp)
            }])
            .unwrap();
            let mut outer = [0; 1500];
            let Overhead { ip, udp } = wire.overhead();
            let length = next_of(&wire, &network, &mut outer);
            assert_eq!(length, ip + udp + esp.len());
            assert_eq!(outer[length - esp.len()..length], esp);
            if ip == 20 {
                assert_eq!((outer[1], outer[6], outer[8]), (0xb8, 0x40, 33));
            } else {
                assert_eq!((outer[0], outer[1] >> 4, outer[7]), (0x6b, 8, 33));
            }
            if udp > 0 {
                assert_eq!(outer[ip..ip + 4], [0x11, 0x94, 0x11, 0x94]);
                assert_ne!(outer[ip + 6..ip + 8], [0, 0], "a checksum");
            }
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

/// Each packet's own TTL, and DF where it may be fragmented (RFC 4459 §3.1).
#[test]
fn packets_have_ttl_and_df_of_their_own() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let addresses = ["192.0.2.1/24", "2001:db8::1/64"];
        let (network, _) = sandbox::device(&netlink, "outer", &addresses).await;
        for (encapsulation, local, remote) in [
            (NATIVE, "192.0.2.1", "192.0.2.2"),
            (UDP, "192.0.2.1", "192.0.2.2"),
            (NATIVE, "2001:db8::1", "2001:db8::2"),
            (UDP, "2001:db8::1", "2001:db8::2"),
        ] {
            let wire = lay(encapsulation, local, remote).unwrap();
            let (short, long) = ([1; 64], [2; 1500]);
            let fragmented = |esp| Outgoing {
                may_fragment: true,
                ..plain(esp)
            };
            let inherited = Outgoing {
                ttl: NonZeroU8::new(7),
                ..plain(&short)
            };
            let sent = [
                plain(&short),
                inherited,
                fragmented(&short),
                plain(&long),
                fragmented(&long),
                plain(&short),
            ];
            let outcome = wire.send(sent).unwrap();
            assert_eq!((outcome.sent, outcome.too_big), (5, 1));
            let mut outer = [0; 1500];
            let mut next = || {
                let length = next_of(&wire, &network, &mut outer);
                match outer[0] >> 4 {
                    4 => (length, outer[8], outer[6] & 0x40 != 0),
                    _ => (length, outer[7], outer[6] != FRAGMENT),
                }
            };
            let Overhead { ip, udp } = wire.overhead();
            let whole = ip + udp + short.len();
            assert_eq!(next(), (whole, 64, true));
            assert_eq!(next(), (whole, 7, true));
            assert_eq!(next(), (whole, 64, ip == 40), "DF is IPv4's alone");
            let (_, _, first) = next();
            let (_, _, second) = next();
            assert_eq!((first, second), (false, false), "two fragments");
            assert_eq!(next(), (whole, 64, true));
        }
    });
}

/// D56: packets that may be cut and packets that may not leave at once by one socket, whose options
/// say which they are: each gets what it asked for, which the kernel's verdict on long ones shows.
#[test]
fn threads_that_want_other_headers_do_not_mix_them_up() {
    sandbox::run(async {
        prepare_loopback().await;
        for kind in KINDS {
            let (wire, _far) = pair(kind);
            let long = [1; 2000];
            let send = &|may_fragment| {
                for _ in 0..ROUNDS {
                    let packet = Outgoing {
                        may_fragment,
                        ..plain(&long)
                    };
                    let outcome = wire.send([packet]).unwrap();
                    let verdict = (outcome.sent, outcome.too_big);
                    let expected = if may_fragment { (1, 0) } else { (0, 1) };
                    assert_eq!(verdict, expected, "{kind:?}, may_fragment: {may_fragment}");
                }
            };
            thread::scope(|scope| {
                for may_fragment in [true, false, false] {
                    scope.spawn(move || send(may_fragment));
                }
            });
        }
    });
}

const ROUNDS: usize = 2000;

#[test]
fn a_packet_beyond_the_path_mtu_is_told_and_holds_up_no_other() {
    sandbox::run(async {
        prepare_loopback().await;
        for kind in KINDS {
            let (a, b) = pair(kind);
            assert_eq!(a.path_mtu().unwrap(), 1500);
            let room = 1500 - a.overhead().ip - a.overhead().udp;
            let (fits, too_big) = (vec![1; room], vec![2; room + 1]);
            let outcome = a
                .send([plain(&fits), plain(&too_big), plain(b"the last")])
                .unwrap();
            assert_eq!(
                outcome,
                SendOutcome {
                    sent: 2,
                    too_big: 1,
                    ..SendOutcome::default()
                },
                "{kind:?}"
            );
            let arrived = drain(&b, &mut batch(2048));
            assert_eq!(arrived, [(fits, 0), (b"the last".to_vec(), 0)], "{kind:?}");
        }
    });
}

#[test]
fn icmp_errors_are_counted_and_stop_nothing() {
    sandbox::run(async {
        // Nobody takes protocol 50 at C, so its kernel answers "protocol unreachable".
        let wire = lay(NATIVE, A, C).unwrap();
        assert_eq!(wire.send([plain(b"12345678")]).unwrap().sent, 1);
        assert_eq!(wait_readable([wire.as_fd()], LONG).unwrap(), [true]);
        let outcome = wire.send([plain(b"12345678")]).unwrap();
        assert_eq!(outcome.sent, 1);
        let outcome = wire.receive(&mut batch(2048)).unwrap();
        assert_eq!(
            outcome,
            ReceiveOutcome {
                network_errors: 1,
                ..ReceiveOutcome::default()
            }
        );
        assert_eq!(
            wait_readable([wire.as_fd()], SHORT).unwrap(),
            [false],
            "poll rests again"
        );
    });
}

/// RFC 1191 §3: a router's "fragmentation needed" lowers the path MTU.
#[test]
fn the_path_mtu_follows_the_network() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (network, _) = sandbox::device(&netlink, "outer", &["192.0.2.1/24"]).await;
        let wire = lay(NATIVE, "192.0.2.1", "192.0.2.2").unwrap();
        assert_eq!(wire.path_mtu().unwrap(), 1400);
        let packet = [1; 1380];
        assert_eq!(wire.send([plain(&packet)]).unwrap().sent, 1);
        let mut outer = [0; 1400];
        while network.read(&mut outer).unwrap().is_none() || outer[9] != 50 {}

        let news = fragmentation_needed(&outer, 1300);
        assert!(network.write(&news, Offload::default()).unwrap());
        assert_eq!(wait_readable([wire.as_fd()], LONG).unwrap(), [true]);
        assert_eq!(wire.receive(&mut batch(2048)).unwrap().network_errors, 1);
        assert_eq!(wire.path_mtu().unwrap(), 1300);
        assert_eq!(
            wire.send([plain(&packet), plain(&packet[..1280])]).unwrap(),
            SendOutcome {
                sent: 1,
                too_big: 1,
                ..SendOutcome::default()
            }
        );
    });
}

/// What a router answers to the IPv4 packet `outer` (RFC 792).
fn fragmentation_needed(outer: &[u8], mtu: u16) -> Vec<u8> {
    let mut icmp = vec![3, 4, 0, 0, 0, 0];
    icmp.extend(mtu.to_be_bytes());
    icmp.extend(&outer[..28]);
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    let length = u8::try_from(20 + icmp.len()).unwrap();
    let mut packet = vec![
        0x45, 0, 0, length, 0, 0, 0, 0, 64, 1, 0, 0, 192, 0, 2, 254, 192, 0, 2, 1,
    ];
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    packet.extend(icmp);
    packet
}

/// RFC 1071, of an even number of octets.
fn checksum(octets: &[u8]) -> [u8; 2] {
    let words = octets
        .chunks_exact(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    u16::try_from(folded ^ 0xffff).unwrap().to_be_bytes()
}

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
fn losing_the_local_address_or_the_link_is_no_error() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (_queue, link) = sandbox::device(&netlink, "outer", &["192.0.2.1/24"]).await;
        let wire = lay(NATIVE, "192.0.2.1", "192.0.2.2").unwrap();
        let unreachable = SendOutcome {
            unreachable: 1,
            ..SendOutcome::default()
        };
        netlink.set_down(link.index).await.unwrap();
        assert_eq!(wire.send([plain(b"12345678")]).unwrap(), unreachable);
        netlink.bring_up(link.index, 1400).await.unwrap();
        assert_eq!(wire.send([plain(b"12345678")]).unwrap().sent, 1);
        assert_eq!(wire.path_mtu().unwrap(), 1400, "followed the link");
        netlink
            .remove_address(link.index, "192.0.2.1/24".parse().unwrap())
            .await
            .unwrap();
        assert_eq!(wire.send([plain(b"12345678")]).unwrap(), unreachable);
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

/// D49, RFC 3948 §2: what else comes on port 4500.
#[test]
fn ike_and_keepalives_on_a_wire_in_udp() {
    sandbox::run(async {
        prepare_loopback().await;
        for (_, here, there) in [KINDS[1], KINDS[3]] {
            let natted = Encapsulation::Udp { keepalives: true };
            let (a, b) = pair((natted, here, there));
            assert_eq!(a.keepalive_interval(), Some(Duration::from_secs(20)));
            for datagram in [&b"\0\0\0\0an IKE message"[..], b"\0\0\0", b"an ESP packet"] {
                assert_eq!(a.send([plain(datagram)]).unwrap().sent, 1);
            }
            a.keep_alive().unwrap();
            let mut batch = batch(2048);
            let outcome = receive(&b, &mut batch);
            let expected = ReceiveOutcome {
                packets: 1,
                messages: 1,
                keepalives: 1,
                malformed: 1,
                ..ReceiveOutcome::default()
            };
            assert_eq!(outcome, expected);
            assert_eq!(batch.messages().collect::<Vec<_>>(), [b"an IKE message"]);
            let packets = batch.packets().map(|packet| packet.esp.to_vec());
            assert_eq!(packets.collect::<Vec<_>>(), [b"an ESP packet"]);
        }
    });
}

/// One port for IKE with everybody, and for the wires of each peer: the kernel finds whose is whose.
#[test]
fn wires_in_udp_share_the_port_with_ike() {
    sandbox::run(async {
        let ike = IkeSockets::bind().unwrap();
        let (to_b, to_c) = (lay(UDP, A, B).unwrap(), lay(UDP, A, C).unwrap());
        for (far, near, message) in [(B, &to_b, "\0\0\0\0from B"), (C, &to_c, "\0\0\0\0from C")] {
            let peer = lay(UDP, far, A).unwrap();
            peer.send([plain(message.as_bytes())]).unwrap();
            let mut batch = batch(2048);
            assert_eq!(receive(near, &mut batch).messages, 1);
            assert_eq!(batch.messages().next(), Some(&message.as_bytes()[4..]));
        }

        // Another port of the same host, as after a NAT has forgotten it.
        let stranger = UdpSocket::bind((B, 4501)).unwrap();
        let to = (A, NAT_TRAVERSAL_PORT);
        stranger.send_to(b"\0\0\0\0from elsewhere", to).unwrap();
        let mut buffer = [0; 64];
        let arrival = ike.receive(&mut buffer).await.unwrap();
        let Arrival::Message { path, bytes } = arrival else {
            panic!("{arrival:?}");
        };
        assert_eq!(path.remote, stranger.local_addr().unwrap());
        assert_eq!(bytes, b"from elsewhere");
    });
}

/// An ICMP error costs the packet that it is told to, and no more.
#[test]
fn a_closed_port_at_the_peer_does_not_break_a_wire_in_udp() {
    sandbox::run(async {
        let wire = lay(UDP, A, C).unwrap();
        assert_eq!(wire.send([plain(b"12345678")]).unwrap().sent, 1);
        assert_eq!(wait_readable([wire.as_fd()], LONG).unwrap(), [true]);
        let outcome = wire.send([plain(b"12345678"), plain(b"12345678")]).unwrap();
        assert_eq!(outcome.sent + outcome.unreachable, 2, "{outcome:?}");
        assert!(outcome.sent >= 1);
        wire.receive(&mut batch(2048)).unwrap();
    });
}

#[test]
fn ipv4_headers_are_measured() {
    let mut packet = vec![0; 40];
    for (first, length) in [
        (0x45, Some(20)),
        (0x46, Some(24)),
        (0x4a, Some(40)),
        (0x4b, None),
        (0x44, None),
        (0x65, None),
        (0x00, None),
    ] {
        packet[0] = first;
        assert_eq!(ipv4_header_length(&packet), length, "{first:#x}");
    }
    packet[0] = 0x45;
    for length in 0..20 {
        assert_eq!(ipv4_header_length(&packet[..length]), None, "{length}");
    }
}
