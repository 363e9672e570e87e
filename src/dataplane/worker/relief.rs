//! Lending duties: one thread serves all of them while it is enough. What is answered at once, an echo
//! request or an acknowledgement, then needs no second thread to be woken for it, which takes longer than
//! all that is done to the packet. Under load it keeps receiving to itself, and threads of a reserve do
//! the sending, until one thread would be enough again. A duty goes from thread to thread whole, so that
//! packets keep their order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::shift::Shift;
use super::{AnyDuty, WorkerError};
use crate::net::poll::Waker;

/// What the first thread has of the others.
pub(super) struct Relief {
    lent: Sender<AnyDuty>,
    returned: Receiver<AnyDuty>,
    /// Of the first thread.
    load: Arc<AtomicU32>,
}

/// What a thread of the reserve has of the first.
#[derive(Clone)]
pub(super) struct Reserve {
    lent: Receiver<AnyDuty>,
    returned: Sender<AnyDuty>,
    /// Wakes the first thread.
    waker: Arc<Waker>,
    /// Of the first thread, and of all of the reserve.
    loads: Arc<[Arc<AtomicU32>]>,
}

/// For a first thread with this load, which `waker` wakes, and a reserve with those.
pub(super) fn new(
    load: Arc<AtomicU32>,
    reserve: impl IntoIterator<Item = Arc<AtomicU32>>,
    waker: &Arc<Waker>,
) -> (Relief, Reserve) {
    let (lend, lent) = unbounded();
    let (give_back, returned) = unbounded();
    let reserve = Reserve {
        lent,
        returned: give_back,
        waker: Arc::clone(waker),
        loads: [Arc::clone(&load)].into_iter().chain(reserve).collect(),
    };
    let relief = Relief {
        lent: lend,
        returned,
        load,
    };
    (relief, reserve)
}

impl Relief {
    /// Takes back what was returned, and lends all but the first duty if all are too much.
    pub(super) fn share_out(&self, shift: &mut Shift) -> Result<(), WorkerError> {
        for duty in self.returned.try_iter() {
            shift.take(duty).map_err(WorkerError::Wait)?;
        }
        if shift.len() > FIRST && self.load.load(Ordering::Relaxed) > MUCH {
            for duty in shift.leave(FIRST) {
                // The reserve lasts as long as this end does, but for a thread that has failed, which
                // was told.
                let _ = self.lent.send(duty);
            }
        }
        Ok(())
    }
}

impl Reserve {
    /// Serves what is lent, until the first thread has ended or a duty is told to.
    pub(super) fn serve(&self, mut shift: Shift) -> Result<(), WorkerError> {
        for duty in &self.lent {
            shift.take(duty).map_err(WorkerError::Wait)?;
            shift.load().restart(Instant::now(), 100);
            while self.load() >= LITTLE {
                if shift.turn()?.is_break() {
                    return Ok(());
                }
            }
            for duty in shift.leave(0) {
                let _ = self.returned.send(duty);
            }
            self.waker.wake();
            shift.load().restart(Instant::now(), 0);
        }
        Ok(())
    }

    /// What the first thread would have, did it serve all duties.
    fn load(&self) -> u32 {
        let loads = self.loads.iter();
        loads.map(|load| load.load(Ordering::Relaxed)).sum()
    }
}

/// The duty that is not lent: receiving.
const FIRST: usize = 1;

/// In percent of a thread's time. Below it a second thread would not be there often enough to help.
const MUCH: u32 = 40;

/// In percent of one thread's time, of all together: so far below [`MUCH`] that what goes back stays.
const LITTLE: u32 = 20;

/// How soon the first thread gets relief.
pub(super) const PROMPT: Duration = Duration::from_millis(5);

/// How long a thread of the reserve has to do little before its duty goes back: bursts do not send it to
/// and fro.
pub(super) const PATIENT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::io;
    use std::ops::ControlFlow;
    use std::sync::Mutex;
    use std::thread;
    use std::time::Duration;

    use super::super::{Duty, Pace, serve};
    use super::*;
    use crate::net::poll::Poller;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Idle,
        Busy,
        Over,
    }

    /// A duty as the test has it: what it is to do, and who did it last.
    #[derive(Clone)]
    struct Seen(Arc<Mutex<(State, String)>>);

    impl Seen {
        fn new() -> Self {
            Self(Arc::new(Mutex::new((State::Idle, String::new()))))
        }

        fn set(&self, state: State) {
            self.0.lock().unwrap().0 = state;
        }

        #[track_caller]
        fn until_served_by(&self, thread: &str) {
            let start = Instant::now();
            while self.0.lock().unwrap().1 != thread {
                assert!(start.elapsed() < PATIENCE, "never by {thread}");
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    impl Duty for Seen {
        fn enroll(&mut self, _: &Poller) -> io::Result<()> {
            Ok(())
        }

        fn withdraw(&mut self, _: &Poller) {}

        fn tell(&mut self, _: u64) {}

        fn until_due(&self) -> Option<Duration> {
            Some(match self.0.lock().unwrap().0 {
                State::Idle => Duration::from_millis(10),
                State::Busy | State::Over => Duration::ZERO,
            })
        }

        fn take_turn(
            &mut self,
            _: &Poller,
            _: Pace,
        ) -> Result<ControlFlow<(), usize>, WorkerError> {
            let mut seen = self.0.lock().unwrap();
            seen.1 = thread::current().name().unwrap_or_default().to_owned();
            Ok(match seen.0 {
                State::Idle => ControlFlow::Continue(0),
                State::Busy => ControlFlow::Continue(100),
                State::Over => ControlFlow::Break(()),
            })
        }
    }

    #[test]
    fn what_is_little_for_each_of_several_may_be_much_for_one() {
        let [first, others @ ..] = [5, 10, 10, 10].map(|load| Arc::new(AtomicU32::new(load)));
        let waker = Arc::new(Waker::new().unwrap());
        let (_, reserve) = new(first, others, &waker);
        assert!(reserve.load() >= LITTLE);
    }

    /// Receiving stays where it is.
    #[test]
    fn what_is_too_much_for_one_is_lent_until_it_is_not() {
        let (receiver, sender) = (Seen::new(), Seen::new());
        let mut first = Shift::new(PROMPT).unwrap();
        first.take(Box::new(receiver.clone())).unwrap();
        first.take(Box::new(sender.clone())).unwrap();
        let waker = Arc::new(Waker::new().unwrap());
        let mut second = Shift::new(PATIENT).unwrap();
        let (relief, reserve) = new(first.load().shown(), [second.load().shown()], &waker);
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let second = named("second").spawn(move || reserve.serve(second));
        let first = named("first").spawn(move || serve(first, Some(&relief)));
        sender.until_served_by("first");
        for _ in 0..3 {
            sender.set(State::Busy);
            sender.until_served_by("second");
            receiver.until_served_by("first");
            sender.set(State::Idle);
            sender.until_served_by("first");
        }
        receiver.set(State::Busy);
        sender.until_served_by("second");
        for seen in [sender, receiver] {
            seen.set(State::Over);
        }
        for thread in [first, second] {
            thread.unwrap().join().unwrap().unwrap();
        }
    }
}
