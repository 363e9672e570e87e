//! One tunnel toward a peer: its device, the routes into it, its hooks, and GRE keepalives, whose state is
//! [`Prober`]'s.
//!
//! Not here: the SAs, which all tunnels of the peer share, and the packets.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secure_gre_gre::Key;
use secure_gre_gre::keepalive::{self, Due, Ends, Packet, Prober};
use secure_gre_gre::mtu::Envelope;
use secure_gre_gre::probe::echo::Echo;
use secure_gre_ike::algorithm::Cipher;
use tracing::{error, info, warn};

use crate::config;
use crate::control::protocol::status::Keepalive;
use crate::daemon::hooks::{Hooks, Variable};
use crate::daemon::host::{Device, Host, HostError};
use crate::daemon::mtu::{LINK_MTU, device_mtu, envelope};
use crate::dataplane::{self, TunnelConfig, TunnelId};
use crate::net::esp::Overhead;
use crate::net::netlink::Look;
use crate::net::outer::Path as OuterPath;
use crate::net::prefix::Prefix;
use crate::net::tun::Queues;

/// How long after a device has gone, or could not be made, it is made anew.
const REMAKE_AFTER: Duration = Duration::from_secs(1);

/// Our outer address and the peer's, once they are known.
type Addresses = Option<(IpAddr, IpAddr)>;

/// See the module.
pub(in crate::daemon) struct Tunnel {
    id: TunnelId,
    config: config::Tunnel,
    /// What messages about it begin with: the peer's name, and the device's where there are several.
    label: String,
    device: Device,
    /// `None` after the device was deleted behind our back.
    queues: Option<Arc<Queues>>,
    /// When a device that is gone is made anew.
    remake_at: Option<Instant>,
    /// Why that failed, as it was last said.
    remake_problem: Option<String>,
    /// Asks the peer for signs of life, while SAs stand.
    prober: Option<Prober>,
    /// What probes have to say of the peer, where this tunnel asks for that.
    lives: bool,
    hooks: Hooks,
}

impl Tunnel {
    /// Puts the device of the peer's tunnel `id` on the host. `None`: the file has no such tunnel.
    pub(super) async fn raise(
        id: TunnelId,
        peer: &config::Peer,
        host: &mut Host,
        hooks: Hooks,
    ) -> Result<Option<Self>, HostError> {
        let Some(config) = peer.tunnels.get(id.0).cloned() else {
            return Ok(None);
        };
        let fits = envelope(peer, &config, None, Overhead::MAX).passenger_mtu(LINK_MTU);
        let mtu = device_mtu(&config, fits);
        let (device, queues) = host.make_device(&config, mtu).await?;
        let label = match peer.tunnels.len() {
            1 => peer.name.clone(),
            _ => format!("{} {}", peer.name, device.name()),
        };
        let place = match device.netns() {
            Some(netns) => format!(" in the network namespace {netns}"),
            None => String::new(),
        };
        let addresses = match config.addresses.as_slice() {
            [] => String::new(),
            addresses => format!(" with {}", joined(addresses, ", ")),
        };
        info!(
            "{}: device {}{place}{addresses}, mtu {mtu}",
            peer.name,
            device.name()
        );
        Ok(Some(Self {
            id,
            config,
            label,
            device,
            queues: Some(Arc::new(queues)),
            remake_at: None,
            remake_problem: None,
            prober: None,
            lives: true,
            hooks,
        }))
    }

    pub(super) const fn id(&self) -> TunnelId {
        self.id
    }

    pub(in crate::daemon) const fn config(&self) -> &config::Tunnel {
        &self.config
    }

    pub(in crate::daemon) const fn device(&self) -> &Device {
        &self.device
    }

    /// What there is to say of it when it carries packets.
    pub(super) fn described(&self) -> String {
        let mtu = self.device.mtu();
        match self.config.routes.as_slice() {
            [] => format!("mtu {mtu}"),
            routes => format!("mtu {mtu}, routes {}", joined(routes, ", ")),
        }
    }

