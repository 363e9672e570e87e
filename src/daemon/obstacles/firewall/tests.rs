//! Listings of real rule sets, as `nft -j list ruleset` and `iptables-save` have printed them, and what
//! they do to a tunnel.

use super::*;

const WORKSTATION: &str = include_str!("../samples/workstation.json");
const GATEWAY: &str = include_str!("../samples/gateway.json");
const EXPLICIT: &str = include_str!("../samples/explicit.json");
const DOUBTFUL: &str = include_str!("../samples/doubtful.json");
const FIREWALLD: &str = include_str!("../samples/firewalld.json");
const UFW: &str = include_str!("../samples/ufw.json");
const UFW_SAVE: &str = include_str!("../samples/ufw.save");

fn outer(initiates: bool, remote: &str) -> Outer {
    let remote: IpAddr = remote.parse().unwrap();
    let local = if remote.is_ipv4() {
        "192.0.2.1"
    } else {
        "2001:db8::1"
    };
    Outer {
        local: local.parse().unwrap(),
        remote,
        underlay: "wire".to_owned(),
        initiates,
        encapsulation: UdpEncapsulation::Auto,
    }
}

/// One line for each verdict, with the labels of rules.
fn said(author: Author, filter: &Filter, outer: &Outer) -> Vec<String> {
    let verdicts = verdicts(filter, outer);
    let lines = verdicts.iter().map(|verdict| {
        let label = verdict
            .loss
            .rule
            .map(|(name, rule)| format!("{} {}", name.chain, rule.label));
        verdict.describe(author, filter, outer, label.as_deref().unwrap_or("policy"))
    });
    lines.collect()
}

fn said_of(listing: &str, outer: &Outer) -> Vec<String> {
    said(Author::Nftables, &nftables::parse(listing).unwrap(), outer)
}

const ALL: &str = "UDP port 500, UDP port 4500 (used where there is a NAT, and between two secure-gre), ESP (IP protocol 50)";

#[test]
fn a_policy_drops_whom_no_rule_admits() {
    let remedy = "to admit them: nft insert rule inet filter input ip saddr 192.0.2.2 udp dport \
                  { 500,4500 } accept && nft insert rule inet filter input ip saddr 192.0.2.2 meta l4proto \
                  esp accept";
    let here = "policy, in table inet filter";
    assert_eq!(
        said_of(WORKSTATION, &outer(false, "192.0.2.2")),
        [format!(
            "this host's input filter drops {ALL} from 192.0.2.2: {here}; {remedy}"
        )]
    );
    assert_eq!(
        said_of(WORKSTATION, &outer(true, "192.0.2.2")),
        [format!(
            "this host's input filter drops {ALL} from 192.0.2.2 unless it answers what we have sent \
             lately: {here}; {remedy}"
        )]
    );
    let [line] = said_of(WORKSTATION, &outer(false, "2001:db8::2"))
        .try_into()
        .unwrap();
    assert!(
        line.contains("inet filter input ip6 saddr 2001:db8::2 udp"),
        "{line}"
    );
}

