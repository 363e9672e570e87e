//! Packets that come before their SA does: the peer has it already, while the answer that brings us
//! its keys is still on its way. libreswan, as responder of a rekey, sends such packets before the
//! answer itself.
//!
//! Owns: which SPIs we have offered, and what is held for them, within bounds of number, octets and
//! time. Not here: what becomes of the packets when the SA is there (`inbound`).

use std::ops::Range;
use std::time::{Duration, Instant};

use secure_gre_esp::{Spi, peek_spi};

use super::inbound::Arrival;
use crate::metrics::LinkDrop;

/// Offers at a time. A peer has one rekey under way, and one attempt to set up anew beside it.
const OFFERS: usize = 4;

/// What is held for one offer: a millisecond of ten gigabits a second.
const PACKETS: usize = 1024;
const OCTETS: usize = 1 << 20;

/// How long a packet is held: a repetition of a lost answer comes in that time.
const HELD_FOR: Duration = Duration::from_secs(1);

/// The SPIs that were offered and may become those of inbound SAs.
#[derive(Debug, Default)]
pub(super) struct Offers(Vec<Held>);

/// The packets for one offered SPI, in their order.
#[derive(Debug)]
pub(super) struct Held {
    spi: Spi,
    octets: Vec<u8>,
    packets: Vec<Packet>,
}

#[derive(Debug)]
struct Packet {
    range: Range<usize>,
    tos: u8,
    until: Instant,
}

impl Offers {
    /// Holds packets for `spi` from here on. All of the room that they may take is allocated here.
    pub(super) fn add(&mut self, spi: Spi) {
        if self.0.len() < OFFERS {
            self.0.push(Held {
                spi,
                octets: Vec::with_capacity(OCTETS),
                packets: Vec::with_capacity(PACKETS),
            });
        }
    }

    /// What was held for `spi`; from here on nothing more is.
    pub(super) fn take(&mut self, spi: Spi) -> Option<Held> {
        let at = self.0.iter().position(|held| held.spi == spi)?;
        Some(self.0.swap_remove(at))
    }

    /// Whether no offer is open: so it is nearly always.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Holds the packet if its SPI was offered. `None`: it was not. An error says why it is lost.
    pub(super) fn hold(
        &mut self,
        arrival: &Arrival<'_>,
        now: Instant,
    ) -> Option<Result<(), LinkDrop>> {
        let spi = peek_spi(arrival.esp)?;
        let held = self.0.iter_mut().find(|held| held.spi == spi)?;
        Some(held.push(arrival, now))
    }
}

impl Held {
    fn push(&mut self, arrival: &Arrival<'_>, now: Instant) -> Result<(), LinkDrop> {
        let start = self.octets.len();
        let end = start + arrival.esp.len();
        if end > OCTETS || self.packets.len() == PACKETS {
            return Err(LinkDrop::HeldFull);
        }
        self.octets.extend_from_slice(arrival.esp);
        self.packets.push(Packet {
            range: start..end,
            tos: arrival.tos,
            until: now + HELD_FOR,
        });
        Ok(())
    }

    /// How many packets there are.
    pub(super) const fn len(&self) -> usize {
        self.packets.len()
    }

    /// Forgets what has been held for too long, and says how many packets that were.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let before = self.packets.len();
        self.packets.retain(|packet| now < packet.until);
        before - self.packets.len()
    }

    /// Hands each packet to `open`, in the order in which they came.
    pub(super) fn for_each(&mut self, mut open: impl FnMut(Arrival<'_>)) {
        for Packet { range, tos, .. } in self.packets.drain(..) {
            if let Some(esp) = self.octets.get_mut(range) {
                open(Arrival { esp, tos });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spi(number: u32) -> Spi {
        Spi::try_from(number).unwrap()
    }

    fn packet(spi: u32, len: usize) -> Vec<u8> {
        let mut packet = spi.to_be_bytes().to_vec();
        packet.resize(len, 0);
        packet
    }

    fn hold(
        offers: &mut Offers,
        mut packet: Vec<u8>,
        now: Instant,
    ) -> Option<Result<(), LinkDrop>> {
        let arrival = Arrival {
            esp: &mut packet,
            tos: 1,
        };
        offers.hold(&arrival, now)
    }

    #[test]
    fn only_what_was_offered_is_held() {
        let now = Instant::now();
        let mut offers = Offers::default();
        assert!(offers.is_empty());
        offers.add(spi(0x1001));
        assert_eq!(hold(&mut offers, packet(0x1002, 60), now), None);
        assert_eq!(hold(&mut offers, vec![0, 0, 0x10], now), None);
        for len in [60, 61] {
            assert_eq!(hold(&mut offers, packet(0x1001, len), now), Some(Ok(())));
        }
        let mut held = offers.take(spi(0x1001)).unwrap();
        assert!(offers.take(spi(0x1001)).is_none() && offers.is_empty());
        let mut lengths = Vec::new();
        held.for_each(|arrival| lengths.push((arrival.esp.len(), arrival.tos)));
        assert_eq!(lengths, [(60, 1), (61, 1)]);
    }

    #[test]
    fn packets_octets_and_offers_are_bounded() {
        let now = Instant::now();
        let mut offers = Offers::default();
        for number in 0..100 {
            offers.add(spi(0x1000 + number));
        }
        assert_eq!(offers.0.len(), OFFERS);
        for _ in 0..PACKETS {
            assert_eq!(hold(&mut offers, packet(0x1000, 100), now), Some(Ok(())));
        }
        let full = Some(Err(LinkDrop::HeldFull));
        assert_eq!(hold(&mut offers, packet(0x1000, 100), now), full);
        assert_eq!(hold(&mut offers, packet(0x1001, OCTETS), now), Some(Ok(())));
        assert_eq!(hold(&mut offers, packet(0x1001, 4), now), full);
    }

    #[test]
    fn packets_grow_too_old() {
        let start = Instant::now();
        let mut offers = Offers::default();
        offers.add(spi(0x1001));
        for tenth in 0..20 {
            let now = start + HELD_FOR / 10 * tenth;
            assert_eq!(hold(&mut offers, packet(0x1001, 60), now), Some(Ok(())));
        }
        let mut held = offers.take(spi(0x1001)).unwrap();
        assert_eq!(held.expire(start + HELD_FOR / 10 * 19), 10);
        assert_eq!(held.len(), 10);
    }
}
