//! The notations of single values: durations, identities, names of hosts, devices and peers.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use secure_gre_ike::identity::{Identity, MAX_IDENTITY_OCTETS};

/// The longest name of a peer, in octets.
const MAX_NAME_OCTETS: usize = 64;

/// IFNAMSIZ without its NUL.
const MAX_DEVICE_OCTETS: usize = 15;

/// NAME_MAX.
const MAX_FILE_NAME_OCTETS: usize = 255;

/// The longest host name, in octets (RFC 1035 §2.3.4).
const MAX_HOST_OCTETS: usize = 253;

/// A whole number and one unit: `500ms`, `10s`, `15m`, `8h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// A whole number and one unit, each a thousand of the one before: `500kB`, `50GB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let exponent = match unit {
        "kB" => 1,
        "MB" => 2,
        "GB" => 3,
        "TB" => 4,
        _ => return None,
    };
    number.checked_mul(1000_u64.pow(exponent))
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

/// Bits per second: a whole number and one unit: `64kbit`, `200Mbit`, `1Gbit`.
pub(super) fn bit_rate(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let exponent = match unit {
        "kbit" => 1,
        "Mbit" => 2,
        "Gbit" => 3,
        _ => return None,
    };
    number.checked_mul(1000_u64.pow(exponent))
}

/// An address, `fqdn.example`, `user@example` or `keyid:0x…`; the error says what is wrong.
pub(super) fn identity(text: &str) -> Result<Identity, &'static str> {
    if text.is_empty() {
        return Err("an identity can't be empty");
    }
    if text.len() > MAX_IDENTITY_OCTETS {
        return Err("an identity has at most 320 octets");
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Identity::Address(address));
    }
    if let Some(octets) = text.strip_prefix("keyid:") {
        return key_id(octets);
    }
    match text.split_once('@') {
        Some(("", _)) => Err("a host name is written without `@` before it"),
        Some((_, domain)) if domain.is_empty() || domain.contains('@') => {
            Err("an e-mail address has one `@` with text on both sides")
        }
        Some(_) if text.chars().any(|c| c.is_control() || c == ' ') => {
            Err("an e-mail address has no spaces")
        }
        Some(_) => Ok(Identity::Email(text.to_owned())),
        None => host_name(text).map(Identity::Fqdn),
    }
}

fn key_id(octets: &str) -> Result<Identity, &'static str> {
    let digits = octets
        .strip_prefix("0x")
        .ok_or("a key id is written keyid:0x…")?;
    match HEXLOWER_PERMISSIVE.decode(digits.as_bytes()) {
        Ok(octets) if !octets.is_empty() => Ok(Identity::KeyId(octets)),
        _ => Err("a key id is keyid:0x and pairs of hexadecimal digits"),
    }
}

/// A host name (RFC 1123 §2.1); underscores pass, since people use them.
pub(super) fn host_name(text: &str) -> Result<String, &'static str> {
    let label_is_sound = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    if text.ends_with('.') {
        return Err("a host name is written without a dot at its end");
    }
    if text.len() > MAX_HOST_OCTETS || !text.split('.').all(label_is_sound) {
        return Err("neither an IP address nor a host name");
    }
    match text.rsplit('.').next() {
        Some(last) if last.bytes().all(|c| c.is_ascii_digit()) => {
            Err("neither an IP address nor a host name: a name does not end in a number")
        }
        _ => Ok(text.to_owned()),
    }
}

/// The name of a peer: 1 to 64 of `[A-Za-z0-9._-]`. It also names files and log lines, so it does
/// not begin with a dot or a hyphen.
pub(super) fn peer_name(text: &str) -> bool {
    (1..=MAX_NAME_OCTETS).contains(&text.len())
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
        && !text.starts_with(['.', '-'])
}

/// A name that Linux accepts for a device, less `%`, which it takes for a template.
pub(super) fn device_name(text: &str) -> bool {
    (1..=MAX_DEVICE_OCTETS).contains(&text.len())
        && text
            .bytes()
            .all(|c| c.is_ascii_graphic() && !b"/:%".contains(&c))
        && text != "."
        && text != ".."
}

/// A name that `ip netns` can give a network namespace: that of a file.
pub(super) fn namespace_name(text: &str) -> bool {
    (1..=MAX_FILE_NAME_OCTETS).contains(&text.len())
        && text.bytes().all(|c| c.is_ascii_graphic() && c != b'/')
        && text != "."
        && text != ".."
}

/// Whether a host can have this address on the network outside the tunnel; the error says why not.
pub(super) fn outer_address(address: IpAddr) -> Result<(), &'static str> {
    match address {
        _ if address.is_unspecified() => Err("this is no host's address"),
        _ if address.is_loopback() => Err("a loopback address never leaves this host"),
        _ if address.is_multicast() => Err("a multicast address is no single host's"),
        IpAddr::V4(v4) if v4.is_broadcast() => Err("the broadcast address is no single host's"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            Err("a link-local address is not in this version: a global one is needed")
        }
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err("write an IPv4 address as such, without ::ffff: before it")
        }
        _ => Ok(()),
    }
}

/// A firewall mark: a decimal number, or a hexadecimal one with `0x` before it.
pub(super) fn mark(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A GRE key: a number or a dotted quad, which are the same 32 bits.
pub(super) fn gre_key(text: &str) -> Option<u32> {
    text.parse::<Ipv4Addr>().ok().map(Ipv4Addr::to_bits)
}
