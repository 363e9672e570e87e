//! A thousand live peers on one endpoint, with the rekeys of their pairs and of their IKE SAs
//! (SECURITY §2: peers held).

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use secure_gre_ike::config::PeerId;
use secure_gre_ike::event::{Command, PeerState};
use secure_gre_sim::Sim;
use support::site::{HUB, Site, Standing, add_spoke, at_hub, hub, spoke_address, works};
use support::{PEER, Setup};

const SPOKES: u32 = 1000;
/// SECURITY §2: simultaneous reconnects settle in that.
const SETTLE: Duration = Duration::from_secs(30);

/// The hub rekeys nothing by itself for a day, so that what each end does is known.
fn setup() -> Setup {
    let day = Duration::from_secs(24 * 3600);
    Setup {
        ike_lifetime: day,
        child_lifetime: day,
        ..Setup::default()
    }
}

fn each() -> impl Iterator<Item = u32> {
    1..=SPOKES
}

fn all_work(sim: &Sim<Site>) -> bool {
    each().all(|number| works(sim, number, spoke_address(number)))
}

fn at_the_hub(sim: &Sim<Site>) -> impl Iterator<Item = &Standing> {
    sim.node(HUB).with.values()
}

/// Runs in steps: what is asked of a thousand peers is not asked after each datagram.
#[track_caller]
fn run_until(sim: &mut Sim<Site>, limit: Duration, done: impl Fn(&Sim<Site>) -> bool) {
    const STEP: Duration = Duration::from_secs(1);
    let end = sim.elapsed() + limit;
    while !done(sim) {
        assert!(sim.elapsed() < end, "not within {limit:?}");
        sim.run_for(STEP).unwrap();
    }
}

#[test]
fn a_thousand_peers_live_and_are_rekeyed() {
    let setup = setup();
    let mut sim = hub(each().map(|number| at_hub(number, &setup)).collect());
    // All at once: there are cookies in it.
    for number in each() {
        add_spoke(&mut sim, number, &setup, spoke_address(number));
    }
    run_until(&mut sim, SETTLE, all_work);
    let snapshot = sim.node(HUB).endpoint.snapshot();
    let up = snapshot
        .iter()
        .filter(|peer| peer.state == PeerState::Established);
    assert_eq!(up.count(), SPOKES as usize);

    // The hub rekeys a third of the pairs, the spokes another, both the rest.
    for number in each() {
        let (hub_asks, spoke_asks) = (number % 3 != 1, number % 3 != 2);
        for (asks, site, peer) in [
            (hub_asks, HUB, PeerId(number)),
            (spoke_asks, spoke_address(number), PEER),
        ] {
            if asks {
                let now = sim.now();
                let site = sim.node_mut(site);
                let (child, _) = site.with[&peer].outbound.last().unwrap();
                let child = *child;
                site.command(now, Command::RekeyChild { child });
            }
        }
    }
    let rekeyed =
        |sim: &Sim<Site>| at_the_hub(sim).all(|with| with.pairs >= 2 && with.inbound.len() == 1);
    run_until(&mut sim, SETTLE, |sim| rekeyed(sim) && all_work(sim));

    for number in each() {
        let (site, peer) = match number % 2 {
            0 => (HUB, PeerId(number)),
            _ => (spoke_address(number), PEER),
        };
        let now = sim.now();
        sim.node_mut(site).command(now, Command::RekeyIke { peer });
    }
    run_until(&mut sim, SETTLE, |sim| {
        at_the_hub(sim).all(|with| with.ike_rekeys == 1)
    });
    assert!(all_work(&sim));
    assert!(at_the_hub(&sim).all(|with| with.down.is_empty() && with.refusals.is_empty()));
    let inbound: BTreeSet<_> = at_the_hub(&sim).flat_map(|with| with.spis().1).collect();
    assert_eq!(
        inbound.len(),
        SPOKES as usize,
        "one pair each, and no SPI twice"
    );

    for number in each() {
        let now = sim.now();
        sim.node_mut(spoke_address(number))
            .command(now, Command::Disconnect { peer: PEER });
    }
    run_until(&mut sim, 4 * SETTLE, |sim| sim.node(HUB).endpoint.is_idle());
}
