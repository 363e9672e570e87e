//! What the endpoint asks for: datagrams to be sent, SAs to be installed, peers to be called.

use std::time::{Duration, Instant};

use secure_gre_ike as ike;
use secure_gre_ike::config::PeerId;
use secure_gre_ike::error::Failure;
use secure_gre_ike::event::{
    ChildId, ChildKeys, Command, Event, GoneReason, IkeDetails, Output, Trace,
};
use tracing::{Instrument, error, info, trace, warn};

use super::{Departure, Supervisor};
use crate::daemon::peer::{Peer, ReachError};
use crate::net::outer::{Encapsulation, Path as OuterPath, Via};
use crate::telemetry;

impl Supervisor {
    pub(super) async fn command(&mut self, now: Instant, command: Command) {
        // The endpoint has every peer that has a tunnel.
        if let Err(error) = self.endpoint.handle_command(now, command) {
            warn!("{error}");
        }
        self.drain().await;
    }

    /// What messages on `path` are bound to: the same as the ESP packets between its addresses.
    fn via(&self, path: &OuterPath) -> Via {
        let addresses = Some((path.local.ip(), path.remote.ip()));
        let mut peers = self.peers.values();
        let served = peers.find(|served| served.addresses() == addresses);
        served.map_or(Via::default(), Peer::via)
    }

    /// Performs the endpoint's outputs, in order, until it is idle.
    pub(super) async fn drain(&mut self) {
        loop {
            match self.endpoint.poll_output() {
                Output::Transmit(transmit) => {
                    let path = outer_path(transmit.path);
                    // Lost like any datagram: retransmission deals with it.
                    let via = self.via(&path);
                    if let Err(error) = self.sockets.send(&path, via, &transmit.payload).await {
                        warn!("{error}");
                    }
                }
                Output::Event(Event::StrangerRefused { path, failure }) => {
                    say_refused(path, &failure);
                }
                Output::Event(event) => {
                    if let Some(peer) = event.peer() {
                        let span = self.span(peer);
                        self.on_event(peer, event).instrument(span).await;
                    }
                }
                Output::Trace(message) => say_message(&message),
                Output::Idle(deadline) => {
                    self.deadline = deadline.map(|deadline| deadline.at);
                    let on_trial = self.on_trial.pop();
                    let rekey = on_trial.map(|child| Command::RekeyChild { child });
                    let disconnect = || self.broken.pop().map(|peer| Command::Disconnect { peer });
                    let undo = || {
                        let peer = self.not_in_udp.pop()?;
                        Some(Command::ForceUdp { peer, force: false })
                    };
                    let Some(command) = rekey.or_else(undo).or_else(disconnect) else {
                        break;
                    };
                    if let Err(error) = self.endpoint.handle_command(Instant::now(), command) {
                        warn!("{error}");
                    }
                }
            }
        }
        self.locate_peers();
        for (peer, why) in std::mem::take(&mut self.departed) {
            self.finish(peer, why).await;
        }
    }

    /// Takes a peer from the endpoint. Events about it are nobody's business any more.
    pub(super) fn forget(&mut self, peer: PeerId) {
        if let Err(error) = self.endpoint.remove_peer(Instant::now(), peer) {
            warn!("{error}");
        }
        loop {
            if let Output::Idle(deadline) = self.endpoint.poll_output() {
                self.deadline = deadline.map(|deadline| deadline.at);
                return;
            }
        }
    }

