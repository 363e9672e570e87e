//! What cannot work, and what we say about it: the first warning names the key to look at, `status`
//! the same with the change that would match, here and at strongSwan. Each table needs one guest.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::process::Process;
use crate::lab::{self, Folder, Guest, Peer, Product, Strongswan, Topology, strongswan, traffic};

const SOON: Duration = Duration::from_secs(30);

/// Whose request begins the negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    We,
    Strongswan,
}

use Caller::{Strongswan as Charon, We};

/// A misconfiguration and what is said of it.
struct Case {
    name: &'static str,
    caller: Caller,
    strongswan: Strongswan,
    /// More lines of `[peer]`.
    ours: &'static str,
    /// What the first warning begins with, after the peer's name.
    field: &'static str,
    /// What the first warning has of what was sent and what came.
    says: &'static [&'static str],
    /// What the advice has, for both files.
    remedy: &'static [&'static str],
}

impl Default for Case {
    fn default() -> Self {
        Self {
            name: "",
            caller: We,
            strongswan: Strongswan::default(),
            ours: "",
            field: "",
            says: &[],
            remedy: &[],
        }
    }
}

const OTHER_KEY: &str = "another key of the laboratory";

/// Lets the two meet. The product must live on without an SA.
#[track_caller]
fn fails(topology: &Topology, guest: &Guest, case: &Case) {
    eprintln!("--- {}", case.name);
    case.strongswan.reload(guest);
    let peer = Peer {
        initiate: case.caller == We,
        more: case.ours,
        // Else the first warning would be about a host that does not forward packets.
        routes: &[],
        ..Peer::default()
    };
    let mut product = Product::start(&topology.left, &peer);
    if case.caller == Charon {
        product.wait_for_state("idle", SOON);
        assert!(!strongswan::initiate(guest).success());
    }
    names_the_field(&mut product, case.field, case.says, case.remedy);
    let sas = strongswan::list_sas(guest);
    assert!(!sas.contains("INSTALLED"), "{sas}");
    assert_eq!(product.interrupt().code, Some(0));
}

#[track_caller]
fn names_the_field(product: &mut Product<'_>, field: &str, says: &[&str], remedy: &[&str]) {
    let line = product.wait_for_line("warning: ", SOON);
    let begins = [
        format!("warning: peer: {field}: "),
        format!("warning: peer: refused the peer's attempt: {field}: "),
    ];
    assert!(begins.iter().any(|begin| line.starts_with(begin)), "{line}");
    let advice = product.wait_for_line("to mend it: ", SOON);
    let status = product.status();
    assert_ne!(status["state"], "established", "{status}");
    assert_eq!(status["children"], serde_json::json!([]), "{status}");
    let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
    let failure = text("last-failure");
    assert!(failure.starts_with(field), "{status}");
    for part in says {
        assert!(
            line.contains(part) && failure.contains(part),
            "{part}: {line}"
        );
    }
    for part in remedy {
        assert!(
            advice.contains(part) && text("advice").contains(part),
            "{part}: {advice}"
        );
    }
}

