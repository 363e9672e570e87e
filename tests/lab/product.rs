//! The product, run as its users run it: a `peer.toml`, `up`, `status`, Ctrl-C.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::netns::Netns;
use super::process::{self, Output, Process};
use super::topology::{LEFT, RIGHT};
use super::{eventually, traffic};

/// The pre-shared key of both ends.
pub(crate) const PSK: &str = "a laboratory key of many characters";
/// The device that carries the passengers.
pub(crate) const DEVICE: &str = "sgre0";
/// Inner addresses of the product's end of the tunnel.
pub(crate) const INNER_V4: &str = "10.255.0.1";
pub(crate) const INNER_V6: &str = "fd00:255::1";
/// A prefix that the product routes into the tunnel, and a host in it.
pub(crate) const ROUTE: &str = "10.20.0.0/16";
pub(crate) const ROUTED_HOST: &str = "10.20.0.1";

const ESTABLISH_TIMEOUT: Duration = Duration::from_secs(30);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);

/// Whether an address may be seen only inside the tunnel.
pub(crate) fn is_inner(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            matches!(address.octets(), [10, 255 | 20, ..]) || address == traffic::GROUP
        }
        IpAddr::V6(address) => address.segments()[0] == 0xfd00,
    }
}

/// The contents of a `peer.toml`; the default is `left` of a laboratory.
pub(crate) struct Peer {
    /// Outer address of the other end.
    address: &'static str,
    /// Whether it calls, or only answers.
    initiate: bool,
    /// Inner addresses of this end.
    inner: [&'static str; 2],
    /// What is reached through the tunnel.
    routes: &'static [&'static str],
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            address: RIGHT,
            initiate: true,
            inner: ["10.255.0.1/30", "fd00:255::1/64"],
            routes: &[ROUTE],
        }
    }
}

impl Peer {
    /// The other end of the default, in namespace `right`.
    pub(crate) fn right() -> Self {
        Self {
            address: LEFT,
            initiate: true,
            inner: ["10.255.0.2/30", "fd00:255::2/64"],
            routes: &[],
        }
    }

    /// The same, but waiting for the other end to initiate.
    pub(crate) fn responder(self) -> Self {
        Self {
            initiate: false,
            ..self
        }
    }

    pub(crate) fn render(&self) -> String {
        let Self {
            address,
            initiate,
            inner,
            routes,
        } = self;
        format!(
            "[peer]\naddress = \"{address}\"\npsk-file = \"lab.psk\"\ninitiate = {initiate}\n\n\
             [tunnel]\ndevice = \"{DEVICE}\"\naddress = {inner:?}\nroutes = {routes:?}\n"
        )
    }
}

/// A running `secure-gre up` with its own files and runtime directory.
pub(crate) struct Product<'n> {
    netns: &'n Netns,
    folder: TempDir,
    up: Process,
}

impl<'n> Product<'n> {
    /// Starts `secure-gre up peer.toml` in a namespace. It may not be ready, or ever become so.
    pub(crate) fn start(netns: &'n Netns, peer: &Peer) -> Self {
        Self::start_with(netns, &peer.render(), "lab.psk")
    }

    /// The same with the text of a `peer.toml`, and the name that it has for the key's file.
    pub(crate) fn start_with(netns: &'n Netns, peer_toml: &str, psk_file: &str) -> Self {
        let (folder, command) = Self::prepare(netns, peer_toml, psk_file);
        Self {
            netns,
            up: Process::spawn(command),
            folder,
        }
    }

    /// The command of `start_with`, for a test that starts it its own way, and the folder that it needs.
    pub(crate) fn prepare(netns: &Netns, peer_toml: &str, psk_file: &str) -> (TempDir, Command) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("peer.toml"), peer_toml).unwrap();
        let secret = folder.path().join(psk_file);
        fs::write(&secret, PSK).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = netns.command(env!("CARGO_BIN_EXE_secure-gre"));
        command.arg("up").arg(folder.path().join("peer.toml"));
        command.arg("--runtime-dir").arg(folder.path().join("run"));
        (folder, command)
    }

    /// Waits until `status` calls the peer established.
    #[track_caller]
    pub(crate) fn wait_until_established(&mut self) {
        self.wait_for_state("established", ESTABLISH_TIMEOUT);
    }

    /// Waits until `status` shows the peer in this state.
    #[track_caller]
    pub(crate) fn wait_for_state(&mut self, state: &str, timeout: Duration) {
        eventually(&format!("state {state}"), timeout, || {
            assert!(
                self.up.is_running(),
                "`up` has ended\n{}",
                self.up.transcript()
            );
            // It may not listen yet.
            let output = self.command("status", &["--json"]);
            let report: Value = serde_json::from_str(&output.stdout).ok()?;
            (report["peers"][0]["state"] == state).then_some(())
        });
    }

    /// Waits for a line of either stream that holds `pattern`.
    #[track_caller]
    pub(crate) fn wait_for_line(&mut self, pattern: &str, timeout: Duration) -> String {
        self.up.wait_for_line(pattern, timeout)
    }

    /// What `secure-gre status --json` says of the one peer.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let json = self.command("status", &["--json"]).expect("status --json");
        let mut report: Value =
            serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error} in {json}"));
        assert_eq!(report["peers"].as_array().map(Vec::len), Some(1), "{json}");
        report["peers"][0].take()
    }

    /// Runs another verb of the product against this instance.
    #[track_caller]
    pub(crate) fn command(&self, verb: &str, arguments: &[&str]) -> Output {
        let mut command = self.netns.command(env!("CARGO_BIN_EXE_secure-gre"));
        command
            .arg(verb)
            .args(arguments)
            .arg("--runtime-dir")
            .arg(self.runtime());
        process::run(command, COMMAND_TIMEOUT)
    }

    /// Kills it and waits for its end; its files stay.
    #[track_caller]
    pub(crate) fn crash(&mut self) {
        self.up.signal(Signal::SIGKILL);
        eventually("the end", COMMAND_TIMEOUT, || {
            (!self.up.is_running()).then_some(())
        });
    }

    /// Presses Ctrl-C and waits for the end.
    #[track_caller]
    pub(crate) fn interrupt(self) -> Output {
        self.up.signal(Signal::SIGINT);
        self.up.wait(COMMAND_TIMEOUT)
    }

    /// Waits for it to end by itself.
    #[track_caller]
    pub(crate) fn wait(self) -> Output {
        self.up.wait(COMMAND_TIMEOUT)
    }

    /// Ends it without giving it a chance to clean up.
    #[track_caller]
    pub(crate) fn kill(self) {
        self.up.signal(Signal::SIGKILL);
        let _ = self.up.wait(COMMAND_TIMEOUT);
    }

    fn runtime(&self) -> PathBuf {
        self.folder.path().join("run")
    }
}
