//! The threads of a link. [`outbound`] and [`inbound`] are the two directions; here is what they have in
//! common.
//!
//! A thread sleeps on all descriptors of the directions that it serves, and gives each [`Duty`] that has
//! something to do a turn, of a batch at most, until nothing is left ([`shift`]). How it waits depends on
//! what there was to do ([`pace`]). One thread serves all duties while it is enough, and lends those that
//! send to others while it is not ([`relief`]). A thread ends when the daemon lets go of the [`Crew`], or
//! with a [`Note::WorkerFailed`] when the socket has become unusable; a device that is gone takes the
//! packets of its tunnel with it, and whatever concerns only one packet is counted and goes on.
//!
//! Not here: what is done to the packets (`super::outbound`, `super::inbound`).

mod inbound;
mod load;
mod outbound;
mod pace;
mod port;
mod relief;
mod shift;

use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
use tokio::sync::mpsc;

use self::inbound::InboundWorker;
use self::outbound::OutboundWorker;
use self::pace::Pace;
use self::relief::Relief;
use self::shift::Shift;
use super::counters::SharedCounters;
use super::{
    Direction, Message, Note, Port, StartError, Threads, TunnelId, WorkerError,
    inbound as receiving, outbound as sending,
};
use crate::net::esp::Wire;
use crate::net::poll::{Poller, Waker};
use crate::net::tun::Queues;

/// The workers of a link and the threads that serve them. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Crew {
    /// Those who send, at least one.
    pub(super) sending: Vec<Handle<sending::Command>>,
    /// The one who receives.
    pub(super) receiving: Handle<receiving::Command>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    /// Starts both directions.
    pub(super) fn start<N>(
        ports: &[Port],
        threads: Threads,
        wire: &Arc<Wire>,
        counters: &Arc<SharedCounters>,
        notify: &N,
        messages: mpsc::Sender<Message>,
    ) -> Result<Self, StartError>
    where
        N: Fn(Note) + Clone + Send + 'static,
    {
        let shared = || (Arc::clone(wire), Arc::clone(counters), notify.clone());
        let (receiving, orders) = Handle::new()?;
        let (own_wire, own_counters, own_notify) = shared();
        let receiver =
            InboundWorker::new(ports, own_wire, own_counters, own_notify, messages, orders);
        let mut duties: Vec<AnyDuty> = vec![Box::new(receiver)];
        let mut crew = Self {
            sending: Vec::new(),
            receiving,
            threads: Vec::new(),
        };
        let number = ports.iter().map(|port| port.workers.get()).max();
        for number in 0..number.unwrap_or(1) {
            let (handle, orders) = Handle::new()?;
            let (wire, counters, notify) = shared();
            let sender = OutboundWorker::new(number, ports, wire, counters, notify, orders);
            duties.push(Box::new(sender));
            crew.sending.push(handle);
        }
        let mut first = shift(relief::PROMPT)?;
        for duty in duties {
            first.take(duty).map_err(StartError::Poll)?;
        }
        let relief = match threads {
            Threads::One => None,
            Threads::AsNeeded => Some(crew.reserve(&mut first, notify)?),
        };
        let body = move || serve(first, relief.as_ref());
        let thread = start("sgre-packets", Direction::Both, notify.clone(), body)?;
        crew.threads.push(thread);
        Ok(crew)
    }

    /// Starts as many threads as there are workers who send, for the relief of the first.
    fn reserve<N>(&mut self, first: &mut Shift, notify: &N) -> Result<Relief, StartError>
    where
        N: Fn(Note) + Clone + Send + 'static,
    {
        let shifts = self.sending.iter().map(|_| shift(relief::PATIENT));
        let mut shifts = shifts.collect::<Result<Vec<_>, _>>()?;
        let loads = shifts.iter_mut().map(|shift| shift.load().shown());
        let (relief, reserve) = relief::new(first.load().shown(), loads, &self.receiving.waker);
        for (number, shift) in shifts.into_iter().enumerate() {
            let (name, reserve) = (format!("sgre-outbound{number}"), reserve.clone());
            let body = move || reserve.serve(shift);
            let thread = start(&name, Direction::Outbound, notify.clone(), body)?;
            self.threads.push(thread);
        }
        Ok(relief)
    }

    /// Ends all workers and waits for their end.
    pub(super) fn stop(&mut self) {
        self.sending.iter_mut().for_each(Handle::end);
        self.receiving.end();
        for thread in self.threads.drain(..) {
            // A panic was caught, and told, on the thread itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop();
    }
}

fn shift(interval: Duration) -> Result<Shift, StartError> {
    Shift::new(interval).map_err(StartError::Poll)
}

