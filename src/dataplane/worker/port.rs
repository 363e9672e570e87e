//! The outbound side of a tunnel's device: which of its queues a worker reads, and in which order.
//!
//! A device has several queues for each worker, its *lanes*, and gives a flow's packets out of one of
//! them (`spread`). A worker takes a batch of each that has something, in turn, so that a packet does not
//! wait behind all that another flow has in the device: the kernel forgets that these are a socket's own
//! when it hands them to the device, and lets it have as many as its window allows.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secure_gre_gre::Passengers;

use crate::dataplane;
use crate::dataplane::batch::Batch;
use crate::dataplane::limit::Limit;
use crate::dataplane::segment::{Source, Unfit};
use crate::net::poll::Poller;
use crate::net::tun::{Offload, Queue, Queues, Reading};

/// See the module.
pub(super) struct Port {
    passengers: Passengers,
    /// Among how many the queues are shared out.
    workers: usize,
    /// `None`: it is gone, or has not come.
    device: Option<Device>,
    /// What has been read and may not leave yet waits there.
    limit: Option<Limit>,
}

struct Device {
    queues: Arc<Queues>,
    lanes: Vec<Lane>,
    /// The lane that is read next, if it has something.
    turn: usize,
}

/// One queue of a device.
struct Lane {
    queue: usize,
    /// What was read of it and did not fit in a batch.
    source: Source,
    /// Whether something may be left to read.
    ready: bool,
}

/// What [`Port::fill`] has come to.
pub(super) struct Filled {
    /// How many packets could not be taken.
    pub(super) unfit: usize,
    /// How many exceeded the limit.
    pub(super) over: usize,
    /// `Err`: the device is gone.
    pub(super) end: io::Result<()>,
}

impl Port {
    /// That of the worker with this number.
    pub(super) fn new(port: &dataplane::Port, worker: usize) -> Self {
        let passengers = port.config.gre.kind;
        let mut new = Self {
            passengers,
            workers: port.workers.get(),
            device: None,
            limit: (port.config.limit).map(|rate| Limit::new(rate, passengers)),
        };
        if let Some(queues) = &port.queues {
            new.attach(Arc::clone(queues), worker);
        }
        new
    }

    /// Takes the queues of this worker.
    pub(super) fn attach(&mut self, queues: Arc<Queues>, worker: usize) {
        let own = match worker < self.workers {
            true => worker..queues.len(),
            false => 0..0,
        };
        let lane = |queue| Lane {
            queue,
            source: Source::new(self.passengers),
            ready: true,
        };
        self.device = Some(Device {
            lanes: own.step_by(self.workers).map(lane).collect(),
            queues,
            turn: 0,
        });
    }

    /// Lets go of the device, and forgets what was read of it.
    pub(super) fn detach(&mut self, poller: &Poller) {
        self.withdraw(poller);
        self.device = None;
    }

    /// Has `poller` tell of the queues by numbers of tunnel `place`.
    pub(super) fn enroll(&self, place: usize, poller: &Poller) -> io::Result<()> {
        let mut lanes = self.open_lanes();
        lanes.try_for_each(|(lane, queue)| poller.add(queue.as_fd(), number(place, lane.queue)))
    }

    /// Has `poller` tell of them no more.
    pub(super) fn withdraw(&self, poller: &Poller) {
        for (_, queue) in self.open_lanes() {
            // The descriptor is open and was added.
            let _ = poller.remove(queue.as_fd());
        }
    }

    fn open_lanes(&self) -> impl Iterator<Item = (&Lane, &Queue)> {
        self.device.iter().flat_map(|Device { queues, lanes, .. }| {
            let open = |lane: &Lane| queues.get(lane.queue);
            lanes
                .iter()
                .filter_map(move |lane| Some((lane, open(lane)?)))
        })
    }

    /// The queue may have something; it may also be another worker's.
    pub(super) fn tell(&mut self, queue: usize) {
        let lanes = self.device.iter_mut().flat_map(|device| &mut device.lanes);
        for lane in lanes.filter(|lane| lane.queue == queue) {
            lane.ready = true;
        }
    }

