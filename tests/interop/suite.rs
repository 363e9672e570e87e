//! The families of suites, and what each makes of a packet.

use super::cell::{Family, Way};

/// One suite for IKE and ESP, as both ends write it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suite {
    /// What it is called in the name of a cell.
    pub(super) name: &'static str,
    /// Keywords of IKE. Empty: each end has its own defaults.
    pub(super) ike: &'static str,
    /// Keywords of ESP, without `esn`. A group is that of a rekey.
    pub(super) esp: &'static str,
    /// For libreswan: its lines for the two.
    pub(super) libreswan: &'static str,
    /// For strongSwan: IKE and ESP without a group, as it writes them in its log.
    pub(super) strongswan: [&'static str; 2],
    /// For strongSwan: the group of a rekey, as it writes it.
    pub(super) pfs: Option<&'static str>,
    /// The algorithms in `ip xfrm state`, with the length in bits in place of each key.
    pub(super) kernel: &'static [&'static str],
    pub(super) sealing: Sealing,
}

const BLANK: Suite = Suite {
    name: "",
    ike: "",
    esp: "",
    libreswan: "",
    strongswan: [""; 2],
    pfs: None,
    kernel: &[],
    sealing: AEAD,
};

/// What a cipher adds to what it seals, in octets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sealing {
    iv: usize,
    /// What the payload with its padding is a multiple of.
    block: usize,
    icv: usize,
}

const AEAD: Sealing = Sealing {
    iv: 8,
    block: 4,
    icv: 16,
};

const fn cbc(icv: usize) -> Sealing {
    Sealing {
        iv: 16,
        block: 16,
        icv,
    }
}

impl Sealing {
    /// The outer packet around a passenger, in octets (RFC 4303 §2, RFC 2784 §2, RFC 3948 §2.1).
    pub(super) fn outer_packet(&self, passenger: usize, way: Way, family: Family) -> usize {
        const GRE: usize = 4;
        const SPI_AND_SEQUENCE: usize = 8;
        const PAD_LENGTH_AND_NEXT_HEADER: usize = 2;
        let ip = match family {
            Family::V4 => 20,
            Family::V6 => 40,
        };
        let udp = if way.is_udp() { 8 } else { 0 };
        let sealed = (passenger + GRE + PAD_LENGTH_AND_NEXT_HEADER).next_multiple_of(self.block);
        ip + udp + SPI_AND_SEQUENCE + self.iv + sealed + self.icv
    }

    /// The MTU of our device on a path of 1500 octets: no more than 1400.
    pub(super) fn mtu(&self, way: Way, family: Family) -> usize {
        let fits = |mtu: &usize| self.outer_packet(*mtu, way, family) <= 1500;
        (1..=1400).rev().find(fits).unwrap()
    }
}

