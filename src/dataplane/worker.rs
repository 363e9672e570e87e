//! The threads of a link: waiting, turns, and taking the daemon's commands. [`outbound`] and [`inbound`]
//! are the two directions, which have a thread each or share one ([`Threads`](super::Threads)); here is
//! what they have in common.
//!
//! A thread sleeps on all its descriptors and its waker together, and gives each [`Duty`] that has
//! something to do a turn, of a batch at most, until nothing is left. How it waits depends on what
//! there was to do ([`pace`]). It ends when the daemon lets go of its [`Handle`], or with a
//! [`Note::WorkerFailed`] when the socket has become unusable; a device that is gone takes the packets
//! of its tunnel with it, and whatever concerns only one packet is counted and goes on.
//!
//! Not here: what is done to the packets (`super::outbound`, `super::inbound`).

mod inbound;
mod outbound;
mod pace;
mod port;

use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
use tokio::sync::mpsc;

use self::inbound::InboundWorker;
use self::outbound::OutboundWorker;
use self::pace::Pace;
use super::counters::SharedCounters;
use super::{
    Direction, Message, Note, Port, StartError, Threads, TunnelId, WorkerError,
    inbound as receiving, outbound as sending,
};
use crate::net::esp::Wire;
use crate::net::poll::{Poller, Waker};
use crate::net::tun::Queues;

/// Those who send, at least one, and the one who receives.
pub(super) type Workers = (Vec<Handle<sending::Command>>, Handle<receiving::Command>);

/// Starts both directions.
pub(super) fn start_all<N>(
    ports: &[Port],
    threads: Threads,
    wire: &Arc<Wire>,
    counters: &Arc<SharedCounters>,
    notify: &N,
    messages: mpsc::Sender<Message>,
) -> Result<Workers, StartError>
where
    N: Fn(Note) + Clone + Send + 'static,
{
    let sender = |number, orders| -> Box<dyn Duty + Send> {
        let (wire, counters) = (Arc::clone(wire), Arc::clone(counters));
        let notify = notify.clone();
        Box::new(OutboundWorker::new(
            number, ports, wire, counters, notify, orders,
        ))
    };
    let receiver = |orders| -> Box<dyn Duty + Send> {
        let (wire, counters) = (Arc::clone(wire), Arc::clone(counters));
        let notify = notify.clone();
        Box::new(InboundWorker::new(
            ports, wire, counters, notify, messages, orders,
        ))
    };
    let start = |name: &str, direction, waker: &Arc<Waker>, duties| {
        start(name, direction, notify.clone(), Arc::clone(waker), duties)
    };
    match threads {
        Threads::Shared => {
            let waker = waker()?;
            let (mut sending, to_send) = Handle::new(&waker);
            let (receiving, to_receive) = Handle::new(&waker);
            let duties = vec![receiver(to_receive), sender(0, to_send)];
            sending.thread = Some(start("sgre-packets", Direction::Both, &waker, duties)?);
            Ok((vec![sending], receiving))
        }
        Threads::PerDirection => {
            let number = ports.iter().map(|port| port.workers.get()).max();
            let senders = (0..number.unwrap_or(1)).map(|number| {
                let waker = waker()?;
                let (mut sending, orders) = Handle::new(&waker);
                let (name, duties) = (
                    format!("sgre-outbound{number}"),
                    vec![sender(number, orders)],
                );
                sending.thread = Some(start(&name, Direction::Outbound, &waker, duties)?);
                Ok(sending)
            });
            let senders = senders.collect::<Result<_, _>>()?;
            let waker = waker()?;
            let (mut receiving, orders) = Handle::new(&waker);
            let duties = vec![receiver(orders)];
            receiving.thread = Some(start("sgre-inbound", Direction::Inbound, &waker, duties)?);
            Ok((senders, receiving))
        }
    }
}

