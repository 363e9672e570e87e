//! Traffic selectors (RFC 7296 §2.9, §3.13.1): GRE between two hosts, and nothing else. Both ends
//! have one selector: IP protocol 47, all ports, one address. Behind a NAT a host does not know the
//! address that it is seen at, so that one has to stand for the other (RFC 7296 §2.23.1).

use std::net::IpAddr;

use crate::wire::TrafficSelector;

/// GRE's IP protocol number (RFC 2784 §4).
const GRE: u8 = 47;

/// In a selector: any IP protocol.
const ANY_PROTOCOL: u8 = 0;

/// Our selector for the end at `address`.
pub(crate) fn gre(address: IpAddr) -> TrafficSelector {
    TrafficSelector {
        ip_protocol: GRE,
        start_port: 0,
        end_port: u16::MAX,
        start: address,
        end: address,
    }
}

/// As the responder: narrows what the peer offers for the end at `address` to GRE of this host
/// (D27, RFC 7296 §2.9). `None` where no single selector holds all of it, so that the answer would
/// be wider than the offer; the peer has to hear TS_UNACCEPTABLE.
pub(crate) fn narrow(offered: &[TrafficSelector], address: IpAddr) -> Option<TrafficSelector> {
    let wanted = gre(address);
    offered
        .iter()
        .any(|offered| holds(offered, &wanted))
        .then_some(wanted)
}

/// As the responder, for an end behind a NAT: puts `address`, which the packets will have here, in
/// place of the one that the initiator knows (D29, RFC 7296 §2.23.1). Ranges of hosts are no single
/// host's address, and stay.
pub(crate) fn substitute(
    offered: &[TrafficSelector],
    address: IpAddr,
) -> impl Iterator<Item = TrafficSelector> {
    offered.iter().map(move |offered| {
        if offered.start == offered.end {
            TrafficSelector {
                start: address,
                end: address,
                ..*offered
            }
        } else {
            *offered
        }
    })
}

/// As the initiator: whether the answer for an end behind a NAT is GRE of one host. It has the
/// address that the responder knows, or ours if that does not substitute; we know which packets are
/// meant (D29).
pub(crate) fn is_gre_behind_nat(answer: &[TrafficSelector]) -> bool {
    matches!(answer, [only] if *only == gre(only.start))
}

/// As the initiator: whether the answer for the end at `address` is what we asked for. We ask for
/// the least that is of use, so narrower is as wrong as wider (RFC 7296 §2.9).
pub(crate) fn is_gre(answer: &[TrafficSelector], address: IpAddr) -> bool {
    *answer == [gre(address)]
}

