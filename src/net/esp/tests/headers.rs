//! TTL, TOS and DF of outer packets, as a router sees them.

use std::thread;

use super::*;

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

/// Enough for each thread to run while another is about to send.
const ROUNDS: usize = 2000;
