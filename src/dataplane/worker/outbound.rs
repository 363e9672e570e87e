//! From the devices to the wire: the thread that reads the devices of all tunnels in turn, a batch of
//! each, and sends what its [`Outbound`] makes of them. When nothing is to be read it sleeps, and wakes
//! to keep a NAT's mapping alive when nothing was sent for long.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Handle, Mailbox, Order, SecondLook, start};
use crate::dataplane::batch::Batch;
use crate::dataplane::counters::SharedCounters;
use crate::dataplane::limit::Limit;
use crate::dataplane::outbound::{Command, Outbound};
use crate::dataplane::segment::{Source, Unfit};
use crate::dataplane::{self, Direction, Note, StartError, TunnelId, WorkerError};
use crate::metrics::LinkDrop;
use crate::net::esp::{SendOutcome, Wire};
use crate::net::poll::Poller;
use crate::net::tun::{Offload, Queue, Queues, Reading};

/// Starts the thread that carries packets from the queues with this number, of the devices behind
/// `ports`, to `wire`.
pub(in crate::dataplane) fn start_outbound<N>(
    number: usize,
    ports: &[dataplane::Port],
    wire: Arc<Wire>,
    counters: Arc<SharedCounters>,
    notify: N,
) -> Result<Handle<Command>, StartError>
where
    N: Fn(Note) + Clone + Send + 'static,
{
    let mut path = Outbound::new(ports.iter().map(|port| &port.config), notify.clone());
    path.travel(wire.path());
    let mut worker = OutboundWorker {
        number,
        path,
        ports: ports.iter().map(Port::vacant).collect(),
        turn: 0,
        batch: Batch::default(),
        poller: Poller::new().map_err(StartError::Poll)?,
        path_mtu: None,
        last_sent: Instant::now(),
        wire,
        counters,
    };
    for (place, port) in ports.iter().enumerate() {
        if let Some(queues) = &port.queues {
            let attached = worker.attach(TunnelId(place), Arc::clone(queues));
            attached.map_err(StartError::Poll)?;
        }
    }
    let run = move |mailbox: &Mailbox<_>| worker.run(mailbox);
    let name = format!("sgre-outbound{number}");
    start(&name, Direction::Outbound, notify, run)
}

pub(super) struct OutboundWorker<N> {
    /// Of the queues that it reads. The first worker sends what comes from no device, keeps NATs from
    /// forgetting us, and tells of devices that are gone.
    pub(super) number: usize,
    pub(super) path: Outbound<N>,
    /// By tunnel.
    pub(super) ports: Box<[Port]>,
    /// The port that is read next, if it has something.
    pub(super) turn: usize,
    pub(super) batch: Batch,
    pub(super) poller: Poller,
    /// What was last told of it.
    pub(super) path_mtu: Option<u16>,
    /// When the last batch went to the wire, or a keepalive.
    pub(super) last_sent: Instant,
    pub(super) wire: Arc<Wire>,
    pub(super) counters: Arc<SharedCounters>,
}

/// The outbound side of a tunnel's device.
pub(super) struct Port {
    /// `None`: it is gone, or has not come, or has no queue for this worker.
    queue: Option<OneOf>,
    source: Source,
    /// What has been read and may not leave yet waits there.
    limit: Option<Limit>,
    /// Whether something may be left to read.
    ready: bool,
}

/// One queue of a device.
struct OneOf {
    queues: Arc<Queues>,
    number: usize,
}

impl OneOf {
    fn new(queues: Arc<Queues>, number: usize) -> Option<Self> {
        queues.get(number)?;
        Some(Self { queues, number })
    }

    fn get(&self) -> Option<&Queue> {
        self.queues.get(self.number)
    }
}

/// The number that the waker has for the poller; the queues have their tunnels' places.
const WAKER: u64 = u64::MAX;

