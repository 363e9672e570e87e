//! strongSwan in the guest: its configuration as a value, and its control tool.

use std::fs;
use std::time::Duration;

use super::gre_device;
pub(crate) use super::gre_device::{INNER_V4, INNER_V6};
use super::guest::Guest;
use super::process::Output;
use super::topology::{LEFT, Outer, RIGHT};

/// What charon is configured with; the default is the counterpart of the product's defaults.
pub(crate) struct Strongswan {
    /// Its outer address.
    pub(crate) local: &'static str,
    /// The outer address that it sees the product at.
    pub(crate) remote: &'static str,
    /// Whether it puts ESP into UDP without a NAT.
    pub(crate) encap: bool,
    pub(crate) psk: &'static str,
    /// The identity that charon shows.
    pub(crate) local_id: &'static str,
    /// The identity that charon expects of the product.
    pub(crate) remote_id: &'static str,
    pub(crate) ike_proposals: &'static str,
    pub(crate) esp_proposals: &'static str,
    /// Of both ends.
    pub(crate) selectors: &'static str,
    /// `transport` or `tunnel`.
    pub(crate) mode: &'static str,
    /// `none` waits for the product, `start` and `trap` initiate.
    pub(crate) start_action: &'static str,
    pub(crate) mobike: bool,
    /// Whether it divides IKE messages: `yes` (the long ones), `force`, `accept` (only the peer's).
    pub(crate) fragmentation: &'static str,
    /// As charon writes durations, for example `5s`; `0s` is off.
    pub(crate) dpd_delay: &'static str,
    /// When charon rekeys the CHILD_SA, and the IKE SA.
    pub(crate) child_rekey: &'static str,
    pub(crate) ike_rekey: &'static str,
    /// More lines of the connection.
    pub(crate) connection: &'static str,
    /// Its post-quantum pre-shared key, by what it calls it.
    pub(crate) ppk: Option<(&'static str, &'static str)>,
    /// More lines of `charon-systemd` in `strongswan.conf`.
    pub(crate) charon: &'static str,
    /// Another connection, in full.
    pub(crate) another: &'static str,
}

impl Default for Strongswan {
    fn default() -> Self {
        Self {
            local: RIGHT,
            remote: LEFT,
            encap: false,
            psk: super::product::PSK,
            local_id: RIGHT,
            remote_id: LEFT,
            ike_proposals: "aes256gcm16-prfsha256-ecp256",
            esp_proposals: "aes256gcm16-ecp256",
            // The outer address, in both modes.
            selectors: "dynamic[gre]",
            mode: "transport",
            start_action: "none",
            mobike: false,
            fragmentation: "yes",
            dpd_delay: "0s",
            child_rekey: "1h",
            ike_rekey: "4h",
            connection: "",
            ppk: None,
            charon: "",
            another: "",
        }
    }
}

impl Strongswan {
    /// The default over another outer link. Who calls is who wants UDP: charon, if `calls`.
    pub(crate) fn over(outer: Outer, calls: bool) -> Self {
        Self {
            local: outer.right,
            remote: outer.left,
            encap: outer.udp && calls,
            local_id: outer.right,
            remote_id: outer.left,
            ..Self::default()
        }
    }

    /// Makes the GRE device, starts charon and loads this configuration.
    #[track_caller]
    pub(crate) fn start(&self, guest: &Guest) {
        let device = gre_device::make(self.local, self.remote);
        start_charon(guest, &device, &charon(self.charon), &self.render());
    }

    /// Puts these connections, and a GRE device for them, in place of those that are there. There must
    /// be no SA.
    #[track_caller]
    pub(crate) fn replace(&self, guest: &Guest) {
        guest.expect(&gre_device::make_anew(self.local, self.remote));
        self.reload(guest);
    }

    /// Puts these connections in place of those that charon runs with.
    #[track_caller]
    pub(crate) fn reload(&self, guest: &Guest) {
        fs::write(guest.shared().join("swanctl.conf"), self.render()).unwrap();
        guest.expect(LOAD);
    }

    fn render(&self) -> String {
        let Self {
            local,
            remote,
            psk,
            local_id,
            remote_id,
            ike_proposals,
            esp_proposals,
            ..
        } = self;
        let Self {
            selectors,
            mode,
            start_action,
            mobike,
            fragmentation,
            dpd_delay,
            child_rekey,
            ike_rekey,
            connection,
            another,
            ..
        } = self;
        let ppk = self.ppk.map_or(String::new(), |(id, secret)| {
            format!("ppk-lab {{\n    id = {id}\n    secret = \"{secret}\"\n  }}")
        });
        let mobike = if *mobike { "yes" } else { "no" };
        let encap = if self.encap { "yes" } else { "no" };
        format!(
            "connections {{
  gre {{
    version = 2
    local_addrs = {local}
    remote_addrs = {remote}
    proposals = {ike_proposals}
    encap = {encap}
    mobike = {mobike}
    fragmentation = {fragmentation}
    dpd_delay = {dpd_delay}
    rekey_time = {ike_rekey}
    over_time = 4h
    rand_time = 2s
    {connection}
    local {{
      auth = psk
      id = {local_id}
    }}
    remote {{
      auth = psk
      id = {remote_id}
    }}
    children {{
      gre {{
        mode = {mode}
        local_ts = {selectors}
        remote_ts = {selectors}
        esp_proposals = {esp_proposals}
        start_action = {start_action}
        dpd_action = clear
        rekey_time = {child_rekey}
        life_time = 4h
        rand_time = 2s
      }}
    }}
  }}
  {another}
}}
secrets {{
  ike-lab {{
    id-1 = {local_id}
    id-2 = {remote_id}
    secret = \"{psk}\"
  }}
  {ppk}
}}
"
        )
    }
}

