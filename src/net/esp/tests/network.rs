//! What the network says of packets, and what it loses: the path's MTU, links, addresses, ports.

use super::*;
use crate::net::tun::Offload;

#[test]
fn a_packet_beyond_the_path_mtu_is_told_and_holds_up_no_other() {
    sandbox::run(async {
        prepare_loopback().await;
        for kind in KINDS {
            let (a, b) = pair(kind);
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

/// D50: whoever knows both addresses can make the kernel believe that the path is narrow. The wire does
/// not ask it.
#[test]
fn what_the_kernel_learns_of_a_path_narrows_no_wire() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (network, _) = sandbox::device(&netlink, "outer", &["192.0.2.1/24"]).await;
        for (encapsulation, protocol) in [(NATIVE, 50), (UDP, 17)] {
            let wire = lay(encapsulation, "192.0.2.1", "192.0.2.2").unwrap();
            let packet = [1; 1370];
            assert_eq!(wire.send([plain(&packet)]).unwrap().sent, 1);
            let mut outer = [0; 1400];
            while network.read(&mut outer).unwrap().is_none() || outer[9] != protocol {}
            assert_eq!(outer[6] & 0x40, 0x40, "may not be fragmented");

            let news = sandbox::fragmentation_needed(&outer, 1300);
            assert!(network.write(&news, Offload::default()).unwrap());
            assert_eq!(wait_readable([wire.as_fd()], LONG).unwrap(), [true]);
            assert_eq!(wire.receive(&mut batch(2048)).unwrap().network_errors, 1);
            assert_eq!(wire.send([plain(&packet)]).unwrap().sent, 1);
        }
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
        netlink
            .remove_address(link.index, "192.0.2.1/24".parse().unwrap())
            .await
            .unwrap();
        assert_eq!(wire.send([plain(b"12345678")]).unwrap(), unreachable);
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
