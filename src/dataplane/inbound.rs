//! From ESP packets to passengers, in place and without descriptors.
//!
//! Owns: the lookup of the SA by its SPI (RFC 4303 §2.1), the order of what is done to a packet
//! (replay, ICV, replay again, GRE, ECN, MSS) and which payloads are believed: GRE, as the selectors
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

use super::bucket::Bucket;
use super::held::{Held, Offers};
use super::stray::{Stray, Strays};
use super::{LinkConfig, Note, SaId};
use crate::metrics::{Drop, LinkDrop, Tally, Traffic};
use crate::net::outer::Path;

/// The Next Header values that a peer may send (RFC 2784 §2, RFC 4303 §2.6).
const GRE: u8 = 47;
const NO_NEXT_HEADER: u8 = 59;

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
    /// The largest passenger, in octets.
    SetMtu(u16),
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
    decapsulator: gre::Decapsulator,
    mtu: u16,
    mss_clamp: bool,
    /// A handful at most, so that looking one after the other is the fastest way to find one.
    sas: Vec<Installed>,
    offers: Offers,
    /// Held packets whose SA has come.
    due: Vec<Held>,
    strays: Strays,
    ends: gre::keepalive::Ends,
    asks: bool,
    /// Keepalives that the daemon may be told of.
    keepalives: Bucket,
    tally: Tally,
    notify: N,
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
    /// A link without SAs, through which nothing passes.
    pub fn new(config: &LinkConfig, notify: N) -> Self {
        Self {
            decapsulator: gre::Decapsulator::new(config.gre),
            mtu: config.mtu,
            mss_clamp: config.mss_clamp,
            sas: Vec::new(),
            offers: Offers::default(),
            due: Vec::new(),
            strays: Strays::default(),
            ends: config.ends.clone(),
            asks: config.asks,
            keepalives: Bucket::new(KEEPALIVE_BURST, KEEPALIVE_INTERVAL),
            tally: Tally::default(),
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
            Command::SetMtu(mtu) => self.mtu = mtu,
            Command::Open(stray) => {
                if !self.strays.push(stray, Instant::now()) {
                    self.lose(LinkDrop::StrayFlood, 1);
                }
            }
        }
    }

    /// Opens packets in their order, first those that were held for an SA that has come since and those
    /// that came by no wire, and hands each passenger to `deliver`; what became of it is for [`account`](Self::account). What
    /// does not get so far is counted; a packet that is held, when it is clear what becomes of it.
    pub fn open<'a>(
        &mut self,
        arrivals: impl IntoIterator<Item = Arrival<'a>>,
        mut deliver: impl FnMut(&mut [u8]),
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

    fn refuse(&mut self, reason: Drop) {
        let by_key = [
            gre::Drop::KeyMissing,
            gre::Drop::KeyUnexpected,
            gre::Drop::KeyUnknown,
        ];
        if by_key.map(Drop::Gre).contains(&reason) {
            let key = self.decapsulator.refused_key();
            self.tally.strange_keys.count(key, 1);
        }
        self.tally.drop(reason, 1);
    }

    /// `elsewhere`: the path of one that came by no wire.
    fn open_one(
        &mut self,
        arrival: Arrival<'_>,
        elsewhere: Option<Path>,
        deliver: &mut impl FnMut(&mut [u8]),
    ) {
        self.tally.received += 1;
        match self.accept(arrival, elsewhere) {
            Ok(Accepted::Passenger(passenger)) => deliver(passenger),
            Ok(Accepted::Consumed) => self.tally.consumed += 1,
            Err(reason) => self.refuse(reason),
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
        self.tally.received += packets as u64;
        self.tally.drop(reason, packets);
    }

    /// Counts what became of passengers that were handed out.
    pub fn account(&mut self, delivery: Delivery) {
        let Delivery { taken, refused } = delivery;
        self.tally.delivered.packets += taken.packets;
        self.tally.delivered.bytes += taken.bytes;
        self.tally.drop(LinkDrop::TunRefused, refused);
    }

    /// What has been counted since the last publication. Who receives the packets adds those that
    /// never got here.
    pub const fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    fn accept<'b>(
        &mut self,
        arrival: Arrival<'b>,
        elsewhere: Option<Path>,
    ) -> Result<Accepted<'b>, Drop> {
        let Arrival { esp, tos } = arrival;
        let payload = self.unprotect(esp)?;
        if let Some(path) = elsewhere.filter(|_| payload.newest) {
            (self.notify)(Note::Elsewhere { path });
        }
        let packet = match payload.next_header {
            GRE => payload.bytes,
            DESTINATION_OPTIONS => gre::destination::skip_options(payload.bytes)?,
            NO_NEXT_HEADER => return Ok(Accepted::Consumed),
            _ => return Err(LinkDrop::NotGre.into()),
        };
        let gre::Delivery { passenger, .. } = match self.decapsulator.decapsulate(packet) {
            Err(gre::Drop::KeepaliveUnasked) if self.asks => {
                return self.tell(Note::KeepaliveAnswer);
            }
            decapsulated => decapsulated?,
        };
        match self.ends.classify(passenger)? {
            Kind::Passenger => {}
            Kind::Request(answer) => return self.tell(Note::KeepaliveRequest(answer)),
            Kind::Answer if self.asks => return self.tell(Note::KeepaliveAnswer),
            Kind::Answer => return Err(gre::Drop::KeepaliveUnasked.into()),
        }
        gre::tos::merge_ecn(tos, passenger)?;
        if self.mss_clamp {
            gre::mss::clamp(passenger, self.mtu);
        }
        Ok(Accepted::Passenger(passenger))
    }

    /// Tells the daemon of a keepalive, unless that happens too often.
    fn tell<'b>(&mut self, note: Note) -> Result<Accepted<'b>, Drop> {
        if !self.keepalives.take(Instant::now()) {
            return Err(gre::Drop::KeepaliveFlood.into());
        }
        (self.notify)(note);
        Ok(Accepted::Consumed)
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
        self.tally.authentic += 1;
        if std::mem::replace(unused, false) {
            // With its first packet rather than with the SA, so that late packets of a past life of
            // the peer's can't bring their sequence numbers back.
            if *fresh {
                self.decapsulator.restart();
            }
            (self.notify)(Note::FirstInbound { sa: *id });
        }
        Ok(payload)
    }
}

/// What an authentic packet was.
enum Accepted<'b> {
    Passenger(&'b mut [u8]),
    /// It has done its work: a dummy, or a keepalive.
    Consumed,
}

/// The daemon's socket does not tell the TOS octet: as if no router had marked the packet.
const NOT_ECT: u8 = 0;

/// Keepalives at once, and then one more each: twenty a second, where peers that are in their right
/// mind send one a second at most.
const KEEPALIVE_BURST: u32 = 20;
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(50);