/// Makes the GRE device by a script, starts charon and loads a `swanctl.conf`.
#[track_caller]
pub(crate) fn start_with(guest: &Guest, gre_device: &str, swanctl_conf: &str) {
    start_charon(guest, gre_device, &charon(""), swanctl_conf);
}

#[track_caller]
fn start_charon(guest: &Guest, gre_device: &str, strongswan_conf: &str, swanctl_conf: &str) {
    fs::write(guest.shared().join("strongswan.conf"), strongswan_conf).unwrap();
    fs::write(guest.shared().join("swanctl.conf"), swanctl_conf).unwrap();
    guest.expect(gre_device);
    guest.expect(
        "mkdir -p /run/charon; charon-systemd >/dev/null 2>&1 &\n\
         while ! [ -S /run/charon.vici ]; do sleep 0.05; done",
    );
    guest.expect(LOAD);
}

const LOAD: &str = "swanctl --load-all --noprompt --file /run/lab/swanctl.conf";

/// One setting per line: charon reads more on one line as a single value.
fn charon(more: &str) -> String {
    format!(
        "charon-systemd {{
  load = random nonce openssl curve25519 hmac kdf kernel-netlink socket-default vici
  filelog {{
    lab {{
      path = /run/lab/charon.log
      default = 1
      flush_line = yes
    }}
  }}
  {more}
}}
swanctl {{
  load = random openssl
}}
"
    )
}

/// `swanctl --list-sas`.
#[track_caller]
pub(crate) fn list_sas(guest: &Guest) -> String {
    guest.expect("swanctl --list-sas")
}

/// `swanctl --initiate`: ends when the child is up, with status 0, or when it failed.
pub(crate) fn initiate(guest: &Guest) -> Output {
    guest.run(
        "swanctl --initiate --child gre --timeout 20",
        Duration::from_secs(30),
    )
}

/// `swanctl --rekey` of the CHILD_SA or the IKE SA. It ends when charon has begun.
#[track_caller]
pub(crate) fn rekey(guest: &Guest, what: Rekey) {
    let selector = match what {
        Rekey::Child => "--child",
        Rekey::Ike => "--ike",
    };
    guest.expect(&format!("swanctl --rekey {selector} gre"));
}

/// What is rekeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rekey {
    Child,
    Ike,
}

/// Rekeys in charon's log: which end asked for them, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rekeys {
    pub(crate) ours: Counts,
    pub(crate) its: Counts,
}

/// How many there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) children: usize,
    pub(crate) ikes: usize,
}

impl Counts {
    /// Whether there are as many as in `other`, of each.
    pub(crate) fn reach(self, other: Self) -> bool {
        self.children >= other.children && self.ikes >= other.ikes
    }
}

/// What charon says of rekeys so far.
pub(crate) fn rekeys(guest: &Guest) -> Rekeys {
    let log = log(guest);
    let count = |verb: &str| {
        let requests = format!("{verb} CREATE_CHILD_SA request");
        let requests = log.lines().filter(|line| line.contains(&requests));
        let (children, ikes): (Vec<_>, _) = requests.partition(|line| line.contains("REKEY_SA"));
        Counts {
            children: children.len(),
            ikes: ikes.len(),
        }
    };
    Rekeys {
        ours: count("parsed"),
        its: count("generating"),
    }
}

/// How many states the guest's kernel has: two per pair.
#[track_caller]
pub(crate) fn states(guest: &Guest) -> usize {
    let listed = guest.expect("ip -oneline xfrm state");
    listed.matches("proto esp spi").count()
}

/// `swanctl --terminate`: ends when the IKE SA is gone.
#[track_caller]
pub(crate) fn terminate(guest: &Guest) {
    guest.expect("swanctl --terminate --ike gre");
}

/// What it calls itself.
#[track_caller]
pub(crate) fn version(guest: &Guest) -> String {
    let said = guest.expect("swanctl --version");
    let number = said
        .split_whitespace()
        .find(|word| word.starts_with(char::is_numeric));
    format!("strongSwan {}", number.unwrap())
}

/// charon's log so far.
pub(crate) fn log(guest: &Guest) -> String {
    fs::read_to_string(guest.shared().join("charon.log")).unwrap_or_default()
}
