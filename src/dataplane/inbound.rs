//! From ESP packets to passengers, in place and without descriptors.
//!
//! Owns: the lookup of the SA by its SPI (RFC 4303 §2.1) and of the tunnel by its key (RFC 2890 §2.1),
//! the order of what is done to a packet (replay, ICV, replay again, GRE, ECN, MSS) and which payloads are
//! believed: GRE, as the selectors
//! have it, also behind IPv6 destination options. Dummies are taken without a word (RFC 4303 §2.6), and
//! the daemon is told of GRE keepalives.
//!
//! Not here: receiving, writing to the device, when an SA is to be removed, and how packets are held
//! for an SA that is still on its way (`held`).

use std::time::{Duration, Instant};

use secure_gre_esp as esp;
use secure_gre_esp::{InboundSa, Spi, peek_spi};
use secure_gre_gre as gre;
use secure_gre_gre::destination::DESTINATION_OPTIONS;
use secure_gre_gre::keepalive::Kind;
use secure_gre_gre::probe::Probe;
use secure_gre_gre::probe::echo::Echo;

use super::bucket::Bucket;
use super::held::{Held, Offers};
use super::stray::{Stray, Strays};
use super::{Note, SaId, TunnelConfig, TunnelId};
use crate::metrics::{Drop, LinkDrop, Tally, Traffic};
use crate::net::outer::Path;

/// What the daemon tells the inbound direction.
#[derive(Debug)]
pub enum Command {
    /// An SA of this SPI may come: packets that are faster than it are held for it.
    Expect(Spi),
    /// It won't come.
    ExpectNoMore(Spi),
    /// Packets of this SA are opened.
    Install {
        /// Which pair.
        id: SaId,
        /// Its inbound half.
        sa: Box<InboundSa>,
        /// Whether the pair replaces none.
        fresh: bool,
    },
    /// Packets of this one no more.
    Remove(SaId),
    /// The largest passenger.
    SetMtu {
        /// Of this tunnel.
        tunnel: TunnelId,
        /// In octets.
        mtu: u16,
    },
    /// This packet has come by no wire.
    Open(Stray),
}

/// One packet from the wire.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// From the SPI to the ICV.
    pub esp: &'a mut [u8],
    /// The outer TOS octet.
    pub tos: u8,
}

/// What became of passengers that were handed to the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivery {
    taken: Traffic,
    /// Passengers that it did not want.
    refused: usize,
}

impl Delivery {
    /// Adds so many passengers of so many octets together, which the device took or not.
    pub const fn add(&mut self, passengers: usize, octets: usize, taken: bool) {
        if taken {
            self.taken.packets += passengers as u64;
            self.taken.bytes += octets as u64;
        } else {
            self.refused += passengers;
        }
    }
}

/// The inbound half of a link. `N` takes its notes.
#[derive(Debug)]
pub struct Inbound<N> {
    tunnels: Box<[Tunnel]>,
    /// Those that have counted anything since their last publication.
    touched: Vec<TunnelId>,
    keys: gre::Keys,
    /// A handful at most, so that looking one after the other is the fastest way to find one.
    sas: Vec<Installed>,
    offers: Offers,
    /// Held packets whose SA has come.
    due: Vec<Held>,
    strays: Strays,
    /// Probes that the daemon may be told of.
    probes: Bucket,
    /// Of the packets whose tunnel was not found, and of those that have none.
    arrivals: Tally,
    notify: N,
}

/// The inbound half of one tunnel.
#[derive(Debug)]
struct Tunnel {
    id: TunnelId,
    kind: gre::Passengers,
    decapsulator: gre::Decapsulator,
    mtu: u16,
    mss_clamp: bool,
    ends: gre::keepalive::Ends,
    asks: bool,
    echo: Option<Echo>,
    /// Keepalives that the daemon may be told of.
    keepalives: Bucket,
    /// The same for answers to our echo requests.
    echoes: Bucket,
    tally: Tally,
}

#[derive(Debug)]
struct Installed {
    id: SaId,
    sa: Box<InboundSa>,
    fresh: bool,
    /// No authentic packet has come.
    unused: bool,
}

