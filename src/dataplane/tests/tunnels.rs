//! Whose packet it is: several tunnels under one SA pair, and keys that none of them has.

use super::*;

/// D54
#[test]
fn packets_with_a_key_that_no_tunnel_has_are_counted_under_it() {
    let with_key = |key: Option<u32>| TunnelConfig {
        gre: gre::Config {
            key: key.map(gre::Key::Whole),
            ..CONFIG.gre
        },
        ..CONFIG
    };
    let (_, mut receiver) = pair(&with_key(Some(0)));
    let keys = [Some(1001), None, Some(1001), Some(0)];
    for (sent, key) in keys.into_iter().enumerate() {
        let (mut sender, _) = pair(&with_key(key));
        // The numbers of one SA.
        sender.send(&numbered(sent));
        receiver.receive(sender.send(&[udp4(0, DF, 40)]));
    }
    let counts = receiver.path.arrivals().strange_keys;
    let counts: Vec<_> = counts.iter().map(|c| (c.key, c.packets)).collect();
    assert_eq!(counts, [(Some(1001), 2), (None, 1)]);
    assert_eq!(receiver.dropped(gre::Drop::KeyUnknown), 2);
    assert_eq!(receiver.dropped(gre::Drop::KeyMissing), 1);
    assert_eq!(receiver.tally().delivered.packets, 1);
}

/// RFC 2890 §2.1: under one SA pair each key has its device, and its own of everything else.
#[test]
fn tunnels_share_the_sas_and_nothing_else() {
    let configs = [Some(1001), None, Some(0)].map(|key| TunnelConfig {
        gre: gre::Config {
            key: key.map(gre::Key::Whole),
            sequence: true,
            ..CONFIG.gre
        },
        mtu: if key == Some(0) { 1280 } else { 1400 },
        ttl: gre::ttl::Policy::Fixed(NonZeroU8::new(if key.is_some() { 7 } else { 64 }).unwrap()),
        ..CONFIG
    });
    let (_, notify) = notes();
    let mut sender = Outbound::new(&configs, notify);
    let (mut receiver, passenger) = (Inbound::new(&configs, |_| {}), udp4(0, DF, 1300));
    sender.obey(outbound::Command::Install(Arc::new(
        outbound::SharedSa::new(SaId(1), OutboundSa::new(keys(1))),
    )));
    receiver.obey(inbound::Command::Install {
        id: SaId(1),
        sa: Box::new(InboundSa::new(keys(1), 64)),
        fresh: true,
    });
    let mut batch = Batch::default();
    let mut delivered = Vec::new();
    for tunnel in [0, 1, 2, 1, 0].map(TunnelId) {
        batch.clear();
        let place = batch.push(passenger.len()).unwrap();
        place.copy_from_slice(&passenger);
        sender.seal(tunnel, &mut batch, Instant::now(), |_| {});
        let mut packets: Vec<_> = batch
            .packets()
            .map(|out| (out.esp.to_vec(), out.ttl))
            .collect();
        let ttl = if tunnel == TunnelId(1) { 64 } else { 7 };
        assert!(packets.iter().all(|(_, t)| t.unwrap().get() == ttl));
        let arrivals = packets.iter_mut().map(|(esp, _)| Arrival { esp, tos: 0 });
        receiver.open(arrivals, |tunnel, passenger| {
            delivered.push((tunnel, passenger.to_vec()));
        });
    }
    let expected = [0, 1, 1, 0].map(|tunnel| (TunnelId(tunnel), passenger.clone()));
    assert_eq!(delivered, expected, "the numbers of each are in sequence");
    let too_big = |path: &mut Outbound<Notify>, tunnel| {
        let tally = path.tally(TunnelId(tunnel)).unwrap();
        tally.dropped(LinkDrop::TooBig)
    };
    assert_eq!(
        [0, 1, 2].map(|tunnel| too_big(&mut sender, tunnel)),
        [0, 0, 1]
    );
    let mut touched: Vec<_> = std::iter::from_fn(|| receiver.next_touched()).collect();
    touched.sort_unstable();
    assert_eq!(touched, [0, 1].map(TunnelId));
    assert_eq!(receiver.tally(TunnelId(0)).unwrap().received, 2);
}
