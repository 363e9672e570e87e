//! Every family of suites against strongSwan and Linux's ESP, in either role, the weak ones too; and
//! what two lists of defaults agree on.
//!
//! One boot for all of it. The length of the largest packet shows that both ends pad and cut alike.

use std::time::Duration;

use crate::lab::{
    self, Guest, Outer, Peer, Product, Strongswan, Topology, product, strongswan, traffic,
};

/// One suite for both ends.
struct Cell {
    ike: &'static str,
    esp: &'static str,
    /// As `swanctl --list-sas` writes them.
    listed: [&'static str; 2],
    /// Octets of the outer packet around 1400 octets of passenger.
    longest: usize,
    /// The group of a rekey, as `swanctl --list-sas` writes it; charon begins one.
    pfs: Option<&'static str>,
}

const CELLS: &[Cell] = &[
    Cell {
        ike: "aes256gcm16-prfsha384-ecp384",
        esp: "aes256gcm16-ecp384",
        listed: ["AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384", "AES_GCM_16-256"],
        longest: 1460,
        pfs: Some("ECP_384"),
    },
    Cell {
        ike: "aes192gcm16-prfsha512-ecp521",
        esp: "aes192gcm16-ecp521-modpnone",
        listed: ["AES_GCM_16-192/PRF_HMAC_SHA2_512/ECP_521", "AES_GCM_16-192"],
        longest: 1460,
        pfs: Some("ECP_521"),
    },
    Cell {
        ike: "aes128gcm16-prfsha256-x25519",
        esp: "aes128gcm16-esn",
        listed: [
            "AES_GCM_16-128/PRF_HMAC_SHA2_256/CURVE_25519",
            "AES_GCM_16-128",
        ],
        longest: 1460,
        pfs: None,
    },
    Cell {
        ike: "chacha20poly1305-prfsha256-modp2048",
        esp: "chacha20poly1305-modp2048",
        listed: [
            "CHACHA20_POLY1305/PRF_HMAC_SHA2_256/MODP_2048",
            "CHACHA20_POLY1305",
        ],
        longest: 1460,
        pfs: Some("MODP_2048"),
    },
    Cell {
        ike: "aes256-sha256-modp3072",
        esp: "aes256-sha256-modp3072",
        listed: [
            "AES_CBC-256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_3072",
            "AES_CBC-256/HMAC_SHA2_256_128",
        ],
        longest: 1468,
        pfs: Some("MODP_3072"),
    },
    Cell {
        ike: "aes192-sha384-ecp256",
        esp: "aes192-sha384-esn",
        listed: [
            "AES_CBC-192/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/ECP_256",
            "AES_CBC-192/HMAC_SHA2_384_192",
        ],
        longest: 1476,
        pfs: None,
    },
    Cell {
        ike: "aes128-sha512-modp4096",
        esp: "aes128-sha512-modp4096",
        listed: [
            "AES_CBC-128/HMAC_SHA2_512_256/PRF_HMAC_SHA2_512/MODP_4096",
            "AES_CBC-128/HMAC_SHA2_512_256",
        ],
        longest: 1484,
        pfs: Some("MODP_4096"),
    },
    Cell {
        ike: "aes256-sha512-prfsha256-ecp521",
        esp: "aes256-sha256-esn",
        listed: [
            "AES_CBC-256/HMAC_SHA2_512_256/PRF_HMAC_SHA2_256/ECP_521",
            "AES_CBC-256/HMAC_SHA2_256_128",
        ],
        longest: 1468,
        pfs: None,
    },
    Cell {
        ike: "aes128-sha1-modp1024",
        esp: "aes128-sha1-modp1024",
        listed: [
            "AES_CBC-128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024",
            "AES_CBC-128/HMAC_SHA1_96",
        ],
        longest: 1464,
        pfs: Some("MODP_1024"),
    },
    Cell {
        ike: "aes256-sha1-modp1536",
        esp: "aes256-sha1-esn",
        listed: [
            "AES_CBC-256/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1536",
            "AES_CBC-256/HMAC_SHA1_96",
        ],
        longest: 1464,
        pfs: None,
    },
];

/// D44, D47, D48: each cell in one role, the next one in the other.
#[test]
fn every_family_in_either_role() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan::default().start(&guest);
    for (cell, calls) in CELLS.iter().zip([true, false].into_iter().cycle()) {
        println!("{} and {}, we call: {calls}", cell.ike, cell.esp);
        Strongswan {
            ike_proposals: cell.ike,
            esp_proposals: cell.esp,
            ..Strongswan::default()
        }
        .reload(&guest);
        let peer = Peer {
            more: proposals(cell),
            ..Peer::default()
        };
        let product = established(&topology, &guest, peer, calls);
        carries(&topology, &guest, cell, &product);
        if let Some(group) = cell.pfs {
            rekeys(&topology, &guest, cell, group);
        }
        assert_eq!(product.interrupt().code, Some(0));
    }
}

