//! From passengers to ESP packets, in place and without descriptors.
//!
//! Owns: the order of what is done to a passenger (MTU verdict, MSS clamp, outer TOS, TTL and DF, GRE,
//! ESP) and which outbound SA carries it (RFC 7296 §2.8: the newest). Sequence numbers are reserved once
//! per batch.
//!
//! Not here: reading the device, sending, and what the SAs were negotiated to be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use secure_gre_esp as esp;
use secure_gre_esp::OutboundSa;
use secure_gre_gre as gre;
use secure_gre_gre::probe::Probe;
use secure_gre_gre::probe::echo::Echo;

use super::batch::{Batch, Frame};
use super::recursion::Ends;
use super::too_big::Answers;
use super::{Note, SaId, TunnelConfig, TunnelId};
use crate::metrics::{Drop, LinkDrop, Tally};
use crate::net::outer::Path;

/// What the daemon tells the outbound direction.
#[derive(Debug)]
pub enum Command {
    /// This SA carries the packets.
    Install(Arc<SharedSa>),
    /// This one no more.
    Remove(SaId),
    /// The largest passenger.
    SetMtu {
        /// Of this tunnel.
        tunnel: TunnelId,
        /// In octets.
        mtu: u16,
        /// The largest whose outer packet the path takes in one piece, in octets.
        whole: u16,
    },
    /// A packet of our own is to be sent.
    Send {
        /// Through this tunnel.
        tunnel: TunnelId,
        /// The packet.
        own: Own,
    },
}

/// A packet that comes from no device.
#[derive(Debug, Clone, Copy)]
pub enum Own {
    /// An IP packet, which gets the tunnel's GRE header.
    Passenger(gre::keepalive::Packet),
    /// What ESP is put around as it is.
    Gre(gre::keepalive::Packet),
    /// An echo request of so many octets, which gets the tunnel's GRE header.
    Echo {
        /// From whom to whom.
        echo: Echo,
        /// What the answer is known by.
        sequence: u16,
        /// Of the IP packet, in octets.
        size: u16,
    },
    /// The payload of a dummy packet, whatever the tunnel.
    Probe(Probe),
}

impl Own {
    /// In octets.
    fn size(&self) -> usize {
        match self {
            Self::Passenger(packet) | Self::Gre(packet) => packet.octets().len(),
            Self::Echo { size, .. } => usize::from(*size),
            Self::Probe(probe) => probe.wire_len(),
        }
    }

    /// Writes it to `place`, which is [`size`](Self::size) octets.
    fn write(&self, place: &mut [u8]) -> Option<()> {
        let octets: &[u8] = match self {
            Self::Passenger(packet) | Self::Gre(packet) => packet.octets(),
            Self::Echo { echo, sequence, .. } => return echo.write_request(*sequence, place),
            Self::Probe(probe) => &probe.header(),
        };
        let (start, rest) = place.split_at_mut_checked(octets.len())?;
        start.copy_from_slice(octets);
        rest.fill(0);
        Some(())
    }

    const fn next_header(&self) -> u8 {
        match self {
            Self::Passenger(_) | Self::Gre(_) | Self::Echo { .. } => gre::IP_PROTOCOL,
            Self::Probe(_) => esp::NO_NEXT_HEADER,
        }
    }
}

/// The outbound half of a link. `N` takes its notes.
#[derive(Debug)]
pub struct Outbound<N> {
    tunnels: Box<[Tunnel]>,
    /// Oldest first; the last one carries the packets.
    sas: Vec<Arc<SharedSa>>,
    /// Packets of our own that wait for their turn.
    own: Vec<(TunnelId, Own)>,
    /// Of the outer packets, once the wire is known.
    ends: Option<Ends>,
    notify: N,
}

/// The outbound half of one tunnel.
#[derive(Debug)]
struct Tunnel {
    kind: gre::Passengers,
    encapsulator: gre::Encapsulator,
    tos: gre::tos::Policy,
    ttl: gre::ttl::Policy,
    df: gre::df::Policy,
    mtu: u16,
    /// What is larger than this, and no larger than `mtu`, may be cut outside (RFC 7676 §3).
    whole: u16,
    mss_clamp: bool,
    answers: Answers,
    tally: Tally,
}

/// The outbound half of a pair, with which all workers of a link seal at once: each takes sequence
/// numbers for a batch, and what there is to tell of it is told once.
#[derive(Debug)]
pub struct SharedSa {
    id: SaId,
    sa: OutboundSa,
    soft_limit_told: AtomicBool,
    exhaustion_told: AtomicBool,
}

