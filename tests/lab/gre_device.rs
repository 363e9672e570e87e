//! The guest's end of the tunnel: Linux's own GRE device, whatever the IKE daemon beside it.

use super::guest::Guest;
use super::topology::Outer;

/// Inner addresses of the guest's end of the tunnel; the product has `.1` and `::1`.
pub(crate) const INNER_V4: &str = "10.255.0.2";
pub(crate) const INNER_V6: &str = "fd00:255::2";

/// A script that makes the GRE device `gre1`, and a policy that holds back its packets while there is
/// no SA. The policy's selector differs from charon's, which would otherwise take it for its own.
pub(super) fn make(local: &str, remote: &str) -> String {
    let any = if local.contains(':') {
        "::/0"
    } else {
        "0.0.0.0/0"
    };
    let policies = ["out", "in"].map(|direction| {
        format!(
            "xfrm policy add src {any} dst {any} proto gre dir {direction} \
             action block priority 4000000"
        )
    });
    // Without "encaplimit none" Linux adds a destination options header (D56).
    let options = if local.contains(':') {
        "encaplimit none"
    } else {
        ""
    };
    batch(&[policies.join("\n"), link(local, remote, options)])
}

/// The same in place of a `gre1` and policies that may be there.
pub(super) fn make_anew(local: &str, remote: &str) -> String {
    let make = make(local, remote);
    format!("ip link del gre1 2>/dev/null; ip xfrm policy flush\n{make}")
}

/// Commands of `ip` for the GRE device `gre1` alone, with more options of `ip link`.
fn link(local: &str, remote: &str, options: &str) -> String {
    let kind = if local.contains(':') {
        "ip6gre hoplimit 64"
    } else {
        "gre ttl 64"
    };
    format!(
        "link add gre1 type {kind} local {local} remote {remote} {options}\n\
         link set gre1 mtu 1400 multicast on up\n\
         addr add {INNER_V4}/30 dev gre1\n\
         addr add {INNER_V6}/64 dev gre1 nodad"
    )
}

/// A process takes its time in the guest: one for all of them.
fn batch(commands: &[String]) -> String {
    format!("ip -batch - <<END\n{}\nEND\n", commands.join("\n"))
}

/// Puts a GRE device with these options of `ip link` in place of `gre1`: it has sent and received
/// nothing.
#[track_caller]
pub(crate) fn replace(guest: &Guest, outer: Outer, options: &str) {
    let fresh = link(outer.right, outer.left, options);
    guest.expect(&batch(&["link del gre1".to_owned(), fresh]));
}
