//! FRR's daemons on a router: without the watchdog that a whole machine has, and with sockets of their
//! own, so that several routers share one machine.

use std::fs;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::guest::Guest;
use super::reaper;
use super::router::Router;

/// Hellos and retries of routing protocols are seconds apart.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(100);

/// Running daemons, `zebra` among them, each in a session of its own. They end with their router.
pub(crate) struct Frr<'l> {
    router: Router<'l>,
    /// Where their sockets are, on the router.
    folder: String,
    files: Option<TempDir>,
    /// Since they have a configuration.
    begun: Instant,
}

impl<'l> Frr<'l> {
    /// Starts `zebra` and these daemons, without a configuration.
    #[track_caller]
    pub(crate) fn start(router: Router<'l>, daemons: &[&str]) -> Self {
        let (files, folder, log) = match router {
            Router::Namespace(_) => {
                let files = reaper::folder();
                let folder = files.path().display().to_string();
                let log = format!("{folder}/log");
                (Some(files), folder, log)
            }
            // The log is the host's to read.
            Router::Guest(_) => {
                let log = format!("/run/lab/{}", Guest::FRR_LOG);
                (None, "/run/frr".to_owned(), log)
            }
        };
        let daemons = daemons.join(" ");
        router.expect(&format!(
            "set -e
             mkdir -p {folder}; cd {folder}
             : >empty.conf
             chown -R frr:frr .; chmod 755 .
             for daemon in zebra {daemons}; do
                 control=; [ $daemon != bfdd ] || control=\"--bfdctl {folder}/bfdd.sock\"
                 setsid /usr/lib/frr/$daemon -u frr -g frr -f {folder}/empty.conf \
                     -i {folder}/$daemon.pid -z {folder}/zserv.api --vty_socket {folder} -P 0 \
                     $control --log stdout </dev/null >>{log} 2>&1 &
                 # Whoever does not find zebra asks again in ten seconds.
                 for try in $(seq 200); do [ ! -S $daemon.vty ] || break; sleep 0.1; done
                 [ -S $daemon.vty ]
             done"
        ));
        Self {
            router,
            folder,
            files,
            begun: Instant::now(),
        }
    }

    /// Has them all read an `frr.conf`.
    #[track_caller]
    pub(crate) fn configure(&mut self, frr_conf: &str) {
        let folder = &self.folder;
        self.router.expect(&format!(
            "cat >{folder}/frr.conf <<'END'\n{frr_conf}\nEND\n\
             vtysh --vty_socket {folder} --config_dir {folder} -f {folder}/frr.conf"
        ));
        self.begun = Instant::now();
    }

    /// What a daemon answers to `show`, as JSON without white space.
    #[track_caller]
    pub(crate) fn show(&self, daemon: &str, what: &str) -> String {
        let folder = &self.folder;
        let answer = self.router.expect(&format!(
            "vtysh --vty_socket {folder} --config_dir {folder} -d {daemon} -c 'show {what} json'"
        ));
        answer.split_whitespace().collect()
    }

    /// Since they have a configuration.
    pub(crate) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits until the answer to `show` satisfies `wanted`.
    #[track_caller]
    pub(crate) fn wait_until(&self, daemon: &str, what: &str, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.show(daemon, what);
            if wanted(&answer) {
                return;
            }
            assert!(Instant::now() < deadline, "`show {what}` is still {answer}");
            // Asking costs more than the daemons' own work.
            std::thread::sleep(BETWEEN_QUESTIONS);
        }
    }
}

impl Drop for Frr<'_> {
    /// What a guest's daemons said, the guest shows.
    fn drop(&mut self) {
        if let (true, Some(files)) = (std::thread::panicking(), &self.files) {
            let log = fs::read_to_string(files.path().join("log")).unwrap_or_default();
            eprintln!("--- FRR of {}\n{log}---", self.router);
        }
    }
}
