//! Probes of one peer: how large a packet the path takes, and, where a tunnel asks for that, whether the
//! peer lives. The state is [`Search`]'s and [`Liveness`]'s; this sends, and draws the conclusions.
//!
//! A peer that runs this program too answers probes, any other at most the echo requests that go to its
//! address inside a tunnel. It is asked in both ways until it has answered in one.

use std::time::Instant;

use secure_gre_gre::Passengers;
use secure_gre_gre::df;
use secure_gre_gre::mtu::Envelope;
use secure_gre_gre::probe::echo::Echo;
use secure_gre_gre::probe::liveness::{self, Due, Liveness, Quality, Verdict};
use secure_gre_gre::probe::search::{Round, Search};
use secure_gre_gre::probe::{Kind, Probe};
use tracing::warn;

use super::Peer;
use crate::config;
use crate::daemon::mtu::device_mtu;
use crate::dataplane::TunnelId;
use crate::dataplane::outbound::Own;
use crate::net::esp::Overhead;

/// Probes speak for all tunnels, and are counted with the first one.
const FIRST: TunnelId = TunnelId(0);

/// What sequence numbers of the search have, and those of the beats have not.
const OF_SEARCH: u32 = liveness::NUMBERS;

/// The state of it, while SAs stand.
pub(super) struct Probing {
    search: Option<Search>,
    /// The last round of it.
    round: Option<Round>,
    liveness: Option<Liveness>,
    answers: Answers,
}

/// What the peer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// Nothing so far.
    Nothing,
    Probes,
    Echoes,
}

/// Where echo requests go, of all the tunnels that have a peer's address.
#[derive(Debug, Clone, Copy)]
pub(super) struct EchoTo {
    pub(super) tunnel: TunnelId,
    pub(super) echo: Echo,
}

impl EchoTo {
    /// Into the first tunnel of which the peer's address is known. The identifier is one process's.
    pub(super) fn find(tunnels: &[config::Tunnel]) -> Option<Self> {
        let identifier = rand::random();
        let mut all = tunnels.iter().enumerate();
        all.find_map(|(place, tunnel)| {
            let theirs = tunnel
                .peer_address
                .filter(|_| tunnel.gre.kind == Passengers::Ip)?;
            let mut ours = tunnel.addresses.iter();
            let ours = ours.find(|ours| ours.addr().is_ipv4() == theirs.is_ipv4())?;
            let echo = Echo::new(ours.addr(), theirs, identifier)?;
            let tunnel = TunnelId(place);
            Some(Self { tunnel, echo })
        })
    }
}

impl Peer {
    /// The first pair stands: the path is looked at.
    pub(super) fn begin_to_probe(&mut self, now: Instant) {
        let tunnels = self.config.tunnels.iter();
        let fixed =
            |tunnel: &config::Tunnel| tunnel.mtu.is_some() && tunnel.df == df::Policy::Clear;
        let search = !tunnels.clone().all(fixed);
        let every = tunnels.filter_map(|tunnel| tunnel.liveness).min();
        self.probing = Some(Probing {
            search: search.then(|| Search::new(self.largest_outer(), now)),
            round: None,
            liveness: every.map(|every| Liveness::new(every, now)),
            answers: Answers::Nothing,
        });
    }

    /// The MTU of the path as far as it is known: what the host knows, or less, as was found out.
    pub(in crate::daemon) fn known_path_mtu(&self) -> u16 {
        let search = self.probing.as_ref().and_then(|it| it.search.as_ref());
        let found = search.filter(|search| search.is_limited());
        let known = self.path_mtu.octets();
        found.map_or(known, |search| self.probe_of(search.passes()).min(known))
    }

    /// What the host knows of the path has changed: the devices follow, and so does the search.
    pub(super) async fn probe_anew(&mut self, now: Instant) {
        let largest = self.largest_outer();
        let probing = self.probing.as_mut();
        if let Some(search) = probing.and_then(|probing| probing.search.as_mut()) {
            search.retarget(largest, now);
        }
        self.follow_path_mtu().await;
    }

