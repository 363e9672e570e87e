use std::net::UdpSocket;
use std::time::Duration;

use super::*;
use crate::net::netlink::{Netlink, NetlinkError};
use crate::net::poll::wait_readable;
use crate::net::sandbox;

fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

#[test]
fn any_name_is_the_first_free_number() {
    sandbox::run(async {
        let first = Tun::create(ANY_NAME, Layer::Ip, one(), Offloads::None).unwrap();
        let second = Tun::create(ANY_NAME, Layer::Ip, one(), Offloads::None).unwrap();
        assert_eq!((first.name(), second.name()), ("sgre0", "sgre1"));
        drop(first);
        assert_eq!(
            Tun::create(ANY_NAME, Layer::Ip, one(), Offloads::None)
                .unwrap()
                .name(),
            "sgre0"
        );
    });
}

#[test]
fn a_device_is_exclusive() {
    sandbox::run(async {
        let two = NonZeroUsize::new(2).unwrap();
        // A process that another test starts may hold the first device for a moment longer.
        for (name, queues) in [("sgre7", one()), ("sgre8", two)] {
            let tun = Tun::create(name, Layer::Ip, queues, Offloads::None).unwrap();
            let taken = Tun::create(name, Layer::Ip, queues, Offloads::None).unwrap_err();
            assert!(matches!(taken, TunError::NameTaken { name: taken } if taken == name));
            assert_eq!(1 + tun.into_queues().1.len(), queues.get());
        }
        let loopback = Tun::create("lo", Layer::Ip, one(), Offloads::None).unwrap_err();
        assert!(matches!(loopback, TunError::NameTaken { .. }));
    });
}

#[test]
fn names_that_no_device_can_have() {
    for name in ["", ".", "..", "a/b", "a b", "a:b", "sixteen-octets-x"] {
        let error = Tun::create(name, Layer::Ip, one(), Offloads::None).unwrap_err();
        assert!(matches!(error, TunError::BadName { .. }), "{name}");
    }
}

#[test]
fn without_privilege_the_error_says_what_to_do() {
    sandbox::run(async {
        use caps::{CapSet, Capability};
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
        let error = Tun::create("sgre0", Layer::Ip, one(), Offloads::None).unwrap_err();
        assert!(matches!(error, TunError::NotPermitted { .. }));
        assert!(error.to_string().contains("CAP_NET_ADMIN"));
    });
}

#[test]
fn packets_pass_both_ways() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (queue, _) = sandbox::device(&netlink, "sgre0", &["10.255.0.1/30"]).await;
        let socket = UdpSocket::bind("10.255.0.1:9").unwrap();
        let timeout = Some(Duration::from_secs(5));
        socket.set_read_timeout(timeout).unwrap();
        socket.send_to(b"there", "10.255.0.2:9").unwrap();

        let mut packet = [0; 1400];
        let length = loop {
            // The kernel also says hello to IPv6 neighbours.
            match queue.read(&mut packet).unwrap() {
                Some(Reading { length, .. }) if packet[0] >> 4 == 4 => break length,
                Some(_) => {}
                None => assert_eq!(wait_readable([queue.as_fd()], timeout).unwrap(), [true]),
            }
        };
        assert_eq!(&packet[length - 5..length], b"there");

        // Swapping the addresses leaves every checksum right.
        let (source, destination) = packet[12..20].split_at_mut(4);
        source.swap_with_slice(destination);
        packet[length - 5..length].copy_from_slice(b"ereht");
        packet[26..28].fill(0);
        assert!(queue.write(&packet[..length], Offload::default()).unwrap());
        let mut answer = [0; 16];
        let (length, from) = socket.recv_from(&mut answer).unwrap();
        assert_eq!(
            (&answer[..length], from.to_string().as_str()),
            (&b"ereht"[..], "10.255.0.2:9")
        );
    });
}

#[test]
fn a_packet_that_the_kernel_refuses_is_no_error() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (queue, link) = sandbox::device(&netlink, "sgre0", &[]).await;
        assert!(
            !queue.write(&[0xff; 40], Offload::default()).unwrap(),
            "no IP version"
        );
        netlink.set_down(link.index).await.unwrap();
        assert!(
            !queue.write(&[0x45; 40], Offload::default()).unwrap(),
            "device down"
        );
    });
}

#[test]
fn a_device_lives_as_long_as_its_last_queue() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let tun = Tun::create(
            "sgre0",
            Layer::Ip,
            NonZeroUsize::new(2).unwrap(),
            Offloads::None,
        )
        .unwrap();
        let (first, others) = tun.into_queues();
        drop(first);
        netlink.link_by_name("sgre0").await.unwrap();
        drop(others);
        let gone = netlink.link_by_name("sgre0").await.unwrap_err();
        assert!(matches!(gone, NetlinkError::NoSuchLink { .. }));
    });
}
