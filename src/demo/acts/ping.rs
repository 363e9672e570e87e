//! Echoes from berlin to paris through the tunnel.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::ANSWER_TIMEOUT;
use crate::demo::DemoError;
use crate::demo::report::Finding;
use crate::demo::scene::Scene;
use crate::net::echo::Pinger;

const COUNT: usize = 5;
const DATA_OCTETS: usize = 56;

/// All were answered, each after so long.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::demo) struct Pings {
    destination: IpAddr,
    round_trips_microseconds: Vec<u64>,
}

/// Fails unless each echo is answered.
pub(in crate::demo) fn run(scene: &Scene, destination: IpAddr) -> Result<Pings, DemoError> {
    let round_trips = scene.berlin.enter(|| {
        let mut pinger = Pinger::new(destination, 1)?;
        (0..COUNT)
            .map(|_| pinger.echo(DATA_OCTETS, ANSWER_TIMEOUT))
            .collect::<Result<Option<Vec<_>>, _>>()
    })?;
    let not_shown = |finding| DemoError::NotShown {
        check: "ping",
        finding: format!("{destination} {finding}"),
    };
    match round_trips {
        Ok(Some(round_trips)) => Ok(Pings {
            destination,
            round_trips_microseconds: round_trips.iter().map(microseconds).collect(),
        }),
        Ok(None) => Err(not_shown("does not answer".to_owned())),
        Err(error) => Err(not_shown(format!("can't be asked: {error}"))),
    }
}

fn microseconds(duration: &Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Finding for Pings {
    fn what(&self) -> &'static str {
        if self.destination.is_ipv4() {
            "ping, IPv4"
        } else {
            "ping, IPv6"
        }
    }

    fn words(&self) -> String {
        let times = self.round_trips_microseconds.iter();
        let times = times.map(|time| format!("{}.{:03}", time / 1000, time % 1000));
        format!(
            "{COUNT} of {COUNT} answered by {}, after {} ms",
            self.destination,
            times.collect::<Vec<_>>().join(" ")
        )
    }
}
