//! Passengers: pings, datagrams and bulk transfers that can be recognised on the wire.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{
    self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sockopt,
};
use serde_json::Value;

use super::eventually;
use super::guest::Guest;
use super::netns::Netns;
use super::process::{Output, Process};

/// The octets of every passenger payload made here, to search a capture for.
pub(crate) const MARKER: &[u8] = b"sgre-passenger!!";
/// A multicast group that nothing else uses.
pub(crate) const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 1, 1);
/// The UDP port of all datagrams made here.
pub(crate) const PORT: u16 = 5999;

const PING_TIMEOUT: Duration = Duration::from_secs(30);

/// Pings from a namespace; `options` are `ping`'s own. Where no answer is to come, `-W 1` saves the wait
/// for one.
#[track_caller]
pub(crate) fn ping(netns: &Netns, destination: &str, options: &str) -> Output {
    netns.run(&ping_line(destination, options), PING_TIMEOUT)
}

/// Pings from the guest.
#[track_caller]
pub(crate) fn ping_from_guest(guest: &Guest, destination: &str, options: &str) -> Output {
    guest.run(&ping_line(destination, options), PING_TIMEOUT)
}

/// It waits long only where nothing at all comes back: a loaded machine may stand still for seconds.
fn ping_line(destination: &str, options: &str) -> String {
    let pattern: String = MARKER.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("ping -n -i 0.2 -p {pattern} {options} {destination}")
}

/// A socket of `netns` for datagrams to [`PORT`] that come in or leave by `device` only, and a
/// member of [`GROUP`] there.
pub(crate) fn device_socket(netns: &Netns, device: &str, local: &str) -> UdpSocket {
    let local: Ipv4Addr = local.parse().unwrap();
    netns.enter(|| {
        let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
        socket::setsockopt(&socket, sockopt::BindToDevice, &device.into()).unwrap();
        socket.join_multicast_v4(&GROUP, &local).unwrap();
        socket.set_multicast_ttl_v4(8).unwrap();
        socket.set_multicast_loop_v4(false).unwrap();
        socket
    })
}

/// Sends one marked datagram to [`GROUP`].
pub(crate) fn send_to_group(socket: &UdpSocket) {
    socket.send_to(MARKER, (GROUP, PORT)).unwrap();
}

/// The sender of the next marked datagram; `None` when there was none in time.
#[track_caller]
pub(crate) fn receive(socket: &UdpSocket, timeout: Duration) -> Option<IpAddr> {
    socket.set_read_timeout(Some(timeout)).unwrap();
    let mut buffer = [0; 64];
    let (length, from) = match socket.recv_from(&mut buffer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
        received => received.unwrap(),
    };
    assert_eq!(&buffer[..length], MARKER);
    Some(from.ip())
}

/// Sends one marked datagram to [`GROUP`] from the guest.
#[track_caller]
pub(crate) fn guest_sends_to_group(guest: &Guest) {
    let marker = String::from_utf8_lossy(MARKER);
    guest.expect(&format!(
        "ip route replace {GROUP} dev gre1\n\
         bash -c 'printf %s \"{marker}\" >/dev/udp/{GROUP}/{PORT}'"
    ));
}

/// Lets the guest listen for datagrams to [`GROUP`] that `gre1` delivers.
#[track_caller]
pub(crate) fn guest_listens_to_group(guest: &Guest) {
    guest.expect(&format!(
        "tcpdump -n -l -A -i gre1 -Q in udp and dst {GROUP} and dst port {PORT} \
         >/run/group.out 2>/run/group.err &\n\
         until grep -q listening /run/group.err; do sleep 0.05; done"
    ));
}

/// Whether it has heard a marked one since.
#[track_caller]
pub(crate) fn guest_heard_group(guest: &Guest) -> bool {
    let marker = String::from_utf8_lossy(MARKER);
    let script = format!("until grep -q '{marker}' /run/group.out; do sleep 0.05; done");
    guest
        .run(
            &format!("timeout 5 sh -c \"{script}\""),
            Duration::from_secs(10),
        )
        .success()
}

/// Direction of a bulk transfer, seen from the client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bulk {
    Upload,
    Download,
}

