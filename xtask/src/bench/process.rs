//! Processes on the two hosts: commands that end in time, and daemons that end with their value.
//!
//! What they say goes to a file, so that none of them ever waits for a reader.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often we look whether a process has ended.
const GLANCE: Duration = Duration::from_millis(5);

/// How long a daemon may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// How much of its log an error shows.
const LAST_LINES: usize = 6;

/// A process that was started; killed on drop.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command`, which says what it says into files in `folder`. The host is that of the
    /// calling thread.
    pub(super) fn start(mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = tag(folder, &name);
        let (stdout, stderr) = (file.with_extension("out"), file.with_extension("err"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name,
            child,
            stdout,
            stderr,
        })
    }

    /// Its process id, on the stage.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with its last words, if it has ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => Err(self.complaint(&format!("ended with {status}"))),
            None => Ok(()),
        }
    }

    /// What it has printed to standard output, once it has ended well.
    pub(super) fn finish(mut self, within: Duration) -> anyhow::Result<String> {
        match self.ended(within)? {
            Some(status) if status.success() => Ok(fs::read_to_string(&self.stdout)?),
            Some(status) => Err(self.complaint(&format!("ended with {status}"))),
            None => Err(self.complaint(&format!("took more than {within:?}"))),
        }
    }

    /// Asks it to end and waits a while.
    pub(super) fn stop(mut self, signal: Signal) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)?;
        match self.ended(FAREWELL)? {
            Some(_) => Ok(()),
            None => bail!("{} does not end on {signal}", self.name),
        }
    }

    fn ended(&mut self, within: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            std::thread::sleep(GLANCE);
        }
    }

    fn complaint(&self, what: &str) -> anyhow::Error {
        let read = |file: &Path| fs::read_to_string(file).unwrap_or_default();
        let text = read(&self.stdout) + &read(&self.stderr);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let last = lines
            .get(lines.len().saturating_sub(LAST_LINES)..)
            .unwrap_or_default();
        anyhow::anyhow!("{} {what}: {}", self.name, last.join(" | "))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Once it was waited for, its id may be somebody else's.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A file name that is not taken.
fn tag(folder: &Path, program: &str) -> PathBuf {
    let base = Path::new(program)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    (0..)
        .map(|count: u32| folder.join(format!("{base}-{count}")))
        .find(|path| !path.with_extension("out").exists())
        .unwrap_or_else(|| folder.join(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Process {
        let folder = std::env::temp_dir().join(format!("xtask-process-{}", std::process::id()));
        let folder = folder.join(line.len().to_string());
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        Process::start(command, &folder).unwrap()
    }

    #[test]
    fn what_a_command_printed_is_its_result() {
        let said = shell("echo out; echo err >&2").finish(Duration::from_secs(60));
        assert_eq!(said.unwrap(), "out\n");
    }

    #[test]
    fn a_failure_shows_the_last_words() {
        let error = shell("echo why >&2; exit 3").finish(Duration::from_secs(60));
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("exit status: 3") && text.contains("why"),
            "{text}"
        );
    }

    #[test]
    fn who_takes_too_long_is_ended() {
        let error = shell("sleep 600").finish(Duration::from_millis(1));
        assert!(error.unwrap_err().to_string().contains("took more than"));
    }
}