/// A list of defaults on each side: nothing to agree upon beforehand.
#[test]
fn defaults_meet_defaults() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan {
        ike_proposals: "default",
        esp_proposals: "default",
        ..Strongswan::default()
    }
    .start(&guest);
    // Who answers chooses: charon begins its list with AES-CBC, we ours with AES-GCM.
    for (calls, ike, esp) in [
        (true, "aes256-sha256-ecp256", "aes256-sha256"),
        (false, "aes256gcm16-prfsha384-x25519", "aes256gcm16"),
    ] {
        let product = established(&topology, &guest, Peer::default(), calls);
        pings(&topology, &guest);
        let status = product.status();
        assert_eq!(status["ike"]["suite"], ike);
        assert_eq!(status["children"][0]["suite"], esp);
        assert_eq!(product.interrupt().code, Some(0));
    }
}

/// The lists of `peer.toml`.
fn proposals(cell: &Cell) -> &'static str {
    let Cell { ike, esp, .. } = cell;
    let esp = esp.trim_end_matches("-esn");
    format!("[peer.ike]\nproposals = [{ike:?}]\n[peer.esp]\nproposals = [{esp:?}]").leak()
}

#[track_caller]
fn established<'t>(topology: &'t Topology, guest: &Guest, peer: Peer, calls: bool) -> Product<'t> {
    let mut product;
    if calls {
        product = Product::start(&topology.left, &peer);
    } else {
        product = Product::start(&topology.left, &peer.responder());
        product.wait_for_state("idle", Duration::from_secs(20));
        strongswan::initiate(guest).expect("swanctl --initiate");
    }
    product.wait_until_established();
    product
}

#[track_caller]
fn carries(topology: &Topology, guest: &Guest, cell: &Cell, product: &Product<'_>) {
    let capture = topology.capture();
    pings(topology, guest);
    let packets = capture.stop();
    assert_eq!(packets.in_clear(), None);
    let Outer { left, right, .. } = Outer::NATIVE_V4;
    for end in [left, right] {
        assert_eq!(packets.longest_from(end), cell.longest, "from {end}");
    }

    let sas = strongswan::list_sas(guest);
    let [ike, esp] = cell.listed;
    assert!(sas.contains(ike), "{sas}");
    assert!(sas.contains(&format!("ESP:{esp}")), "{sas}");
    let status = product.status();
    assert_eq!(status["ike"]["suite"], cell.ike);
    let suite = status["children"][0]["suite"].as_str().unwrap();
    assert!(
        cell.esp.starts_with(suite.trim_end_matches("-esn")),
        "{suite}"
    );
    assert_eq!(
        suite.ends_with("-esn"),
        cell.esp.ends_with("-esn"),
        "{suite}"
    );
}

/// D38, PAINS 8: the group of the ESP list is that of charon's rekey.
#[track_caller]
fn rekeys(topology: &Topology, guest: &Guest, cell: &Cell, group: &str) {
    guest.expect("swanctl --rekey --child gre");
    let listed = format!("ESP:{}/{group}", cell.listed[1]);
    lab::eventually(&listed, Duration::from_secs(20), || {
        strongswan::list_sas(guest).contains(&listed).then_some(())
    });
    pings(topology, guest);
}

#[track_caller]
fn pings(topology: &Topology, guest: &Guest) {
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 2").expect("small ones");
    traffic::ping(&topology.left, strongswan::INNER_V6, "-c 2").expect("with IPv6");
    traffic::ping_from_guest(guest, product::INNER_V4, "-c 2").expect("from the guest");
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 1 -M do -s 1372").expect("a full one");
}
