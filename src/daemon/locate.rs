//! Where a peer is: its name resolved, as at each attempt, and the UDP path to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::PeerAddress;
use crate::net::ike::{IKE_PORT, Path};

/// Why an address could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum LocateError {
    #[error("peer.address: the host name {name} does not resolve: {source}")]
    Resolve { name: String, source: io::Error },
    #[error(
        "peer.address: the host name {name} has no IPv4 address; outer IPv6 is not in this version"
    )]
    NoIpv4 { name: String },
}

/// The peer's outer address. May take as long as the resolver does.
pub(super) async fn resolve(address: PeerAddress) -> Result<Ipv4Addr, LocateError> {
    let name = match address {
        PeerAddress::Ip(address) => return Ok(address),
        PeerAddress::Name(name) => name,
    };
    let found = tokio::net::lookup_host((name.as_str(), IKE_PORT)).await;
    let ipv4 = found.map(|mut found| {
        found.find_map(|address| match address.ip() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    });
    match ipv4 {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(LocateError::NoIpv4 { name }),
        Err(source) => Err(LocateError::Resolve { name, source }),
    }
}

/// The path on which IKE begins (RFC 7296 §2).
pub(super) fn ike_path(local: IpAddr, remote: IpAddr) -> Path {
    Path {
        local: SocketAddr::new(local, IKE_PORT),
        remote: SocketAddr::new(remote, IKE_PORT),
    }
}
