//! Waiting for several descriptors at once, and waking a thread that waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Waits until one of `fds` can be read, or has an error that a read would tell, or until `timeout`
/// (rounded up to milliseconds; `None` waits for ever). The answer says which; none of them when the
/// time has passed or a signal came, so a caller looks at its clock and waits again.
pub fn wait_readable<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    match poll(&mut polled, timeout.map(milliseconds)) {
        // Any event counts: an error or a hang-up is what the next read reports.
        Ok(_) => Ok(polled.map(|fd| fd.any().unwrap_or(true))),
        Err(Errno::EINTR) => Ok([false; N]),
        Err(errno) => Err(errno.into()),
    }
}

/// Rounded up, so that a wait never ends just before its deadline and then spins up to it.
fn milliseconds(timeout: Duration) -> PollTimeout {
    PollTimeout::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
}

/// Waits for any of many descriptors, each known by a number.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    events: Box<[EpollEvent]>,
}

impl Poller {
    /// Waits for nothing yet. Fails only when the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            events: vec![EpollEvent::empty(); EVENTS].into_boxed_slice(),
        })
    }

    /// Waits for `fd` too, until [`Poller::remove`] or until nobody has it open any more.
    pub fn add(&self, fd: BorrowedFd<'_>, number: u64) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number);
        Ok(self.epoll.add(fd, event)?)
    }

    /// Waits for `fd` no more.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Waits until some can be read, or have an error that a read would tell, or until `timeout`
    /// (rounded up to milliseconds; `None` waits for ever). The answer has the numbers of those, or of
    /// the first of them where they are many; of none when the time has passed or a signal came.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<impl Iterator<Item = u64>> {
        let timeout = timeout.map_or(PollTimeout::NONE, milliseconds);
        let ready = match self.epoll.wait(&mut self.events, timeout) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        Ok(self.events.iter().take(ready).map(EpollEvent::data))
    }
}

/// What one wait tells at most: the others are told by the next.
const EVENTS: usize = 64;

/// Wakes a thread out of [`wait_readable`] or [`Poller::wait`]: readable from [`Waker::wake`] until
/// [`Waker::reset`].
#[derive(Debug)]
pub struct Waker(EventFd);

impl Waker {
    /// Fails only when the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_flags(flags)?))
    }

    /// Any number of wakes before the next [`reset`](Self::reset) count as one.
    pub fn wake(&self) {
        // The only possible failure is a counter at its limit, which is as awake as can be.
        let _ = self.0.write(1);
    }

    /// To be called by the woken thread before it looks at what it was woken for: a wake that comes
    /// later then wakes it again.
    pub fn reset(&self) {
        // The only possible failure says that it was not awake.
        let _ = self.0.read();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_wake_is_seen_once() {
        let (woken, asleep) = (Waker::new().unwrap(), Waker::new().unwrap());
        woken.wake();
        woken.wake();
        assert_eq!(
            wait_readable([woken.as_fd(), asleep.as_fd()], None).unwrap(),
            [true, false]
        );
        woken.reset();
        woken.reset();
        assert_eq!(
            wait_readable([woken.as_fd()], Some(Duration::ZERO)).unwrap(),
            [false]
        );
    }

    #[test]
    fn of_many_those_are_told_that_can_be_read() {
        let wakers: Vec<_> = (0..100).map(|_| Waker::new().unwrap()).collect();
        let mut poller = Poller::new().unwrap();
        for (number, waker) in (0..).zip(&wakers) {
            poller.add(waker.as_fd(), number).unwrap();
        }
        wakers[7].wake();
        wakers[99].wake();
        let mut told: Vec<_> = poller.wait(None).unwrap().collect();
        told.sort_unstable();
        assert_eq!(told, [7, 99]);
        poller.remove(wakers[7].as_fd()).unwrap();
        assert_eq!(poller.wait(None).unwrap().collect::<Vec<_>>(), [99]);
        wakers[99].reset();
        assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap().count(), 0);
    }

    #[test]
    fn a_timeout_is_not_cut_short() {
        let waker = Waker::new().unwrap();
        let (start, timeout) = (Instant::now(), Duration::from_micros(1500));
        assert_eq!(
            wait_readable([waker.as_fd()], Some(timeout)).unwrap(),
            [false]
        );
        assert!(start.elapsed() >= timeout);
    }

    #[test]
    fn a_wake_from_another_thread_ends_an_endless_wait() {
        let waker = Waker::new().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| waker.wake());
            assert_eq!(wait_readable([waker.as_fd()], None).unwrap(), [true]);
        });
    }
}
