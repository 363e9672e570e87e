//! Links with real devices and sockets, two of them in one network namespace.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use secure_gre_esp::{InboundSa, Keys, OutboundSa, Spi, Suite};
use secure_gre_gre as gre;

use super::*;
use crate::dataplane::{Link, SaId};
use crate::net::netlink::Netlink;
use crate::net::outer::Via;
use crate::net::outer::{Encapsulation, NAT_TRAVERSAL_PORT};
use crate::net::sandbox;

const CONFIG: LinkConfig = LinkConfig {
    gre: gre::Config {
        key: None,
        checksum: false,
        sequence: false,
    },
    tos: gre::tos::Policy::Inherit,
    ttl: gre::ttl::Policy::Fixed(gre::ttl::Policy::DEFAULT),
    df: gre::df::Policy::Set,
    mtu: 1400,
    mss_clamp: true,
    reply_v4: None,
    reply_v6: None,
    ends: gre::keepalive::Ends::NONE,
    asks: false,
};
const EAST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const WEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PATIENCE: Duration = Duration::from_secs(10);

/// A link with a device of its own, which leads to `network`.
struct End {
    link: Link,
    device: u32,
    notes: mpsc::Receiver<Note>,
    messages: tokio::sync::mpsc::Receiver<Message>,
}

async fn end(
    netlink: &Netlink,
    name: &str,
    network: &str,
    local: Ipv4Addr,
    remote: Ipv4Addr,
) -> End {
    let (queue, device) = sandbox::device(netlink, name, &[network]).await;
    let (sender, notes) = mpsc::channel();
    let notify = move |note| sender.send(note).unwrap();
    let (message_sender, messages) = tokio::sync::mpsc::channel(1);
    let wire = wire(local, remote, Encapsulation::None);
    let link = Link::start(&CONFIG, Arc::new(queue), wire, notify, message_sender);
    End {
        link: link.unwrap(),
        device: device.index,
        notes,
        messages,
    }
}

fn wire(local: Ipv4Addr, remote: Ipv4Addr, encapsulation: Encapsulation) -> Arc<Wire> {
    let [local, remote] = [local, remote].map(|ip| SocketAddr::from((ip, NAT_TRAVERSAL_PORT)));
    let path = Path { local, remote };
    let ttl = gre::ttl::Policy::DEFAULT;
    Arc::new(Wire::new(path, Via::default(), encapsulation, ttl, true).unwrap())
}

async fn both_ends(netlink: &Netlink) -> (End, End) {
    let east = end(netlink, "east", "10.1.0.1/24", EAST, WEST).await;
    let west = end(netlink, "west", "10.2.0.1/24", WEST, EAST).await;
    (east, west)
}

fn keys() -> Keys {
    let spi = Spi::try_from(0x1001).unwrap();
    Keys::new(Suite::Aes128Gcm16, spi, true, &[7; 20]).unwrap()
}

fn connect(from: &End, to: &End) {
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

/// The SAs and their counters stay while the packets change over to UDP.
#[test]
fn packets_pass_on_another_wire() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (east, west) = both_ends(&netlink).await;
        connect(&east, &west);
        let passed = |west: &End| west.link.counters().inbound.delivered.packets;
        until("a native packet", || {
            send(1, 100);
            passed(&west) >= 1
        });
        let udp = Encapsulation::Udp { keepalives: false };
        west.link.rewire(wire(WEST, EAST, udp));
        east.link.rewire(wire(EAST, WEST, udp));
        let before = passed(&west);
        until("a packet in UDP", || {
            send(1, 100);
            passed(&west) > before + 1
        });
    });
}

/// RFC 3948 §2.2, §2.3: IKE messages are handed on while there is room, the rest is counted.
#[test]
fn what_is_not_esp_on_a_wire_in_udp() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let mut west = end(&netlink, "west", "10.2.0.1/24", WEST, EAST).await;
        let udp = Encapsulation::Udp { keepalives: false };
        west.link.rewire(wire(WEST, EAST, udp));
        let peer = UdpSocket::bind((EAST, NAT_TRAVERSAL_PORT)).unwrap();
        for datagram in [&b"\0\0\0\0first"[..], b"\0\0\0\0second", b"\xff", b"\0\0"] {
            peer.send_to(datagram, (WEST, NAT_TRAVERSAL_PORT)).unwrap();
        }
        until("all of them", || west.link.counters().inbound.received == 4);
        let counted = west.link.stop().inbound;
        assert!(counted.is_conserved());
        assert_eq!(counted.consumed, 2, "the first message, and the keepalive");
        assert_eq!(counted.dropped(LinkDrop::IkeBacklog), 1);
        assert_eq!(counted.dropped(LinkDrop::WireMalformed), 1);
        let message = west.messages.try_recv().unwrap();
        assert_eq!(&*message.bytes, b"first");
        assert_eq!(message.path.remote, peer.local_addr().unwrap());
    });
}

/// RFC 3948 §4: only where nothing else was sent for so long.
#[test]
fn keepalives_are_due_when_idle() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (queue, _) = sandbox::device(&netlink, "east", &[]).await;
        let mut worker = OutboundWorker {
            path: Outbound::new(&CONFIG, drop::<Note>),
            source: Source::new(LINK_HEADER),
            batch: Batch::default(),
            path_mtu: None,
            last_sent: Instant::now(),
            queue: Arc::new(queue),
            wire: wire(EAST, WEST, Encapsulation::Udp { keepalives: false }),
        };
        assert_eq!(
            worker.until_keepalive(),
            None,
            "nobody's mapping is at stake"
        );
        worker.wire = wire(EAST, WEST, Encapsulation::Udp { keepalives: true });
        assert_eq!(worker.until_keepalive(), None, "no SA");
        worker.path.obey(outbound::Command::Install {
            id: SaId(1),
            sa: Box::new(OutboundSa::new(keys())),
        });
        let wait = worker.until_keepalive().unwrap();
        assert!(wait > Duration::from_secs(15), "{wait:?}");

        let peer = UdpSocket::bind((WEST, NAT_TRAVERSAL_PORT)).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        worker.last_sent = Instant::now().checked_sub(Duration::from_secs(20)).unwrap();
        worker.keep_alive().unwrap();
        let mut buffer = [0; 8];
        assert_eq!(peer.recv(&mut buffer).unwrap(), 1);
        assert_eq!(buffer[0], 0xff);
        let wait = worker.until_keepalive().unwrap();
        assert!(wait > Duration::from_secs(15), "{wait:?}");
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
