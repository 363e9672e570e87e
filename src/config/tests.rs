//! Files that are wrong, files that are right, and what must never be printed.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use secure_gre_gre::{Key, Kind, df, tos, ttl};
use secure_gre_ike::config::{OnFailure, RemoteId, UdpEncapsulation};
use secure_gre_ike::identity::Identity;
use zeroize::Zeroizing;

use crate::net::prefix::Prefix;

use super::secret::Source;
use super::{Loaded, Peer, PeerAddress, Report, Style, load, resolve};

/// A file with one peer.
#[derive(Debug)]
struct One {
    peer: Peer,
    warnings: Report,
}

fn read(text: &str) -> Result<One, Report> {
    only(read_all(text))
}

fn only(loaded: Result<Loaded, Report>) -> Result<One, Report> {
    let Loaded {
        mut peers,
        warnings,
    } = loaded?;
    assert_eq!(peers.len(), 1);
    let peer = peers.remove(0);
    Ok(One { peer, warnings })
}

fn read_all(text: &str) -> Result<Loaded, Report> {
    let source = Source {
        text: Zeroizing::new(text.to_owned()),
        exposed: false,
    };
    resolve::resolve(Path::new("peer.toml"), &source)
}

/// The findings of a file, one line each.
fn findings(text: &str) -> String {
    match read_all(text) {
        Ok(loaded) => loaded.warnings.to_string(),
        Err(report) => report.to_string(),
    }
}

/// `bad.txt` holds files that are wrong, each with what is said about it. Set `UPDATE_SNAPSHOTS`
/// to write it anew.
#[test]
fn what_is_said_about_bad_files() {
    let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests/bad.txt");
    let expected = fs::read_to_string(&snapshot).unwrap();
    let mut actual = String::new();
    for case in expected.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').unwrap();
        let (file, _) = rest.split_once("---\n").unwrap();
        let said = findings(file);
        assert!(!said.is_empty(), "nothing is said about: {title}");
        actual.push_str(&format!("=== {title}\n{file}---\n{said}\n\n"));
    }
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&snapshot, &actual).unwrap();
    }
    assert_eq!(actual, fs::read_to_string(&snapshot).unwrap());
}

const MINIMAL: &str = r#"
[peer]
address = "198.51.100.2"
psk = "0123456789abcdef0123456789abcdef"
[tunnel]
address = ["10.255.0.1/30"]
"#;

#[test]
fn five_lines_are_enough() {
    let One { peer, warnings } = read(MINIMAL).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(peer.name, "peer");
    assert_eq!(
        peer.address,
        PeerAddress::Ip(Ipv4Addr::new(198, 51, 100, 2).into())
    );
    assert_eq!(
        (peer.local, peer.local_id, peer.remote_id),
        (None, None, RemoteId::Address)
    );
    assert_eq!(peer.psk.expose(), b"0123456789abcdef0123456789abcdef");
    assert!(peer.initiate);
    assert_eq!(peer.on_failure, OnFailure::Retry);
    assert!(peer.fragmentation);
    assert_eq!(peer.replay_window_packets, 4096);
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let lifetimes = (peer.ike_lifetime, peer.child_lifetime);
    assert_eq!(lifetimes, (hours(8), hours(1)));
    assert_eq!(peer.dpd, Some(Duration::from_secs(10)));
    assert_eq!((peer.child_bytes, peer.child_packets), (None, None));
    assert_eq!(
        peer.esp_proposals[0].to_string(),
        "aes256gcm16-aes128gcm16-chacha20poly1305-x25519-ecp256-modp2048-modpnone-esn-noesn"
    );
    let [tunnel] = <[_; 1]>::try_from(peer.tunnels).unwrap();
    assert_eq!(tunnel.addresses, ["10.255.0.1/30".parse().unwrap()]);
    assert_eq!(
        tunnel.peer_address,
        Some(Ipv4Addr::new(10, 255, 0, 2).into())
    );
    assert_eq!(
        (tunnel.device, tunnel.mtu, tunnel.table, tunnel.metric),
        (None, None, 254, 100)
    );
    assert_eq!(tunnel.ttl, ttl::Policy::Fixed(ttl::Policy::DEFAULT));
    assert_eq!(tunnel.df, df::Policy::Set);
    assert_eq!(tunnel.gre, secure_gre_gre::Config::default());
    assert_eq!(tunnel.tos, tos::Policy::Inherit);
    assert!(tunnel.mss_clamp);
    assert_eq!(tunnel.keepalive, None);
    assert!(tunnel.offload);
}

