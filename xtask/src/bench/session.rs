//! One tunnel in one round: a fresh scene, all measurements, and the end.
//!
//! What fails is written down, not passed on: the other tunnels are still worth measuring.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::measure::{ping, search, system_calls, tcp, usage};
use super::metric::{Metric, Values};
use super::peers::{Peer, Programs, Tunnel};
use super::report::{Run, Settings};
use super::scene::{Scene, TUNNEL_MTU};

/// Time for a handshake, on a loaded machine.
const HANDSHAKE: Duration = Duration::from_secs(40);

/// The headers of an echo request.
const ICMP_OVERHEAD: u32 = 28;

/// The headers of a UDP datagram.
const UDP_OVERHEAD: usize = 28;

/// Small packets, as payload.
const SMALL: usize = 64;

/// Measures everything, or `only` some; fails only if there cannot be a scene.
pub(super) fn run(
    peer: &dyn Peer,
    programs: &Programs,
    settings: Settings,
    only: &[String],
    round: u32,
    folder: &Path,
) -> anyhow::Result<Run> {
    let scene = Scene::build(folder)?;
    let mut run = Run {
        peer: peer.name().to_owned(),
        round,
        values: Values::new(),
        system_calls: Vec::new(),
        failures: Vec::new(),
    };
    let tunnel = match set_up(peer, programs, &scene) {
        Ok(tunnel) => tunnel,
        Err(error) => {
            run.fail("set-up", &error);
            return Ok(run);
        }
    };
    let mut session = Session {
        scene,
        tunnel,
        settings,
        run,
    };
    session.measure(only);
    let mut run = session.run;
    if let Err(error) = session.tunnel.stop() {
        run.fail("end", &error);
    }
    Ok(run)
}

