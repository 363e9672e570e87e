//! The files in `examples/` are what they say.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::lab::strongswan::Rekey;
use crate::lab::topology::RIGHT;
use crate::lab::{self, Lan, Product, Router, Topology, product, strongswan, traffic};

const SOON: Duration = Duration::from_secs(30);
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

pub(crate) fn example(name: &str) -> String {
    fs::read_to_string(Path::new(EXAMPLES).join(name)).unwrap()
}

/// `check` accepts every `*.toml` there is, beside the key that it names.
#[test]
fn every_peer_file_is_accepted() {
    let mut checked = 0;
    for folder in fs::read_dir(EXAMPLES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        let Ok(files) = fs::read_dir(folder) else {
            continue;
        };
        for file in files.map(|entry| entry.unwrap().path()) {
            if file
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                check(&file);
                checked += 1;
            }
        }
    }
    assert!(checked >= 3, "{checked} files");
}

/// The README opens with two commands, and its five-minute set-up works as printed.
#[test]
fn the_readme_keeps_its_word() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let blocks = |language: &str| {
        let fence = format!("```{language}\n");
        let after = readme.split(&fence).skip(1).map(str::to_owned);
        after
            .map(|block| block.split("```").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let command = |line: &str| line.split('#').next().unwrap().trim().to_owned();
    let opening: Vec<_> = blocks("sh")[0].lines().map(command).collect();
    assert_eq!(opening, ["cargo run --release -- demo", "cargo xtask test"]);

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("berlin.toml"), &blocks("toml")[0]).unwrap();
    for printed in [
        "secure-gre genpsk --out berlin.psk",
        "secure-gre check berlin.toml",
    ] {
        assert!(readme.contains(printed), "{printed}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_secure-gre"));
        command
            .current_dir(&folder)
            .args(printed.split(' ').skip(1));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{printed}: {output:?}");
        assert!(output.stderr.is_empty(), "{printed}: {output:?}");
    }
}

/// The key files that a file names.
fn keys(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter(|line| line.starts_with("psk-file"));
    lines.filter_map(|line| line.split('"').nth(1))
}

#[track_caller]
fn check(file: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(file).unwrap();
    for key in keys(&text) {
        let psk = folder.path().join(key);
        fs::write(&psk, product::PSK).unwrap();
        fs::set_permissions(&psk, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let copy = folder.path().join(file.file_name().unwrap());
    fs::copy(file, &copy).unwrap();
    let command = Command::new(env!("CARGO_BIN_EXE_secure-gre"))
        .arg("check")
        .arg(copy)
        .output();
    let output = command.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", file.display());
    assert_eq!(stderr, "", "{}", file.display());
}

/// The two files, but for Berlin's outer address: a host in either network reaches one in the other.
#[test]
fn the_site_to_site_example_carries_packets() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let right = topology.add_right();
    let routers = [&topology.left, &right].map(Router::Namespace);
    let lans = [("10.10.1", "2001:db8:10:1"), ("10.20.1", "2001:db8:20:1")];
    let [paris, berlin] = [0, 1].map(|end: usize| {
        let router = routers[end];
        router.expect("sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        Lan::new(lab, router, lans[end].0, lans[end].1)
    });
    let of_paris = example("site-to-site/berlin.toml").replace("198.51.100.2", RIGHT);
    let of_berlin = example("site-to-site/paris.toml");
    let mut here = Product::start_with(&topology.left, &of_paris, "berlin.psk");
    let mut there = Product::start_with(&right, &of_berlin, "paris.psk");
    here.wait_until_established();
    there.wait_until_established();
    for (lan, destination) in [
        (&paris, "10.20.1.2"),
        (&berlin, "10.10.1.2"),
        (&paris, "2001:db8:20:1::2"),
        (&berlin, "2001:db8:10:1::2"),
    ] {
        let answered = || lan.ping(destination, "-c 3 -i 0.2 -W 2").success();
        lab::eventually(destination, SOON, || answered().then_some(()));
    }
    assert_eq!(here.interrupt().code, Some(0));
    assert_eq!(there.interrupt().code, Some(0));
}

/// Our `peer.toml` and strongSwan's `swanctl.conf` and GRE device of the same folder fit together, also
/// when strongSwan asks for new keys; and its `ipsec.conf` allows the same suites and no others.
#[test]
fn the_strongswan_example_carries_packets() {
    const IKE: &str = "aes256gcm16-prfsha256-ecp256";
    const ESP: &str = "aes256gcm16-ecp256";
    let swanctl = example("strongswan/swanctl.conf");
    let ipsec = example("strongswan/ipsec.conf");
    for (file, line) in [
        (&swanctl, format!("    proposals = {IKE}\n")),
        (&swanctl, format!("    esp_proposals = {ESP}\n")),
        (&ipsec, format!("    ike={IKE}!\n")),
        (&ipsec, format!("    esp={ESP}!\n")),
    ] {
        assert_eq!(file.matches(&line).count(), 1, "{line:?} in\n{file}");
    }

    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    let swanctl = swanctl.replace("change-me-to-what-peer.psk-holds", product::PSK);
    strongswan::start_with(&guest, &example("strongswan/gre.sh"), &swanctl);
    let peer = example("strongswan/peer.toml");
    let mut product = Product::start_with(&topology.left, &peer, "peer.psk");
    product.wait_until_established();
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 2").expect("ping through the tunnel");
    let sas = strongswan::list_sas(&guest);
    for suite in [
        "AES_GCM_16-256/PRF_HMAC_SHA2_256/ECP_256",
        "ESP:AES_GCM_16-256",
    ] {
        assert!(sas.contains(suite), "{suite} in\n{sas}");
    }

    strongswan::rekey(&guest, Rekey::Child);
    lab::eventually("keys with forward secrecy", SOON, || {
        let sas = strongswan::list_sas(&guest);
        sas.contains("ESP:AES_GCM_16-256/ECP_256").then_some(())
    });
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 2").expect("after the rekey");
}