    /// What the packet workers have to know of it, for a wire on `path`.
    pub(super) fn port(&self, path: OuterPath, echo: Option<Echo>) -> dataplane::Port {
        let (reply_v4, reply_v6) = match self.config.peer_address {
            Some(IpAddr::V4(address)) => (Some(address), None),
            Some(IpAddr::V6(address)) => (None, Some(address)),
            None => (None, None),
        };
        let config = TunnelConfig {
            gre: self.config.gre,
            tos: self.config.tos,
            ttl: self.config.ttl,
            df: self.config.df,
            mtu: self.device.mtu(),
            mss_clamp: self.config.mss_clamp,
            reply_v4,
            reply_v6,
            ends: self.keepalive_ends(path),
            asks: self.config.keepalive.is_some(),
            limit: self.config.limit,
            echo,
        };
        dataplane::Port {
            config,
            workers: self.config.workers,
            queues: self.queues.clone(),
        }
    }

    /// By which addresses a keepalive on `path` may name us and the peer.
    fn keepalive_ends(&self, path: OuterPath) -> Ends {
        let ours = self.config.addresses.iter().map(Prefix::addr);
        let theirs = self.config.peer_address;
        Ends {
            ours: ours.chain([path.local.ip()]).collect(),
            theirs: theirs.into_iter().chain([path.remote.ip()]).collect(),
        }
    }

    /// What surrounds its passengers.
    pub(super) fn envelope(
        &self,
        peer: &config::Peer,
        cipher: Option<Cipher>,
        overhead: Overhead,
    ) -> Envelope {
        envelope(peer, &self.config, cipher, overhead)
    }

    /// The path takes `path_mtu` octets, so that the device takes `mtu`. One that cannot be told keeps no
    /// other tunnel from that, nor the peer from being reached.
    pub(super) async fn set_mtu(&mut self, mtu: u16, path_mtu: u16) {
        if mtu == self.device.mtu() {
            return;
        }
        info!(
            "{}: path MTU {path_mtu}, so the device's is {mtu}",
            self.label
        );
        if let Err(problem) = self.device.set_mtu(mtu).await {
            error!("{}: {problem}", self.label);
        }
    }

    /// The first pair stands: the peer is taken for alive, and asked.
    pub(super) fn begin_to_ask(&mut self, now: Instant) {
        let interval = self.config.keepalive;
        self.prober = interval.map(|interval| Prober::new(interval, now));
        self.lives = true;
    }

    /// No pair stands: nobody is asked.
    pub(super) fn stop_asking(&mut self) {
        self.prober = None;
    }

    /// Whether the peer answers, as far as anybody knows.
    fn is_answered(&self) -> bool {
        self.lives && self.prober.as_ref().is_none_or(Prober::is_alive)
    }

    /// Probes say that the peer lives, or that it does not.
    pub(super) async fn on_verdict(&mut self, lives: bool, addresses: Addresses) {
        if self.config.liveness.is_none() || self.lives == lives {
            return;
        }
        self.lives = lives;
        if lives {
            info!("{}: the peer answers probes again", self.label);
            self.open(addresses).await;
        } else {
            warn!(
                "{}: the peer does not answer probes: its routes are withdrawn",
                self.label
            );
            self.close(addresses).await;
        }
    }

    /// What `status` shows; `None`: the peer is not asked.
    pub(in crate::daemon) fn keepalive(&self) -> Option<Keepalive> {
        let prober = self.prober.as_ref()?;
        Some(match prober.is_alive() {
            true => Keepalive::Alive,
            false => Keepalive::Dead,
        })
    }

    /// The request to the peer that is due, if one is.
    pub(super) async fn ask_due(&mut self, now: Instant, addresses: Addresses) -> Option<Packet> {
        let due = self.prober.as_mut()?.poll(now);
        if due == Due::Nothing {
            return None;
        }
        if due == Due::Dead {
            warn!(
                "{}: the peer does not answer GRE keepalives: its routes are withdrawn",
                self.label
            );
            self.close(addresses).await;
        }
        let (local, remote) = addresses?;
        let key = match self.config.gre.key {
            Some(Key::Whole(key)) => Some(key),
            // NVGRE carries no keepalives.
            Some(Key::Subnet { .. }) => return None,
            None => None,
        };
        keepalive::request(local, remote, key)
    }

    /// The peer has answered.
    pub(super) async fn on_answer(&mut self, addresses: Addresses) {
        if self.prober.as_mut().is_some_and(Prober::answered) {
            info!("{}: the peer answers GRE keepalives again", self.label);
            self.open(addresses).await;
        }
    }

