//! What fits: the arithmetic of DESIGN §5 for a peer's file, the cipher that was agreed on, the wire
//! that its packets take, and the path's MTU.

use secure_gre_esp as esp;
use secure_gre_gre::mtu::Envelope;
use secure_gre_gre::{Kind, df, ethernet};
use secure_gre_ike::algorithm::Cipher;

use super::install;
use crate::config;
use crate::net::esp::Overhead;

/// The MTU of a path before the route says otherwise: Ethernet's.
pub(crate) const LINK_MTU: u16 = 1500;

/// The least MTU that an IPv6 device may have (RFC 8200 §5), and IPv4's minimum reassembly size
/// (RFC 791). Nobody's news of the path, which nothing authenticates, gets below it (D50).
const LEAST_IPV6_MTU: u16 = 1280;
const LEAST_IPV4_MTU: u16 = 576;

/// The MTU of a tunnel's device for a path of `path_mtu` octets: the file's, or 1400; less if the path
/// leaves less (DESIGN §5). A file that names one and clears DF wants it whatever the path leaves: outer
/// packets are fragmented.
pub(crate) fn device_mtu(
    peer: &config::Peer,
    tunnel: &config::Tunnel,
    cipher: Option<Cipher>,
    overhead: Overhead,
    path_mtu: u16,
) -> u16 {
    let fits = envelope(peer, tunnel, cipher, overhead).passenger_mtu(path_mtu);
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

/// What is put around a passenger by the cipher that was agreed on; before there is one, by the
/// offered one that needs the most room.
pub(crate) fn envelope(
    peer: &config::Peer,
    tunnel: &config::Tunnel,
    cipher: Option<Cipher>,
    overhead: Overhead,
) -> Envelope {
    let gre_header = secure_gre_gre::Encapsulator::new(tunnel.gre).header_len();
    let possible = match cipher {
        Some(cipher) => vec![cipher],
        None => {
            let proposals = peer.esp_proposals.iter();
            proposals
                .flat_map(|proposal| proposal.ciphers().all())
                .collect()
        }
    };
    let suites = possible.into_iter().map(install::suite);
    let overheads = suites.map(esp::Suite::overhead);
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
        link: match tunnel.gre.kind {
            Kind::Ip => 0,
            // Frames in a VLAN fit too.
            Kind::Ethernet => ethernet::HEADER_LEN + ethernet::TAG_LEN,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secure_gre_ike::algorithm::{Aead, Cbc, Integrity};

    use super::*;

    /// DESIGN §5: with AES-CBC and SHA2-512 over IPv6, 1400 does not fit into 1500; what was not
    /// agreed on takes nothing away.
    #[test]
    fn the_cipher_that_was_agreed_on_decides() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("peer.toml");
        let text = "[peer]\naddress = \"2001:db8::2\"\npsk = \"0123456789abcdef0123456789abcdef\"\n\
                    [tunnel]\naddress = [\"10.255.0.1/30\"]\nkey = 7\nchecksum = true\nsequence = true";
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let peer = config::load(&file).unwrap().peers.remove(0);
        let tunnel = &peer.tunnels[0];
        let mtu =
            |cipher, udp| device_mtu(&peer, tunnel, cipher, Overhead::of(true, udp), LINK_MTU);
        let gcm = Cipher::Aead(Aead::Aes256Gcm16);
        let sha512 = Cipher::CbcHmac(Cbc::Aes256, Integrity::HmacSha512);
        // Around the ciphertext 40, 8 and the IV; within it 16 of GRE and 2 of the trailer.
        assert_eq!(mtu(None, false), 1390, "CBC with SHA2-256 is offered");
        assert_eq!(mtu(Some(gcm), false), 1400);
        assert_eq!(mtu(Some(gcm), true), 1400);
        assert_eq!(mtu(Some(sha512), false), 1374);
        assert_eq!(mtu(Some(sha512), true), 1374);
    }
}
