//! What `status` shows of a peer: the endpoint's snapshot and the data plane's counters, in the
//! words of the control protocol. The prefixes that its tunnels lead to are in [`routes`](mod@routes).

mod routes;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use secure_gre_gre as gre;
use secure_gre_gre::probe::liveness::{self, Quality};
use secure_gre_ike as ike;
use secure_gre_ike::config::UdpEncapsulation;
use secure_gre_ike::event::{ChildDetails, ChildPhase, IkeDetails, PeerSnapshot};

pub(super) use self::routes::routes;
use super::peer::{Peer, Tunnel};
use crate::control::protocol::status::{
    ChildStatus, Encapsulation, EspSpi, IkeSpi, IkeStatus, Liveness, Mode, Passengers, PeerState,
    PeerStatus, Phase, ProbedLiveness, StrangeKey, Traffic, TunnelStatus, UdpCause, Verdict,
};
use crate::dataplane::{LinkCounters, TunnelCounters};
use crate::metrics::{Drop, KeyCount, Tally};

/// One peer as it is at `now`.
pub(super) fn peer(now: Instant, snapshot: &PeerSnapshot, served: &Peer) -> PeerStatus {
    let newest = snapshot.established.last();
    let children = snapshot.established.iter().flat_map(|(ike, children)| {
        children
            .iter()
            .map(move |details| child(now, served, ike, details))
    });
    let (local, remote) = served.addresses().unzip();
    let obstacles = served.obstacles().iter();
    let LinkCounters { arrivals, tunnels } = served.counters();
    let mut counters = tunnels.into_iter();
    let tunnels = served.tunnels().iter();
    let quality = served.quality(now);
    let tunnels = tunnels.map(|tunnel| TunnelStatus {
        liveness: quality
            .filter(|_| tunnel.config().liveness.is_some())
            .map(probed_liveness),
        ..tunnel_status(tunnel, counters.next().unwrap_or_default())
    });
    PeerStatus {
        name: served.name().to_owned(),
        hub: served.config().hub.clone(),
        from_anywhere: served.calls_from_anywhere(),
        state: state(snapshot.state),
        local_address: local,
        remote_address: remote,
        liveness: Liveness {
            heard_seconds: snapshot.heard.map(|at| seconds_between(at, now)),
            checked_after_seconds: served.config().dpd.map(|interval| interval.as_secs()),
        },
        ike: newest.map(|(details, _)| ike_sa(now, details)),
        children: children.collect(),
        last_failure: served.trouble().map(|trouble| trouble.problem.clone()),
        advice: served.trouble().and_then(|trouble| trouble.advice.clone()),
        obstacles: served
            .recursion()
            .chain(obstacles.cloned())
            .chain(served.silence(now))
            .collect(),
        path_mtu: (!snapshot.established.is_empty()).then(|| served.known_path_mtu()),
        drops: sum_by_name(arrivals.drops()),
        strange_keys: strange_keys(&arrivals),
        tunnels: tunnels.collect(),
    }
}

fn seconds_between(earlier: Instant, later: Instant) -> u64 {
    later.saturating_duration_since(earlier).as_secs()
}

const fn state(state: ike::event::PeerState) -> PeerState {
    match state {
        ike::event::PeerState::Idle => PeerState::Idle,
        ike::event::PeerState::Connecting => PeerState::Connecting,
        ike::event::PeerState::Waiting => PeerState::Waiting,
        ike::event::PeerState::Established => PeerState::Established,
        ike::event::PeerState::Closing => PeerState::Closing,
    }
}

fn ike_sa(now: Instant, details: &IkeDetails) -> IkeStatus {
    IkeStatus {
        suite: details.suite.to_string(),
        ppk: details.ppk,
        initiator: details.initiated,
        local_id: details.local_id.to_string(),
        remote_id: details.remote_id.to_string(),
        spi_initiator: IkeSpi(details.spi_initiator),
        spi_responder: IkeSpi(details.spi_responder),
        age_seconds: seconds_between(details.since, now),
        rekey_seconds: seconds_between(now, details.rekey_at),
    }
}