    /// How long until something may leave that waits here, be it for the limit or for a turn; `None`:
    /// nothing waits, or the device is gone, and what waits leaves when it is there again.
    pub(super) fn until_due(&self) -> Option<Duration> {
        let device = self.device.as_ref()?;
        if device.lanes.iter().any(|lane| lane.ready) {
            return Some(Duration::ZERO);
        }
        self.limit.as_ref()?.wait(Instant::now())
    }

    /// Fills the batch with what the next lane has, or what the limit has let go. `None`: there is
    /// nothing. In haste, one reading is enough.
    pub(super) fn fill(&mut self, batch: &mut Batch, hasty: bool) -> Option<Filled> {
        let device = self.device.as_mut()?;
        let (unfit, end) = device.read(batch, hasty);
        let limit = self.limit.as_mut();
        let over = limit.map_or(0, |limit| limit.pass(batch, Instant::now()));
        let nothing = batch.is_empty() && unfit + over == 0 && end.is_ok();
        (!nothing).then_some(Filled { unfit, over, end })
    }

    /// Gives a packet to the kernel.
    pub(super) fn answer(&self, reply: &[u8]) {
        let queue = (self.device.as_ref()).and_then(|device| device.queues.get(0));
        // A lost answer is asked for again by the next packet that is too big; a device that is gone
        // shows when it is read.
        let _ = queue.map(|queue| queue.write(reply, Offload::default()));
    }
}

impl Device {
    /// Reads the next lane that has something. How many packets could not be taken; `Err`, without any
    /// packet: the device is gone.
    fn read(&mut self, batch: &mut Batch, hasty: bool) -> (usize, io::Result<()>) {
        for _ in 0..self.lanes.len() {
            self.turn = (self.turn + 1) % self.lanes.len();
            let Some(lane) = self.lanes.get_mut(self.turn).filter(|lane| lane.ready) else {
                continue;
            };
            let Some(queue) = self.queues.get(lane.queue) else {
                continue;
            };
            let (unfit, end) = lane.read(queue, batch, hasty);
            let has_read = !batch.is_empty() || unfit > 0;
            if has_read {
                return (unfit, Ok(()));
            }
            if end.is_err() {
                return (0, end);
            }
        }
        (0, Ok(()))
    }
}

impl Lane {
    /// As many packets as there are and the batch takes; what is left of the last one waits in the
    /// source. With an error, what was read before it is in the batch, and the next reading gives the
    /// error again.
    fn read(&mut self, queue: &Queue, batch: &mut Batch, hasty: bool) -> (usize, io::Result<()>) {
        let mut unfit = 0;
        loop {
            if self.source.fill(batch) {
                return (unfit, Ok(()));
            }
            if hasty && !batch.is_empty() {
                // The poller tells if there is more.
                self.ready = false;
                return (unfit, Ok(()));
            }
            match queue.read(self.source.vacant()) {
                Ok(Some(Reading { length, offload })) => {
                    if let Err(Unfit) = self.source.accept(length, offload) {
                        unfit += 1;
                    }
                }
                Ok(None) => {
                    self.ready = false;
                    return (unfit, Ok(()));
                }
                Err(error) => return (unfit, Err(error)),
            }
        }
    }
}

/// What the poller calls a queue of the tunnel at `place`.
const fn number(place: usize, queue: usize) -> u64 {
    (queue as u64) << 32 | place as u64
}

/// The place of a tunnel and its queue, which the poller calls like this.
pub(super) fn place_and_queue(number: u64) -> Option<(usize, usize)> {
    let place = usize::try_from(number & u64::from(u32::MAX)).ok()?;
    let queue = usize::try_from(number >> 32).ok()?;
    Some((place, queue))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that is woken by them, and cannot send them, would do nothing else.
    #[test]
    fn packets_of_a_device_that_is_gone_wake_nobody() {
        let mut limit = Limit::new(1, Passengers::Ip);
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
            passengers: Passengers::Ip,
            workers: 1,
            device: None,
            limit: Some(limit),
        };
        assert_eq!(port.until_due(), None);
    }

    #[test]
    fn queues_are_known_by_their_numbers() {
        for known in [(0, 0), (0, 7), (63, 3)] {
            assert_eq!(place_and_queue(number(known.0, known.1)), Some(known));
        }
    }
}
