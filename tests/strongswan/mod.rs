//! strongSwan 5.9 with Linux's own GRE and ESP as the peer.

use std::time::Duration;

use crate::lab::{Guest, Outer, Product, Topology, product, strongswan, traffic};

mod defaults;
mod ethernet;
mod failures;
mod fragments;
mod gre_options;
mod initiator;
mod life;
mod offload;
mod post_quantum;
mod responder;

/// Sends every kind of passenger both ways and checks that both ends agree on what carries them.
/// The caller has established the SA; nothing may be seen in clear from here on.
#[track_caller]
fn carries_all_passengers(topology: &Topology, guest: &Guest, product: &Product<'_>, outer: Outer) {
    let capture = topology.capture();
    pings(topology, guest);
    multicast(topology, guest);
    bulk(topology, guest);
    let packets = capture.stop();
    assert_eq!(packets.in_clear(), None);
    packets.assert_carried_over(outer);

    let sas = strongswan::list_sas(guest);
    assert!(
        sas.contains("AES_GCM_16-256/PRF_HMAC_SHA2_256/ECP_256"),
        "{sas}"
    );
    let mode = if outer.udp { "-in-UDP" } else { "" };
    assert!(
        sas.contains(&format!("INSTALLED, TRANSPORT{mode}, ESP:AES_GCM_16-256")),
        "{sas}"
    );
    assert_eq!(sas.matches("INSTALLED").count(), 1, "{sas}");
    same_sa_in_status(&sas, product, outer);
}

#[track_caller]
fn pings(topology: &Topology, guest: &Guest) {
    let left = &topology.left;
    for destination in [strongswan::INNER_V4, strongswan::INNER_V6] {
        traffic::ping(left, destination, "-c 3").expect(destination);
    }
    for destination in [product::INNER_V4, product::INNER_V6] {
        traffic::ping_from_guest(guest, destination, "-c 3").expect(destination);
    }
    traffic::ping(left, strongswan::INNER_V4, "-c 3 -M do -s 1372").expect("a full packet");
    let beyond = traffic::ping(left, strongswan::INNER_V4, "-c 1 -M do -s 1373");
    assert!(!beyond.success());
    assert!(
        beyond.stderr.to_lowercase().contains("message too long"),
        "{beyond:?}"
    );
}

#[track_caller]
fn multicast(topology: &Topology, guest: &Guest) {
    let socket = traffic::device_socket(&topology.left, product::DEVICE, product::INNER_V4);
    traffic::guest_listens_to_group(guest);
    traffic::send_to_group(&socket);
    assert!(traffic::guest_heard_group(guest), "multicast to the peer");

    traffic::guest_sends_to_group(guest);
    let sender = traffic::receive(&socket, Duration::from_secs(5));
    assert_eq!(
        sender,
        Some(strongswan::INNER_V4.parse().unwrap()),
        "multicast from the peer"
    );
}

#[track_caller]
fn bulk(topology: &Topology, guest: &Guest) {
    traffic::guest_serves_bulk(guest);
    for direction in [traffic::Bulk::Upload, traffic::Bulk::Download] {
        let octets = traffic::bulk_transfer(&topology.left, strongswan::INNER_V4, direction);
        assert!(
            octets > 2_000_000,
            "{direction:?}: {octets} octets in two seconds"
        );
    }
}

/// `status --json` shows the SA that strongSwan lists, from the other side.
#[track_caller]
fn same_sa_in_status(sas: &str, product: &Product<'_>, outer: Outer) {
    let status = product.status();
    assert_eq!(status["state"], "established");
    assert_eq!(status["local-address"], outer.left);
    assert_eq!(status["remote-address"], outer.right);
    assert_eq!(status["ike"]["suite"], "aes256gcm16-prfsha256-ecp256");
    let [child] = status["children"].as_array().unwrap().as_slice() else {
        panic!("not exactly one child: {status}");
    };
    assert_eq!(child["mode"], "transport");
    let encapsulation = if outer.udp { "udp" } else { "none" };
    assert_eq!(child["encapsulation"], encapsulation);
    assert!(
        child["suite"].as_str().unwrap().starts_with("aes256gcm16"),
        "{child}"
    );
    // strongSwan's inbound SPI is the one that we send to.
    for (key, line) in [("spi-outbound", "in  "), ("spi-inbound", "out ")] {
        let spi = child[key].as_str().unwrap().trim_start_matches("0x");
        let listed = sas
            .lines()
            .any(|l| l.trim_start().starts_with(line) && l.contains(spi));
        assert!(listed, "{key} {spi} in\n{sas}");
    }
    let tunnel = &status["tunnels"][0];
    assert_eq!(tunnel["device"], product::DEVICE);
    assert_eq!(tunnel["mtu"], 1400);
    for direction in ["outbound", "inbound"] {
        assert!(
            tunnel[direction]["bytes"].as_u64().unwrap() > 2_000_000,
            "{tunnel}"
        );
    }
}