    async fn on_event(&mut self, peer: PeerId, event: Event) {
        self.tell_rekeyed(&event);
        let Some(served) = self.peers.get_mut(&peer) else {
            return;
        };
        match event {
            Event::Connecting { path, .. } => say_calling(served.name(), &path),
            Event::IkeUp { details, .. } => {
                say_up(served.name(), &details);
                let path = outer_path(details.path);
                let encapsulation = outer_encapsulation(details.encapsulation);
                let laid = served.travel(path, encapsulation).await;
                self.on_laid(peer, laid);
            }
            Event::ChildOffered { spi, .. } => served.expect(spi),
            Event::ChildOfferWithdrawn { spi, .. } => served.expect_no_more(spi),
            Event::Moved {
                path,
                encapsulation,
                ..
            } => {
                let encapsulation = outer_encapsulation(encapsulation);
                let laid = served.go_on(outer_path(path), encapsulation).await;
                self.on_laid(peer, laid);
            }
            Event::IkeRekeyed { details, .. } => {
                info!("{}: IKE SA rekeyed ({})", served.name(), details.suite);
            }
            Event::RekeyFailed { child, failure, .. } => {
                self.on_rekey_failed(peer, child, &failure);
            }
            Event::ChildInbound { child, keys, .. } => {
                if !served.install_inbound(child, &keys) {
                    self.break_off(peer);
                }
            }
            // Where the inbound half is not there, both go at once.
            Event::ChildOutbound { .. } if self.broken.contains(&peer) => {}
            Event::ChildOutbound { child, keys, .. } => {
                self.on_outbound(peer, child, &keys).await;
            }
            Event::ChildGone { child, why, .. } => served.remove(child, why, Instant::now()).await,
            Event::IkeDown { why, last, .. } => {
                say_down(served.name(), why, last && !served.is_parting());
            }
            Event::AttemptFailed {
                failure, retry_in, ..
            } => self.on_attempt_failed(peer, failure, retry_in),
            Event::Refused { failure, .. } => served.attempt_refused(&failure, Instant::now()),
            Event::Reconnect { .. } => self.to_locate.push(peer),
            Event::Disconnected { .. } if served.is_parting() => {
                self.departed.push((peer, Departure::Asked));
            }
            // A worker has failed: not before its time.
            Event::Disconnected { .. } if served.waits_to_be_located() => {}
            // Renewed: the old SAs are gone.
            Event::Disconnected { .. } => self.to_locate.push(peer),
            // Nobody's: said where it came out.
            Event::StrangerRefused { .. } => {}
        }
    }

    /// The packets of the peer's SAs have their wire, or the SAs are of no use.
    fn on_laid(&mut self, peer: PeerId, laid: Result<(), ReachError>) {
        let served = self.peers.get(&peer);
        if let (Some(served), Err(problem)) = (served, laid) {
            error!("{}: {problem}", served.name());
            self.break_off(peer);
        }
    }

    /// Nobody carries the packets of the peer's SAs: they go once the outputs are drained, and others
    /// follow after a while.
    fn break_off(&mut self, peer: PeerId) {
        if let Some(served) = self.peers.get_mut(&peer) {
            served.rest(Instant::now());
            self.broken.push(peer);
        }
    }

    async fn on_outbound(&mut self, peer: PeerId, child: ChildId, keys: &ChildKeys) {
        let Some(served) = self.peers.get_mut(&peer) else {
            return;
        };
        if !served.install_outbound(child, keys).await {
            return self.break_off(peer);
        }
        if served.begins_rekey_trial() {
            return self.on_trial.push(child);
        }
        if served.ends_rekey_trial() {
            let (name, suite) = (served.name(), keys.suite);
            info!("{name}: rekeyed on trial: both ends agree ({suite})");
        }
        self.carries(peer);
    }

    /// `child`: the pair; `None`: the IKE SA.
    fn on_rekey_failed(&mut self, peer: PeerId, child: Option<ChildId>, failure: &Failure) {
        let waited_for = self.is_waited_for(peer);
        let Some(served) = self.peers.get_mut(&peer) else {
            return;
        };
        let was_trial = child.is_some() && served.ends_rekey_trial();
        if waited_for && was_trial {
            let why = failed(served.name(), failure);
            return self.departed.push((peer, why));
        }
        served.rekey_failed(child.is_some(), failure);
        if !served.can_do_without_rekey(child) {
            self.broken.push(peer);
        }
    }

