//! Broken headers and chains of payloads, one rule at a time. Names say the rule.

use super::*;
use crate::limits;
use crate::tests::{hex, vectors};

/// A real IKE_SA_INIT request: SA KE No N N N.
fn real_request() -> Vec<u8> {
    let file = include_str!("../../../tests/vectors/ike-key-derivation.json");
    hex(&vectors(file)[0]["sa_init_request"])
}

#[test]
fn a_header_that_is_cut_is_truncated() {
    let request = real_request();
    for octets in 0..28 {
        let cut = Datagram::parse(&request[..octets]);
        assert_eq!(cut.unwrap_err(), HeaderError::Truncated, "{octets} octets");
    }
}

#[test]
fn length_describes_the_datagram_exactly() {
    let request = real_request();
    let received = request.len();
    let claimed = u32::try_from(received).unwrap();
    let length = |received| HeaderError::Length { claimed, received };
    for octets in 28..received {
        let cut = Datagram::parse(&request[..octets]);
        assert_eq!(cut.unwrap_err(), length(octets), "{octets} octets");
    }
    let longer = [request.as_slice(), &[0]].concat();
    assert_eq!(Datagram::parse(&longer).unwrap_err(), length(received + 1));
    for wrong in [0, 27, u32::MAX] {
        let mut request = request.clone();
        request[24..28].copy_from_slice(&wrong.to_be_bytes());
        let length = HeaderError::Length {
            claimed: wrong,
            received,
        };
        assert_eq!(Datagram::parse(&request).unwrap_err(), length);
    }
}

#[test]
fn a_message_longer_than_a_datagram_can_be_is_refused() {
    for (octets, good) in [
        (limits::MESSAGE_OCTETS, true),
        (limits::MESSAGE_OCTETS + 1, false),
    ] {
        let mut longest = encode(&header(), &[]);
        longest.resize(octets, 0);
        fix_length(&mut longest);
        assert_eq!(Datagram::parse(&longest).is_ok(), good, "{octets} octets");
    }
}

/// D5, RFC 7296 §2.5.
#[test]
fn a_higher_major_version_can_be_answered_and_an_older_one_not() {
    let mut request = real_request();
    let header = Datagram::parse(&request).unwrap().header;
    for (version, error) in [
        (0x30, HeaderError::MajorVersion { header, major: 3 }),
        (0xf7, HeaderError::MajorVersion { header, major: 15 }),
        (0x10, HeaderError::ObsoleteVersion(1)),
        (0x00, HeaderError::ObsoleteVersion(0)),
    ] {
        request[17] = version;
        assert_eq!(
            Datagram::parse(&request).unwrap_err(),
            error,
            "version {version:#x}"
        );
        // Whatever another version counts in its Length.
        let cut = Datagram::parse(&request[..40]);
        assert_eq!(
            cut.unwrap_err(),
            error,
            "version {version:#x}, other length"
        );
    }
}

/// D5, RFC 7296 §2.5, §3.1.
#[test]
fn minor_version_version_bit_and_reserved_flags_are_ignored() {
    let request = real_request();
    let header = Datagram::parse(&request).unwrap().header;
    let mut odd = request.clone();
    odd[17] = 0x2f;
    odd[19] |= 0xd7;
    assert_eq!(Datagram::parse(&odd).unwrap().header, header);
    assert_eq!(clear(&odd), clear(&request));
}

/// Every cut of a real message is noticed, though the header's Length agrees with the cut.
#[test]
fn payloads_that_are_cut_are_truncated() {
    let request = real_request();
    for octets in 28..request.len() {
        let mut cut = request[..octets].to_vec();
        fix_length(&mut cut);
        assert_eq!(clear(&cut), Err(WireError::Truncated), "{octets} octets");
    }
}

#[test]
fn octets_after_the_last_payload_are_refused() {
    let mut longer = [real_request().as_slice(), &[0]].concat();
    fix_length(&mut longer);
    assert_eq!(clear(&longer), Err(WireError::TrailingOctets));
}

/// Each generic header's length in turn is made to lie.
#[test]
fn payload_lengths_that_lie_are_refused() {
    let request = real_request();
    let mut at = 28;
    while at < request.len() {
        let length = u16::from_be_bytes([request[at + 2], request[at + 3]]);
        let beyond = u16::try_from(request.len() - at + 1).unwrap();
        for wrong in [0, 1, 2, 3, beyond, u16::MAX] {
            let mut request = request.clone();
            request[at + 2..at + 4].copy_from_slice(&wrong.to_be_bytes());
            assert_eq!(
                clear(&request),
                Err(WireError::Truncated),
                "{wrong} at {at}"
            );
        }
        at += usize::from(length);
    }
}

/// D6, RFC 7296 §2.5, §3.2.
#[test]
fn unknown_payloads_are_skipped_unless_critical() {
    let nonce = (PayloadType::NONCE, 0, [7; 16].as_slice());
    for unknown in (0..=255)
        .map(PayloadType)
        .filter(|kind| !matches!(kind.0, 0 | 33..=48 | 53))
    {
        let skipped = message(&[(unknown, 0x7f, &[1, 2, 3]), nonce, (unknown, 0, &[])]);
        assert_eq!(
            clear(&skipped),
            Ok(vec![Payload::Nonce(vec![7; 16])]),
            "{unknown}"
        );
        let critical = message(&[nonce, (unknown, 0x80, &[1, 2, 3])]);
        let error = WireError::UnsupportedCritical(unknown.0);
        assert_eq!(clear(&critical), Err(error), "{unknown}");
        assert_eq!(Notify::for_wire_error(&error).data, [unknown.0]);
    }
}

/// D6, RFC 7296 §3.2; D5 for the bits beside it.
#[test]
fn the_critical_bit_of_known_payloads_is_ignored() {
    let nonce = message(&[(PayloadType::NONCE, 0xff, &[7; 16])]);
    assert_eq!(clear(&nonce), Ok(vec![Payload::Nonce(vec![7; 16])]));
}

#[test]
fn a_chain_ends() {
    let vendor = (PayloadType::VENDOR_ID, 0, [].as_slice());
    assert_eq!(
        clear(&message(&vec![vendor; limits::PAYLOADS]))
            .unwrap()
            .len(),
        limits::PAYLOADS
    );
    let more = message(&vec![vendor; limits::PAYLOADS + 1]);
    assert_eq!(clear(&more), Err(WireError::TooMany));
    assert_eq!(clear(&message(&[])), Ok(vec![]));
}