/// Serves all duties, but for those that are lent, until they are to end.
fn serve(mut shift: Shift, relief: Option<&Relief>) -> Result<(), WorkerError> {
    while shift.turn()?.is_continue() {
        if let Some(relief) = relief {
            relief.share_out(&mut shift)?;
        }
    }
    Ok(())
}

/// One direction of a link, as the thread sees it that serves it.
trait Duty {
    /// Has `poller` wait for what it waits for.
    fn enroll(&mut self, poller: &Poller) -> io::Result<()>;

    /// Has `poller`, on which it is enrolled, wait for it no more.
    fn withdraw(&mut self, poller: &Poller);

    /// The poller has told this number.
    fn tell(&mut self, number: u64);

    /// How long until it has something to do of which nobody tells; `None`: for ever.
    fn until_due(&self) -> Option<Duration>;

    /// Obeys what was ordered, and does what there is to do, a batch at most: of how many packets.
    /// `Break`: the daemon has let go.
    fn take_turn(
        &mut self,
        poller: &Poller,
        pace: Pace,
    ) -> Result<ControlFlow<(), usize>, WorkerError>;
}

/// One that can go from thread to thread.
type AnyDuty = Box<dyn Duty + Send>;

/// The numbers that descriptors have for the poller; those of devices are [`port`]'s.
const WAKER: u64 = u64::MAX;
const WIRE: u64 = u64::MAX - 1;

/// What the daemon wants of a worker.
#[derive(Debug)]
enum Order<C> {
    /// Of what it does to the packets.
    Command(C),
    /// Packets travel on this wire from here on.
    Rewire(Arc<Wire>),
    /// This is the tunnel's device from here on.
    Attach(TunnelId, Arc<Queues>),
}

/// The daemon's end of a worker.
#[derive(Debug)]
pub(super) struct Handle<C> {
    /// `None`: told to end.
    orders: Option<Sender<Order<C>>>,
    waker: Arc<Waker>,
}

impl<C> Handle<C> {
    /// For a worker that is to be made, which gets the mailbox.
    fn new() -> Result<(Self, Mailbox<C>), StartError> {
        let (sender, orders) = unbounded();
        let waker = Arc::new(Waker::new().map_err(StartError::Poll)?);
        let handle = Self {
            orders: Some(sender),
            waker: Arc::clone(&waker),
        };
        Ok((handle, Mailbox { orders, waker }))
    }

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

    pub(super) fn attach(&self, tunnel: TunnelId, queues: Arc<Queues>) {
        self.order(Order::Attach(tunnel, queues));
    }

    /// Tells the worker something. One that has failed hears nothing, and has said so.
    fn order(&self, order: Order<C>) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(order);
            self.waker.wake();
        }
    }

    /// Tells the worker to end.
    fn end(&mut self) {
        drop(self.orders.take());
        self.waker.wake();
    }
}

/// The worker's end of its [`Handle`].
struct Mailbox<C> {
    orders: Receiver<Order<C>>,
    waker: Arc<Waker>,
}

impl<C> Mailbox<C> {
    fn enroll(&self, poller: &Poller) -> io::Result<()> {
        poller.add(self.waker.as_fd(), WAKER)
    }

    fn withdraw(&self, poller: &Poller) {
        // The descriptor is open and was added.
        let _ = poller.remove(self.waker.as_fd());
    }

    /// The poller has told this number: to be called before [`next`](Self::next).
    fn tell(&self, number: u64) {
        if number == WAKER {
            self.waker.reset();
        }
    }

    /// The next order. `Break`: the daemon has let go.
    fn next(&self) -> ControlFlow<(), Option<Order<C>>> {
        match self.orders.try_recv() {
            Ok(order) => ControlFlow::Continue(Some(order)),
            Err(TryRecvError::Empty) => ControlFlow::Continue(None),
            Err(TryRecvError::Disconnected) => ControlFlow::Break(()),
        }
    }
}

/// Starts a thread that does `body`. That it has failed is told.
fn start(
    name: &str,
    direction: Direction,
    notify: impl Fn(Note) + Send + 'static,
    body: impl FnOnce() -> Result<(), WorkerError> + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let body = move || {
        // A silent end would be a black hole that nobody knows of.
        let outcome = catch_unwind(AssertUnwindSafe(body));
        if let Err(error) = outcome.unwrap_or(Err(WorkerError::Panicked)) {
            notify(Note::WorkerFailed { direction, error });
        }
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(StartError::Thread)
}

/// Orders that may wait before one that strangers can cause is dropped.
const BACKLOG: usize = 256;

#[cfg(test)]
mod tests;
