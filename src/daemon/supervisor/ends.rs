//! The signals that ask a program to end.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use nix::sys::signal::Signal as NixSignal;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::net::signals;

/// Ctrl-C, SIGTERM, and SIGHUP when the terminal is closed, unless the program was started with
/// `nohup`.
pub(super) struct EndSignals(Vec<Signal>);

impl EndSignals {
    /// From here on they do not end the process by themselves.
    pub(super) fn watch() -> io::Result<Self> {
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        if !signals::is_ignored(NixSignal::SIGHUP)? {
            kinds.push(SignalKind::hangup());
        }
        Ok(Self(
            kinds.into_iter().map(signal).collect::<io::Result<_>>()?,
        ))
    }

    /// Waits for one of them.
    pub(super) async fn any(&mut self) {
        poll_fn(|context| {
            let mut polls = self.0.iter_mut().map(|signal| signal.poll_recv(context));
            if polls.any(|poll| poll.is_ready()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}
