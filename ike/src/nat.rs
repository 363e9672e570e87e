//! NAT traversal (RFC 7296 §2.23): the hashes that go out, what those of the peer say, and whether
//! ESP travels in UDP, for a NAT or because both ends like it better (`wire::vendor`). What a NAT
//! means for traffic selectors is in `ts`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use aws_lc_rs::digest;

use crate::config::UdpEncapsulation;
use crate::event::{Encapsulation, Path, UdpCause};
use crate::wire::{IkeSpi, Notify, NotifyType};

/// The port that IKE moves to, and where ESP in UDP travels.
pub(crate) const NAT_TRAVERSAL_PORT: u16 = 4500;

/// Octets of a NAT_DETECTION_SOURCE_IP or NAT_DETECTION_DESTINATION_IP notification's data. SHA-1
/// whatever is negotiated.
pub(crate) const DETECTION_OCTETS: usize = digest::SHA1_OUTPUT_LEN;

/// Which ends are behind a NAT, as far as the peer's hashes tell. An end that the peer sent no
/// hashes for counts as not behind one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Nat {
    /// The peer sees us at another address or port than we do.
    pub(crate) ours: bool,
    /// We see the peer at another address or port than it does.
    pub(crate) theirs: bool,
    /// NAT or not, both ends have said that they like UDP better.
    pub(crate) both_faster: bool,
}

impl Nat {
    /// Why ESP travels in UDP, given what is wanted; `None`: it does not. Without a wish to the
    /// contrary, a NAT asks for UDP.
    pub(crate) const fn udp_cause(self, wanted: UdpEncapsulation) -> Option<UdpCause> {
        let Self {
            ours,
            theirs,
            both_faster,
        } = self;
        match wanted {
            UdpEncapsulation::Never => None,
            UdpEncapsulation::Always => Some(UdpCause::Wanted),
            UdpEncapsulation::Auto | UdpEncapsulation::Faster if ours || theirs => {
                Some(UdpCause::Nat)
            }
            UdpEncapsulation::Faster if both_faster => Some(UdpCause::Faster),
            UdpEncapsulation::Auto | UdpEncapsulation::Faster => None,
        }
    }

    /// How ESP travels, given what is wanted.
    pub(crate) const fn encapsulation(self, wanted: UdpEncapsulation) -> Encapsulation {
        match self.udp_cause(wanted) {
            None => Encapsulation::None,
            Some(_) => Encapsulation::Udp {
                behind_nat: self.ours,
            },
        }
    }
}

/// Where the initiator goes on after IKE_SA_INIT when ESP travels in UDP (D13).
pub(crate) fn traversal_path(path: Path) -> Path {
    Path {
        local: SocketAddr::new(path.local.ip(), NAT_TRAVERSAL_PORT),
        remote: SocketAddr::new(path.remote.ip(), NAT_TRAVERSAL_PORT),
    }
}

/// Whether ESP in UDP can travel on this path.
pub(crate) const fn is_traversal(path: Path) -> bool {
    path.local.port() == NAT_TRAVERSAL_PORT
}

/// What we say our address is. A hash of none makes the peer see a NAT on our side, and use UDP.
pub(crate) fn source_hash(
    spi_i: IkeSpi,
    spi_r: IkeSpi,
    local: SocketAddr,
    wanted: UdpEncapsulation,
) -> [u8; DETECTION_OCTETS] {
    let address = match wanted {
        UdpEncapsulation::Always => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        UdpEncapsulation::Auto | UdpEncapsulation::Faster | UdpEncapsulation::Never => local,
    };
    detection_hash(spi_i, spi_r, address)
}

/// SHA-1(SPIi | SPIr | address | port), the SPIs being those in the header of the message that
/// carries the hash: SPIr is 0 in the first request.
pub(crate) fn detection_hash(
    spi_i: IkeSpi,
    spi_r: IkeSpi,
    address: SocketAddr,
) -> [u8; DETECTION_OCTETS] {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(&spi_i.0.to_be_bytes());
    context.update(&spi_r.0.to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => context.update(&ip.octets()),
        IpAddr::V6(ip) => context.update(&ip.octets()),
    }
    context.update(&address.port().to_be_bytes());
    let mut hash = [0; DETECTION_OCTETS];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Compares the hashes in a message, whose header has these SPIs, with our address and the one it came
/// from. A sender that does not know its address may send several SOURCE_IP notifications, of which
/// one has to match.
pub(crate) fn detect<'a>(
    spi_i: IkeSpi,
    spi_r: IkeSpi,
    local: SocketAddr,
    remote: SocketAddr,
    notifies: impl IntoIterator<Item = &'a Notify>,
) -> Nat {
    let at_local = detection_hash(spi_i, spi_r, local);
    let at_remote = detection_hash(spi_i, spi_r, remote);
    let (mut destinations, mut sources) = (Hashes::default(), Hashes::default());
    for notify in notifies {
        match notify.kind {
            NotifyType::NAT_DETECTION_DESTINATION_IP => destinations.add(&notify.data, &at_local),
            NotifyType::NAT_DETECTION_SOURCE_IP => sources.add(&notify.data, &at_remote),
            _ => {}
        }
    }
    Nat {
        ours: destinations.all_differ(),
        theirs: sources.all_differ(),
        both_faster: false,
    }
}

