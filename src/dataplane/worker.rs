//! The two threads of a link: reading, writing, waiting, and taking the daemon's commands.
//!
//! A worker reads until nothing is left before it sleeps, and sleeps on its descriptor and its
//! waker together; the outbound one also wakes to keep a NAT's mapping alive when nothing was sent. It
//! ends when the daemon lets go of its [`Handle`], or with a [`Note::WorkerFailed`] when the device or
//! the socket has become unusable; whatever concerns only one packet is counted and goes on.
//!
//! Not here: what is done to the packets (`outbound`, `inbound`).

use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
use tokio::sync::mpsc;

use super::batch::Batch;
use super::coalesce::{Coalesced, Coalescer};
use super::inbound::{self, Arrival, Delivery, Inbound};
use super::outbound::{self, Outbound};
use super::segment::{Source, Unfit};
use super::{Direction, LinkConfig, Message, Note, StartError, WorkerError};
use crate::metrics::{Counters, LinkDrop};
use crate::net::esp::{Incoming, ReceiveBatch, ReceiveOutcome, SendOutcome, Wire};
use crate::net::outer::Path;
use crate::net::poll::{Waker, wait_readable};
use crate::net::tun::{Offload, Queue, Reading};

/// What the daemon wants of a worker.
#[derive(Debug)]
enum Order<C> {
    /// Of what it does to the packets.
    Command(C),
    /// Packets travel on this wire from here on.
    Rewire(Arc<Wire>),
}

/// The daemon's end of a worker. Dropping it ends the worker.
#[derive(Debug)]
pub(super) struct Handle<C> {
    /// `None`: told to end.
    orders: Option<Sender<Order<C>>>,
    waker: Arc<Waker>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl<C> Handle<C> {
    pub(super) fn send(&self, command: C) {
        self.order(Order::Command(command));
    }

    /// As [`send`](Self::send), but for a worker that has [`BACKLOG`] to do: `false`.
    pub(super) fn send_if_idle(&self, command: C) -> bool {
        let orders = self.orders.as_ref();
        let idle = orders.is_some_and(|orders| orders.len() < BACKLOG);
        if idle {
            self.send(command);
        }
        idle
    }

    pub(super) fn rewire(&self, wire: Arc<Wire>) {
        self.order(Order::Rewire(wire));
    }

    /// Tells the worker something. One that has failed hears nothing, and has said so.
    fn order(&self, order: Order<C>) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(order);
            self.waker.wake();
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Ends the worker and waits for its end.
    pub(super) fn stop(&mut self) -> &Counters {
        drop(self.orders.take());
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic was caught, and told, on the thread itself.
            let _ = thread.join();
        }
        &self.counters
    }
}

impl<C> Drop for Handle<C> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The worker's end of its [`Handle`].
struct Mailbox<C> {
    orders: Receiver<Order<C>>,
    waker: Arc<Waker>,
    counters: Arc<Counters>,
}

impl<C> Mailbox<C> {
    /// Until there is something to read from `fd`, or an order, or `timeout` has passed.
    fn wait(&self, fd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<(), WorkerError> {
        let ready = wait_readable([fd, self.waker.as_fd()], timeout);
        let [_, woken] = ready.map_err(WorkerError::Wait)?;
        if woken {
            self.waker.reset();
        }
        Ok(())
    }

    /// Takes all orders. `Break`: the daemon has let go.
    fn drain(&self, mut obey: impl FnMut(Order<C>)) -> ControlFlow<()> {
        loop {
            match self.orders.try_recv() {
                Ok(order) => obey(order),
                Err(TryRecvError::Empty) => return ControlFlow::Continue(()),
                Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
            }
        }
    }
}

/// Starts the thread that carries packets from `queue` to `wire`.
pub(super) fn start_outbound<N>(
    config: &LinkConfig,
    queue: Arc<Queue>,
    wire: Arc<Wire>,
    notify: N,
) -> Result<Handle<outbound::Command>, StartError>
where
    N: Fn(Note) + Clone + Send + 'static,
{
    let mut worker = OutboundWorker {
        path: Outbound::new(config, notify.clone()),
        source: Source::new(LINK_HEADER),
        batch: Batch::default(),
        path_mtu: None,
        last_sent: Instant::now(),
        queue,
        wire,
    };
    let run = move |mailbox: &Mailbox<_>| worker.run(mailbox);
    start("sgre-outbound", Direction::Outbound, notify, run)
}

/// Starts the thread that carries packets from `wire` to `queue`.
pub(super) fn start_inbound<N>(
    config: &LinkConfig,
    queue: Arc<Queue>,
    wire: Arc<Wire>,
    notify: N,
    messages: mpsc::Sender<Message>,
) -> Result<Handle<inbound::Command>, StartError>
where
    N: Fn(Note) + Clone + Send + 'static,
{
    let mut worker = InboundWorker {
        path: Inbound::new(config, notify.clone()),
        batch: ReceiveBatch::new(RECEIVE_SLOTS, RECEIVE_SLOT_SIZE),
        coalescer: Coalescer::new(queue.offloads(), LINK_HEADER),
        messages,
        queue,
        wire,
    };
    let run = move |mailbox: &Mailbox<_>| worker.run(mailbox);
    start("sgre-inbound", Direction::Inbound, notify, run)
}

fn start<C: Send + 'static>(
    name: &str,
    direction: Direction,
    notify: impl Fn(Note) + Send + 'static,
    run: impl FnOnce(&Mailbox<C>) -> Result<(), WorkerError> + Send + 'static,
) -> Result<Handle<C>, StartError> {
    let (sender, orders) = unbounded();
    let waker = Arc::new(Waker::new().map_err(StartError::Waker)?);
    let counters = Arc::new(Counters::default());
    let mailbox = Mailbox {
        orders,
        waker: Arc::clone(&waker),
        counters: Arc::clone(&counters),
    };
    let body = move || {
        // A silent end would be a black hole that nobody knows of.
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&mailbox)));
        if let Err(error) = outcome.unwrap_or(Err(WorkerError::Panicked)) {
            notify(Note::WorkerFailed { direction, error });
        }
    };
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(StartError::Thread)?;
    Ok(Handle {
        orders: Some(sender),
        waker,
        counters,
        thread: Some(thread),
    })
}

