//! GRE keepalives as Cisco's routers write them (D60, Cisco's note 118370), inside the SA.
//!
//! A keepalive is a packet that its receiver only has to forward: inside the tunnel's GRE header is a
//! whole IP packet from the receiver to the sender, whose payload is a GRE header of protocol 0 and
//! nothing else.
//!
//! ```text
//! asked:    outer IP (A → B) │ ESP │ GRE 0x0800 │ IP (B → A), protocol 47, TTL 255 │ GRE 0x0000
//! answered: outer IP (B → A) │ ESP │ GRE 0x0000
//! ```
//!
//! Between the ends of an SA the answer is that inner GRE header under the SA's own outer header, so
//! that it reaches the peer and nobody else, whatever the inner addresses say (PAINS 14).
//!
//! [`Ends`] knows a keepalive when it sees one, [`request`] writes one, [`Prober`] says when, and what
//! follows from silence. Not here: clocks, sending, what becomes of routes.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::IP_PROTOCOL;
use crate::checksum::checksum;
use crate::error::Drop;
use crate::header::{Header, Protocol};
use crate::ip::{self, Ipv4, Ipv6};

/// A few octets of a packet of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    octets: [u8; Self::MAX_LEN],
    len: usize,
}

impl Packet {
    /// An IPv6 header and the longest GRE header, in octets.
    pub const MAX_LEN: usize = Ipv6::HEADER_LEN + Header::MAX_LEN;

    /// These, one behind the other; `None` for more than [`MAX_LEN`](Self::MAX_LEN).
    fn of(parts: &[&[u8]]) -> Option<Self> {
        let mut octets = [0; Self::MAX_LEN];
        let mut rest = octets.as_mut_slice();
        for part in parts {
            let (to, after) = rest.split_at_mut_checked(part.len())?;
            to.copy_from_slice(part);
            rest = after;
        }
        let len = Self::MAX_LEN - rest.len();
        Some(Self { octets, len })
    }

    /// The octets.
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

/// The addresses by which both ends may be known, outside the tunnel and inside: some routers write
/// the inner ones (PAINS 14).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ends {
    /// Ours.
    pub ours: Vec<IpAddr>,
    /// The peer's.
    pub theirs: Vec<IpAddr>,
}

/// What a passenger is to keepalives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: an ordinary passenger.
    Passenger,
    /// The peer asks; these octets under a header of ESP are the answer.
    Request(Packet),
    /// A request of ours that the peer's routes have sent back through the tunnel.
    Answer,
}

impl Ends {
    /// Nobody's.
    pub const NONE: Self = Self {
        ours: Vec::new(),
        theirs: Vec::new(),
    };

    /// What `passenger`, an IP packet out of the tunnel, is. A request is one that is addressed to the
    /// peer, or comes from us by its own account, or is addressed to a private address, as a router
    /// behind a NAT writes its own.
    ///
    /// # Errors
    /// [`Drop::KeepaliveStray`]: of the form of a keepalive, but for a third party, or too long. Such
    /// a packet is no passenger either: what it is addressed to would get it in clear.
    pub fn classify(&self, passenger: &[u8]) -> Result<Kind, Drop> {
        let Some((source, destination, payload)) = gre_payload(passenger) else {
            return Ok(Kind::Passenger);
        };
        let Ok((inner, _)) = Header::parse(payload) else {
            return Ok(Kind::Passenger);
        };
        if inner.protocol != KEEPALIVE {
            return Ok(Kind::Passenger);
        }
        if self.theirs.contains(&source) && self.ours.contains(&destination) {
            return Ok(Kind::Answer);
        }
        let by_peer = self.ours.contains(&source)
            || self.theirs.contains(&destination)
            || is_private(destination);
        match Packet::of(&[payload]) {
            Some(answer) if by_peer => Ok(Kind::Request(answer)),
            _ => Err(Drop::KeepaliveStray),
        }
    }
}