fn set_up(peer: &dyn Peer, programs: &Programs, scene: &Scene) -> anyhow::Result<Tunnel> {
    let mut tunnel = peer.start(scene, programs)?;
    let full = TUNNEL_MTU - ICMP_OVERHEAD;
    let there = scene.right.side.inner();
    let deadline = Instant::now() + HANDSHAKE;
    loop {
        tunnel.check()?;
        // A packet of exactly the MTU that must not be cut: all tunnels are measured alike.
        match scene
            .left
            .run(&format!("ping -n -q -c 1 -W 1 -M do -s {full} {there}"))
        {
            Ok(_) => return Ok(tunnel),
            Err(error) if Instant::now() > deadline => {
                return Err(error).context("the tunnel does not carry packets");
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

impl Run {
    fn fail(&mut self, what: &str, error: &anyhow::Error) {
        let why = format!("{error:#}");
        eprintln!("    FAILED {what}: {why}");
        self.failures.push((what.to_owned(), why));
    }
}

struct Session {
    scene: Scene,
    tunnel: Tunnel,
    settings: Settings,
    run: Run,
}

/// One of [`STEPS`].
type Step = fn(&mut Session) -> anyhow::Result<()>;

/// What one session measures, in this order. System calls come last: counting them disturbs. Memory is
/// read before that.
const STEPS: [(&str, Step); 8] = [
    ("idle-ping", Session::idle_ping),
    ("tcp", Session::one_stream),
    ("tcp-4", Session::four_streams),
    ("loaded-ping", Session::loaded_ping),
    ("udp", Session::datagrams),
    ("small", Session::small_packets),
    ("no-offload", Session::no_offload),
    ("footprint", Session::footprint),
];

/// What `--only` chooses from.
pub(super) fn names() -> Vec<&'static str> {
    STEPS.map(|(name, _)| name).into()
}

impl Session {
    fn measure(&mut self, only: &[String]) {
        let chosen = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
        for (name, step) in STEPS.into_iter().filter(|(name, _)| chosen(name)) {
            eprint!("  {name:14}");
            let known: Vec<Metric> = self.run.values.keys().copied().collect();
            let outcome = self.tunnel.check().and_then(|()| step(self));
            let fresh = self
                .run
                .values
                .iter()
                .filter(|(metric, _)| !known.contains(metric));
            let shown: Vec<String> = fresh
                .map(|(metric, value)| format!("{} {}", metric.head(), metric.format(*value)))
                .collect();
            eprintln!("{}", shown.join("; "));
            if let Err(error) = outcome {
                self.run.fail(name, &error);
            }
        }
    }

    fn record(&mut self, metric: Metric, value: f64) {
        self.run.values.insert(metric, value);
    }

    /// Where there is a process whose time it is.
    fn record_cpu(&mut self, metric: Metric, value: f64) {
        if !self.tunnel.processes.is_empty() {
            self.record(metric, value);
        }
    }

    fn idle_ping(&mut self) -> anyhow::Result<()> {
        let times = ping::round_trips(&self.scene, self.settings.idle_pings())?;
        self.record(Metric::IdlePing, times.percentile(50));
        self.record(Metric::IdlePing99, times.percentile(99));
        Ok(())
    }

    fn one_stream(&mut self) -> anyhow::Result<()> {
        let (rate, own, machine) = self.stream(1)?;
        self.record(Metric::Tcp1, rate);
        self.record_cpu(Metric::CpuPerGb, own);
        self.record(Metric::MachineCpuPerGb, machine);
        Ok(())
    }

    fn four_streams(&mut self) -> anyhow::Result<()> {
        let (rate, ..) = self.stream(4)?;
        self.record(Metric::Tcp4, rate);
        Ok(())
    }

    fn no_offload(&mut self) -> anyhow::Result<()> {
        self.scene.set_offload(false)?;
        let outcome = self.stream(1);
        self.scene.set_offload(true)?;
        let (rate, own, _) = outcome?;
        self.record(Metric::Tcp1NoOffload, rate);
        self.record_cpu(Metric::CpuPerGbNoOffload, own);
        Ok(())
    }

    /// Gbit/s; CPU s/GB of the tunnel; of the machine.
    fn stream(&self, streams: u32) -> anyhow::Result<(f64, f64, f64)> {
        let ids = self.tunnel.ids();
        let (own, machine) = (usage::cpu_of(&ids)?, usage::cpu_of_machine()?);
        let transfer = tcp::transfer(&self.scene, streams, self.settings.transfer)?;
        let (own, machine) = (
            usage::cpu_of(&ids)? - own,
            usage::cpu_of_machine()? - machine,
        );
        let gigabytes = transfer.octets / 1e9;
        Ok((
            transfer.gigabits_per_second,
            own / gigabytes,
            machine / gigabytes,
        ))
    }

    fn loaded_ping(&mut self) -> anyhow::Result<()> {
        let times = ping::round_trips_under_load(&self.scene, self.settings.transfer)?;
        self.record(Metric::LoadedPing, times.percentile(50));
        Ok(())
    }

    fn datagrams(&mut self) -> anyhow::Result<()> {
        let size = TUNNEL_MTU as usize - UDP_OVERHEAD;
        let rate = search::highest_rate(&self.scene, size, self.settings)?;
        self.record(Metric::Udp, rate * size as f64 * 8.0 / 1e9);
        Ok(())
    }

    fn small_packets(&mut self) -> anyhow::Result<()> {
        let rate = search::highest_rate(&self.scene, SMALL, self.settings)?;
        self.record(Metric::Small, rate / 1e3);
        Ok(())
    }

    fn footprint(&mut self) -> anyhow::Result<()> {
        let ids = self.tunnel.ids();
        if ids.is_empty() {
            return Ok(());
        }
        let memory = usage::peak_memory(&ids)?;
        self.record(Metric::Memory, memory / 1e6);
        if self.run.round > 0 {
            // Counting takes time, and the counts of one round say enough.
            return Ok(());
        }
        let calls = system_calls::per_segment(&self.scene, &ids, self.settings.transfer)?;
        self.record(
            Metric::SystemCalls,
            calls.iter().map(|(_, count)| count).sum(),
        );
        self.run.system_calls = calls;
        Ok(())
    }
}
