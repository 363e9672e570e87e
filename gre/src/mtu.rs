//! Overhead arithmetic: how large an outer packet a passenger becomes, and how large a passenger
//! a path carries. RFC 4303 §2 (ESP's layout), RFC 2784 §2 (GRE's).
//!
//! Sizes of other layers come in as plain numbers. Not here: learning a path's MTU.

/// The MTU of a tunnel device where the path leaves as much, in octets: what peers' GRE tunnels
/// over IPsec are commonly set to, with room for every usual suite on an Ethernet path.
pub const DEVICE_MTU: u16 = 1400;

/// What surrounds a passenger on its way, in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// The outer IP header: 20 or 40.
    pub outer_ip: usize,
    /// The UDP header where ESP is UDP-encapsulated (RFC 3948): 8, else 0.
    pub udp: usize,
    /// SPI and sequence number with the suite's IV: 8 + 8 for GCM, 8 + 16 for CBC.
    pub esp_header: usize,
    /// The suite's ICV: 12, 16, 24 or 32.
    pub esp_icv: usize,
    /// What the ciphertext's length is a multiple of: 16 for CBC; at least 4 for any suite
    /// (RFC 4303 §2.4), so that less counts as 4.
    pub esp_alignment: usize,
    /// The GRE header: 4, 8, 12 or 16.
    pub gre_header: usize,
    /// The passenger's link-layer header: 0 for IP passengers, 14 for Ethernet, 18 with a VLAN tag.
    pub link: usize,
}

impl Envelope {
    /// The length of the outer IP packet that carries an IP passenger of `passenger_len` octets.
    pub fn outer_len(&self, passenger_len: usize) -> usize {
        let plaintext = self.link + self.gre_header + passenger_len + ESP_TRAILER;
        self.around_ciphertext() + plaintext.next_multiple_of(self.alignment())
    }

    /// The largest IP passenger whose outer packet fits `path_mtu`; 0 where not even an empty one
    /// does.
    pub fn passenger_mtu(&self, path_mtu: u16) -> u16 {
        let ciphertext = usize::from(path_mtu).saturating_sub(self.around_ciphertext());
        let plaintext = ciphertext - ciphertext % self.alignment();
        let passenger = plaintext.saturating_sub(ESP_TRAILER + self.gre_header + self.link);
        // Never larger than the path's MTU, which is a u16.
        u16::try_from(passenger).unwrap_or(u16::MAX)
    }

    /// The device's MTU where none is configured: [`DEVICE_MTU`], or what the path leaves.
    pub fn device_mtu(&self, path_mtu: u16) -> u16 {
        self.passenger_mtu(path_mtu).min(DEVICE_MTU)
    }

    const fn around_ciphertext(&self) -> usize {
        self.outer_ip + self.udp + self.esp_header + self.esp_icv
    }

    fn alignment(&self) -> usize {
        self.esp_alignment.max(4)
    }
}

/// Pad length and next header, inside the ciphertext (RFC 4303 §2).
const ESP_TRAILER: usize = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GCM: Envelope = Envelope {
        outer_ip: 20,
        udp: 0,
        esp_header: 16,
        esp_icv: 16,
        esp_alignment: 4,
        gre_header: 4,
        link: 0,
    };
    const CBC: Envelope = Envelope {
        esp_header: 24,
        esp_alignment: 16,
        ..GCM
    };

    #[test]
    fn outer_lengths_seen_on_the_wire() {
        let cases = [
            ("GCM-16", GCM, 1460),
            (
                "an alignment of 1",
                Envelope {
                    esp_alignment: 1,
                    ..GCM
                },
                1460,
            ),
            ("GCM-16, UDP-encapsulated", Envelope { udp: 8, ..GCM }, 1468),
            (
                "GCM-16 over IPv6",
                Envelope {
                    outer_ip: 40,
                    ..GCM
                },
                1480,
            ),
            (
                "GCM-16 with a GRE key",
                Envelope {
                    gre_header: 8,
                    ..GCM
                },
                1464,
            ),
            (
                "CBC, SHA2-384 over IPv6",
                Envelope {
                    outer_ip: 40,
                    esp_icv: 24,
                    ..CBC
                },
                1496,
            ),
            (
                "CBC, SHA2-512 over IPv6",
                Envelope {
                    outer_ip: 40,
                    esp_icv: 32,
                    ..CBC
                },
                1504,
            ),
        ];
        for (name, envelope, outer_len) in cases {
            assert_eq!(envelope.outer_len(1400), outer_len, "{name}");
        }
    }

    #[test]
    fn device_mtu_is_1400_or_what_the_path_leaves() {
        let cbc_over_v6 = Envelope {
            outer_ip: 40,
            esp_icv: 32,
            ..CBC
        };
        let ethernet_over_v6 = Envelope {
            outer_ip: 40,
            udp: 8,
            gre_header: 16,
            link: 18,
            ..GCM
        };
        let cases = [
            ("GCM-16 on Ethernet", GCM, 1500, 1400),
            ("GCM-16 on PPPoE", GCM, 1492, 1400),
            ("GCM-16 on the least IPv4 path", GCM, 576, 518),
            ("CBC, SHA2-512 over IPv6", cbc_over_v6, 1500, 1386),
            (
                "Ethernet passengers over IPv6",
                ethernet_over_v6,
                1500,
                1384,
            ),
            ("a path too small for the headers", GCM, 57, 0),
            ("no path", GCM, 0, 0),
        ];
        for (name, envelope, path_mtu, device_mtu) in cases {
            assert_eq!(envelope.device_mtu(path_mtu), device_mtu, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_largest_passenger_fits_and_one_more_octet_does_not(
            path_mtu in 200u16..,
            outer_ip in prop::sample::select(&[20usize, 40]),
            udp in prop::sample::select(&[0usize, 8]),
            esp_header in prop::sample::select(&[16usize, 24]),
            esp_icv in prop::sample::select(&[12usize, 16, 24, 32]),
            esp_alignment in prop::sample::select(&[0usize, 4, 16]),
            gre_header in prop::sample::select(&[4usize, 8, 12, 16]),
            link in prop::sample::select(&[0usize, 14, 18]),
        ) {
            let envelope = Envelope {
                outer_ip, udp, esp_header, esp_icv, esp_alignment, gre_header, link,
            };
            let passenger = usize::from(envelope.passenger_mtu(path_mtu));
            prop_assert!(envelope.outer_len(passenger) <= usize::from(path_mtu));
            prop_assert!(envelope.outer_len(passenger + 1) > usize::from(path_mtu));
        }
    }
}