impl<N: Fn(Note)> OutboundWorker<N> {
    fn run(&mut self, mailbox: &Mailbox<Command>) -> Result<(), WorkerError> {
        let waker = mailbox.waker.as_fd();
        self.poller.add(waker, WAKER).map_err(WorkerError::Wait)?;
        loop {
            let timeout = self.until_keepalive().into_iter().chain(self.until_due());
            self.wait(mailbox, timeout.min())?;
            let mut second_look = SecondLook::default();
            loop {
                let tunnel = self.fill();
                // After the reading and before the packets: what the daemon said before the device
                // took them holds for them.
                if mailbox.drain(|order| self.obey(order)).is_break() {
                    return Ok(());
                }
                let sent = tunnel.map_or(Ok(()), |tunnel| self.forward(tunnel));
                let sent = sent.and_then(|()| self.send_own());
                sent.map_err(WorkerError::Wire)?;
                match tunnel {
                    Some(_) => second_look.rest(),
                    None if second_look.take() => self.wait(mailbox, Some(Duration::ZERO))?,
                    None => break,
                }
            }
            self.keep_alive().map_err(WorkerError::Wire)?;
        }
    }

    /// Until there is something to read, or an order, or `timeout` is over.
    fn wait(
        &mut self,
        mailbox: &Mailbox<Command>,
        timeout: Option<Duration>,
    ) -> Result<(), WorkerError> {
        for number in self.poller.wait(timeout).map_err(WorkerError::Wait)? {
            if number == WAKER {
                mailbox.waker.reset();
            }
            let port = usize::try_from(number).ok();
            if let Some(port) = port.and_then(|place| self.ports.get_mut(place)) {
                port.ready = true;
            }
        }
        Ok(())
    }

    /// How long until a packet that waits for its limit may leave; `None`: none waits.
    fn until_due(&self) -> Option<Duration> {
        self.ports.iter().filter_map(Port::until_due).min()
    }

    fn obey(&mut self, order: Order<Command>) {
        match order {
            Order::Command(command) => {
                // Whoever sets the MTU may have forgotten what was told of the path.
                if matches!(command, Command::SetMtu { .. }) {
                    self.path_mtu = None;
                }
                self.path.obey(command);
            }
            Order::Rewire(wire) => {
                self.path.travel(wire.path());
                self.wire = wire;
                self.path_mtu = None;
            }
            Order::Attach(tunnel, queues) => {
                if let Err(error) = self.attach(tunnel, queues) {
                    self.tell_device_gone(tunnel, error);
                }
            }
        }
    }

    fn tell_device_gone(&mut self, tunnel: TunnelId, error: io::Error) {
        if self.number == 0 {
            self.path.notify()(Note::DeviceGone { tunnel, error });
        }
    }