#[test]
fn what_is_admitted_is_no_obstacle() {
    for remote in ["192.0.2.2", "198.51.100.9", "2001:db8::2"] {
        for initiates in [false, true] {
            assert!(
                said_of(GATEWAY, &outer(initiates, remote)).is_empty(),
                "{remote}"
            );
        }
    }
    let [line] = said_of(GATEWAY, &outer(true, "198.51.100.10"))
        .try_into()
        .unwrap();
    assert!(
        line.starts_with(
            "this host's input filter drops ESP (IP protocol 50) from 198.51.100.10: input handle"
        ),
        "{line}"
    );
    let elsewhere = Outer {
        underlay: "ppp0".to_owned(),
        ..outer(true, "192.0.2.2")
    };
    assert_eq!(said_of(GATEWAY, &elsewhere).len(), 1);
    assert!(said_of(r#"{"nftables": []}"#, &elsewhere).is_empty());
    assert_eq!(nftables::parse("no such table"), None);
}

#[test]
fn the_rule_that_drops_is_named_in_each_direction() {
    let lines = said_of(EXPLICIT, &outer(false, "192.0.2.2"));
    let begins = [
        "this host's input filter drops UDP port 500 from 192.0.2.2: pre handle 2, in table ip raw; to \
         admit them: nft insert rule ip raw pre ip saddr 192.0.2.2 udp dport { 500 } accept",
        "this host's input filter drops ESP (IP protocol 50) from 192.0.2.2: no_ipsec handle",
        "this host's output filter drops UDP port 4500 (used where there is a NAT, and between two secure-gre) to 192.0.2.2: output \
         handle",
    ];
    assert_eq!(lines.len(), begins.len(), "{lines:#?}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
    assert!(said_of(EXPLICIT, &outer(false, "2001:db8::2")).is_empty());
    let udp_only = Outer {
        encapsulation: UdpEncapsulation::Always,
        ..outer(false, "192.0.2.3")
    };
    let [line] = said_of(EXPLICIT, &udp_only).try_into().unwrap();
    assert!(line.contains("drops UDP port 4500 to 192.0.2.3"), "{line}");
}

#[test]
fn what_cannot_be_told_is_said_to_be_probable_or_not_said() {
    let [line] = said_of(DOUBTFUL, &outer(false, "192.0.2.2"))
        .try_into()
        .unwrap();
    // The limit on port 500 admits enough.
    let begin = "this host's input filter probably drops UDP port 4500 (used where there is a NAT, and between two secure-gre), ESP (IP \
                 protocol 50) from 192.0.2.2: policy, in table ip filter";
    assert!(line.starts_with(begin), "{line}");
}

#[test]
fn each_author_has_commands_of_its_own() {
    let [line] = said_of(FIREWALLD, &outer(false, "192.0.2.2"))
        .try_into()
        .unwrap();
    assert!(line.contains(&format!(
        "filter drops {ALL} from 192.0.2.2: filter_INPUT handle"
    )));
    assert!(
        line.ends_with("to admit them: firewall-cmd --add-service=ipsec"),
        "{line}"
    );

    let ufw = iptables::parse(UFW_SAVE, true);
    let author = Author::Iptables("iptables");
    let [line] = said(author, &ufw, &outer(false, "192.0.2.2"))
        .try_into()
        .unwrap();
    assert_eq!(
        line,
        "this host's input filter drops UDP port 500, ESP (IP protocol 50) from 192.0.2.2: policy, in \
         table filter of iptables; to admit them: ufw allow proto udp from 192.0.2.2 to any port 500 && \
         ufw allow proto esp from 192.0.2.2"
    );
    let [line] = said(author, &ufw, &outer(false, "10.1.1.1"))
        .try_into()
        .unwrap();
    assert!(line.contains(ALL), "{line}");
    let [line] = said(author, &ufw, &outer(true, "192.0.2.2"))
        .try_into()
        .unwrap();
    assert!(line.contains("unless it answers"), "{line}");
}

#[test]
fn rules_of_iptables() {
    let filter = iptables::parse(
        "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -s 192.0.2.0/24 -p udp -m udp --dport 400:500 -j \
         DROP\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j DROP\nCOMMIT\n*filter\n:INPUT ACCEPT \
         [0:0]\n:OUTPUT DROP [0:0]\n:mine - [0:0]\n-A INPUT -p 17 -j NFQUEUE --queue-num 1\n-A INPUT -g mine\n\
         -A mine -p esp -j REJECT --reject-with icmp-port-unreachable\nCOMMIT\n",
        true,
    );
    let author = Author::Iptables("iptables-legacy");
    assert_eq!(
        said(author, &filter, &outer(true, "192.0.2.2")),
        [
            "this host's input filter drops UDP port 500 from 192.0.2.2: PREROUTING -A PREROUTING -s \
             192.0.2.0/24 -p udp -m udp --dport 400:500 -j DROP, in table raw of iptables-legacy; to admit \
             them: iptables-legacy -t raw -I PREROUTING -s 192.0.2.2 -p udp -m multiport --dports 500 -j \
             ACCEPT"
                .to_owned(),
            "this host's input filter drops ESP (IP protocol 50) from 192.0.2.2: mine -A mine -p esp -j \
             REJECT --reject-with icmp-port-unreachable, in table filter of iptables-legacy; to admit \
             them: iptables-legacy -t filter -I INPUT -s 192.0.2.2 -p esp -j ACCEPT"
                .to_owned(),
            format!(
                "this host's output filter drops {ALL} to 192.0.2.2: policy, in table filter of \
                 iptables-legacy; to admit them: iptables-legacy -t filter -I OUTPUT -d 192.0.2.2 -p udp \
                 -m multiport --dports 500,4500 -j ACCEPT && iptables-legacy -t filter -I OUTPUT -d \
                 192.0.2.2 -p esp -j ACCEPT"
            ),
        ]
    );
}

/// Where the program that has written them is not there, its rules are known in part.
#[test]
fn rules_of_iptables_as_nft_lists_them() {
    assert!(nftables::has_iptables_rules(UFW));
    let [line] = said_of(UFW, &outer(false, "192.0.2.2")).try_into().unwrap();
    // What names UDP and tells nothing more may admit it.
    assert!(
        line.contains("filter probably drops ESP (IP protocol 50) from"),
        "{line}"
    );
}

#[test]
fn chains_in_a_circle_end() {
    let filter = iptables::parse(
        "*filter\n:INPUT DROP [0:0]\n:a - [0:0]\n-A INPUT -j a\n-A a -j a\n-A a -j a\nCOMMIT\n",
        true,
    );
    assert!(verdicts(&filter, &outer(false, "192.0.2.2")).is_empty());
}
