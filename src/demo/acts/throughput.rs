//! A TCP connection through the tunnel that carries as much as it can.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::ANSWER_TIMEOUT;
use crate::demo::DemoError;
use crate::demo::report::Finding;
use crate::demo::scene::{PARIS, Scene};
use crate::net::poll::wait_readable;

const LASTING: Duration = Duration::from_secs(2);
const CHUNK_OCTETS: usize = 128 * 1024;

/// Less in all this time is no bulk transfer.
const LEAST_OCTETS: u64 = 1_000_000;

/// What arrived.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::demo) struct Throughput {
    octets: u64,
    seconds: f64,
    megabits_per_second: f64,
}

/// Fails unless octets flow from berlin to paris.
pub(in crate::demo) fn run(scene: &Scene) -> Result<Throughput, DemoError> {
    let not_shown = |error: io::Error| DemoError::NotShown {
        check: "throughput",
        finding: error.to_string(),
    };
    // Sockets stay in the namespace that they were made in, whoever uses them.
    let listener = scene
        .paris
        .enter(|| TcpListener::bind((PARIS.inner_v4, 0)))?
        .map_err(not_shown)?;
    let address = listener.local_addr().map_err(not_shown)?;
    let sender = scene
        .berlin
        .enter(|| TcpStream::connect_timeout(&address, ANSWER_TIMEOUT))?
        .map_err(not_shown)?;
    let receiver = accept(&listener).map_err(not_shown)?;
    let (octets, lasted) = transfer(sender, receiver).map_err(not_shown)?;
    if octets < LEAST_OCTETS {
        return Err(not_shown(io::Error::other(format!(
            "only {octets} octets arrived in {lasted:?}"
        ))));
    }
    let seconds = lasted.as_secs_f64();
    Ok(Throughput {
        octets,
        seconds,
        megabits_per_second: octets as f64 * 8.0 / seconds / 1e6,
    })
}

/// The connection's other end: to its beginner it stands one packet earlier, which may have been the last.
fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let [come] = wait_readable([listener.as_fd()], Some(ANSWER_TIMEOUT))?;
    if !come {
        return Err(io::Error::from(io::ErrorKind::TimedOut));
    }
    listener.accept().map(|(receiver, _)| receiver)
}

/// How much arrived, and how long that took from the first octet on.
fn transfer(sender: TcpStream, mut receiver: TcpStream) -> io::Result<(u64, Duration)> {
    receiver.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    sender.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || send(sender));
        let (mut octets, mut buffer) = (0_u64, vec![0; CHUNK_OCTETS]);
        let begun = Instant::now();
        loop {
            match receiver.read(&mut buffer)? {
                0 => break,
                length => octets = octets.saturating_add(length as u64),
            }
        }
        let lasted = begun.elapsed();
        sending
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((octets, lasted))
    })
}

fn send(mut sender: TcpStream) -> io::Result<()> {
    let (chunk, begun) = (vec![0; CHUNK_OCTETS], Instant::now());
    while begun.elapsed() < LASTING {
        sender.write_all(&chunk)?;
    }
    Ok(())
}

impl Finding for Throughput {
    fn what(&self) -> &'static str {
        "throughput"
    }

    fn words(&self) -> String {
        let build = if cfg!(debug_assertions) {
            "; of a debug build, so try \"cargo run --release\""
        } else {
            ""
        };
        format!(
            "{:.0} Mbit/s of one TCP connection, {:.0} MB in {:.1} s, both hosts on this machine{build}",
            self.megabits_per_second,
            self.octets as f64 / 1e6,
            self.seconds
        )
    }
}
