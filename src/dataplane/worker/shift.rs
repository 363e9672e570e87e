//! What one thread serves: its duties, and the waiting for all of them together.

use std::io;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use super::load::Load;
use super::{AnyDuty, Pace, WorkerError};
use crate::net::poll::Poller;

/// See the module.
pub(super) struct Shift {
    poller: Poller,
    duties: Vec<AnyDuty>,
    pace: Pace,
    load: Load,
}

impl Shift {
    /// Without a duty, and with such intervals of its load. Fails only when the process has no descriptor
    /// left.
    pub(super) fn new(interval: Duration) -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new()?,
            duties: Vec::new(),
            pace: Pace::default(),
            load: Load::new(interval, Instant::now()),
        })
    }

    /// Serves this one, too.
    pub(super) fn take(&mut self, mut duty: AnyDuty) -> io::Result<()> {
        duty.enroll(&self.poller)?;
        self.duties.push(duty);
        Ok(())
    }

    /// Leaves all but the first `kept`.
    pub(super) fn leave(&mut self, kept: usize) -> impl Iterator<Item = AnyDuty> {
        let poller = &self.poller;
        self.duties.drain(kept..).map(|mut duty| {
            duty.withdraw(poller);
            duty
        })
    }

    /// How many duties it has.
    pub(super) const fn len(&self) -> usize {
        self.duties.len()
    }

    pub(super) const fn load(&mut self) -> &mut Load {
        &mut self.load
    }

    /// Waits, and gives each duty its turn. `Break`: one was told to end.
    pub(super) fn turn(&mut self) -> Result<ControlFlow<()>, WorkerError> {
        self.wait()?;
        let mut packets = 0;
        for duty in &mut self.duties {
            match duty.take_turn(&self.poller, self.pace)? {
                ControlFlow::Continue(done) => packets += done,
                ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
            }
        }
        if self.pace.after(packets).is_break() {
            thread::yield_now();
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Until there is something to do, or just looks whether there is, as the pace wants it.
    fn wait(&mut self) -> Result<(), WorkerError> {
        let since = Instant::now();
        let timeout = match self.pace.sleeps() {
            true => self.duties.iter().filter_map(|duty| duty.until_due()).min(),
            false => Some(Duration::ZERO),
        };
        for number in self.poller.wait(timeout).map_err(WorkerError::Wait)? {
            for duty in &mut self.duties {
                duty.tell(number);
            }
        }
        if self.pace.sleeps() {
            let woken = Instant::now();
            self.pace.woken(woken - since);
            self.load.slept(since, woken);
        } else {
            self.load.awake(since);
        }
        Ok(())
    }
}