#[test]
fn keys_and_identities() {
    let other_key = || Strongswan {
        psk: OTHER_KEY,
        ..Strongswan::default()
    };
    let other_name = || Strongswan {
        local_id: "other.example",
        ..Strongswan::default()
    };
    all_fail(&[
        Case {
            name: "the peer refuses our key",
            strongswan: other_key(),
            field: "peer.psk-file, peer.local-id or peer.remote-id",
            says: &[
                "AUTHENTICATION_FAILED",
                "we said we are 192.0.2.1",
                "asked for 192.0.2.2",
            ],
            remedy: &[
                "peer.psk-file",
                "secrets.ike.secret",
                "remote { id = 192.0.2.1 }",
            ],
            ..Case::default()
        },
        Case {
            name: "the peer calls with another key",
            caller: Charon,
            strongswan: other_key(),
            field: "peer.psk-file",
            says: &["the pre-shared keys differ", "192.0.2.2"],
            remedy: &["peer.psk-file", "secrets.ike.secret"],
            ..Case::default()
        },
        Case {
            name: "the peer expects another identity of us",
            strongswan: Strongswan {
                remote_id: "other.example",
                ..Strongswan::default()
            },
            field: "peer.psk-file, peer.local-id or peer.remote-id",
            says: &["we said we are 192.0.2.1"],
            remedy: &["set peer.local-id", "remote { id = 192.0.2.1 }"],
            ..Case::default()
        },
        Case {
            name: "the peer is not called what we ask for",
            strongswan: other_name(),
            field: "peer.psk-file, peer.local-id or peer.remote-id",
            says: &["asked for 192.0.2.2"],
            remedy: &["peer.remote-id", "local { id = 192.0.2.2 }"],
            ..Case::default()
        },
        Case {
            name: "the peer calls with another identity",
            caller: Charon,
            strongswan: other_name(),
            field: "peer.remote-id",
            says: &["the peer says it is other.example, not 192.0.2.2"],
            remedy: &[
                "set peer.remote-id = \"other.example\"",
                "local { id = 192.0.2.2 }",
            ],
            ..Case::default()
        },
    ]);
}

#[test]
fn proposals() {
    let other_ike = || Strongswan {
        ike_proposals: "aes128-sha1-modp1024",
        ..Strongswan::default()
    };
    let other_esp = || Strongswan {
        esp_proposals: "aes128-sha1",
        ..Strongswan::default()
    };
    let short_numbers = || Strongswan {
        esp_proposals: "aes256gcm16-noesn",
        ..Strongswan::default()
    };
    let esn = "[peer.esp]\nesn = \"require\"\n";
    let narrow = "[peer.ike]\nproposals = [\"aes256gcm16-prfsha256-ecp256\"]\n[peer.esp]\nproposals = \
                  [\"aes256gcm16\"]\n";
    all_fail(&[
        Case {
            name: "no common IKE proposal",
            strongswan: other_ike(),
            ours: narrow,
            field: "peer.ike.proposals",
            says: &["aes256gcm16-prfsha256-ecp256", "NO_PROPOSAL_CHOSEN"],
            remedy: &[
                "strongSwan: proposals = aes256gcm16-prfsha256-ecp256",
                "let peer.ike.proposals",
            ],
            ..Case::default()
        },
        Case {
            name: "the peer calls with no common IKE proposal",
            caller: Charon,
            strongswan: other_ike(),
            ours: narrow,
            field: "peer.ike.proposals",
            says: &["the peer offers", "we accept aes256gcm16-prfsha256-ecp256"],
            remedy: &[
                "strongSwan: proposals = aes256gcm16-prfsha256-ecp256",
                "let peer.ike.proposals",
            ],
        },
        Case {
            name: "no common ESP proposal",
            strongswan: other_esp(),
            ours: narrow,
            field: "peer.esp.proposals",
            says: &["aes256gcm16-esn-noesn", "NO_PROPOSAL_CHOSEN"],
            remedy: &[
                "strongSwan: esp_proposals = aes256gcm16",
                "let peer.esp.proposals",
            ],
            ..Case::default()
        },
        Case {
            name: "the peer calls with no common ESP proposal",
            caller: Charon,
            strongswan: other_esp(),
            ours: narrow,
            field: "peer.esp.proposals",
            says: &["the peer offers", "we accept aes256gcm16"],
            remedy: &[
                "strongSwan: esp_proposals = aes256gcm16",
                "let peer.esp.proposals",
            ],
        },
        Case {
            name: "we insist on extended sequence numbers",
            strongswan: short_numbers(),
            ours: esn,
            field: "peer.esp.proposals or peer.esp.esn",
            says: &["-esn", "NO_PROPOSAL_CHOSEN"],
            remedy: &["peer.esp.esn", "strongSwan: esp_proposals"],
            ..Case::default()
        },
        Case {
            name: "the peer calls with short sequence numbers",
            caller: Charon,
            strongswan: short_numbers(),
            ours: esn,
            field: "peer.esp.proposals or peer.esp.esn",
            says: &["the peer offers", "we accept"],
            remedy: &["peer.esp.esn", "strongSwan: esp_proposals"],
        },
    ]);
}