    /// A pair stands: routes lead into the tunnel, if the peer answers in it.
    pub(super) async fn open(&mut self, addresses: Addresses) {
        if !self.is_answered() || self.queues.is_none() {
            return;
        }
        if let Err(problem) = self.device.open().await {
            error!("{}: the routes are not all usable: {problem}", self.label);
        }
        self.tell_hooks(true, addresses);
    }

    /// No routes lead into the tunnel any more.
    pub(super) async fn close(&mut self, addresses: Addresses) {
        if let Err(problem) = self.device.close().await {
            error!("{}: the routes are not all closed: {problem}", self.label);
        }
        self.tell_hooks(false, addresses);
    }

    /// The device was deleted behind our back.
    pub(super) fn device_gone(&mut self, error: &std::io::Error, now: Instant) {
        warn!(
            "{}: the tunnel device {} does not answer ({error}): was it deleted?",
            self.label,
            self.device.name()
        );
        self.device.lose();
        self.queues = None;
        self.remake_at = Some(now + REMAKE_AFTER);
    }

    /// Makes the device anew if it is gone and the time has come. Its queues.
    pub(super) async fn remake_due(&mut self, now: Instant) -> Option<Arc<Queues>> {
        self.remake_at.take_if(|at| *at <= now)?;
        match self.device.remake(&self.config).await {
            Ok(queues) => {
                let name = self.device.name();
                info!("{}: device {name} is there again", self.label);
                self.remake_problem = None;
                let queues = Arc::new(queues);
                self.queues = Some(Arc::clone(&queues));
                Some(queues)
            }
            Err(problem) => {
                let problem = Some(problem.to_string());
                if let Some(said) = problem.as_ref().filter(|_| self.remake_problem != problem) {
                    warn!("{}: {said}", self.label);
                }
                self.remake_problem = problem;
                self.remake_at = Some(now + REMAKE_AFTER);
                None
            }
        }
    }

    pub(super) fn next_alarm(&self) -> Option<Instant> {
        let ask_at = self.prober.as_ref().map(Prober::next);
        ask_at.into_iter().chain(self.remake_at).min()
    }

    /// Puts back what, by this `look`, others have taken from where the device is; with the usable routes
    /// if pairs stand and the peer answers. What that was, in words, is added to `repaired`.
    pub(super) async fn repair(
        &mut self,
        look: &Look,
        stands: bool,
        repaired: &mut Vec<String>,
    ) -> Result<(), HostError> {
        if self.queues.is_none() {
            return Ok(());
        }
        if !self.device.is_at_home() {
            self.device.lose();
            self.queues = None;
            self.remake_at = Some(Instant::now());
            repaired.push(format!("the device {}", self.device.name()));
            return Ok(());
        }
        let carries = stands && self.is_answered();
        let repair = self.device.repair(look, &self.config, carries, repaired);
        repair.await
    }

    /// Has the hook run that is for whether the tunnel carries packets.
    fn tell_hooks(&self, carries: bool, addresses: Addresses) {
        self.hooks.tell(carries, || self.variables(addresses));
    }

    /// What a hook finds in its environment.
    fn variables(&self, addresses: Addresses) -> Vec<Variable> {
        let config = &self.config;
        let or_empty = |value: Option<String>| value.unwrap_or_default();
        let (local, remote) = addresses.unzip();
        vec![
            ("SECURE_GRE_DEVICE", self.device.name().to_owned()),
            ("SECURE_GRE_NETNS", or_empty(config.netns.clone())),
            ("SECURE_GRE_MTU", self.device.mtu().to_string()),
            (
                "SECURE_GRE_KEY",
                or_empty(config.gre.key.map(|key| key.to_string())),
            ),
            ("SECURE_GRE_ADDRESSES", joined(&config.addresses, " ")),
            ("SECURE_GRE_ROUTES", joined(&config.routes, " ")),
            (
                "SECURE_GRE_PEER_ADDRESS",
                or_empty(config.peer_address.map(|address| address.to_string())),
            ),
            (
                "SECURE_GRE_LOCAL",
                or_empty(local.map(|address| address.to_string())),
            ),
            (
                "SECURE_GRE_REMOTE",
                or_empty(remote.map(|address| address.to_string())),
            ),
        ]
    }
}

fn joined(prefixes: &[Prefix], separator: &str) -> String {
    let words: Vec<_> = prefixes.iter().map(Prefix::to_string).collect();
    words.join(separator)
}
