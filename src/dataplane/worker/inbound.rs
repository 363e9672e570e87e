//! From the wire to the devices: receives, has its [`Inbound`] open what came, and writes the passengers
//! of each tunnel to the tunnel's device, joined where they can be.

use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use secure_gre_gre::Passengers;
use tokio::sync::mpsc;

use super::{Duty, Mailbox, Order, Pace, WIRE};
use crate::dataplane::coalesce::{Coalesced, Coalescer};
use crate::dataplane::counters::SharedCounters;
use crate::dataplane::inbound::{Arrival, Command, Delivery, Inbound};
use crate::dataplane::spread::queue_of;
use crate::dataplane::{self, Message, Note, WorkerError};
use crate::metrics::LinkDrop;
use crate::net::esp::{Incoming, ReceiveBatch, ReceiveOutcome, Wire};
use crate::net::outer::Path;
use crate::net::poll::Poller;
use crate::net::tun::{Offloads, Queues};

pub(super) struct InboundWorker<N> {
    path: Inbound<N>,
    /// By tunnel.
    ports: Box<[Port]>,
    batch: ReceiveBatch,
    messages: mpsc::Sender<Message>,
    wire: Arc<Wire>,
    /// Whether something may be left to receive.
    ready: bool,
    counters: Arc<SharedCounters>,
    orders: Mailbox<Command>,
}

/// The inbound side of a tunnel's device.
struct Port {
    /// What its passengers are.
    kind: Passengers,
    /// `None`: it has not come.
    queues: Option<Arc<Queues>>,
    coalescer: Coalescer,
    /// What became of the passengers of the batch under way.
    delivery: Delivery,
}

impl<N: Fn(Note) + Clone> InboundWorker<N> {
    /// Carries packets from `wire` to the devices behind `ports`.
    pub(super) fn new(
        ports: &[dataplane::Port],
        wire: Arc<Wire>,
        counters: Arc<SharedCounters>,
        notify: N,
        messages: mpsc::Sender<Message>,
        orders: Mailbox<Command>,
    ) -> Self {
        Self {
            path: Inbound::new(ports.iter().map(|port| &port.config), notify),
            ports: ports
                .iter()
                .map(|port| Port::new(port.config.gre.kind, port.queues.clone()))
                .collect(),
            batch: ReceiveBatch::new(RECEIVE_SLOTS, RECEIVE_SLOT_SIZE),
            messages,
            wire,
            ready: true,
            counters,
            orders,
        }
    }
}

impl<N: Fn(Note)> Duty for InboundWorker<N> {
    fn enroll(&mut self, poller: &Poller) -> io::Result<()> {
        self.orders.enroll(poller)?;
        poller.add(self.wire.as_fd(), WIRE)
    }

    fn withdraw(&mut self, poller: &Poller) {
        self.orders.withdraw(poller);
        // The descriptor is open and was added.
        let _ = poller.remove(self.wire.as_fd());
    }

    fn tell(&mut self, number: u64) {
        self.orders.tell(number);
        self.ready |= number == WIRE;
    }

    fn until_due(&self) -> Option<Duration> {
        self.has_work().then_some(Duration::ZERO)
    }

    fn take_turn(
        &mut self,
        poller: &Poller,
        _: Pace,
    ) -> Result<ControlFlow<(), usize>, WorkerError> {
        // An order may bring another one.
        let path = self.wire.path();
        let received = self.has_work().then(|| self.wire.receive(&mut self.batch));
        self.ready = false;
        // After the reception and before the packets: whatever SA the daemon installed before it let
        // the peer send is there for them.
        loop {
            match self.orders.next() {
                ControlFlow::Continue(Some(order)) => {
                    self.obey(order, poller).map_err(WorkerError::Wait)?;
                }
                ControlFlow::Continue(None) => break,
                ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
            }
        }
        let Some(received) = received else {
            return Ok(ControlFlow::Continue(0));
        };
        let outcome = received.map_err(WorkerError::Wire)?;
        if outcome.is_empty() && !self.path.has_due() {
            return Ok(ControlFlow::Continue(0));
        }
        self.account(outcome);
        self.hand_on(path);
        self.forward();
        self.publish();
        Ok(ControlFlow::Continue(outcome.packets.max(1)))
    }
}

impl<N: Fn(Note)> InboundWorker<N> {
    /// Whether there is something to do without being told.
    fn has_work(&self) -> bool {
        self.ready || self.path.has_due()
    }