#[test]
fn every_key_takes_effect() {
    let One { peer, warnings } = read(
        r#"
        name = "berlin-1"
        [peer]
        address = "berlin.example"
        psk = "0sAAECAwQFBgcICQoLDA0ODw=="
        local = "203.0.113.1"
        local-id = "user@example"
        remote-id = "keyid:0x0aff"
        initiate = false
        encapsulation = "never"
        ports = [500, 4500]
        [peer.ike]
        proposals = ["aes128gcm16-prfsha256-ecp256", "aes256gcm16-prfsha384-ecp384"]
        retransmit = { first = "1s", tries = 3 }
        half-open = { cookies-from = 0 }
        lifetime = "4h"
        dpd = "off"
        fragmentation = false
        on-failure = "exit"
        [peer.esp]
        proposals = ["aes128gcm16", "aes256gcm16-esn"]
        esn = "never"
        replay-window = 64
        lifetime = "30m"
        lifetime-bytes = "50GB"
        lifetime-packets = 1_000_000
        [[tunnel]]
        device = "gre-berlin"
        kind = "ip"
        address = ["10.255.0.1/24", "fd00:255::1/64"]
        peer-address = "fd00:255::2"
        routes = ["10.20.0.0/16", "2001:db8:20::/48"]
        table = 100
        metric = 7
        key = "0.0.19.137"
        checksum = true
        sequence = true
        ttl = "inherit"
        df = "copy"
        tos = 0x10
        mtu = 1_380
        mss-clamp = false
        netns = "tenant1"
        keepalive = { every = "5s" }
        liveness = "250ms"
        limit = "200Mbit"
        [hooks]
        up = ["notify/on", "a b"]
        down = []
        [daemon]
        offload = false
        workers = 1
        "#,
    )
    .unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(peer.name, "berlin-1");
    assert_eq!(peer.address, PeerAddress::Name("berlin.example".to_owned()));
    assert_eq!(peer.psk.expose(), (0..16).collect::<Vec<u8>>());
    assert_eq!(peer.local, Some(Ipv4Addr::new(203, 0, 113, 1).into()));
    assert_eq!(peer.encapsulation, UdpEncapsulation::Never);
    assert_eq!(
        peer.local_id,
        Some(Identity::Email("user@example".to_owned()))
    );
    assert_eq!(
        peer.remote_id,
        RemoteId::Is(Identity::KeyId(vec![0x0a, 0xff]))
    );
    assert!(!peer.initiate);
    assert_eq!(peer.ike_proposals.len(), 2);
    assert_eq!(
        (peer.retransmit.first, peer.retransmit.tries),
        (Duration::from_secs(1), 3)
    );
    assert_eq!(
        (peer.half_open.cookies_from, peer.half_open.limit),
        (0, 1000)
    );
    assert_eq!(peer.on_failure, OnFailure::Exit);
    assert!(!peer.fragmentation);
    let esp: Vec<String> = peer.esp_proposals.iter().map(ToString::to_string).collect();
    assert_eq!(esp, ["aes128gcm16-noesn", "aes256gcm16-esn"]);
    assert_eq!(peer.replay_window_packets, 64);
    let lifetimes = (peer.ike_lifetime, peer.child_lifetime);
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    assert_eq!(lifetimes, (minutes(240), minutes(30)));
    assert_eq!(peer.dpd, None);
    let volume = (peer.child_bytes, peer.child_packets);
    assert_eq!(volume, (Some(50_000_000_000), Some(1_000_000)));
    assert_eq!(peer.hooks.up, ["notify/on", "a b"]);
    assert!(peer.hooks.down.is_empty());
    let [tunnel] = <[_; 1]>::try_from(peer.tunnels).unwrap();
    assert_eq!(tunnel.device.as_deref(), Some("gre-berlin"));
    assert_eq!(tunnel.netns.as_deref(), Some("tenant1"));
    assert_eq!(tunnel.peer_address, Some("fd00:255::2".parse().unwrap()));
    assert_eq!(tunnel.routes.len(), 2);
    assert_eq!(
        tunnel.gre,
        secure_gre_gre::Config {
            kind: Kind::Ip,
            key: Some(Key::Whole(5001)),
            checksum: true,
            sequence: true
        }
    );
    assert_eq!(
        (tunnel.table, tunnel.metric, tunnel.mtu),
        (100, 7, Some(1380))
    );
    assert_eq!(tunnel.ttl, ttl::Policy::Inherit);
    assert_eq!(tunnel.df, df::Policy::Copy);
    assert_eq!(tunnel.tos, tos::Policy::Fixed(0x10));
    assert!(!tunnel.mss_clamp);
    let asked = tunnel.keepalive.map(|asked| (asked.every, asked.tries));
    assert_eq!(asked, Some((Duration::from_secs(5), 3)));
    assert_eq!(tunnel.liveness, Some(Duration::from_millis(250)));
    assert_eq!(tunnel.limit, Some(25_000_000), "octets per second");
    assert!(!tunnel.offload);
}

