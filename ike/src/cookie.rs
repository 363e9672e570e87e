//! Cookies (RFC 7296 §2.6): proof that an initiator receives at its address, without state for each
//! of them. When to ask for one is the endpoint's decision.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::wire::IkeSpi;

/// How long one secret makes cookies. It is known for at least as long again, at most for thrice.
pub(crate) const SECRET_LIFETIME: Duration = Duration::from_secs(60);

/// Makes cookies, and knows its own again.
#[derive(Debug)]
pub(crate) struct CookieJar {
    current: Generation,
    previous: Option<Generation>,
}

/// A secret; `<VersionIDofSecret>` of RFC 7296 §2.6 is its number.
#[derive(Debug)]
struct Generation {
    number: u8,
    since: Instant,
    key: hmac::Key,
}

impl CookieJar {
    /// A jar with a secret of its own.
    pub(crate) fn new(rng: &mut dyn CryptoRng, now: Instant) -> Self {
        Self {
            current: Generation::new(0, now, rng),
            previous: None,
        }
    }

    /// Replaces a secret that has had its time, and forgets the one before it. Comes before
    /// [`issue`](Self::issue) and [`verify`](Self::verify).
    pub(crate) fn roll(&mut self, rng: &mut dyn CryptoRng, now: Instant) {
        let age = now.saturating_duration_since(self.current.since);
        if age < SECRET_LIFETIME {
            return;
        }
        let next = Generation::new(self.current.number.wrapping_add(1), now, rng);
        let retired = std::mem::replace(&mut self.current, next);
        self.previous = (age < 2 * SECRET_LIFETIME).then_some(retired);
    }

    /// The cookie to ask an initiator for: it vouches for its nonce, address and SPI. The KE payload
    /// is not in it, so that it outlives an INVALID_KE_PAYLOAD (D10, RFC 7296 §2.6.1); the port is
    /// not, as §2.6 has it.
    pub(crate) fn issue(&self, ni: &[u8], remote: IpAddr, spi_i: IkeSpi) -> Vec<u8> {
        self.current.cookie(ni, remote, spi_i)
    }

    /// Whether this is a cookie of ours for that initiator, and not too old. Compares in constant
    /// time.
    pub(crate) fn verify(&self, cookie: &[u8], ni: &[u8], remote: IpAddr, spi_i: IkeSpi) -> bool {
        std::iter::once(&self.current)
            .chain(&self.previous)
            .filter(|generation| cookie.first() == Some(&generation.number))
            .any(|generation| generation.cookie(ni, remote, spi_i).ct_eq(cookie).into())
    }
}

impl Generation {
    fn new(number: u8, since: Instant, rng: &mut dyn CryptoRng) -> Self {
        let mut secret = Zeroizing::new([0; SECRET_OCTETS]);
        rng.fill_bytes(secret.as_mut());
        Self {
            number,
            since,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref()),
        }
    }

    /// The number, then HMAC(secret, SPIi | address | Ni). The parts of fixed length stand first,
    /// so no two initiators give the same string.
    fn cookie(&self, ni: &[u8], remote: IpAddr, spi_i: IkeSpi) -> Vec<u8> {
        let address = match remote {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&spi_i.0.to_be_bytes());
        context.update(&address.octets());
        context.update(ni);
        [&[self.number], context.sign().as_ref()].concat()
    }
}

/// As many as HMAC-SHA2-256 gives out (RFC 2104 §3).
const SECRET_OCTETS: usize = aws_lc_rs::digest::SHA256_OUTPUT_LEN;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const NI: &[u8] = &[5; 32];
    const SPI: IkeSpi = IkeSpi(3);

    struct Bench {
        jar: CookieJar,
        rng: StdRng,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let mut rng = StdRng::seed_from_u64(7);
            #[expect(
                clippy::disallowed_methods,
                reason = "any instant will do as the start"
            )]
            let now = Instant::now();
            Self {
                jar: CookieJar::new(&mut rng, now),
                rng,
                now,
            }
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            self.jar.roll(&mut self.rng, self.now);
        }

        fn issue(&self) -> Vec<u8> {
            self.jar.issue(NI, remote(), SPI)
        }

        fn knows(&self, cookie: &[u8]) -> bool {
            self.jar.verify(cookie, NI, remote(), SPI)
        }
    }

    fn remote() -> IpAddr {
        [192, 0, 2, 1].into()
    }

    /// D9, RFC 7296 §2.6.
    #[test]
    fn cookies_vouch_for_nonce_address_and_spi() {
        let bench = Bench::new();
        let cookie = bench.issue();
        assert!((1..=64).contains(&cookie.len()));
        assert!(bench.knows(&cookie));
        assert!(!bench.jar.verify(&cookie, &[6; 32], remote(), SPI));
        assert!(!bench.jar.verify(&cookie, &[5; 31], remote(), SPI));
        assert!(!bench.jar.verify(&cookie, NI, [192, 0, 2, 2].into(), SPI));
        assert!(!bench.jar.verify(&cookie, NI, remote(), IkeSpi(4)));
    }

    #[test]
    fn altered_cookies_are_refused() {
        let bench = Bench::new();
        let cookie = bench.issue();
        for at in 0..cookie.len() {
            let mut altered = cookie.clone();
            altered[at] ^= 1;
            assert!(!bench.knows(&altered), "octet {at}");
            assert!(!bench.knows(&cookie[..at]), "{at} octets");
        }
        assert!(!bench.knows(&[&cookie[..], &[0]].concat()));
        let another_jar = CookieJar::new(&mut StdRng::seed_from_u64(8), bench.now);
        assert!(!bench.knows(&another_jar.issue(NI, remote(), SPI)));
    }

    /// D9: the secret rolls, and the previous one stays valid.
    #[test]
    fn cookies_outlive_one_roll() {
        let mut bench = Bench::new();
        bench.pass(SECRET_LIFETIME / 2);
        let old = bench.issue();
        bench.pass(SECRET_LIFETIME / 2);
        let new = bench.issue();
        assert_ne!(old, new);
        assert!(bench.knows(&old));
        assert!(bench.knows(&new));
        bench.pass(SECRET_LIFETIME);
        assert!(!bench.knows(&old));
        assert!(bench.knows(&new));
    }

    #[test]
    fn cookies_expire_while_nothing_happens() {
        let mut bench = Bench::new();
        let cookie = bench.issue();
        bench.pass(2 * SECRET_LIFETIME);
        assert!(!bench.knows(&cookie));
    }

    #[test]
    fn a_number_that_comes_round_again_is_another_secret() {
        let mut bench = Bench::new();
        let cookie = bench.issue();
        (0..256).for_each(|_| bench.pass(SECRET_LIFETIME));
        assert_eq!(bench.issue()[0], cookie[0]);
        assert!(!bench.knows(&cookie));
    }
}
