//! What a report looks like to a person and to a program.

use super::*;
use crate::control::protocol::status::{
    ChildStatus, Encapsulation, EspSpi, IkeSpi, IkeStatus, Keepalive, Liveness, Mode, Passengers,
    PathState, PathStatus, PeerState, Phase, StrangeKey, UdpCause,
};
use crate::control::protocol::{Daemon, PROTOCOL_VERSION};
use crate::net::netns::NetworkNamespace;

fn report() -> StatusReport {
    let child = |spi, age_seconds, phase, rekey_seconds| ChildStatus {
        suite: "aes256gcm16-esn".to_owned(),
        mode: Mode::Transport,
        encapsulation: Encapsulation::Udp,
        udp_cause: Some(UdpCause::Faster),
        spi_inbound: EspSpi(spi),
        spi_outbound: EspSpi(0xfeed_beef),
        age_seconds,
        phase,
        rekey_seconds,
    };
    let up = PeerStatus {
        name: "berlin".to_owned(),
        hub: None,
        from_anywhere: false,
        state: PeerState::Established,
        local_address: Some("203.0.113.1".parse().unwrap()),
        remote_address: Some("198.51.100.2".parse().unwrap()),
        liveness: Liveness {
            heard_seconds: Some(2),
            checked_after_seconds: Some(10),
        },
        ike: Some(IkeStatus {
            suite: "aes256gcm16-prfsha384-x25519".to_owned(),
            ppk: false,
            initiator: true,
            local_id: "203.0.113.1".to_owned(),
            remote_id: "berlin.example".to_owned(),
            spi_initiator: IkeSpi(1),
            spi_responder: IkeSpi(u64::MAX),
            age_seconds: 7300,
            rekey_seconds: 18_000,
        }),
        children: vec![
            child(0x0102_0304, 7300, Phase::Draining, None),
            child(0xa1b2_c3d4, 59, Phase::Current, Some(3125)),
        ],
        last_failure: None,
        advice: None,
        obstacles: vec![],
        path_mtu: Some(1500),
        drops: BTreeMap::from([("gre_key_unknown".to_owned(), 3)]),
        strange_keys: vec![
            StrangeKey {
                key: Some(1001),
                packets: 3,
            },
            StrangeKey {
                key: None,
                packets: 1,
            },
        ],
        tunnels: vec![TunnelStatus {
            device: "sgre0".to_owned(),
            netns: Some("tenant1".to_owned()),
            addresses: vec!["10.255.0.1/30".to_owned()],
            kind: Passengers::Ip,
            key: Some(5001),
            vsid: None,
            mtu: 1400,
            outbound: Traffic {
                packets: 7,
                bytes: 588,
            },
            inbound: Traffic {
                packets: 5,
                bytes: 420,
            },
            drops: BTreeMap::from([("no-sa".to_owned(), 2), ("replay".to_owned(), 1)]),
            keepalive: Some(Keepalive::Dead),
            liveness: Some(ProbedLiveness {
                verdict: Verdict::Alive,
                loss_permille: 15,
                round_trip_micros: Some(20_420),
                jitter_micros: 300,
            }),
        }],
    };
    let waiting = PeerStatus {
        name: "paris".to_owned(),
        hub: None,
        from_anywhere: false,
        state: PeerState::Waiting,
        local_address: None,
        remote_address: None,
        liveness: Liveness::default(),
        ike: None,
        children: vec![],
        last_failure: Some("no answer from 192.0.2.7".to_owned()),
        advice: Some("look there".to_owned()),
        obstacles: vec!["this host drops it; to admit it: a command".to_owned()],
        path_mtu: None,
        drops: BTreeMap::new(),
        strange_keys: vec![],
        tunnels: vec![],
    };
    let daemon = Daemon {
        protocol: PROTOCOL_VERSION,
        version: "0.1.0".to_owned(),
        pid: 7,
        network_namespace: NetworkNamespace::from_inode(4_026_531_840),
    };
    StatusReport {
        daemon,
        drops: BTreeMap::from([("ike_unknown_peer".to_owned(), 4)]),
        peers: vec![up, waiting],
        routes: vec![
            route("10.20.0.0/16", &[("sgre0", PathState::Carries)]),
            route(
                "10.30.0.0/16",
                &[("sgre0", PathState::Carries), ("sgre1", PathState::Down)],
            ),
        ],
    }
}