/// Of every key in the reference, alone in a file that is otherwise right: it is either taken, or
/// answered with "not in this version". None is unknown.
#[test]
fn every_key_of_the_reference_is_known() {
    let reference = include_str!("../../docs/peer.reference.toml");
    let mut section = String::new();
    let mut keys = 0;
    for line in reference.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') {
            section = line.split('#').next().unwrap_or_default().trim().to_owned();
        }
        let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| is_key(key.trim())) else {
            continue;
        };
        keys += 1;
        let said = findings(&format!("{section}\n{line}\n"));
        let key = key.trim();
        assert!(!said.contains("unknown key"), "{section} {key}: {said}");
        let table = section.trim_matches(['[', ']']);
        let refused = said.contains("not in this version");
        assert_eq!(
            refused,
            LATER.contains(&format!("{table}.{key}").as_str()),
            "{table}.{key}"
        );
    }
    assert!(keys > 50, "{keys} keys were found");
}

/// `docs/CONFIGURATION.md` has a row for every key, which says so where the reference's value is
/// refused.
#[test]
fn every_key_of_the_reference_is_explained() {
    let page = include_str!("../../docs/CONFIGURATION.md");
    let row = |key: &str| {
        let start = format!("| `{key}` |");
        page.lines().find(|line| line.starts_with(&start))
    };
    let mut table = String::new();
    for line in include_str!("../../docs/peer.reference.toml").lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') {
            let section = line.split('#').next().unwrap_or_default().trim();
            table = format!("{}.", section.trim_matches(['[', ']']));
        }
        let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| is_key(key.trim())) else {
            continue;
        };
        let key = format!("{table}{}", key.trim());
        let row = row(&key).unwrap_or_else(|| panic!("{key} is not explained"));
        if LATER.contains(&key.as_str()) {
            assert!(row.contains("not in this version"), "{row}");
        }
    }
}

fn is_key(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|c| c.is_ascii_lowercase() || c == b'-')
}

/// The keys whose value in the reference is not what this version does.
const LATER: &[&str] = &[];

const HUB: &str = r#"
name = "hub"
[peer]
address = "any"
local-id = "hub.example"
[peer.ike]
lifetime = "4h"
[tunnel]
device = "hub%n"
address = ["10.255.%n.0/31", "fd00:255:%n::/127"]
routes = ["10.20.%n.0/24"]
keepalive = { every = "5s" }
[[spoke]]
remote-id = "paris.example"
psk = "the key of paris, which is long"
[[spoke]]
name = "rome"
remote-id = "keyid:0x07"
psk = "the key of rome, which is long"
device = "tor1"
address = ["10.254.0.1/30"]
peer-address = "10.254.0.2"
routes = []
key = 7
[[spoke]]
remote-id = "keyid:0x08"
psk = "the key of somebody, which is long"
"#;

