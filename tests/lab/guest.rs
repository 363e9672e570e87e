//! A guest with a kernel of its own under User-Mode Linux: a peer with real ESP and GRE.
//!
//! The guest's root is the host's, read-only. Its init (`guest-init.sh`) gets line `N` through a
//! FIFO for each command, runs the script `req.N` of the shared folder and leaves `out.N`, `err.N`
//! and finally `rc.N` there. Commands run side by side, so that a server can be one.

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
use super::require::PATH;
use super::topology::GUEST_TAP;

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
    /// Boots a guest on the tap of `mid`, with `address` (in CIDR form) on its device `vec0`.
    #[track_caller]
    pub(crate) fn boot(mid: &Netns, address: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("sgrelab-guest-")
            .tempdir()
            .unwrap();
        let requests = request_channel(folder.path());
        let uml = start(mid, address, folder.path(), &requests);
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

    /// Runs a shell script in the guest until it ends, which must come within `timeout`.
    #[track_caller]
    pub(crate) fn run(&self, script: &str, timeout: Duration) -> Output {
        self.spawn(script).wait(timeout)
    }

    /// Runs a short shell script that must succeed; returns its standard output.
    #[track_caller]
    pub(crate) fn expect(&self, script: &str) -> String {
        self.run(script, Duration::from_secs(30)).expect(script)
    }

    /// Starts a shell script in the guest.
    pub(crate) fn spawn(&self, script: &str) -> Job<'_> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        fs::write(self.folder.path().join(format!("req.{number}")), script).unwrap();
        (&self.requests)
            .write_all(format!("{number}\n").as_bytes())
            .unwrap();
        Job {
            guest: self,
            number,
        }
    }

    /// A folder of the host that the guest sees as `/run/lab`.
    pub(crate) fn shared(&self) -> &Path {
        self.folder.path()
    }

    fn console(&self) -> String {
        fs::read(self.folder.path().join("console"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- guest console\n{}---", self.console());
            let log = fs::read(self.folder.path().join("charon.log")).unwrap_or_default();
            eprintln!("--- charon.log\n{}---", String::from_utf8_lossy(&log));
        }
        // The kernel's helper processes share the group.
        let _ = killpg(pid(&self.uml), Signal::SIGKILL);
        let _ = self.uml.wait();
    }
}

/// A script that runs in the guest.
pub(crate) struct Job<'g> {
    guest: &'g Guest,
    number: u32,
}

impl Job<'_> {
    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(self, timeout: Duration) -> Output {
        let what = format!("the end of `{}` in the guest", self.file("req"));
        let code = eventually(&what, timeout, || {
            let code = fs::read_to_string(self.path("rc")).ok();
            code.and_then(|code| code.trim().parse().ok())
        });
        Output {
            code: Some(code),
            stdout: self.file("out"),
            stderr: self.file("err"),
        }
    }

    /// What it has printed so far.
    pub(crate) fn stdout(&self) -> String {
        self.file("out")
    }

    fn path(&self, kind: &str) -> std::path::PathBuf {
        self.guest
            .folder
            .path()
            .join(format!("{kind}.{}", self.number))
    }

    fn file(&self, kind: &str) -> String {
        let bytes = fs::read(self.path(kind)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
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

fn start(mid: &Netns, address: &str, folder: &Path, requests: &File) -> Child {
    let init = folder.join("init");
    fs::write(&init, INIT).unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    let console = File::create(folder.join("console")).unwrap();
    let folder = folder.display();
    let mut command = Command::new("ip");
    command
        // The kernel opens the tap itself, so it must run where the tap is.
        .args(["netns", "exec", mid.name(), "linux.uml"])
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
            "vec0:transport=tap,ifname={GUEST_TAP},depth=128,gro=1,mac=52:54:00:00:02:02"
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
