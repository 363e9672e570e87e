//! The two threads of a link: reading, writing, waiting, and taking the daemon's commands.
//!
//! A worker reads until nothing is left before it sleeps, and sleeps on its descriptor and its
//! waker together. It ends when the daemon lets go of its [`Handle`], or with a
//! [`Note::WorkerFailed`] when the device or the socket has become unusable; whatever concerns only
//! one packet is counted and goes on.
//!
//! Not here: what is done to the packets (`outbound`, `inbound`).

use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

use super::batch::Batch;
use super::inbound::{self, Arrival, Inbound};
use super::outbound::{self, Outbound};
use super::{Direction, LinkConfig, Note, StartError, WorkerError};
use crate::metrics::{Counters, LinkDrop};
use crate::net::esp::{MAX_BATCH, ReceiveBatch, SendOutcome, Wire};
use crate::net::poll::{Waker, wait_readable};
use crate::net::tun::Queue;

/// The daemon's end of a worker. Dropping it ends the worker.
#[derive(Debug)]
pub(super) struct Handle<C> {
    /// `None`: told to end.
    commands: Option<Sender<C>>,
    waker: Arc<Waker>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl<C> Handle<C> {
    /// Tells the worker something. One that has failed hears nothing, and has said so.
    pub(super) fn send(&self, command: C) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
            self.waker.wake();
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Ends the worker and waits for its end.
    pub(super) fn stop(&mut self) -> &Counters {
        drop(self.commands.take());
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
    commands: Receiver<C>,
    waker: Arc<Waker>,
    counters: Arc<Counters>,
}

impl<C> Mailbox<C> {
    /// Until there is something to read from `fd`, or a command.
    fn wait(&self, fd: BorrowedFd<'_>) -> Result<(), WorkerError> {
        let ready = wait_readable([fd, self.waker.as_fd()], None);
        let [_, woken] = ready.map_err(WorkerError::Wait)?;
        if woken {
            self.waker.reset();
        }
        Ok(())
    }

    /// Takes all commands. `Break`: the daemon has let go.
    fn drain(&self, mut obey: impl FnMut(C)) -> ControlFlow<()> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => obey(command),
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
        batch: Batch::default(),
        path_mtu: None,
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
) -> Result<Handle<inbound::Command>, StartError>
where
    N: Fn(Note) + Clone + Send + 'static,
{
    let mut worker = InboundWorker {
        path: Inbound::new(config, notify.clone()),
        batch: ReceiveBatch::new(RECEIVE_SLOTS, RECEIVE_SLOT_SIZE),
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
    let (sender, commands) = unbounded();
    let waker = Arc::new(Waker::new().map_err(StartError::Waker)?);
    let counters = Arc::new(Counters::default());
    let mailbox = Mailbox {
        commands,
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
        commands: Some(sender),
        waker,
        counters,
        thread: Some(thread),
    })
}

struct OutboundWorker<N> {
    path: Outbound<N>,
    batch: Batch,
    /// What was last told of it.
    path_mtu: Option<u16>,
    queue: Arc<Queue>,
    wire: Arc<Wire>,
}

impl<N: Fn(Note)> OutboundWorker<N> {
    fn run(&mut self, mailbox: &Mailbox<outbound::Command>) -> Result<(), WorkerError> {
        loop {
            mailbox.wait(self.queue.as_fd())?;
            loop {
                let read = self.fill();
                if mailbox.drain(|command| self.path.obey(command)).is_break() {
                    return Ok(());
                }
                if self.batch.is_empty() {
                    read.map_err(WorkerError::Tun)?;
                    break;
                }
                let sent = self.forward();
                mailbox.counters.publish(self.path.tally());
                sent.map_err(WorkerError::Wire)?;
            }
        }
    }

    /// As many packets as there are and the batch takes. With an error, what was read before it is
    /// in the batch, and the next reading gives the error again.
    fn fill(&mut self) -> io::Result<()> {
        self.batch.clear();
        while let Some(buffer) = self.batch.vacant() {
            let Some(length) = self.queue.read(buffer)? else {
                break;
            };
            self.batch.push(length);
        }
        Ok(())
    }

    fn forward(&mut self) -> io::Result<()> {
        let queue = &self.queue;
        self.path.seal(&mut self.batch, Instant::now(), |reply| {
            // A lost answer is asked for again by the next packet that is too big; a device that is
            // gone shows when it is read.
            let _ = queue.write(reply);
        });
        let outcome = match self.wire.send(self.batch.packets()) {
            Ok(outcome) => outcome,
            Err(error) => {
                let packets = self.batch.len();
                self.path.tally().drop(LinkDrop::WireFailed, packets);
                return Err(error);
            }
        };
        self.account(outcome);
        if outcome.too_big > 0 {
            self.tell_path_mtu();
        }
        Ok(())
    }

    fn account(&mut self, outcome: SendOutcome) {
        let SendOutcome {
            sent,
            too_big,
            unreachable,
            blocked,
            no_room,
        } = outcome;
        let tally = self.path.tally();
        tally.delivered.packets += sent as u64;
        // The outcome doesn't say which packets were refused: they count with the batch's mean size.
        let bytes = self.batch.passenger_bytes() * sent / self.batch.len().max(1);
        tally.delivered.bytes += bytes as u64;
        let refused = [
            (LinkDrop::WireTooBig, too_big),
            (LinkDrop::WireUnreachable, unreachable),
            (LinkDrop::WireBlocked, blocked),
            (LinkDrop::WireFull, no_room),
        ];
        for (reason, packets) in refused {
            tally.drop(reason, packets);
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
    queue: Arc<Queue>,
    wire: Arc<Wire>,
}

impl<N: Fn(Note)> InboundWorker<N> {
    fn run(&mut self, mailbox: &Mailbox<inbound::Command>) -> Result<(), WorkerError> {
        loop {
            mailbox.wait(self.wire.as_fd())?;
            loop {
                let received = self.wire.receive(&mut self.batch);
                // After the reception and before the packets: whatever SA the daemon installed
                // before it let the peer send is there for them.
                if mailbox.drain(|command| self.path.obey(command)).is_break() {
                    return Ok(());
                }
                let outcome = received.map_err(WorkerError::Wire)?;
                let lost = outcome.truncated + outcome.malformed;
                if outcome.packets + lost == 0 {
                    break;
                }
                let tally = self.path.tally();
                tally.received += lost as u64;
                tally.drop(LinkDrop::WireTruncated, outcome.truncated);
                tally.drop(LinkDrop::WireMalformed, outcome.malformed);
                let written = self.forward();
                mailbox.counters.publish(self.path.tally());
                written.map_err(WorkerError::Tun)?;
            }
        }
    }

    /// An error says that the device is gone.
    fn forward(&mut self) -> io::Result<()> {
        let mut written = Ok(());
        let arrivals = self.batch.packets().filter_map(|incoming| {
            let esp = incoming.buffer.get_mut(incoming.esp)?;
            Some(Arrival {
                esp,
                tos: incoming.tos,
            })
        });
        let queue = &self.queue;
        self.path.open(arrivals, |passenger| {
            queue.write(passenger).unwrap_or_else(|error| {
                written = Err(error);
                false
            })
        });
        written
    }
}

const RECEIVE_SLOTS: NonZeroUsize = NonZeroUsize::new(MAX_BATCH).expect("64 is not 0");
/// The longest packet there can be. Not a power of two, so that the slots' first lines don't compete
/// for the same lines of the cache; memory that no packet reaches is never touched.
const RECEIVE_SLOT_SIZE: NonZeroUsize = NonZeroUsize::new((1 << 16) + 192).expect("not 0");

#[cfg(test)]
mod tests;
