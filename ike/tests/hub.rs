//! Peers who may call from anywhere: found by who they say they are, and no others.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use secure_gre_ike::config::{PeerConfig, PeerId, Remote, RemoteId, UdpEncapsulation};
use secure_gre_ike::error::Failure;
use secure_gre_ike::event::{Command, CommandError, Encapsulation, GoneReason, Path};
use secure_gre_sim::{Frame, Sim, Verdict};
use support::bench::at;
use support::site::{HUB, Site, add_spoke, at_hub, hub, spoke_address, spoke_identity, works};
use support::{MINUTES, PEER, Setup};

fn setup(psk: &'static str) -> Setup {
    Setup {
        psk,
        ..Setup::default()
    }
}

const SECOND_KEY: &str = "the second spoke has a key of its own";

/// A hub of two spokes with a key each.
fn hub_of_two() -> Sim<Site> {
    hub(vec![
        at_hub(1, &setup("the key of the first spoke")),
        at_hub(2, &setup(SECOND_KEY)),
    ])
}

#[test]
fn each_spoke_is_found_by_its_identity_and_has_its_own_key() {
    let mut sim = hub_of_two();
    let (first, second) = (spoke_address(1), spoke_address(2));
    add_spoke(&mut sim, 2, &setup(SECOND_KEY), second);
    add_spoke(&mut sim, 1, &setup("the key of the first spoke"), first);
    sim.run_until(MINUTES, |sim| works(sim, 1, first) && works(sim, 2, second))
        .unwrap();
    for (number, address) in [(1, first), (2, second)] {
        let details = sim.node(HUB).with[&PeerId(number)]
            .details
            .as_ref()
            .unwrap();
        assert_eq!(details.remote_id, spoke_identity(number));
        assert_eq!(details.path.remote.ip(), address);
        assert!(!details.initiated);
    }
    assert!(sim.node(HUB).strangers.is_empty());
}

/// SECURITY §2, oracle: what a caller hears does not tell whether somebody has the identity.
#[test]
fn a_wrong_key_and_an_unknown_identity_get_the_same_answer() {
    let answers = [(1, "a wrong key"), (3, "a wrong key")].map(|(number, psk)| {
        let mut sim = hub_of_two();
        // Identities of the same length: what is compared is what the hub adds.
        let address = spoke_address(number);
        add_spoke(&mut sim, number, &setup(psk), address);
        let refused = |sim: &Sim<Site>| {
            let with = sim.node(address).with.get(&PEER);
            with.is_some_and(|with| !with.failures.is_empty())
        };
        sim.run_until(MINUTES, refused).unwrap();
        let failure = &sim.node(address).with[&PEER].failures[0];
        assert!(
            matches!(failure, Failure::AuthenticationRefused { .. }),
            "{failure}"
        );
        let hub = sim.node(HUB);
        let known = hub.with.get(&PeerId(number));
        match number {
            1 => {
                assert!(hub.strangers.is_empty());
                assert!(matches!(
                    known.unwrap().refusals[..],
                    [Failure::PskMismatch { .. }]
                ));
            }
            _ => {
                let received = spoke_identity(number);
                assert!(known.is_none());
                assert_eq!(hub.strangers, [Failure::UnknownIdentity { received }]);
            }
        }
        let entries = sim.trace().entries().iter();
        let from_hub = entries.filter(|entry| entry.source.ip() == HUB);
        from_hub.map(|entry| entry.len).collect::<Vec<_>>()
    });
    assert_eq!(answers[0], answers[1]);
}

/// Whoever tries identities costs no more than one who tries keys.
#[test]
fn what_is_left_of_strangers_is_bounded() {
    let mut sim = hub_of_two();
    for number in 3..60 {
        add_spoke(
            &mut sim,
            number,
            &setup("a wrong key"),
            spoke_address(number),
        );
    }
    sim.run_for(Duration::from_secs(5)).unwrap();
    assert_eq!(sim.node(HUB).strangers.len(), 1, "told once in a while");
    for number in 3..60 {
        let address = spoke_address(number);
        let now = sim.now();
        sim.node_mut(address)
            .command(now, Command::Disconnect { peer: PEER });
    }
    sim.run_for(2 * MINUTES).unwrap();
    assert!(sim.node(HUB).endpoint.is_idle());
}

