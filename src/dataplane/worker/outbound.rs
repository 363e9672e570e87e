//! From the devices to the wire: reads the devices of all tunnels in turn, a batch of each, and sends
//! what its [`Outbound`] makes of them. Keeps a NAT's mapping alive when nothing was sent for long.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::port::{Filled, Port, place_and_queue};
use super::{Duty, Mailbox, Order, Pace};
use crate::dataplane::batch::Batch;
use crate::dataplane::counters::SharedCounters;
use crate::dataplane::outbound::{Command, Outbound};
use crate::dataplane::{self, Note, TunnelId, WorkerError};
use crate::metrics::LinkDrop;
use crate::net::esp::{SendOutcome, Wire};
use crate::net::poll::Poller;
use crate::net::tun::Queues;

pub(super) struct OutboundWorker<N> {
    /// Whose queues it reads. The first worker sends what comes from no device, keeps NATs from
    /// forgetting us, and tells of devices that are gone.
    pub(super) number: usize,
    pub(super) path: Outbound<N>,
    /// By tunnel.
    pub(super) ports: Box<[Port]>,
    /// The port that is read next, if it has something.
    turn: usize,
    batch: Batch,
    /// When the last batch went to the wire, or a keepalive.
    pub(super) last_sent: Instant,
    pub(super) wire: Arc<Wire>,
    counters: Arc<SharedCounters>,
    orders: Mailbox<Command>,
}

impl<N: Fn(Note) + Clone> OutboundWorker<N> {
    /// Carries packets from the queues of the worker with this number, of the devices behind `ports`, to
    /// `wire`.
    pub(super) fn new(
        number: usize,
        ports: &[dataplane::Port],
        wire: Arc<Wire>,
        counters: Arc<SharedCounters>,
        notify: N,
        orders: Mailbox<Command>,
    ) -> Self {
        let mut path = Outbound::new(ports.iter().map(|port| &port.config), notify);
        path.travel(wire.path());
        Self {
            number,
            path,
            ports: ports.iter().map(|port| Port::new(port, number)).collect(),
            turn: 0,
            batch: Batch::default(),
            last_sent: Instant::now(),
            wire,
            counters,
            orders,
        }
    }
}

impl<N: Fn(Note)> Duty for OutboundWorker<N> {
    fn enroll(&mut self, poller: &Poller) -> io::Result<()> {
        self.orders.enroll(poller)?;
        let mut ports = self.ports.iter().enumerate();
        ports.try_for_each(|(place, port)| port.enroll(place, poller))
    }

    fn withdraw(&mut self, poller: &Poller) {
        self.orders.withdraw(poller);
        self.ports.iter().for_each(|port| port.withdraw(poller));
    }

    fn tell(&mut self, number: u64) {
        self.orders.tell(number);
        let Some((place, queue)) = place_and_queue(number) else {
            return;
        };
        if let Some(port) = self.ports.get_mut(place) {
            port.tell(queue);
        }
    }

    fn until_due(&self) -> Option<Duration> {
        let ports = self.ports.iter().filter_map(Port::until_due);
        ports.chain(self.until_keepalive()).min()
    }

    fn take_turn(
        &mut self,
        poller: &Poller,
        pace: Pace,
    ) -> Result<ControlFlow<(), usize>, WorkerError> {
        let tunnel = self.fill(poller, pace.is_hasty());
        // After the reading and before the packets: what the daemon said before the device took them
        // holds for them.
        loop {
            match self.orders.next() {
                ControlFlow::Continue(Some(order)) => {
                    self.obey(order, poller).map_err(WorkerError::Wait)?;
                }
                ControlFlow::Continue(None) => break,
                ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
            }
        }
        let packets = tunnel.map_or(0, |_| self.batch.len().max(1));
        let sent = tunnel.map_or(Ok(()), |tunnel| self.forward(tunnel));
        let sent = sent.and_then(|()| self.send_own());
        let sent = sent.and_then(|()| self.keep_alive());
        sent.map_err(WorkerError::Wire)?;
        Ok(ControlFlow::Continue(packets))
    }
}

impl<N: Fn(Note)> OutboundWorker<N> {
    fn obey(&mut self, order: Order<Command>, poller: &Poller) -> io::Result<()> {
        match order {
            Order::Command(command) => self.path.obey(command),
            Order::Rewire(wire) => {
                self.path.travel(wire.path());
                self.wire = wire;
            }
            Order::Attach(tunnel, queues) => return self.attach(tunnel, queues, poller),
        }
        Ok(())
    }

    fn tell_device_gone(&mut self, tunnel: TunnelId, error: io::Error) {
        if self.number == 0 {
            self.path.notify()(Note::DeviceGone { tunnel, error });
        }
    }

    fn attach(&mut self, tunnel: TunnelId, queues: Arc<Queues>, poller: &Poller) -> io::Result<()> {
        let Some(port) = self.ports.get_mut(tunnel.0) else {
            return Ok(());
        };
        port.detach(poller);
        port.attach(queues, self.number);
        port.enroll(tunnel.0, poller)
    }

