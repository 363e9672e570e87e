//! Files that are wrong, files that are right, and what must never be printed.

mod any_text;
mod reference;
mod secrets;

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secure_gre_gre::{Key, Passengers, df, tos, ttl};
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
        let tunnel = &peer.tunnels[0];
        assert_eq!(tunnel.queues, tunnel.workers, "there may be many spokes");
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