#[test]
fn each_spoke_is_a_peer_after_the_template() {
    let Loaded { peers, warnings } = read_all(HUB).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    let names: Vec<_> = peers.iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!(names, ["paris.example", "rome", "hub-3"]);
    for peer in &peers {
        assert_eq!(peer.hub.as_deref(), Some("hub"));
        assert_eq!(peer.address, PeerAddress::Any);
        assert!(!peer.initiate);
        assert_eq!(
            peer.local_id,
            Some(Identity::Fqdn("hub.example".to_owned()))
        );
        assert_eq!(peer.ike_lifetime, Duration::from_secs(4 * 3600));
    }
    let [paris, rome, third] = &peers[..] else {
        panic!("{} spokes", peers.len())
    };
    assert_eq!(
        paris.remote_id,
        RemoteId::Is(Identity::Fqdn("paris.example".to_owned()))
    );
    assert_eq!(rome.psk.expose(), b"the key of rome, which is long");
    let texts = |prefixes: &[Prefix]| prefixes.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(paris.tunnels[0].device.as_deref(), Some("hub1"));
    assert_eq!(
        texts(&paris.tunnels[0].addresses),
        ["10.255.1.0/31", "fd00:255:1::/127"]
    );
    assert_eq!(texts(&paris.tunnels[0].routes), ["10.20.1.0/24"]);
    assert_eq!(
        paris.tunnels[0].peer_address,
        Some(Ipv4Addr::new(10, 255, 1, 1).into())
    );
    assert_eq!(rome.tunnels[0].device.as_deref(), Some("tor1"));
    assert_eq!(texts(&rome.tunnels[0].addresses), ["10.254.0.1/30"]);
    assert_eq!(
        (rome.tunnels[0].gre.key, rome.tunnels[0].routes.len()),
        (Some(Key::Whole(7)), 0)
    );
    assert_eq!(third.tunnels[0].device.as_deref(), Some("hub3"));
    let every = |peer: &Peer| peer.tunnels[0].keepalive.map(|asked| asked.every);
    assert_eq!(every(third), Some(Duration::from_secs(5)));
}

#[test]
fn nothing_prints_the_key() {
    const KEY: &str = "hunter2-hunter2-hunter2";
    for file in [
        MINIMAL.replace("0123456789abcdef0123456789abcdef", KEY),
        format!("[peer]\npsk = '{KEY}'\npsk-file = 'x'"),
        format!("peer = {{ psk = \"{KEY}\", adress = \"\\u0031\" }}"),
        format!("peer.pks = \"{KEY}\""),
        format!("[peer]\npre-shared-key = \"{KEY}\""),
        format!("[peer]\npsk = [\"{KEY}\"]"),
        format!("[peer.ike]\nppk = \"{KEY}\""),
        format!("[peer]\npsk = \"{KEY}"),
        format!("[peer]\npsk = {KEY}"),
        format!("peer = {{ address = 1, psk = \"{KEY}\", = }}"),
        format!("[peer]\npsk = \"\"\"\n{KEY}\nmore\"\"\" 7"),
        format!("[peer]\npsk = \"0x{KEY}\""),
        format!("[peer]\nike = \"{KEY}\"\npsk = {{ psk = \"{KEY}\" }}").replacen(KEY, "x", 1),
    ] {
        let (debug, texts) = match read(&file) {
            Ok(loaded) => (format!("{loaded:?}"), String::new()),
            Err(report) => (
                format!("{report:?}"),
                format!("{report}{}", report.render(Style::Plain)),
            ),
        };
        assert!(
            !debug.contains("hunter2") && !texts.contains("hunter2"),
            "{file}\n{texts}"
        );
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn with_psk_file(&self, content: impl AsRef<[u8]>, mode: u32) -> Result<One, Report> {
        self.write("berlin.psk", content, mode);
        let text = MINIMAL.replace(
            "psk = \"0123456789abcdef0123456789abcdef\"",
            "psk-file = 'berlin.psk'",
        );
        only(load(&self.write("berlin.toml", text, 0o644)))
    }
}

#[test]
fn a_key_file_loses_one_line_end_only() {
    let folder = Folder::new();
    for (content, key) in [
        ("a key of some length", "a key of some length"),
        ("a key of some length\n", "a key of some length"),
        ("a key of some length\r\n", "a key of some length"),
        ("a key of some length \n\n", "a key of some length \n"),
        ("0x61626364656667686162636465666768\n", "abcdefghabcdefgh"),
        ("0sYWJjZGVmZ2hhYmNkZWZnaA\n", "abcdefghabcdefgh"),
    ] {
        let loaded = folder.with_psk_file(content, 0o600).unwrap();
        assert_eq!(loaded.peer.psk.expose(), key.as_bytes(), "{content:?}");
        assert_eq!(loaded.peer.name, "berlin");
    }
}

/// RFC 8784 §6: half of what the other key needs is not enough for this one.
#[test]
fn a_post_quantum_key_is_read_like_the_other() {
    let folder = Folder::new();
    let with = |ppk: &str, key: &str, mode| {
        folder.write("k1.ppk", key, mode);
        let text = MINIMAL.replace("[tunnel]", &format!("[peer.ike]\nppk = {ppk}\n[tunnel]"));
        only(load(&folder.write("berlin.toml", text, 0o600)))
    };
    let given = "{ id = 'k1', file = 'k1.ppk' }";
    let key = "a key that is thirty-two octets!";
    let One { peer, warnings } = with(given, &format!("{key}\n"), 0o600).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    let ppk = peer.ppk.unwrap();
    assert_eq!((ppk.id.as_str(), ppk.required), ("k1", false));
    assert_eq!(ppk.secret.expose(), key.as_bytes());
    let required = "{ id = 'k1', file = 'k1.ppk', required = true }";
    let One { peer, .. } = with(required, key, 0o600).unwrap();
    assert!(peer.ppk.unwrap().required);
    assert!(with("'off'", key, 0o600).unwrap().peer.ppk.is_none());

    let short = with(given, "too short a key", 0o600).unwrap();
    let said = short.warnings.to_string();
    assert!(
        said.contains("post-quantum pre-shared key has 15 octets"),
        "{said}"
    );
    let said = with(given, key, 0o640).unwrap_err().to_string();
    assert!(
        said.contains("other users") && said.contains("chmod 600"),
        "{said}"
    );
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let folder = Folder::new();
    for mode in [0o640, 0o604, 0o620, 0o602] {
        let said = folder
            .with_psk_file("a key of some length", mode)
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("other users") && said.contains("chmod 600"),
            "{mode:o}: {said}"
        );
    }
    let said = load(&folder.write("inline.toml", MINIMAL, 0o644))
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("chmod 600") && said.contains("inline.toml:4:7:"),
        "{said}"
    );
    assert!(load(&folder.write("inline.toml", MINIMAL, 0o600)).is_ok());
}

