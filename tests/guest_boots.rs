//! The laboratory itself: the guest boots, strongSwan reads its configuration, the wire works.

use std::time::Duration;

use crate::lab::{self, Strongswan, Topology, strongswan, topology, traffic};

#[test]
fn guest_runs_strongswan_and_answers_on_the_wire() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let capture = topology.capture();
    let guest = topology.boot_guest();
    Strongswan::default().start(&guest);

    for cipher in ["rfc4106(gcm(aes))", "rfc7539esp(chacha20,poly1305)"] {
        let key = "5a".repeat(36);
        guest.expect(&format!(
            "ip xfrm state add src 127.0.0.8 dst 127.0.0.9 proto esp spi 0x100 mode transport \
             aead '{cipher}' 0x{key} 128 && ip xfrm state deleteall"
        ));
    }
    let device = guest.expect("ip -d link show gre1");
    assert!(
        device.contains("gre remote 192.0.2.1 local 192.0.2.2"),
        "{device}"
    );
    let connections = guest.expect("swanctl --list-conns");
    assert!(connections.contains("TRANSPORT"), "{connections}");
    assert_eq!(strongswan::list_sas(&guest), "");

    traffic::ping(&topology.left, topology::RIGHT, "-c 3").expect("ping outside the tunnel");
    // The referee sees what it has to see: a passenger's payload in clear.
    let packets = capture.stop();
    assert!(packets.count_protocol(1) >= 6, "echo requests and replies");
    assert!(packets.in_clear().is_some());

    let failed = guest.run("echo said; exit 3", Duration::from_secs(5));
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(3), "said\n"));
}
