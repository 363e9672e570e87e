use proptest::prelude::*;

use super::*;

const ESP_FRONT: [u8; 8] = [0, 0, 0x10, 1, 0, 0, 0, 9];

fn v4(protocol: u8, source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let header = [0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    [&header[..], &source, &destination, payload].concat()
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [ours, theirs] = ["2001:db8::1", "2001:db8::2"].map(|text| {
        let address: Ipv6Addr = text.parse().unwrap();
        address.octets()
    });
    let header = [0x60, 0, 0, 0, 5, 0, next, 64];
    [&header[..], &ours, &theirs, payload].concat()
}

/// With its sum, in a router's packet.
fn icmp(head: [u8; 8], quoted: &[u8]) -> Vec<u8> {
    let mut message = [&head[..], quoted].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    v4(1, [192, 0, 2, 254], [192, 0, 2, 1], &message)
}

fn needed(mtu: u16) -> [u8; 8] {
    let [high, low] = mtu.to_be_bytes();
    [3, 4, 0, 0, 0, 0, high, low]
}

fn quoted_v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    v4(protocol, [192, 0, 2, 1], [192, 0, 2, 2], payload)
}

fn in_udp() -> Vec<u8> {
    [&[0x11, 0x94, 0x11, 0x94, 0, 0, 0, 0][..], &ESP_FRONT].concat()
}

fn path(local: &str, remote: &str) -> Path {
    let [local, remote] = [local, remote].map(|text| text.parse().unwrap());
    Path { local, remote }
}

/// D50, RFC 1191 §3
#[test]
fn a_router_quotes_esp_over_ipv4() {
    let native = icmp(needed(1300), &quoted_v4(ESP, &ESP_FRONT));
    let expected = News {
        path: path("192.0.2.1:0", "192.0.2.2:0"),
        esp: ESP_FRONT,
        mtu: 1300,
    };
    assert_eq!(News::of_icmp(&native), Some(expected));

    let udp = icmp(needed(576), &quoted_v4(UDP, &in_udp()));
    let expected = News {
        path: path("192.0.2.1:4500", "192.0.2.2:4500"),
        mtu: 576,
        ..expected
    };
    assert_eq!(News::of_icmp(&udp), Some(expected));

    // Options, in the router's packet and in the quoted one.
    let mut with_options = quoted_v4(ESP, &[&[1; 4][..], &ESP_FRONT].concat());
    with_options[0] = 0x46;
    let mut packet = icmp(needed(1300), &with_options);
    packet.splice(20..20, [1; 8]);
    packet[0] = 0x47;
    assert_eq!(News::of_icmp(&packet).unwrap().esp, ESP_FRONT);
}

/// D50, RFC 8201 §4
#[test]
fn a_router_quotes_esp_over_ipv6() {
    let mut head = [2, 0, 0, 0, 0, 0, 0x05, 0x14];
    let native = News::of_icmpv6(&[&head[..], &v6(ESP, &ESP_FRONT)].concat());
    let expected = News {
        path: path("[2001:db8::1]:0", "[2001:db8::2]:0"),
        esp: ESP_FRONT,
        mtu: 1300,
    };
    assert_eq!(native, Some(expected));
    let udp = News::of_icmpv6(&[&head[..], &v6(UDP, &in_udp())].concat());
    let expected = News {
        path: path("[2001:db8::1]:4500", "[2001:db8::2]:4500"),
        ..expected
    };
    assert_eq!(udp, Some(expected));

    head[7] = 0; // 1280
    assert!(News::of_icmpv6(&[&head[..], &v6(ESP, &ESP_FRONT)].concat()).is_some());
    for least in [[0, 0, 4, 0xff], [0, 1, 5, 0x14], [0; 4]] {
        head[4..].copy_from_slice(&least);
        let news = News::of_icmpv6(&[&head[..], &v6(ESP, &ESP_FRONT)].concat());
        assert_eq!(news, None, "{least:?}");
    }
}

#[test]
fn what_is_no_news() {
    let esp = quoted_v4(ESP, &ESP_FRONT);
    let other_code = [3, 3, 0, 0, 0, 0, 5, 0x14];
    let other_type = [11, 4, 0, 0, 0, 0, 5, 0x14];
    let mut later_fragment = esp.clone();
    later_fragment[7] = 1;
    let mut not_ipv4 = esp.clone();
    not_ipv4[0] = 0x65;
    let mut no_header = esp.clone();
    no_header[0] = 0x44;
    for (what, packet) in [
        ("another code", icmp(other_code, &esp)),
        ("another type", icmp(other_type, &esp)),
        ("RFC 1191 §5: no MTU", icmp(needed(0), &esp)),
        ("less than any link", icmp(needed(575), &esp)),
        ("TCP", icmp(needed(1300), &quoted_v4(6, &ESP_FRONT))),
        ("not the front", icmp(needed(1300), &later_fragment)),
        ("of another version", icmp(needed(1300), &not_ipv4)),
        ("a header of 16 octets", icmp(needed(1300), &no_header)),
        (
            "no SPI",
            icmp(needed(1300), &quoted_v4(UDP, &in_udp()[..8])),
        ),
        ("cut", icmp(needed(1300), &esp[..27])),
    ] {
        assert_eq!(News::of_icmp(&packet), None, "{what}");
    }
    let mut damaged = icmp(needed(1300), &esp);
    assert!(News::of_icmp(&damaged).is_some());
    damaged[27] ^= 1;
    assert_eq!(News::of_icmp(&damaged), None, "the sum is wrong");
}

proptest! {
    #[test]
    fn nothing_panics(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = News::of_icmp(&octets);
        let _ = News::of_icmpv6(&octets);
        let _ = News::of_icmp(&icmp(needed(1300), &octets));
        let _ = News::of_icmpv6(&[&[2, 0, 0, 0, 0, 0, 5, 0x14][..], &octets].concat());
    }

    /// A quote may end anywhere, and its header may be anything.
    #[test]
    fn nothing_panics_on_what_looks_like_news(
        at in 0_usize..36, octet in any::<u8>(), kept in 0_usize..37,
    ) {
        let mut quoted = quoted_v4(UDP, &in_udp());
        quoted[at] = octet;
        let _ = News::of_icmp(&icmp(needed(1300), &quoted[..kept.min(36)]));
    }
}
