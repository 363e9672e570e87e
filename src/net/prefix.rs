//! An IP address with a prefix length, as in `10.255.0.1/30`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// An address and how many of its leading bits name the network. The host bits are kept, so that
/// the same type is an interface's address and, through [`Prefix::network`], a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

impl Prefix {
    /// `None` if the family has fewer bits than `len`.
    pub fn new(addr: IpAddr, len: u8) -> Option<Self> {
        (len <= address_bits(addr)).then_some(Self { addr, len })
    }

    /// The prefix of this one address.
    pub fn host(addr: IpAddr) -> Self {
        Self {
            addr,
            len: address_bits(addr),
        }
    }

    /// The address, host bits included.
    pub fn addr(&self) -> IpAddr {
        self.addr
    }

    /// The prefix length in bits.
    pub fn prefix_len(&self) -> u8 {
        self.len
    }

    /// Whether it is one address only.
    pub fn is_host(&self) -> bool {
        self.len == address_bits(self.addr)
    }

    /// The same prefix with all host bits zero.
    pub fn network(&self) -> Self {
        let addr = match self.addr {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask_v4(self.len))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask_v6(self.len))),
        };
        Self {
            addr,
            len: self.len,
        }
    }

    /// Whether the address lies inside; never for the other family.
    pub fn contains(&self, addr: IpAddr) -> bool {
        Self::new(addr, self.len).is_some_and(|other| {
            addr.is_ipv4() == self.addr.is_ipv4() && other.network() == self.network()
        })
    }

    /// All addresses inside.
    pub fn range(&self) -> RangeInclusive<IpAddr> {
        let last = match self.network().addr {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() | !mask_v4(self.len))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() | !mask_v6(self.len))),
        };
        self.network().addr..=last
    }

    /// The two halves of "everything"; any other prefix by itself. As routes they lead where the
    /// whole would, and win over any other route to everything whatever its metric.
    pub fn beating_default(&self) -> Vec<Self> {
        if self.len > 0 {
            return vec![*self];
        }
        let upper = match self.addr {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(1 << 31)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(1 << 127)),
        };
        let lower = self.network().addr;
        [lower, upper].map(|addr| Self { addr, len: 1 }).to_vec()
    }

    /// Whether every address of `other` lies inside.
    pub fn covers(&self, other: &Self) -> bool {
        self.len <= other.len && self.contains(other.addr)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

/// Why a text is no prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// No `/`.
    #[error("the prefix length is missing, as in `10.255.0.1/30`")]
    NoLength,
    /// The part before the `/`.
    #[error("the part before `/` is not an IP address")]
    Address,
    /// The part after the `/`.
    #[error("the prefix length is not a number from 0 to {max}")]
    Length {
        /// The bits of the address's family.
        max: u8,
    },
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let Some((addr, len)) = text.split_once('/') else {
            return Err(match text.parse::<IpAddr>() {
                Ok(_) => PrefixError::NoLength,
                Err(_) => PrefixError::Address,
            });
        };
        let addr: IpAddr = addr.parse().map_err(|_| PrefixError::Address)?;
        let no_length = PrefixError::Length {
            max: address_bits(addr),
        };
        if !len.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(no_length);
        }
        Self::new(addr, len.parse().map_err(|_| no_length)?).ok_or(no_length)
    }
}

const fn address_bits(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn mask_v4(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

fn mask_v6(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Prefix, PrefixError};

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn everything_is_two_halves() {
        let halves = |text| prefix(text).beating_default();
        assert_eq!(
            halves("0.0.0.0/0"),
            ["0.0.0.0/1", "128.0.0.0/1"].map(prefix)
        );
        assert_eq!(halves("::/0"), ["::/1", "8000::/1"].map(prefix));
        assert_eq!(halves("10.0.0.0/8"), [prefix("10.0.0.0/8")]);
    }

    #[test]
    fn network_clears_the_host_bits() {
        assert_eq!(prefix("10.255.0.1/30").network(), prefix("10.255.0.0/30"));
        assert_eq!(prefix("fd00:255::1/64").network(), prefix("fd00:255::/64"));
        assert_eq!(prefix("10.1.2.3/0").network(), prefix("0.0.0.0/0"));
        assert_eq!(prefix("::1/128").network(), prefix("::1/128"));
    }

    #[test]
    fn contains_minds_the_family() {
        assert!(prefix("10.255.0.1/30").contains("10.255.0.2".parse().unwrap()));
        assert!(!prefix("10.255.0.1/30").contains("10.255.0.4".parse().unwrap()));
        assert!(prefix("0.0.0.0/0").contains("192.0.2.1".parse().unwrap()));
        assert!(!prefix("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(!prefix("::/0").contains("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn covers_only_what_is_narrower() {
        assert!(prefix("10.0.0.0/8").covers(&prefix("10.20.0.0/16")));
        assert!(!prefix("10.20.0.0/16").covers(&prefix("10.0.0.0/8")));
    }

    #[test]
    fn text_that_is_no_prefix() {
        for (text, error) in [
            ("10.0.0.1", PrefixError::NoLength),
            ("ten/8", PrefixError::Address),
            ("", PrefixError::Address),
            ("10.0.0.1/33", PrefixError::Length { max: 32 }),
            ("10.0.0.1/", PrefixError::Length { max: 32 }),
            ("10.0.0.1/+8", PrefixError::Length { max: 32 }),
            ("fd00::/129", PrefixError::Length { max: 128 }),
        ] {
            assert_eq!(text.parse::<Prefix>(), Err(error), "{text}");
        }
    }
}
