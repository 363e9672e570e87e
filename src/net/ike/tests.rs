use std::time::Duration;

use super::*;
use crate::net::outer::Via;
use crate::net::sandbox;

const MESSAGE: &[u8] = b"thirty octets of an IKE header";

/// A foreign socket that speaks to `ours` and hears nobody else.
fn peer(ours: &str) -> UdpSocket {
    let own = if ours.starts_with('[') {
        "[::1]:0"
    } else {
        "127.0.0.9:0"
    };
    let peer = UdpSocket::bind(own).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    peer.connect(ours).unwrap();
    peer
}

/// D4, RFC 7296 §2.11
#[test]
fn an_answer_leaves_from_the_address_that_was_called() {
    sandbox::run(async {
        let sockets = IkeSockets::bind().unwrap();
        let mut buffer = vec![0; 65535];
        for (ours, marker) in [
            ("127.0.0.2:500", &b""[..]),
            ("127.0.0.3:4500", &[0; 4]),
            ("[::1]:500", b""),
            ("[::1]:4500", &[0; 4]),
        ] {
            let peer = peer(ours);
            let datagram = [marker, MESSAGE].concat();
            peer.send(&datagram).unwrap();
            let path = Path {
                local: ours.parse().unwrap(),
                remote: peer.local_addr().unwrap(),
            };
            let arrival = sockets.receive(&mut buffer).await.unwrap();
            assert_eq!(
                arrival,
                Arrival::Message {
                    path,
                    bytes: MESSAGE
                }
            );

            sockets.send(&path, Via::default(), MESSAGE).await.unwrap();
            let mut answer = [0; 100];
            let length = peer.recv(&mut answer).unwrap();
            assert_eq!(&answer[..length], datagram);
        }
    });
}

#[test]
fn what_is_no_message_is_discarded_by_name() {
    sandbox::run(async {
        let sockets = IkeSockets::bind().unwrap();
        let (ike, natted, everyone) = (
            peer("127.0.0.2:500"),
            peer("127.0.0.2:4500"),
            UdpSocket::bind("127.0.0.9:0").unwrap(),
        );
        everyone.set_broadcast(true).unwrap();
        let mut buffer = [0; 64];
        // D49, RFC 3948 §2.
        for (datagram, why) in [
            (&b"\xff"[..], Discard::NatKeepalive),
            (b"\0\0\0", Discard::Runt),
        ] {
            natted.send(datagram).unwrap();
            assert_eq!(
                sockets.receive(&mut buffer).await.unwrap(),
                Arrival::Discarded(why)
            );
        }
        natted.send(b"\0\0\0\x01ESP").unwrap();
        let path = Path {
            local: "127.0.0.2:4500".parse().unwrap(),
            remote: natted.local_addr().unwrap(),
        };
        assert_eq!(
            sockets.receive(&mut buffer).await.unwrap(),
            Arrival::Esp {
                path,
                bytes: b"\0\0\0\x01ESP"
            }
        );
        ike.send(&[0; 65]).unwrap();
        assert_eq!(
            sockets.receive(&mut buffer).await.unwrap(),
            Arrival::Discarded(Discard::Truncated)
        );
        everyone.send_to(MESSAGE, "127.255.255.255:500").unwrap();
        assert_eq!(
            sockets.receive(&mut buffer).await.unwrap(),
            Arrival::Discarded(Discard::NotUnicast)
        );
    });
}

#[test]
fn a_message_to_a_closed_port_does_not_break_the_socket() {
    sandbox::run(async {
        let sockets = IkeSockets::bind().unwrap();
        let local = "127.0.0.1:500".parse().unwrap();
        let path = Path {
            local,
            remote: "127.0.0.9:9".parse().unwrap(),
        };
        sockets.send(&path, Via::default(), MESSAGE).await.unwrap();
        sockets.send(&path, Via::default(), MESSAGE).await.unwrap();
        let mut buffer = [0; 64];
        let nothing = tokio::time::timeout(Duration::from_millis(50), sockets.receive(&mut buffer));
        assert!(nothing.await.is_err());
    });
}

#[test]
fn a_path_that_no_socket_serves_is_refused() {
    sandbox::run(async {
        let sockets = IkeSockets::bind().unwrap();
        for (local, remote) in [
            ("[::1]:501", "[::1]:500"),
            ("127.0.0.1:500", "[::1]:500"),
            ("127.0.0.1:501", "127.0.0.1:500"),
        ] {
            let path = Path {
                local: local.parse().unwrap(),
                remote: remote.parse().unwrap(),
            };
            let error = sockets
                .send(&path, Via::default(), MESSAGE)
                .await
                .unwrap_err();
            assert!(matches!(error, SendError::NoSocket { .. }), "{error}");
        }
        let path = Path {
            local: "192.0.2.1:500".parse().unwrap(),
            remote: "127.0.0.1:500".parse().unwrap(),
        };
        let error = sockets
            .send(&path, Via::default(), MESSAGE)
            .await
            .unwrap_err();
        assert!(
            matches!(error, SendError::Os { .. }),
            "not our address: {error}"
        );
    });
}

#[test]
fn a_port_in_use_is_named_with_the_way_to_find_its_holder() {
    sandbox::run(async {
        for port in [IKE_PORT, NAT_TRAVERSAL_PORT] {
            let holder = UdpSocket::bind(("127.0.0.1", port)).unwrap();
            let error = IkeSockets::bind().unwrap_err();
            assert!(matches!(error, BindError::PortInUse { port: named } if named == port));
            assert!(
                error
                    .to_string()
                    .contains(&format!("ss -lunp 'sport = :{port}'"))
            );
            drop(holder);
        }
        let first = IkeSockets::bind().unwrap();
        assert!(matches!(
            IkeSockets::bind(),
            Err(BindError::PortInUse { port: IKE_PORT })
        ));
        // Also to those who would share the port, as strongSwan would.
        let fd = udp_socket(Family::V4).unwrap();
        setsockopt(&fd, sockopt::ReuseAddr, &true).unwrap();
        let natted = SockaddrStorage::from(SocketAddr::from(([0; 4], NAT_TRAVERSAL_PORT)));
        assert_eq!(bind(fd.as_raw_fd(), &natted), Err(Errno::EADDRINUSE));
        drop(first);
    });
}

#[test]
fn without_privilege_the_port_is_named() {
    sandbox::run(async {
        use caps::{CapSet, Capability};
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_BIND_SERVICE).unwrap();
        let error = IkeSockets::bind().unwrap_err();
        assert!(
            matches!(error, BindError::NotPermitted { port: IKE_PORT }),
            "{error}"
        );
    });
}
