//! Network namespaces that belong to this process and vanish with their value.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use super::process::{self, Output, Process};
use super::reaper;
use super::require::Lab;

/// Time for one `ip`-like command; they take milliseconds on an idle machine.
const QUICK: Duration = Duration::from_secs(20);

/// What `ip netns exec` shows in place of files of `/etc`, for each namespace.
const FILES: &str = "/etc/netns";

/// A network namespace, deleted on drop together with its links.
pub(crate) struct Netns {
    name: String,
}

impl Netns {
    /// Makes a namespace with its loopback up. `role` is for people who read `ip netns`.
    pub(crate) fn new(_lab: Lab, role: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        reaper::watch();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = reaper::named(&format!("{count}-{role}"));
        quick("ip", &["netns", "add", &name]);
        let netns = Self { name };
        netns.ip("link set lo up");
        netns
    }

    /// Deletes it, and makes another one with its name.
    pub(crate) fn make_anew(&self) {
        quick("ip", &["netns", "del", &self.name]);
        quick("ip", &["netns", "add", &self.name]);
        self.ip("link set lo up");
    }

    /// The name under which `ip netns` knows it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip ARGS` inside, split at white space; it must succeed. Returns what it printed.
    #[track_caller]
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments.split_whitespace());
        quick("ip", &all)
    }

    /// Runs many lines of `ip` in one process; all must succeed.
    #[track_caller]
    pub(crate) fn ip_batch(&self, lines: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), lines).unwrap();
        quick(
            "ip",
            &["-n", &self.name, "-batch", &file.path().to_string_lossy()],
        );
    }

    /// A command that will run inside. Its process id is that of `program` itself.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Gives programs inside an `/etc/hosts` of their own.
    pub(crate) fn write_hosts(&self, lines: &str) {
        let folder = Path::new(FILES).join(&self.name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("hosts"), lines).unwrap();
    }

    /// Runs a command line inside, split at white space.
    #[track_caller]
    pub(crate) fn run(&self, line: &str, timeout: Duration) -> Output {
        process::run(self.split(line), timeout)
    }

    /// Starts a command line inside, split at white space.
    #[track_caller]
    pub(crate) fn spawn(&self, line: &str) -> Process {
        Process::spawn(self.split(line))
    }

    /// Runs `work` on a thread of this namespace. Sockets made there stay in it.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.path()).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn split(&self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let mut command = self.command(words.next().unwrap());
        command.args(words);
        command
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        reaper::remove(&self.name);
    }
}

#[track_caller]
fn quick(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    process::run(command, QUICK).expect(&format!("{program} {}", arguments.join(" ")))
}
