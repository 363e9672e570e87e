//! What another program of the host says: some settings of the kernel are told in full only by the
//! program that made them. Bounded in time and in octets; a program that is not there, or may not, has
//! nothing to say.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

/// Administration programs are often outside of a user's search path.
const SBIN: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much a program may say.
const MAX_OCTETS: u64 = 4 * 1024 * 1024;

/// The standard output of a program that succeeded, run as `command` in the caller's network namespace;
/// the words are split at white space. Must be called within a tokio runtime.
pub async fn output_of(command: &str) -> Option<String> {
    let mut words = command.split_whitespace();
    let mut child = Command::new(words.next()?)
        .args(words)
        .env("PATH", search_path())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let stdout = child.stdout.take()?;
    let run = async {
        let mut text = String::new();
        stdout
            .take(MAX_OCTETS + 1)
            .read_to_string(&mut text)
            .await
            .ok()?;
        if text.len() as u64 > MAX_OCTETS {
            return None;
        }
        child.wait().await.ok()?.success().then_some(text)
    };
    timeout(PATIENCE, run).await.ok()?
}

fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push(SBIN);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &str) -> Option<String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(output_of(command))
    }

    #[test]
    fn only_a_success_of_bounded_length_says_something() {
        assert_eq!(run("echo a  b").as_deref(), Some("a b\n"));
        assert_eq!(run("false"), None);
        assert_eq!(run("no-such-program-here"), None);
        assert_eq!(run("head -c 4194305 /dev/zero"), None);
        assert_eq!(
            run("head -c 4194304 /dev/zero").map(|text| text.len()),
            Some(4_194_304)
        );
    }
}