    /// Forgets news of the path that are old: it may take more again.
    pub(super) async fn forget_old_news(&mut self, now: Instant) {
        if self.path_mtu.forget_old(now) {
            self.probe_anew(now).await;
        }
    }

    /// The largest outer packet that a passenger becomes, if the path takes what the host says.
    fn largest_outer(&self) -> u16 {
        let Some(overhead) = self.overhead() else {
            return self.path_mtu.octets();
        };
        let known = self.path_mtu.octets();
        let sizes = self.tunnels.iter().map(|tunnel| {
            let envelope = tunnel.envelope(&self.config, self.cipher, overhead);
            let mtu = device_mtu(tunnel.config(), envelope.passenger_mtu(known));
            envelope.outer_len(mtu.into())
        });
        let largest = sizes.max().and_then(|size| u16::try_from(size).ok());
        largest.map_or(known, |largest| largest.min(known))
    }

    /// What surrounds a passenger of the tunnel.
    fn envelope_of(&self, tunnel: TunnelId) -> Option<Envelope> {
        let overhead = self.overhead()?;
        let tunnel = self.tunnels.get(tunnel.0)?;
        Some(tunnel.envelope(&self.config, self.cipher, overhead))
    }

    /// What surrounds the payload of a dummy.
    fn dummy(&self) -> Option<Envelope> {
        let envelope = self.envelope_of(FIRST)?;
        Some(Envelope {
            gre_header: 0,
            link: 0,
            ..envelope
        })
    }

    /// The payload of a dummy whose outer packet has `outer` octets at most.
    fn payload_of(&self, outer: u16) -> u16 {
        self.dummy().map_or(0, |dummy| dummy.passenger_mtu(outer))
    }

    /// What that outer packet has: whole blocks of the cipher.
    fn probe_of(&self, outer: u16) -> u16 {
        let payload = usize::from(self.payload_of(outer));
        let size = self.dummy().map(|dummy| dummy.outer_len(payload));
        size.and_then(|size| u16::try_from(size).ok())
            .unwrap_or(outer)
    }

    /// The echo request whose outer packet has `outer` octets at most, and which is no larger than a
    /// passenger: a peer need not send back more than its own device takes.
    fn echo_of(&self, outer: u16) -> u16 {
        let to = self.echo.map_or(FIRST, |echo| echo.tunnel);
        let Some((envelope, tunnel)) = self.envelope_of(to).zip(self.tunnels.get(to.0)) else {
            return 0;
        };
        let fits = envelope.passenger_mtu(self.path_mtu.octets());
        let largest = device_mtu(tunnel.config(), fits);
        envelope.passenger_mtu(outer).min(largest)
    }

    /// The outer headers, once a wire is laid.
    fn overhead(&self) -> Option<Overhead> {
        Some(self.outer.as_ref()?.wire.overhead())
    }

    /// Asks the peer what it is time to ask.
    pub(super) async fn probe_due(&mut self, now: Instant) {
        let Some(probing) = &mut self.probing else {
            return;
        };
        let beat = probing
            .liveness
            .as_mut()
            .map_or(Due::Nothing, |it| it.poll(now));
        if let Due::Beat(number) | Due::Dead(number) = beat {
            self.send_probe(Probe::beat(number));
        }
        if matches!(beat, Due::Dead(_)) {
            self.on_verdict(false).await;
        }
        let before = self.known_path_mtu();
        self.send_due_round(now);
        self.follow_search(before).await;
    }

    /// Asks for sizes, if the search has come to a round.
    fn send_due_round(&mut self, now: Instant) {
        let Some(probing) = &mut self.probing else {
            return;
        };
        let search = probing.search.as_mut();
        if let Some(round) = search.and_then(|search| search.poll(now)) {
            probing.round = Some(round);
            let answers = probing.answers;
            self.send_round(round, answers);
        }
    }

