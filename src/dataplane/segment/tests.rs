use std::num::NonZeroU16;
use std::time::Duration;

use proptest::prelude::*;

use super::super::flow::{self, CWR, ECE, FIN, Flow, PSH, TIMESTAMPS, payload};
use super::*;
use crate::net::netlink::Netlink;
use crate::net::poll::wait_readable;
use crate::net::sandbox;
use crate::net::tun::{Offloads, Reading};
use std::os::fd::AsFd;

/// The pieces of a passenger of this kind.
fn cut_of(kind: Passengers, packet: &[u8], offload: Offload) -> Result<Vec<Vec<u8>>, Unfit> {
    let mut source = Source::new(kind);
    source.vacant()[..packet.len()].copy_from_slice(packet);
    source.accept(packet.len(), offload)?;
    Ok(pieces_in(&mut source))
}

/// All pieces, however many batches they take.
pub(in super::super) fn pieces_in(source: &mut Source) -> Vec<Vec<u8>> {
    let mut batch = Batch::default();
    let mut pieces = Vec::new();
    loop {
        batch.clear();
        let is_more = source.fill(&mut batch);
        pieces.extend(batch.passengers().map(<[u8]>::to_vec));
        if !is_more {
            return pieces;
        }
    }
}

fn cut(packet: &[u8], offload: Offload) -> Vec<Vec<u8>> {
    cut_of(Passengers::Ip, packet, offload).unwrap()
}

fn flows() -> impl Strategy<Value = Flow> {
    let options = prop::collection::vec(Just(1), 0..=10).prop_map(|words| words.repeat(4));
    (
        any::<(bool, bool, u8, u8, bool, u16, u32)>(),
        options.clone(),
        options,
    )
        .prop_map(|(fields, ip_options, tcp_options)| {
            let (is_v4, is_tcp, tos, flags, df, identification, sequence) = fields;
            Flow {
                is_v4,
                is_tcp,
                tos,
                flags,
                df,
                identification,
                ip_options,
                tcp_options,
                sequence,
                ..Flow::default()
            }
        })
}