const fn phase(phase: ChildPhase) -> Phase {
    match phase {
        ChildPhase::Arriving => Phase::Arriving,
        ChildPhase::Current => Phase::Current,
        ChildPhase::Draining => Phase::Draining,
    }
}

const fn encapsulation(encapsulation: ike::event::Encapsulation) -> Encapsulation {
    match encapsulation {
        ike::event::Encapsulation::None => Encapsulation::None,
        ike::event::Encapsulation::Udp { .. } => Encapsulation::Udp,
    }
}

/// `asked`: by the file.
const fn udp_cause(cause: ike::event::UdpCause, asked: bool) -> UdpCause {
    match cause {
        ike::event::UdpCause::Wanted if asked => UdpCause::Wanted,
        ike::event::UdpCause::Wanted => UdpCause::Fallback,
        ike::event::UdpCause::Nat => UdpCause::Nat,
        ike::event::UdpCause::Faster => UdpCause::Faster,
    }
}

fn child(now: Instant, served: &Peer, ike: &IkeDetails, details: &ChildDetails) -> ChildStatus {
    let asked = served.config().encapsulation == UdpEncapsulation::Always;
    ChildStatus {
        suite: details.suite.to_string(),
        mode: Mode::Transport,
        encapsulation: encapsulation(ike.encapsulation),
        udp_cause: ike.udp_cause.map(|cause| udp_cause(cause, asked)),
        spi_inbound: EspSpi(details.inbound.0),
        spi_outbound: EspSpi(details.outbound.0),
        age_seconds: seconds_between(details.since, now),
        phase: phase(details.phase),
        rekey_seconds: details.rekey_at.map(|at| seconds_between(now, at)),
    }
}

fn tunnel_status(tunnel: &Tunnel, counters: TunnelCounters) -> TunnelStatus {
    let TunnelCounters { outbound, inbound } = counters;
    let drops = outbound.drops().chain(inbound.drops());
    let (config, device) = (tunnel.config(), tunnel.device());
    TunnelStatus {
        device: device.name().to_owned(),
        netns: device.netns().map(str::to_owned),
        addresses: config.addresses.iter().map(ToString::to_string).collect(),
        kind: match config.gre.kind {
            gre::Passengers::Ip => Passengers::Ip,
            gre::Passengers::Ethernet => Passengers::Ethernet,
        },
        key: match config.gre.key {
            Some(gre::Key::Whole(key)) => Some(key),
            Some(gre::Key::Subnet { .. }) | None => None,
        },
        vsid: match config.gre.key {
            Some(gre::Key::Subnet { vsid, .. }) => Some(vsid.get()),
            Some(gre::Key::Whole(_)) | None => None,
        },
        mtu: device.mtu(),
        outbound: traffic(&outbound),
        inbound: traffic(&inbound),
        drops: sum_by_name(drops),
        keepalive: tunnel.keepalive(),
        liveness: None,
    }
}

fn probed_liveness((verdict, quality): (liveness::Verdict, Quality)) -> ProbedLiveness {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    ProbedLiveness {
        verdict: match verdict {
            liveness::Verdict::Unheard => Verdict::Unheard,
            liveness::Verdict::Alive => Verdict::Alive,
            liveness::Verdict::Dead => Verdict::Dead,
        },
        loss_permille: quality.loss_permille,
        round_trip_micros: quality.round_trip.map(micros),
        jitter_micros: micros(quality.jitter),
    }
}

fn strange_keys(arrivals: &Tally) -> Vec<StrangeKey> {
    let counts = arrivals.strange_keys.iter();
    counts
        .map(|KeyCount { key, packets }| StrangeKey { key, packets })
        .collect()
}

const fn traffic(tally: &Tally) -> Traffic {
    Traffic {
        packets: tally.delivered.packets,
        bytes: tally.delivered.bytes,
    }
}

/// Both directions share some reasons, such as those of GRE.
fn sum_by_name(drops: impl Iterator<Item = (Drop, u64)>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (reason, packets) in drops {
        *sums.entry(reason.name().to_owned()).or_default() += packets;
    }
    sums
}