/// Starts an `iperf3` server in a namespace.
#[track_caller]
pub(crate) fn serve_bulk(netns: &Netns) -> Process {
    let mut server = netns.spawn("iperf3 --server --forceflush");
    server.wait_for_line("Server listening", Duration::from_secs(10));
    server
}

/// Starts an `iperf3` server in the guest.
#[track_caller]
pub(crate) fn guest_serves_bulk(guest: &Guest) {
    guest.expect(
        "iperf3 --server --forceflush >/run/iperf3.out 2>&1 &\n\
         until grep -q listening /run/iperf3.out; do sleep 0.05; done",
    );
}

/// Runs `iperf3` over TCP as a client in `netns` for two seconds, at a rate that a capture keeps up
/// with. Returns the octets received.
#[track_caller]
pub(crate) fn bulk_transfer(netns: &Netns, server: &str, direction: Bulk) -> u64 {
    let report = bulk_report(netns, server, direction, "--time 2 --bitrate 200M");
    report["end"]["sum_received"]["bytes"].as_u64().unwrap()
}

/// The longest time, but for a quarter of a second, in which a transfer of five seconds, as fast as it
/// goes, did not move at the client.
#[track_caller]
pub(crate) fn longest_stall(netns: &Netns, server: &str, direction: Bulk) -> Duration {
    let report = bulk_report(netns, server, direction, "--time 5 --interval 0.25");
    let intervals = report["intervals"].as_array().unwrap().iter();
    let moved = intervals.map(|interval| interval["sum"]["bytes"].as_u64().unwrap() > 0);
    let moved = moved.collect::<Vec<_>>();
    let stalls = moved.split(|moved| *moved).map(<[bool]>::len);
    let longest = stalls.max().unwrap_or(0);
    Duration::from_millis(250) * u32::try_from(longest).unwrap()
}

#[track_caller]
fn bulk_report(netns: &Netns, server: &str, direction: Bulk, options: &str) -> Value {
    let reverse = match direction {
        Bulk::Upload => "",
        Bulk::Download => "--reverse",
    };
    let line =
        format!("iperf3 --json {options} --connect-timeout 5000 {reverse} --client {server}");
    // From one client to the next the server is busy, or does not listen, for a moment.
    eventually("a server that listens", Duration::from_secs(20), || {
        let json = netns.run(&line, Duration::from_secs(40)).expect("iperf3");
        let report: Value = serde_json::from_str(&json).unwrap();
        let begun = report["intervals"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        match report["error"].as_str() {
            None => Some(report),
            Some(_) if !begun => None,
            Some(error) => panic!("{line}: {error}"),
        }
    })
}

/// A whole IPv4 packet: a header without options around `payload`.
pub(crate) fn ipv4(source: &str, destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    const HEADER: usize = 20;
    let octets = |address: &str| address.parse::<Ipv4Addr>().unwrap().octets();
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet.extend(octets(source));
    packet.extend(octets(destination));
    let length = u16::try_from(HEADER + payload.len()).unwrap();
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// The Internet checksum (RFC 1071) of an even number of octets.
pub(crate) fn checksum(octets: &[u8]) -> u16 {
    let words = octets
        .chunks_exact(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    !u16::try_from(sum % 0xffff).unwrap()
}

/// A marked UDP datagram to [`PORT`], without a checksum (RFC 768).
pub(crate) fn datagram() -> Vec<u8> {
    let length = u16::try_from(8 + MARKER.len()).unwrap();
    [
        PORT.to_be_bytes(),
        PORT.to_be_bytes(),
        length.to_be_bytes(),
        [0, 0],
    ]
    .concat()
    .into_iter()
    .chain(MARKER.iter().copied())
    .collect()
}

/// Sends a whole IPv4 packet from `netns`, to where its routes lead.
pub(crate) fn send_raw(netns: &Netns, packet: &[u8], destination: &str) {
    let to: Ipv4Addr = destination.parse().unwrap();
    netns.enter(|| {
        let socket = socket::socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::Raw,
        );
        let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
        socket::sendto(socket.unwrap().as_raw_fd(), packet, &to, MsgFlags::empty()).unwrap();
    });
}