    /// `retry_in`: when the next attempt begins; `None`: never.
    fn on_attempt_failed(&mut self, peer: PeerId, failure: Failure, retry_in: Option<Duration>) {
        let waited_for = self.is_waited_for(peer);
        let Some(served) = self.peers.get_mut(&peer) else {
            return;
        };
        if waited_for {
            let why = failed(served.name(), &failure);
            return self.departed.push((peer, why));
        }
        served.attempt_failed(failure, retry_in);
        if served.ends_fallback() {
            self.not_in_udp.push(peer);
        }
        if retry_in.is_none() {
            let why = gave_up(served.name());
            self.departed.push((peer, why));
        }
    }
}

fn say_calling(name: &str, path: &ike::event::Path) {
    let (remote, local) = (path.remote.ip(), path.local.ip());
    info!("{name}: calling {remote} from {local}");
}

fn say_up(name: &str, details: &IkeDetails) {
    let role = if details.initiated {
        "we called"
    } else {
        "the peer called"
    };
    info!(
        "{name}: IKE SA up with {} ({}), {role}, as {}",
        details.remote_id, details.suite, details.local_id
    );
}

/// Somebody has called whom no address and no identity makes one of our peers. The endpoint tells that
/// seldom enough to be said each time.
fn say_refused(path: ike::event::Path, failure: &Failure) {
    let caller = path.remote;
    match failure {
        Failure::UnknownIdentity { .. } => {
            warn!(
                "refused {caller}: {failure}; to mend it: {}",
                failure.advice()
            );
        }
        _ => info!("refused {caller}: {failure}"),
    }
}

/// A line such as `-> 192.0.2.2:500 IKE_AUTH request 1: …`.
fn say_message(message: &Trace) {
    let Trace {
        path,
        sent,
        message,
    } = message;
    let arrow = if *sent { "->" } else { "<-" };
    trace!(target: telemetry::MESSAGES, "{arrow} {} {message}", path.remote);
}

/// `idle`: the tunnel waits for the next one.
fn say_down(name: &str, why: GoneReason, idle: bool) {
    let reason = match why {
        GoneReason::DeletedByPeer => "the peer deleted it",
        GoneReason::Disconnected => "we deleted it",
        GoneReason::NoAnswer => "the peer does not answer",
        GoneReason::Replaced => "the peer set up a new one",
        GoneReason::Redundant => "both ends had called; the other one stays",
        GoneReason::PeerFault => "the peer broke the protocol",
        GoneReason::Childless => "the peer deleted its only CHILD_SA",
        GoneReason::Abandoned => "its path is gone",
        GoneReason::Rekeyed => "another one has taken its place",
        GoneReason::Expired => "its lifetime is over, and it could not be rekeyed",
    };
    let left = if idle {
        "; the tunnel carries nothing until the next one is up"
    } else {
        ""
    };
    info!("{name}: IKE SA down: {reason}{left}");
}

/// Somebody waits for it to come up, and it has failed.
fn failed(name: &str, failure: &Failure) -> Departure {
    let advice = failure.advice();
    Departure::Failed(format!("{name}: {failure}\nto mend it: {advice}"))
}

/// `on-failure = "exit"`, and it has failed.
pub(super) fn gave_up(name: &str) -> Departure {
    Departure::GaveUp(format!(
        "{name}: gave up, as peer.ike.on-failure = \"exit\" asks for"
    ))
}

/// `net` and `ike` know nothing of each other, so each has its word for the same four numbers.
pub(super) fn ike_path(path: OuterPath) -> ike::event::Path {
    ike::event::Path {
        local: path.local,
        remote: path.remote,
    }
}

fn outer_path(path: ike::event::Path) -> OuterPath {
    OuterPath {
        local: path.local,
        remote: path.remote,
    }
}

fn outer_encapsulation(encapsulation: ike::event::Encapsulation) -> Encapsulation {
    match encapsulation {
        ike::event::Encapsulation::None => Encapsulation::None,
        ike::event::Encapsulation::Udp { behind_nat } => Encapsulation::Udp {
            keepalives: behind_nat,
        },
    }
}
