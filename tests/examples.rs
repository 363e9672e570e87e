//! The files in `examples/` are what they say.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::lab::{self, Product, Topology, product, strongswan, traffic};

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

/// Our `peer.toml` and strongSwan's `swanctl.conf` and GRE device of the same folder fit together.
#[test]
fn the_strongswan_example_carries_packets() {
    let Some(lab) = lab::require() else { return };
    let topology = Topology::new(lab);
    let guest = topology.boot_guest();
    let swanctl = example("strongswan/swanctl.conf");
    let swanctl = swanctl.replace("change-me-to-what-peer.psk-holds", product::PSK);
    strongswan::start_with(&guest, &example("strongswan/gre.sh"), &swanctl);

    let peer = example("strongswan/peer.toml");
    let mut product = Product::start_with(&topology.left, &peer, "peer.psk");
    product.wait_until_established();
    traffic::ping(&topology.left, strongswan::INNER_V4, "-c 2").expect("ping through the tunnel");
    let sas = strongswan::list_sas(&guest);
    assert!(sas.contains("ESP:AES_GCM_16-256/ESN"), "{sas}");
}
