//! Answers to passengers that do not fit the tunnel, at a limited rate (RFC 1812 §4.3.2.8,
//! RFC 4443 §2.4 (f)).
//!
//! Not here: the answer itself (`gre::icmp`).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use secure_gre_gre::icmp::{self, REPLY_MAX};

use super::TunnelConfig;
use super::bucket::Bucket;

/// Writes the answers of one tunnel, within a token bucket.
#[derive(Debug)]
pub(super) struct Answers {
    source_v4: Option<Ipv4Addr>,
    source_v6: Option<Ipv6Addr>,
    buffer: Box<[u8; REPLY_MAX]>,
    allowed: Bucket,
}

impl Answers {
    pub(super) fn new(config: &TunnelConfig) -> Self {
        Self {
            source_v4: config.reply_v4,
            source_v6: config.reply_v6,
            buffer: Box::new([0; REPLY_MAX]),
            allowed: Bucket::new(BURST, INTERVAL),
        }
    }

    /// The answer to the sender of `passenger`, if there is to be one.
    pub(super) fn answer(&mut self, passenger: &[u8], mtu: u16, now: Instant) -> Option<&[u8]> {
        if !self.allowed.has_token(now) {
            return None;
        }
        let out = self.buffer.as_mut_slice();
        match icmp::too_big(passenger, mtu, self.source_v4, self.source_v6, out) {
            icmp::TooBig::Reply(length) => {
                self.allowed.take(now);
                self.buffer.get(..length)
            }
            // The kernel has cut what may be cut at the device's MTU, which is never below 1280 where
            // there is IPv6, so that neither kind of fragment is ours to make.
            icmp::TooBig::FragmentPassenger
            | icmp::TooBig::FragmentDelivery
            | icmp::TooBig::Silent => None,
        }
    }
}

/// Answers at once after a pause: one for each of a burst of connections.
const BURST: u32 = 50;
/// One more each: a hundred a second, of at most [`REPLY_MAX`] octets.
const INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// D57
    #[test]
    fn answers_come_at_a_limited_rate() {
        let config = TunnelConfig {
            gre: secure_gre_gre::Config::default(),
            tos: secure_gre_gre::tos::Policy::Inherit,
            ttl: secure_gre_gre::ttl::Policy::Inherit,
            df: secure_gre_gre::df::Policy::Set,
            mtu: 1400,
            mss_clamp: true,
            reply_v4: Some(Ipv4Addr::new(10, 255, 0, 2)),
            reply_v6: None,
            ends: secure_gre_gre::keepalive::Ends::NONE,
            asks: false,
            limit: None,
            echo: None,
        };
        let mut answers = Answers::new(&config);
        let mut passenger = [0; 28];
        passenger[..9].copy_from_slice(&[0x45, 0, 0, 28, 0, 0, 0x40, 0, 64]);
        passenger[9] = 17;
        passenger[12..20].copy_from_slice(&[10, 1, 0, 1, 10, 2, 0, 1]);
        let start = Instant::now();
        let mut given = |count: u32, now: Instant| {
            (0..count)
                .filter(|_| answers.answer(&passenger, 20, now).is_some())
                .count()
        };
        assert_eq!(given(60, start), 50);
        assert_eq!(given(60, start + INTERVAL - Duration::from_nanos(1)), 0);
        assert_eq!(given(60, start + 3 * INTERVAL), 3);
        assert_eq!(given(60, start + 1000 * INTERVAL), 50);
    }
}
