//! What fits: the arithmetic of DESIGN §5 for a peer's file, the wire that its packets take, and the
//! path's MTU.

use secure_gre_esp as esp;
use secure_gre_gre::df;
use secure_gre_gre::mtu::Envelope;

use super::install;
use crate::config;
use crate::net::esp::Overhead;

/// The MTU of a path before the route says otherwise: Ethernet's.
pub(crate) const LINK_MTU: u16 = 1500;

/// The least MTU that an IPv6 device may have (RFC 8200 §5), and IPv4's minimum reassembly size
/// (RFC 791). Nobody's news of the path, which nothing authenticates, gets below it (D50).
const LEAST_IPV6_MTU: u16 = 1280;
const LEAST_IPV4_MTU: u16 = 576;

/// The device's MTU for a path of `path_mtu` octets: the file's, or 1400; less if the path leaves less
/// (DESIGN §5). A file that names one and clears DF wants it whatever the path leaves: outer packets
/// are fragmented.
pub(crate) fn device_mtu(config: &config::Peer, overhead: Overhead, path_mtu: u16) -> u16 {
    let tunnel = &config.tunnel;
    let fits = envelope(config, overhead).passenger_mtu(path_mtu);
    if let (Some(mtu), df::Policy::Clear) = (tunnel.mtu, tunnel.df) {
        return mtu;
    }
    let wanted = tunnel.mtu.unwrap_or(secure_gre_gre::mtu::DEVICE_MTU);
    let has_ipv6 = tunnel
        .addresses
        .iter()
        .any(|address| address.addr().is_ipv6());
    let least = if has_ipv6 {
        LEAST_IPV6_MTU
    } else {
        LEAST_IPV4_MTU
    };
    wanted.min(fits).max(least.min(wanted))
}

/// What is put around a passenger, by the offered suite that needs the most room.
pub(crate) fn envelope(config: &config::Peer, overhead: Overhead) -> Envelope {
    let gre_header = secure_gre_gre::Encapsulator::new(config.tunnel.gre).header_len();
    let suites = config
        .esp_proposals
        .iter()
        .flat_map(|proposal| proposal.ciphers().all());
    let overheads = suites.map(|cipher| install::suite(cipher).overhead());
    // Also what needs whole blocks of 16 has the longer IV.
    let widest = overheads.max_by_key(|overhead| overhead.header + overhead.icv);
    let esp = widest.unwrap_or(esp::Suite::Aes256Gcm16.overhead());
    Envelope {
        outer_ip: overhead.ip,
        udp: overhead.udp,
        esp_header: esp.header,
        esp_icv: esp.icv,
        esp_alignment: esp.alignment,
        gre_header,
        link: 0,
    }
}
