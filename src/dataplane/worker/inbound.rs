//! From the wire to the devices: the thread that receives, has its [`Inbound`] open what came, and
//! writes the passengers of each tunnel to the tunnel's device, joined where they can be.

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::sync::Arc;

use secure_gre_gre::Passengers;
use tokio::sync::mpsc;

use super::{Handle, Mailbox, Order, SecondLook, start};
use crate::dataplane::coalesce::{Coalesced, Coalescer};
use crate::dataplane::counters::SharedCounters;
use crate::dataplane::inbound::{Arrival, Command, Delivery, Inbound};
use crate::dataplane::spread::queue_of;
use crate::dataplane::{self, Direction, Message, Note, StartError, WorkerError};
use crate::metrics::LinkDrop;
use crate::net::esp::{Incoming, ReceiveBatch, ReceiveOutcome, Wire};
use crate::net::outer::Path;
use crate::net::poll::wait_readable;
use crate::net::tun::{Offloads, Queues};

/// Starts the thread that carries packets from `wire` to the devices behind `ports`.
pub(in crate::dataplane) fn start_inbound<N>(
    ports: &[dataplane::Port],
    wire: Arc<Wire>,
    counters: Arc<SharedCounters>,
    notify: N,
    messages: mpsc::Sender<Message>,
) -> Result<Handle<Command>, StartError>
where
    N: Fn(Note) + Clone + Send + 'static,
{
    let mut worker = InboundWorker {
        path: Inbound::new(ports.iter().map(|port| &port.config), notify.clone()),
        ports: ports
            .iter()
            .map(|port| Port::new(port.config.gre.kind, port.queues.clone()))
            .collect(),
        batch: ReceiveBatch::new(RECEIVE_SLOTS, RECEIVE_SLOT_SIZE),
        messages,
        wire,
        counters,
    };
    let run = move |mailbox: &Mailbox<_>| worker.run(mailbox);
    start("sgre-inbound", Direction::Inbound, notify, run)
}

struct InboundWorker<N> {
    path: Inbound<N>,
    /// By tunnel.
    ports: Box<[Port]>,
    batch: ReceiveBatch,
    messages: mpsc::Sender<Message>,
    wire: Arc<Wire>,
    counters: Arc<SharedCounters>,
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

impl<N: Fn(Note)> InboundWorker<N> {
    fn run(&mut self, mailbox: &Mailbox<Command>) -> Result<(), WorkerError> {
        loop {
            self.wait(mailbox)?;
            let mut second_look = SecondLook::default();
            loop {
                let wire = Arc::clone(&self.wire);
                let received = wire.receive(&mut self.batch);
                // After the reception and before the packets: whatever SA the daemon installed
                // before it let the peer send is there for them.
                if mailbox.drain(|order| self.obey(order)).is_break() {
                    return Ok(());
                }
                let outcome = received.map_err(WorkerError::Wire)?;
                if outcome.is_empty() && !self.path.has_due() {
                    match second_look.take() {
                        true => continue,
                        false => break,
                    }
                }
                second_look.rest();
                self.account(outcome);
                self.hand_on(wire.path());
                self.forward();
                self.publish();
            }
        }
    }

    /// Until there is something to receive, or an order.
    fn wait(&self, mailbox: &Mailbox<Command>) -> Result<(), WorkerError> {
        let ready = wait_readable([self.wire.as_fd(), mailbox.waker.as_fd()], None);
        let [_, woken] = ready.map_err(WorkerError::Wait)?;
        if woken {
            mailbox.waker.reset();
        }
        Ok(())
    }

    fn obey(&mut self, order: Order<Command>) {
        match order {
            Order::Command(command) => self.path.obey(command),
            Order::Rewire(wire) => self.wire = wire,
            Order::Attach(tunnel, queues) => {
                if let Some(port) = self.ports.get_mut(tunnel.0) {
                    *port = Port::new(port.kind, Some(queues));
                }
            }
        }
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