/// RFC 7296 §2.4: it has moved, or was rebooted; INITIAL_CONTACT says that the old SA is none.
#[test]
fn a_spoke_that_calls_from_elsewhere_takes_its_tunnel_along() {
    let mut sim = hub_of_two();
    let key = setup(SECOND_KEY);
    let (before, after) = (spoke_address(2), spoke_address(200));
    add_spoke(&mut sim, 2, &key, before);
    sim.run_until(MINUTES, |sim| works(sim, 2, before)).unwrap();
    add_spoke(&mut sim, 2, &key, after);
    sim.run_until(MINUTES, |sim| works(sim, 2, after)).unwrap();
    let with = &sim.node(HUB).with[&PeerId(2)];
    assert_eq!(with.down, [GoneReason::Replaced]);
    assert_eq!((with.inbound.len(), with.outbound.len()), (1, 1));
    assert_eq!(with.details.as_ref().unwrap().path.remote.ip(), after);
}

/// PAINS 17: behind one NAT they differ in nothing but the port.
#[test]
fn spokes_behind_one_nat_are_told_apart() {
    const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
    let peers = (1..=3)
        .map(|number| at_hub(number, &setup(SECOND_KEY)))
        .collect();
    let mut sim = hub(peers);
    // The NAT gives spoke n the ports from n × 10000 on.
    sim.tap(|frame, _| {
        let number = (1..=3).find(|number| frame.source.ip() == spoke_address(*number));
        if let Some(number) = number {
            let port = u16::try_from(number).unwrap() * 10_000 + frame.source.port();
            return Verdict::Replace(Frame {
                source: at(OUTSIDE, port),
                ..frame.clone()
            });
        }
        if frame.destination.ip() != OUTSIDE {
            return Verdict::Pass;
        }
        let (number, port) = (
            frame.destination.port() / 10_000,
            frame.destination.port() % 10_000,
        );
        Verdict::Replace(Frame {
            destination: at(spoke_address(number.into()), port),
            ..frame.clone()
        })
    });
    for number in 1..=3 {
        add_spoke(&mut sim, number, &setup(SECOND_KEY), spoke_address(number));
    }
    let all = |sim: &Sim<Site>| (1..=3).all(|number| works(sim, number, spoke_address(number)));
    sim.run_until(MINUTES, all).unwrap();
    for number in 1..=3 {
        let details = sim.node(HUB).with[&PeerId(number)]
            .details
            .as_ref()
            .unwrap();
        let port = u16::try_from(number).unwrap() * 10_000 + 4500;
        assert_eq!(details.path.remote, at(OUTSIDE, port));
        assert_ne!(details.encapsulation, Encapsulation::None);
    }
}

/// Two peers, one at a known address and one behind the same NAT.
#[test]
fn who_calls_from_the_address_of_another_peer_is_found_too() {
    let at_address = PeerConfig {
        id: PeerId(9),
        remote: Remote::At(vec![spoke_address(1)]),
        remote_id: RemoteId::Is(spoke_identity(9)),
        ..at_hub(9, &setup("the key of the one at the address"))
    };
    let mut sim = hub(vec![at_address, at_hub(1, &setup(SECOND_KEY))]);
    let address = spoke_address(1);
    add_spoke(&mut sim, 1, &setup(SECOND_KEY), address);
    sim.run_until(MINUTES, |sim| works(sim, 1, address))
        .unwrap();
    assert!(!sim.node(HUB).with.contains_key(&PeerId(9)));
}

