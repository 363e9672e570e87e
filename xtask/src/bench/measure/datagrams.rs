//! UDP datagrams through the tunnel at a given rate: how many arrive?
//!
//! A generator of our own: iperf3 takes a system call and a look at the clock for each datagram, and
//! with both of its ends on the same two cores as the tunnel it would be the limit that is measured.
//! This one passes up to [`BATCH`] datagrams per call. The socket's send buffer is the kernel's
//! default, as an application's is; the receiver's is large, so that what is lost, the tunnel lost.

use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, recvmmsg, sendmmsg, setsockopt, sockopt::RcvBufForce,
};

use crate::bench::scene::Scene;

/// Datagrams per system call at most.
const BATCH: usize = 32;

/// The sleep between two batches.
const PACE: Duration = Duration::from_micros(100);

/// What a slow reader may be behind, in octets.
const RECEIVE_BUFFER: usize = 8 << 20;

/// After the last datagram was sent, nothing more comes when nothing came for this long.
const SILENCE: Duration = Duration::from_millis(250);

/// What was offered and what came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outcome {
    /// Datagrams.
    pub(super) sent: f64,
    /// Datagrams.
    pub(super) received: f64,
    /// Time of sending, in seconds.
    pub(super) seconds: f64,
}

/// Sends datagrams of `size` octets from left to right, `rate` per second as far as that is possible.
pub(super) fn offer(
    scene: &Scene,
    size: usize,
    rate: f64,
    duration: Duration,
) -> anyhow::Result<Outcome> {
    let (here, there) = (scene.left.side.inner(), scene.right.side.inner());
    let receiver = scene.right.enter(|| UdpSocket::bind((there, 0)))??;
    let sender = scene.left.enter(|| UdpSocket::bind((here, 0)))??;
    // Without the privilege in the first user namespace, the kernel's default has to do.
    let _ = setsockopt(&receiver, RcvBufForce, &RECEIVE_BUFFER);
    receiver.set_read_timeout(Some(SILENCE))?;
    sender.connect(receiver.local_addr()?)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counting = scope.spawn(|| count(&receiver, &over));
        let sent = send(&sender, size, rate, duration);
        over.store(true, Ordering::Release);
        let received = counting
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (sent, seconds) = sent.context("cannot send datagrams")?;
        let received = received.context("cannot receive datagrams")?;
        Ok(Outcome {
            sent,
            received,
            seconds,
        })
    })
}

fn send(
    socket: &UdpSocket,
    size: usize,
    rate: f64,
    duration: Duration,
) -> Result<(f64, f64), Errno> {
    let payload = vec![0x5a; size];
    let datagrams = [[IoSlice::new(&payload)]; BATCH];
    let mut sent = 0.0;
    let mut credit = 0.0;
    let begin = Instant::now();
    let mut last = begin;
    while begin.elapsed() < duration {
        // What could not be sent in time is not made up for: a burst would be another measurement.
        let most = BATCH as f64;
        credit = f64::min(credit + last.elapsed().as_secs_f64() * rate, most * 4.0);
        last = Instant::now();
        while credit >= 1.0 {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and a batch"
            )]
            let count = credit.min(most) as usize;
            let mut headers = MultiHeaders::<()>::preallocate(count, None);
            let nowhere = [None::<()>; BATCH];
            let results = sendmmsg(
                socket.as_raw_fd(),
                &mut headers,
                datagrams.iter().take(count),
                nowhere,
                [],
                MsgFlags::empty(),
            )?;
            let count = results.count() as f64;
            sent += count;
            credit -= count;
        }
        std::thread::sleep(PACE);
    }
    Ok((sent, begin.elapsed().as_secs_f64()))
}

fn count(socket: &UdpSocket, over: &AtomicBool) -> Result<f64, Errno> {
    let mut octets = vec![[0; 2048]; BATCH];
    let mut received = 0.0;
    loop {
        let mut buffers: Vec<_> = octets
            .iter_mut()
            .map(|one| [IoSliceMut::new(one)])
            .collect();
        let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
        let flags = MsgFlags::MSG_WAITFORONE;
        match recvmmsg(
            socket.as_raw_fd(),
            &mut headers,
            buffers.iter_mut(),
            flags,
            None,
        ) {
            Ok(results) => received += results.count() as f64,
            Err(Errno::EAGAIN) if over.load(Ordering::Acquire) => return Ok(received),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