struct OutboundWorker<N> {
    path: Outbound<N>,
    source: Source,
    batch: Batch,
    /// What was last told of it.
    path_mtu: Option<u16>,
    /// When the last batch went to the wire, or a keepalive.
    last_sent: Instant,
    queue: Arc<Queue>,
    wire: Arc<Wire>,
}

impl<N: Fn(Note)> OutboundWorker<N> {
    fn run(&mut self, mailbox: &Mailbox<outbound::Command>) -> Result<(), WorkerError> {
        loop {
            mailbox.wait(self.queue.as_fd(), self.until_keepalive())?;
            loop {
                let read = self.fill();
                if mailbox.drain(|order| self.obey(order)).is_break() {
                    return Ok(());
                }
                let idle = self.batch.is_empty();
                let sent = match idle {
                    true => self.send_own(),
                    false => self.forward().and_then(|()| self.send_own()),
                };
                mailbox.counters.publish(self.path.tally());
                sent.map_err(WorkerError::Wire)?;
                if idle {
                    read.map_err(WorkerError::Tun)?;
                    break;
                }
            }
            self.keep_alive().map_err(WorkerError::Wire)?;
        }
    }

    fn obey(&mut self, order: Order<outbound::Command>) {
        match order {
            Order::Command(command) => {
                // Whoever sets the MTU may have forgotten what was told of the path.
                if matches!(command, outbound::Command::SetMtu(_)) {
                    self.path_mtu = None;
                }
                self.path.obey(command);
            }
            Order::Rewire(wire) => {
                self.wire = wire;
                self.path_mtu = None;
            }
        }
    }

    /// Sends a keepalive if one is due.
    fn keep_alive(&mut self) -> io::Result<()> {
        if self.until_keepalive() == Some(Duration::ZERO) {
            self.last_sent = Instant::now();
            self.wire.keep_alive()?;
        }
        Ok(())
    }

    /// How long nothing more may be sent; `None`: for ever. Without an SA nobody waits behind the NAT.
    fn until_keepalive(&self) -> Option<Duration> {
        let interval = self
            .wire
            .keepalive_interval()
            .filter(|_| self.path.is_open())?;
        Some(interval.saturating_sub(self.last_sent.elapsed()))
    }

    /// As many packets as there are and the batch takes; what is left of the last one waits in the
    /// source. With an error, what was read before it is in the batch, and the next reading gives the
    /// error again.
    fn fill(&mut self) -> io::Result<()> {
        self.batch.clear();
        loop {
            if self.source.fill(&mut self.batch) {
                return Ok(());
            }
            let Some(Reading { length, offload }) = self.queue.read(self.source.vacant())? else {
                return Ok(());
            };
            if let Err(Unfit) = self.source.accept(length, offload) {
                let tally = self.path.tally();
                tally.received += 1;
                tally.drop(LinkDrop::TunMalformed, 1);
            }
        }
    }

