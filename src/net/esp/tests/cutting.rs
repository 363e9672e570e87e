//! Many packets in one message, which the kernel cuts, and what follows when it does not.

use nix::sys::socket::{setsockopt, sockopt};

use super::*;
use crate::net::sys::Family;

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
        assert_eq!(sandbox::checksum(&datagram), [0, 0]);
        assert_eq!(sandbox::checksum(&outer[..20]), [0, 0]);
    }
}
