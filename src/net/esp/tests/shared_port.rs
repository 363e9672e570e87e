//! UDP port 4500, which ESP shares with IKE and keepalives (RFC 3948 §2).

use super::*;
use crate::net::ike::{Arrival, IkeSockets};

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
