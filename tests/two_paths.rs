//! One network behind two tunnels, as in `examples/two-paths/`: flows use both, leave the one that falls
//! silent, and never leave in clear.

use crate::examples::example;
use crate::lab::two_paths::{Host, TwoPaths, spread};
use crate::lab::{self, Netns};

/// Berlin's networks, and the beginning of their hosts' addresses.
const BERLIN: [(&str, &str); 2] = [
    ("10.20.0.0/16", "10.20.7."),
    ("2001:db8:20::/48", "2001:db8:20::7:"),
];
const PARIS: [(&str, &str); 2] = [
    ("10.10.0.0/16", "10.10.7."),
    ("2001:db8:10::/48", "2001:db8:10::7:"),
];
const PATHS: [&str; 2] = ["north", "south"];

/// A kernel sends a few packets of its own by every device: it joins multicast groups (RFC 3810 §6.1), and
/// looks for routers (RFC 4861 §6.3.7).
const OWN_PACKETS: u64 = 8;

/// The example's files of one host, `city` being the other one.
fn files(city: &str) -> [(String, String); 2] {
    PATHS.map(|path| {
        let name = format!("{city}-{path}.toml");
        let text = example(&format!("two-paths/{name}"));
        (name, text)
    })
}

fn start<'n>(netns: &'n Netns, city: &str, files: &[(String, String)]) -> Host<'n> {
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.clone()))
        .collect();
    Host::start(netns, &files, &format!("{city}.psk"))
}

/// What the kernel has for the prefix: by which of the devices, and whether it is guarded.
#[track_caller]
fn routed(netns: &Netns, prefix: &str) -> (Vec<&'static str>, bool) {
    let family = if prefix.contains(':') { "-6" } else { "-4" };
    let shown = netns.ip(&format!("{family} route show {prefix}"));
    let by = PATHS
        .into_iter()
        .filter(|device| shown.contains(&format!("dev {device} ")))
        .collect();
    (by, shown.contains("unreachable"))
}

#[track_caller]
fn wait_for_both(host: &Host<'_>, networks: [(&str, &str); 2]) {
    for (prefix, _) in networks {
        host.wait_for_paths(prefix, &[("north", "carries"), ("south", "carries")]);
        assert_eq!(
            routed(host.netns, prefix),
            (PATHS.to_vec(), true),
            "{prefix}"
        );
    }
}

/// Flows of both families leave by both tunnels.
#[track_caller]
fn assert_shared(from: &Host<'_>, to: &Host<'_>, networks: [(&str, &str); 2]) {
    for (prefix, hosts) in networks {
        let before = from.sent(PATHS);
        spread(from.netns, to.netns, hosts);
        let after = from.sent(PATHS);
        let grown = [0, 1].map(|path| after[path] - before[path]);
        let used = grown.iter().all(|grown| *grown > OWN_PACKETS);
        assert!(used, "{prefix}: {grown:?}");
    }
}

/// DESIGN §1, fail closed: ECMP, and failover by `liveness` long before IKE notices, in both directions.
#[test]
fn flows_share_two_paths_and_leave_the_one_that_falls_silent() {
    let Some(lab) = lab::require() else { return };
    let hosts = TwoPaths::new(lab);
    let before = [&hosts.paris, &hosts.berlin].map(|host| host.ip("route show table all"));
    let captures = hosts.captures();
    let there = start(&hosts.berlin, "paris", &files("paris"));
    let here = start(&hosts.paris, "berlin", &files("berlin"));
    let ends = [(&here, &there, BERLIN), (&there, &here, PARIS)];
    for (from, to, networks) in ends {
        wait_for_both(from, networks);
        assert_shared(from, to, networks);
    }

    hosts.cut(&["south"]);
    for (from, to, networks) in ends {
        for (prefix, addresses) in networks {
            spread(from.netns, to.netns, addresses);
            from.wait_for_paths(prefix, &[("north", "carries"), ("south", "down")]);
            assert_eq!(routed(from.netns, prefix), (vec!["north"], true));
        }
        assert!(from.netns.ip("link show south").contains("NO-CARRIER"));
        assert_established(from);
    }
    let shown = here.folder.run(&hosts.paris, "status", &[]).stdout;
    assert!(shown.contains("the peer does not answer probes"), "{shown}");

    hosts.cut(&[]);
    for (from, to, networks) in ends {
        wait_for_both(from, networks);
        assert_shared(from, to, networks);
    }
    hosts.cut(&PATHS);
    for (from, _, networks) in ends {
        for (prefix, _) in networks {
            from.wait_for_paths(prefix, &[("north", "down"), ("south", "down")]);
            assert_eq!(routed(from.netns, prefix), (vec![], true));
        }
    }
    send_in_vain(&hosts.paris);
    hosts.cut(&[]);
    here.end();
    there.end();
    for capture in captures {
        assert_eq!(capture.stop().in_clear(), None);
    }
    let after = [&hosts.paris, &hosts.berlin].map(|host| host.ip("route show table all"));
    assert_eq!(after, before);
}