    fn forward(&mut self) -> io::Result<()> {
        let (queue, now) = (&self.queue, Instant::now());
        self.path.seal(&mut self.batch, now, |reply| {
            // A lost answer is asked for again by the next packet that is too big; a device that is
            // gone shows when it is read.
            let _ = queue.write(reply, Offload::default());
        });
        let outcome = match self.wire.send(self.batch.packets()) {
            Ok(outcome) => outcome,
            Err(error) => {
                let packets = self.batch.len();
                self.path.tally().drop(LinkDrop::WireFailed, packets);
                return Err(error);
            }
        };
        if outcome.sent > 0 {
            self.last_sent = now;
        }
        self.account(outcome);
        if outcome.too_big > 0 {
            self.tell_path_mtu();
        }
        Ok(())
    }

    /// Sends what comes from no device.
    fn send_own(&mut self) -> io::Result<()> {
        for own in self.path.take_own() {
            self.batch.clear();
            if let Some(place) = self.batch.push(own.octets().len()) {
                place.copy_from_slice(own.octets());
            }
            self.path.seal_own(&mut self.batch, &own);
            let sent = self.wire.send(self.batch.packets());
            let packets = self.batch.len();
            let outcome =
                sent.inspect_err(|_| self.path.tally().drop(LinkDrop::WireFailed, packets))?;
            self.path.tally().consumed += outcome.sent as u64;
            self.account_refusals(outcome);
            self.last_sent = Instant::now();
        }
        Ok(())
    }

    fn account(&mut self, outcome: SendOutcome) {
        let sent = outcome.sent;
        let tally = self.path.tally();
        tally.delivered.packets += sent as u64;
        // The outcome doesn't say which packets were refused: they count with the batch's mean size.
        let bytes = self.batch.passenger_bytes() * sent / self.batch.len().max(1);
        tally.delivered.bytes += bytes as u64;
        self.account_refusals(outcome);
    }

    fn account_refusals(&mut self, outcome: SendOutcome) {
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
        for (reason, packets) in refused {
            self.path.tally().drop(reason, packets);
        }
        if segmentation_lost {
            self.path.notify()(Note::SegmentationLost);
        }
    }

    fn tell_path_mtu(&mut self) {
        // Without a route there is no MTU, and a later packet that is too big asks again.
        let Ok(mtu) = self.wire.path_mtu() else {
            return;
        };
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        if self.path_mtu.replace(mtu) != Some(mtu) {
            self.path.notify()(Note::PathMtu(mtu));
        }
    }
}

struct InboundWorker<N> {
    path: Inbound<N>,
    batch: ReceiveBatch,
    coalescer: Coalescer,
    messages: mpsc::Sender<Message>,
    queue: Arc<Queue>,
    wire: Arc<Wire>,
}

impl<N: Fn(Note)> InboundWorker<N> {
    fn run(&mut self, mailbox: &Mailbox<inbound::Command>) -> Result<(), WorkerError> {
        loop {
            mailbox.wait(self.wire.as_fd(), None)?;
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
                    break;
                }
                self.account(outcome);
                self.hand_on(wire.path());
                let written = self.forward();
                mailbox.counters.publish(self.path.tally());
                written.map_err(WorkerError::Tun)?;
            }
        }
    }

    fn obey(&mut self, order: Order<inbound::Command>) {
        match order {
            Order::Command(command) => self.path.obey(command),
            Order::Rewire(wire) => self.wire = wire,
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
        let tally = self.path.tally();
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
                Ok(()) => self.path.tally().consumed += 1,
                Err(_) => self.path.tally().drop(LinkDrop::IkeBacklog, 1),
            }
        }
    }

    /// An error says that the device is gone.
    fn forward(&mut self) -> io::Result<()> {
        let packets = self.batch.packets();
        let arrivals = packets.map(|Incoming { esp, tos }| Arrival { esp, tos });
        let (queue, coalescer) = (&self.queue, &mut self.coalescer);
        let mut written = Ok(());
        let mut delivery = Delivery::default();
        let mut write = |joined: Coalesced<'_>| {
            let taken = queue.write(joined.packet, joined.offload);
            let taken = taken.unwrap_or_else(|error| {
                written = Err(error);
                false
            });
            delivery.add(joined.passengers, joined.octets, taken);
        };
        self.path
            .open(arrivals, |passenger| coalescer.take(passenger, &mut write));
        coalescer.flush(&mut write);
        self.path.account(delivery);
        written
    }
}

/// Orders that may wait before one that strangers can cause is dropped.
const BACKLOG: usize = 256;
/// Passengers are IP packets: there is nothing before them.
const LINK_HEADER: usize = 0;
/// Beyond some tens a system call's own share is unmeasurable.
const RECEIVE_SLOTS: NonZeroUsize = NonZeroUsize::new(64).expect("not 0");
/// The longest packet there can be, or many that came together. Not a power of two, so that the slots'
/// first lines don't compete for the same lines of the cache; memory that no packet reaches is never
/// touched.
const RECEIVE_SLOT_SIZE: NonZeroUsize = NonZeroUsize::new((1 << 16) + 192).expect("not 0");

#[cfg(test)]
mod tests;