/// Those of the matrix with strongSwan.
pub(super) const OF_STRONGSWAN: &[Suite] = &[
    Suite {
        name: "aes256gcm16-prfsha384-ecp384",
        ike: "aes256gcm16-prfsha384-ecp384",
        esp: "aes256gcm16-ecp384",
        strongswan: ["AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384", "AES_GCM_16_256"],
        pfs: Some("ECP_384"),
        kernel: &["aead rfc4106(gcm(aes)) 288 128"],
        ..BLANK
    },
    Suite {
        name: "aes192gcm16-prfsha512-ecp521",
        ike: "aes192gcm16-prfsha512-ecp521",
        esp: "aes192gcm16-ecp521-modpnone",
        strongswan: ["AES_GCM_16_192/PRF_HMAC_SHA2_512/ECP_521", "AES_GCM_16_192"],
        pfs: Some("ECP_521"),
        kernel: &["aead rfc4106(gcm(aes)) 224 128"],
        ..BLANK
    },
    Suite {
        name: "aes128gcm16-prfsha256-x25519",
        ike: "aes128gcm16-prfsha256-x25519",
        esp: "aes128gcm16",
        strongswan: [
            "AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519",
            "AES_GCM_16_128",
        ],
        kernel: &["aead rfc4106(gcm(aes)) 160 128"],
        ..BLANK
    },
    Suite {
        name: "chacha20poly1305-prfsha256-modp2048",
        ike: "chacha20poly1305-prfsha256-modp2048",
        esp: "chacha20poly1305-modp2048",
        strongswan: [
            "CHACHA20_POLY1305/PRF_HMAC_SHA2_256/MODP_2048",
            "CHACHA20_POLY1305",
        ],
        pfs: Some("MODP_2048"),
        kernel: &["aead rfc7539esp(chacha20,poly1305) 288 128"],
        ..BLANK
    },
    Suite {
        name: "aes256-sha256-modp3072",
        ike: "aes256-sha256-modp3072",
        esp: "aes256-sha256-modp3072",
        strongswan: [
            "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_3072",
            "AES_CBC_256/HMAC_SHA2_256_128",
        ],
        pfs: Some("MODP_3072"),
        kernel: &["auth-trunc hmac(sha256) 256 128", "enc cbc(aes) 256"],
        sealing: cbc(16),
        ..BLANK
    },
    Suite {
        name: "aes192-sha384-ecp256",
        ike: "aes192-sha384-ecp256",
        esp: "aes192-sha384",
        strongswan: [
            "AES_CBC_192/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/ECP_256",
            "AES_CBC_192/HMAC_SHA2_384_192",
        ],
        kernel: &["auth-trunc hmac(sha384) 384 192", "enc cbc(aes) 192"],
        sealing: cbc(24),
        ..BLANK
    },
    Suite {
        name: "aes128-sha512-modp4096",
        ike: "aes128-sha512-modp4096",
        esp: "aes128-sha512-modp4096",
        strongswan: [
            "AES_CBC_128/HMAC_SHA2_512_256/PRF_HMAC_SHA2_512/MODP_4096",
            "AES_CBC_128/HMAC_SHA2_512_256",
        ],
        pfs: Some("MODP_4096"),
        kernel: &["auth-trunc hmac(sha512) 512 256", "enc cbc(aes) 128"],
        sealing: cbc(32),
        ..BLANK
    },
    // What protects IKE need not be what protects ESP, nor the PRF the integrity algorithm's.
    Suite {
        name: "aes256-sha512-prfsha256-ecp521",
        ike: "aes256-sha512-prfsha256-ecp521",
        esp: "aes256-sha256",
        strongswan: [
            "AES_CBC_256/HMAC_SHA2_512_256/PRF_HMAC_SHA2_256/ECP_521",
            "AES_CBC_256/HMAC_SHA2_256_128",
        ],
        kernel: &["auth-trunc hmac(sha256) 256 128", "enc cbc(aes) 256"],
        sealing: cbc(16),
        ..BLANK
    },
    Suite {
        name: "aes128-sha1-modp1024",
        ike: "aes128-sha1-modp1024",
        esp: "aes128-sha1-modp1024",
        strongswan: [
            "AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024",
            "AES_CBC_128/HMAC_SHA1_96",
        ],
        pfs: Some("MODP_1024"),
        kernel: &["auth-trunc hmac(sha1) 160 96", "enc cbc(aes) 128"],
        sealing: cbc(12),
        ..BLANK
    },
    Suite {
        name: "aes256-sha1-modp1536",
        ike: "aes256-sha1-modp1536",
        esp: "aes256-sha1",
        strongswan: [
            "AES_CBC_256/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1536",
            "AES_CBC_256/HMAC_SHA1_96",
        ],
        kernel: &["auth-trunc hmac(sha1) 160 96", "enc cbc(aes) 256"],
        sealing: cbc(12),
        ..BLANK
    },
];

/// Those of the matrix with libreswan: one of each kind of cipher, and what two files that name none
/// come to.
pub(super) const OF_LIBRESWAN: &[Suite] = &[
    Suite {
        name: "aes256gcm16-prfsha256-ecp256",
        ike: "aes256gcm16-prfsha256-ecp256",
        esp: "aes256gcm16-ecp256",
        libreswan: "ike=aes_gcm256-sha2_256;dh19\n  esp=aes_gcm256;dh19",
        kernel: &["aead rfc4106(gcm(aes)) 288 128"],
        ..BLANK
    },
    Suite {
        name: "aes256-sha256-modp2048",
        ike: "aes256-sha256-modp2048",
        esp: "aes256-sha256-modp2048",
        libreswan: "ike=aes256-sha2_256;dh14\n  esp=aes256-sha2_256;dh14",
        kernel: &["auth-trunc hmac(sha256) 256 128", "enc cbc(aes) 256"],
        sealing: cbc(16),
        ..BLANK
    },
    Suite {
        name: "defaults",
        kernel: &["aead rfc4106(gcm(aes)) 288 128"],
        ..BLANK
    },
];
