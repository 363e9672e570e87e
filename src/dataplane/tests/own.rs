//! Packets of our own: keepalives, echo requests and probes.

use secure_gre_gre::probe::echo::Echo;
use secure_gre_gre::probe::{Kind, Probe};

use super::*;

/// D60: asked by one end and answered by the other, inside the SA; nothing of it reaches a device.
#[test]
fn keepalives_are_asked_and_answered_and_are_no_passengers() {
    let [us, peer] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
    let config = |asks| TunnelConfig {
        gre: gre::Config {
            key: Some(gre::Key::Whole(7)),
            ..CONFIG.gre
        },
        ends: gre::keepalive::Ends {
            ours: vec![peer],
            theirs: vec![us],
        },
        asks,
        ..CONFIG
    };
    let (mut asking, mut asked) = pair(&config(false));
    let request = gre::keepalive::request(us, peer, Some(7)).unwrap();
    let packets = asking.send_own(Own::Passenger(request));
    assert_eq!(asked.receive(packets), [[0; 0]; 0]);
    assert_eq!(asked.tally().consumed, 1);
    let told = asked.notes.borrow().last().cloned().unwrap();
    assert!(told.starts_with("KeepaliveRequest"), "{told}");

    let gre::keepalive::Kind::Request(answer) =
        config(false).ends.classify(request.octets()).unwrap()
    else {
        panic!("no request");
    };
    for (asks, consumed, unasked) in [(true, 1, 0), (false, 0, 1)] {
        let (mut answering, mut asker) = pair(&config(asks));
        let packets = answering.send_own(Own::Gre(answer));
        assert_eq!(asker.receive(packets), [[0; 0]; 0]);
        assert_eq!(asker.tally().consumed, consumed);
        assert_eq!(asker.dropped(gre::Drop::KeepaliveUnasked), unasked);
    }
}

/// A peer that floods us with keepalives floods neither the daemon nor itself.
#[test]
fn a_flood_of_keepalives_is_dropped() {
    let (mut sender, mut receiver) = pair(&CONFIG);
    let [us, peer] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
    let request = gre::keepalive::request(us, peer, None).unwrap();
    for _ in 0..200 {
        let packets = sender.send_own(Own::Passenger(request));
        receiver.receive(packets);
    }
    let told = receiver.tally().consumed;
    assert!(told >= 20, "{told}");
    assert_eq!(receiver.dropped(gre::Drop::KeepaliveFlood), 200 - told);
    assert_eq!(
        receiver.notes.borrow().len() as u64,
        1 + told,
        "and the first packet"
    );
}

/// Without an SA nothing leaves, not even what is ours.
#[test]
fn nothing_of_our_own_leaves_in_clear() {
    let mut sender = Sender::new(&CONFIG);
    let [us, peer] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
    let request = gre::keepalive::request(us, peer, None).unwrap();
    assert_eq!(sender.send_own(Own::Gre(request)), []);
    assert_eq!(sender.dropped(LinkDrop::NoSa), 1);
}

/// RFC 4303 §2.6: a probe is a dummy; whoever does not know it sees none, and the daemon is told.
#[test]
fn probes_are_dummies_and_no_passengers() {
    let (mut asking, mut asked) = pair(&CONFIG);
    let probe = Probe {
        kind: Kind::Request,
        size: 1404,
        sequence: 7,
    };
    let packets = asking.send_own(Own::Probe(probe));
    assert!(packets[0].0.len() > 1404);
    assert_eq!(asked.receive(packets), [[0; 0]; 0]);
    assert_eq!(asked.path.arrivals().consumed, 1);
    let told = asked.notes.borrow().last().cloned().unwrap();
    assert_eq!(told, format!("Probe({probe:?})"));
}

/// As many as a peer in its right mind sends are told, and no more.
#[test]
fn a_flood_of_probes_is_swallowed() {
    let (mut sender, mut receiver) = pair(&CONFIG);
    let probe = Probe {
        kind: Kind::Request,
        size: 12,
        sequence: 7,
    };
    for _ in 0..2000 {
        let packets = sender.send_own(Own::Probe(probe));
        receiver.receive(packets);
    }
    assert_eq!(receiver.path.arrivals().consumed, 2000);
    let told = receiver.notes.borrow().len();
    assert!((200..2000).contains(&told), "{told}");
}

/// An echo request leaves as a passenger of its size; the answer to one of ours goes to the daemon, and
/// anybody else's to the device.
#[test]
fn answers_to_our_echo_requests_are_no_passengers() {
    let [us, peer] = ["10.255.0.1", "10.255.0.2"].map(|address| address.parse().unwrap());
    let ours = Echo::new(us, peer, 0x1234).unwrap();
    let config = TunnelConfig {
        echo: Some(ours),
        ..CONFIG
    };
    let (mut asking, mut asked) = pair(&CONFIG);
    let packets = asking.send_own(Own::Echo {
        echo: ours,
        sequence: 3,
        size: 1300,
    });
    let request = asked.receive(packets).pop().unwrap();
    assert_eq!(request.len(), 1300);

    let mut answer = request;
    answer[12..20].rotate_left(4);
    // Types 8 and 0 differ in one octet of the header alone.
    answer[20] = 0;
    let (mut answering, mut asker) = pair(&config);
    let packets = answering.send(std::slice::from_ref(&answer));
    assert_eq!(asker.receive(packets), [[0; 0]; 0]);
    let told = asker.notes.borrow().last().cloned().unwrap();
    assert_eq!(told, "EchoAnswer { sequence: 3, size: 1300 }");

    let (mut answering, mut host) = pair(&CONFIG);
    let packets = answering.send(std::slice::from_ref(&answer));
    assert_eq!(host.receive(packets), [answer]);
}
