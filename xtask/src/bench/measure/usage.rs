//! What the tunnel's processes, and the machine, have used: from `/proc`.

use std::fs;

use anyhow::Context;
use nix::unistd::{SysconfVar, sysconf};

/// CPU seconds, user and system, of all threads of these processes so far.
pub(in crate::bench) fn cpu_of(ids: &[u32]) -> anyhow::Result<f64> {
    let mut ticks = 0.0;
    for id in ids {
        let file = format!("/proc/{id}/stat");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        ticks += process_ticks(&text).with_context(|| format!("{file} is odd"))?;
    }
    Ok(ticks / ticks_per_second()?)
}

/// CPU seconds, user, system and interrupts, of all processors so far.
pub(in crate::bench) fn cpu_of_machine() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let ticks = machine_ticks(&text).context("/proc/stat is odd")?;
    Ok(ticks / ticks_per_second()?)
}

/// The largest resident memory that one of these processes has had, in octets.
pub(in crate::bench) fn peak_memory(ids: &[u32]) -> anyhow::Result<f64> {
    let mut peak = 0.0_f64;
    for id in ids {
        let file = format!("/proc/{id}/status");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        peak = peak.max(high_water(&text).with_context(|| format!("{file} is odd"))?);
    }
    Ok(peak)
}

fn ticks_per_second() -> anyhow::Result<f64> {
    let ticks = sysconf(SysconfVar::CLK_TCK)?.context("the kernel does not tell its ticks")?;
    Ok(ticks as f64)
}

/// proc_pid_stat(5): `pid (name) state …`, `utime` is field 14, `stime` 15. The name may hold spaces.
fn process_ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// proc_stat(5): `cpu user nice system idle iowait irq softirq …`.
fn machine_ticks(stat: &str) -> Option<f64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<f64> = line
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    match fields.as_slice() {
        [user, nice, system, _idle, _wait, irq, softirq, ..] => {
            Some(user + nice + system + irq + softirq)
        }
        _ => None,
    }
}

fn high_water(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_an_odd_name_is_counted() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 1 0 100";
        assert_eq!(process_ticks(stat), Some(12.0));
        assert_eq!(process_ticks("42 (x) S 1"), None);
    }

    #[test]
    fn idle_processors_are_not_counted() {
        let stat = "cpu  1 2 4 1000 500 8 16 3 0 0\ncpu0 9 9 9 9 9 9 9 9 9 9\n";
        assert_eq!(machine_ticks(stat), Some(31.0));
    }

    #[test]
    fn the_high_water_mark_is_in_octets() {
        let status = "Name:\tx\nVmHWM:\t    1000 kB\nVmRSS:\t     500 kB\n";
        assert_eq!(high_water(status), Some(1_024_000.0));
    }

    #[test]
    fn we_ourselves_can_be_read() {
        let own = [std::process::id()];
        assert!(peak_memory(&own).unwrap() > 0.0);
        assert!(cpu_of(&own).unwrap() <= cpu_of_machine().unwrap());
    }
}
