//! A guest with a kernel of its own under User-Mode Linux: a peer with real ESP and GRE.
//!
//! The guest's root is the host's, read-only. Its init (`guest-init.sh`) gets line `N` through a
//! FIFO for each command, runs the script `req.N` of the shared folder and leaves `out.N`, `err.N`
//! and finally `rc.N` there.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::Mode;
use tempfile::TempDir;

use super::eventually;
use super::netns::Netns;
use super::process::{Output, pid};
use super::reaper;
use super::require::PATH;

const INIT: &str = include_str!("guest-init.sh");
const BOOT_TIMEOUT: Duration = Duration::from_secs(60);

/// A running guest; killed on drop, like by a power cut.
pub(crate) struct Guest {
    uml: Child,
    folder: TempDir,
    requests: File,
    count: AtomicU32,
}

impl Guest {
    /// Where routing daemons in the guest write, in the shared folder.
    pub(crate) const FRR_LOG: &str = "frr.log";

    /// Boots a guest on a tap device of `netns`, with `address` (in CIDR form) on its device `vec0`.
    #[track_caller]
    pub(crate) fn boot(netns: &Netns, tap: &str, address: &str) -> Self {
        let folder = reaper::folder();
        let requests = request_channel(folder.path());
        let uml = start(netns, tap, address, folder.path(), &requests);
        let guest = Self {
            uml,
            folder,
            requests,
            count: AtomicU32::new(0),
        };
        guest
            .run("true", BOOT_TIMEOUT)
            .expect("the guest's first command");
        guest
    }

    /// Runs a shell script in the guest until it ends, which must come within `timeout`. What it
    /// leaves running must not keep its output: that becomes visible here when it is closed.
    #[track_caller]
    pub(crate) fn run(&self, script: &str, timeout: Duration) -> Output {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| self.folder.path().join(format!("{kind}.{number}"));
        fs::write(file("req"), script).unwrap();
        (&self.requests)
            .write_all(format!("{number}\n").as_bytes())
            .unwrap();
        let code = eventually(
            &format!("the end of `{script}` in the guest"),
            timeout,
            || {
                fs::read_to_string(file("rc"))
                    .ok()
                    .and_then(|code| code.trim().parse().ok())
            },
        );
        Output {
            code: Some(code),
            stdout: text(&file("out")),
            stderr: text(&file("err")),
        }
    }

    /// Runs a short shell script that must succeed; returns its standard output.
    #[track_caller]
    pub(crate) fn expect(&self, script: &str) -> String {
        self.run(script, Duration::from_secs(30)).expect(script)
    }

    /// A folder of the host that the guest sees as `/run/lab`.
    pub(crate) fn shared(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in ["console", "charon.log", Self::FRR_LOG] {
                eprintln!(
                    "--- guest {log}\n{}---",
                    text(&self.folder.path().join(log))
                );
            }
        }
        // The kernel's helper processes share the group.
        let _ = killpg(pid(&self.uml), Signal::SIGKILL);
        let _ = self.uml.wait();
    }
}

/// The text of a file that may not exist.
fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The FIFO from which the guest reads; held open for both directions, so that it never ends.
fn request_channel(folder: &Path) -> File {
    let path = folder.join("requests");
    nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

fn start(netns: &Netns, tap: &str, address: &str, folder: &Path, requests: &File) -> Child {
    let init = folder.join("init");
    fs::write(&init, INIT).unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    let console = File::create(folder.join("console")).unwrap();
    let folder = folder.display();
    let mut command = Command::new("ip");
    command
        // The kernel opens the tap itself, so it must run where the tap is.
        .args(["netns", "exec", netns.name(), "linux.uml"])
        .args([
            "mem=192M",
            "umid=g",
            "root=/dev/root",
            "rootfstype=hostfs",
            "rootflags=/",
            "ro",
        ])
        .args([
            "quiet",
            "con=null",
            "con0=null,fd:1",
            "ssl=null",
            "ssl0=fd:0,null",
        ])
        // A fixed MAC keeps the neighbour's ARP entry valid over a reboot; without gro=1 the
        // driver drops the large TCP segments that the host hands it.
        .arg(format!(
            "vec0:transport=tap,ifname={tap},depth=128,gro=1,mac=52:54:00:00:02:02"
        ))
        .arg(format!("uml_dir={folder}/uml"))
        .arg(format!("init={folder}/init"))
        // Words unknown to the kernel become the environment of init.
        .arg(format!("LABDIR={folder}"))
        .arg(format!("ADDRESS={address}"))
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", folder.to_string())
        // Where the guest's memory lives.
        .env("TMPDIR", "/dev/shm")
        .stdin(Stdio::from(requests.try_clone().unwrap()))
        .stdout(console.try_clone().unwrap())
        .stderr(console)
        .process_group(0);
    command.spawn().unwrap()
}