    fn attach(&mut self, tunnel: TunnelId, queues: Arc<Queues>) -> io::Result<()> {
        let Some(port) = self.ports.get_mut(tunnel.0) else {
            return Ok(());
        };
        port.detach(&self.poller);
        let one = OneOf::new(queues, self.number);
        if let Some(queue) = one.as_ref().and_then(OneOf::get) {
            self.poller.add(queue.as_fd(), tunnel.0 as u64)?;
            port.ready = true;
        }
        port.queue = one;
        Ok(())
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
    fn fill(&mut self) -> Option<TunnelId> {
        self.batch.clear();
        for _ in 0..self.ports.len() {
            self.turn = (self.turn + 1) % self.ports.len();
            let port = self.ports.get_mut(self.turn)?;
            let tunnel = TunnelId(self.turn);
            let has_due = port.until_due().is_some_and(|wait| wait.is_zero());
            let queue = port.queue.as_ref().and_then(OneOf::get);
            let Some(queue) = queue.filter(|_| port.ready || has_due) else {
                continue;
            };
            let Filled { unfit, end } = fill(&mut self.batch, queue, &mut port.source);
            let has_read = !self.batch.is_empty() || unfit > 0;
            let limit = port.limit.as_mut();
            let over = limit.map_or(0, |limit| limit.pass(&mut self.batch, Instant::now()));
            if let Some(tally) = self.path.tally(tunnel) {
                tally.received += (unfit + over) as u64;
                tally.drop(LinkDrop::TunMalformed, unfit);
                tally.drop(LinkDrop::OverLimit, over);
            }
            if has_read || !self.batch.is_empty() {
                return Some(tunnel);
            }
            port.ready = false;
            if let Err(error) = end {
                port.detach(&self.poller);
                self.tell_device_gone(tunnel, error);
            }
        }
        None
    }

    /// Seals the batch, which is of `tunnel`, and sends it.
    fn forward(&mut self, tunnel: TunnelId) -> io::Result<()> {
        let queue = self
            .ports
            .get(tunnel.0)
            .and_then(|port| port.queue.as_ref()?.get());
        let now = Instant::now();
        self.path.seal(tunnel, &mut self.batch, now, |reply| {
            // A lost answer is asked for again by the next packet that is too big; a device that is
            // gone shows when it is read.
            let _ = queue.map(|queue| queue.write(reply, Offload::default()));
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
        if too_big > 0 {
            self.tell_path_mtu();
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

impl Port {
    /// One without a device.
    pub(super) fn vacant(port: &dataplane::Port) -> Self {
        Self {
            queue: None,
            source: Source::new(port.config.gre.kind),
            limit: (port.config.limit).map(|rate| Limit::new(rate, port.config.gre.kind)),
            ready: false,
        }
    }

    /// How long until a packet may leave that waits for that; `None`: none waits, or the device is gone,
    /// and what waits leaves when it is there again.
    fn until_due(&self) -> Option<Duration> {
        self.queue.as_ref()?;
        self.limit.as_ref()?.wait(Instant::now())
    }

    /// Lets go of the device, and forgets what was read of it.
    fn detach(&mut self, poller: &Poller) {
        if let Some(queue) = self.queue.take().as_ref().and_then(OneOf::get) {
            // The descriptor is open and was added.
            let _ = poller.remove(queue.as_fd());
        }
        self.source.vacant();
        self.ready = false;
    }
}

/// What [`fill`] has come to.
struct Filled {
    /// How many packets could not be taken.
    unfit: usize,
    /// Why it has ended: nothing is left, or the batch is full; or the device is gone.
    end: io::Result<()>,
}

/// As many packets as there are and the batch takes; what is left of the last one waits in the
/// source. With an error, what was read before it is in the batch, and the next reading gives the
/// error again.
fn fill(batch: &mut Batch, queue: &Queue, source: &mut Source) -> Filled {
    let mut unfit = 0;
    loop {
        if source.fill(batch) {
            return Filled { unfit, end: Ok(()) };
        }
        match queue.read(source.vacant()) {
            Ok(Some(Reading { length, offload })) => {
                if let Err(Unfit) = source.accept(length, offload) {
                    unfit += 1;
                }
            }
            Ok(None) => return Filled { unfit, end: Ok(()) },
            Err(error) => {
                return Filled {
                    unfit,
                    end: Err(error),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that is woken by them, and cannot send them, would do nothing else.
    #[test]
    fn packets_of_a_device_that_is_gone_wake_nobody() {
        let mut limit = Limit::new(1, secure_gre_gre::Passengers::Ip);
        let mut batch = Batch::default();
        for _ in 0..2 {
            batch.clear();
            batch.push(20).unwrap().fill(0x45);
            limit.pass(&mut batch, Instant::now());
        }
        assert!(
            limit.wait(Instant::now()).is_some(),
            "one has left, and one waits"
        );
        let port = Port {
            queue: None,
            source: Source::new(secure_gre_gre::Passengers::Ip),
            limit: Some(limit),
            ready: false,
        };
        assert_eq!(port.until_due(), None);
    }
}