#[test]
fn files_that_are_none() {
    let folder = Folder::new();
    let said = |path: &Path| load(path).unwrap_err().to_string();
    assert!(said(&folder.0.path().join("absent.toml")).contains("No such file"));
    assert!(said(folder.0.path()).contains("not a regular file"));
    assert!(said(&folder.write("latin1.toml", b"name = \"\xe9\"", 0o600)).contains("UTF-8"));
    let long = folder.write("long.toml", vec![b'#'; 2 << 20], 0o600);
    assert!(said(&long).contains("more than 1048576 octets"));
}

#[test]
fn an_excerpt_points_at_the_place() {
    let file = MINIMAL.replace("/30", "");
    let expected = "error: `10.255.0.1` is no address with a prefix: the prefix length is missing, \
                    as in `10.255.0.1/30`\n \
                    --> peer.toml:6:12\n  \
                    |\n\
                    6 | address = [\"10.255.0.1\"]\n  \
                    |            ^^^^^^^^^^^^\n";
    assert_eq!(read(&file).unwrap_err().render(Style::Plain), expected);
}

#[test]
fn a_file_full_of_mistakes_ends_in_a_count() {
    let file: String = (0..10_000).map(|n| format!("[a{n}]\npsk = 1\n")).collect();
    let said = findings(&file);
    assert_eq!(said.lines().count(), 51);
    assert!(said.ends_with("there are 9953 more like these"), "{said}");
}

/// Text that looks enough like a configuration to get past the parser.
fn plausible() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "[peer]",
        "[tunnel]",
        "[[tunnel]]",
        "[peer.ike]",
        "peer",
        "address",
        "psk",
        "psk-file",
        "mtu",
        "key",
        "ttl",
        "routes",
        "retransmit",
        "half-open",
        "proposals",
        "first",
        " = ",
        " = ",
        "\n",
        "\n",
        "{ ",
        " }",
        "[",
        "]",
        ", ",
        "\"",
        "\"198.51.100.2\"",
        "\"10.0.0.1/30\"",
        "\"::1/0\"",
        "\"0.0.0.0/0\"",
        "\"aes256gcm16-esn\"",
        "\"\\u00e9\"",
        "0x7fffffffffffffff",
        "-1",
        "1e400",
        "nan",
        "true",
        "'''",
        "é",
        "\u{1b}[31m",
        "#",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

fn never_panics(text: &str) {
    if let Err(report) = read(text) {
        assert!(!report.is_empty());
        assert!(!report.to_string().contains('\u{1b}'));
        assert!(!report.render(Style::Plain).contains('\u{1b}'));
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        never_panics(&text);
    }

    #[test]
    fn no_plausible_text_panics(text in plausible()) {
        never_panics(&text);
    }
}
