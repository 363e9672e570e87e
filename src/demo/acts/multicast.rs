//! A datagram to a group, which plain IPsec between two addresses would not carry and GRE does.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use serde::Serialize;

use super::ANSWER_TIMEOUT;
use crate::demo::DemoError;
use crate::demo::report::Finding;
use crate::demo::scene::{BERLIN, PARIS, Scene};

/// Of the block for documentation (RFC 6676 §2).
const GROUP: Ipv4Addr = Ipv4Addr::new(233, 252, 0, 47);
const PORT: u16 = 4747;
const MESSAGE: &[u8] = b"to everyone who listens";

/// It arrived.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::demo) struct Multicast {
    group: Ipv4Addr,
    received_octets: usize,
}

/// Fails unless paris, a member of the group, gets what berlin sends to it.
pub(in crate::demo) fn run(scene: &Scene) -> Result<Multicast, DemoError> {
    let member = scene
        .paris
        .enter(join)?
        .map_err(|error| not_shown(&error))?;
    let sent = scene.berlin.enter(send)?;
    sent.map_err(|error| not_shown(&error))?;
    let mut buffer = [0; 64];
    let length = member
        .recv(&mut buffer)
        .map_err(|error| not_shown(&error))?;
    if buffer.get(..length) != Some(MESSAGE) {
        return Err(not_shown(&io::Error::other("another datagram arrived")));
    }
    Ok(Multicast {
        group: GROUP,
        received_octets: length,
    })
}

fn join() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((GROUP, PORT))?;
    socket.join_multicast_v4(&GROUP, &PARIS.inner_v4)?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(socket)
}

/// The kernel sends to a group out of the device whose address the socket has.
fn send() -> io::Result<()> {
    let socket = UdpSocket::bind((BERLIN.inner_v4, 0))?;
    socket.send_to(MESSAGE, (GROUP, PORT)).map(drop)
}

fn not_shown(error: &io::Error) -> DemoError {
    let finding = match error.kind() {
        io::ErrorKind::WouldBlock => format!("the datagram to {GROUP} did not arrive"),
        _ => error.to_string(),
    };
    DemoError::NotShown {
        check: "multicast",
        finding,
    }
}

impl Finding for Multicast {
    fn what(&self) -> &'static str {
        "multicast"
    }

    fn words(&self) -> String {
        format!(
            "a datagram of {} octets to the group {} arrived at paris",
            self.received_octets, self.group
        )
    }
}
