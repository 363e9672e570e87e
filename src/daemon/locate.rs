//! Where a peer is: its name resolved, as at each attempt, and the UDP path to it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::config::PeerAddress;
use crate::net::ike::IKE_PORT;
use crate::net::outer::Path;

/// Why an address could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum LocateError {
    #[error("peer.address: the host name {name} does not resolve: {source}")]
    Resolve { name: String, source: io::Error },
}

/// The peer's outer addresses, best first, all of the IP version of `local` if that is given. May
/// take as long as the resolver does.
pub(super) async fn resolve(
    address: PeerAddress,
    local: Option<IpAddr>,
) -> Result<Vec<IpAddr>, LocateError> {
    let name = match address {
        PeerAddress::Ip(address) => return Ok(vec![address]),
        // It calls, and nobody knows from where.
        PeerAddress::Any => return Ok(Vec::new()),
        PeerAddress::Name(name) => name,
    };
    let usable = |remote: &IpAddr| local.is_none_or(|local| local.is_ipv4() == remote.is_ipv4());
    let found = tokio::net::lookup_host((name.as_str(), IKE_PORT)).await;
    let addresses = found.map(|found| found.map(|found| found.ip()).filter(usable).collect());
    addresses.map_err(|source| LocateError::Resolve { name, source })
}

/// The path on which IKE begins (RFC 7296 §2).
pub(super) fn ike_path(local: IpAddr, remote: IpAddr) -> Path {
    Path {
        local: SocketAddr::new(local, IKE_PORT),
        remote: SocketAddr::new(remote, IKE_PORT),
    }
}
