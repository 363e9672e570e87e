//! What a passenger's size, MSS and ECN have to do with the way.

use super::*;

/// A SYN that offers `mss`.
fn syn(mss: u16) -> Vec<u8> {
    let [m0, m1] = mss.to_be_bytes();
    let tcp = [
        0, 80, 0, 99, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0, 9, 0, 0, 0, 0, 2, 4, m0, m1,
    ];
    ipv4([10, 2, 0, 1], 0, DF, 6, &tcp)
}

#[test]
fn a_batch_has_room_for_many_usual_packets_or_few_of_the_largest() {
    let fill = |len: usize| {
        let mut batch = Batch::default();
        while let Some(room) = batch.push(len) {
            assert_eq!(room.len(), len);
        }
        batch.len()
    };
    assert_eq!(fill(0), MAX_PACKETS);
    assert_eq!(fill(1500), MAX_PACKETS);
    assert_eq!(fill(MAX_PASSENGER), 4);
    assert_eq!(fill(MAX_PASSENGER + 1), 0);
}

/// The largest passenger with every GRE option still has room for its trailer.
#[test]
fn the_largest_passenger_passes() {
    for gre in every_gre_config() {
        let (mut sender, mut receiver) = pair(&TunnelConfig {
            gre,
            mtu: u16::MAX,
            ..CONFIG
        });
        for len in MAX_PASSENGER - 4..=MAX_PASSENGER {
            let packets = sender.send(&[udp4(0, DF, len)]);
            assert_eq!(receiver.receive(packets), [udp4(0, DF, len)]);
        }
    }
}

/// D57
#[test]
fn a_passenger_that_is_too_big_is_answered_and_not_sent() {
    let (mut sender, _) = pair(&CONFIG);
    assert_eq!(
        sender.send(&[udp4(0, DF, 1401), udp6(1401), udp4(0, 0, 1401)]),
        []
    );
    assert_eq!(sender.dropped(LinkDrop::TooBig), 3);
    let versions: Vec<_> = sender.replies.iter().map(|reply| reply[0] >> 4).collect();
    assert_eq!(versions, [4, 6], "with DF only");
    assert_eq!(sender.replies[0][12..16], [10, 255, 0, 2]);

    sender.path.obey(outbound::Command::SetMtu {
        tunnel: ONLY,
        mtu: 1401,
        whole: 1401,
    });
    assert_eq!(sender.send(&[udp4(0, DF, 1401)]).len(), 1);
}

/// D59, RFC 9293 §3.7.1
#[test]
fn the_mss_is_clamped_in_both_directions() {
    let mss = |packets: &[Vec<u8>]| u16::from_be_bytes([packets[0][42], packets[0][43]]);
    let unclamped = TunnelConfig {
        mss_clamp: false,
        ..CONFIG
    };
    let small = TunnelConfig {
        mtu: 1300,
        ..CONFIG
    };
    for (ours, theirs, expected) in [
        (&CONFIG, &unclamped, 1360),
        (&unclamped, &CONFIG, 1360),
        (&small, &CONFIG, 1260),
        (&CONFIG, &small, 1260),
        (&unclamped, &unclamped, 1460),
    ] {
        let (mut sender, _) = pair(ours);
        let (_, mut receiver) = pair(theirs);
        let packets = sender.send(&[syn(1460)]);
        assert_eq!(mss(&receiver.receive(packets)), expected);
    }
    let (mut sender, mut receiver) = pair(&CONFIG);
    receiver.path.obey(inbound::Command::SetMtu {
        tunnel: ONLY,
        mtu: 1200,
    });
    let packets = sender.send(&[syn(1460)]);
    assert_eq!(mss(&receiver.receive(packets)), 1160);
}

/// Which of these passengers leave in outer packets that may be fragmented.
fn may_be_cut(df: gre::df::Policy, passengers: &[Vec<u8>]) -> Vec<bool> {
    let (mut sender, _) = pair(&TunnelConfig {
        df,
        mtu: 1280,
        ..CONFIG
    });
    sender.path.obey(outbound::Command::SetMtu {
        tunnel: ONLY,
        mtu: 1280,
        whole: 1242,
    });
    sender.send(passengers);
    let packets = sender.batch.packets();
    packets.map(|out| out.may_fragment).collect()
}

/// D56, RFC 7676 §3: IPv6 passengers of 1280 octets are carried whatever the path takes, and so is
/// what else the device lets pass: in outer packets that may be cut, whatever DF says.
#[test]
fn passengers_that_the_path_takes_no_more_are_carried_in_fragments() {
    let passengers = [
        udp6(1242),
        udp6(1243),
        udp6(1280),
        udp4(0, DF, 1242),
        udp4(0, DF, 1243),
        udp4(0, 0, 1280),
    ];
    let expected = [false, true, true, false, true, true];
    assert_eq!(may_be_cut(gre::df::Policy::Set, &passengers), expected);
    assert_eq!(may_be_cut(gre::df::Policy::Copy, &passengers), expected);
    assert_eq!(may_be_cut(gre::df::Policy::Clear, &passengers), [true; 6]);
}

/// No connection's segments need to be cut: its MSS is that of the path.
#[test]
fn the_mss_is_what_the_path_takes_in_one_piece() {
    let (mut sender, mut receiver) = pair(&TunnelConfig {
        mtu: 1280,
        ..CONFIG
    });
    sender.path.obey(outbound::Command::SetMtu {
        tunnel: ONLY,
        mtu: 1280,
        whole: 1242,
    });
    let packets = sender.send(&[syn(1460)]);
    let arrived = receiver.receive(packets);
    assert_eq!(arrived[0][42..44], 1202_u16.to_be_bytes());
}