    /// Sends a keepalive if one is due.
    pub(super) fn keep_alive(&mut self) -> io::Result<()> {
        if self.until_keepalive() == Some(Duration::ZERO) {
            self.last_sent = Instant::now();
            self.wire.keep_alive()?;
        }
        Ok(())
    }

    /// How long nothing more may be sent; `None`: for ever. Without an SA nobody waits behind the NAT.
    pub(super) fn until_keepalive(&self) -> Option<Duration> {
        let interval = self
            .wire
            .keepalive_interval()
            .filter(|_| self.number == 0 && self.path.is_open())?;
        Some(interval.saturating_sub(self.last_sent.elapsed()))
    }

    /// Fills the batch with what the next device has, of those that may have something. The tunnel whose
    /// packets they are; `None`: nothing is to be read.
    fn fill(&mut self, poller: &Poller, hasty: bool) -> Option<TunnelId> {
        self.batch.clear();
        for _ in 0..self.ports.len() {
            self.turn = (self.turn + 1) % self.ports.len();
            let port = self.ports.get_mut(self.turn)?;
            let Some(Filled { unfit, over, end }) = port.fill(&mut self.batch, hasty) else {
                continue;
            };
            if end.is_err() {
                port.detach(poller);
            }
            let tunnel = TunnelId(self.turn);
            if let Some(tally) = self.path.tally(tunnel) {
                tally.received += (unfit + over) as u64;
                tally.drop(LinkDrop::TunMalformed, unfit);
                tally.drop(LinkDrop::OverLimit, over);
            }
            if let Err(error) = end {
                self.tell_device_gone(tunnel, error);
            }
            return Some(tunnel);
        }
        None
    }

    /// Seals the batch, which is of `tunnel`, and sends it.
    fn forward(&mut self, tunnel: TunnelId) -> io::Result<()> {
        let port = self.ports.get(tunnel.0);
        let now = Instant::now();
        self.path.seal(tunnel, &mut self.batch, now, |reply| {
            if let Some(port) = port {
                port.answer(reply);
            }
        });
        let sent = self.wire.send(self.batch.packets());
        match &sent {
            Ok(outcome) => {
                if outcome.sent > 0 {
                    self.last_sent = now;
                }
                self.account(tunnel, *outcome);
            }
            Err(_) => self.lose_batch(tunnel),
        }
        self.publish(tunnel);
        sent.map(drop)
    }

    /// Sends what comes from no device.
    fn send_own(&mut self) -> io::Result<()> {
        for (tunnel, own) in self.path.take_own() {
            self.path.seal_own(tunnel, &mut self.batch, &own);
            let sent = self.wire.send(self.batch.packets());
            match &sent {
                Ok(outcome) => {
                    if let Some(tally) = self.path.tally(tunnel) {
                        tally.consumed += outcome.sent as u64;
                    }
                    self.account_refusals(tunnel, *outcome);
                }
                Err(_) => self.lose_batch(tunnel),
            }
            self.publish(tunnel);
            sent?;
            self.last_sent = Instant::now();
        }
        Ok(())
    }

    fn publish(&mut self, tunnel: TunnelId) {
        let shared = self.counters.tunnels.get(tunnel.0);
        if let Some((shared, tally)) = shared.zip(self.path.tally(tunnel)) {
            shared.outbound.publish(tally);
        }
    }

    /// The wire is of no use any more, and the batch is lost.
    fn lose_batch(&mut self, tunnel: TunnelId) {
        let packets = self.batch.len();
        if let Some(tally) = self.path.tally(tunnel) {
            tally.drop(LinkDrop::WireFailed, packets);
        }
    }

    fn account(&mut self, tunnel: TunnelId, outcome: SendOutcome) {
        let sent = outcome.sent;
        // The outcome doesn't say which packets were refused: they count with the batch's mean size.
        let bytes = self.batch.passenger_bytes() * sent / self.batch.len().max(1);
        if let Some(tally) = self.path.tally(tunnel) {
            tally.delivered.packets += sent as u64;
            tally.delivered.bytes += bytes as u64;
        }
        self.account_refusals(tunnel, outcome);
    }

    fn account_refusals(&mut self, tunnel: TunnelId, outcome: SendOutcome) {
        let SendOutcome {
            sent: _,
            too_big,
            unreachable,
            blocked,
            no_room,
            segmentation_lost,
        } = outcome;
        let refused = [
            (LinkDrop::WireTooBig, too_big),
            (LinkDrop::WireUnreachable, unreachable),
            (LinkDrop::WireBlocked, blocked),
            (LinkDrop::WireFull, no_room),
        ];
        if let Some(tally) = self.path.tally(tunnel) {
            for (reason, packets) in refused {
                tally.drop(reason, packets);
            }
        }
        if segmentation_lost {
            self.path.notify()(Note::SegmentationLost);
        }
    }
}
