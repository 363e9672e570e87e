//! TCP streams through the tunnel, by iperf3.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Deserialize;

use crate::bench::process::Process;
use crate::bench::scene::{Scene, command};

/// Time that a transfer may take beyond its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time until a server answers.
const START: Duration = Duration::from_secs(20);

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::bench) struct Transfer {
    /// Payload octets.
    pub(in crate::bench) octets: f64,
    /// Payload, as the receiver counts it.
    pub(in crate::bench) gigabits_per_second: f64,
}

/// A transfer from left to right that takes `duration`.
pub(in crate::bench) fn transfer(
    scene: &Scene,
    streams: u32,
    duration: Duration,
) -> anyhow::Result<Transfer> {
    let (server, client) = start(scene, streams, duration)?;
    let said = client.finish(duration + PATIENCE)?;
    drop(server);
    parse(&said)
}

/// Starts a transfer; server and client are the answer. The client has connected.
pub(in crate::bench) fn start(
    scene: &Scene,
    streams: u32,
    duration: Duration,
) -> anyhow::Result<(Process, Process)> {
    let there = scene.right.side.inner();
    let server = scene
        .right
        .start(command(&format!("iperf3 -s -1 -B {there}")))?;
    wait_for_listener(scene)?;
    let client = scene.left.start(command(&format!(
        "iperf3 -c {there} -J -i 0 -P {streams} -t {}",
        duration.as_secs()
    )))?;
    Ok((server, client))
}

/// Connecting would use up the one connection that the server takes, so we look at the socket.
fn wait_for_listener(scene: &Scene) -> anyhow::Result<()> {
    let deadline = Instant::now() + START;
    while scene.right.run("ss -H -l -t -n sport = :5201")?.is_empty() {
        anyhow::ensure!(Instant::now() < deadline, "iperf3 does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn parse(json: &str) -> anyhow::Result<Transfer> {
    #[derive(Deserialize)]
    struct Output {
        end: End,
    }
    #[derive(Deserialize)]
    struct End {
        sum_received: Sum,
    }
    #[derive(Deserialize)]
    struct Sum {
        bytes: f64,
        bits_per_second: f64,
    }
    let output: Output = serde_json::from_str(json).context("iperf3's report is unreadable")?;
    let sum = output.end.sum_received;
    anyhow::ensure!(sum.bytes > 0.0, "nothing arrived");
    Ok(Transfer {
        octets: sum.bytes,
        gigabits_per_second: sum.bits_per_second / 1e9,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receivers_count_is_taken() {
        let json = r#"{"start":{},"intervals":[],"end":{
            "sum_sent":{"bytes":1200,"bits_per_second":9600.0},
            "sum_received":{"start":0,"bytes":1000000000,"bits_per_second":1.6e9}}}"#;
        let transfer = parse(json).unwrap();
        assert_eq!(transfer.octets, 1e9);
        assert_eq!(transfer.gigabits_per_second, 1.6);
    }

    #[test]
    fn a_transfer_that_failed_is_no_figure() {
        let json = r#"{"start":{},"end":{},"error":"unable to connect"}"#;
        assert!(parse(json).is_err());
        let json = r#"{"end":{"sum_received":{"bytes":0,"bits_per_second":0}}}"#;
        assert!(parse(json).is_err());
    }
}
