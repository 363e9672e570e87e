//! Round trips through the tunnel, by ping.

use std::time::Duration;

use super::tcp;
use crate::bench::scene::Scene;

/// Between two requests under load, as `ping -i` takes it, in seconds.
const LOADED_INTERVAL: f64 = 0.02;

/// TCP's slow start.
const WARM_UP: Duration = Duration::from_secs(1);

/// Time beyond that of the requests.
const PATIENCE: Duration = Duration::from_secs(30);

/// Round trips, µs, ascending; at least one.
#[derive(Debug, PartialEq)]
pub(in crate::bench) struct RoundTrips(Vec<f64>);

impl RoundTrips {
    /// The time that `percent` of them do not exceed.
    pub(in crate::bench) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    fn parse(said: &str) -> anyhow::Result<Self> {
        let mut times: Vec<f64> = said
            .lines()
            .filter_map(|line| line.split_once("time=")?.1.split(' ').next())
            .filter_map(|milliseconds| Some(milliseconds.parse::<f64>().ok()? * 1e3))
            .collect();
        anyhow::ensure!(!times.is_empty(), "no ping was answered");
        times.sort_by(f64::total_cmp);
        Ok(Self(times))
    }
}

/// `count` requests through an idle tunnel.
pub(in crate::bench) fn round_trips(scene: &Scene, count: u32) -> anyhow::Result<RoundTrips> {
    requests(scene, count, 0.01)
}

/// Requests for this long, while one TCP stream goes the same way.
pub(in crate::bench) fn round_trips_under_load(
    scene: &Scene,
    duration: Duration,
) -> anyhow::Result<RoundTrips> {
    // The stream outlasts the requests.
    let (_server, mut client) = tcp::start(scene, 1, duration + WARM_UP * 3)?;
    std::thread::sleep(WARM_UP);
    client.check()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some thousand at most"
    )]
    let count = (duration.as_secs_f64() / LOADED_INTERVAL) as u32;
    let times = requests(scene, count, LOADED_INTERVAL)?;
    client.check()?;
    Ok(times)
}

fn requests(scene: &Scene, count: u32, interval: f64) -> anyhow::Result<RoundTrips> {
    let there = scene.right.side.inner();
    let duration = Duration::from_secs_f64(f64::from(count) * interval);
    // It fails only if none was answered.
    let line = format!("ping -n -c {count} -i {interval} -W 1 {there}");
    let said = scene.left.run_within(&line, duration + PATIENCE)?;
    RoundTrips::parse(&said)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
PING 10.255.0.2 (10.255.0.2) 56(84) bytes of data.
64 bytes from 10.255.0.2: icmp_seq=1 ttl=64 time=0.250 ms
64 bytes from 10.255.0.2: icmp_seq=2 ttl=64 time=0.050 ms
64 bytes from 10.255.0.2: icmp_seq=3 ttl=64 time=1.5 ms

--- 10.255.0.2 ping statistics ---
3 packets transmitted, 3 received, 0% packet loss, time 20ms
";

    #[test]
    fn percentiles_are_those_of_the_times() {
        let times = RoundTrips::parse(SAID).unwrap();
        assert_eq!(times.percentile(50), 250.0);
        assert_eq!(times.percentile(99), 1500.0);
        assert_eq!(times.percentile(1), 50.0);
    }

    #[test]
    fn silence_is_no_figure() {
        assert!(RoundTrips::parse("PING 10.255.0.2\n").is_err());
    }
}
