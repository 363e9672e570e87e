//! The product, run as its users run it: a `peer.toml`, `up`, `status`, Ctrl-C.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::netns::Netns;
use super::process::{self, Output, Process};
use super::topology::{LEFT, Outer, RIGHT};
use super::{eventually, reaper, traffic};

/// The pre-shared key of both ends.
pub(crate) const PSK: &str = "a laboratory key of many characters";
/// The file that has it.
const SECRET: &str = "lab.psk";
/// A post-quantum pre-shared key.
pub(crate) const PPK: &str = "a laboratory key of another 32 characters";
/// The file that has that, beside a peer's.
pub(crate) const PPK_FILE: &str = "lab.ppk";
/// The device that carries the passengers.
pub(crate) const DEVICE: &str = "sgre0";
/// Inner addresses of the product's end of the tunnel.
pub(crate) const INNER_V4: &str = "10.255.0.1";
pub(crate) const INNER_V6: &str = "fd00:255::1";
/// A prefix that the product routes into the tunnel, and a host in it.
pub(crate) const ROUTE: &str = "10.20.0.0/16";
pub(crate) const ROUTED_HOST: &str = "10.20.0.1";

const ESTABLISH_TIMEOUT: Duration = Duration::from_secs(30);
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(60);
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
    pub(crate) address: &'static str,
    /// Name of the device.
    pub(crate) device: &'static str,
    /// More lines of `[peer]`.
    pub(crate) more: &'static str,
    /// Whether it calls, or only answers.
    pub(crate) initiate: bool,
    /// Inner addresses of this end.
    pub(crate) inner: [&'static str; 2],
    /// What is reached through the tunnel.
    pub(crate) routes: &'static [&'static str],
    /// More lines of `[tunnel]`, and what follows it.
    pub(crate) tunnel: &'static str,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            address: RIGHT,
            device: DEVICE,
            more: "",
            initiate: true,
            inner: ["10.255.0.1/30", "fd00:255::1/64"],
            routes: &[ROUTE],
            tunnel: "",
        }
    }
}

impl Peer {
    /// The other end of the default, in namespace `right`.
    pub(crate) fn right() -> Self {
        Self {
            address: LEFT,
            inner: ["10.255.0.2/30", "fd00:255::2/64"],
            routes: &[],
            ..Self::default()
        }
    }

    /// The same, but over another outer link. Who calls is who wants UDP.
    pub(crate) fn over(self, outer: Outer) -> Self {
        let calls_left = self.address == LEFT;
        let wants_udp = outer.udp && self.initiate;
        Self {
            address: if calls_left { outer.left } else { outer.right },
            more: if wants_udp {
                "encapsulation = \"always\""
            } else {
                self.more
            },
            ..self
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
            device,
            more,
            initiate,
            inner,
            routes,
            tunnel,
        } = self;
        format!(
            "[peer]\naddress = \"{address}\"\npsk-file = \"{SECRET}\"\ninitiate = {initiate}\n\
             {more}\n[tunnel]\ndevice = \"{device}\"\naddress = {inner:?}\nroutes = {routes:?}\n\
             {tunnel}\n"
        )
    }
}

/// Peers' files with their key, and a runtime directory.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self::with_secret(SECRET)
    }

    fn with_secret(name: &str) -> Self {
        let folder = reaper::folder();
        for (name, key) in [(name, PSK), (PPK_FILE, PPK)] {
            let secret = folder.path().join(name);
            fs::write(&secret, key).unwrap();
            fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a peer's file.
    pub(crate) fn write(&self, name: &str, peer: &Peer) -> PathBuf {
        let file = self.path().join(name);
        fs::write(&file, peer.render()).unwrap();
        file
    }

    pub(crate) fn runtime(&self) -> PathBuf {
        self.path().join("run")
    }

    /// A command of the product for the runtime directory.
    pub(crate) fn command(&self, netns: &Netns, verb: &str) -> Command {
        let mut command = netns.command(env!("CARGO_BIN_EXE_secure-gre"));
        command.arg(verb).arg("--runtime-dir").arg(self.runtime());
        command
    }

    /// Starts `secure-gre up FILE`.
    pub(crate) fn up(&self, netns: &Netns, file: &Path) -> Process {
        let mut command = self.command(netns, "up");
        command.arg(file);
        Process::spawn(command)
    }

    /// Runs `secure-gre up --background FILE` to its end.
    pub(crate) fn up_in_background(&self, netns: &Netns, file: &Path) -> Output {
        let mut command = self.command(netns, "up");
        command.arg("--background").arg(file);
        process::run(command, BACKGROUND_TIMEOUT)
    }

    /// Runs a verb to its end.
    pub(crate) fn run(&self, netns: &Netns, verb: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(netns, verb);
        command.args(arguments);
        process::run(command, COMMAND_TIMEOUT)
    }

    /// The states of the peers by name, as `status` has them; `None`: no daemon.
    pub(crate) fn states(&self, netns: &Netns) -> Option<BTreeMap<String, String>> {
        let output = self.run(netns, "status", &["--json"]);
        let report: Value = serde_json::from_str(&output.stdout).ok()?;
        let peers = report["peers"].as_array()?.iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Some(
            peers
                .map(|peer| (text(&peer["name"]), text(&peer["state"])))
                .collect(),
        )
    }

    /// Waits until `status` shows these peers in these states, and no others.
    #[track_caller]
    pub(crate) fn wait_for_states(&self, netns: &Netns, states: &[(&str, &str)]) {
        let owned = |(name, state): &(&str, &str)| ((*name).to_owned(), (*state).to_owned());
        let wanted: BTreeMap<_, _> = states.iter().map(owned).collect();
        eventually(&format!("{states:?}"), ESTABLISH_TIMEOUT, || {
            (self.states(netns)? == wanted).then_some(())
        });
    }
}

/// A running `secure-gre up` with its own files and runtime directory.
pub(crate) struct Product<'n> {
    netns: &'n Netns,
    folder: Folder,
    up: Process,
}

impl<'n> Product<'n> {
    /// Starts `secure-gre up peer.toml` in a namespace. It may not be ready, or ever become so.
    pub(crate) fn start(netns: &'n Netns, peer: &Peer) -> Self {
        Self::start_with(netns, &peer.render(), SECRET)
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
    pub(crate) fn prepare(netns: &Netns, peer_toml: &str, psk_file: &str) -> (Folder, Command) {
        let folder = Folder::with_secret(psk_file);
        let file = folder.path().join("peer.toml");
        fs::write(&file, peer_toml).unwrap();
        let mut command = folder.command(netns, "up");
        command.arg(file);
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
        self.folder.run(self.netns, verb, arguments)
    }

    /// The names of its threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.up.pid())).unwrap();
        let names =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.map(|name| name.trim().to_owned()).collect()
    }

    /// Kills it and waits for its end; its files stay.
    #[track_caller]
    pub(crate) fn crash(&mut self) {
        self.up.signal(Signal::SIGKILL);
        eventually("the end", COMMAND_TIMEOUT, || {
            (!self.up.is_running()).then_some(())
        });
    }

    /// Starts it again, with the files that it had.
    pub(crate) fn restart(&mut self) {
        let file = self.folder.path().join("peer.toml");
        self.up = self.folder.up(self.netns, &file);
    }

    /// Stops its process: it neither sends nor answers.
    pub(crate) fn pause(&self) {
        self.up.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.up.signal(Signal::SIGCONT);
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
}
