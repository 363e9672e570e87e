//! A packet filter of the host drops what the tunnel lives on: `up` and `status` name the rule and the
//! command that admits it, and after that command the tunnel comes up.

use std::process::Command;
use std::time::Duration;

use crate::lab::{self, Netns, Peer, Product, Topology, process, traffic};

const SOON: Duration = Duration::from_secs(20);

/// What comes out of the tunnel goes through the filter too.
const PASSENGERS: &str = "iifname \"sgre0\" accept";

/// Runs a shell command line inside, as someone would who has read it.
#[track_caller]
fn shell(netns: &Netns, line: &str) {
    let mut command: Command = netns.command("sh");
    command.args(["-c", line]);
    process::run(command, SOON).expect(line);
}

#[track_caller]
fn filter(netns: &Netns, policy: &str, rules: &[&str]) {
    shell(netns, "nft add table inet filter");
    let hook = format!("{{ type filter hook input priority 0 ; policy {policy} ; }}");
    shell(netns, &format!("nft 'add chain inet filter input {hook}'"));
    for rule in rules {
        shell(netns, &format!("nft 'add rule inet filter input {rule}'"));
    }
}

/// The command at the end of a line.
fn remedy(line: &str) -> &str {
    line.split_once("to admit them: ").unwrap().1
}

#[test]
fn a_policy_that_drops_the_peers_packets_is_named_with_its_remedy() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    filter(&topology.left, "drop", &[PASSENGERS, "tcp dport 22 accept"]);
    let mut there = Product::start(&right, &Peer::right().responder());
    there.wait_for_state("idle", SOON);
    let mut here = Product::start(&topology.left, &Peer::default());
    let begin = "this host's input filter drops UDP port 500, UDP port 4500 (used where there is a NAT, and between two secure-gre), \
                 ESP (IP protocol 50) from 192.0.2.2: policy drop of chain input, in table inet filter";
    let line = here.wait_for_line(begin, SOON);
    let status = here.status();
    let mut obstacles = status["obstacles"].as_array().unwrap().iter();
    assert!(
        obstacles.any(|one| one.as_str().unwrap().starts_with(begin)),
        "{status}"
    );
    assert!(here.command("status", &[]).expect("status").contains(begin));

    shell(&topology.left, remedy(&line));
    here.wait_until_established();
    traffic::ping(&topology.left, "10.255.0.2", "-c 3 -i 0.2").expect("ping");
    assert_eq!(here.interrupt().code, Some(0));
    assert_eq!(there.interrupt().code, Some(0));
}

#[test]
fn a_rule_that_drops_esp_is_named_as_its_author_wrote_it() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    filter(
        &topology.left,
        "accept",
        &["meta l4proto { ah, esp } counter drop"],
    );
    let native = Peer {
        more: "encapsulation = \"never\"",
        ..Peer::right().responder()
    };
    let mut there = Product::start(&right, &native);
    there.wait_for_state("idle", SOON);
    let mut here = Product::start(&topology.left, &Peer::default());
    let line = here.wait_for_line(
        "input filter drops ESP (IP protocol 50) from 192.0.2.2",
        SOON,
    );
    assert!(
        line.contains("rule \"meta l4proto { esp, ah } counter"),
        "{line}"
    );
    assert!(
        line.contains("of chain input, in table inet filter"),
        "{line}"
    );
    here.wait_until_established();
    assert!(!traffic::ping(&topology.left, "10.255.0.2", "-c 1 -W 1").success());
    shell(&topology.left, remedy(&line));
    traffic::ping(&topology.left, "10.255.0.2", "-c 3 -i 0.2").expect("ping");
    assert_eq!(here.interrupt().code, Some(0));
}

/// A workstation's filter: our own call gets through, and what the peer begins does not.
#[test]
fn a_filter_that_admits_answers_only_is_said_to() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    filter(
        &topology.left,
        "drop",
        &["ct state established,related accept"],
    );
    let mut there = Product::start(&right, &Peer::right().responder());
    there.wait_for_state("idle", SOON);
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_for_line(
        "from 192.0.2.2 unless it answers what we have sent lately",
        SOON,
    );
    here.wait_until_established();
    traffic::ping(&topology.left, "10.255.0.2", "-c 3 -i 0.2").expect("ping");
    assert_eq!(here.interrupt().code, Some(0));
}

#[test]
fn a_filter_that_admits_the_tunnel_is_not_mentioned() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let rules = [
        PASSENGERS,
        "udp dport { 500, 4500 } accept",
        "ip protocol esp accept",
    ];
    filter(&topology.left, "drop", &rules);
    let mut there = Product::start(&right, &Peer::right().responder());
    there.wait_for_state("idle", SOON);
    let mut here = Product::start(&topology.left, &Peer::default());
    here.wait_until_established();
    traffic::ping(&topology.left, "10.255.0.2", "-c 3 -i 0.2").expect("ping");
    let output = here.interrupt();
    assert!(!output.stderr.contains("filter"), "{}", output.stderr);
}
