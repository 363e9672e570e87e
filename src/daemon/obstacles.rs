//! What on this host stands in a tunnel's way and only its owner may change: each is a warning with
//! the command that mends it. What cannot be read is taken for fine. Settings are looked at here, packet
//! filters by [`firewall`].

mod filter;
mod firewall;
mod iptables;
mod nftables;

use std::fs;
use std::path::Path;

use crate::net::prefix::Prefix;

/// Where the kernel shows its settings.
const SETTINGS: &str = "/proc/sys/net";

pub(super) use self::firewall::Outer;

/// The obstacles for tunnels on `devices` to `routes`. May take as long as programs do that list the
/// rules of a packet filter.
pub(super) async fn find(routes: &[Prefix], devices: &[String], outer: &Outer) -> Vec<String> {
    let mut found = in_settings(routes, devices, &outer.underlay);
    found.extend(firewall::find(outer).await);
    found
}

fn in_settings(routes: &[Prefix], devices: &[String], underlay: &str) -> Vec<String> {
    let mut found = Vec::new();
    let any = |ipv4| routes.iter().any(|route| route.addr().is_ipv4() == ipv4);
    for (ipv4, setting) in [
        (true, "ipv4/ip_forward"),
        (false, "ipv6/conf/all/forwarding"),
    ] {
        if any(ipv4) && read(setting).as_deref() == Some("0") {
            found.push(format!(
                "this host does not forward packets, so only its own use tunnel.routes; if it is a \
                 router: sysctl -w {}=1",
                sysctl(setting)
            ));
        }
    }
    let interfaces = devices.iter().map(String::as_str);
    for interface in interfaces.chain([underlay]) {
        if is_strict(interface) {
            found.push(format!(
                "strict reverse-path filtering on {interface} drops packets whose way back differs; to \
                 loosen it: sysctl -w net.ipv4.conf.{interface}.rp_filter=2"
            ));
        }
    }
    found
}

/// The kernel takes the greater of the two settings; 1 is RFC 3704's strict mode, 2 its loose one.
fn is_strict(interface: &str) -> bool {
    let value = |of: &str| {
        let setting = read(&format!("ipv4/conf/{of}/rp_filter"))?;
        setting.parse::<u8>().ok()
    };
    value("all").max(value(interface)) == Some(1)
}

fn read(setting: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new(SETTINGS).join(setting)).ok()?;
    Some(text.trim().to_owned())
}

fn sysctl(setting: &str) -> String {
    format!("net.{}", setting.replace('/', "."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::sandbox;

    fn set(setting: &str, value: &str) {
        fs::write(Path::new(SETTINGS).join(setting), value).unwrap();
    }

    #[test]
    fn each_obstacle_comes_with_its_remedy() {
        sandbox::run(async {
            let lo = ["lo".to_owned()];
            for interface in ["all", "lo"] {
                set(&format!("ipv4/conf/{interface}/rp_filter"), "0");
            }
            set("ipv4/ip_forward", "1");
            set("ipv6/conf/all/forwarding", "1");
            let both = ["10.20.0.0/16", "2001:db8:20::/48"].map(|route| route.parse().unwrap());
            assert!(in_settings(&both, &lo, "lo").is_empty());

            set("ipv4/ip_forward", "0");
            set("ipv6/conf/all/forwarding", "0");
            assert!(in_settings(&[], &lo, "lo").is_empty());
            let found = in_settings(&both, &lo, "none");
            assert!(
                found[0].ends_with("sysctl -w net.ipv4.ip_forward=1"),
                "{found:?}"
            );
            assert!(found[1].ends_with("sysctl -w net.ipv6.conf.all.forwarding=1"));

            set("ipv4/conf/lo/rp_filter", "1");
            let found = in_settings(&[], &lo, "none");
            assert!(
                found[0].ends_with("sysctl -w net.ipv4.conf.lo.rp_filter=2"),
                "{found:?}"
            );
            set("ipv4/conf/all/rp_filter", "2");
            assert!(
                in_settings(&[], &lo, "none").is_empty(),
                "the greater one holds"
            );
        });
    }
}
