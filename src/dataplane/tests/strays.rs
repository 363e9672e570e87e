//! ESP packets that come by no wire (`dataplane::stray`).

use super::*;

/// SECURITY (NAT rebinding), D49, RFC 7296 §2.23: what comes from elsewhere is opened like anything
/// else, and only what is newer than all before it shows where the peer is.
#[test]
fn what_comes_by_no_wire_is_delivered_and_shows_where_the_peer_is_if_it_is_new() {
    let (mut sender, mut receiver) = pair(&CONFIG);
    let passengers = numbered(4);
    let packets = sender.send(&passengers);
    let stray = |packet: &Packet| {
        let [local, remote] = ["192.0.2.2:4500", "198.51.100.1:7"].map(|at| at.parse().unwrap());
        inbound::Command::Open(Stray {
            path: Path { local, remote },
            esp: packet.0.as_slice().into(),
        })
    };
    let open = |receiver: &mut Receiver, packet: &Packet| {
        receiver.path.obey(stray(packet));
        assert!(receiver.path.has_due());
        let delivered = receiver.receive(Vec::new());
        let told = receiver.notes.borrow_mut().drain(..).collect::<Vec<_>>();
        (delivered, told.len())
    };
    let mut forged = packets[3].clone();
    *forged.0.last_mut().unwrap() ^= 1;
    assert_eq!(open(&mut receiver, &forged), (vec![], 0));
    assert_eq!(receiver.dropped(esp::Drop::Icv), 1);
    let first = (vec![passengers[1].clone()], 2);
    assert_eq!(
        open(&mut receiver, &packets[1]),
        first,
        "and its SA's first"
    );
    assert_eq!(open(&mut receiver, &packets[1]), (vec![], 0));
    assert_eq!(receiver.dropped(esp::Drop::ReplayDuplicate), 1);
    let older = (vec![passengers[0].clone()], 0);
    assert_eq!(open(&mut receiver, &packets[0]), older, "too late to tell");
    let newer = (vec![passengers[3].clone()], 1);
    assert_eq!(open(&mut receiver, &packets[3]), newer);
    assert_eq!(
        receiver.receive(vec![packets[2].clone()]),
        passengers[2..3],
        "what was in flight on the wire"
    );
}

/// Who knows an SPI cannot make us check more ICVs than that.
#[test]
fn a_flood_of_strays_is_dropped() {
    let (mut sender, mut receiver) = pair(&CONFIG);
    let packets = sender.send(&numbered(1));
    for _ in 0..10_000 {
        let [local, remote] = ["192.0.2.2:4500", "198.51.100.1:7"].map(|at| at.parse().unwrap());
        receiver.path.obey(inbound::Command::Open(Stray {
            path: Path { local, remote },
            esp: packets[0].0.as_slice().into(),
        }));
    }
    receiver.receive(Vec::new());
    assert!(receiver.dropped(LinkDrop::StrayFlood) > 0);
    assert_eq!(receiver.path.arrivals().received, 10_000);
}