/// Source, destination and payload of an IP packet that carries GRE and is not a fragment.
fn gre_payload(passenger: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let upper = ip::upper_layer(passenger).filter(|upper| upper.protocol == IP_PROTOCOL)?;
    let (source, destination) = if ip::protocol(passenger)? == Protocol::IPV4 {
        let ip = Ipv4::parse(passenger).ok()?;
        (ip.source.into(), ip.destination.into())
    } else {
        let ip = Ipv6::parse(passenger).ok()?;
        (ip.source.into(), ip.destination.into())
    };
    Some((source, destination, passenger.get(upper.range)?))
}

/// RFC 1918, RFC 6598 and RFC 4193.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || matches!(v4.octets(), [100, 64..=127, ..]),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// A keepalive, from its inner IP header on: what `peer` is to send back to `us`. Both headers carry
/// the tunnel's key. `None` for addresses of different IP versions.
pub fn request(us: IpAddr, peer: IpAddr, key: Option<u32>) -> Option<Packet> {
    let header = Header {
        protocol: KEEPALIVE,
        checksum: None,
        key,
        sequence: None,
    };
    let mut gre = [0; Header::MAX_LEN];
    let gre_len = header.write(&mut gre)?;
    let gre = gre.get(..gre_len)?;
    let payload_len = u16::try_from(gre_len).ok()?;
    match (peer, us) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total_len = u16::try_from(Ipv4::HEADER_LEN).ok()? + payload_len;
            let [l0, l1] = total_len.to_be_bytes();
            let start = [0x45, TOS, l0, l1, 0, 0, 0, 0, HOPS, IP_PROTOCOL];
            let (source, destination) = (source.octets(), destination.octets());
            let sum = checksum(&[&start, &source, &destination]).to_be_bytes();
            Packet::of(&[&start, &sum, &source, &destination, gre])
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let [l0, l1] = payload_len.to_be_bytes();
            let start = [0x60 | TOS >> 4, TOS << 4, 0, 0, l0, l1, IP_PROTOCOL, HOPS];
            Packet::of(&[&start, &source.octets(), &destination.octets(), gre])
        }
        _ => None,
    }
}

/// How often to ask, and when silence means that the peer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Between two requests.
    pub every: Duration,
    /// So many in a row without an answer.
    pub tries: u8,
}

/// Asks the peer, and counts what stays unanswered.
#[derive(Debug)]
pub struct Prober {
    interval: Interval,
    unanswered: u8,
    next: Instant,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Send a request.
    Ask,
    /// The peer has just been found dead; send a request all the same.
    Dead,
}

impl Prober {
    /// A peer that is taken for alive; the first request is due at once.
    pub const fn new(interval: Interval, now: Instant) -> Self {
        Self {
            interval,
            unanswered: 0,
            next: now,
        }
    }

    /// Whether the peer is taken for alive.
    pub const fn is_alive(&self) -> bool {
        self.unanswered <= self.interval.tries
    }

    /// When [`poll`](Self::poll) has something to do.
    pub const fn next(&self) -> Instant {
        self.next
    }

    /// What is due at `now`. Requests that were missed are not made up for.
    pub fn poll(&mut self, now: Instant) -> Due {
        if now < self.next {
            return Due::Nothing;
        }
        self.next = now + self.interval.every;
        let was_alive = self.is_alive();
        // The last one may have as long for its answer as the others.
        self.unanswered = self
            .unanswered
            .saturating_add(1)
            .min(self.interval.tries.saturating_add(1));
        if was_alive && !self.is_alive() {
            Due::Dead
        } else {
            Due::Ask
        }
    }

    /// The peer has answered. Whether it was taken for dead.
    pub const fn answered(&mut self) -> bool {
        let was_dead = !self.is_alive();
        self.unanswered = 0;
        was_dead
    }
}

/// The protocol type that marks a keepalive.
const KEEPALIVE: Protocol = Protocol(0);
/// As Cisco writes them: internetwork control, and as far as it goes.
const TOS: u8 = 0xc0;
const HOPS: u8 = 255;

#[cfg(test)]
mod tests;
