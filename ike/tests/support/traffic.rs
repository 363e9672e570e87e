//! Packets as the data plane would carry them, without the cryptography: a packet shows the SPI and the
//! key that it was sealed with, and is opened by whoever has installed that.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use secure_gre_ike::event::{ChildKeys, Command, EspSpi};
use secure_gre_sim::Frame;

use super::{Host, PEER};

/// Packets are told from IKE messages by this port.
pub(crate) const PORT: u16 = 50;

/// What one host sends, and what has become of what the other sent.
#[derive(Default)]
pub(crate) struct Traffic {
    every: Option<Duration>,
    next: Option<Instant>,
    /// There was no SA to send it on.
    pub(crate) unsent: u64,
    pub(crate) sent: u64,
    pub(crate) arrived: u64,
    /// There was no SA to open it with.
    pub(crate) lost: u64,
    /// Packets for SPIs that were offered: worth waiting for.
    held: Vec<Vec<u8>>,
}

impl Traffic {
    pub(super) const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whatever was held for this SA is opened.
    pub(super) fn installed(&mut self, keys: &ChildKeys) {
        let sealed = seal(keys);
        let before = self.held.len();
        self.held.retain(|packet| *packet != sealed);
        self.arrived += u64::try_from(before - self.held.len()).unwrap();
        self.withdrawn(keys.spi);
    }

    pub(super) fn withdrawn(&mut self, spi: EspSpi) {
        let before = self.held.len();
        self.held.retain(|packet| spi_of(packet) != spi);
        self.lost += u64::try_from(before - self.held.len()).unwrap();
    }
}

fn seal(keys: &ChildKeys) -> Vec<u8> {
    [&keys.spi.0.to_be_bytes(), keys.key_material.expose()].concat()
}

fn spi_of(packet: &[u8]) -> EspSpi {
    EspSpi(u32::from_be_bytes(packet[..4].try_into().unwrap()))
}

impl Host {
    /// Sends a packet so often; `None`: no more.
    pub(crate) fn talk(&mut self, now: Instant, every: Option<Duration>) {
        self.traffic.every = every;
        self.traffic.next = every.map(|_| now);
    }

    pub(super) fn send_packet(&mut self, now: Instant) {
        let Some(every) = self.traffic.every else {
            return;
        };
        if self.traffic.next.take_if(|at| *at <= now).is_none() {
            return;
        }
        self.traffic.next = Some(now + every);
        let Some((_, keys)) = self.outbound.last() else {
            self.traffic.unsent += 1;
            return;
        };
        self.traffic.sent += 1;
        self.frames.push(Frame {
            source: SocketAddr::new(self.local, PORT),
            destination: SocketAddr::new(self.remote, PORT),
            bytes: seal(keys),
        });
    }

    pub(super) fn receive_packet(&mut self, now: Instant, packet: &[u8]) {
        let mut inbound = self.inbound.iter();
        if let Some((child, _)) = inbound.find(|(_, keys)| seal(keys) == packet) {
            let child = *child;
            self.traffic.arrived += 1;
            self.command(now, Command::Heard { peer: PEER });
            if self.confirmed.insert(child) {
                self.command(now, Command::ChildConfirmed { child });
            }
        } else if self.offered.contains(&spi_of(packet)) {
            self.traffic.held.push(packet.to_vec());
        } else {
            self.traffic.lost += 1;
        }
    }
}