impl<N: FnMut(Note)> Outbound<N> {
    /// A link of these tunnels without SAs, through which nothing passes.
    pub fn new<'c>(tunnels: impl IntoIterator<Item = &'c TunnelConfig>, notify: N) -> Self {
        Self {
            tunnels: tunnels.into_iter().map(Tunnel::new).collect(),
            sas: Vec::new(),
            own: Vec::new(),
            ends: None,
            notify,
        }
    }

    /// Does what the daemon wants.
    pub fn obey(&mut self, command: Command) {
        match command {
            Command::Install(sa) => self.sas.push(sa),
            Command::Remove(id) => self.sas.retain(|sa| sa.id != id),
            Command::SetMtu { tunnel, mtu, whole } => {
                if let Some(tunnel) = self.tunnels.get_mut(tunnel.0) {
                    (tunnel.mtu, tunnel.whole) = (mtu, whole);
                }
            }
            Command::Send { tunnel, own } => self.own.push((tunnel, own)),
        }
    }

    /// The outer packets travel on this path from here on.
    pub fn travel(&mut self, path: Path) {
        self.ends = Some(Ends::of(path));
    }

    /// Turns the passengers of `batch`, all of one tunnel, into ESP packets and removes from it,
    /// counted, those that may not leave. `reply` gets the packets that go back to the passengers'
    /// senders.
    pub fn seal(
        &mut self,
        tunnel: TunnelId,
        batch: &mut Batch,
        now: Instant,
        mut reply: impl FnMut(&[u8]),
    ) {
        let Some(tunnel) = self.tunnels.get_mut(tunnel.0) else {
            return batch.clear();
        };
        tunnel.receive(batch, !self.sas.is_empty());
        let ends = self.ends;
        batch.retain(|buffer, frame| {
            let outcome = tunnel.encapsulate(buffer, frame, ends, now, &mut reply);
            outcome
                .inspect_err(|&reason| tunnel.tally.drop(reason, 1))
                .is_ok()
        });
        if let Some(sa) = self.sas.last() {
            sa.protect(gre::IP_PROTOCOL, batch, &mut tunnel.tally, &mut self.notify);
        }
    }

    /// The packets of our own that wait to be sealed and sent.
    pub fn take_own(&mut self) -> Vec<(TunnelId, Own)> {
        std::mem::take(&mut self.own)
    }

    /// Makes `batch` the ESP packet of `own`, or empty, counted.
    pub fn seal_own(&mut self, tunnel: TunnelId, batch: &mut Batch, own: &Own) {
        let Some(tunnel) = self.tunnels.get_mut(tunnel.0) else {
            return batch.clear();
        };
        batch.clear();
        let place = batch.push(own.size());
        if place.and_then(|place| own.write(place)).is_none() {
            return batch.clear();
        }
        tunnel.receive(batch, !self.sas.is_empty());
        batch.retain(|buffer, frame| {
            let outcome = tunnel.encapsulate_own(buffer, frame, own);
            outcome
                .inspect_err(|&reason| tunnel.tally.drop(reason, 1))
                .is_ok()
        });
        if let Some(sa) = self.sas.last() {
            sa.protect(
                own.next_header(),
                batch,
                &mut tunnel.tally,
                &mut self.notify,
            );
        }
    }

    /// What has been counted of a tunnel since the last publication. Who sends the packets adds what
    /// became of them. `None`: there is no such tunnel.
    pub fn tally(&mut self, tunnel: TunnelId) -> Option<&mut Tally> {
        let tunnel = self.tunnels.get_mut(tunnel.0)?;
        Some(&mut tunnel.tally)
    }

    /// Whether any SA is there to carry packets.
    pub const fn is_open(&self) -> bool {
        !self.sas.is_empty()
    }

    /// Where the notes go.
    pub const fn notify(&mut self) -> &mut N {
        &mut self.notify
    }
}

impl Tunnel {
    fn new(config: &TunnelConfig) -> Self {
        Self {
            kind: config.gre.kind,
            encapsulator: gre::Encapsulator::new(config.gre),
            tos: config.tos,
            ttl: config.ttl,
            df: config.df,
            mtu: config.mtu,
            whole: config.mtu,
            mss_clamp: config.mss_clamp,
            answers: Answers::new(config),
            tally: Tally::default(),
        }
    }

