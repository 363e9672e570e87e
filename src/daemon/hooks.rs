//! The commands of `[hooks]`: run when a tunnel begins and ends to carry packets.
//!
//! Each tunnel has a task that runs them one after the other, never two at once, and beside the loop:
//! a command that hangs holds up nothing. It is told the state, not the changes, so that what comes
//! and goes while a command runs queues up nowhere; the last state always has its command run.
//!
//! A command is a program with its arguments, never a shell's line: nothing of what a peer can choose
//! is ever parsed. What it has to know is in its environment, in `SECURE_GRE_…`.

use std::io;
use std::os::fd::AsFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{Instrument, debug, warn};

use crate::config;
use crate::telemetry::peer_span;

/// How long a command may take before it is killed, with all that it started.
const PATIENCE: Duration = Duration::from_secs(10);

/// A variable of the environment, and its value.
pub(super) type Variable = (&'static str, String);

/// The sending end of a tunnel's task, which ends when this is dropped and the last state has had its
/// command.
#[derive(Debug)]
pub(super) struct Hooks(Option<watch::Sender<State>>);

/// What a tunnel does, and what there is to know of it.
#[derive(Debug, Clone, Default)]
struct State {
    carries: bool,
    variables: Vec<Variable>,
}

impl Hooks {
    /// Starts a task among `tasks`, if the peer has any command.
    pub(super) fn of(peer: &config::Peer, tasks: &mut JoinSet<()>) -> Self {
        // Those that have ended.
        while tasks.try_join_next().is_some() {}
        let config::Hooks { up, down } = &peer.hooks;
        if up.is_empty() && down.is_empty() {
            return Self(None);
        }
        let (sender, states) = watch::channel(State::default());
        let task = run_all(peer.name.clone(), peer.hooks.clone(), states);
        tasks.spawn(task.instrument(peer_span(&peer.name)));
        Self(Some(sender))
    }

    /// Tells whether the tunnel carries packets. The same again changes nothing.
    pub(super) fn tell(&self, carries: bool, variables: impl FnOnce() -> Vec<Variable>) {
        let Some(sender) = &self.0 else { return };
        sender.send_if_modified(|state| {
            let modified = state.carries != carries;
            if modified {
                let variables = variables();
                *state = State { carries, variables };
            }
            modified
        });
    }
}

async fn run_all(peer: String, hooks: config::Hooks, mut states: watch::Receiver<State>) {
    let mut carried = false;
    while states.changed().await.is_ok() {
        let State { carries, variables } = states.borrow_and_update().clone();
        if carries == carried {
            continue;
        }
        carried = carries;
        let (event, command) = match carries {
            true => ("up", &hooks.up),
            false => ("down", &hooks.down),
        };
        if let Err(problem) = run(&peer, event, command, variables, PATIENCE).await {
            warn!("{peer}: hooks.{event} {problem}");
        }
    }
}

/// Why a command has not done its work.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("can't be run: {program}: {source}")]
    NotStarted { program: String, source: io::Error },
    #[error("took more than {0:?} and was killed")]
    TooSlow(Duration),
    #[error("has failed: {0}")]
    Failed(ExitStatus),
    #[error("can't be waited for: {0}")]
    Lost(io::Error),
}

async fn run(
    peer: &str,
    event: &'static str,
    command: &[String],
    variables: Vec<Variable>,
    patience: Duration,
) -> Result<(), Failure> {
    let [program, arguments @ ..] = command else {
        return Ok(());
    };
    debug!("{peer}: running hooks.{event}");
    let not_started = |source| Failure::NotStarted {
        program: program.clone(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env("SECURE_GRE_EVENT", event)
        .env("SECURE_GRE_PEER", peer)
        .envs(variables)
        .stdin(Stdio::null())
        // Standard output is for what commands of ours answer.
        .stdout(standard_error().map_err(not_started)?)
        // Ctrl-C is not meant for it, and whatever it starts ends with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(not_started)?;
    match timeout(patience, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Failure::Failed(status)),
        Ok(Err(problem)) => Err(Failure::Lost(problem)),
        Err(_) => {
            end(&mut child).await;
            Err(Failure::TooSlow(patience))
        }
    }
}

fn standard_error() -> io::Result<Stdio> {
    Ok(io::stderr().as_fd().try_clone_to_owned()?.into())
}

/// Kills a command with its group, and reaps it.
async fn end(child: &mut Child) {
    // It has not been reaped, so that the number is still its own.
    if let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.wait().await;
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn command(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    /// A program that adds a line to `log`, slowly: its event, its argument and one variable.
    fn recorder(folder: &Path) -> (Vec<String>, std::path::PathBuf) {
        let log = folder.join("log");
        let script = format!(
            "sleep 0.1; echo \"$SECURE_GRE_EVENT $1 $SECURE_GRE_DEVICE\" >>'{}'",
            log.display()
        );
        (command(&["/bin/sh", "-c", &script, "sh", "a b; c"]), log)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn commands_run_in_order_with_their_environment_and_the_last_state_wins() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, log) = recorder(folder.path());
        let hooks = config::Hooks {
            up: recorder.clone(),
            down: recorder,
        };
        runtime().block_on(async {
            let (sender, states) = watch::channel(State::default());
            let task = tokio::spawn(run_all("berlin".to_owned(), hooks, states));
            let hooks = Hooks(Some(sender));
            let device = || vec![("SECURE_GRE_DEVICE", "sgre0; reboot".to_owned())];
            hooks.tell(false, || unreachable!("it has not carried anything"));
            for carries in [true, true, false, true] {
                hooks.tell(carries, device);
            }
            while !log.exists() {
                tokio::task::yield_now().await;
            }
            hooks.tell(false, device);
            drop(hooks);
            task.await.unwrap();
        });
        let said = fs::read_to_string(log).unwrap();
        assert_eq!(said, "up a b; c sgre0; reboot\ndown a b; c sgre0; reboot\n");
    }

    #[test]
    fn what_fails_is_told() {
        runtime().block_on(async {
            let failure = |words: &'static [&str]| async move {
                let outcome = run("berlin", "up", &command(words), Vec::new(), PATIENCE).await;
                outcome.unwrap_err().to_string()
            };
            assert_eq!(
                failure(&["/bin/sh", "-c", "exit 3"]).await,
                "has failed: exit status: 3"
            );
            let missing = failure(&["/no/such/program"]).await;
            assert!(
                missing.starts_with("can't be run: /no/such/program: "),
                "{missing}"
            );
            assert!(run("berlin", "up", &[], Vec::new(), PATIENCE).await.is_ok());
        });
    }

    /// Nothing that hangs is waited for, and nothing of it stays.
    #[test]
    fn a_command_that_hangs_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let child = folder.path().join("child");
        let script = format!("sleep 600 & echo $! >'{}'; wait", child.display());
        runtime().block_on(async {
            let command = command(&["/bin/sh", "-c", &script]);
            // Long enough for a shell to start on a busy machine, and it hangs for much longer.
            let patience = Duration::from_secs(3);
            let outcome = run("berlin", "up", &command, Vec::new(), patience).await;
            assert!(matches!(outcome, Err(Failure::TooSlow(_))));
            let pid = fs::read_to_string(&child).unwrap();
            let pid: i32 = pid.trim().parse().unwrap();
            // Whoever adopted it may take a moment to reap it.
            let gone = || match fs::read_to_string(format!("/proc/{pid}/stat")) {
                Ok(stat) => stat.contains(") Z "),
                Err(_) => true,
            };
            while !gone() {
                tokio::task::yield_now().await;
            }
        });
    }
}
