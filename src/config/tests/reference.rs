//! Every key: what it does, that the reference and the documentation have it.

use super::*;

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
            kind: Passengers::Ip,
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
    let reference = include_str!("../../../docs/peer.reference.toml");
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
    let page = include_str!("../../../docs/CONFIGURATION.md");
    let row = |key: &str| {
        let start = format!("| `{key}` |");
        page.lines().find(|line| line.starts_with(&start))
    };
    let mut table = String::new();
    for line in include_str!("../../../docs/peer.reference.toml").lines() {
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
