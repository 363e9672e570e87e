//! Devices that are down, deleted, bridged, or have several queues.

use super::*;

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
            west.inbound().dropped(LinkDrop::TunRefused) >= 1
        });
        netlink.bring_up(west.device, 1400).await.unwrap();
        until("a packet", || {
            send(1, 100);
            west.inbound().delivered.packets >= 1
        });
    });
}

/// The other tunnels go on, and so does this one with another device.
#[test]
fn a_device_that_is_deleted_is_told_and_replaced_under_the_same_sas() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let (east, west) = both_ends(&netlink).await;
        connect(&east, &west);
        until("a packet", || {
            send(1, 100);
            west.inbound().delivered.packets >= 1
        });
        let status = std::process::Command::new("ip")
            .args(["link", "delete", "east"])
            .status();
        assert!(status.unwrap().success());
        let note = east.notes.recv_timeout(PATIENCE);
        let gone = matches!(
            note,
            Ok(Note::DeviceGone {
                tunnel: TunnelId(0),
                ..
            })
        );
        assert!(gone, "{note:?}");
        let (queue, _) = sandbox::device(&netlink, "east", &["10.1.0.1/24"]).await;
        east.link.attach(TunnelId(0), &Arc::new(queue.into()));
        let before = west.inbound().delivered.packets;
        until("a packet of the new device", || {
            send(1, 100);
            west.inbound().delivered.packets > before
        });
        assert!(east.notes.try_recv().is_err(), "told once");
    });
}

/// Runs `ip`, split at spaces.
fn ip(arguments: &str) {
    let status = std::process::Command::new("ip")
        .args(arguments.split(' '))
        .status();
    assert!(status.unwrap().success(), "ip {arguments}");
}

/// A TAP device that is a port of `bridge`.
fn port(bridge: &str, name: &str) -> Queue {
    let tun = Tun::create(name, Layer::Ethernet, NonZeroUsize::MIN, Offloads::None).unwrap();
    let queue = tun.into_queues().0;
    ip(&format!("link set {name} master {bridge} up"));
    queue
}

/// IEEE 802.1Q: a frame comes out of the far bridge as it went into the near one, with its tag; with
/// NVGRE without (RFC 7637 §3.2).
#[test]
fn frames_pass_from_bridge_to_bridge_with_their_tags() {
    const BROADCAST: [u8; 12] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1];
    const TAG: [u8; 4] = [0x81, 0, 0, 100];
    const REST: [u8; 48] = [0x88; 48];
    let vsid = gre::Vsid::new(5001).unwrap();
    let flow_id = gre::FlowId::Auto;
    for (key, tag_passes) in [
        (gre::Key::Whole(7), true),
        (gre::Key::Subnet { vsid, flow_id }, false),
    ] {
        sandbox::run(async move {
            let gre = gre::Config {
                kind: gre::Passengers::Ethernet,
                key: Some(key),
                ..CONFIG.gre
            };
            for bridge in ["br-east", "br-west"] {
                ip(&format!(
                    "link add {bridge} type bridge stp_state 0 forward_delay 0"
                ));
                ip(&format!("link set {bridge} up"));
            }
            let links =
                [("east", EAST, WEST), ("west", WEST, EAST)].map(|(name, local, remote)| {
                    let port = Port {
                        config: TunnelConfig { gre, ..CONFIG },
                        queues: Some(Arc::new(port(&format!("br-{name}"), name).into())),
                        workers: NonZeroUsize::MIN,
                    };
                    let (sender, _messages) = tokio::sync::mpsc::channel(1);
                    let wire = wire(local, remote, Encapsulation::None);
                    Link::start(&[port], Threads::AsNeeded, &wire, drop::<Note>, sender).unwrap()
                });
            let [near, far] =
                ["east", "west"].map(|name| port(&format!("br-{name}"), &format!("lan-{name}")));
            let [east, west] = links;
            west.install_inbound(SaId(1), InboundSa::new(keys(), 64), true);
            east.install_outbound(SaId(1), OutboundSa::new(keys()));

            let tagged = [&BROADCAST[..], &TAG, &REST].concat();
            let expected = match tag_passes {
                true => tagged.clone(),
                false => [&BROADCAST[..], &REST].concat(),
            };
            let mut buffer = vec![0; 2048];
            until("the frame", || {
                near.write(&tagged, Offload::default()).unwrap();
                let read = far.read(&mut buffer).unwrap();
                read.is_some_and(|reading| buffer[..reading.length] == expected)
            });
        });
    }
}

/// One packet does not wait behind all that another flow has in the device.
#[test]
fn flows_come_out_of_a_device_in_turn() {
    sandbox::run(async {
        let netlink = Netlink::connect().unwrap();
        let one = NonZeroUsize::MIN;
        let tun = Tun::create("east", Layer::Ip, EIGHT, Offloads::None).unwrap();
        let device = netlink.link_by_name("east").await.unwrap().index;
        netlink.bring_up(device, 1400).await.unwrap();
        let network = "10.1.0.1/24".parse().unwrap();
        netlink.add_address(device, network).await.unwrap();
        let port = Port {
            config: CONFIG,
            workers: one,
            queues: Some(Arc::new(tun.into())),
        };
        let mut port = port::Port::new(&port, 0);

        send(500, 100);
        for _ in 0..16 {
            send(1, 50);
        }
        let mut batch = Batch::default();
        let mut of_the_many = 0;
        loop {
            batch.clear();
            port.fill(&mut batch, false).expect("more packets");
            let lengths: Vec<_> = batch.passengers().map(<[u8]>::len).collect();
            if lengths.contains(&78) {
                break;
            }
            of_the_many += lengths.iter().filter(|length| **length == 128).count();
        }
        assert!(of_the_many <= MAX_PACKETS, "{of_the_many} came before");
    });
}