impl<N: FnMut(Note)> Inbound<N> {
    /// A link of these tunnels without SAs, through which nothing passes.
    pub fn new<'c>(tunnels: impl IntoIterator<Item = &'c TunnelConfig>, notify: N) -> Self {
        let tunnels = tunnels.into_iter().enumerate();
        let (keys, tunnels): (Vec<_>, Vec<_>) = tunnels
            .map(|(place, config)| (config.gre.key, Tunnel::new(TunnelId(place), config)))
            .unzip();
        Self {
            touched: Vec::with_capacity(tunnels.len()),
            tunnels: tunnels.into_boxed_slice(),
            keys: gre::Keys::new(keys),
            sas: Vec::new(),
            offers: Offers::default(),
            due: Vec::new(),
            strays: Strays::default(),
            probes: Bucket::new(PROBE_BURST, PROBE_INTERVAL),
            arrivals: Tally::default(),
            notify,
        }
    }

    /// Does what the daemon wants.
    pub fn obey(&mut self, command: Command) {
        match command {
            Command::Expect(spi) => self.offers.add(spi),
            Command::ExpectNoMore(spi) => {
                if let Some(held) = self.offers.take(spi) {
                    self.lose(LinkDrop::HeldInVain, held.len());
                }
            }
            Command::Install { id, sa, fresh } => {
                self.due.extend(self.offers.take(sa.spi()));
                self.sas.push(Installed {
                    id,
                    sa,
                    fresh,
                    unused: true,
                });
            }
            Command::Remove(id) => self.sas.retain(|installed| installed.id != id),
            Command::SetMtu { tunnel, mtu } => {
                if let Some(tunnel) = self.tunnels.get_mut(tunnel.0) {
                    tunnel.mtu = mtu;
                }
            }
            Command::Open(stray) => {
                if !self.strays.push(stray, Instant::now()) {
                    self.lose(LinkDrop::StrayFlood, 1);
                }
            }
        }
    }

    /// Opens packets in their order, first those that were held for an SA that has come since and those
    /// that came by no wire, and hands each passenger to `deliver` with its tunnel; what became of it is
    /// for [`account`](Self::account). What does not get so far is counted; a packet that is held, when
    /// it is clear what becomes of it.
    pub fn open<'a>(
        &mut self,
        arrivals: impl IntoIterator<Item = Arrival<'a>>,
        mut deliver: impl FnMut(TunnelId, &mut [u8]),
    ) {
        for mut held in std::mem::take(&mut self.due) {
            let expired = held.expire(Instant::now());
            self.lose(LinkDrop::HeldTooLong, expired);
            held.for_each(|arrival| self.open_one(arrival, None, &mut deliver));
        }
        for Stray { path, mut esp } in self.strays.take() {
            let arrival = Arrival {
                esp: &mut esp,
                tos: NOT_ECT,
            };
            self.open_one(arrival, Some(path), &mut deliver);
        }
        for arrival in arrivals {
            if self.offers.is_empty() || !self.hold(&arrival) {
                self.open_one(arrival, None, &mut deliver);
            }
        }
    }

    /// Whether packets that did not come with the last batch wait for [`open`](Self::open).
    pub const fn has_due(&self) -> bool {
        !self.due.is_empty() || !self.strays.is_empty()
    }

    /// `elsewhere`: the path of one that came by no wire.
    fn open_one(
        &mut self,
        arrival: Arrival<'_>,
        elsewhere: Option<Path>,
        deliver: &mut impl FnMut(TunnelId, &mut [u8]),
    ) {
        self.arrivals.received += 1;
        let Arrival { esp, tos } = arrival;
        match self.arrive(esp, elsewhere) {
            Ok(Arrived::Gre(packet)) => self.pass_on(packet, tos, deliver),
            Ok(Arrived::Dummy(probe)) => self.arrive_dummy(probe),
            Err(reason) => self.arrivals.drop(reason, 1),
        }
    }

    /// Tells the daemon of a probe, unless that happens too often.
    fn arrive_dummy(&mut self, probe: Option<Probe>) {
        self.arrivals.consumed += 1;
        if let Some(probe) = probe.filter(|_| self.probes.take(Instant::now())) {
            (self.notify)(Note::Probe(probe));
        }
    }

    /// Hands an authentic packet to the tunnel that has its key.
    fn pass_on(
        &mut self,
        packet: gre::Packet<'_>,
        tos: u8,
        deliver: &mut impl FnMut(TunnelId, &mut [u8]),
    ) {
        let (key, octets) = (packet.key(), packet.size());
        let tunnel = match self.keys.find(key) {
            Ok(place) => self.tunnels.get_mut(place),
            Err(reason) => {
                self.arrivals.strange_keys.count(key, 1);
                return self.arrivals.drop(reason, 1);
            }
        };
        let Some(tunnel) = tunnel else { return };
        self.arrivals.deliver(octets);
        if tunnel.tally.received == 0 {
            self.touched.push(tunnel.id);
        }
        tunnel.tally.received += 1;
        match tunnel.accept(packet, tos, &mut self.notify) {
            Ok(Accepted::Passenger(passenger)) => deliver(tunnel.id, passenger),
            Ok(Accepted::Consumed) => tunnel.tally.consumed += 1,
            Err(reason) => tunnel.tally.drop(reason, 1),
        }
    }

    /// Whether the packet is for an SA that is expected, so that nothing more is to be done with it.
    fn hold(&mut self, arrival: &Arrival<'_>) -> bool {
        match self.offers.hold(arrival, Instant::now()) {
            None => return false,
            Some(Ok(())) => {}
            Some(Err(reason)) => self.lose(reason, 1),
        }
        true
    }

    /// Counts packets that were never opened.
    fn lose(&mut self, reason: LinkDrop, packets: usize) {
        self.arrivals.received += packets as u64;
        self.arrivals.drop(reason, packets);
    }

    /// Counts what became of passengers of a tunnel that were handed out.
    pub fn account(&mut self, tunnel: TunnelId, delivery: Delivery) {
        if let Some(tally) = self.tally(tunnel) {
            let Delivery { taken, refused } = delivery;
            tally.delivered.packets += taken.packets;
            tally.delivered.bytes += taken.bytes;
            tally.drop(LinkDrop::TunRefused, refused);
        }
    }

    /// What has been counted since the last publication, before it was clear what tunnel a packet is
    /// for. Who receives the packets adds those that never got here.
    pub const fn arrivals(&mut self) -> &mut Tally {
        &mut self.arrivals
    }

    /// One of the tunnels that have counted anything; each is named once.
    pub fn next_touched(&mut self) -> Option<TunnelId> {
        self.touched.pop()
    }

    /// What has been counted of a tunnel since the last publication. `None`: there is no such tunnel.
    pub fn tally(&mut self, tunnel: TunnelId) -> Option<&mut Tally> {
        let tunnel = self.tunnels.get_mut(tunnel.0)?;
        Some(&mut tunnel.tally)
    }

    /// What an ESP packet holds. `elsewhere`: the path of one that came by no wire.
    fn arrive<'b>(
        &mut self,
        packet: &'b mut [u8],
        elsewhere: Option<Path>,
    ) -> Result<Arrived<'b>, Drop> {
        let payload = self.unprotect(packet)?;
        if let Some(path) = elsewhere.filter(|_| payload.newest) {
            (self.notify)(Note::Elsewhere { path });
        }
        let octets = match payload.next_header {
            gre::IP_PROTOCOL => payload.bytes,
            DESTINATION_OPTIONS => gre::destination::skip_options(payload.bytes)?,
            esp::NO_NEXT_HEADER => return Ok(Arrived::Dummy(Probe::parse(payload.bytes))),
            _ => return Err(LinkDrop::NotGre.into()),
        };
        Ok(Arrived::Gre(gre::Packet::parse(octets)?))
    }

    fn unprotect<'b>(&mut self, packet: &'b mut [u8]) -> Result<esp::Payload<'b>, esp::Drop> {
        let spi = match peek_spi(packet) {
            Some(spi) => spi,
            None if packet.len() < size_of::<u32>() => return Err(esp::Drop::Truncated),
            None => return Err(esp::Drop::UnknownSpi),
        };
        let installed = self.sas.iter_mut().find(|other| other.sa.spi() == spi);
        let Installed {
            id,
            sa,
            fresh,
            unused,
        } = installed.ok_or(esp::Drop::UnknownSpi)?;

        let candidate = sa.candidate(packet)?;
        let opened = sa.open(candidate, packet)?;
        let payload = sa.commit(opened)?;
        self.arrivals.authentic += 1;
        if std::mem::replace(unused, false) {
            // With its first packet rather than with the SA, so that late packets of a past life of
            // the peer's can't bring their sequence numbers back.
            if *fresh {
                let tunnels = self.tunnels.iter_mut();
                tunnels.for_each(|tunnel| tunnel.decapsulator.restart());
            }
            (self.notify)(Note::FirstInbound { sa: *id });
        }
        Ok(payload)
    }
}

