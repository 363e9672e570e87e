//! The threads of a link: reading, writing, waiting, and taking the daemon's commands. [`outbound`] and
//! [`inbound`] are the two directions; here is what they have in common.
//!
//! A worker reads until nothing is left before it sleeps, also after it has let others run once: on a
//! busy core what it waits for comes then, and a wake-up is spared. It sleeps on its descriptors and its
//! waker together. It ends when the daemon lets go of its [`Handle`], or with a [`Note::WorkerFailed`]
//! when the socket has become unusable; a device that is gone takes the packets of its tunnel with it,
//! and whatever concerns only one packet is counted and goes on.
//!
//! Not here: what is done to the packets (`super::outbound`, `super::inbound`).

mod inbound;
mod outbound;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

pub(super) use self::inbound::start_inbound;
pub(super) use self::outbound::start_outbound;
use super::{Direction, Note, StartError, TunnelId, WorkerError};
use crate::net::esp::Wire;
use crate::net::poll::Waker;
use crate::net::tun::Queues;

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
struct Mailbox<C> {
    orders: Receiver<Order<C>>,
    waker: Arc<Waker>,
}

impl<C> Mailbox<C> {
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

/// Whether a worker that has found nothing to do looks once more before it sleeps.
#[derive(Debug, Default)]
struct SecondLook(bool);

impl SecondLook {
    /// There was something to do.
    const fn rest(&mut self) {
        self.0 = false;
    }

    /// There was nothing. `true`, after others have run: look again. `false`: sleep.
    fn take(&mut self) -> bool {
        let again = !std::mem::replace(&mut self.0, true);
        if again {
            thread::yield_now();
        }
        again
    }
}

/// Starts a thread that runs until it has failed, which is told, or is told to end.
fn start<C: Send + 'static>(
    name: &str,
    direction: Direction,
    notify: impl Fn(Note) + Send + 'static,
    run: impl FnOnce(&Mailbox<C>) -> Result<(), WorkerError> + Send + 'static,
) -> Result<Handle<C>, StartError> {
    let (sender, orders) = unbounded();
    let waker = Arc::new(Waker::new().map_err(StartError::Poll)?);
    let mailbox = Mailbox {
        orders,
        waker: Arc::clone(&waker),
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
        thread: Some(thread),
    })
}

/// Orders that may wait before one that strangers can cause is dropped.
const BACKLOG: usize = 256;

#[cfg(test)]
mod tests;
