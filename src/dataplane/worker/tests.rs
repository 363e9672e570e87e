//! Links with real devices and sockets, two of them in one network namespace.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use secure_gre_esp::{InboundSa, Keys, OutboundSa, Spi, Suite};
use secure_gre_gre as gre;

use super::*;
use crate::dataplane::{Link, SaId};
use crate::net::netlink::Netlink;
use crate::net::sandbox;

const CONFIG: LinkConfig = LinkConfig {
    gre: gre::Config {
        key: None,
        checksum: false,
        sequence: false,
    },
    tos: gre::tos::Policy::Inherit,
    mtu: 1400,
    mss_clamp: true,
    reply_v4: None,
    reply_v6: None,
};
const EAST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const WEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PATIENCE: Duration = Duration::from_secs(10);

/// A link with a device of its own, which leads to `network`.
struct End {
    link: Link,
    device: u32,
    notes: mpsc::Receiver<Note>,
}

async fn end(
    netlink: &Netlink,
    name: &str,
    network: &str,
    local: Ipv4Addr,
    remote: Ipv4Addr,
) -> End {
    let (queue, device) = sandbox::device(netlink, name, &[network]).await;
    let wire = Wire::native_v4(local, remote, 64).unwrap();
    let (sender, notes) = mpsc::channel();
    let notify = move |note| sender.send(note).unwrap();
    let link = Link::start(&CONFIG, Arc::new(queue), Arc::new(wire), notify).unwrap();
    End {
        link,
        device: device.index,
        notes,
    }
}

async fn both_ends(netlink: &Netlink) -> (End, End) {
    let east = end(netlink, "east", "10.1.0.1/24", EAST, WEST).await;
    let west = end(netlink, "west", "10.2.0.1/24", WEST, EAST).await;
    (east, west)
}

fn connect(from: &End, to: &End) {
    let keys = || {
        let spi = Spi::try_from(0x1001).unwrap();
        Keys::new(Suite::Aes128Gcm16, spi, true, &[7; 20]).unwrap()
    };
    to.link
        .install_inbound(SaId(1), InboundSa::new(keys(), 64), true);
    from.link.install_outbound(SaId(1), OutboundSa::new(keys()));
}

/// Sends datagrams of `len` octets into the east's device.
fn send(count: usize, len: usize) {
    let socket = UdpSocket::bind("10.1.0.1:0").unwrap();
    for _ in 0..count {
        socket.send_to(&vec![0; len], "10.1.0.2:9").unwrap();
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "never came: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The sleeping workers take the SAs at once, and what they carry arrives.
#[test]
fn packets_pass_from_device_to_device() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (east, west) = both_ends(&netlink).await;
        send(3, 100);
        until("drops without an SA", || {
            east.link.counters().outbound.dropped(LinkDrop::NoSa) >= 3
        });
        connect(&east, &west);
        until("a packet", || {
            send(1, 100);
            west.link.counters().inbound.delivered.packets >= 1
        });
        let note = west.notes.recv_timeout(PATIENCE);
        assert!(
            matches!(note, Ok(Note::FirstInbound { sa: SaId(1) })),
            "{note:?}"
        );

        let before = west.link.counters().inbound.delivered.packets;
        send(200, 100);
        until("a burst", || {
            west.link.counters().inbound.delivered.packets >= before + 200
        });
        let sent = east.link.stop().outbound;
        until("the last packet", || {
            west.link.counters().inbound.delivered == sent.delivered
        });
        assert!(sent.is_conserved() && west.link.stop().inbound.is_conserved());
    });
}

#[test]
fn a_path_that_shrinks_is_told() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (east, west) = both_ends(&netlink).await;
        connect(&east, &west);
        let loopback = netlink.link_by_name("lo").await.unwrap();
        netlink.set_mtu(loopback.index, 1000).await.unwrap();
        send(2, 1200);
        let note = east.notes.recv_timeout(PATIENCE);
        assert!(matches!(note, Ok(Note::PathMtu(1000))), "{note:?}");
        until("the drops", || {
            east.link.counters().outbound.dropped(LinkDrop::WireTooBig) == 2
        });
        assert!(east.notes.try_recv().is_err(), "told once");
    });
}

/// A device that is down or has lost its way does no harm.
#[test]
fn a_device_that_is_down_costs_packets_only() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (east, west) = both_ends(&netlink).await;
        connect(&east, &west);
        netlink.set_down(west.device).await.unwrap();
        send(1, 100);
        until("the refusal", || {
            west.link.counters().inbound.dropped(LinkDrop::TunRefused) >= 1
        });
        netlink.bring_up(west.device, 1400).await.unwrap();
        until("a packet", || {
            send(1, 100);
            west.link.counters().inbound.delivered.packets >= 1
        });
    });
}

#[test]
fn a_device_that_is_deleted_ends_the_worker_and_is_told() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (east, _west) = both_ends(&netlink).await;
        let status = std::process::Command::new("ip")
            .args(["link", "delete", "east"])
            .status();
        assert!(status.unwrap().success());
        let note = east.notes.recv_timeout(PATIENCE);
        assert!(
            matches!(
                note,
                Ok(Note::WorkerFailed {
                    direction: Direction::Outbound,
                    error: WorkerError::Tun(_)
                })
            ),
            "{note:?}"
        );
        assert!(
            east.notes.try_recv().is_err(),
            "the inbound worker waits on"
        );
    });
}

#[test]
fn a_panic_is_told() {
    let (sender, notes) = mpsc::channel();
    let notify = move |note| sender.send(note).unwrap();
    let run = |_: &Mailbox<()>| panic!("on purpose");
    let mut handle = start("test", Direction::Inbound, notify, run).unwrap();
    let note = notes.recv_timeout(PATIENCE);
    assert!(
        matches!(
            note,
            Ok(Note::WorkerFailed {
                direction: Direction::Inbound,
                error: WorkerError::Panicked
            })
        ),
        "{note:?}"
    );
    handle.send(());
    handle.stop();
}