proptest! {
    /// Any super-packet comes out as the segments that a sender would have made by the book.
    #[test]
    fn pieces_are_whole_packets(
        flow in flows(), size in 1..9000_u16, len in 1..60_000_usize,
    ) {
        // More pieces than this say nothing more.
        let len = len.min(usize::from(size) * 200);
        let payload = payload(len);
        let (packet, offload) = flow.super_packet(&payload, size);
        prop_assert_eq!(cut(&packet, offload), flow.pieces(&payload, size.into()));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_nothing_panics(
        packet in prop::collection::vec(any::<u8>(), 0..100),
        start in 0..120_u16, offset in 0..40_u16, size in 1..90_u16, kind in 0..4_usize, version in 0..3,
    ) {
        let mut packet = packet;
        if let (Some(first), 1..) = (packet.first_mut(), version) {
            *first = if version == 1 { 0x45 } else { 0x60 };
        }
        let kind = [SegmentKind::TcpV4, SegmentKind::TcpV6, SegmentKind::Udp].get(kind);
        let offload = Offload {
            checksum: Some(PartialChecksum { start, offset }),
            segmentation: kind.map(|kind| Segmentation {
                kind: *kind,
                size: NonZeroU16::new(size).unwrap(),
                header_len: 0,
            }),
        };
        for kind in [Passengers::Ip, Passengers::Ethernet] {
            if let Ok(pieces) = cut_of(kind, &packet, offload) {
                prop_assert!(!pieces.is_empty());
            }
        }
    }
}

#[test]
fn a_packet_that_is_whole_stays_as_it_is() {
    let packet = Flow::default().packet(&payload(500));
    assert_eq!(cut(&packet, Offload::default()), [packet]);
    assert_eq!(cut(&[], Offload::default()), [[0; 0]]);
}

#[test]
fn a_partial_checksum_is_completed() {
    for flow in [Flow::default(), Flow::udp(), Flow::udp().v6()] {
        for len in [0, 1, 499, 1400] {
            let unfinished = flow.unfinished(&payload(len));
            let whole = flow.packet(&payload(len));
            assert_eq!(cut(&unfinished, flow.partial()), [whole]);
        }
    }
}

/// RFC 768: 0 would say that there is none.
#[test]
fn no_udp_checksum_becomes_0() {
    let flow = Flow::udp();
    let sum = checksum(&[&flow.unfinished(&[0, 0])[20..]]);
    let [s0, s1] = sum.to_be_bytes();
    let unfinished = flow.unfinished(&[s0, s1]);
    let pieces = cut(&unfinished, flow.partial());
    assert_eq!(pieces[0][26..28], [0xff, 0xff]);
}

/// A super-packet of headers alone is one packet.
#[test]
fn nothing_to_cut() {
    let (packet, offload) = Flow::default().super_packet(&[], 1000);
    assert_eq!(cut(&packet, offload), [Flow::default().packet(&[])]);
}

#[test]
fn an_ethernet_header_goes_before_each_piece() {
    let flow = Flow {
        flags: flow::ACK | FIN | PSH | CWR | ECE,
        ..Flow::default()
    };
    let (packet, offload) = flow.super_packet(&payload(2500), 1000);
    for tag in [&[][..], &[0x81, 0, 0, 100]] {
        let ethernet = [&[2; 12], tag, &[8, 0]].concat();
        let mut offload = offload;
        let frame = [&ethernet[..], &packet].concat();
        offload.checksum.as_mut().unwrap().start += u16::try_from(ethernet.len()).unwrap();
        let expected = flow.pieces(&payload(2500), 1000).into_iter();
        let expected = expected.map(|piece| [&ethernet[..], &piece].concat());
        assert_eq!(
            cut_of(Passengers::Ethernet, &frame, offload).unwrap(),
            expected.collect::<Vec<_>>()
        );
    }
}

#[test]
fn what_the_device_says_must_fit() {
    let (packet, good) = Flow::default().super_packet(&payload(2500), 1000);
    let kind = |kind| {
        let mut offload = good;
        offload.segmentation.as_mut().unwrap().kind = kind;
        offload
    };
    let start = |start| {
        let mut offload = good;
        offload.checksum.as_mut().unwrap().start = start;
        offload
    };
    let mut elsewhere = good;
    elsewhere.checksum.as_mut().unwrap().offset = 6;
    let no_checksum = Offload {
        checksum: None,
        ..good
    };
    for (name, offload) in [
        ("another IP version", kind(SegmentKind::TcpV6)),
        ("a transport header inside that of IP", start(19)),
        ("a checksum behind the end", start(2530)),
        ("the checksum elsewhere", elsewhere),
        ("no checksum", no_checksum),
    ] {
        assert_eq!(
            cut_of(Passengers::Ip, &packet, offload),
            Err(Unfit),
            "{name}"
        );
    }
    let mut short_header = packet.clone();
    short_header[32] = 0x40;
    assert_eq!(cut_of(Passengers::Ip, &short_header, good), Err(Unfit));
    assert_eq!(
        cut_of(Passengers::Ip, &packet[..38], good),
        Err(Unfit),
        "half a header"
    );
    let mut source = Source::new(Passengers::Ip);
    source.accept(10, good).unwrap_err();
    assert_eq!(pieces_in(&mut source), [[0; 0]; 0]);
}

/// What the kernel makes of the super-packet itself, on its way from a device that gives it to one
/// that cannot take it, is what the cut makes.
#[test]
fn the_kernel_cuts_the_same() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{switch}"), "1").unwrap();
        }
        let (giver, _) = sandbox::device_with(
            &netlink,
            "giver",
            &["10.1.0.1/24", "fd00:1::1/64"],
            Offloads::TcpAndUdp,
        )
        .await;
        let (taker, _) = sandbox::device(&netlink, "taker", &["10.2.0.1/24", "fd00:2::1/64"]).await;
        let tcp = Flow {
            flags: flow::ACK | PSH | FIN | CWR,
            tcp_options: TIMESTAMPS.to_vec(),
            tos: 0x12,
            ..Flow::default()
        };
        let fragmentable = Flow {
            df: false,
            identification: 0xffff,
            ..Flow::default()
        };
        let flows = [tcp.clone(), tcp.v6(), fragmentable];
        let udp = [Flow::udp(), Flow::udp().v6()];
        let udp = udp
            .into_iter()
            .filter(|_| giver.offloads() == Offloads::TcpAndUdp);
        for flow in flows.into_iter().chain(udp) {
            for (len, size) in [(1001, 1000), (3000, 1000), (60_000, 1328), (40_001, 536)] {
                let (packet, offload) = flow.super_packet(&payload(len), size);
                let own = cut(&packet, offload);
                assert!(giver.write(&packet, offload).unwrap(), "{flow:?}");
                let forwarded = own.iter().map(|_| next_of_flow(&taker, &flow));
                let forwarded = forwarded.collect::<Vec<_>>();
                assert_eq!(forwarded, own, "{flow:?} {len} {size}");
            }
        }
    });
}

/// The next packet of the flow that the kernel gives, as it was before the kernel forwarded it.
fn next_of_flow(queue: &crate::net::tun::Queue, flow: &Flow) -> Vec<u8> {
    let mut buffer = vec![0; MAX_PASSENGER];
    loop {
        let Some(Reading { length, offload }) = queue.read(&mut buffer).unwrap() else {
            let ready = wait_readable([queue.as_fd()], Some(Duration::from_secs(10)));
            assert_eq!(ready.unwrap(), [true], "nothing came for {flow:?}");
            continue;
        };
        let protocol = if flow.is_tcp { 6 } else { 17 };
        let (version, at) = if flow.is_v4 { (4, 9) } else { (6, 6) };
        if buffer[0] >> 4 != version || buffer[at] != protocol {
            continue;
        }
        assert_eq!(offload, Offload::default());
        let mut packet = buffer[..length].to_vec();
        if flow.is_v4 {
            packet[8] += 1;
            packet[10..12].fill(0);
            let sum = checksum(&[&packet[..20]]).to_be_bytes();
            packet[10..12].copy_from_slice(&sum);
        } else {
            packet[7] += 1;
        }
        return packet;
    }
}