/// D26, RFC 7296 §1.3.1: without USE_TRANSPORT_MODE in the answer the SA is not used, and without it
/// in the request the SA is refused, not taken as another.
#[test]
fn modes_and_selectors() {
    let mode = |caller| Case {
        name: "tunnel mode",
        caller,
        strongswan: Strongswan {
            mode: "tunnel",
            ..Strongswan::default()
        },
        field: "the peer's mode",
        says: &["tunnel mode", "no USE_TRANSPORT_MODE came"],
        remedy: &["mode = transport"],
        ..Case::default()
    };
    let selectors = |caller, selectors, says| Case {
        name: selectors,
        caller,
        strongswan: Strongswan {
            selectors,
            ..Strongswan::default()
        },
        field: "the peer's traffic selectors",
        says,
        remedy: &["local_ts = dynamic[gre]", "remote_ts = dynamic[gre]"],
        ..Case::default()
    };
    all_fail(&[
        mode(We),
        mode(Charon),
        selectors(We, "10.1.0.0/16", &["TS_UNACCEPTABLE"]),
        // In transport mode charon has nothing to ask for of networks, and asks with an empty list.
        selectors(Charon, "10.1.0.0/16", &["it sent none"]),
        selectors(We, "dynamic[tcp]", &["TS_UNACCEPTABLE"]),
        selectors(Charon, "dynamic[tcp]", &["it offers", "protocol 47"]),
    ]);
}

#[track_caller]
fn all_fail(cases: &[Case]) {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    Strongswan::default().start(&guest);
    for case in cases {
        fails(&topology, &guest, case);
    }
}

/// PAINS 8: a pair's group is looked at when it is rekeyed, an hour later, or at once.
#[test]
fn a_group_that_only_the_rekey_asks_for() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    let strongswan = Strongswan {
        esp_proposals: "aes256gcm16-ecp384",
        ..Strongswan::default()
    };
    strongswan.start(&guest);
    let up = |more, flags: &[&str]| {
        let folder = Folder::new();
        let peer = Peer {
            more,
            routes: &[],
            ..Peer::default()
        };
        let file = folder.write("peer.toml", &peer);
        let mut command = folder.command(&topology.left, "up");
        command.args(flags).arg(file);
        (folder, Process::spawn(command))
    };
    let (other, same) = (
        "[peer.esp]\nproposals = [\"aes256gcm16-x25519\"]\n",
        "[peer.esp]\nproposals = [\"aes256gcm16-ecp384\"]\n",
    );

    let (folder, mut process) = up(other, &["--test-rekey"]);
    let line = process.wait_for_line("warning: ", SOON);
    let problem = "peer.esp.proposals: the peer has refused to rekey with what we offered";
    assert!(
        line.starts_with(&format!("warning: peer: CHILD_SA not rekeyed: {problem}")),
        "{line}"
    );
    assert!(line.contains("aes256gcm16-x25519"), "{line}");
    let advice = process.wait_for_line("to mend it: ", SOON);
    assert!(
        advice.contains("strongSwan: esp_proposals = aes256gcm16-x25519")
            && advice.contains("let peer.esp.proposals name the peer's"),
        "{advice}"
    );
    let status = folder.run(&topology.left, "status", &[]).expect("status");
    assert!(status.contains(problem), "{status}");
    // What stands goes on carrying.
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 2").expect("ping");
    process.signal(Signal::SIGINT);
    assert_eq!(process.wait(SOON).code, Some(0));

    let (_folder, process) = up(other, &["--background", "--test-rekey"]);
    let output = process.wait(SOON);
    assert!(!output.success(), "{output:?}");
    assert!(
        output.stderr.contains(problem) && output.stderr.contains("to mend it: "),
        "{output:?}"
    );

    let (folder, process) = up(same, &["--background", "--test-rekey"]);
    let output = process.wait(SOON);
    assert!(output.success(), "{output:?}");
    assert!(output.stderr.contains("both ends agree"), "{output:?}");
    folder.run(&topology.left, "down", &[]).expect("down");
}

