//! Properties: whatever comes from the network, and in whatever order things happen, nothing panics,
//! no SA that stands is lost to an outsider, and everything is let go of in the end.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::time::Duration;

use proptest::prelude::*;
use secure_gre_ike::wire::ExchangeType;
use secure_gre_sim::Quality;
use support::bench::Bench;
use support::puppet::{
    Half, half_way_as_initiator, half_way_as_responder, up_as_initiator, up_as_responder,
};
use support::{
    A, B, Setup, connect, default_pair, disconnect, leave_without_a_trace, one_working_pair, reboot,
};

/// Each state that an SA can be in when a datagram comes, with datagrams to begin a mutation from.
fn in_every_state() -> Vec<(Bench, Vec<Vec<u8>>, usize)> {
    let bench = || Bench::new(&Setup::default());
    let mut states = Vec::new();

    let half = Half::new(1);
    states.push((bench(), vec![half.request(&half.payloads())], 0));

    let mut calling = bench();
    let [request] = calling.connect().try_into().unwrap();
    states.push((
        calling,
        vec![request.clone(), half.response(&request, &half.payloads())],
        0,
    ));

    let mut waiting = bench();
    let (mut session, auth) = half_way_as_responder(&mut waiting, 1);
    let payloads = session.auth_payloads();
    states.push((
        waiting,
        vec![auth, session.response(ExchangeType::IKE_AUTH, 1, &payloads)],
        0,
    ));

    let mut half_open = bench();
    let mut session = half_way_as_initiator(&mut half_open, 1);
    let payloads = session.auth_payloads();
    states.push((
        half_open,
        vec![session.request(ExchangeType::IKE_AUTH, 1, &payloads)],
        0,
    ));

    let mut standing = bench();
    let mut session = up_as_initiator(&mut standing, 1);
    states.push((
        standing,
        vec![session.request(ExchangeType::INFORMATIONAL, 2, &[])],
        1,
    ));

    let mut standing = bench();
    let mut session = up_as_responder(&mut standing, 1);
    states.push((
        standing,
        vec![session.request(ExchangeType::INFORMATIONAL, 0, &[])],
        1,
    ));

    let mut closing = bench();
    let mut session = up_as_responder(&mut closing, 1);
    closing.disconnect();
    states.push((
        closing,
        vec![session.response(ExchangeType::INFORMATIONAL, 2, &[])],
        0,
    ));
    states
}

#[derive(Debug, Clone)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Truncate(prop::sample::Index),
    Append(Vec<u8>),
    /// As above, with a length field that agrees.
    Resize(prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, value)| Mutation::Set(at, value)),
        1 => any::<prop::sample::Index>().prop_map(Mutation::Truncate),
        1 => prop::collection::vec(any::<u8>(), 1..64).prop_map(Mutation::Append),
        2 => any::<prop::sample::Index>().prop_map(Mutation::Resize),
    ]
}

fn mutate(mut bytes: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        match mutation {
            Mutation::Set(at, value) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            Mutation::Truncate(at) => bytes.truncate(at.index(bytes.len() + 1)),
            Mutation::Append(more) => bytes.extend(more),
            Mutation::Resize(at) if bytes.len() > 28 => {
                bytes.truncate(28 + at.index(bytes.len() - 27));
                let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
                bytes[24..28].copy_from_slice(&length);
            }
            Mutation::Set(..) | Mutation::Resize(_) => {}
        }
    }
    bytes
}

#[derive(Debug, Clone)]
enum Act {
    Connect(bool),
    Disconnect(bool),
    Reboot(bool),
    Quality(u8),
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => any::<bool>().prop_map(Act::Connect),
        1 => any::<bool>().prop_map(Act::Disconnect),
        1 => any::<bool>().prop_map(Act::Reboot),
        1 => (0u8..3).prop_map(Act::Quality),
        5 => (0u64..100).prop_map(Act::Wait),
        1 => (0u64..90_000).prop_map(Act::Wait),
    ]
}

fn host(a: bool) -> std::net::IpAddr {
    if a { A } else { B }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// SECURITY §2: garbage on UDP 500.
    #[test]
    fn arbitrary_octets_change_nothing(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20)) {
        for (mut bench, _, pairs) in in_every_state() {
            for bytes in &datagrams {
                bench.receive(bytes);
            }
            prop_assert_eq!(bench.pairs(), pairs);
            prop_assert_eq!(bench.counters().values().sum::<u64>(), datagrams.len() as u64);
        }
    }

    #[test]
    fn mutated_datagrams_take_no_sa_down(mutations in prop::collection::vec(mutation(), 1..4), which in any::<prop::sample::Index>()) {
        for (mut bench, datagrams, pairs) in in_every_state() {
            let genuine = &datagrams[which.index(datagrams.len())];
            let bytes = mutate(genuine.clone(), &mutations);
            if bytes == *genuine {
                continue;
            }
            let before = bench.counters().values().sum::<u64>();
            bench.receive(&bytes);
            prop_assert!(bench.counters().values().sum::<u64>() - before <= 1);
            prop_assert_eq!(bench.pairs(), pairs);
            prop_assert!(bench.down.is_empty() || pairs == 0);
            // Whatever it left behind goes by itself.
            bench.pass(Duration::from_secs(200));
            prop_assert_eq!(bench.pairs(), pairs);
        }
    }

    /// Commands, reboots, time and weather in any order; then both want each other, and get one
    /// working pair; then both let go, and nothing is left.
    #[test]
    fn any_life_of_two_peers_ends_well(seed in any::<u64>(), acts in prop::collection::vec(act(), 1..25)) {
        let mut sim = default_pair(seed);
        for act in acts {
            match act {
                Act::Connect(a) => connect(&mut sim, host(a)),
                Act::Disconnect(a) => disconnect(&mut sim, host(a)),
                Act::Reboot(a) => reboot(&mut sim, host(a)),
                Act::Quality(which) => sim.set_quality([Quality::PERFECT, Quality::LOSSY, Quality::HOSTILE][usize::from(which)]),
                Act::Wait(milliseconds) => sim.run_for(Duration::from_millis(milliseconds)).unwrap(),
            }
        }
        sim.set_quality(Quality::PERFECT);
        reboot(&mut sim, A);
        connect(&mut sim, A);
        connect(&mut sim, B);
        sim.run_for(Duration::from_secs(600)).unwrap();
        prop_assert!(one_working_pair(&sim));
        for host in [A, B] {
            sim.node_mut(host).disconnected = 0;
        }
        leave_without_a_trace(&mut sim);
    }
}
