//! Child processes that end in time: each in its own process group, which is killed as a whole.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::eventually;

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Output {
    /// The exit status; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// Whether the exit status is 0.
    pub(crate) fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn expect(self, what: &str) -> String {
        assert!(
            self.success(),
            "{what} ended with {:?}\n{}{}",
            self.code,
            self.stdout,
            self.stderr
        );
        self.stdout
    }
}

/// A running child whose output is collected line by line.
pub(crate) struct Process {
    name: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    /// Starts `command` in a process group of its own, without standard input.
    #[track_caller]
    pub(crate) fn spawn(mut command: Command) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = Lines::collect(child.stdout.take().unwrap());
        let stderr = Lines::collect(child.stderr.take().unwrap());
        Self {
            name,
            child,
            stdout,
            stderr,
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        pid(&self.child)
    }

    /// Sends one signal to the process itself.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(pid(&self.child), signal).unwrap();
    }

    /// Waits for the first line of either stream that holds `pattern`.
    #[track_caller]
    pub(crate) fn wait_for_line(&mut self, pattern: &str, timeout: Duration) -> String {
        let found = eventually(&format!("`{pattern}` from {}", self.name), timeout, || {
            // The exit is looked at before the output: what was said last still counts.
            let ended = self.child.try_wait().unwrap();
            let line = self
                .stdout
                .find(pattern)
                .or_else(|| self.stderr.find(pattern));
            match (line, ended) {
                (Some(line), _) => Some(Ok(line)),
                (None, Some(status)) if self.stdout.ended() && self.stderr.ended() => {
                    Some(Err(status))
                }
                (None, _) => None,
            }
        });
        found.unwrap_or_else(|status| {
            panic!(
                "{} ended with {status} without `{pattern}`\n{}",
                self.name,
                self.transcript()
            )
        })
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Everything said so far, standard output first.
    pub(crate) fn transcript(&self) -> String {
        format!("{}{}", self.stdout.text(), self.stderr.text())
    }

    /// Waits until the process ends by itself.
    #[track_caller]
    pub(crate) fn wait(mut self, timeout: Duration) -> Output {
        let what = format!("the end of {}", self.name);
        let status: ExitStatus = eventually(&what, timeout, || self.child.try_wait().unwrap());
        // A grandchild that outlives it would keep the pipes open.
        let _ = killpg(pid(&self.child), Signal::SIGKILL);
        self.stdout.join();
        self.stderr.join();
        Output {
            code: status.code(),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}\n{}---", self.name, self.transcript());
        }
        // Once it was waited for, its id may be somebody else's.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = killpg(pid(&self.child), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// Runs `command` to its end, which must come within `timeout`.
#[track_caller]
pub(crate) fn run(command: Command, timeout: Duration) -> Output {
    Process::spawn(command).wait(timeout)
}

/// The process id, which is also the id of the group.
pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

/// The lines of one stream, filled by a thread until the stream ends.
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn collect(stream: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                sink.lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        Self {
            lines,
            reader: Some(reader),
        }
    }

    fn find(&self, pattern: &str) -> Option<String> {
        self.lines
            .lock()
            .unwrap()
            .iter()
            .find(|line| line.contains(pattern))
            .cloned()
    }

    fn text(&self) -> String {
        self.lines
            .lock()
            .unwrap()
            .iter()
            .map(|line| format!("{line}\n"))
            .collect()
    }

    fn ended(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}