/// One direction of a link, as its thread sees it.
trait Duty {
    /// Has `poller` wait for what it waits for, beside orders.
    fn enroll(&mut self, poller: &Poller) -> io::Result<()>;

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

/// The daemon's end of a worker. Dropping it ends the worker.
#[derive(Debug)]
pub(super) struct Handle<C> {
    /// `None`: told to end.
    orders: Option<Sender<Order<C>>>,
    waker: Arc<Waker>,
    /// `None`: another handle's.
    thread: Option<JoinHandle<()>>,
}

impl<C> Handle<C> {
    /// For a thread that is to be started; what its worker reads.
    fn new(waker: &Arc<Waker>) -> (Self, Mailbox<C>) {
        let (sender, orders) = unbounded();
        let handle = Self {
            orders: Some(sender),
            waker: Arc::clone(waker),
            thread: None,
        };
        (handle, Mailbox(orders))
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

    /// Ends the worker and waits for its end.
    pub(super) fn stop(&mut self) {
        drop(self.orders.take());
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic was caught, and told, on the thread itself.
            let _ = thread.join();
        }
    }
}

impl<C> Drop for Handle<C> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The worker's end of its [`Handle`].
struct Mailbox<C>(Receiver<Order<C>>);

impl<C> Mailbox<C> {
    /// The next order. `Break`: the daemon has let go.
    fn next(&self) -> ControlFlow<(), Option<Order<C>>> {
        match self.0.try_recv() {
            Ok(order) => ControlFlow::Continue(Some(order)),
            Err(TryRecvError::Empty) => ControlFlow::Continue(None),
            Err(TryRecvError::Disconnected) => ControlFlow::Break(()),
        }
    }
}

fn waker() -> Result<Arc<Waker>, StartError> {
    Waker::new().map(Arc::new).map_err(StartError::Poll)
}

/// Starts a thread that runs until it has failed, which is told, or is told to end.
fn start(
    name: &str,
    direction: Direction,
    notify: impl Fn(Note) + Send + 'static,
    waker: Arc<Waker>,
    mut duties: Vec<Box<dyn Duty + Send>>,
) -> Result<JoinHandle<()>, StartError> {
    let poller = Poller::new().map_err(StartError::Poll)?;
    poller.add(waker.as_fd(), WAKER).map_err(StartError::Poll)?;
    for duty in &mut duties {
        duty.enroll(&poller).map_err(StartError::Poll)?;
    }
    let body = move || {
        // A silent end would be a black hole that nobody knows of.
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&mut duties, poller, &waker)));
        if let Err(error) = outcome.unwrap_or(Err(WorkerError::Panicked)) {
            notify(Note::WorkerFailed { direction, error });
        }
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(StartError::Thread)
}

/// Gives each duty its turns, until one is told to end.
fn run(
    duties: &mut [Box<dyn Duty + Send>],
    mut poller: Poller,
    waker: &Waker,
) -> Result<(), WorkerError> {
    let mut pace = Pace::default();
    loop {
        let asleep = pace.sleeps().then(Instant::now);
        let timeout = match asleep {
            Some(_) => duties.iter().filter_map(|duty| duty.until_due()).min(),
            None => Some(Duration::ZERO),
        };
        for number in poller.wait(timeout).map_err(WorkerError::Wait)? {
            if number == WAKER {
                waker.reset();
            }
            for duty in &mut *duties {
                duty.tell(number);
            }
        }
        if let Some(since) = asleep {
            pace.woken(since.elapsed());
        }
        let mut packets = 0;
        for duty in &mut *duties {
            match duty.take_turn(&poller, pace)? {
                ControlFlow::Continue(done) => packets += done,
                ControlFlow::Break(()) => return Ok(()),
            }
        }
        if pace.after(packets).is_break() {
            thread::yield_now();
        }
    }
}

/// Orders that may wait before one that strangers can cause is dropped.
const BACKLOG: usize = 256;

#[cfg(test)]
mod tests;
