//! `secure-gre demo` by root and by an ordinary user: what it shows, and that nothing stays behind,
//! however it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;
use tempfile::TempDir;

use crate::lab::eventually;
use crate::lab::process::{Output, Process};

/// Debian's `nobody`.
const ORDINARY_USER: u32 = 65_534;

/// Much longer than the demo takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A copy of the program, so that its processes can be told from all others, and an empty folder
/// for temporary files, both open to every user.
struct Trial {
    folder: TempDir,
}

impl Trial {
    /// `None`, with the reason on standard error, where no demo can be played.
    fn new() -> Option<Self> {
        if !geteuid().is_root() || !Path::new("/dev/net/tun").exists() {
            assert!(
                std::env::var_os("CI").is_none(),
                "cannot run: no root or no TUN"
            );
            eprintln!("skipped: needs root, to try both users, and /dev/net/tun");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(folder.path(), open.clone()).unwrap();
        let trial = Self { folder };
        fs::create_dir(trial.temporary()).unwrap();
        fs::set_permissions(trial.temporary(), open).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_secure-gre"), trial.program()).unwrap();
        Some(trial)
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("secure-gre")
    }

    fn temporary(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    fn start(&self, user: u32, arguments: &[&str]) -> Process {
        let mut command = Command::new(self.program());
        command.arg("demo").args(arguments);
        command.uid(user).gid(user).current_dir("/");
        command.env("TMPDIR", self.temporary());
        Process::spawn(command)
    }

    /// Runs a line of shell, with the demo's command line in `$DEMO`.
    fn shell(&self, wrapper: &[&str], line: &str) -> Output {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).args(["sh", "-ec", line]);
        command.env("DEMO", format!("{} demo", self.program().display()));
        Process::spawn(command).wait(TIMEOUT)
    }

    /// Process ids of the program and the arguments of each.
    fn processes(&self) -> Vec<(Pid, String)> {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let ours = entries.filter(|entry| {
            fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == self.program())
        });
        ours.filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let arguments = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            Some((Pid::from_raw(pid), arguments.replace('\0', " ")))
        })
        .collect()
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        assert_eq!(self.processes(), []);
        assert_eq!(fs::read_dir(self.temporary()).unwrap().count(), 0);
        let folder = self.folder.path().to_str().unwrap();
        for (file, trace) in [
            ("/proc/self/mountinfo", folder),
            ("/proc/net/dev", "to-paris"),
            ("/proc/net/dev", "to-berlin"),
        ] {
            let content = fs::read_to_string(file).unwrap();
            assert!(!content.contains(trace), "{trace} in {file}:\n{content}");
        }
    }
}

#[test]
fn shows_what_it_promises_to_root_and_to_an_ordinary_user() {
    let Some(trial) = Trial::new() else { return };
    for user in [0, ORDINARY_USER] {
        let told = trial.start(user, &[]).wait(TIMEOUT).expect("demo");
        for fact in [
            "paris.toml on berlin",
            "paris: calling 192.0.2.2 from 192.0.2.1",
            "-> 192.0.2.2:500 IKE_SA_INIT request 0: SA(",
            "<- 192.0.2.2:500 IKE_AUTH response 1: IDr(192.0.2.2) AUTH(shared key, 48)",
            "IKE SA up with 192.0.2.2 (aes256gcm16-prfsha384-x25519)",
            "ESP aes256gcm16-esn in transport mode",
            "5 of 5 answered by 10.255.0.2",
            "5 of 5 answered by fd00:255::2",
            "to the group 233.252.0.47 arrived",
            "1372 octets of data passes, with 1373 the sender hears \"message too long\"",
            "Mbit/s",
            "ESP packets, 0 plaintext",
            "All of it held",
        ] {
            assert!(told.contains(fact), "{fact}:\n{told}");
        }
        assert!(!told.contains('\x1b'), "no colours but on a terminal");
        trial.assert_nothing_left();
    }
}

#[test]
fn tells_machines_the_same() {
    let Some(trial) = Trial::new() else { return };
    let output = trial.start(ORDINARY_USER, &["--json"]).wait(TIMEOUT);
    assert!(output.stderr.contains("All of it held"), "{output:?}");
    let results: Value = serde_json::from_str(&output.expect("demo --json")).unwrap();
    assert_eq!(results["held"], true);
    assert_eq!(results["failure"], Value::Null);
    assert_eq!(results["negotiation"]["esp-suite"], "aes256gcm16-esn");
    assert_eq!(results["mtu"]["largest-octets"], 1372);
    assert_eq!(results["link"]["in-clear"], 0);
    // Each full packet carries one segment at most, and the passengers before them count too.
    let octets = results["throughput"]["octets"].as_u64().unwrap();
    assert!(results["link"]["esp"].as_u64().unwrap() > octets / 1400);
}

#[test]
fn leaves_nothing_when_interrupted_or_killed_midway() {
    let Some(trial) = Trial::new() else { return };
    for user in [0, ORDINARY_USER] {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let mut demo = trial.start(user, &[]);
            demo.wait_for_line("Through the tunnel", TIMEOUT);
            demo.signal(signal);
            let output = demo.wait(Duration::from_secs(10));
            assert_eq!(output.code, Some(1), "{output:?}");
            assert!(output.stderr.contains("interrupted"), "{output:?}");
            trial.assert_nothing_left();
        }
        let mut demo = trial.start(user, &[]);
        demo.wait_for_line("Through the tunnel", TIMEOUT);
        demo.signal(Signal::SIGKILL);
        // The kernel ends the others, but nobody waits for it.
        eventually("the end of all", Duration::from_secs(10), || {
            trial.processes().is_empty().then_some(())
        });
        drop(demo);
        trial.assert_nothing_left();
    }
}

#[test]
fn fails_when_a_daemon_dies_and_leaves_nothing() {
    let Some(trial) = Trial::new() else { return };
    let mut demo = trial.start(ORDINARY_USER, &[]);
    demo.wait_for_line("Through the tunnel", TIMEOUT);
    let processes = trial.processes();
    let daemon = processes
        .iter()
        .find(|(_, line)| line.contains("paris/berlin.toml"));
    kill(daemon.expect("paris's daemon").0, Signal::SIGKILL).unwrap();
    let output = demo.wait(TIMEOUT);
    assert_eq!(output.code, Some(1), "{output:?}");
    let reason = "the daemon of paris has ended (signal: 9 (SIGKILL))";
    assert!(output.stderr.contains(reason), "{output:?}");
    assert!(!output.stdout.contains("All of it held"), "{output:?}");
    trial.assert_nothing_left();
}

#[test]
fn names_what_the_system_forbids_and_what_to_do() {
    let Some(trial) = Trial::new() else { return };
    let no_user_namespaces = trial.shell(
        &["unshare", "--user", "--map-root-user"],
        "echo 0 > /proc/sys/user/max_user_namespaces
         exec setpriv --bounding-set=-all --inh-caps=-all $DEMO",
    );
    let no_tun = trial.shell(
        &["unshare", "--mount"],
        "mount -t tmpfs none /dev/net; exec $DEMO",
    );
    for (output, advice) in [
        (no_user_namespaces, "sysctl user.max_user_namespaces="),
        (no_tun, "modprobe tun"),
    ] {
        assert_eq!(output.code, Some(3), "{output:?}");
        assert!(output.stderr.contains(advice), "{output:?}");
    }
    trial.assert_nothing_left();
}
