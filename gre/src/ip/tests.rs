use super::*;

/// An IPv6 packet whose payload is these octets, the first header being `next_header`.
fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [
        &[0x60, 0, 0, 0, len[0], len[1], next_header, 64],
        &[1; 32][..],
        payload,
    ]
    .concat()
}

fn found(packet: &[u8]) -> Option<(u8, usize)> {
    upper_layer(packet).map(|upper| (upper.protocol, upper.range.start))
}

/// D59, RFC 8200 §4: the upper layer behind extension headers.
#[test]
fn extension_headers() {
    let options = |next| [next, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let fragment = |next, offset: u8| [next, 0, 0, offset, 0, 0, 0, 1];
    let authentication = |next| [next, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let cases = [
        ("none", ipv6(TCP, &[9; 4]), Some((TCP, 40))),
        (
            "hop-by-hop",
            ipv6(HOP_BY_HOP, &options(TCP)),
            Some((TCP, 56)),
        ),
        (
            "routing",
            ipv6(ROUTING, &options(ICMPV6)),
            Some((ICMPV6, 56)),
        ),
        (
            "destination",
            ipv6(DESTINATION_OPTIONS, &options(TCP)),
            Some((TCP, 56)),
        ),
        (
            "AH in words",
            ipv6(AUTHENTICATION, &authentication(TCP)),
            Some((TCP, 52)),
        ),
        (
            "first fragment",
            ipv6(FRAGMENT, &fragment(TCP, 1)),
            Some((TCP, 48)),
        ),
        ("later fragment", ipv6(FRAGMENT, &fragment(TCP, 8)), None),
        (
            "header beyond the packet",
            ipv6(ROUTING, &[TCP, 1, 0, 0]),
            None,
        ),
        ("header of one octet", ipv6(ROUTING, &[TCP]), None),
        ("no header", ipv6(ROUTING, &[]), None),
    ];
    for (name, packet, expected) in cases {
        assert_eq!(found(&packet), expected, "{name}");
    }
}

#[test]
fn extension_headers_are_followed_so_far_and_no_farther() {
    for (count, expected) in [
        (
            EXTENSION_HEADERS_MAX,
            Some((TCP, 40 + 8 * EXTENSION_HEADERS_MAX)),
        ),
        (EXTENSION_HEADERS_MAX + 1, None),
    ] {
        let mut payload = [DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0].repeat(count);
        payload[8 * (count - 1)] = TCP;
        assert_eq!(
            found(&ipv6(DESTINATION_OPTIONS, &payload)),
            expected,
            "{count} headers"
        );
    }
}

#[test]
fn ipv4_options_are_skipped_and_later_fragments_have_no_upper_layer() {
    let mut packet = [0u8; 28];
    packet[..4].copy_from_slice(&[0x46, 0, 0, 28]);
    packet[9] = TCP;
    assert_eq!(found(&packet), Some((TCP, 24)));
    assert_eq!(found(&packet[..23]), None, "truncated within the options");
    for offset in [[0, 1], [0x10, 0]] {
        packet[6..8].copy_from_slice(&offset);
        assert_eq!(found(&packet), None, "{offset:?}");
    }
}
