//! SAs that come and go: which one carries, what comes before its SA, what follows from a used up one.

use super::*;

#[test]
fn without_an_sa_nothing_leaves() {
    let mut sender = Sender::new(&CONFIG);
    let passengers = vec![udp4(0, DF, 100), udp4(0, DF, 1500), vec![0]];
    assert_eq!(sender.send(&passengers), []);
    assert_eq!(sender.dropped(LinkDrop::NoSa), 3);
    assert_eq!(sender.replies.len(), 0);

    install_outbound(&mut sender, 1);
    assert_eq!(sender.send(&passengers).len(), 1);
    sender.path.obey(outbound::Command::Remove(SaId(1)));
    assert_eq!(sender.send(&passengers), []);
    assert_eq!(sender.dropped(LinkDrop::NoSa), 6);
}

/// RFC 7296 §2.8
#[test]
fn the_newest_outbound_sa_carries_and_the_older_one_after_it() {
    let spi = |packets: &[Packet]| esp::peek_spi(&packets[0].0).map(u32::from);
    let mut sender = Sender::new(&CONFIG);
    install_outbound(&mut sender, 1);
    install_outbound(&mut sender, 2);
    assert_eq!(spi(&sender.send(&numbered(1))), Some(0x1002));
    sender.path.obey(outbound::Command::Remove(SaId(2)));
    assert_eq!(spi(&sender.send(&numbered(1))), Some(0x1001));
}

#[test]
fn packets_of_both_sas_arrive_during_a_rekey_each_once() {
    let (mut sender, mut receiver) = pair(&with_sequence());
    let old = sender.send(&numbered(2));
    install_inbound(&mut receiver, 2, false);
    install_outbound(&mut sender, 2);
    let new = sender.send(&numbered(2));

    assert_eq!(
        receiver.receive(vec![old[0].clone(), old[1].clone()]).len(),
        2
    );
    assert_eq!(
        receiver.receive(new.clone()).len(),
        2,
        "the GRE sequence goes on"
    );
    assert_eq!(receiver.receive([old.clone(), new].concat()), [[0; 0]; 0]);
    assert_eq!(receiver.dropped(esp::Drop::ReplayDuplicate), 4);
    receiver.path.obey(inbound::Command::Remove(SaId(1)));
    assert_eq!(receiver.receive(old), [[0; 0]; 0]);
    assert_eq!(receiver.dropped(esp::Drop::UnknownSpi), 2);
}

/// libreswan answers a rekey after it has sent its first packets on the new SA.
#[test]
fn packets_that_overtake_their_sa_are_held_for_it() {
    let (mut sender, mut receiver) = pair(&CONFIG);
    install_outbound(&mut sender, 2);
    let passengers = numbered(4);
    let mut packets = sender.send(&passengers);
    let spi = Spi::try_from(0x1002).unwrap();

    let early = packets.remove(0);
    assert_eq!(receiver.receive(vec![early]), [[0; 0]; 0]);
    assert_eq!(receiver.dropped(esp::Drop::UnknownSpi), 1, "not offered");

    receiver.path.obey(inbound::Command::Expect(spi));
    assert_eq!(receiver.receive(packets.drain(..2).collect()), [[0; 0]; 0]);
    assert_eq!(receiver.path.arrivals().received, 1, "their fate is open");
    assert!(!receiver.path.has_due());
    install_inbound(&mut receiver, 2, false);
    assert!(receiver.path.has_due());
    assert_eq!(receiver.receive(packets), passengers[1..], "in their order");
    assert!(!receiver.path.has_due());
    assert_eq!(receiver.path.arrivals().authentic, 3);
    assert_eq!(*receiver.notes.borrow(), ["FirstInbound { sa: SaId(2) }"]);
}

#[test]
fn packets_for_an_sa_that_does_not_come_are_counted() {
    let (mut sender, mut receiver) = pair(&CONFIG);
    install_outbound(&mut sender, 2);
    let packets = sender.send(&numbered(4));
    let spi = Spi::try_from(0x1002).unwrap();
    receiver.path.obey(inbound::Command::Expect(spi));
    assert_eq!(receiver.receive(packets.clone()), [[0; 0]; 0]);
    receiver.path.obey(inbound::Command::ExpectNoMore(spi));
    assert_eq!(receiver.dropped(LinkDrop::HeldInVain), 4);
    assert_eq!(receiver.receive(packets), [[0; 0]; 0]);
    assert_eq!(receiver.dropped(esp::Drop::UnknownSpi), 4);
}

/// D55, RFC 2890 §2.2
#[test]
fn a_peer_that_starts_anew_may_count_gre_sequence_numbers_from_0() {
    for fresh in [true, false] {
        let (mut sender, mut receiver) = pair(&with_sequence());
        let packets = sender.send(&numbered(9));
        assert_eq!(receiver.receive(packets).len(), 9);
        let late = sender.send(&numbered(1));

        let mut restarted = Sender::new(&with_sequence());
        install_outbound(&mut restarted, 2);
        install_inbound(&mut receiver, 2, fresh);
        assert_eq!(receiver.receive(late).len(), 1);
        let packets = restarted.send(&numbered(3));
        let expected = if fresh { 3 } else { 0 };
        assert_eq!(receiver.receive(packets).len(), expected);
        assert_eq!(
            receiver.dropped(gre::Drop::SequenceOld),
            3 - expected as u64
        );
    }
}

/// D45, RFC 4303 §3.3.3
#[test]
fn an_exhausted_sa_sends_nothing_more_and_says_so_once() {
    let mut sender = Sender::new(&CONFIG);
    let sa = OutboundSa::new(keys(1));
    drop(sa.reserve(u32::MAX - 2, 0).unwrap());
    sender.path.obey(outbound::Command::Install(Arc::new(
        outbound::SharedSa::new(SaId(1), sa),
    )));
    assert_eq!(sender.send(&numbered(5)).len(), 2);
    assert_eq!(sender.send(&numbered(5)), []);
    assert_eq!(sender.dropped(LinkDrop::Exhausted), 8);
    assert_eq!(
        *sender.notes.borrow(),
        ["SoftLimit { sa: SaId(1) }", "Exhausted { sa: SaId(1) }"]
    );
}

/// D42: limits of octets, which GRE packets of 44 octets reach in the middle of a batch.
#[test]
fn nothing_is_sealed_beyond_a_limit() {
    let mut sender = Sender::new(&CONFIG);
    let limits = esp::Limits {
        bytes: Some(10 * 44),
        soft_per_mille: 700,
        ..esp::Limits::default()
    };
    sender.path.obey(outbound::Command::Install(Arc::new(
        outbound::SharedSa::new(SaId(1), OutboundSa::with_limits(keys(1), limits)),
    )));
    let passengers = vec![udp4(0, DF, 40); 7];
    assert_eq!(sender.send(&passengers).len(), 7);
    assert_eq!(*sender.notes.borrow(), [""; 0]);
    assert_eq!(sender.send(&passengers).len(), 3);
    assert_eq!(sender.dropped(LinkDrop::Exhausted), 4);
    assert_eq!(
        *sender.notes.borrow(),
        ["SoftLimit { sa: SaId(1) }", "Exhausted { sa: SaId(1) }"]
    );
}