/// Whether every packet of `inner` is one of `outer`. The order of addresses of different families
/// does not matter: the ends of a range are of one family.
fn holds(outer: &TrafficSelector, inner: &TrafficSelector) -> bool {
    let protocol = outer.ip_protocol == ANY_PROTOCOL || outer.ip_protocol == inner.ip_protocol;
    let ports = outer.start_port <= inner.start_port && inner.end_port <= outer.end_port;
    let addresses = outer.start <= inner.start && inner.end <= outer.end;
    let family = outer.start.is_ipv4() == inner.start.is_ipv4()
        && outer.end.is_ipv4() == inner.end.is_ipv4();
    protocol && ports && addresses && family
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST: &str = "192.0.2.1";

    fn selector(ip_protocol: u8, ports: (u16, u16), start: &str, end: &str) -> TrafficSelector {
        let (start, end) = (start.parse().unwrap(), end.parse().unwrap());
        TrafficSelector {
            ip_protocol,
            start_port: ports.0,
            end_port: ports.1,
            start,
            end,
        }
    }

    const ALL: (u16, u16) = (0, u16::MAX);

    /// D27, RFC 7296 §2.9.
    #[test]
    fn narrowing() {
        let host = gre(HOST.parse().unwrap());
        assert_eq!(host, selector(47, ALL, HOST, HOST));
        let specific = selector(47, (0, 0), HOST, HOST);
        let everything = selector(0, ALL, "0.0.0.0", "255.255.255.255");
        let cases = [
            ("exactly ours", vec![host], true),
            ("any protocol", vec![selector(0, ALL, HOST, HOST)], true),
            (
                "a range of hosts",
                vec![selector(47, ALL, "192.0.2.0", "192.0.2.255")],
                true,
            ),
            ("everything", vec![everything], true),
            (
                "a packet's selector first",
                vec![specific, everything],
                true,
            ),
            ("ours last", vec![selector(6, ALL, HOST, HOST), host], true),
            ("only a packet's selector", vec![specific], false),
            (
                "another protocol",
                vec![selector(6, ALL, HOST, HOST)],
                false,
            ),
            (
                "another host",
                vec![selector(47, ALL, "192.0.2.2", "192.0.2.2")],
                false,
            ),
            (
                "hosts below",
                vec![selector(0, ALL, "0.0.0.0", "192.0.2.0")],
                false,
            ),
            (
                "hosts above",
                vec![selector(0, ALL, "192.0.2.2", "255.255.255.255")],
                false,
            ),
            (
                "opaque ports",
                vec![selector(47, (u16::MAX, 0), HOST, HOST)],
                false,
            ),
            (
                "another family",
                vec![selector(0, ALL, "::", "ffff::")],
                false,
            ),
            (
                "two halves",
                vec![
                    selector(47, (0, 9), HOST, HOST),
                    selector(47, (10, u16::MAX), HOST, HOST),
                ],
                false,
            ),
            ("nothing", vec![], false),
        ];
        for (what, offered, narrowed) in cases {
            let expected = narrowed.then_some(host);
            assert_eq!(narrow(&offered, HOST.parse().unwrap()), expected, "{what}");
        }
        let v6 = "2001:db8::1".parse().unwrap();
        assert_eq!(
            narrow(&[selector(0, ALL, "2001:db8::", "2001:db8::ffff")], v6),
            Some(gre(v6))
        );
        assert_eq!(narrow(&[everything], v6), None);
    }

    /// D29, RFC 7296 §2.23.1: only a lone host's address is one that a NAT may have put there.
    #[test]
    fn substitution() {
        let seen = "198.51.100.1";
        let address: IpAddr = seen.parse().unwrap();
        let narrowed = |offered: TrafficSelector| {
            let substituted: Vec<_> = substitute(&[offered], address).collect();
            narrow(&substituted, address)
        };
        for (what, offered, taken) in [
            ("its own address", gre(HOST.parse().unwrap()), true),
            ("the address seen", gre(address), true),
            ("any protocol", selector(0, ALL, HOST, HOST), true),
            ("another protocol", selector(6, ALL, HOST, HOST), false),
            ("some ports", selector(47, (0, 0), HOST, HOST), false),
            (
                "hosts elsewhere",
                selector(47, ALL, HOST, "192.0.2.2"),
                false,
            ),
            (
                "everything",
                selector(0, ALL, "0.0.0.0", "255.255.255.255"),
                true,
            ),
        ] {
            assert_eq!(narrowed(offered), taken.then(|| gre(address)), "{what}");
        }
    }

    /// D29: as the initiator behind a NAT, whichever address the responder knows us by.
    #[test]
    fn answers_behind_a_nat() {
        let host = gre(HOST.parse().unwrap());
        assert!(is_gre_behind_nat(&[host]));
        for (what, answer) in [
            ("nothing", vec![]),
            ("two hosts", vec![host, gre("192.0.2.2".parse().unwrap())]),
            ("any protocol", vec![selector(0, ALL, HOST, HOST)]),
            ("hosts", vec![selector(47, ALL, HOST, "192.0.2.2")]),
            ("some ports", vec![selector(47, (0, 0), HOST, HOST)]),
        ] {
            assert!(!is_gre_behind_nat(&answer), "{what}");
        }
    }

    /// D27: an answer that is not exactly what was asked for.
    #[test]
    fn answers() {
        let host = gre(HOST.parse().unwrap());
        let is_ours = |answer: &[TrafficSelector]| is_gre(answer, HOST.parse().unwrap());
        assert!(is_ours(&[host]));
        for (what, answer) in [
            ("nothing", vec![]),
            ("ours twice", vec![host, host]),
            ("any protocol", vec![selector(0, ALL, HOST, HOST)]),
            (
                "a range of hosts",
                vec![selector(47, ALL, HOST, "192.0.2.2")],
            ),
            ("some ports", vec![selector(47, (0, 0), HOST, HOST)]),
            (
                "another host",
                vec![selector(47, ALL, "192.0.2.2", "192.0.2.2")],
            ),
            (
                "another family",
                vec![selector(47, ALL, "::ffff:192.0.2.1", "::ffff:192.0.2.1")],
            ),
        ] {
            assert!(!is_ours(&answer), "{what}");
        }
    }

    fn any_selector() -> impl Strategy<Value = TrafficSelector> {
        let protocol = prop::sample::select(vec![0_u8, 6, 47]);
        let port = || prop::sample::select(vec![0_u16, 1, 47, u16::MAX]);
        let address = || {
            let v4 = (0_u8..4).prop_map(|host| IpAddr::from([192, 0, 2, host]));
            let v6 = (0_u16..4).prop_map(|host| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]));
            prop_oneof![v4, v6]
        };
        (protocol, port(), port(), address(), address()).prop_map(
            |(ip_protocol, start_port, end_port, start, end)| TrafficSelector {
                ip_protocol,
                start_port,
                end_port,
                start,
                end,
            },
        )
    }

    /// Whether a packet with GRE's protocol number is one of the selector's.
    fn has(selector: &TrafficSelector, port: u16, host: IpAddr) -> bool {
        (selector.ip_protocol == 0 || selector.ip_protocol == 47)
            && (selector.start_port..=selector.end_port).contains(&port)
            && (selector.start..=selector.end).contains(&host)
    }

    proptest! {
        /// D27: never wider than asked, packet by packet.
        #[test]
        fn narrowing_never_widens(
            offered in prop::collection::vec(any_selector(), 0..5),
            host in (0_u8..4).prop_map(|host| IpAddr::from([192, 0, 2, host])),
        ) {
            if let Some(narrowed) = narrow(&offered, host) {
                prop_assert!(is_gre(&[narrowed], host));
                for port in [0, 1, 2, 46, 47, 48, 1000, u16::MAX] {
                    prop_assert!(offered.iter().any(|offered| has(offered, port, host)));
                }
            }
        }
    }
}
