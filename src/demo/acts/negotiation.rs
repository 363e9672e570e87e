//! Two daemons agree on keys: what they say while they do, and what they agreed on.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::control::protocol::status::{PeerState, PeerStatus};
use crate::demo::DemoError;
use crate::demo::host::{GLANCE, Host};
use crate::demo::report::Narrator;
use crate::demo::scene::Scene;

/// Three round trips over a link of ours; the rest is for a machine that is busy.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What both daemons' `status` says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::demo) struct Negotiation {
    /// From the start of the calling daemon until both carry packets.
    milliseconds: u64,
    ike_suite: String,
    esp_suite: String,
}

/// Starts the daemon that answers, then the one that calls, and waits until both carry packets.
pub(in crate::demo) fn run(
    scene: &mut Scene,
    narrator: &mut Narrator,
) -> Result<Negotiation, DemoError> {
    scene.paris.start_daemon()?;
    wait(scene, narrator, |scene| {
        let there = scene.paris.status()?;
        Ok(there.filter(|there| there.local_address.is_some()))
    })?;
    let begun = Instant::now();
    scene.berlin.start_daemon()?;
    let (here, there) = wait(scene, narrator, |scene| {
        Ok(established(&scene.berlin)?.zip(established(&scene.paris)?))
    })?;
    let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    agreed(&here, &there, milliseconds).ok_or_else(|| DemoError::NotShown {
        check: "negotiation",
        finding: "the two daemons do not name the same suites and SAs".to_owned(),
    })
}

fn established(host: &Host) -> Result<Option<PeerStatus>, DemoError> {
    let status = host.status()?;
    Ok(status.filter(|status| status.state == PeerState::Established))
}

/// `None` unless both ends tell the same.
fn agreed(here: &PeerStatus, there: &PeerStatus, milliseconds: u64) -> Option<Negotiation> {
    let (ike, their_ike) = (here.ike.as_ref()?, there.ike.as_ref()?);
    let (child, their_child) = (here.children.last()?, there.children.last()?);
    let same = ike.suite == their_ike.suite
        && (ike.spi_initiator, ike.spi_responder)
            == (their_ike.spi_initiator, their_ike.spi_responder)
        && child.suite == their_child.suite
        && (child.spi_inbound, child.spi_outbound)
            == (their_child.spi_outbound, their_child.spi_inbound);
    same.then(|| Negotiation {
        milliseconds,
        ike_suite: ike.suite.clone(),
        esp_suite: child.suite.clone(),
    })
}

/// Passes on what the daemons say until `probe` yields something.
fn wait<T>(
    scene: &mut Scene,
    narrator: &mut Narrator,
    mut probe: impl FnMut(&Scene) -> Result<Option<T>, DemoError>,
) -> Result<T, DemoError> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        scene.check_daemons()?;
        let found = probe(scene)?;
        while let Ok(line) = scene.lines.recv_timeout(GLANCE) {
            narrator.indented(&line.to_string());
        }
        if let Some(found) = found {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(DemoError::NotShown {
                check: "negotiation",
                finding: format!("nothing was agreed on within {} s", TIMEOUT.as_secs()),
            });
        }
    }
}