/// What was seen of the hashes for one end.
#[derive(Default)]
struct Hashes {
    any: bool,
    one_matches: bool,
}

impl Hashes {
    fn add(&mut self, hash: &[u8], expected: &[u8]) {
        self.any = true;
        self.one_matches |= hash == expected;
    }

    fn all_differ(&self) -> bool {
        self.any && !self.one_matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{hex, vectors};

    const A: &str = "192.0.2.1:500";
    const B: &str = "192.0.2.2:500";

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    fn spis() -> (IkeSpi, IkeSpi) {
        (IkeSpi(1), IkeSpi(2))
    }

    fn hash(address: &str) -> [u8; DETECTION_OCTETS] {
        detection_hash(spis().0, spis().1, at(address))
    }

    /// What B makes of A's message.
    fn detect_at_b(sources: &[&[u8]], destinations: &[&[u8]]) -> Nat {
        let of_kind = |kind, hashes: &[&[u8]]| -> Vec<Notify> {
            hashes
                .iter()
                .map(|hash| Notify::with_data(kind, hash.to_vec()))
                .collect()
        };
        let mut notifies = of_kind(NotifyType::NAT_DETECTION_SOURCE_IP, sources);
        notifies.push(Notify::status(NotifyType::COOKIE));
        notifies.extend(of_kind(
            NotifyType::NAT_DETECTION_DESTINATION_IP,
            destinations,
        ));
        detect(spis().0, spis().1, at(B), at(A), notifies.iter())
    }

    /// D12, RFC 7296 §2.23: the hashes in messages between strongSwan and its peer, which have the
    /// SPIs of their own headers.
    #[test]
    fn hashes_of_live_messages() {
        for case in vectors(include_str!("../tests/vectors/ike-key-derivation.json")) {
            for (message, source, destination) in
                [("sa_init_request", A, B), ("sa_init_response", B, A)]
            {
                let message = hex(&case[message]);
                let spi =
                    |at: usize| IkeSpi(u64::from_be_bytes(message[at..at + 8].try_into().unwrap()));
                for (notify, address) in [(0x4004_u16, source), (0x4005, destination)] {
                    // Notify payload: length 28, no protocol, no SPI, type, hash.
                    let hash = detection_hash(spi(0), spi(8), at(address));
                    let payload = [&[0, 28, 0, 0], &notify.to_be_bytes()[..], &hash].concat();
                    assert!(
                        message.windows(26).any(|window| window == payload),
                        "{address}"
                    );
                }
            }
        }
    }

    /// D12: the verdict for each end, and several SOURCE_IP notifications.
    #[test]
    fn verdicts() {
        type Hashes<'a> = &'a [&'a [u8]];
        let hashes = [A, B, "10.0.0.1:500", "192.0.2.1:4500"].map(hash);
        let [a, b, elsewhere, other_port] = hashes.each_ref().map(|hash| &hash[..]);
        let longer = [a, &[0]].concat();
        let cases: &[(&str, Hashes<'_>, Hashes<'_>, (bool, bool))] = &[
            ("no NAT", &[a], &[b], (false, false)),
            (
                "the sender is behind one",
                &[elsewhere],
                &[b],
                (false, true),
            ),
            (
                "the receiver is behind one",
                &[a],
                &[elsewhere],
                (true, false),
            ),
            ("both are", &[elsewhere], &[elsewhere], (true, true)),
            ("only the port differs", &[other_port], &[b], (false, true)),
            (
                "one of several sources matches",
                &[elsewhere, a],
                &[b],
                (false, false),
            ),
            (
                "none of several sources matches",
                &[elsewhere, b],
                &[b],
                (false, true),
            ),
            ("no notifications", &[], &[], (false, false)),
            ("no sources", &[], &[elsewhere], (true, false)),
            ("a hash cut short", &[&a[..19]], &[b], (false, true)),
            (
                "a hash with more behind it",
                &[&longer],
                &[b],
                (false, true),
            ),
            ("an empty hash", &[&[]], &[b], (false, true)),
        ];
        for (what, sources, destinations, (ours, theirs)) in cases {
            let expected = Nat {
                ours: *ours,
                theirs: *theirs,
                both_faster: false,
            };
            assert_eq!(detect_at_b(sources, destinations), expected, "{what}");
        }
    }

    #[test]
    fn ipv6_is_hashed_with_its_16_octets() {
        let spis = [1_u64.to_be_bytes(), 2_u64.to_be_bytes()].concat();
        let address = hex_literal::hex!("20010db8 00000000 00000000 00000001 01f4");
        let octets = [&spis[..], &address].concat();
        let expected = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &octets);
        assert_eq!(hash("[2001:db8::1]:500"), expected.as_ref());
    }
}
