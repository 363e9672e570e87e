//! libreswan in the guest: its configuration as a value, and its control tool.
//!
//! Debian lets nobody install it beside strongSwan. `cargo xtask test` unpacks it, with the libraries
//! that it needs, to a folder of its own ([`ROOT`]); the guest sees that like all of the host's files.

use std::fs;
use std::time::Duration;

use super::gre_device;
use super::guest::Guest;
use super::process::Output;
use super::product::PSK;

/// Where its packages are unpacked.
pub(crate) const ROOT: &str = "/var/cache/secure-gre-lab/libreswan";

/// How long one request of its control tool may take: it ends with the exchange, and a refused one is
/// repeated for ever.
const PATIENCE: u32 = 20;

/// What pluto is configured with.
pub(crate) struct Libreswan {
    /// Its outer address, which is also its identity.
    pub(crate) local: &'static str,
    /// The outer address that it sees the product at.
    pub(crate) remote: &'static str,
    /// The identity that it expects of the product.
    pub(crate) remote_id: &'static str,
    /// Whether it puts ESP into UDP without a NAT.
    pub(crate) encapsulation: bool,
    /// Its lines for `ike` and `esp`; empty for its defaults.
    pub(crate) suite: &'static str,
}

impl Libreswan {
    /// Starts pluto without a connection.
    #[track_caller]
    pub(crate) fn start(guest: &Guest) {
        // For any two identities, so that no change of a connection changes it.
        let secret = format!(": PSK \"{PSK}\"\n");
        fs::write(guest.shared().join("ipsec.secrets"), secret).unwrap();
        fs::write(guest.shared().join("ipsec.conf"), SETUP).unwrap();
        // The path of the parts of pluto is compiled in.
        guest.expect(&format!(
            "set -e\n\
             mount -t tmpfs tmpfs /usr/libexec\n\
             ln -s {ROOT}/usr/libexec/ipsec /usr/libexec/ipsec\n\
             {LIBRARIES}\n\
             mkdir -p /run/nss /run/pluto\n\
             {ROOT}/usr/bin/certutil -N -d sql:/run/nss --empty-password\n\
             /usr/libexec/ipsec/pluto --config /run/lab/ipsec.conf --nssdir /run/nss \
               --secretsfile /run/lab/ipsec.secrets --rundir /run/pluto >/dev/null 2>&1\n\
             until grep -q 'loading secrets from' /run/lab/pluto.log; do sleep 0.05; done"
        ));
    }

    /// Puts this connection, and a GRE device for it, in place of those that are there.
    #[track_caller]
    pub(crate) fn replace(&self, guest: &Guest) {
        fs::write(guest.shared().join("ipsec.conf"), self.render()).unwrap();
        guest.expect(&gre_device::make_anew(self.local, self.remote));
        guest.expect(&format!(
            "{LIBRARIES}\n\
             /usr/libexec/ipsec/whack --name gre --delete >/dev/null\n\
             /usr/libexec/ipsec/addconn --config /run/lab/ipsec.conf \
               --ctlsocket /run/pluto/pluto.ctl gre\n\
             /usr/libexec/ipsec/whack --listen"
        ));
    }

    fn render(&self) -> String {
        let Self {
            local,
            remote,
            remote_id,
            suite,
            ..
        } = self;
        let encapsulation = if self.encapsulation { "yes" } else { "auto" };
        // leftupdown: it would call /usr/sbin/ipsec, which is strongSwan's.
        format!(
            "{SETUP}
conn gre
  ikev2=insist
  type=transport
  authby=secret
  left={local}
  leftid={local}
  leftprotoport=gre
  right={remote}
  rightid={remote_id}
  rightprotoport=gre
  leftupdown=%disabled
  encapsulation={encapsulation}
  {suite}
  auto=add
"
        )
    }
}

const SETUP: &str = "config setup
  logfile=/run/lab/pluto.log
  dnssec-enable=no
  protostack=xfrm
";

/// For its programs.
const LIBRARIES: &str =
    "export LD_LIBRARY_PATH=$(echo /var/cache/secure-gre-lab/libreswan/usr/lib/*-linux-gnu)";

/// Calls the product: ends when the child is up, with status 0, or when it failed.
pub(crate) fn initiate(guest: &Guest) -> Output {
    whack(guest, "--initiate")
}

/// Replaces the keys of the pair.
#[track_caller]
pub(crate) fn rekey(guest: &Guest) {
    whack(guest, "--rekey-ipsec").expect("whack --rekey-ipsec");
}

/// Deletes the SAs, and does not want them any more.
#[track_caller]
pub(crate) fn terminate(guest: &Guest) {
    whack(guest, "--terminate").expect("whack --terminate");
}

fn whack(guest: &Guest, request: &str) -> Output {
    let line =
        format!("{LIBRARIES}\ntimeout {PATIENCE} /usr/libexec/ipsec/whack --name gre {request}");
    guest.run(&line, Duration::from_secs(2 * u64::from(PATIENCE)))
}

/// What it calls itself.
#[track_caller]
pub(crate) fn version(guest: &Guest) -> String {
    let said = guest.expect(&format!("{LIBRARIES}\n/usr/libexec/ipsec/pluto --version"));
    let words: Vec<_> = said.split_whitespace().take(2).collect();
    words.join(" ")
}

/// pluto's log so far.
pub(crate) fn log(guest: &Guest) -> String {
    fs::read_to_string(guest.shared().join("pluto.log")).unwrap_or_default()
}
