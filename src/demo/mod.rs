//! `secure-gre demo`: two hosts, one link and two daemons of this same program, shut off from the
//! real host; then one check after the other, each a fact that a newcomer can read.
//!
//! - [`stage`]: the process that is shut off, and the one that waits for it outside
//! - [`scene`]: the two hosts and the link between them
//! - [`host`]: one host: its namespace, its files, its daemon
//! - [`acts`]: one file per check
//! - [`report`]: what was found, for people and for machines
//!
//! No other program is needed, and nothing that is made here has a name on the real host.

mod acts;
mod host;
mod report;
mod scene;
mod stage;

use std::io;
use std::time::Instant;

pub use self::report::Narrator;
use self::report::Results;
use self::scene::Scene;
pub use self::stage::{StageError, direct, enter};
use crate::net::isolation::IsolationError;
use crate::net::netlink::NetlinkError;
use crate::net::tun::TunError;

/// Why the demo did not show what it promises.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The system does not let us be alone.
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    /// No TUN device can be made.
    #[error(transparent)]
    Tun(#[from] TunError),
    /// The link or its addresses.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Files, processes, sockets.
    #[error("can't {action}: {source}")]
    Os {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A daemon ended before it was told to.
    #[error("the daemon of {host} has ended ({how}) before it was told to")]
    DaemonEnded {
        /// On which host.
        host: &'static str,
        /// Its exit status in words.
        how: String,
    },
    /// A check ended otherwise than it should.
    #[error("{check}: {finding}")]
    NotShown {
        /// Which one.
        check: &'static str,
        /// What was found.
        finding: String,
    },
}

impl DemoError {
    /// Whether this host lacks something, rather than the program.
    pub const fn is_the_hosts(&self) -> bool {
        matches!(
            self,
            Self::Isolation(_) | Self::Tun(_) | Self::Netlink(_) | Self::Os { .. }
        )
    }

    fn os(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Os { action, source }
    }
}

/// Plays the demo, in the process that [`direct`] started for it. What was found until the end, or
/// until the first check that failed, as one JSON object beside the outcome.
pub fn play(narrator: &mut Narrator) -> (Results, Result<(), DemoError>) {
    let begun = Instant::now();
    let mut results = Results::default();
    let outcome = perform(narrator, &mut results);
    results.seconds = begun.elapsed().as_secs_f64();
    results.held = outcome.is_ok();
    results.failure = outcome.as_ref().err().map(ToString::to_string);
    if outcome.is_ok() {
        narrator.line(&format!(
            "\nAll of it held, in {:.1} s. Nothing of this is left on your host.",
            results.seconds
        ));
    }
    (results, outcome)
}

fn perform(narrator: &mut Narrator, results: &mut Results) -> Result<(), DemoError> {
    let mut scene = Scene::build()?;
    narrator.line(scene::PICTURE);
    narrator.heading("paris.toml on berlin; berlin.toml on paris is its mirror image");
    narrator.indented(scene.berlin.peer_text());
    let shown = checks(&mut scene, narrator, results);
    shown.map_err(|problem| {
        narrator.heading("What the daemons said since");
        for line in scene.unread_lines() {
            narrator.indented(&line);
        }
        // If that is the cause, it is what to tell.
        scene.check_daemons().err().unwrap_or(problem)
    })
}

fn checks(
    scene: &mut Scene,
    narrator: &mut Narrator,
    results: &mut Results,
) -> Result<(), DemoError> {
    narrator.heading("Negotiation, as the daemons tell it");
    results.negotiation = Some(acts::negotiation::run(scene, narrator)?);
    narrator.heading("Through the tunnel");
    results.ping_ipv4 = Some(narrator.shown(acts::ping::run(scene, scene::PARIS.inner_v4.into())?));
    results.ping_ipv6 = Some(narrator.shown(acts::ping::run(scene, scene::PARIS.inner_v6.into())?));
    results.multicast = Some(narrator.shown(acts::multicast::run(scene)?));
    results.mtu = Some(narrator.shown(acts::mtu::run(scene)?));
    results.throughput = Some(narrator.shown(acts::throughput::run(scene)?));
    narrator.heading("On the link between the hosts, all that time");
    results.link = Some(narrator.shown(acts::link::run(scene)?));
    Ok(())
}