impl Tunnel {
    fn new(id: TunnelId, config: &TunnelConfig) -> Self {
        Self {
            id,
            kind: config.gre.kind,
            decapsulator: gre::Decapsulator::new(config.gre),
            mtu: config.mtu,
            mss_clamp: config.mss_clamp,
            ends: config.ends.clone(),
            asks: config.asks,
            echo: config.echo,
            keepalives: Bucket::new(KEEPALIVE_BURST, KEEPALIVE_INTERVAL),
            echoes: Bucket::new(PROBE_BURST, PROBE_INTERVAL),
            tally: Tally::default(),
        }
    }

    /// Takes a packet of this tunnel's, which came with the outer `tos`.
    fn accept<'b>(
        &mut self,
        packet: gre::Packet<'b>,
        tos: u8,
        notify: &mut impl FnMut(Note),
    ) -> Result<Accepted<'b>, Drop> {
        let tunnel = self.id;
        let gre::Delivery { passenger, .. } = match self.decapsulator.decapsulate(packet) {
            Err(gre::Drop::KeepaliveUnasked) if self.asks => {
                return self.tell(Note::KeepaliveAnswer { tunnel }, notify);
            }
            decapsulated => decapsulated?,
        };
        // A keepalive is an IP packet; in a frame it is somebody else's.
        let asked = match self.kind {
            gre::Passengers::Ip => self.ends.classify(passenger)?,
            gre::Passengers::Ethernet => Kind::Passenger,
        };
        match asked {
            Kind::Passenger => {}
            Kind::Request(answer) => {
                return self.tell(Note::KeepaliveRequest { tunnel, answer }, notify);
            }
            Kind::Answer if self.asks => {
                return self.tell(Note::KeepaliveAnswer { tunnel }, notify);
            }
            Kind::Answer => return Err(gre::Drop::KeepaliveUnasked.into()),
        }
        if let Some((sequence, size)) = self.echo.and_then(|echo| echo.answered(passenger)) {
            if self.echoes.take(Instant::now()) {
                notify(Note::EchoAnswer { sequence, size });
            }
            return Ok(Accepted::Consumed);
        }
        let packet = self.kind.ip_packet(passenger);
        gre::tos::merge_ecn(tos, packet)?;
        if self.mss_clamp {
            gre::mss::clamp(packet, self.mtu);
        }
        Ok(Accepted::Passenger(passenger))
    }

    /// Tells the daemon of a keepalive, unless that happens too often.
    fn tell<'b>(
        &mut self,
        note: Note,
        notify: &mut impl FnMut(Note),
    ) -> Result<Accepted<'b>, Drop> {
        if !self.keepalives.take(Instant::now()) {
            return Err(gre::Drop::KeepaliveFlood.into());
        }
        notify(note);
        Ok(Accepted::Consumed)
    }
}

/// What an authentic ESP packet held.
enum Arrived<'b> {
    Gre(gre::Packet<'b>),
    /// Nothing (RFC 4303 §2.6), or what is nothing to whoever does not know it.
    Dummy(Option<Probe>),
}

/// What a packet was to its tunnel.
enum Accepted<'b> {
    Passenger(&'b mut [u8]),
    /// A keepalive, which has done its work.
    Consumed,
}

/// The daemon's socket does not tell the TOS octet: as if no router had marked the packet.
const NOT_ECT: u8 = 0;

/// Keepalives at once, and then one more each: twenty a second, where peers that are in their right
/// mind send one a second at most.
const KEEPALIVE_BURST: u32 = 20;
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(50);
/// The same for probes: `liveness` asks up to fifty times a second, and the MTU of the path is looked for
/// at the same time.
const PROBE_BURST: u32 = 200;
const PROBE_INTERVAL: Duration = Duration::from_millis(5);
