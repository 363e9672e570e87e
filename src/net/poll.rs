//! Waiting for several descriptors at once, and waking a thread that waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
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

/// Wakes a thread out of [`wait_readable`]: readable from [`Waker::wake`] until [`Waker::reset`].
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