/// SIGKILL, with packets under way.
#[test]
fn a_crash_opens_neither_path_and_down_takes_back_what_it_left() {
    let Some(lab) = lab::require() else { return };
    let hosts = TwoPaths::new(lab);
    let before = hosts.paris.ip("route show table all");
    let there = start(&hosts.berlin, "paris", &files("paris"));
    let mut here = start(&hosts.paris, "berlin", &files("berlin"));
    wait_for_both(&here, BERLIN);
    let captures = hosts.captures();
    here.crash();
    for (prefix, _) in BERLIN {
        assert_eq!(routed(&hosts.paris, prefix), (vec![], true));
    }
    send_in_vain(&hosts.paris);

    here.restart();
    wait_for_both(&here, BERLIN);
    assert_shared(&here, &there, BERLIN);
    let down = here.folder.run(&hosts.paris, "down", &["berlin-north"]);
    assert_eq!(down.stdout, "berlin-north is down\n");
    for (prefix, hosts_of_it) in BERLIN {
        assert_eq!(routed(&hosts.paris, prefix), (vec!["south"], true));
        spread(&hosts.paris, &hosts.berlin, hosts_of_it);
    }

    here.crash();
    assert_eq!(here.records().len(), 1);
    for (prefix, _) in BERLIN {
        assert_eq!(routed(&hosts.paris, prefix), (vec![], true));
    }
    for capture in captures {
        assert_eq!(capture.stop().in_clear(), None);
    }
    here.folder.run(&hosts.paris, "down", &[]).expect("down");
    assert_eq!(hosts.paris.ip("route show table all"), before);
    there.end();
}

/// D60: the same for a peer that answers GRE keepalives, as any router may.
#[test]
fn keepalives_move_flows_to_the_other_path() {
    let Some(lab) = lab::require() else { return };
    let hosts = TwoPaths::new(lab);
    let asking = |city| {
        let instead = "keepalive = { every = \"1s\", tries = 2 } #";
        files(city).map(|(name, text)| (name, text.replace("liveness =", instead)))
    };
    let there = start(&hosts.berlin, "paris", &asking("paris"));
    let here = start(&hosts.paris, "berlin", &asking("berlin"));
    let ends = [(&here, &there, BERLIN), (&there, &here, PARIS)];
    for (from, _, networks) in ends {
        wait_for_both(from, networks);
    }
    hosts.cut(&["north"]);
    for (from, to, networks) in ends {
        for (prefix, addresses) in networks {
            spread(from.netns, to.netns, addresses);
            from.wait_for_paths(prefix, &[("north", "down"), ("south", "carries")]);
            assert_eq!(routed(from.netns, prefix), (vec!["south"], true));
        }
        assert_established(from);
    }
    hosts.cut(&[]);
    for (from, to, networks) in ends {
        wait_for_both(from, networks);
        assert_shared(from, to, networks);
    }
    here.end();
    there.end();
}

/// A larger metric is a backup: it waits while the better path carries.
#[test]
fn a_backup_carries_while_the_better_path_is_silent() {
    let Some(lab) = lab::require() else { return };
    let hosts = TwoPaths::new(lab);
    let backup = |city| {
        files(city).map(|(name, text)| {
            let larger = name
                .contains("south")
                .then(|| text.replace("= 100\n", "= 200\n"));
            (name, larger.unwrap_or(text))
        })
    };
    let there = start(&hosts.berlin, "paris", &files("paris"));
    let here = start(&hosts.paris, "berlin", &backup("berlin"));
    let [(prefix, addresses), _] = BERLIN;
    let waits = [("north", "carries"), ("south", "stands-by")];
    here.wait_for_paths(prefix, &waits);
    let before = here.sent(PATHS);
    spread(&hosts.paris, &hosts.berlin, addresses);
    let grown = here.sent(PATHS)[1] - before[1];
    assert!(grown <= OWN_PACKETS, "the backup carries {grown}");

    hosts.cut(&["north"]);
    spread(&hosts.paris, &hosts.berlin, addresses);
    here.wait_for_paths(prefix, &[("north", "down"), ("south", "carries")]);
    assert_eq!(routed(&hosts.paris, prefix), (vec!["south"], true));
    hosts.cut(&[]);
    here.wait_for_paths(prefix, &waits);
    spread(&hosts.paris, &hosts.berlin, addresses);
    here.end();
    there.end();
}

/// A device that somebody deletes takes IPv4's shared route with it: the other path has it back at once.
#[test]
fn a_deleted_device_takes_no_path_but_its_own() {
    let Some(lab) = lab::require() else { return };
    let hosts = TwoPaths::new(lab);
    let there = start(&hosts.berlin, "paris", &files("paris"));
    let here = start(&hosts.paris, "berlin", &files("berlin"));
    wait_for_both(&here, BERLIN);
    hosts.paris.ip("link del south");
    for (_, addresses) in BERLIN {
        spread(&hosts.paris, &hosts.berlin, addresses);
    }
    wait_for_both(&here, BERLIN);
    let said = here.transcript();
    assert!(said.contains("is there again"), "{said}");
    here.end();
    there.end();
}

/// Both peers of a host still have SAs: it was not IKE that noticed.
#[track_caller]
fn assert_established(host: &Host<'_>) {
    let status = host.status().unwrap();
    for peer in status["peers"].as_array().unwrap() {
        assert_eq!(peer["state"], "established", "{status}");
    }
}

/// Pings that must get no answer.
#[track_caller]
fn send_in_vain(from: &Netns) {
    for destination in ["10.20.0.1", "2001:db8:20::1", "10.255.0.2", "10.255.1.2"] {
        let reply = lab::traffic::ping(from, destination, "-c 2 -W 1");
        assert!(!reply.success(), "{destination}: {}", reply.stdout);
    }
}
