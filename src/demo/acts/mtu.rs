//! The MTU edge: the largest packet passes whole, and one octet more is refused aloud, not lost.

use serde::Serialize;

use super::ANSWER_TIMEOUT;
use crate::demo::DemoError;
use crate::demo::report::Finding;
use crate::demo::scene::{PARIS, Scene};
use crate::net::echo::Pinger;

/// Octets of the IPv4 and the ICMP header.
const HEADERS: usize = 20 + 8;

/// Where the edge is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::demo) struct MtuEdge {
    device_mtu: u16,
    /// Data of the largest echo that passed.
    largest_octets: usize,
    /// What the sender was told for one octet more.
    refusal: String,
}

/// Fails unless echoes of just the device's MTU pass and larger ones are refused with `EMSGSIZE`.
pub(in crate::demo) fn run(scene: &Scene) -> Result<MtuEdge, DemoError> {
    let not_shown = |finding| DemoError::NotShown {
        check: "MTU edge",
        finding,
    };
    let status = scene.berlin.status()?;
    let device = status.and_then(|mut status| status.tunnels.pop());
    let device = device.ok_or_else(|| not_shown("berlin has no device".to_owned()))?;
    let largest = usize::from(device.mtu).saturating_sub(HEADERS);
    let (whole, beyond) = scene.berlin.enter(|| {
        let echo = |octets| Pinger::new(PARIS.inner_v4.into(), 2)?.echo(octets, ANSWER_TIMEOUT);
        (echo(largest), echo(largest + 1))
    })?;
    match (whole, beyond) {
        (Ok(Some(_)), Err(error)) if error.raw_os_error() == Some(libc::EMSGSIZE) => Ok(MtuEdge {
            device_mtu: device.mtu,
            largest_octets: largest,
            refusal: nix::errno::Errno::EMSGSIZE.desc().to_lowercase(),
        }),
        (whole, beyond) => Err(not_shown(format!(
            "an echo with {largest} octets: {whole:?}; with one more: {beyond:?}"
        ))),
    }
}

impl Finding for MtuEdge {
    fn what(&self) -> &'static str {
        "MTU edge"
    }

    fn words(&self) -> String {
        format!(
            "device MTU {}: a ping with {} octets of data passes, with {} the sender hears \"{}\"",
            self.device_mtu,
            self.largest_octets,
            self.largest_octets + 1,
            self.refusal
        )
    }
}