fn route(prefix: &str, paths: &[(&str, PathState)]) -> RouteStatus {
    let path = |(device, state): &(&str, PathState)| PathStatus {
        peer: "berlin".to_owned(),
        device: (*device).to_owned(),
        metric: 100,
        state: *state,
    };
    RouteStatus {
        prefix: prefix.to_owned(),
        netns: None,
        table: MAIN_TABLE,
        paths: paths.iter().map(path).collect(),
    }
}

#[test]
fn columns_align() {
    let expected = "\
PEER    STATE        HEARD   ADDRESS       IKE                           ESP              SPI IN      SPI OUT     PAIR      UP     REKEY IN
berlin  established  2s ago  198.51.100.2  aes256gcm16-prfsha384-x25519  aes256gcm16-esn  0xa1b2c3d4  0xfeedbeef  current   59s    52m 5s
                                                                         aes256gcm16-esn  0x01020304  0xfeedbeef  draining  2h 1m  -
paris   waiting      -       -             -                             -                -           -           -         -      -

TUNNEL  NETNS    PEER    KEY   MTU   OUT                   IN                    DROPS
sgre0   tenant1  berlin  5001  1400  7 packets, 588 bytes  5 packets, 420 bytes  3

ROUTE         NETNS  TABLE  METRIC  TUNNEL  PEER    STATE
10.30.0.0/16  -      main   100     sgre0   berlin  carries
                            100     sgre1   berlin  down

berlin: ESP is in UDP: both ends are secure-gre, and it is faster

sgre0: the peer does not answer GRE keepalives, so that its routes are withdrawn

sgre0: the peer answers probes: loss 1.5 %, round trip 20.42 ms, jitter 0.30 ms

sgre0 dropped 2 no-sa, 1 replay

berlin dropped 3 gre_key_unknown

berlin: the peer sends key 1001, no tunnel has it (packets: 3)

berlin: the peer sends no key, and every tunnel has one (packets: 1)

paris: no answer from 192.0.2.7

paris: to mend it: look there

paris: this host drops it; to admit it: a command

IKE dropped 4 ike_unknown_peer
";
    assert_eq!(tables(&report()), expected);
}

#[test]
fn programs_find_every_figure_and_the_report_survives_the_way() {
    let json = serde_json::to_value(report()).unwrap();
    let peer = &json["peers"][0];
    assert_eq!(json["daemon"]["network-namespace"], 4_026_531_840_u64);
    assert_eq!(json["drops"]["ike_unknown_peer"], 4);
    assert_eq!(peer["state"], "established");
    assert_eq!(peer["remote-address"], "198.51.100.2");
    assert_eq!(peer["ike"]["suite"], "aes256gcm16-prfsha384-x25519");
    assert_eq!(peer["ike"]["spi-responder"], "0xffffffffffffffff");
    assert_eq!(peer["children"][1]["spi-inbound"], "0xa1b2c3d4");
    assert_eq!(peer["children"][1]["mode"], "transport");
    assert_eq!(peer["children"][1]["encapsulation"], "udp");
    assert_eq!(peer["children"][1]["udp-cause"], "faster");
    assert_eq!(peer["children"][1]["age-seconds"], 59);
    assert_eq!(peer["children"][1]["phase"], "current");
    assert_eq!(peer["children"][1]["rekey-seconds"], 3125);
    assert_eq!(peer["liveness"]["heard-seconds"], 2);
    assert_eq!(peer["liveness"]["checked-after-seconds"], 10);
    assert_eq!(peer["ike"]["rekey-seconds"], 18_000);
    assert_eq!(peer["drops"]["gre_key_unknown"], 3);
    assert_eq!(json["routes"][1]["paths"][1]["state"], "down");
    assert_eq!(peer["strange-keys"][0]["key"], 1001);
    assert_eq!(peer["tunnels"][0]["key"], 5001);
    assert_eq!(peer["tunnels"][0]["netns"], "tenant1");
    assert_eq!(peer["tunnels"][0]["outbound"]["bytes"], 588);
    assert_eq!(peer["tunnels"][0]["drops"]["no-sa"], 2);
    assert_eq!(
        serde_json::from_value::<StatusReport>(json).unwrap(),
        report()
    );
}

#[test]
fn ages_have_two_units() {
    for (seconds, text) in [
        (0, "0s"),
        (59, "59s"),
        (61, "1m 1s"),
        (7300, "2h 1m"),
        (90_000, "1d 1h"),
    ] {
        assert_eq!(age(seconds), text);
    }
}