    fn send_round(&self, round: Round, answers: Answers) {
        for size in round.sizes() {
            if answers != Answers::Echoes {
                self.send_probe(Probe {
                    kind: Kind::Request,
                    size: self.payload_of(size),
                    sequence: OF_SEARCH | round.number,
                });
            }
            if let Some(to) = self.echo.filter(|_| answers != Answers::Probes) {
                let own = Own::Echo {
                    echo: to.echo,
                    sequence: echo_sequence(round),
                    size: self.echo_of(size),
                };
                self.send_own(to.tunnel, own);
            }
        }
    }

    fn send_probe(&self, probe: Probe) {
        self.send_own(FIRST, Own::Probe(probe));
    }

    fn send_own(&self, tunnel: TunnelId, own: Own) {
        if let Some(outer) = &self.outer {
            outer.link.send(tunnel, own);
        }
    }

    /// The peer asks by a probe, or answers one.
    pub(super) async fn on_probe(&mut self, probe: Probe, now: Instant) {
        if probe.kind == Kind::Request {
            return self.send_probe(probe.answer());
        }
        let Some(probing) = &mut self.probing else {
            return;
        };
        probing.answers = Answers::Probes;
        if probe.sequence & OF_SEARCH != 0 {
            let round = probing.round;
            let round = round.filter(|round| round.number | OF_SEARCH == probe.sequence);
            let size = round.and_then(|round| {
                let mut sizes = round.sizes();
                sizes.find(|size| self.payload_of(*size) == probe.size)
            });
            return self.on_size(size, now).await;
        }
        let liveness = probing.liveness.as_mut();
        if liveness.is_some_and(|liveness| liveness.answered(probe.sequence, now)) {
            self.on_verdict(true).await;
        }
    }

    /// The peer has answered an echo request.
    pub(super) async fn on_echo_answer(&mut self, sequence: u16, size: u16, now: Instant) {
        let Some(probing) = &mut self.probing else {
            return;
        };
        if probing.answers == Answers::Nothing {
            probing.answers = Answers::Echoes;
        }
        let round = probing.round;
        let round = round.filter(|round| echo_sequence(*round) == sequence);
        let size = round.and_then(|round| {
            let mut sizes = round.sizes();
            sizes.find(|outer| self.echo_of(*outer) == size)
        });
        self.on_size(size, now).await;
    }

    /// An outer packet of this size of the last round has got through.
    async fn on_size(&mut self, size: Option<u16>, now: Instant) {
        let before = self.known_path_mtu();
        let Some(probing) = &mut self.probing else {
            return;
        };
        if let (Some(search), Some(round), Some(size)) = (&mut probing.search, probing.round, size)
        {
            search.answered(round.number, size, now);
        }
        // The next round need not wait.
        self.send_due_round(now);
        self.follow_search(before).await;
    }

    /// Has the devices follow what was found out about the path, if that is news.
    async fn follow_search(&mut self, before: u16) {
        let found = self.known_path_mtu();
        if found == before {
            return;
        }
        if found < before && before == self.path_mtu.octets() {
            warn!(
                "{}: something on the way to the peer drops packets of {} octets without a word; looking \
                 for what it takes",
                self.name(),
                self.largest_outer()
            );
        }
        self.follow_path_mtu().await;
    }

    async fn on_verdict(&mut self, lives: bool) {
        let addresses = self.addresses();
        for tunnel in &mut self.tunnels {
            tunnel.on_verdict(lives, addresses).await;
        }
    }

    /// What probes have to say of the peer, if a tunnel asks for that.
    pub(in crate::daemon) fn quality(&self, now: Instant) -> Option<(Verdict, Quality)> {
        let liveness = self.probing.as_ref()?.liveness.as_ref()?;
        Some((liveness.verdict(), liveness.quality(now)))
    }

    pub(super) fn next_probe(&self) -> Option<Instant> {
        let probing = self.probing.as_ref()?;
        let search = probing.search.as_ref().map(Search::next);
        let beat = probing.liveness.as_ref().map(Liveness::next);
        search.into_iter().chain(beat).min()
    }
}

/// Echo requests have but 16 bits.
const fn echo_sequence(round: Round) -> u16 {
    let [_, _, high, low] = round.number.to_be_bytes();
    u16::from_be_bytes([high, low])
}
