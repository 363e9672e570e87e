//! Links with real devices and sockets, two of them in one network namespace.

mod devices;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use secure_gre_esp as esp;
use secure_gre_esp::{InboundSa, Keys, OutboundSa, Spi, Suite};
use secure_gre_gre as gre;

use super::outbound::OutboundWorker;
use super::*;
use crate::dataplane::batch::{Batch, MAX_PACKETS};
use crate::dataplane::counters::SharedCounters;
use crate::dataplane::outbound::{Command, SharedSa};
use crate::dataplane::{Link, Message, SaId, TunnelConfig, TunnelCounters};
use crate::metrics::{LinkDrop, Tally};
use crate::net::netlink::Netlink;
use crate::net::outer::{Encapsulation, NAT_TRAVERSAL_PORT, Path, Via};
use crate::net::sandbox;
use crate::net::tun::{Layer, Offload, Offloads, Queue, Tun};

const CONFIG: TunnelConfig = TunnelConfig {
    gre: gre::Config {
        kind: gre::Passengers::Ip,
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
    limit: None,
    echo: None,
};
const EAST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const WEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const EIGHT: NonZeroUsize = NonZeroUsize::new(8).unwrap();
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
    threads: Threads,
    name: &str,
    network: &str,
    path: [Ipv4Addr; 2],
) -> End {
    let (queue, device) = sandbox::device(netlink, name, &[network]).await;
    let (sender, notes) = mpsc::channel();
    let notify = move |note| sender.send(note).unwrap();
    let (message_sender, messages) = tokio::sync::mpsc::channel(1);
    let wire = wire(path[0], path[1], Encapsulation::None);
    let port = Port {
        config: CONFIG,
        workers: NonZeroUsize::MIN,
        queues: Some(Arc::new(queue.into())),
    };
    let link = Link::start(&[port], threads, &wire, notify, message_sender);
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

/// As [`end`], with as many workers, each of which has eight queues.
async fn end_with(
    workers: NonZeroUsize,
    netlink: &Netlink,
    network: &str,
    path: [Ipv4Addr; 2],
) -> (Link, mpsc::Receiver<Note>) {
    let queues = workers.saturating_mul(EIGHT);
    let tun = Tun::create("sgre%d", Layer::Ip, queues, Offloads::None).unwrap();
    let device = netlink.link_by_name(tun.name()).await.unwrap().index;
    netlink.bring_up(device, 1400).await.unwrap();
    let network = network.parse().unwrap();
    netlink.add_address(device, network).await.unwrap();
    let port = Port {
        config: CONFIG,
        workers,
        queues: Some(Arc::new(tun.into())),
    };
    let (sender, notes) = mpsc::channel();
    let notify = move |note| sender.send(note).unwrap();
    let wire = wire(path[0], path[1], Encapsulation::None);
    let messages = tokio::sync::mpsc::channel(1).0;
    (
        Link::start(&[port], Threads::AsNeeded, &wire, notify, messages).unwrap(),
        notes,
    )
}

/// Many flows over several queues, all on one SA: each packet gets through, so that no sequence number
/// was used twice, or the peer's window would have refused it (D45).
#[test]
fn several_workers_share_an_sa() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let three = NonZeroUsize::new(3).unwrap();
        let (east, _notes) = end_with(three, &netlink, "10.1.0.1/24", [EAST, WEST]).await;
        let (west, _others) = end_with(three, &netlink, "10.2.0.1/24", [WEST, EAST]).await;
        west.install_inbound(SaId(1), InboundSa::new(keys(), 4096), true);
        east.install_outbound(SaId(1), OutboundSa::new(keys()));
        let flows: Vec<_> = (0..24)
            .map(|_| UdpSocket::bind("10.1.0.1:0").unwrap())
            .collect();
        for _ in 0..8 {
            for flow in &flows {
                flow.send_to(&[0; 100], "10.1.0.2:9").unwrap();
            }
            thread::sleep(Duration::from_millis(5));
        }
        until("all packets", || {
            west.counters().tunnels[0].inbound.delivered.packets >= 24 * 8
        });
        let (sent, came) = (east.stop(), west.stop());
        assert!(sent.sent() >= 24 * 8);
        assert_eq!(came.arrivals.dropped(esp::Drop::ReplayDuplicate), 0);
    });
}

/// One with as many threads as it needs, the other with one.
async fn both_ends(netlink: &Netlink) -> (End, End) {
    let east = end(
        netlink,
        Threads::AsNeeded,
        "east",
        "10.1.0.1/24",
        [EAST, WEST],
    )
    .await;
    let west = end(netlink, Threads::One, "west", "10.2.0.1/24", [WEST, EAST]).await;
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

impl End {
    fn outbound(&self) -> Tally {
        self.link.counters().tunnels.remove(0).outbound
    }

    fn inbound(&self) -> Tally {
        self.link.counters().tunnels.remove(0).inbound
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
            east.outbound().dropped(LinkDrop::NoSa) >= 3
        });
        connect(&east, &west);
        until("a packet", || {
            send(1, 100);
            west.inbound().delivered.packets >= 1
        });
        let note = west.notes.recv_timeout(PATIENCE);
        assert!(
            matches!(note, Ok(Note::FirstInbound { sa: SaId(1) })),
            "{note:?}"
        );

        let before = west.inbound().delivered.packets;
        send(200, 100);
        until("a burst", || {
            west.inbound().delivered.packets >= before + 200
        });
        let sent = east.link.stop().tunnels.remove(0).outbound;
        until("the last packet", || {
            west.inbound().delivered == sent.delivered
        });
        let mut came = west.link.stop();
        assert!(sent.is_conserved() && came.arrivals.is_conserved());
        assert!(came.tunnels.remove(0).inbound.is_conserved());
    });
}

