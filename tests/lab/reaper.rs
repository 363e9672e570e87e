//! What this process has made of the lab goes with it, also when it is killed and nothing is dropped:
//! by a watcher outside of its session, which a signal to its process group does not reach.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// What all names of ours start with, followed by the process id of their owner.
const PREFIX: &str = "sgrelab";

const REMOVE: &str = include_str!("remove.sh");

/// A name for something of this process, if the rest makes it unique.
pub(super) fn named(rest: &str) -> String {
    format!("{}{rest}", all_of(std::process::id()))
}

/// What the names of all that a process has made start with.
pub(crate) fn all_of(owner: u32) -> String {
    format!("{PREFIX}-{owner}-")
}

/// A new folder, deleted with its value.
pub(crate) fn folder() -> TempDir {
    let named = tempfile::Builder::new().prefix(&named("")).tempdir();
    named.unwrap()
}

/// Removes the namespaces that this names, a pattern of the shell, with what runs in them. Must not
/// panic: it runs in `drop`.
pub(super) fn remove(pattern: &str) {
    let _ = Command::new("sh")
        .args(["-c", REMOVE, "remove", pattern])
        .status();
}

/// From here on all that is named after this process is removed at its end. To be called before anything
/// is made; what has no watcher any more is removed now.
pub(super) fn watch() {
    static WATCHER: OnceLock<Child> = OnceLock::new();
    WATCHER.get_or_init(|| {
        orphaned().for_each(|pattern| remove(&pattern));
        // Its input ends with us: no other process has the pipe's other end.
        let script = format!("read -r end\n{REMOVE}");
        Command::new("setsid")
            .args(["sh", "-c", &script, "reaper", &named("*")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    });
}

/// Patterns of namespaces whose processes are gone, as are their watchers.
fn orphaned() -> impl Iterator<Item = String> {
    let names = std::fs::read_dir("/run/netns").into_iter().flatten();
    let owners = names.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        let (owner, _) = name
            .strip_prefix(PREFIX)?
            .strip_prefix('-')?
            .split_once('-')?;
        owner.parse::<u32>().ok()
    });
    owners
        .filter(|owner| !Path::new("/proc").join(owner.to_string()).exists())
        .map(|owner| format!("{}*", all_of(owner)))
}