const IMPATIENT: &str = "[peer.ike]\nretransmit = { first = \"200ms\", factor = 1.5, tries = 2 }\n";

#[test]
fn peers_that_cannot_be_reached() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let always: &str = format!("encapsulation = \"always\"\n{IMPATIENT}").leak();
    let right = topology.add_right();
    let mut there = Product::start(&right, &Peer::right().responder());
    there.wait_for_state("idle", SOON);
    let none = "no answer from";
    let cases = [
        (
            ("192.0.2.2", Some("udp dport 500"), IMPATIENT),
            (
                format!("{none} 192.0.2.2:500 to IKE_SA_INIT"),
                "UDP port 500",
            ),
        ),
        (
            ("192.0.2.2", Some("udp dport 4500"), always),
            (
                format!("{none} 192.0.2.2:4500 to IKE_AUTH"),
                "UDP port 4500",
            ),
        ),
        (
            ("192.0.2.9", None, IMPATIENT),
            (
                format!("{none} 192.0.2.9:500 to IKE_SA_INIT"),
                "is 192.0.2.9 the peer's address",
            ),
        ),
        (
            ("no-such-host.invalid", None, IMPATIENT),
            (
                "the host name no-such-host.invalid does not resolve".to_owned(),
                "getent ahosts no-such-host.invalid",
            ),
        ),
    ];
    for ((address, blocked, more), (says, remedy)) in cases {
        eprintln!("--- {address}, {blocked:?}");
        topology.block(blocked.as_slice());
        let peer = Peer {
            address,
            more,
            routes: &[],
            ..Peer::default()
        };
        let mut product = Product::start(&topology.left, &peer);
        let line = product.wait_for_line("warning: ", SOON);
        assert!(
            line.starts_with(&format!("warning: peer: peer.address: {says}")),
            "{line}"
        );
        let status = product.status();
        let advice = status["advice"].as_str().unwrap();
        assert!(advice.contains(remedy), "{status}");
        assert!(
            product
                .command("status", &[])
                .expect("status")
                .contains(advice)
        );
        product.interrupt();
    }
}

/// Clouds pass UDP, but not every protocol. Where UDP is forbidden, that is named and no more.
#[test]
fn a_firewall_that_drops_protocol_50() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    topology.block(&["ip protocol esp"]);
    let mut there = Product::start(&right, &Peer::right().responder());
    there.wait_for_state("idle", SOON);
    let here = Peer {
        routes: &[],
        more: "encapsulation = \"never\"",
        ..Peer::default()
    };
    let mut product = Product::start(&topology.left, &here);
    product.wait_until_established();
    assert!(!traffic::ping(&topology.left, "10.255.0.2", "-c 12 -i 0.1 -W 1").success());
    let line = product.wait_for_line("warning: ", SOON);
    assert!(
        line.starts_with("warning: peer: peer.encapsulation: IKE works"),
        "{line}"
    );
    let status = product.status();
    let obstacle = status["obstacles"][0].as_str().unwrap();
    for part in [
        "IP protocol 50",
        "peer.encapsulation = \"always\"",
        "encap = yes",
    ] {
        assert!(obstacle.contains(part) && line.contains(part), "{status}");
    }
    topology.block(&[]);
    traffic::ping(&topology.left, "10.255.0.2", "-c 2").expect("ping");
    assert_eq!(product.status()["obstacles"], serde_json::json!([]));
    assert_eq!(product.interrupt().code, Some(0));
}
