use std::time::Duration;

use super::*;
use crate::net::netlink::Netlink;
use crate::net::poll::wait_readable;
use crate::net::sandbox;

const A: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const C: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

const SHORT: Option<Duration> = Some(Duration::from_millis(100));
const LONG: Option<Duration> = Some(Duration::from_secs(5));

fn pair() -> (Wire, Wire) {
    (
        Wire::native_v4(A, B, 64).unwrap(),
        Wire::native_v4(B, A, 64).unwrap(),
    )
}

fn batch(slot_size: usize) -> ReceiveBatch {
    ReceiveBatch::new(
        NonZeroUsize::new(MAX_BATCH).unwrap(),
        NonZeroUsize::new(slot_size).unwrap(),
    )
}

fn plain(esp: &[u8]) -> Outgoing<'_> {
    Outgoing { esp, tos: 0 }
}

/// Everything that is there, as (ESP packet, TOS).
fn drain(wire: &Wire, batch: &mut ReceiveBatch) -> Vec<(Vec<u8>, u8)> {
    let mut packets = Vec::new();
    while wire.receive(batch).unwrap().packets > 0 {
        packets.extend(
            batch
                .packets()
                .map(|packet| (packet.buffer[packet.esp].to_vec(), packet.tos)),
        );
    }
    packets
}

#[test]
fn packets_arrive_in_order_with_their_own_tos() {
    sandbox::run(async {
        let (a, b) = pair();
        // More than one batch, and every TOS that a system call can mix.
        let sent = (0..150_u8).map(|n| (vec![n; 8 + usize::from(n)], n.wrapping_mul(4) & 0xfd));
        let sent = sent.collect::<Vec<_>>();
        let outcome = a
            .send(sent.iter().map(|(esp, tos)| Outgoing { esp, tos: *tos }))
            .unwrap();
        assert_eq!(
            outcome,
            SendOutcome {
                sent: 150,
                ..SendOutcome::default()
            }
        );
        assert_eq!(drain(&b, &mut batch(2048)), sent);
    });
}

#[test]
fn outer_packets_carry_df_and_ttl() {
    sandbox::run(async {
        let a = Wire::native_v4(A, B, 33).unwrap();
        let b = Wire::native_v4(B, A, 64).unwrap();
        a.send([plain(b"12345678")]).unwrap();
        let mut batch = batch(2048);
        assert_eq!(b.receive(&mut batch).unwrap().packets, 1);
        let packet = batch.packets().next().unwrap();
        assert_eq!(packet.source, SocketAddr::from((A, 0)));
        assert_eq!(packet.esp, 20..28);
        assert_eq!(
            (packet.buffer[6], packet.buffer[8], packet.buffer[9]),
            (0x40, 33, 50)
        );
    });
}

#[test]
fn a_packet_beyond_the_path_mtu_is_told_and_holds_up_no_other() {
    sandbox::run(async {
        let (a, b) = pair();
        let netlink = Netlink::connect().unwrap();
        let loopback = netlink.link_by_name("lo").await.unwrap();
        netlink.set_mtu(loopback.index, 1500).await.unwrap();
        assert_eq!(a.path_mtu().unwrap(), 1500);
        let (fits, too_big) = (vec![1; 1500 - a.overhead()], vec![2; 1501 - a.overhead()]);
        let outcome = a
            .send([plain(&fits), plain(&too_big), plain(b"last")])
            .unwrap();
        assert_eq!(
            outcome,
            SendOutcome {
                sent: 2,
                too_big: 1,
                ..SendOutcome::default()
            }
        );
        let arrived = drain(&b, &mut batch(2048));
        assert_eq!(arrived, [(fits, 0), (b"last".to_vec(), 0)]);
    });
}

#[test]
fn icmp_errors_are_counted_and_stop_nothing() {
    sandbox::run(async {
        // Nobody takes protocol 50 at C, so its kernel answers "protocol unreachable".
        let wire = Wire::native_v4(A, C, 64).unwrap();
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
        let wire = Wire::native_v4(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2), 64);
        let wire = wire.unwrap();
        assert_eq!(wire.path_mtu().unwrap(), 1400);
        let packet = [1; 1380];
        assert_eq!(wire.send([plain(&packet)]).unwrap().sent, 1);
        let mut outer = [0; 1400];
        while network.read(&mut outer).unwrap().is_none() || outer[9] != 50 {}

        assert!(network.write(&fragmentation_needed(&outer, 1300)).unwrap());
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
        let (_, b) = pair();
        let stranger = Wire::native_v4(C, B, 64).unwrap();
        stranger.send([plain(b"12345678")]).unwrap();
        assert_eq!(wait_readable([b.as_fd()], SHORT).unwrap(), [false]);
    });
}

#[test]
fn a_packet_longer_than_its_slot_is_counted_and_left_out() {
    sandbox::run(async {
        let (a, b) = pair();
        a.send([plain(&[1; 81]), plain(&[2; 80])]).unwrap();
        let mut batch = batch(100);
        let outcome = b.receive(&mut batch).unwrap();
        assert_eq!(
            (outcome.packets, outcome.truncated, outcome.malformed),
            (1, 1, 0)
        );
        let packets = batch
            .packets()
            .map(|packet| packet.buffer[packet.esp].to_vec());
        assert_eq!(packets.collect::<Vec<_>>(), [[2; 80]]);
    });
}

#[test]
fn losing_the_local_address_or_the_link_is_no_error() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (_queue, link) = sandbox::device(&netlink, "outer", &["192.0.2.1/24"]).await;
        let (local, remote) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        let wire = Wire::native_v4(local, remote, 64).unwrap();
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
        let far = Ipv4Addr::new(192, 0, 2, 1);
        let error = Wire::native_v4(far, B, 64).unwrap_err();
        assert!(matches!(error, WireError::NotOurAddress { .. }), "{error}");
        let error = Wire::native_v4(Ipv4Addr::UNSPECIFIED, far, 64).unwrap_err();
        assert!(matches!(error, WireError::NoRoute { .. }), "{error}");
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_RAW).unwrap();
        let error = Wire::native_v4(A, B, 64).unwrap_err();
        assert!(matches!(error, WireError::NotPermitted), "{error}");
    });
}

#[test]
fn outer_headers_are_stripped_by_their_length() {
    let mut packet = vec![0; 40];
    packet[..2].copy_from_slice(&[0x45, 0xb8]);
    packet[12..16].copy_from_slice(&[192, 0, 2, 7]);
    let found = strip_ipv4(&packet).unwrap();
    assert_eq!((found.esp, found.tos), (20..40, 0xb8));
    assert_eq!(found.source, SocketAddr::from(([192, 0, 2, 7], 0)));
    for (first, esp) in [
        (0x46, Some(24..40)),
        (0x4a, Some(40..40)),
        (0x4b, None),
        (0x44, None),
        (0x65, None),
        (0x00, None),
    ] {
        packet[0] = first;
        assert_eq!(
            strip_ipv4(&packet).map(|found| found.esp),
            esp,
            "{first:#x}"
        );
    }
    packet[0] = 0x45;
    for length in 0..20 {
        assert!(strip_ipv4(&packet[..length]).is_none(), "{length}");
    }
}
