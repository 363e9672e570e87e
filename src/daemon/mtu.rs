//! What fits: the path's MTU as the host knows it, and what it leaves to passengers (DESIGN §5) by a peer's
//! file, the cipher that was agreed on, and the wire that its packets take.

use std::time::{Duration, Instant};

use secure_gre_esp as esp;
use secure_gre_gre::mtu::Envelope;
use secure_gre_gre::{Passengers, df, ethernet};
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

/// How long news of a path hold: then it may take more again (RFC 1191 §6.3).
const NEWS_HOLD: Duration = Duration::from_secs(600);

/// What the path to a peer takes as far as the host knows: what its link does, or less, as the network
/// had it. Not here: what probes have found out.
#[derive(Debug, Default)]
pub(crate) struct PathMtu {
    /// `None`: there is no way yet.
    link: Option<u16>,
    news: Option<News>,
}

#[derive(Debug, Clone, Copy)]
struct News {
    mtu: u16,
    old_at: Instant,
}

impl PathMtu {
    /// Whether `mtu` is not what the link took so far.
    pub(crate) fn is_of_another_link(&self, mtu: u32) -> bool {
        self.link != Some(bounded(mtu))
    }

    /// The way is by a link that takes so much. What was learned of another one is void.
    pub(crate) fn take_link(&mut self, mtu: u32) {
        self.link = Some(bounded(mtu));
        self.news = None;
    }

    /// The network says that the path takes so much. Whether that is less than was known.
    pub(crate) fn take_news(&mut self, mtu: u16, now: Instant) -> bool {
        let is_news = mtu < self.octets();
        if is_news {
            let old_at = now + NEWS_HOLD;
            self.news = Some(News { mtu, old_at });
        }
        is_news
    }

    /// Forgets news that are old. Whether there were any.
    pub(crate) fn forget_old(&mut self, now: Instant) -> bool {
        self.news.take_if(|news| news.old_at <= now).is_some()
    }

    /// When there is something to forget.
    pub(crate) fn old_at(&self) -> Option<Instant> {
        self.news.map(|news| news.old_at)
    }

    /// The largest outer packet that the path is taken to carry, in octets.
    pub(crate) fn octets(&self) -> u16 {
        let link = self.link.unwrap_or(LINK_MTU);
        self.news.map_or(link, |news| news.mtu.min(link))
    }
}

/// A loopback takes more than a packet can have.
fn bounded(mtu: u32) -> u16 {
    u16::try_from(mtu).unwrap_or(u16::MAX)
}

/// The MTU of a tunnel's device where the path takes passengers of `fits` octets
/// ([`Envelope::passenger_mtu`]): the file's, or 1400; less if less fits (DESIGN §5), down to a floor. A
/// file that names one and clears DF wants it whatever fits: outer packets are fragmented.
pub(crate) fn device_mtu(tunnel: &config::Tunnel, fits: u16) -> u16 {
    if let (Some(mtu), df::Policy::Clear) = (tunnel.mtu, tunnel.df) {
        return mtu;
    }
    let wanted = tunnel.mtu.unwrap_or(secure_gre_gre::mtu::DEVICE_MTU);
    let least = if tunnel.has_ipv6() {
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
            Passengers::Ip => 0,
            // Frames in a VLAN fit too.
            Passengers::Ethernet => ethernet::HEADER_LEN + ethernet::TAG_LEN,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secure_gre_ike::algorithm::{Aead, Cbc, Integrity};

    use super::*;

    /// D50, RFC 1191 §6.3
    #[test]
    fn news_of_a_path_are_bounded_by_its_link_and_get_old() {
        let now = Instant::now();
        let mut path = PathMtu::default();
        assert_eq!((path.octets(), path.old_at()), (LINK_MTU, None));
        path.take_link(1500);
        assert!(path.take_news(1300, now));
        assert_eq!(path.octets(), 1300);
        let almost = now + NEWS_HOLD - Duration::from_nanos(1);
        assert!(!path.forget_old(almost));
        assert_eq!(path.octets(), 1300);
        // Nobody makes a path wider, nor keeps it narrow by saying the same again.
        assert!(!path.take_news(1400, almost) && !path.take_news(1300, almost));
        assert_eq!(path.octets(), 1300);
        // But less of it holds for as long again.
        assert!(path.take_news(1200, almost));
        assert!(!path.forget_old(now + NEWS_HOLD));
        assert!(path.forget_old(almost + NEWS_HOLD));
        assert_eq!((path.octets(), path.old_at()), (1500, None));
        assert!(!path.forget_old(almost + NEWS_HOLD), "once");

        assert!(!path.take_news(9000, now) && !path.take_news(1500, now));
        assert_eq!(path.octets(), 1500, "the link takes no more");
        assert!(path.take_news(1300, now));
        assert!(!path.is_of_another_link(1500) && path.is_of_another_link(1400));
        path.take_link(1400);
        assert_eq!((path.octets(), path.old_at()), (1400, None), "another way");
        path.take_link(65_536);
        assert_eq!(path.octets(), u16::MAX);
    }

    /// D50, D56, RFC 8200 §5: whatever anybody says of the path, IPv6 passengers keep 1280 octets, and
    /// others what every host takes.
    #[test]
    fn no_news_take_a_device_below_its_floor() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("peer.toml");
        let ipv4 = "address = [\"10.255.0.1/30\"]";
        for (passengers, floor) in [
            (ipv4.to_owned(), LEAST_IPV4_MTU),
            (ipv4.replace(']', ", \"fd00::1/64\"]"), LEAST_IPV6_MTU),
            // Below 1280 the kernel takes IPv6 off the device, and with it the route.
            (
                format!("{ipv4}\nroutes = [\"2001:db8::/48\"]"),
                LEAST_IPV6_MTU,
            ),
        ] {
            let text = format!(
                "[peer]\naddress = \"192.0.2.2\"\npsk = \"0123456789abcdef0123456789abcdef\"\n\
                 [tunnel]\n{passengers}"
            );
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            let peer = config::load(&file).unwrap().peers.remove(0);
            let gcm = Some(Cipher::Aead(Aead::Aes256Gcm16));
            for path in 0..=LINK_MTU {
                let overhead = Overhead::of(false, true);
                let tunnel = &peer.tunnels[0];
                let fits = envelope(&peer, tunnel, gcm, overhead).passenger_mtu(path);
                let mtu = device_mtu(tunnel, fits);
                assert!((floor..=1400).contains(&mtu), "{mtu} for {path}");
            }
        }
    }

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
        let mtu = |cipher, udp| {
            let envelope = envelope(&peer, tunnel, cipher, Overhead::of(true, udp));
            device_mtu(tunnel, envelope.passenger_mtu(LINK_MTU))
        };
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
