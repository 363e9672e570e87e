//! Which SAs wait for their caller's IKE_AUTH: found by who called, bounded as a whole and for each
//! address (RFC 7296 §2.6). Nobody has proven anything here, so what one datagram costs does not grow
//! with how many there are.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::config::HalfOpenLimits;
use crate::limits;
use crate::wire::IkeSpi;

/// Who has called: an address, a port and the SPI that the caller chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Caller {
    address: IpAddr,
    port: u16,
    spi: IkeSpi,
}

impl Caller {
    pub(super) const fn new(remote: SocketAddr, spi: IkeSpi) -> Self {
        Self {
            address: remote.ip(),
            port: remote.port(),
            spi,
        }
    }
}

/// The half-open SAs, by our SPIs.
pub(super) struct HalfOpen {
    pub(super) limits: HalfOpenLimits,
    arrivals: u64,
    /// With the number of its arrival.
    by_caller: BTreeMap<Caller, (u64, IkeSpi)>,
    /// By the number of their arrival.
    by_age: BTreeMap<u64, IkeSpi>,
}

impl HalfOpen {
    pub(super) const fn new(limits: HalfOpenLimits) -> Self {
        Self {
            limits,
            arrivals: 0,
            by_caller: BTreeMap::new(),
            by_age: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_caller.len()
    }

    pub(super) fn get(&self, caller: &Caller) -> Option<IkeSpi> {
        self.by_caller.get(caller).map(|(_, spi)| *spi)
    }

    pub(super) fn insert(&mut self, caller: Caller, our_spi: IkeSpi) {
        self.arrivals = self.arrivals.wrapping_add(1);
        self.by_caller.insert(caller, (self.arrivals, our_spi));
        self.by_age.insert(self.arrivals, our_spi);
    }

    /// The SA is not half-open any more.
    pub(super) fn remove(&mut self, caller: &Caller, our_spi: IkeSpi) {
        let known = self.by_caller.get(caller).copied();
        if let Some((arrival, _)) = known.filter(|(_, spi)| *spi == our_spi) {
            self.by_caller.remove(caller);
            self.by_age.remove(&arrival);
        }
    }

    /// Whether a caller from there has to show that it receives there: under load, or where there are
    /// as many from its address as there may be.
    pub(super) fn asks_for_cookie(&self, address: IpAddr) -> bool {
        self.len() >= self.limits.cookies_from || self.is_full_for(address)
    }

    /// Which SA has to go for one more of this address: the oldest, of those of the address if there
    /// are too many of them.
    pub(super) fn in_the_way_of(&self, address: IpAddr) -> Option<IkeSpi> {
        if self.is_full_for(address) {
            return self.of(address).min().map(|(_, spi)| spi);
        }
        let is_full = self.len() >= self.limits.limit.max(1);
        let oldest = self.by_age.first_key_value();
        oldest.filter(|_| is_full).map(|(_, spi)| *spi)
    }

    fn is_full_for(&self, address: IpAddr) -> bool {
        self.of(address).count() >= limits::HALF_OPEN_PER_ADDRESS
    }

    /// Those of an address; never more than [`limits::HALF_OPEN_PER_ADDRESS`].
    fn of(&self, address: IpAddr) -> impl Iterator<Item = (u64, IkeSpi)> {
        let least = Caller {
            address,
            port: 0,
            spi: IkeSpi(0),
        };
        let most = Caller {
            address,
            port: u16::MAX,
            spi: IkeSpi(u64::MAX),
        };
        self.by_caller.range(least..=most).map(|(_, known)| *known)
    }
}
