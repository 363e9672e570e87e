//! One host of the demo: a network namespace, the files that its administrator would write, and the
//! daemon that serves them.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::DemoError;
use super::scene::Place;
use crate::control::client::Client;
use crate::control::protocol::status::PeerStatus;
use crate::net::netns::HeldNamespace;
use crate::telemetry;

/// Longer than a daemon waits for its peer's farewell.
const FAREWELL: Duration = Duration::from_secs(5);

/// How often we look whether something has happened.
pub(super) const GLANCE: Duration = Duration::from_millis(10);

/// What a daemon said.
#[derive(Debug)]
pub(super) struct Line {
    host: &'static str,
    text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:6} | {}", self.host, self.text)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Host {
    place: &'static Place,
    namespace: HeldNamespace,
    folder: PathBuf,
    /// Named after the peer, as its tunnel will be.
    peer_file: PathBuf,
    peer_text: String,
    lines: Sender<Line>,
    daemon: Option<Child>,
}

impl Host {
    /// Makes the namespace, and writes the files into a folder in `folder`.
    pub(super) fn new(
        place: &'static Place,
        peer: &Place,
        folder: &Path,
        psk: &str,
        lines: Sender<Line>,
    ) -> Result<Self, DemoError> {
        let namespace = HeldNamespace::new().map_err(DemoError::os("make a network namespace"))?;
        let (folder, text) = (folder.join(place.name), peer_file(place, peer));
        write_files(&folder, peer, &text, psk)
            .map_err(DemoError::os("write the daemon's files"))?;
        Ok(Self {
            place,
            namespace,
            peer_file: folder.join(format!("{}.toml", peer.name)),
            peer_text: text,
            folder,
            lines,
            daemon: None,
        })
    }

    pub(super) fn place(&self) -> &'static Place {
        self.place
    }

    pub(super) fn namespace(&self) -> &HeldNamespace {
        &self.namespace
    }

    /// The content of its peer's file.
    pub(super) fn peer_text(&self) -> &str {
        &self.peer_text
    }

    /// Runs `work` as a program on this host would.
    pub(super) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, DemoError> {
        let entered = self.namespace.enter(work);
        entered.map_err(DemoError::os("enter a network namespace"))
    }

    /// Starts `secure-gre up FILE`, this same program.
    pub(super) fn start_daemon(&mut self) -> Result<(), DemoError> {
        // Who calls also tells the messages; the other's would be the same ones.
        let messages = if self.place.calls { "trace" } else { "off" };
        let filter = format!("info,{}={messages}", telemetry::MESSAGES);
        let mut command = Command::new("/proc/self/exe");
        command
            .arg("up")
            .arg(&self.peer_file)
            .arg("--runtime-dir")
            .arg(self.runtime_dir())
            .env(telemetry::FILTER_VARIABLE, filter)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let started = self.enter(|| command.spawn())?;
        let mut daemon = started.map_err(DemoError::os("start a daemon"))?;
        if let Some(said) = daemon.stderr.take() {
            self.pass_on(said);
        }
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Hands over what the daemon says, until it ends.
    fn pass_on(&self, said: ChildStderr) {
        let (host, lines) = (self.place.name, self.lines.clone());
        std::thread::spawn(move || {
            for text in BufReader::new(said).lines().map_while(Result::ok) {
                if lines.send(Line { host, text }).is_err() {
                    break;
                }
            }
        });
    }

    /// What `secure-gre status` says of the peer; `None` as long as nobody answers.
    pub(super) fn status(&self) -> Result<Option<PeerStatus>, DemoError> {
        let runtime_dir = self.runtime_dir();
        self.enter(|| {
            let report = Client::connect(&runtime_dir).and_then(|mut client| client.status(None));
            report.ok()?.peers.pop()
        })
    }

    /// Fails if the daemon has ended.
    pub(super) fn check_daemon(&mut self) -> Result<(), DemoError> {
        match self.ended()? {
            Some(status) => Err(DemoError::DaemonEnded {
                host: self.place.name,
                how: status.to_string(),
            }),
            None => Ok(()),
        }
    }

    /// Stops the daemon as Ctrl-C does. Fails unless it ends in order.
    pub(super) fn stop_daemon(&mut self) -> Result<(), DemoError> {
        self.check_daemon()?;
        let Some(daemon) = &self.daemon else {
            return Ok(());
        };
        let pid = Pid::from_raw(daemon.id().cast_signed());
        kill(pid, Signal::SIGINT).map_err(|errno| DemoError::Os {
            action: "stop a daemon",
            source: errno.into(),
        })?;
        let deadline = Instant::now() + FAREWELL;
        let how = loop {
            match self.ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => break status.to_string(),
                None if Instant::now() > deadline => break format!("not within {FAREWELL:?}"),
                None => std::thread::sleep(GLANCE),
            }
        };
        Err(DemoError::NotShown {
            check: "Ctrl-C ends a daemon in order",
            finding: format!("{}'s ended: {how}", self.place.name),
        })
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, DemoError> {
        let Some(daemon) = &mut self.daemon else {
            return Ok(None);
        };
        daemon
            .try_wait()
            .map_err(DemoError::os("wait for a daemon"))
    }

    fn runtime_dir(&self) -> PathBuf {
        self.folder.join("run")
    }
}

/// The host that calls is berlin; paris waits for the call.
fn peer_file(place: &Place, peer: &Place) -> String {
    format!(
        "[peer]\n\
         address  = \"{}\"\n\
         psk-file = \"{}.psk\"\n\
         initiate = {}\n\
         encapsulation = \"never\"    # so that the link shows ESP itself; \"auto\" finds UDP faster\n\
         \n\
         [tunnel]\n\
         address = [\"{}/30\", \"{}/64\"]\n",
        peer.outer, peer.name, place.calls, place.inner_v4, place.inner_v6
    )
}

fn write_files(folder: &Path, peer: &Place, text: &str, psk: &str) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::write(folder.join(format!("{}.toml", peer.name)), text)?;
    let mut options = fs::OpenOptions::new();
    let secret = options.write(true).create_new(true).mode(0o600);
    let mut secret = secret.open(folder.join(format!("{}.psk", peer.name)))?;
    secret.write_all(psk.as_bytes())
}
