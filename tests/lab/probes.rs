//! Passengers that are counted one by one: numbered echo requests at a steady rate, each of which has
//! to be answered once. A probe that is lost on either way is named with the time at which it left.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::eventually;
use super::netns::Netns;
use super::traffic::{MARKER, checksum};

/// Between two probes.
const INTERVAL: Duration = Duration::from_millis(5);
/// How long the last answers may take on a machine that is busy.
const LAST_ANSWERS: Duration = Duration::from_secs(20);
/// For answers that wait while this process does not get to run.
const RECEIVE_BUFFER: usize = 16 << 20;

const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
const IPV4_HEADER: usize = 20;
/// Type, code, checksum, identifier, sequence number.
const ICMP_HEADER: usize = 8;

/// Probes that go on until they are asked for the result.
pub(crate) struct Probes {
    begin: Instant,
    stop: Arc<AtomicBool>,
    ledger: Arc<Mutex<Ledger>>,
    threads: Vec<JoinHandle<()>>,
}

/// What became of the probes.
#[derive(Default)]
struct Ledger {
    sent: u64,
    /// When those left that have no answer yet.
    open: BTreeMap<u64, Instant>,
    repeated: u64,
}

impl Probes {
    /// Begins to probe `destination` from a namespace.
    pub(crate) fn start(netns: &Netns, destination: &str) -> Self {
        let socket = Arc::new(netns.enter(icmp_socket));
        let destination = SocketAddrV4::new(destination.parse().unwrap(), 0).into();
        let (stop, ledger) = (
            Arc::<AtomicBool>::default(),
            Arc::<Mutex<Ledger>>::default(),
        );
        let sender = {
            let (socket, stop, ledger) =
                (Arc::clone(&socket), Arc::clone(&stop), Arc::clone(&ledger));
            std::thread::spawn(move || send(&socket, destination, &stop, &ledger))
        };
        let receiver = {
            let (stop, ledger) = (Arc::clone(&stop), Arc::clone(&ledger));
            std::thread::spawn(move || receive(&socket, &stop, &ledger))
        };
        Self {
            begin: Instant::now(),
            stop,
            ledger,
            threads: vec![sender, receiver],
        }
    }

    /// Ends them. Every one must have been answered, once; returns how many there were.
    #[track_caller]
    pub(crate) fn expect_none_lost(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        let ledger = self.ledger.lock().unwrap();
        let lost: Vec<_> = ledger
            .open
            .iter()
            .map(|(number, at)| format!("{number} at {:?}", *at - self.begin))
            .collect();
        assert!(
            lost.is_empty() && ledger.repeated == 0,
            "of {} probes {} were lost: {}; {} answers came twice",
            ledger.sent,
            lost.len(),
            lost.join(", "),
            ledger.repeated
        );
        ledger.sent
    }

    /// Waits until another probe was answered that left later than this call.
    #[track_caller]
    pub(crate) fn wait_for_answer(&self, timeout: Duration) {
        let next = self.ledger.lock().unwrap().sent;
        eventually("an answered probe", timeout, || {
            let ledger = self.ledger.lock().unwrap();
            let waiting = ledger.open.range(next..).count() as u64;
            (ledger.sent > next + waiting).then_some(())
        });
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn icmp_socket() -> OwnedFd {
    let socket = socket::socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Icmp,
    )
    .unwrap();
    socket::setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).unwrap();
    let timeout = TimeVal::milliseconds(100);
    socket::setsockopt(&socket, sockopt::ReceiveTimeout, &timeout).unwrap();
    socket
}

fn send(socket: &OwnedFd, destination: SockaddrIn, stop: &AtomicBool, ledger: &Mutex<Ledger>) {
    while !stop.load(Ordering::Relaxed) {
        let packet = {
            let mut ledger = ledger.lock().unwrap();
            let number = ledger.sent;
            ledger.sent += 1;
            ledger.open.insert(number, Instant::now());
            echo_request(number)
        };
        // What cannot be sent is a probe without an answer.
        let _ = socket::sendto(socket.as_raw_fd(), &packet, &destination, MsgFlags::empty());
        std::thread::sleep(INTERVAL);
    }
}

/// Until all have come, or the last ones have had their time.
fn receive(socket: &OwnedFd, stop: &AtomicBool, ledger: &Mutex<Ledger>) {
    let mut give_up_at = None;
    let mut buffer = [0; 256];
    loop {
        match socket::recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => {
                if let Some(number) = echo_reply(&buffer[..length]) {
                    let mut ledger = ledger.lock().unwrap();
                    let first = ledger.open.remove(&number).is_some();
                    ledger.repeated += u64::from(!first);
                }
            }
            Err(errno) => {
                let kind = io::Error::from(errno).kind();
                let harmless = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
                assert!(harmless.contains(&kind), "{errno}");
            }
        }
        if stop.load(Ordering::Relaxed) {
            let give_up_at = *give_up_at.get_or_insert_with(|| Instant::now() + LAST_ANSWERS);
            if ledger.lock().unwrap().open.is_empty() || give_up_at < Instant::now() {
                return;
            }
        }
    }
}

/// Its identifier is the process id, so that tests don't take each other's answers.
fn echo_request(number: u64) -> Vec<u8> {
    let mut packet = vec![ECHO_REQUEST, 0, 0, 0];
    packet.extend(identifier());
    let [.., high, low] = number.to_be_bytes();
    packet.extend([high, low]);
    packet.extend(number.to_be_bytes());
    packet.extend(MARKER);
    let sum = checksum(&packet).to_be_bytes();
    packet[2..4].copy_from_slice(&sum);
    packet
}

fn echo_reply(packet: &[u8]) -> Option<u64> {
    let icmp = packet.get(IPV4_HEADER..)?;
    let ours = icmp.first() == Some(&ECHO_REPLY) && icmp.get(4..6) == Some(&identifier());
    let number = icmp.get(ICMP_HEADER..ICMP_HEADER + 8).filter(|_| ours)?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

fn identifier() -> [u8; 2] {
    let [.., high, low] = std::process::id().to_be_bytes();
    [high, low]
}