#[test]
fn packets_beyond_the_link_are_counted() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (east, west) = both_ends(&netlink).await;
        connect(&east, &west);
        let loopback = netlink.link_by_name("lo").await.unwrap();
        netlink.set_mtu(loopback.index, 1000).await.unwrap();
        send(2, 1200);
        until("the drops", || {
            east.outbound().dropped(LinkDrop::WireTooBig) == 2
        });
    });
}

/// The SAs and their counters stay while the packets change over to UDP.
#[test]
fn packets_pass_on_another_wire() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (east, west) = both_ends(&netlink).await;
        connect(&east, &west);
        let passed = |west: &End| west.inbound().delivered.packets;
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
        let mut west = end(&netlink, Threads::One, "west", "10.2.0.1/24", [WEST, EAST]).await;
        let udp = Encapsulation::Udp { keepalives: false };
        west.link.rewire(wire(WEST, EAST, udp));
        let peer = UdpSocket::bind((EAST, NAT_TRAVERSAL_PORT)).unwrap();
        for datagram in [&b"\0\0\0\0first"[..], b"\0\0\0\0second", b"\xff", b"\0\0"] {
            peer.send_to(datagram, (WEST, NAT_TRAVERSAL_PORT)).unwrap();
        }
        until("all of them", || {
            west.link.counters().arrivals.received == 4
        });
        let counted = west.link.stop().arrivals;
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
        let port = Port {
            config: CONFIG,
            queues: None,
            workers: NonZeroUsize::MIN,
        };
        let (_daemon, orders) = Handle::new().unwrap();
        let mut worker = OutboundWorker::new(
            0,
            &[port],
            wire(EAST, WEST, Encapsulation::Udp { keepalives: false }),
            Arc::new(SharedCounters::new(1)),
            drop::<Note>,
            orders,
        );
        assert_eq!(
            worker.until_keepalive(),
            None,
            "nobody's mapping is at stake"
        );
        worker.wire = wire(EAST, WEST, Encapsulation::Udp { keepalives: true });
        assert_eq!(worker.until_keepalive(), None, "no SA");
        worker.path.obey(Command::Install(Arc::new(SharedSa::new(
            SaId(1),
            OutboundSa::new(keys()),
        ))));
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

/// Each device is read, and what comes goes to the device of its key.
#[test]
fn tunnels_under_one_sa_pair_are_told_apart_by_key() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let mut ends = Vec::new();
        for (name, local, remote) in [("east", EAST, WEST), ("west", WEST, EAST)] {
            let mut ports = Vec::new();
            for key in [0, 1001, 7] {
                let address = format!("10.{key}.0.1/24").replace("1001", "100");
                let address = if name == "east" {
                    vec![address.as_str()]
                } else {
                    vec![]
                };
                let device = format!("{name}{key}");
                let (queue, _) = sandbox::device(&netlink, &device, &address).await;
                let gre = gre::Config {
                    key: Some(gre::Key::Whole(key)),
                    ..CONFIG.gre
                };
                ports.push(Port {
                    config: TunnelConfig { gre, ..CONFIG },
                    workers: NonZeroUsize::MIN,
                    queues: Some(Arc::new(queue.into())),
                });
            }
            let (sender, _messages) = tokio::sync::mpsc::channel(1);
            let wire = wire(local, remote, Encapsulation::None);
            ends.push(Link::start(&ports, Threads::One, &wire, drop::<Note>, sender).unwrap());
        }
        let [east, west] = &ends[..] else {
            panic!("two ends")
        };
        west.install_inbound(SaId(1), InboundSa::new(keys(), 64), true);
        east.install_outbound(SaId(1), OutboundSa::new(keys()));
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let counted = |link: &Link, of: fn(&TunnelCounters) -> &Tally| {
            let counters = link.counters().tunnels;
            let tallies = counters.iter().map(|tunnel| of(tunnel).delivered);
            tallies.collect::<Vec<_>>()
        };
        // Each device has as many packets as the other end's of its key, whatever the kernel itself says
        // on a new one.
        for (place, network) in [(1, 100), (0, 0), (2, 7), (1, 100)] {
            let before = counted(west, |tunnel| &tunnel.inbound);
            until("a packet", || {
                let to = (Ipv4Addr::new(10, network, 0, 2), 9);
                socket.send_to(&[0; 1000], to).unwrap();
                let now = counted(west, |tunnel| &tunnel.inbound);
                now[place].bytes >= before[place].bytes + 1028
            });
        }
        until("what was sent, where it was to go", || {
            let sent = counted(east, |tunnel| &tunnel.outbound);
            sent == counted(west, |tunnel| &tunnel.inbound)
        });
    });
}

#[test]
fn a_panic_is_told() {
    let (sender, notes) = mpsc::channel();
    let notify = move |note| sender.send(note).unwrap();
    let mut shift = shift(relief::PROMPT).unwrap();
    shift.take(Box::new(Clumsy)).unwrap();
    let body = move || serve(shift, None);
    let thread = start("test", Direction::Inbound, notify, body).unwrap();
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
    thread.join().unwrap();
}

/// Panics at its first turn.
struct Clumsy;

impl Duty for Clumsy {
    fn enroll(&mut self, _: &Poller) -> io::Result<()> {
        Ok(())
    }

    fn withdraw(&mut self, _: &Poller) {}

    fn tell(&mut self, _: u64) {}

    fn until_due(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    fn take_turn(&mut self, _: &Poller, _: Pace) -> Result<ControlFlow<(), usize>, WorkerError> {
        panic!("on purpose")
    }
}