    /// Counts what has come. Without an SA nothing of it may leave.
    fn receive(&mut self, batch: &mut Batch, is_open: bool) {
        self.tally.received += batch.len() as u64;
        if !is_open {
            self.tally.drop(LinkDrop::NoSa, batch.len());
            batch.clear();
        }
    }

    fn encapsulate(
        &mut self,
        buffer: &mut [u8],
        frame: &mut Frame,
        ends: Option<Ends>,
        now: Instant,
        mut reply: impl FnMut(&[u8]),
    ) -> Result<(), Drop> {
        let range = frame.range.clone();
        let passenger = buffer.get_mut(range.clone()).ok_or(gre::Drop::NoHeadroom)?;
        if ends.is_some_and(|ends| ends.sent(self.kind.ip_packet(passenger))) {
            return Err(LinkDrop::Recursion.into());
        }
        let largest = usize::from(self.mtu) + self.kind.link_header_len(passenger);
        if passenger.len() > largest {
            // On Ethernet as a bridge would: without a word.
            let answer = match self.kind {
                gre::Passengers::Ip => self.answers.answer(passenger, self.mtu, now),
                gre::Passengers::Ethernet => None,
            };
            answer.map(&mut reply);
            return Err(LinkDrop::TooBig.into());
        }
        let packet = self.kind.ip_packet(passenger);
        if self.mss_clamp {
            gre::mss::clamp(packet, self.mtu.min(self.whole));
        }
        frame.tos = gre::tos::outer_tos(self.tos, packet);
        frame.ttl = Some(self.ttl.outer(packet));
        let is_whole = packet.len() <= self.whole.into();
        frame.may_fragment = !is_whole || self.df.may_fragment(packet);
        frame.range = self.encapsulator.encapsulate(buffer, range)?;
        Ok(())
    }

    fn encapsulate_own(
        &mut self,
        buffer: &mut [u8],
        frame: &mut Frame,
        own: &Own,
    ) -> Result<(), Drop> {
        frame.ttl = Some(self.ttl.own());
        match own {
            Own::Passenger(packet) => {
                frame.tos = gre::tos::outer_tos(self.tos, packet.octets());
                frame.range = self.encapsulator.encapsulate(buffer, frame.range.clone())?;
            }
            Own::Echo { .. } => {
                frame.range = self.encapsulator.encapsulate(buffer, frame.range.clone())?;
            }
            Own::Gre(_) | Own::Probe(_) => {}
        }
        Ok(())
    }
}

impl SharedSa {
    /// The outbound half of the pair `id`.
    pub const fn new(id: SaId, sa: OutboundSa) -> Self {
        Self {
            id,
            sa,
            soft_limit_told: AtomicBool::new(false),
            exhaustion_told: AtomicBool::new(false),
        }
    }

    /// As [`OutboundSa::may_have_sent`].
    pub fn may_have_sent(&self, packet: &[u8]) -> bool {
        self.sa.may_have_sent(packet)
    }

    /// Seals the packets of `batch`, which are of this kind, and counts in `tally` what is not sealed.
    fn protect(
        &self,
        next_header: u8,
        batch: &mut Batch,
        tally: &mut Tally,
        notify: &mut impl FnMut(Note),
    ) {
        let Self {
            id,
            sa,
            soft_limit_told,
            exhaustion_told,
        } = self;
        let wanted = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        // Where so much is not left, each packet asks for itself.
        let mut numbers = sa.reserve(wanted, batch.bytes()).ok();
        let soft_limit = numbers.as_ref().is_none_or(|numbers| numbers.soft_limit());
        if soft_limit && !soft_limit_told.swap(true, Ordering::Relaxed) {
            notify(Note::SoftLimit { sa: *id });
        }

        batch.retain(|buffer, frame| {
            let number = match &mut numbers {
                Some(numbers) => numbers.next(),
                None => {
                    let number = sa.reserve(1, frame.range.len() as u64);
                    number.ok().and_then(|mut number| number.next())
                }
            };
            let sealed = number.ok_or(LinkDrop::Exhausted).and_then(|seq| {
                sa.seal(seq, next_header, buffer, frame.range.clone())
                    .map_err(|_| LinkDrop::NotSealed)
            });
            match sealed {
                Ok(range) => {
                    frame.range = range;
                    true
                }
                Err(reason) => {
                    if reason == LinkDrop::Exhausted
                        && !exhaustion_told.swap(true, Ordering::Relaxed)
                    {
                        notify(Note::Exhausted { sa: *id });
                    }
                    tally.drop(reason, 1);
                    false
                }
            }
        });
    }
}
