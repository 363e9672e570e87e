//! System calls of the tunnel's processes per full TCP segment, counted by `strace -c`.
//!
//! strace slows its processes down at every call, so that packets gather and batches grow: the figure
//! says how well a tunnel batches when it has to, and is never compared with a rate.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::Signal;

use super::tcp;
use crate::bench::process::Process;
use crate::bench::scene::{Scene, TUNNEL_MTU, command};

/// IPv4 and TCP headers, with timestamps.
const TCP_OVERHEAD: u32 = 52;

/// Time for strace to seize all threads.
const START: Duration = Duration::from_secs(20);

/// Calls per segment by name, the most frequent first.
pub(in crate::bench) fn per_segment(
    scene: &Scene,
    ids: &[u32],
    duration: Duration,
) -> anyhow::Result<Vec<(String, f64)>> {
    let file = scene.left.folder.join("strace");
    let processes: Vec<String> = ids.iter().map(|id| format!("-p {id}")).collect();
    let line = format!(
        "strace -f -c -U calls,name -o {} {}",
        file.display(),
        processes.join(" ")
    );
    let mut strace = scene.left.start(command(&line))?;
    wait_until_traced(ids, &mut strace)?;
    let transfer = tcp::transfer(scene, 1, duration);
    strace.stop(Signal::SIGINT)?;
    let text = fs::read_to_string(&file).context("strace wrote nothing")?;
    let segments = transfer?.octets / f64::from(TUNNEL_MTU - TCP_OVERHEAD);
    let calls = parse(&text);
    anyhow::ensure!(!calls.is_empty(), "strace counted nothing");
    Ok(calls
        .into_iter()
        .map(|(name, count)| (name, count / segments))
        .collect())
}

fn wait_until_traced(ids: &[u32], strace: &mut Process) -> anyhow::Result<()> {
    let deadline = Instant::now() + START;
    for id in ids {
        let file = format!("/proc/{id}/status");
        while fs::read_to_string(&file)?.contains("TracerPid:\t0\n") {
            strace.check()?;
            anyhow::ensure!(Instant::now() < deadline, "strace does not attach");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

/// Lines of a count and a name; rulers, head and total are none of them.
fn parse(text: &str) -> Vec<(String, f64)> {
    let mut calls: Vec<(String, f64)> = text
        .lines()
        .filter_map(|line| {
            let (count, name) = line.trim().split_once(' ')?;
            let name = name.trim();
            (name != "total").then(|| Some((name.to_owned(), count.parse().ok()?)))?
        })
        .collect();
    calls.sort_by(|a, b| b.1.total_cmp(&a.1));
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_and_sorted() {
        let text = "    calls syscall\n--------- ----------------\n       12 read\n      300 sendmmsg\n\
                    --------- ----------------\n      312 total\n";
        assert_eq!(
            parse(text),
            [("sendmmsg".into(), 300.0), ("read".into(), 12.0)]
        );
    }
}