/// Before IKE_AUTH nobody knows whose list to choose from.
#[test]
fn what_was_agreed_on_with_a_stranger_has_to_be_in_its_file() {
    let strong = Setup {
        ike: vec!["aes256gcm16-prfsha384-ecp384"],
        ..setup(SECOND_KEY)
    };
    let both = Setup {
        ike: vec!["aes128-sha256-modp2048", "aes256gcm16-prfsha384-ecp384"],
        ..setup(SECOND_KEY)
    };
    // What most of them accept is tried first.
    let mut sim = hub(vec![
        at_hub(1, &both),
        at_hub(2, &strong),
        at_hub(3, &strong),
    ]);
    for number in 1..=3 {
        add_spoke(&mut sim, number, &both, spoke_address(number));
    }
    let all = |sim: &Sim<Site>| (1..=3).all(|number| works(sim, number, spoke_address(number)));
    sim.run_until(MINUTES, all).unwrap();

    // One that offers only what others accept.
    let weak = Setup {
        ike: vec!["aes128-sha256-modp2048"],
        ..setup(SECOND_KEY)
    };
    let mut sim = hub(vec![at_hub(1, &weak), at_hub(2, &strong)]);
    add_spoke(&mut sim, 2, &weak, spoke_address(2));
    let refused = |sim: &Sim<Site>| {
        let with = sim.node(HUB).with.get(&PeerId(2));
        with.is_some_and(|with| !with.refusals.is_empty())
    };
    sim.run_until(MINUTES, refused).unwrap();
    let refusal = &sim.node(HUB).with[&PeerId(2)].refusals[0];
    assert!(matches!(refusal, Failure::OtherTerms { .. }), "{refusal}");
    assert!(sim.node(HUB).endpoint.snapshot()[1].established.is_empty());
}

/// ESP goes as IKE_SA_INIT has left it, whatever the file of the one who called says.
#[test]
fn one_who_insists_on_udp_brings_it_to_those_who_leave_it_open() {
    let wanting = |encapsulation| Setup {
        encapsulation,
        ..setup(SECOND_KEY)
    };
    let (always, auto) = (UdpEncapsulation::Always, UdpEncapsulation::Auto);
    let mut sim = hub(vec![at_hub(1, &wanting(always)), at_hub(2, &wanting(auto))]);
    for number in 1..=2 {
        add_spoke(&mut sim, number, &wanting(auto), spoke_address(number));
    }
    let both = |sim: &Sim<Site>| (1..=2).all(|number| works(sim, number, spoke_address(number)));
    sim.run_until(MINUTES, both).unwrap();
    for number in 1..=2 {
        let at_hub = sim.node(HUB).with[&PeerId(number)].details.as_ref();
        let at_spoke = sim.node(spoke_address(number)).with[&PEER].details.as_ref();
        for details in [at_hub, at_spoke] {
            assert_ne!(details.unwrap().encapsulation, Encapsulation::None);
        }
    }

    // And is refused where that is forbidden.
    let never = wanting(UdpEncapsulation::Never);
    let mut sim = hub(vec![at_hub(1, &wanting(always)), at_hub(2, &never)]);
    add_spoke(&mut sim, 2, &wanting(auto), spoke_address(2));
    let refused = |sim: &Sim<Site>| {
        let with = sim.node(HUB).with.get(&PeerId(2));
        with.is_some_and(|with| matches!(with.refusals[..], [Failure::Nat { .. }, ..]))
    };
    sim.run_until(MINUTES, refused).unwrap();
}

#[test]
fn nobody_who_may_call_from_anywhere_is_called() {
    let mut sim = hub_of_two();
    let now = sim.now();
    let path = Path {
        local: at(HUB, 500),
        remote: at(spoke_address(1), 500),
    };
    let connect = Command::Connect {
        peer: PeerId(1),
        path,
    };
    let refused = sim.node_mut(HUB).endpoint.handle_command(now, connect);
    assert_eq!(refused, Err(CommandError::CalledFromAnywhere(PeerId(1))));
}

