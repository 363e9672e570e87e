use std::net::UdpSocket;

use super::*;
use crate::net::netlink::Netlink;
use crate::net::sandbox;

fn ethernet(kind: u16, packet: &[u8]) -> Vec<u8> {
    [&[0; 12], kind.to_be_bytes().as_slice(), packet].concat()
}

fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = fragment.to_be_bytes();
    let head = [0x45, 0, 0, 0, 0, 0, high, low, 64, protocol];
    ethernet(IPV4, &[&head, [0; 10].as_slice(), payload].concat())
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let head = [0x60, 0, 0, 0, 0, 0, next, 255];
    ethernet(IPV6, &[&head, [0; 32].as_slice(), payload].concat())
}

#[test]
fn only_what_is_named_is_no_passenger_in_clear() {
    let ike_ports = [1, 0xf4, 1, 0xf4];
    let cases = [
        ("ARP", ethernet(ARP, &[]), Some(Kind::Arp)),
        ("IKE", ipv4(UDP, 0x4000, &ike_ports), Some(Kind::Ike)),
        ("from port 500 only", ipv4(UDP, 0, &[1, 0xf4, 0, 53]), None),
        ("to port 500 only", ipv4(UDP, 0, &[0, 53, 1, 0xf4]), None),
        ("a later fragment", ipv4(UDP, 1, &ike_ports), None),
        ("TCP on the same ports", ipv4(6, 0, &ike_ports), None),
        ("GRE", ipv4(47, 0, &[0; 8]), None),
        ("ping", ipv4(1, 0, &[8, 0, 0, 0]), None),
        (
            "solicitation",
            ipv6(ICMPV6, &[135, 0]),
            Some(Kind::NeighbourDiscovery),
        ),
        (
            "MLDv2 report",
            ipv6(HOP_BY_HOP, &[ICMPV6, 0, 5, 2, 0, 0, 1, 0, 143]),
            Some(Kind::NeighbourDiscovery),
        ),
        ("ping over IPv6", ipv6(ICMPV6, &[128, 0]), None),
        ("UDP over IPv6", ipv6(UDP, &ike_ports), None),
        ("LLDP", ethernet(0x88cc, &[0; 20]), None),
        ("runt", vec![0; 5], None),
    ];
    for (name, frame, kind) in cases {
        assert_eq!(Kind::of(&frame), kind, "{name}");
        for length in 0..frame.len() {
            // Cut anywhere, nothing panics.
            let _ = Kind::of(&frame[..length]);
        }
    }
}

#[test]
fn a_passenger_in_clear_is_seen_and_esp_is_only_counted() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        netlink.add_veth(["near", "far"]).await.unwrap();
        for name in ["near", "far"] {
            let link = netlink.link_by_name(name).await.unwrap();
            netlink.bring_up(link.index, 1500).await.unwrap();
        }
        let near = netlink.link_by_name("near").await.unwrap();
        let address = "192.0.2.1/24".parse().unwrap();
        netlink.add_address(near.index, address).await.unwrap();

        let capture = Capture::start(near.index).unwrap();
        // To the broadcast address, so that no neighbour has to be asked for.
        let socket = UdpSocket::bind("192.0.2.1:0").unwrap();
        socket.set_broadcast(true).unwrap();
        socket.send_to(b"in clear", "192.0.2.255:9").unwrap();
        let esp = sys::socket(sys::Family::V4, libc::SOCK_RAW, ESP.into()).unwrap();
        nix::sys::socket::setsockopt(&esp, nix::sys::socket::sockopt::Broadcast, &true).unwrap();
        let to = nix::sys::socket::SockaddrIn::new(192, 0, 2, 255, 0);
        for _ in 0..1000 {
            nix::sys::socket::sendto(esp.as_raw_fd(), &[7; 64], &to, MsgFlags::empty()).unwrap();
        }
        let frames = capture.stop().unwrap();
        assert_eq!((frames.esp, frames.in_clear, frames.missed), (1000, 1, 0));
    });
}
