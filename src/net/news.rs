//! News of paths: what routers say of packets that were too big for them, over IPv4 "fragmentation
//! needed" (RFC 792, RFC 1191 §3) and over IPv6 "packet too big" (RFC 4443 §3.2, RFC 8201 §4).
//!
//! One raw socket per IP version hears what comes to this host, whatever the packet was that a router
//! quotes. Only those about ESP are handed on, with what was quoted of it; whether it was ours, which is
//! all that speaks for an ICMP message, is for the owner of the SAs to say. Not here: how long news are
//! believed (the daemon's `mtu`). Needs `CAP_NET_RAW`.

mod quote;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use self::quote::News;
use super::sys::{self, Family};

/// How many ICMP messages are looked at in each such time. An honest router says far less; more is a
/// flood, whose rest the sockets drop.
const WINDOW: Duration = Duration::from_millis(100);
const PER_WINDOW: u32 = 100;

/// See the module.
#[derive(Debug)]
pub struct NewsSockets {
    v4: Socket,
    /// `None`: the host has no IPv6.
    v6: Option<Socket>,
    window_begins: Instant,
    in_window: u32,
}

impl NewsSockets {
    /// Must be called within a tokio runtime with I/O.
    pub fn open() -> io::Result<Self> {
        let v6 = match Socket::open(Family::V6) {
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            opened => Some(opened?),
        };
        Ok(Self {
            v4: Socket::open(Family::V4)?,
            v6,
            window_begins: Instant::now(),
            in_window: 0,
        })
    }

    /// Waits for news about ESP, at a limited rate. A future that is dropped before it is ready has
    /// taken none.
    pub async fn receive(&mut self) -> News {
        loop {
            self.keep_pace().await;
            let heard = tokio::select! {
                heard = self.v4.receive() => heard,
                Some(heard) = of_any(self.v6.as_ref()) => heard,
            };
            self.in_window += 1;
            // Whatever fails has taken no message that says something; the pace bounds it too.
            if let Ok(Some(news)) = heard {
                return news;
            }
        }
    }

    /// Waits while this window has had its share.
    async fn keep_pace(&mut self) {
        if self.in_window >= PER_WINDOW {
            tokio::time::sleep_until((self.window_begins + WINDOW).into()).await;
        }
        if self.window_begins.elapsed() >= WINDOW {
            self.window_begins = Instant::now();
            self.in_window = 0;
        }
    }
}

async fn of_any(socket: Option<&Socket>) -> Option<io::Result<Option<News>>> {
    Some(socket?.receive().await)
}

#[derive(Debug)]
struct Socket {
    family: Family,
    fd: AsyncFd<OwnedFd>,
}

impl Socket {
    fn open(family: Family) -> io::Result<Self> {
        let protocol = match family {
            Family::V4 => libc::IPPROTO_ICMP,
            Family::V6 => libc::IPPROTO_ICMPV6,
        };
        let fd = sys::socket(family, libc::SOCK_RAW | libc::SOCK_NONBLOCK, protocol)?;
        match family {
            Family::V4 => setsockopt(&fd, sys::IcmpFilter, &!(1 << quote::UNREACHABLE))?,
            Family::V6 => {
                let mut blocked = [u32::MAX; 8];
                blocked[0] = !(1 << quote::TOO_BIG);
                setsockopt(&fd, sys::Icmpv6Filter, &blocked)?;
            }
        }
        let fd = sys::watch(fd)?;
        Ok(Self { family, fd })
    }

    /// One message; `None`: not about ESP.
    async fn receive(&self) -> io::Result<Option<News>> {
        let mut buffer = [0; LONGEST];
        let receive = |fd: &OwnedFd| match recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => Ok(0),
            received => Ok(received?),
        };
        let length = self.fd.async_io(Interest::READABLE, receive).await?;
        let message = buffer.get(..length).unwrap_or_default();
        Ok(match self.family {
            Family::V4 => News::of_icmp(message),
            Family::V6 => News::of_icmpv6(message),
        })
    }
}

/// A message has 576 octets at most over IPv4 (RFC 1812 §4.3.2.3), 1280 over IPv6 (RFC 4443 §2.4).
const LONGEST: usize = 1280;