    fn obey(&mut self, order: Order<Command>, poller: &Poller) -> io::Result<()> {
        match order {
            Order::Command(command) => self.path.obey(command),
            Order::Rewire(wire) => {
                // The descriptor is open and was added.
                let _ = poller.remove(self.wire.as_fd());
                self.wire = wire;
                return poller.add(self.wire.as_fd(), WIRE);
            }
            Order::Attach(tunnel, queues) => {
                if let Some(port) = self.ports.get_mut(tunnel.0) {
                    *port = Port::new(port.kind, Some(queues));
                }
            }
        }
        Ok(())
    }

    /// Counts what is not an ESP packet; what became of IKE messages, [`hand_on`](Self::hand_on).
    fn account(&mut self, outcome: ReceiveOutcome) {
        let ReceiveOutcome {
            packets: _,
            messages,
            keepalives,
            truncated,
            malformed,
            network_errors: _,
        } = outcome;
        let tally = self.path.arrivals();
        tally.received += (messages + keepalives + truncated + malformed) as u64;
        tally.consumed += keepalives as u64;
        tally.drop(LinkDrop::WireTruncated, truncated);
        tally.drop(LinkDrop::WireMalformed, malformed);
    }

    /// Hands IKE messages to the daemon.
    fn hand_on(&mut self, path: Path) {
        for bytes in self.batch.messages() {
            let bytes = bytes.into();
            match self.messages.try_send(Message { path, bytes }) {
                Ok(()) => self.path.arrivals().consumed += 1,
                Err(_) => self.path.arrivals().drop(LinkDrop::IkeBacklog, 1),
            }
        }
    }

    fn forward(&mut self) {
        let packets = self.batch.packets();
        let arrivals = packets.map(|Incoming { esp, tos }| Arrival { esp, tos });
        let ports = &mut self.ports;
        self.path.open(arrivals, |tunnel, passenger| {
            if let Some(port) = ports.get_mut(tunnel.0) {
                port.take(passenger);
            }
        });
    }

    /// Hands out what is kept of the tunnels that had packets, and publishes what was counted.
    fn publish(&mut self) {
        while let Some(tunnel) = self.path.next_touched() {
            if let Some(port) = self.ports.get_mut(tunnel.0) {
                self.path.account(tunnel, port.flush());
            }
            let shared = self.counters.tunnels.get(tunnel.0);
            if let Some((shared, tally)) = shared.zip(self.path.tally(tunnel)) {
                shared.inbound.publish(tally);
            }
        }
        self.counters.arrivals.publish(self.path.arrivals());
    }
}

impl Port {
    fn new(kind: Passengers, queues: Option<Arc<Queues>>) -> Self {
        let offloads = queues.as_ref().map(|queues| queues.offloads());
        Self {
            kind,
            queues,
            coalescer: Coalescer::new(offloads.unwrap_or(Offloads::None), kind),
            delivery: Delivery::default(),
        }
    }

    fn take(&mut self, passenger: &[u8]) {
        let Self {
            kind,
            queues,
            coalescer,
            delivery,
        } = self;
        coalescer.take(passenger, &mut |joined| {
            write(*kind, queues.as_deref(), delivery, &joined);
        });
    }

    /// Writes what is kept. What became of all of the batch.
    fn flush(&mut self) -> Delivery {
        let Self {
            kind,
            queues,
            coalescer,
            delivery,
        } = self;
        coalescer.flush(&mut |joined| write(*kind, queues.as_deref(), delivery, &joined));
        std::mem::take(delivery)
    }
}

fn write(
    kind: Passengers,
    queues: Option<&Queues>,
    delivery: &mut Delivery,
    joined: &Coalesced<'_>,
) {
    // That a device is gone is told by the worker that reads it.
    let queue = queues.and_then(|queues| queues.get(queue_of(kind, joined.packet, queues.len())));
    let written = queue.map(|queue| queue.write(joined.packet, joined.offload));
    let taken = matches!(written, Some(Ok(true)));
    delivery.add(joined.passengers, joined.octets, taken);
}

/// Beyond some tens a system call's own share is unmeasurable.
const RECEIVE_SLOTS: NonZeroUsize = NonZeroUsize::new(64).expect("not 0");
/// The longest packet there can be, or many that came together. Not a power of two, so that the slots'
/// first lines don't compete for the same lines of the cache; memory that no packet reaches is never
/// touched.
const RECEIVE_SLOT_SIZE: NonZeroUsize = NonZeroUsize::new((1 << 16) + 192).expect("not 0");