#[test]
fn one_that_was_taken_down_is_a_stranger_until_it_may_call_again() {
    let mut sim = hub_of_two();
    let address = spoke_address(2);
    add_spoke(&mut sim, 2, &setup(SECOND_KEY), address);
    sim.run_until(MINUTES, |sim| works(sim, 2, address))
        .unwrap();
    let peer = PeerId(2);
    let now = sim.now();
    sim.node_mut(HUB).command(now, Command::Disconnect { peer });
    let refused = |sim: &Sim<Site>| !sim.node(HUB).strangers.is_empty();
    sim.run_until(2 * MINUTES, refused).unwrap();

    let now = sim.now();
    let remote = Remote::Anywhere;
    sim.node_mut(HUB)
        .command(now, Command::Locate { peer, remote });
    sim.run_until(2 * MINUTES, |sim| works(sim, 2, address))
        .unwrap();

    let now = sim.now();
    sim.node_mut(HUB).endpoint.remove_peer(now, peer).unwrap();
    sim.node_mut(HUB).drain(now);
    sim.node_mut(HUB).strangers.clear();
    add_spoke(&mut sim, 2, &setup(SECOND_KEY), spoke_address(20));
    sim.run_until(2 * MINUTES, refused).unwrap();
}

/// RFC 8784 §3: which PPK it is comes with the identity, so a hub may have one with some of its spokes; and
/// strangers agree on an additional key exchange as others do.
#[test]
fn spokes_may_have_a_post_quantum_key_each() {
    let with_ppk = |psk, ppk: Option<&'static str>| Setup {
        ike: vec![
            "aes256gcm16-prfsha256-x25519-ke1_mlkem768",
            "aes256gcm16-prfsha256-x25519",
        ],
        ppk: ppk.map(|key| ("k1", key, true)),
        ..setup(psk)
    };
    let keys = [
        Some("a key of the first spoke, of some length"),
        Some("a key of the second one, of some length"),
        None,
    ];
    let spokes = || (1..).zip(keys);
    let at_hub = spokes().map(|(number, ppk)| at_hub(number, &with_ppk(SECOND_KEY, ppk)));
    let mut sim = hub(at_hub.collect());
    for (number, ppk) in spokes() {
        let spoke = with_ppk(SECOND_KEY, ppk);
        add_spoke(&mut sim, number, &spoke, spoke_address(number));
    }
    let all_work =
        |sim: &Sim<Site>| spokes().all(|(number, _)| works(sim, number, spoke_address(number)));
    sim.run_until(MINUTES, all_work).unwrap();
    for (number, ppk) in spokes() {
        let details = sim.node(HUB).with[&PeerId(number)].details.clone().unwrap();
        assert_eq!(details.ppk, ppk.is_some(), "{number}");
        assert!(details.suite.additional.is_some(), "{number}");
    }
}

/// One that leaves its key out is refused as one with a wrong key is.
#[test]
fn a_spoke_without_the_post_quantum_key_is_refused() {
    let required = Setup {
        ppk: Some(("k1", "a key of the first spoke, of some length", true)),
        ..setup(SECOND_KEY)
    };
    let mut sim = hub(vec![at_hub(1, &required)]);
    let address = spoke_address(1);
    add_spoke(&mut sim, 1, &setup(SECOND_KEY), address);
    sim.run_for(Duration::from_secs(5)).unwrap();
    let refusals = &sim.node(HUB).with[&PeerId(1)].refusals;
    let unused = |failure: &Failure| matches!(failure, Failure::PpkUnused { id } if id == "k1");
    assert!(refusals.iter().all(unused) && !refusals.is_empty());
    let failures = &sim.node(address).with[&PEER].failures;
    let refused = |failure: &Failure| matches!(failure, Failure::AuthenticationRefused { .. });
    assert!(failures.iter().all(refused) && !failures.is_empty());
}
