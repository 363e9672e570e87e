//! ICMP and ICMPv6 echoes (RFC 792, RFC 4443 §4), as `ping` makes them. Needs `CAP_NET_RAW`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, recv,
    send, setsockopt, socket,
};

use super::poll::wait_readable;
use super::sys;

/// Asks one address whether it is there. Requests over IPv4 must not be fragmented.
#[derive(Debug)]
pub struct Pinger {
    socket: OwnedFd,
    request: u8,
    reply: u8,
    /// Octets before ICMP in what is received: of IPv4 the header comes with it.
    has_header: bool,
    identifier: u16,
    sequence: u16,
}

impl Pinger {
    /// `identifier` tells our echoes from those of others in this network namespace.
    pub fn new(remote: IpAddr, identifier: u16) -> io::Result<Self> {
        let (family, protocol) = match remote {
            IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
            IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(family, SockType::Raw, flags, protocol)?;
        if remote.is_ipv4() {
            setsockopt(&socket, sys::Ipv4MtuDiscover, &libc::IP_PMTUDISC_DO)?;
        }
        // Then only what comes from there is received.
        let address = SockaddrStorage::from(SocketAddr::new(remote, 0));
        connect(socket.as_raw_fd(), &address)?;
        let (request, reply) = if remote.is_ipv4() { (8, 0) } else { (128, 129) };
        Ok(Self {
            socket,
            request,
            reply,
            has_header: remote.is_ipv4(),
            identifier,
            sequence: 0,
        })
    }

    /// Sends one request with this many octets of data and waits for its reply: the round-trip time,
    /// or `None` if none came in time. Fails with `EMSGSIZE` where the request fits no packet.
    pub fn echo(&mut self, data_octets: usize, timeout: Duration) -> io::Result<Option<Duration>> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = self.request(data_octets);
        let begun = Instant::now();
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty())?;
        let mut buffer = vec![0; LARGEST_PACKET];
        loop {
            let left = timeout.saturating_sub(begun.elapsed());
            wait_readable([self.socket.as_fd()], Some(left))?;
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    let packet = buffer.get(..length).unwrap_or_default();
                    if self.is_reply(packet, &request) {
                        return Ok(Some(begun.elapsed()));
                    }
                }
                Err(Errno::EAGAIN) if left.is_zero() => return Ok(None),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn request(&self, data_octets: usize) -> Vec<u8> {
        let [identifier, sequence] = [self.identifier, self.sequence].map(u16::to_be_bytes);
        let mut message = [&[self.request, 0, 0, 0], &identifier[..], &sequence[..]].concat();
        message.extend((0..=u8::MAX).cycle().take(data_octets));
        // Of ICMPv6 the kernel computes the checksum, for it covers the addresses (RFC 3542 §3.1).
        if self.has_header {
            let sum = checksum(&message).to_be_bytes();
            for (to, from) in message.iter_mut().skip(2).zip(sum) {
                *to = from;
            }
        }
        message
    }

    /// A reply repeats everything of its request but type and checksum.
    fn is_reply(&self, packet: &[u8], request: &[u8]) -> bool {
        let header_octets = match packet.first() {
            Some(first) if self.has_header => usize::from(first & 0xf) * 4,
            _ => 0,
        };
        let message = packet.get(header_octets..).unwrap_or_default();
        message.first() == Some(&self.reply) && message.get(4..) == request.get(4..)
    }
}

/// RFC 1071, over a whole number of octets.
pub(super) fn checksum(message: &[u8]) -> u16 {
    let words = message.chunks(2).map(|word| match *word {
        [high, low] => u16::from_be_bytes([high, low]),
        [high] => u16::from_be_bytes([high, 0]),
        _ => 0,
    });
    !words.fold(0_u16, |sum, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

const LARGEST_PACKET: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::netlink::Netlink;
    use crate::net::sandbox;

    #[test]
    fn the_loopback_answers_what_fits() {
        sandbox::run(async {
            let netlink = Netlink::connect().unwrap();
            let loopback = netlink.link_by_name("lo").await.unwrap();
            netlink.bring_up(loopback.index, 1400).await.unwrap();
            for address in ["127.0.0.1", "::1"] {
                let mut pinger = Pinger::new(address.parse().unwrap(), 7).unwrap();
                for octets in [0, 55, 56, 1352] {
                    let echo = pinger.echo(octets, Duration::from_secs(5)).unwrap();
                    assert!(echo.is_some(), "{address} {octets}");
                }
            }
            let mut pinger = Pinger::new("127.0.0.1".parse().unwrap(), 7).unwrap();
            let timeout = Duration::from_secs(5);
            assert!(pinger.echo(1372, timeout).unwrap().is_some());
            let error = pinger.echo(1373, timeout).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        });
    }

    #[test]
    fn silence_ends_with_the_timeout() {
        sandbox::run(async {
            // Nobody has an address on the other end of this wire.
            let netlink = Netlink::connect().unwrap();
            netlink.add_veth(["near", "far"]).await.unwrap();
            for name in ["near", "far"] {
                let link = netlink.link_by_name(name).await.unwrap();
                netlink.bring_up(link.index, 1500).await.unwrap();
            }
            let near = netlink.link_by_name("near").await.unwrap();
            let address = "192.0.2.1/24".parse().unwrap();
            netlink.add_address(near.index, address).await.unwrap();
            let mut pinger = Pinger::new("192.0.2.2".parse().unwrap(), 7).unwrap();
            let echo = pinger.echo(56, Duration::from_millis(20)).unwrap();
            assert_eq!(echo, None);
        });
    }
}
