use hex_literal::hex;
use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Us at 192.0.2.1, the peer at 192.0.2.2; inside, .1 and .2 of 10.255.0.0/30.
fn ends() -> Ends {
    Ends {
        ours: [ip("192.0.2.1"), ip("10.255.0.1"), ip("2001:db8::1")].to_vec(),
        theirs: [ip("192.0.2.2"), ip("10.255.0.2"), ip("2001:db8::2")].to_vec(),
    }
}

/// D60: from the receiver to the sender, TTL 255, protocol 0.
#[test]
fn the_wire_form_of_a_request() {
    let plain = request(ip("192.0.2.1"), ip("192.0.2.2"), None).unwrap();
    assert_eq!(
        plain.octets(),
        hex!("45c00018 00000000 ff2f36f3 c0000202 c0000201 00000000")
    );
    let keyed = request(ip("192.0.2.1"), ip("192.0.2.2"), Some(0)).unwrap();
    assert_eq!(
        keyed.octets(),
        hex!("45c0001c 00000000 ff2f36ef c0000202 c0000201 20000000 00000000")
    );
    let v6 = request(ip("2001:db8::1"), ip("2001:db8::2"), None).unwrap();
    assert_eq!(
        v6.octets(),
        hex!(
            "6c000000 00042fff 20010db8000000000000000000000002 20010db8000000000000000000000001
             00000000"
        )
    );
    assert_eq!(request(ip("192.0.2.1"), ip("2001:db8::2"), None), None);
}

/// D60, PAINS 14: each is what the sender at the first address writes for an answer from the second.
#[test]
fn who_is_answered_and_who_is_not() {
    let kind = |sender: &str, receiver: &str| {
        let packet = request(ip(sender), ip(receiver), Some(7)).unwrap();
        ends().classify(packet.octets())
    };
    let answer = Packet::of(&[&hex!("20000000 00000007")]).unwrap();
    for (what, sender, receiver, expected) in [
        ("Cisco", "192.0.2.2", "192.0.2.1", Ok(Kind::Request(answer))),
        (
            "over IPv6",
            "2001:db8::2",
            "2001:db8::1",
            Ok(Kind::Request(answer)),
        ),
        (
            "inner addresses",
            "10.255.0.2",
            "10.255.0.1",
            Ok(Kind::Request(answer)),
        ),
        (
            "the peer behind a NAT",
            "192.168.5.15",
            "192.0.2.1",
            Ok(Kind::Request(answer)),
        ),
        (
            "we behind a NAT",
            "192.0.2.2",
            "203.0.113.9",
            Ok(Kind::Request(answer)),
        ),
        (
            "both behind NATs",
            "100.64.0.7",
            "203.0.113.9",
            Ok(Kind::Request(answer)),
        ),
        (
            "our own come back",
            "192.0.2.1",
            "192.0.2.2",
            Ok(Kind::Answer),
        ),
        (
            "a third party",
            "198.51.100.7",
            "203.0.113.9",
            Err(Drop::KeepaliveStray),
        ),
    ] {
        assert_eq!(kind(sender, receiver), expected, "{what}");
    }
}

#[test]
fn what_is_no_keepalive_is_a_passenger() {
    let keepalive = request(ip("192.0.2.2"), ip("192.0.2.1"), None).unwrap();
    let with = |change: fn(&mut [u8])| {
        let mut packet = keepalive.octets().to_vec();
        change(&mut packet);
        ends().classify(&packet)
    };
    for (what, change) in [
        ("a tunnel in the tunnel", (|p| p[22] = 8) as fn(&mut [u8])),
        ("PPTP", |p| p[21] = 1),
        ("UDP", |p| p[9] = 17),
        ("a later fragment", |p| p[7] = 1),
        ("no IP", |p| p[0] = 0),
        ("a header without its payload", |p| p[3] = 20),
    ] {
        assert_eq!(with(change), Ok(Kind::Passenger), "{what}");
    }
    let mut long = [keepalive.octets(), &[0; 200]].concat();
    long[3] = 224;
    assert_eq!(ends().classify(&long), Err(Drop::KeepaliveStray));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
fn silence_is_death_and_any_answer_is_life() {
    let every = Duration::from_secs(10);
    let start = Instant::now();
    let mut prober = Prober::new(Interval { every, tries: 3 }, start);
    assert_eq!(prober.poll(start), Due::Ask);
    assert_eq!(prober.poll(start), Due::Nothing);
    assert!(!prober.answered());
    // The third unanswered request has its ten seconds too.
    for (seconds, due) in [
        (10, Due::Ask),
        (20, Due::Ask),
        (30, Due::Ask),
        (40, Due::Dead),
    ] {
        assert_eq!(
            prober.poll(start + Duration::from_secs(seconds)),
            due,
            "{seconds} s"
        );
    }
    assert!(!prober.is_alive());
    // Asking goes on for as long as it takes, and says it once.
    for tick in 5..500 {
        assert_eq!(prober.poll(start + every * tick), Due::Ask);
    }
    assert!(prober.answered());
    assert!(prober.is_alive());
    assert!(!prober.answered());
    // What was slept through is not made up for.
    let late = start + every * 1000;
    assert_eq!(prober.poll(late), Due::Ask);
    assert_eq!(prober.poll(late), Due::Nothing);
    assert_eq!(prober.next(), late + every);
}

proptest! {
    #[test]
    fn arbitrary_octets_never_panic(passenger: Vec<u8>) {
        let _ = ends().classify(&passenger);
    }

    /// Any bit of a request may be wrong: nothing panics, and no answer is longer than the question.
    #[test]
    fn broken_requests(at in 0usize..28, bit in 0u32..8, cut in 0usize..29) {
        let mut packet = request(ip("192.0.2.2"), ip("192.0.2.1"), Some(1)).unwrap().octets().to_vec();
        packet[at] ^= 1 << bit;
        packet.truncate(cut);
        if let Ok(Kind::Request(answer)) = ends().classify(&packet) {
            prop_assert!(answer.octets().len() + 20 <= packet.len());
        }
    }
}
