//! Passengers: pings, datagrams and bulk transfers that can be recognised on the wire.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use nix::sys::socket::{
    self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn,
};
use serde_json::Value;

use super::guest::Guest;
use super::netns::Netns;
use super::process::Output;

/// The octets of every passenger payload made here, to search a capture for.
pub(crate) const MARKER: &[u8] = b"sgre-passenger!!";
/// A multicast group that nothing else uses.
pub(crate) const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 1, 1);
const PORT: u16 = 5999;

/// Pings from a namespace; `options` are `ping`'s own.
#[track_caller]
pub(crate) fn ping(netns: &Netns, destination: &str, options: &str) -> Output {
    netns.run(&ping_line(destination, options), Duration::from_secs(30))
}

/// Pings from the guest.
#[track_caller]
pub(crate) fn ping_from_guest(guest: &Guest, destination: &str, options: &str) -> Output {
    guest.run(&ping_line(destination, options), Duration::from_secs(30))
}

fn ping_line(destination: &str, options: &str) -> String {
    let pattern: String = MARKER.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("ping -n -i 0.2 -W 2 -p {pattern} {options} {destination}")
}

/// A socket of `netns` that belongs to `device` and has joined [`GROUP`] on it.
pub(crate) fn group_socket(netns: &Netns, device: &str, local: Ipv4Addr) -> UdpSocket {
    netns.enter(|| {
        let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
        socket::setsockopt(&socket, socket::sockopt::BindToDevice, &device.into()).unwrap();
        socket.join_multicast_v4(&GROUP, &local).unwrap();
        socket.set_multicast_ttl_v4(8).unwrap();
        socket.set_multicast_loop_v4(false).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        socket
    })
}

/// Sends one marked datagram to [`GROUP`].
pub(crate) fn send_to_group(socket: &UdpSocket) {
    socket.send_to(MARKER, (GROUP, PORT)).unwrap();
}

/// The sender of the next marked datagram.
#[track_caller]
pub(crate) fn receive(socket: &UdpSocket) -> IpAddr {
    let mut buffer = [0; 64];
    let (length, from) = socket
        .recv_from(&mut buffer)
        .expect("a datagram within the time limit");
    assert_eq!(&buffer[..length], MARKER);
    from.ip()
}

/// A shell script that sends one marked datagram from the guest to [`GROUP`].
pub(crate) fn guest_sends_to_group() -> String {
    let marker = String::from_utf8_lossy(MARKER);
    format!(
        "ip route replace {GROUP} dev gre1\n\
         bash -c 'printf %s \"{marker}\" >/dev/udp/{GROUP}/{PORT}'"
    )
}

/// A shell script that ends with success when the guest's `gre1` gets a datagram to [`GROUP`].
pub(crate) fn guest_awaits_group() -> String {
    format!(
        "timeout 10 tcpdump -n -l -c 1 -i gre1 -Q in -A udp and dst {GROUP} and dst port {PORT}"
    )
}

/// Direction of a bulk transfer, seen from the client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bulk {
    Upload,
    Download,
}

/// Runs `iperf3` over TCP as a client in `netns` for two seconds. Returns the octets received.
#[track_caller]
pub(crate) fn bulk_transfer(netns: &Netns, server: &str, direction: Bulk) -> u64 {
    let reverse = match direction {
        Bulk::Upload => "",
        Bulk::Download => "--reverse",
    };
    let line = format!("iperf3 --json --time 2 --connect-timeout 5000 {reverse} -c {server}");
    let json = netns.run(&line, Duration::from_secs(40)).expect("iperf3");
    let report: Value = serde_json::from_str(&json).unwrap();
    report["end"]["sum_received"]["bytes"].as_u64().unwrap()
}

/// Sends a whole IPv4 packet, header included, from `netns`.
pub(crate) fn send_raw(netns: &Netns, packet: &[u8], destination: Ipv4Addr) -> io::Result<()> {
    netns.enter(|| {
        let socket = socket::socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::Raw,
        )?;
        let [a, b, c, d] = destination.octets();
        let to = SockaddrIn::new(a, b, c, d, 0);
        use std::os::fd::AsRawFd;
        socket::sendto(socket.as_raw_fd(), packet, &to, MsgFlags::empty())?;
        Ok(())
    })
}
